package imapd

import (
	"bytes"
	"strings"
	"testing"

	"mailcrypt/message"
)

// slowInHeader is inHeader without what spares work.
func slowInHeader(k *searchKey, head []byte) bool {
	for f := range message.FieldsNamed(head, k.field) {
		_, value, ok := bytes.Cut(f, []byte{':'})
		if !ok {
			continue
		}
		value = bytes.TrimSpace(value)
		if k.subject {
			value = bytes.Join(bytes.Fields(value), []byte{' '})
		}
		if k.needle == "" || contains(message.DecodeHeader(spaceFolds(value)), k.needle) ||
			k.address && contains(message.DecodeHeader([]byte(message.AddressText(value))), k.needle) {
			return true
		}
	}
	return false
}

// FuzzInHeader: what is left out of the search in a field changes no answer.
func FuzzInHeader(f *testing.F) {
	for _, value := range []string{
		"John Doe <john.doe@example.org>", `"Doe, John" <john@example.org>, b@x`, "a (x y) b <a@b>", "ab(c)cd <a@b>", `"ab""cd" <x@y>`,
		`"ab"cd <x@y>`, `ab"cd" <x@y>`, `"a\b" <x@y>`, "John <@route:a@b>", "group: a@b, c d <e@f>;", "foo bar@example", "a . b @ c . d",
		"<a@[1 2]>", "<>", "undisclosed-recipients:;", "john", "=?utf-8?q?J=C3=B6rg?= <j@x>", "J\u00f6rg <j@x>", "a\r\n b <c@d>", "a\r\n\tb <c@d>",
		"a  b <c@d>", "a\x00b", "a b@c d", "<a b@c>", "a@b c@d", ",,,a@b", "x:y", ";", `"`, `" <a@b>`, "a <b@c> d", "a@b (c) d@e",
	} {
		for _, needle := range []string{"john", "Doe, John", `"John`, "a b", "a.b", "abcd", "cd", "x y", "", "MISSING", "@", "jörg", "e@f", "ba", "12", "barexample"} {
			f.Add(value, needle)
		}
	}
	f.Fuzz(func(t *testing.T, value, needle string) {
		if len(value)+len(needle) > 1<<10 {
			return
		}
		head := []byte("To: nobody\r\nFrom: " + value + "\r\nsubject: " + value + "\r\nX: y\r\n\r\n")
		folded := foldString(needle)
		for _, field := range []string{"from", "subject", "x", "cc"} {
			k := &searchKey{kind: keyHeader, field: field, needle: folded, find: []byte(folded), run: addressRun(folded)}
			k.subject, k.address = field == "subject", field == "from" || field == "cc"
			var s fieldSearch
			if got, want := s.inHeader(k, head), slowInHeader(k, head); got != want {
				t.Errorf("%s %q in %q: %t, want %t; the one form is %q", field, needle, value, got, want, message.AddressText([]byte(value)))
			}
		}
	})
}

func BenchmarkInHeader(b *testing.B) {
	head := []byte("Return-Path: <someone@example.org>\r\nDelivered-To: alice@example.net\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\nFrom: \"Some One\" <someone@example.org>\r\n" +
		"To: Alice <alice@example.net>\r\nSubject: " + strings.Repeat("words ", 8) + "\r\nMessage-ID: <1234567890@example.org>\r\nReferences: <1@example.org>\r\n <2@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	k := &searchKey{kind: keyHeader, field: "from", needle: "NOBODY", find: []byte("NOBODY"), run: addressRun("NOBODY"), address: true}
	var s fieldSearch
	b.ReportAllocs()
	for b.Loop() {
		if s.inHeader(k, head) {
			b.Fatal("found")
		}
	}
}
