package imapwire

import (
	"bytes"
	"time"
)

// DateTimeLayout is the form of INTERNALDATE, without its quotes. The day is padded
// with a space.
const DateTimeLayout = "_2-Jan-2006 15:04:05 -0700"

// DateTime reads a quoted date-time.
func (d *Decoder) DateTime() (time.Time, error) {
	q, err := d.quotedDate()
	if err != nil {
		return time.Time{}, err
	}
	// time.Parse takes shorter and longer forms than the grammar; the length rules
	// them out.
	if len(q) != len(DateTimeLayout) {
		return time.Time{}, syntaxf("Invalid date and time.")
	}
	t, err := time.Parse(DateTimeLayout, string(q))
	if err != nil || !validZone(q) {
		return time.Time{}, syntaxf("Invalid date and time.")
	}
	return t, nil
}

// validZone refuses zones such as -0899, which time.Parse takes.
func validZone(q []byte) bool {
	_, hours := parseNumber(q[len(q)-4:len(q)-2], 23)
	_, minutes := parseNumber(q[len(q)-2:], 59)
	return hours && minutes
}

// Date reads a date such as 1-Feb-1994, quoted or not. It is midnight UTC.
func (d *Decoder) Date() (time.Time, error) {
	var text []byte
	if d.Peek() == '"' {
		q, err := d.quotedDate()
		if err != nil {
			return time.Time{}, err
		}
		text = q
	} else {
		text = d.while(func(c byte) bool { return isAtom(c) })
	}
	if len(text) < 10 || len(text) > 11 {
		return time.Time{}, syntaxf("Invalid date.")
	}
	t, err := time.Parse("2-Jan-2006", string(text))
	if err != nil {
		return time.Time{}, syntaxf("Invalid date.")
	}
	return t, nil
}

// quotedDate reads a quoted string that no date fits which has escapes.
func (d *Decoder) quotedDate() ([]byte, error) {
	rest := d.line[d.pos:]
	if len(rest) == 0 || rest[0] != '"' {
		return nil, syntaxf("Expected a date.")
	}
	end := bytes.IndexByte(rest[1:], '"')
	if end < 0 {
		return nil, syntaxf("Expected a date.")
	}
	d.pos += end + 2
	return rest[1 : 1+end], nil
}
