package imapwire

import (
	"bytes"
	"strings"
)

// maxTag bounds a tag, which every answer repeats.
const maxTag = 256

// Peek returns the next octet of the line, 0 at its end.
func (d *Decoder) Peek() byte {
	if d.pos < len(d.line) {
		return d.line[d.pos]
	}
	return 0
}

// AtEnd reports whether the line, and so the command, ends here.
func (d *Decoder) AtEnd() bool { return d.pos >= len(d.line) }

// End fails unless the command ends here.
func (d *Decoder) End() error {
	if !d.AtEnd() {
		return syntaxf("Unexpected text after the command.")
	}
	return nil
}

// Try consumes the octet c if it comes next.
func (d *Decoder) Try(c byte) bool {
	if d.pos < len(d.line) && d.line[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

// Expect consumes the octet c or fails.
func (d *Decoder) Expect(c byte) error {
	if d.Try(c) {
		return nil
	}
	if c == ' ' {
		return syntaxf("Expected a space.")
	}
	return syntaxf("Expected %q.", string(rune(c)))
}

// SP consumes one space or fails.
func (d *Decoder) SP() error { return d.Expect(' ') }

// TryWord consumes word, compared without regard to case, if it comes next and no
// atom character follows.
func (d *Decoder) TryWord(word string) bool {
	rest := d.line[d.pos:]
	if len(rest) < len(word) || !strings.EqualFold(string(rest[:len(word)]), word) {
		return false
	}
	if len(rest) > len(word) && isAtom(rest[len(word)]) {
		return false
	}
	d.pos += len(word)
	return true
}

// TryPrefix consumes text, compared without regard to case, if the line goes on with it.
func (d *Decoder) TryPrefix(text string) bool {
	rest := d.line[d.pos:]
	if len(rest) < len(text) || !strings.EqualFold(string(rest[:len(text)]), text) {
		return false
	}
	d.pos += len(text)
	return true
}

// List calls item for each word of a parenthesised list that begins here; words are
// separated by single spaces. The list may be empty.
func (d *Decoder) List(item func() error) error {
	if err := d.Expect('('); err != nil {
		return err
	}
	if err := d.Enter(); err != nil {
		return err
	}
	defer d.Leave()
	if d.Try(')') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if d.Try(')') {
			return nil
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
}

// Enter notes one more level of nesting and fails where it is too deep. Parsers that
// recurse without parentheses (NOT, OR) call it too; Leave undoes it.
func (d *Decoder) Enter() error {
	if d.depth++; d.depth > d.limits.Depth {
		return syntaxf("Nested too deep.")
	}
	return nil
}

// Leave undoes Enter.
func (d *Decoder) Leave() { d.depth-- }

// while consumes octets as long as ok holds. The slice is part of the line.
func (d *Decoder) while(ok func(byte) bool) []byte {
	start := d.pos
	for d.pos < len(d.line) && ok(d.line[d.pos]) {
		d.pos++
	}
	return d.line[start:d.pos]
}

// IsAtomChar reports whether an atom may hold c.
func IsAtomChar(c byte) bool { return isAtom(c) }

// isAtom is ATOM-CHAR of RFC 9051 section 9: no specials, spaces, controls or 8-bit.
func isAtom(c byte) bool {
	return c > 0x20 && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c))
}

// isAStringChar allows octets above 0x7f, which the grammar does not: what they mean
// (a user name, a mailbox name) is for the caller to judge and to refuse.
func isAStringChar(c byte) bool { return isAtom(c) || c == ']' || c >= 0x80 }

// Tag reads the tag of a command.
func (d *Decoder) Tag() (string, error) {
	tag := d.while(func(c byte) bool { return c != '+' && (isAtom(c) || c == ']') })
	if len(tag) == 0 || len(tag) > maxTag {
		return "", syntaxf("Invalid tag.")
	}
	return string(tag), nil
}

// Atom reads an atom.
func (d *Decoder) Atom() (string, error) {
	a := d.while(isAtom)
	if len(a) == 0 {
		return "", syntaxf("Expected an atom.")
	}
	return string(a), nil
}

// Word reads an atom that also ends before any character of stop, as the word before
// a bracket does.
func (d *Decoder) Word(stop string) (string, error) {
	w := d.while(func(c byte) bool { return isAtom(c) && strings.IndexByte(stop, c) < 0 })
	if len(w) == 0 {
		return "", syntaxf("Expected a word.")
	}
	return string(w), nil
}

// Keyword reads a word of the protocol and returns it in upper case.
func (d *Decoder) Keyword() (string, error) {
	a, err := d.Atom()
	return strings.ToUpper(a), err
}

// AString reads an atom, a quoted string or a literal into memory of its own, which
// the caller may overwrite.
func (d *Decoder) AString() ([]byte, error) { return d.astring(isAStringChar) }

// Credential is AString for LOGIN, where an unquoted user may hold "*" and "%" too: clients
// write the names of master users so, and Dovecot reads them.
func (d *Decoder) Credential() ([]byte, error) {
	return d.astring(func(c byte) bool { return isAStringChar(c) || c == '*' || c == '%' })
}

func (d *Decoder) astring(in func(byte) bool) ([]byte, error) {
	switch d.Peek() {
	case '"', '{', '~':
		if d.Peek() != '~' || bytes.HasPrefix(d.line[d.pos:], []byte("~{")) {
			return d.String()
		}
	}
	a := d.while(in)
	if len(a) == 0 {
		return nil, syntaxf("Expected a string.")
	}
	return bytes.Clone(a), nil
}

// String reads a quoted string or a literal into memory of its own.
func (d *Decoder) String() ([]byte, error) {
	if d.Peek() == '"' {
		return d.quoted()
	}
	return d.literalBytes()
}

// NString reads a string or NIL; nil stands for NIL.
func (d *Decoder) NString() ([]byte, error) {
	if d.TryWord("NIL") {
		return nil, nil
	}
	return d.String()
}

// quoted reads a quoted string. Octets above 0x7f are taken here and judged by the caller.
func (d *Decoder) quoted() ([]byte, error) {
	d.pos++
	out := make([]byte, 0, 32)
	for d.pos < len(d.line) {
		c := d.line[d.pos]
		d.pos++
		switch c {
		case '"':
			return out, nil
		case '\\':
			c = d.Peek()
			if c != '"' && c != '\\' {
				return nil, syntaxf("Invalid escape in a quoted string.")
			}
			d.pos++
		case 0, '\r':
			return nil, syntaxf("Invalid octet in a quoted string.")
		}
		if len(out) == cap(out) {
			// Growing by hand: append would leave a copy of a password behind.
			grown := make([]byte, len(out), 2*cap(out))
			copy(grown, out)
			clear(out)
			out = grown
		}
		out = append(out, c)
	}
	return nil, syntaxf("Quoted string without an end.")
}

// ListMailbox reads the pattern of LIST: an atom that may hold wildcards, or a string.
func (d *Decoder) ListMailbox() ([]byte, error) {
	if c := d.Peek(); c == '"' || c == '{' {
		return d.String()
	}
	p := d.while(func(c byte) bool { return isAStringChar(c) || c == '%' || c == '*' })
	if len(p) == 0 {
		return nil, syntaxf("Expected a mailbox pattern.")
	}
	return bytes.Clone(p), nil
}

// Flag reads one flag: a keyword, or a backslash and an atom.
func (d *Decoder) Flag() (string, error) {
	prefix := ""
	if d.Try('\\') {
		prefix = `\`
	}
	a, err := d.Atom()
	if err != nil {
		return "", syntaxf("Invalid flag.")
	}
	return prefix + a, nil
}

// FlagList reads flags in parentheses.
func (d *Decoder) FlagList() ([]string, error) {
	var flags []string
	err := d.List(func() error {
		f, err := d.Flag()
		flags = append(flags, f)
		return err
	})
	return flags, err
}

// parseNumber reads digits and nothing else; the number is at most max.
func parseNumber(digits []byte, limit int64) (int64, bool) {
	if len(digits) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v := int64(c - '0')
		if n > (limit-v)/10 {
			return 0, false
		}
		n = n*10 + v
	}
	return n, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Number reads a number below 2^32.
func (d *Decoder) Number() (uint32, error) {
	n, ok := parseNumber(d.while(isDigit), 1<<32-1)
	if !ok {
		return 0, syntaxf("Invalid number.")
	}
	return uint32(n), nil
}

// NZNumber reads a number from 1 to 2^32-1 that does not begin with 0.
func (d *Decoder) NZNumber() (uint32, error) {
	if d.Peek() == '0' {
		return 0, syntaxf("Invalid number.")
	}
	return d.Number()
}

// Number64 reads a number below 2^63.
func (d *Decoder) Number64() (int64, error) {
	n, ok := parseNumber(d.while(isDigit), 1<<63-1)
	if !ok {
		return 0, syntaxf("Invalid number.")
	}
	return n, nil
}
