package message

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// contentType reads type, "/" and subtype; ok is false where they are not valid, and
// then the parameters are not to be read. Of a type alone, typ is set.
func (l *lexer) contentType() (typ, sub string, ok bool) {
	if l.space() != more {
		return "", "", false
	}
	t, st := l.token(nil)
	if st != more {
		return string(t), "", false
	}
	if len(t) == 0 || l.b[0] != '/' {
		return "", "", false
	}
	l.b = l.b[1:]
	if l.space() != more {
		return "", "", false
	}
	s, st := l.token(nil)
	if st == bad || len(s) == 0 || len(l.b) > 0 && l.b[0] != ';' {
		return "", "", false
	}
	return string(t), string(s), true
}

// A piece is one parameter as it stands in the field: name, name*, name*0, name*0*.
type piece struct {
	name, value string
	index       uint32
	split       bool // it has an asterisk
	extended    bool // its value is percent-encoded
}

// params reads *(";" name "=" value) and joins the pieces of RFC 2231 section 3. At
// most limit pieces are looked at; cut reports that there were more. Plain parameters
// come first, joined ones after them sorted by name, as Dovecot orders them.
func (l *lexer) params(limit int) (list [][2]string, cut bool) {
	var split []piece
	for n := 0; len(l.b) > 0; n++ {
		if n == limit {
			cut = true
			break
		}
		p, ok := l.param()
		if !ok {
			// Go on behind the byte that is wrong, which may be a semicolon.
			if len(l.b) > 0 {
				l.b = l.b[1:]
			}
			continue
		}
		if p.split {
			split = append(split, p)
		} else {
			list = append(list, [2]string{p.name, p.value})
		}
	}
	slices.SortStableFunc(split, func(a, b piece) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return int(int64(a.index) - int64(b.index))
	})
	for len(split) > 0 {
		n := 1
		for n < len(split) && strings.EqualFold(split[n].name, split[0].name) {
			n++
		}
		list = append(list, join(split[:n])...)
		split = split[n:]
	}
	return list, cut
}

// join makes one parameter of the pieces of a name, or leaves them apart where the
// numbers are not 0, 1, 2...
func join(pieces []piece) [][2]string {
	extended := false
	for i, p := range pieces {
		if p.index != uint32(i) {
			return apart(pieces)
		}
		extended = extended || p.extended
	}
	name := pieces[0].name
	var v strings.Builder
	if extended {
		name += "*"
		if !pieces[0].extended {
			v.WriteString("''") // no charset, no language
		}
	}
	for _, p := range pieces {
		if extended && !p.extended {
			p.value = strings.ReplaceAll(p.value, "%", "%25")
		}
		v.WriteString(p.value)
	}
	return [][2]string{{name, v.String()}}
}

func apart(pieces []piece) (list [][2]string) {
	for _, p := range pieces {
		name := p.name + "*" + strconv.FormatUint(uint64(p.index), 10)
		if p.extended {
			name += "*"
		}
		list = append(list, [2]string{name, p.value})
	}
	return list
}

// param reads one ";" name "=" value.
func (l *lexer) param() (p piece, ok bool) {
	if !l.at(';') {
		return p, false
	}
	l.b = l.b[1:]
	if l.space() != more {
		return p, false
	}
	name, st := l.token(nil)
	if st != more || !l.at('=') {
		return p, false
	}
	l.b = l.b[1:]
	var value []byte
	switch st = l.space(); {
	case st != more: // no value
	case l.b[0] == '"':
		value, st = l.quoted(nil)
	case l.b[0] == '=':
		// name==?utf-8?q?...?=, an RFC 2047 word where none is allowed.
		n := bytes.IndexAny(l.b, "; \t\r\n")
		if n < 0 {
			n = len(l.b)
		}
		value, l.b = l.b[:n], l.b[n:]
	default:
		value, st = l.token(nil)
	}
	if st == bad {
		return p, false
	}
	p = piece{name: string(name), value: string(value)}
	p.splitName()
	return p, true
}

// splitName takes the asterisks off a name: "*" 1*DIGIT ["*"], or "*" alone.
func (p *piece) splitName() {
	name, rest, found := strings.Cut(p.name, "*")
	if !found {
		return
	}
	digits := strings.TrimLeft(rest, "0123456789")
	var index uint32
	for _, c := range []byte(rest[:len(rest)-len(digits)]) {
		index = index*10 + uint32(c-'0')
	}
	if rest != "" && digits != "" && digits != "*" {
		return // not a form of RFC 2231
	}
	p.name, p.index, p.split = name, index, true
	p.extended = rest == "" || digits == "*"
}

// Param returns the value of a parameter as UTF-8, RFC 2231 decoded; the name is
// compared without regard to case.
func Param(params [][2]string, name string) (string, bool) {
	for _, p := range params {
		if base, ok := strings.CutSuffix(p[0], "*"); ok && strings.EqualFold(base, name) {
			return decodeExtended(p[1]), true
		}
	}
	for _, p := range params {
		if strings.EqualFold(p[0], name) {
			return DecodeHeader([]byte(p[1])), true // many programs put RFC 2047 words here
		}
	}
	return "", false
}

// decodeExtended decodes charset'language'percent-encoded (RFC 2231 section 4).
func decodeExtended(v string) string {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return v
	}
	_, text, ok := strings.Cut(rest, "'")
	if !ok {
		return v
	}
	raw := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]) {
			raw = append(raw, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
			continue
		}
		raw = append(raw, text[i])
	}
	return toUTF8(raw, charset)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
