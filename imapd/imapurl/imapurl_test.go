package imapurl

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		url, base string
		want      Part
	}{
		{"/INBOX/;UID=2", "", Part{Mailbox: "INBOX", UID: 2}},
		{"/INBOX;UIDVALIDITY=1/;UID=2/;SECTION=1.MIME/;PARTIAL=0.10", "",
			Part{Mailbox: "INBOX", UIDValidity: 1, UID: 2, Section: "1.MIME", Partial: true, Count: 10}},
		// Examples of RFC 4469 section 3 and RFC 5092 section 10.
		{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "", Part{Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: "HEADER"}},
		{"/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9", "x", Part{Mailbox: "INBOX", UIDValidity: 785799047, UID: 113330, Section: "1.5.9"}},
		{"/~peter/%E6%97%A5%E6%9C%AC%E8%AA%9E/;UID=20", "", Part{Mailbox: "~peter/日本語", UID: 20}},
		{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(From%20To)", "", Part{Mailbox: "INBOX", UID: 1, Section: "HEADER.FIELDS (From To)"}},
		{"/a/b;c", "", Part{}},
		{"/a%3Bb%2Fc/;uid=4294967295", "", Part{Mailbox: "a;b/c", UID: 4294967295}},
		{"/INBOX/;UID=1/;PARTIAL=5", "", Part{Mailbox: "INBOX", UID: 1, Partial: true, Offset: 5}},
		{"/INBOX/;UID=1/;SECTION=a/b//c/;PARTIAL=9223372036854775807", "", Part{Mailbox: "INBOX", UID: 1, Section: "a/b//c", Partial: true, Offset: 1<<63 - 1}},
		{";UID=7", "INBOX", Part{Mailbox: "INBOX", UID: 7}},
		{"./;UID=7", "a b/ü;", Part{Mailbox: "a b/ü;", UID: 7}},
		{"sub/;UID=7", "INBOX", Part{Mailbox: "INBOX/sub", UID: 7}},
		{"../other/;UID=7", "INBOX", Part{Mailbox: "other", UID: 7}},
		{"/a/./../b/;UID=7", "", Part{Mailbox: "b", UID: 7}},
		{"/../../b/;UID=7", "", Part{Mailbox: "b", UID: 7}},
		{"/a:b/;UID=7", "", Part{Mailbox: "a:b", UID: 7}},
	} {
		got, err := Parse(tt.url, tt.base)
		if got != tt.want || (err == nil) != (tt.want != Part{}) {
			t.Errorf("Parse(%q, %q) = %+v, %v; want %+v", tt.url, tt.base, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, url := range []string{
		"", "/", "//", "INBOX", "/INBOX", "/INBOX/", "/;UID=1", "//INBOX/;UID=1",
		"imap://host/INBOX/;UID=1", "imap:/INBOX/;UID=1", "http://x/", "a:b/;UID=1",
		"/INBOX/;UID=0", "/INBOX/;UID=", "/INBOX/;UID=+1", "/INBOX/;UID=-1", "/INBOX/;UID=4294967296", "/INBOX/;UID=1x",
		"/INBOX;UIDVALIDITY=0/;UID=1", "/INBOX;UIDVALIDITY=x/;UID=1", "/INBOX;X=1/;UID=1", "/INBOX;UID=1",
		"/INBOX;UIDVALIDITY=1", "/INBOX;UIDVALIDITY=1;X/;UID=1", "/INBOX;UIDVALIDITY=1/x/;UID=1",
		"/INBOX/;UID=1;URLAUTH=anonymous", "/INBOX/;UID=1;EXPIRE=2030-01-01T00:00:00Z",
		"/INBOX/;UID=1/;SECTION=", "/INBOX/;UID=1/;SECTION=1;X", "/INBOX/;UID=1/x;SECTION=1", "/INBOX/;UID=1/;PARTIAL=", "/INBOX/;UID=1/;PARTIAL=1.",
		"/INBOX/;UID=1/;PARTIAL=.1", "/INBOX/;UID=1/;PARTIAL=1.0", "/INBOX/;UID=1/;PARTIAL=9223372036854775808",
		"/INBOX/;UID=1/;PARTIAL=1/;SECTION=1", "/INBOX/;UID=1/",
		"/INBOX?ALL", "/INBOX/;UID=1#x", "/IN BOX/;UID=1", "/IN\x00/;UID=1", "/IN%00/;UID=1", "/IN%/;UID=1", "/IN%4/;UID=1", "/IN%GG/;UID=1",
		"/%FF/;UID=1", "/ü/;UID=1", "/INBOX]/;UID=1", "/INBOX/;UID=1/;SECTION=%0D%0A",
		"/" + strings.Repeat("a", MaxLen) + "/;UID=1",
	} {
		if p, err := Parse(url, ""); !errors.Is(err, ErrURL) {
			t.Errorf("Parse(%q) = %+v, %v; want an error", url, p, err)
		}
	}
}

// What parses prints as a URL that parses to the same, with any base.
func FuzzParse(f *testing.F) {
	for _, url := range []string{"/INBOX;UIDVALIDITY=1/;UID=2/;SECTION=1.MIME/;PARTIAL=0.10", ";UID=1", "../a/./b/;uid=9/;partial=3",
		"/%2e%2E/%2Fx/;UID=3/;section=HEADER.FIELDS%20(%22a%22)/b", "imap://h/", "/a;b", "%"} {
		f.Add(url, "Sent")
	}
	f.Fuzz(func(t *testing.T, url, base string) {
		p, err := Parse(url, base)
		if err != nil {
			if !errors.Is(err, ErrURL) {
				t.Errorf("untyped error: %v", err)
			}
			return
		}
		if p.UID == 0 || p.Mailbox == "" || p.Offset < 0 || p.Count < 0 {
			t.Errorf("Parse(%q, %q) = %+v", url, base, p)
		}
		again, err := Parse(p.String(), "elsewhere")
		if err != nil && len(p.String()) > MaxLen {
			return // encoding has made it longer
		}
		if err != nil || again != p {
			t.Errorf("Parse(%q, %q) = %+v; %q gives %+v, %v", url, base, p, p.String(), again, err)
		}
	})
}
