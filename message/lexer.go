package message

import "bytes"

// nulText takes the place of a NUL byte in what a client is shown; IMAP strings
// cannot hold one.
const nulText = "\uFFFD"

// A lexer reads the tokens of structured header fields (RFC 5322 section 3.2, RFC
// 2045 section 5.1) as leniently as Dovecot's rfc822-parser.c: bytes above 127 are
// atom characters, folds vanish, comments count as white space.
type lexer struct {
	b []byte
	// comment is the text of the last comment skipped, if keep is set.
	comment []byte
	keep    bool
}

// A state tells how a production ended.
type state int

const (
	bad  state = -1 // not what the grammar wants
	end  state = 0  // the field ended here
	more state = 1  // there is another byte
)

func (l *lexer) left() state {
	if len(l.b) == 0 {
		return end
	}
	return more
}

// at reports whether the next byte is c.
func (l *lexer) at(c byte) bool { return len(l.b) > 0 && l.b[0] == c }

// space skips white space and comments.
func (l *lexer) space() state {
	for len(l.b) > 0 {
		switch l.b[0] {
		case ' ', '\t', '\r', '\n':
			l.b = l.b[1:]
		case '(':
			if !l.skipComment() {
				return bad
			}
		default:
			return more
		}
	}
	return end
}

// skipComment skips a comment, which may nest. An unfinished one takes all that is
// left and is an error; of its text only what stands before the last fold, escape or
// NUL is kept, as in Dovecot.
func (l *lexer) skipComment() bool {
	l.comment = l.comment[:0]
	level, kept := 0, 0
	text := func(c ...byte) {
		if l.keep {
			l.comment = append(l.comment, c...)
		}
	}
	for i := 0; i < len(l.b); i++ {
		switch c := l.b[i]; c {
		case '(':
			if level++; level > 1 {
				text(c)
			}
		case ')':
			if level--; level == 0 {
				l.b = l.b[i+1:]
				return true
			}
			text(c)
		case '\\':
			if i+1 < len(l.b) && l.b[i+1] != '\r' && l.b[i+1] != '\n' && l.b[i+1] != 0 {
				i++
				kept = len(l.comment)
			}
			text(l.b[i])
		case '\n':
			l.comment = bytes.TrimSuffix(l.comment, cr)
			kept = len(l.comment)
		case 0:
			text(nulText[0], nulText[1], nulText[2])
			kept = len(l.comment)
		default:
			text(c)
		}
	}
	l.b, l.comment = nil, l.comment[:kept]
	return false
}

var cr = []byte{'\r'}

// run appends the bytes of a class that come next, then skips space.
func (l *lexer) run(dst []byte, class func(byte) bool) ([]byte, state) {
	i := 0
	for i < len(l.b) && class(l.b[i]) {
		i++
	}
	dst = append(dst, l.b[:i]...)
	if l.b = l.b[i:]; len(l.b) == 0 {
		return dst, end
	}
	return dst, l.space()
}

func (l *lexer) atom(dst []byte) ([]byte, state) {
	if len(l.b) == 0 || !isAtext(l.b[0]) {
		return dst, bad
	}
	return l.run(dst, isAtext)
}

func (l *lexer) token(dst []byte) ([]byte, state) { return l.run(dst, isToken) }

// dotAtom reads atoms joined by dots, with space around the dots (obs-domain).
func (l *lexer) dotAtom(dst []byte) ([]byte, state) {
	dst, st := l.atom(dst)
	for st == more && l.at('.') {
		dst = append(dst, '.')
		l.b = l.b[1:]
		if st = l.space(); st != more {
			return dst, bad
		}
		if dst, st = l.atom(dst); st == bad {
			return dst, bad
		}
	}
	return dst, st
}

// quoted reads a quoted string, whose first byte is next.
func (l *lexer) quoted(dst []byte) ([]byte, state) {
	start := len(dst)
	for i := 1; i < len(l.b); i++ {
		switch c := l.b[i]; c {
		case '"':
			l.b = l.b[i+1:]
			return dst, l.space()
		case '\n':
			if len(dst) > start && dst[len(dst)-1] == '\r' {
				dst = dst[:len(dst)-1]
			}
		case '\\':
			// A pair with CR, LF or NUL is obsolete syntax: both bytes stay.
			if i+1 < len(l.b) && l.b[i+1] != '\r' && l.b[i+1] != '\n' && l.b[i+1] != 0 {
				i++
			}
			dst = append(dst, l.b[i])
		case 0:
			dst = append(dst, nulText...)
		default:
			dst = append(dst, c)
		}
	}
	l.b = nil
	return dst[:start], bad
}

// phrase reads words separated by space, dots allowed (obs-phrase).
func (l *lexer) phrase(dst []byte) ([]byte, state) {
	if len(l.b) == 0 {
		return dst, end
	}
	if l.b[0] == '.' {
		return dst, bad
	}
	for {
		var st state
		if l.b[0] == '"' {
			dst, st = l.quoted(dst)
		} else {
			dst, st = l.run(dst, func(c byte) bool { return isAtext(c) || c == '.' })
		}
		if st != more {
			return dst, st
		}
		if c := l.b[0]; !isAtext(c) && c != '"' && c != '.' {
			return dst, more
		}
		dst = append(dst, ' ')
	}
}

// domain reads the part after an at sign, which is next.
func (l *lexer) domain(dst []byte) ([]byte, state) {
	l.b = l.b[1:]
	if l.space() != more {
		return dst, bad
	}
	if l.b[0] == '[' {
		return l.domainLiteral(dst)
	}
	return l.dotAtom(dst)
}

func (l *lexer) domainLiteral(dst []byte) ([]byte, state) {
	start := len(dst)
	dst = append(dst, '[')
	for i := 1; i < len(l.b); i++ {
		switch c := l.b[i]; c {
		case '[':
			l.b = l.b[i:]
			return dst[:start], bad
		case ']':
			dst = append(dst, c)
			l.b = l.b[i+1:]
			return dst, l.space()
		case '\n':
			dst = bytes.TrimSuffix(dst, cr)
		case '\\':
			// The backslash stays, unlike in a quoted string.
			dst = append(dst, c)
			if i+1 < len(l.b) && l.b[i+1] != '\r' && l.b[i+1] != '\n' && l.b[i+1] != 0 {
				i++
				dst = append(dst, l.b[i])
			}
		case 0:
			dst = append(dst, nulText...)
		default:
			dst = append(dst, c)
		}
	}
	l.b = nil
	return dst[:start], bad
}

// isAtext reports an atom character of RFC 5322 section 3.2.3.
func isAtext(c byte) bool {
	if c >= 128 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
		return true
	}
	return c > ' ' && c < 127 && bytes.IndexByte(specials, c) < 0
}

// isToken reports a token character of RFC 2045 section 5.1.
func isToken(c byte) bool {
	return c == '.' || isAtext(c) && c != '/' && c != '?' && c != '='
}

var specials = []byte(`()<>[]:;@\,."`)
