package mailbox

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Inbox is the one name that every user has. It is spelt in capitals wherever this
// module hands it out (RFC 9051 section 5.1).
const Inbox = "INBOX"

// Limits of mailbox names, as Dovecot has them.
const (
	MaxPart = 255  // bytes of one level, in the encoding it is stored in
	MaxName = 4096 // bytes of a whole name
)

// ErrUTF7 reports text that is not canonical modified UTF-7 (RFC 3501 section 5.1.3).
var ErrUTF7 = errors.New("mailbox: not modified UTF-7")

// modified is the base64 of RFC 3501 section 5.1.3: "," for "/", and no padding.
// Strict, so that a name has one spelling only.
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 writes UTF-8 as modified UTF-7. Invalid bytes become U+FFFD: check the
// name first.
func EncodeUTF7(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return !direct(r) })
		if n < 0 {
			n = len(s)
		}
		b.WriteString(strings.ReplaceAll(s[:n], "&", "&-"))
		s = s[n:]
		n = strings.IndexFunc(s, direct)
		if n < 0 {
			n = len(s)
		}
		if n > 0 {
			b.WriteString(shift(s[:n]))
		}
		s = s[n:]
	}
	return b.String()
}

// direct reports whether a character stands for itself (or as "&-").
func direct(r rune) bool { return r >= 0x20 && r <= 0x7e }

// shift encodes a run of characters that are not direct.
func shift(s string) string {
	raw := make([]byte, 0, 2*len(s))
	for _, u := range utf16.Encode([]rune(s)) {
		raw = append(raw, byte(u>>8), byte(u))
	}
	return "&" + modified.EncodeToString(raw) + "-"
}

// DecodeUTF7 reads modified UTF-7. Only the canonical form is taken, as in Dovecot:
// no printable ASCII and no half surrogate inside a shift, no two shifts in a row, no
// bytes outside printable ASCII. The error wraps ErrUTF7.
func DecodeUTF7(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c < 0x20 || c > 0x7e {
			return "", fmt.Errorf("%w: byte %#02x", ErrUTF7, c)
		}
		if c != '&' {
			b.WriteByte(c)
			i++
			continue
		}
		n := strings.IndexByte(s[i:], '-')
		if n < 0 {
			return "", fmt.Errorf("%w: shift without end", ErrUTF7)
		}
		if n == 1 {
			b.WriteByte('&')
			i += 2
			continue
		}
		if err := unshift(&b, s[i+1:i+n]); err != nil {
			return "", err
		}
		i += n + 1
		if strings.HasPrefix(s[i:], "&") && !strings.HasPrefix(s[i:], "&-") {
			return "", fmt.Errorf("%w: two shifts in a row", ErrUTF7)
		}
	}
	return b.String(), nil
}

// unshift decodes what stands between "&" and "-".
func unshift(b *strings.Builder, enc string) error {
	// The decoder would skip line ends.
	if strings.ContainsAny(enc, "\r\n") {
		return fmt.Errorf("%w: line end in a shift", ErrUTF7)
	}
	raw, err := modified.DecodeString(enc)
	if err != nil || len(raw)%2 != 0 {
		return fmt.Errorf("%w: bad base64", ErrUTF7)
	}
	for len(raw) > 0 {
		r := rune(raw[0])<<8 | rune(raw[1])
		raw = raw[2:]
		if utf16.IsSurrogate(r) {
			if len(raw) < 2 {
				return fmt.Errorf("%w: half surrogate", ErrUTF7)
			}
			r = utf16.DecodeRune(r, rune(raw[0])<<8|rune(raw[1]))
			if r == utf8.RuneError {
				return fmt.Errorf("%w: half surrogate", ErrUTF7)
			}
			raw = raw[2:]
		}
		if direct(r) {
			return fmt.Errorf("%w: printable ASCII in a shift", ErrUTF7)
		}
		b.WriteRune(r)
	}
	return nil
}

// CanonicalName returns name with INBOX, as the whole of its first level, in capitals.
// All other names differ by case (RFC 9051 section 5.1).
func CanonicalName(name string, sep byte) string {
	first, _, _ := strings.Cut(name, string(rune(sep)))
	if strings.EqualFold(first, Inbox) && len(first) == len(Inbox) {
		return Inbox + name[len(Inbox):]
	}
	return name
}

// CheckName reports whether a mailbox may be made under a name: no empty level, no
// "." or "..", no "~" at the start, no "/" within a level, no control characters, valid
// UTF-8, and not too long. A store may be stricter. The error wraps ErrName, or ErrLimit
// where only the length is wrong.
func CheckName(name string, sep byte) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: name of %d bytes", ErrLimit, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: invalid UTF-8", ErrName)
	case name[0] == '~':
		return fmt.Errorf("%w: begins with '~'", ErrName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return fmt.Errorf("%w: control character", ErrName)
	}
	for _, p := range SplitName(name, sep) {
		switch {
		case p == "":
			return fmt.Errorf("%w: empty level", ErrName)
		case p == "." || p == "..":
			return fmt.Errorf("%w: level %q", ErrName, p)
		case strings.IndexByte(p, '/') >= 0:
			return fmt.Errorf("%w: '/' in a level", ErrName)
		}
	}
	return nil
}

// SplitName returns the levels of a name.
func SplitName(name string, sep byte) []string {
	return strings.Split(name, string(rune(sep)))
}

// JoinName joins levels.
func JoinName(parts []string, sep byte) string {
	return strings.Join(parts, string(rune(sep)))
}

// ParentName returns the name one level up, or "" for the first level.
func ParentName(name string, sep byte) string {
	return name[:max(0, strings.LastIndexByte(name, sep))]
}

// IsBelow reports whether name is a level below parent.
func IsBelow(name, parent string, sep byte) bool {
	return len(name) > len(parent) && name[len(parent)] == sep && name[:len(parent)] == parent
}
