package imapd

import (
	"errors"
	"testing"

	"mailcrypt/mailbox"
	"mailcrypt/storage/storagetest"
)

func TestReplace(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple)
	}
	f.user.Memory.Create(t.Context(), "Drafts")
	f.add("Drafts", simple)
	c := f.selected("INBOX")
	c.script(`
C: a REPLACE 2 INBOX (\Seen \Draft) {10}
S: + OK
C: A: b
C: 
C: hi
S: * OK [APPENDUID 2 4] Replacement message ready.
S: * 4 EXISTS
S: * 4 RECENT
S: * 2 EXPUNGE
S: * 3 RECENT
S: a OK Replace completed.
C: b UID FETCH 1:* FLAGS
S: * 1 FETCH (UID 1 FLAGS (\Recent))
S: * 2 FETCH (UID 3 FLAGS (\Recent))
S: * 3 FETCH (UID 4 FLAGS (\Seen \Draft \Recent))
S: b OK Fetch completed.
C: c UID REPLACE 4 Drafts CATENATE (TEXT {3+}
C: c:d URL ";UID=4/;SECTION=TEXT")
S: * OK [APPENDUID 3 2] Replacement message ready.
S: * 3 EXPUNGE
S: * 2 RECENT
S: c OK Replace completed.
C: d REPLACE * INBOX UTF8 (~{3+}
C: e:f)
S: * OK [APPENDUID 2 5] Replacement message ready.
S: * 3 EXISTS
S: * 3 RECENT
S: * 2 EXPUNGE
S: * 2 RECENT
S: d OK Replace completed.
C: e REPLACE 1 INBOX ~{3+}
C: g:h
S* e OK
C: f UID FETCH 1:* UID
S: * 1 FETCH (UID 5)
S: * 2 FETCH (UID 6)
S: f OK Fetch completed.
`)
}

// What is refused leaves the old message, and no new one.
func TestReplaceRefuses(t *testing.T) {
	f := newFixture(t)
	f.user.limit = 100
	f.add("INBOX", simple)
	f.user.Memory.Create(t.Context(), "Drafts")
	f.add("Drafts", simple)
	c := f.selected("INBOX")
	c.script(`
C: a REPLACE 2 INBOX {3}
S: a BAD Invalid message number.
C: b UID REPLACE 2 INBOX {3}
S: b NO No such message.
C: c REPLACE 1:2 INBOX {3}
S: c BAD Expected a space.
C: d REPLACE 1 nowhere {3}
S: d NO [TRYCREATE] Mailbox doesn't exist.
C: e REPLACE 1 INBOX {101}
S: e NO [TOOBIG] Message is too large.
C: f REPLACE 1 INBOX {0}
S: f NO [CANNOT] Can't save a zero byte message.
C: g REPLACE 1 INBOX {3+}
C: a:b {3+}
C: c:d
S: g BAD Unexpected text after the command.
C: h REPLACE 1 INBOX CATENATE (URL ;UID=9)
S: h NO [BADURL ;UID=9] There is no such message.
C: i REPLACE 0 INBOX {3+}
C: a:b
S: i BAD Invalid number.
C: j STATUS INBOX (MESSAGES UIDNEXT)
S: * STATUS INBOX (MESSAGES 1 UIDNEXT 2)
S: j OK Status completed.
C: k EXAMINE INBOX
S* k OK
C: l REPLACE 1 Drafts {3}
S: l NO [READ-ONLY] Mailbox is read-only.
C: m UNSELECT
S: m OK Unselect completed.
C: n REPLACE 1 Drafts {3+}
C: a:b
S: n BAD No mailbox selected.
C: o CREATE empty
S~ o OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Create completed\.
C: p SELECT empty
S* p OK
C: q REPLACE * INBOX {3}
S: q BAD Invalid message number.
C: r STATUS Drafts (MESSAGES)
S: * STATUS Drafts (MESSAGES 1)
S: r OK Status completed.
`)
}

// The old message goes away while the new one is being sent.
func TestReplaceGone(t *testing.T) {
	f := newFixture(t)
	uid := f.add("INBOX", simple)
	c := f.selected("INBOX")
	c.script(`
C: a REPLACE 1 INBOX {3}
S: + OK`)
	b, err := f.user.Open(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Expunge(t.Context(), []mailbox.UID{uid}); err != nil {
		t.Fatal(err)
	}
	c.script(`
C: a:b
S: * 1 EXPUNGE
S: * 0 RECENT
S: a NO [EXPUNGEISSUED] The message no longer exists.
C: b STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S: b OK Status completed.`)
}

// Whichever step of the store fails, the old message is there or the new one, not both.
func TestReplaceFaults(t *testing.T) {
	for _, op := range []storagetest.Op{storagetest.OpCreate, storagetest.OpWrite, storagetest.OpFinish,
		storagetest.OpCommit, storagetest.OpExpunge, storagetest.OpExpunged} {
		f := newFixture(t)
		f.add("INBOX", simple)
		failed := false
		f.user.faults = func(o storagetest.Op) error {
			if o == op && !failed {
				failed = true
				return errors.New("disk")
			}
			return nil
		}
		c := f.selected("INBOX")
		c.raw("a REPLACE 1 INBOX {3+}\r\na:b\r\n")
		lines := c.until("a ")
		if last := lines[len(lines)-1]; last[:4] != "a NO" {
			t.Errorf("%s: %s", op, last)
		}
		c.send("b UID SEARCH 1:*")
		want := "* SEARCH 1"
		if op == storagetest.OpExpunged {
			want = "* SEARCH 2" // the new one: the old one has gone
		}
		if got := c.until("b "); got[len(got)-2] != want {
			t.Errorf("%s: %q", op, got)
		}
	}
}
