package mailbox

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for _, tt := range []struct{ plain, enc string }{
		{"", ""},
		{"INBOX", "INBOX"},
		{"x&y", "x&-y"},
		{"&", "&-"},
		{"Bü", "B&APw-"},
		{"Zwölf", "Zw&APY-lf"},
		{"メール", "&MOEw,DDr-"},
		{"Bär & co", "B&AOQ-r &- co"},
		{"ü&ü", "&APw-&-&APw-"},
		{"\u00a0~peter/mail/日本語/台北", "&AKA-~peter/mail/&ZeVnLIqe-/&U,BTFw-"}, // RFC 3501 section 5.1.3
		{"😀", "&2D3eAA-"},
		{"a\tb", "a&AAk-b"},
	} {
		if got := EncodeUTF7(tt.plain); got != tt.enc {
			t.Errorf("EncodeUTF7(%q) = %q, want %q", tt.plain, got, tt.enc)
		}
		got, err := DecodeUTF7(tt.enc)
		if got != tt.plain || err != nil {
			t.Errorf("DecodeUTF7(%q) = %q, %v; want %q", tt.enc, got, err, tt.plain)
		}
	}
}

func TestDecodeUTF7Refused(t *testing.T) {
	for name, enc := range map[string]string{
		"shift without end": "a&APw",
		"only an ampersand": "&",
		"printable inside":  "&AGE-",
		"ampersand inside":  "&ACY-",
		"high surrogate":    "&2D0-",
		"low surrogate":     "&3gA-",
		"swapped pair":      "&3gDYPQ-",
		"two shifts":        "&APw-&APw-",
		"slash of base64":   "&U/BTFw-",
		"padding":           "&APw=-",
		"spare bits":        "&APx-",
		"odd length":        "&AP-",
		"line end":          "&AP\nw-",
		"8 bit":             "B\xc3\xbc",
		"control":           "a\x01",
	} {
		if got, err := DecodeUTF7(enc); !errors.Is(err, ErrUTF7) {
			t.Errorf("%s: DecodeUTF7(%q) = %q, %v", name, enc, got, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		name string
		sep  byte
		want error
	}{
		{"INBOX", '.', nil},
		{"A/B", '/', nil},
		{"dot.name", '/', nil},
		{".hidden", '/', nil},
		{"...", '/', nil},
		{"x&y Ü", '.', nil},
		{"C1\u0085", '.', nil},
		{"", '/', ErrName},
		{"a//b", '/', ErrName},
		{"/lead", '/', ErrName},
		{"trail/", '/', ErrName},
		{"..", '/', ErrName},
		{"a/../b", '/', ErrName},
		{"a/./b", '/', ErrName},
		{"../x", '.', ErrName},
		{"a/b", '.', ErrName},
		{"~tilde", '/', ErrName},
		{"a\x00b", '/', ErrName},
		{"a\tb", '/', ErrName},
		{"a\x7f", '/', ErrName},
		{"a\xff", '/', ErrName},
		{strings.Repeat("a/", 2100) + "b", '/', ErrLimit},
	} {
		if err := CheckName(tt.name, tt.sep); !errors.Is(err, tt.want) {
			t.Errorf("CheckName(%.40q, %q) = %v, want %v", tt.name, tt.sep, err, tt.want)
		}
	}
}

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{
		"inbox": "INBOX", "InBox/Child": "INBOX/Child", "Inbox2": "Inbox2", "a/inbox": "a/inbox",
		"inbox.x": "inbox.x", "": "", "\u0131nbox": "\u0131nbox",
	} {
		if got := CanonicalName(in, '/'); got != want {
			t.Errorf("CanonicalName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLevels(t *testing.T) {
	if got := ParentName("a/b/c", '/'); got != "a/b" {
		t.Errorf("ParentName = %q", got)
	}
	if got := ParentName("a", '/'); got != "" {
		t.Errorf("ParentName of the first level = %q", got)
	}
	if !IsBelow("a/b", "a", '/') || IsBelow("ab", "a", '/') || IsBelow("a", "a", '/') {
		t.Error("IsBelow is wrong")
	}
	if got := JoinName(SplitName("a.b.c", '.'), '/'); got != "a/b/c" {
		t.Errorf("JoinName = %q", got)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"INBOX", "x&-y", "B&APw-", "&2D3eAA-", "&", "&AGE-", "a\xff", "../x", "&APw-&-&APw-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if dec, err := DecodeUTF7(s); err == nil {
			if enc := EncodeUTF7(dec); enc != s {
				t.Errorf("%q decodes to %q, which encodes to %q", s, dec, enc)
			}
			if !utf8.ValidString(dec) {
				t.Errorf("%q decodes to invalid UTF-8 %q", s, dec)
			}
		} else if !errors.Is(err, ErrUTF7) {
			t.Errorf("untyped error %v", err)
		}
		if utf8.ValidString(s) {
			if dec, err := DecodeUTF7(EncodeUTF7(s)); err != nil || dec != s {
				t.Errorf("%q comes back as %q, %v", s, dec, err)
			}
		}
		if err := CheckName(s, '/'); err != nil && !errors.Is(err, ErrName) && !errors.Is(err, ErrLimit) {
			t.Errorf("untyped error %v", err)
		}
	})
}
