package imapd

import "strings"

// maxPattern bounds a LIST pattern: matching costs its length times that of a name.
const maxPattern = 1000

// A pattern matches mailbox names: "*" any characters, "%" any but the separator.
type pattern struct {
	p   string
	sep byte
	// cur and next are which positions of p can have been reached, kept between calls.
	cur, next []bool
}

// newPattern makes a pattern. Runs of wildcards are shortened, for "*" swallows what
// stands beside it.
func newPattern(p string, sep byte) *pattern {
	var b strings.Builder
	for i := 0; i < len(p); {
		if p[i] != '*' && p[i] != '%' {
			b.WriteByte(p[i])
			i++
			continue
		}
		wild := byte('%')
		for i < len(p) && (p[i] == '*' || p[i] == '%') {
			if p[i] == '*' {
				wild = '*'
			}
			i++
		}
		b.WriteByte(wild)
	}
	m := &pattern{p: b.String(), sep: sep}
	m.cur, m.next = make([]bool, len(m.p)+1), make([]bool, len(m.p)+1)
	return m
}

// match reports whether the whole name matches. It follows all ways at once, so the
// time is at most the product of the two lengths, whatever the wildcards. INBOX
// matches in any case.
func (m *pattern) match(name string) bool {
	clear(m.cur)
	m.reach(m.cur, 0)
	inbox := len(name) >= 5 && name[:5] == "INBOX" && (len(name) == 5 || name[5] == m.sep)
	for i := range len(name) {
		c := name[i]
		clear(m.next)
		alive := false
		for k, on := range m.cur[:len(m.p)] {
			if !on {
				continue
			}
			switch p := m.p[k]; {
			case p == '*' || p == '%' && c != m.sep:
				m.reach(m.next, k)
			case p == '%':
				continue
			case p == c || inbox && i < 5 && upper(p) == c:
				m.reach(m.next, k+1)
			default:
				continue
			}
			alive = true
		}
		if !alive {
			return false
		}
		m.cur, m.next = m.next, m.cur
	}
	return m.cur[len(m.p)]
}

// reach marks a position, and those behind wildcards that match nothing.
func (m *pattern) reach(set []bool, k int) {
	for !set[k] {
		set[k] = true
		if k == len(m.p) || m.p[k] != '*' && m.p[k] != '%' {
			return
		}
		k++
	}
}

// upper turns one ASCII letter.
func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
