package imapd

import (
	"errors"
	"slices"
	"testing"

	"mailcrypt/mailbox"
)

// TestRecall: what lists of mail show is read once and answered the same again, and all
// else still opens the message.
func TestRecall(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple)
	}
	f.add("INBOX", "Subject: no end of the header\r")
	f.add("INBOX", "")
	c := f.selected("INBOX")
	opened := func(command string) ([]string, int) {
		f.user.mu.Lock()
		before := f.user.opened
		f.user.mu.Unlock()
		c.send("a " + command)
		lines := c.until("a ")
		f.user.mu.Lock()
		defer f.user.mu.Unlock()
		return lines, f.user.opened - before
	}
	for _, command := range []string{
		"FETCH 1:* ENVELOPE",
		"FETCH 1:* (FLAGS BODYSTRUCTURE ENVELOPE RFC822.SIZE)",
		"FETCH 1:3 (BODY.PEEK[HEADER.FIELDS (Subject FROM date)] UID)",
		"FETCH 1:3 BODY.PEEK[HEADER.FIELDS (To)]<2.5>",
		"FETCH 1:3 (BODY.PEEK[HEADER.FIELDS (Subject)] BODY[HEADER.FIELDS (References)] INTERNALDATE)",
	} {
		// Whatever was learned by commands before must give the same answer.
		opened("STORE 1:* -FLAGS.SILENT (\\Seen)")
		f.user.mu.Lock()
		known := f.user.learned
		f.user.learned = nil
		f.user.mu.Unlock()
		want, _ := opened(command)
		f.user.mu.Lock()
		f.user.learned = known
		f.user.mu.Unlock()
		opened("STORE 1:* -FLAGS.SILENT (\\Seen)")
		opened(command)
		opened("STORE 1:* -FLAGS.SILENT (\\Seen)")
		if got, n := opened(command); !slices.Equal(got, want) || n != 0 {
			t.Errorf("%s: %d messages opened again\n%q\n%q", command, n, got, want)
		}
	}
	for _, command := range []string{
		"FETCH 1 (ENVELOPE BODY.PEEK[])",
		"FETCH 2 BODY.PEEK[HEADER.FIELDS (Received)]",
		"FETCH 3 BODY.PEEK[HEADER.FIELDS.NOT (Subject)]",
		"FETCH 4 BODY.PEEK[HEADER.FIELDS (Subject)]",
	} {
		if _, n := opened(command); n != 1 {
			t.Errorf("%s: %d messages opened", command, n)
		}
	}

	f.user.mu.Lock()
	f.user.unreadable[mailbox.UID(1)] = errors.New("no key")
	f.user.mu.Unlock()
	if _, n := opened("FETCH 1 ENVELOPE"); n != 0 {
		t.Errorf("%d messages opened", n)
	}
}

// TestRecallHeaders: searching, sorting and threading by the usual fields read each message once.
func TestRecallHeaders(t *testing.T) {
	f := newFixture(t)
	for _, subject := range []string{"b", "a", "c"} {
		f.add("INBOX", "From: x@example.org\r\nSubject: "+subject+"\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\nX-Own: "+subject+"\r\n\r\ntext\r\n")
	}
	c := f.selected("INBOX")
	run := func(command, answer string) int {
		f.user.mu.Lock()
		before := f.user.opened
		f.user.mu.Unlock()
		c.send("a " + command)
		if lines := c.until("a "); lines[0] != answer {
			t.Errorf("%s: %q", command, lines)
		}
		f.user.mu.Lock()
		defer f.user.mu.Unlock()
		return f.user.opened - before
	}
	if n := run("SEARCH SUBJECT c", "* SEARCH 3"); n != 3 {
		t.Errorf("%d messages opened at first", n)
	}
	for _, r := range [][2]string{
		{"SEARCH SUBJECT c", "* SEARCH 3"},
		{"SEARCH OR FROM x@example.org SUBJECT a", "* SEARCH 1 2 3"},
		{"SEARCH SENTON 7-Feb-1994 NOT HEADER Message-ID x", "* SEARCH 1 2 3"},
		{"SORT (SUBJECT) UTF-8 ALL", "* SORT 2 1 3"},
		{"THREAD REFERENCES UTF-8 ALL", "* THREAD (1)(2)(3)"},
	} {
		if n := run(r[0], r[1]); n != 0 {
			t.Errorf("%s: %d messages opened", r[0], n)
		}
	}
	if n := run("SEARCH SUBJECT a HEADER X-Own a", "* SEARCH 2"); n != 1 {
		t.Errorf("%d messages opened for a field that is not kept", n)
	}
}
