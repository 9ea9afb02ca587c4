package message

import (
	"strings"
	"time"
)

// maxDate is how much of a Date field is looked at.
const maxDate = 1000

// ParseDate reads the value of a Date field, in the zone that it gives (RFC 5322
// section 3.3, with the obsolete forms and some that are merely seen). A zone that is
// missing or not known is UTC, and a time that cannot be read is 00:00:00 UTC (RFC 5256
// section 2.2); ok is false where there is no date.
func ParseDate(value []byte) (t time.Time, ok bool) {
	p := dateParser{lexer{b: value[:min(len(value), maxDate)]}}
	p.space()
	if p.letters() != "" { // day-name
		p.space()
		if p.at(',') {
			p.b = p.b[1:]
		}
		p.space()
	}
	day, n := p.digits(2)
	p.separator()
	month := monthOf(p.letters())
	p.separator()
	year, digits := p.digits(4)
	if n == 0 || month == 0 || digits < 2 {
		return time.Time{}, false
	}
	switch { // RFC 5322 section 4.3
	case digits == 2 && year < 50:
		year += 2000
	case digits < 4:
		year += 1900
	}
	t = time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day {
		return time.Time{}, false
	}
	p.space()
	h, m, s, ok := p.clock()
	if !ok {
		return t, true
	}
	p.space()
	zone := time.FixedZone("", p.zone())
	return time.Date(year, month, day, h, m, s, 0, zone), true
}

// A dateParser reads the tokens of a date.
type dateParser struct{ lexer }

// letters reads a word.
func (p *dateParser) letters() string {
	i := 0
	for i < len(p.b) && (p.b[i]|0x20 >= 'a' && p.b[i]|0x20 <= 'z') {
		i++
	}
	w := string(p.b[:i])
	p.b = p.b[i:]
	return w
}

// digits reads a number of at most limit digits, and says how many there were.
func (p *dateParser) digits(limit int) (value, n int) {
	for n < limit && n < len(p.b) && p.b[n] >= '0' && p.b[n] <= '9' {
		value = 10*value + int(p.b[n]-'0')
		n++
	}
	p.b = p.b[n:]
	return value, n
}

// separator skips what stands between day, month and year: white space, or the hyphen
// of 5-Feb-2024.
func (p *dateParser) separator() {
	p.space()
	if p.at('-') {
		p.b = p.b[1:]
		p.space()
	}
}

// clock reads hours, minutes and maybe seconds. Some mailers write dots.
func (p *dateParser) clock() (h, m, s int, ok bool) {
	h, n := p.digits(2)
	if n == 0 || h > 23 || !p.colon() {
		return 0, 0, 0, false
	}
	if m, n = p.digits(2); n != 2 || m > 59 {
		return 0, 0, 0, false
	}
	if p.colon() {
		if s, n = p.digits(2); n != 2 || s > 60 { // 60: a leap second
			return 0, 0, 0, false
		}
	}
	return h, m, s, true
}

// colon skips a separator of the time of day and the space around it.
func (p *dateParser) colon() bool {
	rest := p.b
	p.space()
	if !p.at(':') && !p.at('.') {
		p.b = rest
		return false
	}
	p.b = p.b[1:]
	p.space()
	return true
}

// zones are the names of RFC 5322 section 4.3 that are not UTC, in seconds.
var zones = map[string]int{
	"EDT": -4 * 3600, "EST": -5 * 3600, "CDT": -5 * 3600, "CST": -6 * 3600,
	"MDT": -6 * 3600, "MST": -7 * 3600, "PDT": -7 * 3600, "PST": -8 * 3600,
}

// zone reads a time zone as seconds east of UTC. One letter is UTC, for RFC 822 had
// them the wrong way round (RFC 5322 section 4.3).
func (p *dateParser) zone() int {
	sign := 1
	switch {
	case p.at('-'):
		sign = -1
	case !p.at('+'):
		return zones[strings.ToUpper(p.letters())]
	}
	p.b = p.b[1:]
	h, n := p.digits(2)
	m, k := p.digits(2)
	if n+k != 4 || m > 59 || len(p.b) > 0 && p.b[0] >= '0' && p.b[0] <= '9' {
		return 0
	}
	return sign * (h*3600 + m*60)
}

// monthOf finds a month by its first three letters, 0 for none.
func monthOf(word string) time.Month {
	if len(word) < 3 {
		return 0
	}
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(word[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}
