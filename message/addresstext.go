package message

import "strings"

// AddressText returns the addresses of a field's value in one form, `"A Name" <a@b>, <c@d>`,
// for FROM, TO and the like of SEARCH: comments, folds and odd spaces are gone. Encoded
// words are left for [DecodeHeader]. It is Dovecot's message_address_write.
func AddressText(value []byte) string {
	list, _ := parseAddresses(nil, value, Limits{}.withDefaults().Addresses)
	var b strings.Builder
	inGroup, first := false, true
	for i := range list {
		a := &list[i]
		if a.Host == nil && inGroup {
			inGroup, first = false, false
			b.WriteByte(';')
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		if a.Host == nil {
			inGroup, first = true, true
			b.WriteString(quotePhrase(orEmpty(a.Mailbox)))
			b.WriteString(": ")
			continue
		}
		a.write(&b)
	}
	return b.String()
}

// write writes one address that is no group.
func (a *Address) write(b *strings.Builder) {
	if name := orEmpty(a.Name); name != "" {
		b.WriteString(quotePhrase(name))
		b.WriteByte(' ')
	}
	b.WriteByte('<')
	if a.ADL != nil {
		b.WriteString(*a.ADL)
		b.WriteByte(':')
	}
	b.WriteString(quoteLocal(orEmpty(a.Mailbox)))
	if host := orEmpty(a.Host); host != "" {
		b.WriteByte('@')
		b.WriteString(host)
	}
	b.WriteByte('>')
}

// orEmpty is "" for nil.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// quotePhrase quotes a name unless it is one atom. An encoded word must not be quoted (RFC
// 2047 section 5).
func quotePhrase(s string) string {
	if strings.Contains(s, "=?") {
		return s
	}
	return quoteUnless(s, isAtext)
}

// quoteLocal quotes a local part unless it is a dot-atom.
func quoteLocal(s string) string {
	return quoteUnless(s, func(c byte) bool { return c == '.' || isAtext(c) })
}

// quoteUnless quotes a text that is empty or has other characters.
func quoteUnless(s string, plain func(byte) bool) string {
	for i := range len(s) {
		if !plain(s[i]) {
			return quoteText(s)
		}
	}
	if s == "" {
		return quoteText(s)
	}
	return s
}

// quoteText makes a quoted-string.
func quoteText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}
