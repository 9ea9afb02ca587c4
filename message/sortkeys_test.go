package message

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for in, want := range map[string]string{
		"Mon, 5 Feb 2024 10:00:00 +0100":        "2024-02-05T10:00:00+01:00",
		"05 Feb 2024 10:00 -0830":               "2024-02-05T10:00:00-08:30",
		"Mon,5 Feb 2024 10:00:00 EST":           "2024-02-05T10:00:00-05:00",
		"Mon 5 Feb 2024 10:00:00 pdt (x)":       "2024-02-05T10:00:00-07:00",
		"5 Feb 2024 10.11.12 GMT":               "2024-02-05T10:11:12Z",
		"5 (c) Feb (d) 2024 10 : 11 : 12 Z":     "2024-02-05T10:11:12Z",
		"5 Feb 2024 10:00:00 A":                 "2024-02-05T10:00:00Z",
		"5 Feb 2024 10:00:00 +01000":            "2024-02-05T10:00:00Z",
		"5 Feb 2024 10:00:00":                   "2024-02-05T10:00:00Z",
		"5-Feb-2024 10:00:00 +0000":             "2024-02-05T10:00:00Z",
		"5 Feb 2024":                            "2024-02-05T00:00:00Z",
		"5 Feb 2024 25:00:00 +0100":             "2024-02-05T00:00:00Z",
		"5 Feb 2024 1:2 +0100":                  "2024-02-05T00:00:00Z",
		"5 Feb 99 10:00:00 +0000":               "1999-02-05T10:00:00Z",
		"5 Feb 49 10:00:00 +0000":               "2049-02-05T10:00:00Z",
		"5 Feb 100 10:00:00 +0000":              "2000-02-05T10:00:00Z",
		"31 Dec 2016 23:59:60 +0000":            "2017-01-01T00:00:00Z",
		"29 February 2024 00:00:00 +0000":       "2024-02-29T00:00:00Z",
		"\r\n Mon,\r\n\t5 Feb 2024 01:02 +0000": "2024-02-05T01:02:00Z",
		"29 Feb 2023 00:00:00 +0000":            "", "0 Feb 2023": "", "": "", "today": "", "5 Fax 2024": "", "Feb 5 2024": "",
		"5 Feb 7": "", "Mon, ": "", "(": "",
	} {
		got, ok := ParseDate([]byte(in))
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v; want %q", in, got.Format(time.RFC3339), ok, want)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Mon, 5 Feb 2024 10:00:00 +0100")
	f.Add("5-Feb-24 1.2.3 (x) PDT")
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := ParseDate([]byte(s)); ok && (d.Year() < 0 || d.Year() > 10_000) {
			t.Fatalf("%q: %v", s, d)
		}
	})
}

func TestMessageIDs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"<a@b>", []string{"a@b"}},
		{" <a@b>\r\n <c@d> (x) <e@f>", []string{"a@b", "c@d", "e@f"}},
		{"<a@b\r\n c>", []string{"a@bc"}},
		{`<"a"@b><"a b"@c>`, []string{"a@b", "a b@c"}},
		{"<a(x)@b>", []string{"a@b"}},
		{"<a@[1.2.3.4]>", []string{"a@[1.2.3.4]"}},
		{`<"a"@[1.2.3.4]>`, []string{"a@[1.2.3.4]"}},
		{"<no at> <a@b>", []string{"a@b"}},
		{`<"broken <a@b>`, []string{"a@b"}},
		{`<"broken"> <a@b>`, []string{"a@b"}},
		{"a@b", nil}, {"<a@b", nil}, {"", nil}, {"<>", nil}, {"<<a@b>>", []string{"<a@b"}},
		{"<" + strings.Repeat("x", 2000) + "@b><c@d>", []string{"c@d"}},
	} {
		if got := slices.Collect(MessageIDs([]byte(tt.in))); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, s := range []string{"<", `<"`, `<"a@b>`, "<(", "<a@b>", `"`, "<a"} {
		for range MessageIDs(bytes.Repeat([]byte(s), 1<<20/len(s))) {
		}
	}
}

func FuzzMessageIDs(f *testing.F) {
	f.Add([]byte(`<a@b> <"c"@d> <e(x)@[f]>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		for id := range MessageIDs(in) {
			if len(id) > 3*maxMessageID || !strings.Contains(id, "@") {
				t.Fatalf("%q yields %q", in, id)
			}
		}
	})
}

func TestFirstAddress(t *testing.T) {
	for _, tt := range []struct{ in, mailbox, display string }{
		{"Ann Example <ann@example.org>, bob@example.org", "ann", "Ann Example"},
		{"bob@example.org", "bob", "bob@example.org"},
		{"=?utf-8?q?J=C3=BCrgen?= <j@example.org>", "j", "Jürgen"},
		{`"=?utf-8?q?J=C3=BCrgen?=" <j@example.org>`, "j", "Jürgen"},
		{"friends: a@b, c@d;", "friends", "friends"},
		{"undisclosed-recipients:;", "undisclosed-recipients", "undisclosed-recipients"},
		{"ann@example.org (Ann)", "ann", "Ann"},
		{"", "", ""},
	} {
		if m, d := FirstMailbox([]byte(tt.in)), FirstDisplayName([]byte(tt.in)); m != tt.mailbox || d != tt.display {
			t.Errorf("%q: %q, %q; want %q, %q", tt.in, m, d, tt.mailbox, tt.display)
		}
	}
}

func TestFirstFields(t *testing.T) {
	head := "Subject: a\r\n b\r\nsubject: c\r\nDate:\r\nX\r\nFrom: d\r\n\r\nTo: e\r\n"
	got := FirstFields([]byte(head), "from", "subject", "to", "date")
	if string(got[0]) != "d" || string(got[1]) != "a\r\n b" || got[2] != nil || got[3] == nil || len(got[3]) > 0 {
		t.Errorf("%q", got)
	}
}
