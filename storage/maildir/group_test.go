package maildir

import (
	"context"
	"os"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A message that is finished has no open file, however many there are.
func TestFinishedMessagesAreClosed(t *testing.T) {
	m := newInbox(t)
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc")
		}
		return len(fds)
	}
	before := open()
	var pending []mailbox.Pending
	for range 300 {
		p, err := m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
		if err != nil {
			t.Fatal(err)
		}
		p.Write([]byte("x"))
		if err := p.(storage.Finisher).Finish(); err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	if n := open(); n > before+100 { // other tests run beside this one
		t.Errorf("%d files are open, and %d were", n, before)
	}
	uids, err := m.CommitAll(t.Context(), pending, make([]mailbox.Sizes, len(pending)))
	if err != nil || len(uids) != 300 || uids[299]-uids[0] != 299 {
		t.Errorf("%d UIDs, %v", len(uids), err)
	}
	if left := inTmp(t, m.b.f().dir+"/tmp"); len(left) != 0 {
		t.Errorf("tmp holds %q", left)
	}
}

// Groups and single messages that wait for the lock together share it; a group that fails
// takes no other message along.
func TestGroupAmongOthers(t *testing.T) {
	m := newInbox(t)
	begin := func(text string) mailbox.Pending {
		p, err := m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true, Flags: flags(`\Seen`)})
		if err != nil {
			t.Fatal(err)
		}
		p.Write([]byte(text))
		return p
	}
	bad, good := []mailbox.Pending{begin("a"), begin("b")}, []mailbox.Pending{begin("c"), begin("d")}
	if err := bad[1].(storage.Finisher).Finish(); err != nil {
		t.Fatal(err)
	}
	if p := bad[1].(*pending); os.Remove(p.b.tmpPath(p.name)) != nil {
		t.Fatal("no file in tmp")
	}
	m.b.op <- struct{}{} // so that all of them wait
	results := make(chan error, 3)
	go func() { _, err := m.CommitAll(t.Context(), bad, make([]mailbox.Sizes, 2)); results <- err }()
	go func() { _, err := m.CommitAll(t.Context(), good, make([]mailbox.Sizes, 2)); results <- err }()
	go func() { _, err := begin("e").Commit(mailbox.Sizes{}); results <- err }()
	for {
		m.b.commits.mu.Lock()
		n := len(m.b.commits.waiting)
		m.b.commits.mu.Unlock()
		if n == 5 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	// One that gives up waiting leaves the queue as a whole.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.CommitAll(ctx, []mailbox.Pending{begin("f"), begin("g")}, make([]mailbox.Sizes, 2)); err == nil {
		t.Error("committed after its context had ended")
	}
	m.b.unlock()
	failed := 0
	for range 3 {
		if <-results != nil {
			failed++
		}
	}
	if v, err := m.Sync(t.Context()); failed != 1 || err != nil || v.Len() != 3 {
		t.Errorf("%d failed, %d messages, %v; want 1 and 3", failed, v.Len(), err)
	}
}

// Dates beyond what nanoseconds since 1970 can count are kept as far as the file system can.
func TestFarDates(t *testing.T) {
	m := newInbox(t)
	for _, year := range []int{1901, 1950, 2100, 2300, 9999} {
		received := time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
		uid := save(t, m, "x", mailbox.SaveInfo{Received: received})
		msg, err := m.Stat(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		got := msg.Received.UTC().Year()
		if got != year && (year < 2038 || got < 2037) { // a file system may end in 2038, or later
			t.Errorf("received in %d: %v", year, msg.Received)
		}
	}
}
