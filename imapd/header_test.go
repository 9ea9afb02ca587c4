package imapd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/message"
)

// bytesContent is a message in memory.
type bytesContent struct{ *bytes.Reader }

func (bytesContent) Close() error   { return nil }
func (bytesContent) Memory() []byte { return nil }
func (bytesContent) HasNUL() bool   { return true }

// TestTopHeader: the header found alone is the one that the structure has.
func TestTopHeader(t *testing.T) {
	mails := []string{"", "\r\n", "\n", "x", "a: b", "a: b\r\n", "a: b\r\n\r\n", "a: b\n\nc", "\r\nx\r\n\r\n", "a\r\n\n", "\ra: b\r\n\r\n",
		"a: " + strings.Repeat("x", 8<<10-7) + "\r\n\r\nbody", "a: " + strings.Repeat("x", 8<<10-6) + "\r\n\r\nbody",
		"a: " + strings.Repeat("x", 8<<10-5) + "\r\n\r\nbody", "a: " + strings.Repeat("x", 8<<10-4) + "\r\n\r\nbody",
		strings.Repeat("a: b\r\n", 100_000) + "\r\nbody", strings.Repeat("a: b\r\n", 100_000)}
	paths, err := filepath.Glob("../testdata/vectors/messages/*.eml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(b))
	}
	for _, m := range mails {
		r := reader{msg: bytesContent{bytes.NewReader([]byte(m))}}
		got, err := r.topHeader()
		if err != nil {
			t.Fatal(err)
		}
		root, err := message.Scan(r.msg, r.msg.Size(), message.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != m[:root.BodyStart] {
			t.Errorf("%.60q: a header of %d octets, want %d", m, len(got), root.BodyStart)
		}
	}
}

// TestHeaderAlone: a key on the header reads no more than the header of a large message.
func TestHeaderAlone(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple+strings.Repeat("x", 1<<20))
	f.selected("INBOX").script(`
C: a SEARCH SUBJECT hello SENTON 5-Feb-2024
S: * SEARCH 1
S: a OK Search completed.
`)
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.user.octets > 64<<10 {
		t.Errorf("%d octets were read", f.user.octets)
	}
}
