package maildir

import (
	"os"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// What is delivered while others save with UIDs is seen by the next look, not by one two seconds
// later: our own renames alone are no reason to read a directory, and must not hide others.
func TestDeliveriesBesideCommits(t *testing.T) {
	inMemory(t)
	m := newInbox(t)
	const rounds, each = 40, 6
	for round := range rounds {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range each {
					if _, err := trySave(m, "text", mailbox.SaveInfo{NeedUID: i%2 == 0}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if v, err := m.Sync(t.Context()); err != nil || v.Len() != (round+1)*4*each {
			t.Fatalf("round %d: %d messages of %d, %v", round, v.Len(), (round+1)*4*each, err)
		}
	}
}

// A delivery in the middle of a change of ours is not taken for a part of it.
func TestDeliveryWithinOwnChange(t *testing.T) {
	m := newInbox(t)
	for _, flag := range []mailbox.SystemFlags{0, mailbox.Seen} {
		n := len(resync(t, m))
		save(t, m, "first", mailbox.SaveInfo{})
		old := time.Now().Add(-time.Hour) // settled, as for the next seconds after a commit
		for i := range m.b.dirs {
			if err := os.Chtimes(m.b.dirPath(i), old, old); err != nil {
				t.Fatal(err)
			}
		}
		resync(t, m)
		own := m.b.beginOwn()
		info := mailbox.SaveInfo{Flags: mailbox.Flags{System: flag}}
		if _, err := trySave(m, "second", info); err != nil {
			t.Fatal(err)
		}
		own.end()
		if got := resync(t, m); len(got) != n+2 {
			t.Errorf("flags %v: %q", flag, got)
		}
	}
}
