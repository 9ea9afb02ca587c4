package imapd

import (
	"context"
	"testing"

	"mailcrypt/mailbox"
)

// COPY and MOVE of messages of which one has gone do nothing, and say so.
func TestCopyExpunged(t *testing.T) {
	f := newFixture(t)
	for range 4 {
		f.add("INBOX", simple)
	}
	f.user.Memory.Create(t.Context(), "box")
	c := f.selected("INBOX")
	b, err := f.user.Open(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	expunge := func(uid mailbox.UID) {
		t.Helper()
		if err := b.Expunge(t.Context(), []mailbox.UID{uid}); err != nil {
			t.Fatal(err)
		}
	}
	expunge(2)
	c.script(`
C: a COPY 1:3 box
S: * 2 EXPUNGE
S: * 3 RECENT
S: a NO [EXPUNGEISSUED] Some of the messages no longer exist.
C: b STATUS box (MESSAGES)
S: * STATUS box (MESSAGES 0)
S: b OK Status completed.
C: c COPY 1 nowhere
S: c NO [TRYCREATE] Mailbox doesn't exist.`)
	expunge(3)
	c.script(`
C: d MOVE 1:2 box
S: * 2 EXPUNGE
S: * 2 RECENT
S: d NO [EXPUNGEISSUED] Some of the messages no longer exist.
C: e UID COPY 1:3 box
S: e OK [COPYUID 3 1 1] Copy completed.
C: f UID SEARCH ALL
S: * SEARCH 1 4
S: f OK Search completed.`)
}

// What goes while a copy is made is told at its end.
func TestCopyExpungedMeanwhile(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	f.user.Memory.Create(t.Context(), "box")
	c := f.selected("INBOX")
	b, err := f.user.Open(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	f.user.copying = func(ctx context.Context) { b.Expunge(ctx, []mailbox.UID{2}) }
	c.script(`
C: a COPY 1:2 box
S: * 2 EXPUNGE
S: * 1 RECENT
S: a NO [EXPUNGEISSUED] Some of the messages no longer exist.
C: b STATUS box (MESSAGES)
S: * STATUS box (MESSAGES 0)
S: b OK Status completed.`)
}
