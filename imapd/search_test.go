package imapd

import (
	"io"
	"strings"
	"testing"
)

const multipart = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\n" +
	"Subject: =?utf-8?b?w5xiZXJzaWNodA==?=\nDate: 1 Mar 2023 10:00:00 +0000\nMIME-Version: 1.0\n" +
	"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n" +
	"Content-Transfer-Encoding: base64\n\nR3LDvMOfZSBhdXMgQmVybGlu\n--x\n" +
	"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n--x--\n"

func TestSearch(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple, `\Seen`, "$Work")
	f.add("INBOX", multipart, `\Flagged`)
	f.add("INBOX", strings.Replace(simple, "Hello", "Other", 1)+strings.Repeat("x", 2000), `\Deleted`, `\Draft`, `\Answered`)
	c := f.selected("INBOX")
	for _, tt := range []struct{ keys, want string }{
		{"ALL", " 1 2 3"},
		{"1:2", " 1 2"},
		{"*", " 3"},
		{"UID 2:99", " 2 3"},
		{"SEEN", " 1"}, {"UNSEEN", " 2 3"}, {"FLAGGED", " 2"}, {"UNFLAGGED", " 1 3"},
		{"DELETED", " 3"}, {"UNDELETED", " 1 2"}, {"DRAFT", " 3"}, {"UNDRAFT", " 1 2"},
		{"ANSWERED", " 3"}, {"UNANSWERED", " 1 2"}, {"RECENT", " 1 2 3"}, {"NEW", " 2 3"}, {"OLD", ""},
		{"KEYWORD $work", " 1"}, {"UNKEYWORD $Work", " 2 3"},
		{"LARGER 1000", " 3"}, {"SMALLER 200", " 1"},
		{"BEFORE 3-Feb-2024", ""}, {"ON 3-Feb-2024", " 1 2 3"}, {"SINCE 3-Feb-2024", " 1 2 3"}, {"SINCE 4-Feb-2024", ""},
		{"OLDER 60", " 1 2 3"},
		{"SAVEDATESUPPORTED", " 1 2 3"}, {"SAVEDSINCE 3-Feb-2024", " 1 2 3"}, {"SAVEDBEFORE 4-Feb-2024", ""}, {"SAVEDON 3-Feb-2024", ""}, {"YOUNGER 60", ""},
		{"SENTBEFORE 2-Mar-2023", " 2"}, {"SENTON 5-Feb-2024", " 1 3"}, {"SENTSINCE 1-Mar-2023", " 1 2 3"},
		{"FROM ann", " 1 3"}, {"TO bob@", " 1 3"}, {"CC x", ""}, {"SUBJECT hello", " 1"},
		{"HEADER message-id \"\"", " 1 3"}, {"HEADER Message-ID <1@", " 1 3"},
		{"BODY \"second LINE\"", " 1 3"}, {"BODY hello", ""}, {"TEXT hello", " 1"},
		{"TEXT \"line\r\nsecond\"", ""}, // needs a literal: see below
		{"NOT SEEN", " 2 3"}, {"OR SEEN FLAGGED", " 1 2"}, {"(SEEN KEYWORD $Work)", " 1"},
		{"NOT (OR SEEN (FLAGGED UNSEEN))", " 3"}, {"SEEN FLAGGED", ""},
		{"CHARSET UTF-8 SUBJECT \"übersicht\"", " 2"}, {"CHARSET UTF-8 FROM \"JÜRGEN\"", " 2"},
		{"CHARSET UTF-8 BODY \"GRÜßE\"", " 2"},
		{"CHARSET ISO-8859-1 BODY \"gr\xfc\"", " 2"},
		{"BODY SGVs", ""},
	} {
		if strings.Contains(tt.keys, "\r\n") {
			continue
		}
		c.send("a SEARCH " + tt.keys)
		got := c.until("a ")
		if len(got) != 2 || got[0] != "* SEARCH"+tt.want {
			t.Errorf("SEARCH %s: %q, want %q", tt.keys, got, tt.want)
		}
	}
	c.raw("a SEARCH TEXT {13+}\r\nline\r\nsecond!\r\n")
	c.script("S: * SEARCH\nS: a OK Search completed.")
	c.raw("a SEARCH TEXT {12+}\r\nline\r\nsecond\r\n")
	c.script("S: * SEARCH 1 3\nS: a OK Search completed.")
}

func TestSearchReturn(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		f.add("INBOX", simple)
	}
	f.selected("INBOX").script(`
C: a SEARCH RETURN (MIN MAX COUNT ALL) 2:5
S: * ESEARCH (TAG "a") MIN 2 MAX 5 ALL 2:5 COUNT 4
S: a OK Search completed.
C: b UID SEARCH RETURN () 1,3,5
S: * ESEARCH (TAG "b") UID ALL 1,3,5
S: b OK Search completed.
C: c SEARCH RETURN (COUNT) SEEN
S: * ESEARCH (TAG "c") COUNT 0
S: c OK Search completed.
C: d SEARCH RETURN (SAVE) 2:3
S: d OK Search completed.
C: e FETCH $ UID
S: * 2 FETCH (UID 2)
S: * 3 FETCH (UID 3)
S: e OK Fetch completed.
C: f SEARCH $ UID 3:9
S: * SEARCH 3
S: f OK Search completed.
C: g SEARCH RETURN (SAVE MIN) 4:5
S: * ESEARCH (TAG "g") MIN 4
S: g OK Search completed.
C: h UID STORE $ +FLAGS.SILENT (\Deleted)
S: h OK Store completed.
C: i EXPUNGE
S: * 4 EXPUNGE
S: * 4 RECENT
S: i OK Expunge completed.
C: j FETCH $ UID
S: j OK Fetch completed.
C: k SEARCH RETURN (BOGUS) ALL
S: k BAD Unknown SEARCH result option.
C: l ENABLE IMAP4rev2
S: * ENABLED IMAP4rev2
S: l OK Enable completed.
C: m SEARCH SEEN
S: * ESEARCH (TAG "m")
S: m OK Search completed.
C: n FETCH 1 FLAGS
S: * 1 FETCH (FLAGS ())
S: n OK Fetch completed.
`)
}

func TestFinder(t *testing.T) {
	for _, tt := range []struct {
		needle, text string
		want         bool
	}{
		{"", "", true}, {"A", "xa", true}, {"ABAB", "abaabab", true}, {"ABAB", "abaab", false},
		{"STRASSE", "straße", false}, {"Ü", "u\u0308", true}, {"ﬁ", "FI", true},
	} {
		f := newFinder(foldString(tt.needle))
		f.reset()
		// In pieces of one octet, so that characters are split.
		if err := feed(&oneByte{tt.text}, []*finder{f}); err != nil || f.found != tt.want {
			t.Errorf("%q in %q: %v, %v", tt.needle, tt.text, f.found, err)
		}
	}
}

type oneByte struct{ s string }

func (r *oneByte) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], r.s)
	r.s = r.s[n:]
	return n, nil
}
