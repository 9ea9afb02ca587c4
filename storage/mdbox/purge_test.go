package mdbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

func TestPurge(t *testing.T) {
	s := newMaintStore(t, "A", "B")
	s.fill()
	s.check("before")
	before := s.stat()
	if before.Expunged != 5 || before.DeadBytes == 0 || before.Stored != 20 || before.Messages != 21 {
		t.Errorf("%+v", before)
	}
	done, err := s.maintenance().purge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.Expunged != before.Expunged || done.Freed != before.DeadBytes || done.Files == 0 || len(done.Left) != 0 {
		t.Errorf("%+v", done)
	}
	s.check("after")
	after := s.stat()
	if after.Expunged != 0 || after.DeadBytes != 0 || after.LiveBytes != before.LiveBytes || after.Messages != before.Messages {
		t.Errorf("%+v, was %+v", after, before)
	}
	if strings.Contains(s.states(), "unknown") || strings.Contains(s.states(), "tail") {
		t.Error(s.states())
	}
	if done, err = s.maintenance().purge(t.Context()); err != nil || done.Files != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
	// All of a file is expunged: nothing needs to be copied.
	s.expunge("A", s.uids("A")...)
	s.expunge("B", s.uids("B")...)
	if done, err = s.maintenance().purge(t.Context()); err != nil || done.Messages != 0 || done.Expunged != after.Stored {
		t.Errorf("%+v, %v", done, err)
	}
	if got := s.states(); got != "" {
		t.Errorf("files that are left: %s", got)
	}
	s.save("A", "goes on")
	s.reopen()
	s.check("reopened")
}

// TestPurgeLeaves: files of which not everything is understood stay, and lose nothing.
func TestPurgeLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *maintStore, path string)
		reason string
		lost   bool // the message is not readable
	}{
		"tail":    {func(s *maintStore, path string) { appendTo(s.t, path, "more") }, "4 bytes that the catalog does not know", false},
		"missing": {func(s *maintStore, path string) { os.Remove(path) }, "missing", true},
		"short":   {func(s *maintStore, path string) { os.Truncate(path, 30) }, "shorter", true},
		"corrupt": {func(s *maintStore, path string) {
			b, _ := os.ReadFile(path)
			os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "\x01\x02N", "xxN")), 0o600)
		}, "no message begins there", true},
		"not a file": {func(s *maintStore, path string) { os.Remove(path); os.Mkdir(path, 0o700) }, "not a regular file", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMaintStore(t, "A")
			s.save("A", "one", "two", strings.Repeat("x", 2900))
			s.save("A", strings.Repeat("y", 2950))
			s.expunge("A", 1, 4)
			path := filepath.Join(s.root, "storage", "m.1")
			c.spoil(s, path)
			done, err := s.maintenance().purge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(done.Left) != 1 || done.Left[0].File != 1 || !strings.Contains(done.Left[0].Reason, c.reason) || done.Expunged != 1 {
				t.Errorf("%+v", done)
			}
			if st := s.stat(); st.Expunged != 1 {
				t.Errorf("%+v", st)
			}
			if !c.lost {
				s.check("after")
			}
		})
	}
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A file with bytes in its middle that nobody knows is emptied, but not removed.
func TestPurgeKeepsDamage(t *testing.T) {
	s := newMaintStore(t, "A")
	s.save("A", "one", "two", "three")
	s.expunge("A", 1, 2)
	err := s.catalog.Update(t.Context(), func(tx *index.CatalogTx) error { return tx.DropMap(2) }) // as after a rebuild that could not read it
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(filepath.Join(s.root, "storage", "m.1"))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := s.maintenance().purge(t.Context()); err != nil || done.Files != 1 || done.Messages != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	s.check("after")
	if got, err := os.ReadFile(filepath.Join(s.root, "storage", "m.1.broken")); err != nil || string(got) != string(was) {
		t.Error("the bytes are gone: ", err)
	}
	if got := s.states(); got != "2:ok" {
		t.Error(got)
	}
}

// A purge leaves alone what a client copies at the same moment.
func TestPurgeRevived(t *testing.T) {
	s := newMaintStore(t, "A", "B")
	s.save("A", "one", "two")
	var m index.CatalogMessage
	guidA, guidB := s.guid("A"), s.guid("B")
	err := s.catalog.View(func(tx *index.CatalogTx) (err error) {
		m, _, err = tx.Message(guidA, 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.expunge("A", 1)
	x := s.maintenance()
	next, revived := x.next, false
	x.next = func() uint32 { // between the look and the transaction
		if !revived {
			revived = true
			list := []index.CatalogMessage{m}
			err := s.catalog.Update(t.Context(), func(tx *index.CatalogTx) error { return tx.AddMessages(guidB, list) })
			if err != nil {
				t.Error(err)
			}
			s.want["B"][list[0].UID] = "one"
		}
		return next()
	}
	done, err := x.purge(t.Context())
	if err != nil || done.Expunged != 0 || done.Messages != 2 || !revived {
		t.Errorf("%+v, %v", done, err)
	}
	s.check("after")
	if strings.Contains(s.states(), "unknown") {
		t.Error(s.states())
	}
}

// Between the transaction and the removal nothing is appended to a file that goes.
func TestPurgeAppend(t *testing.T) {
	s := newMaintStore(t, "A")
	s.save("A", "one", "two")
	s.expunge("A", 1)
	b := &rewriteBatch{s: s.maintenance(), alt: func(*index.MapRecord, bool) bool { return true }}
	if _, err := b.gather([]uint32{1}); err != nil {
		t.Fatal(err)
	}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.save("A", "three")
	var done Moved
	if err := b.finish(t.Context(), &done); err != nil {
		t.Fatal(err)
	}
	b.unlock()
	s.save("A", "four")
	s.check("after")
	s.reopen()
	s.check("reopened")
}

// maintFault spoils one step of an operation, opens the store anew where that was a crash, and
// looks at everything.
func maintFault(t *testing.T, f *durable.Faults, what string, setup func(*maintStore), run func(*maintStore) error) {
	t.Helper()
	s := newMaintStore(t, "A", "B")
	s.fill()
	if setup != nil {
		setup(s)
	}
	s.faults = f
	s.reopen()
	err := run(s)
	if f.Hit() {
		steps := f.Steps()
		what += fmt.Sprintf(" (%s %s)", steps[len(steps)-1].Op, filepath.Base(steps[len(steps)-1].Path))
	}
	if err != nil && !errors.Is(err, durable.ErrCrashed) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%s: %v", what, err)
	}
	if err == nil || !errors.Is(err, durable.ErrCrashed) {
		s.check(what + ", alive")
	}
	s.faults = nil
	s.reopen()
	s.check(what)
	s.save("A", "after")
	if err := run(s); err != nil {
		t.Errorf("%s: again: %v", what, err)
	}
	s.check(what + ", again")
	if left := s.stat(); left.Expunged != 0 && !strings.Contains(s.states(), "tail") {
		t.Errorf("%s: %d expunged messages are left in %s", what, left.Expunged, s.states())
	}
}

func maintFaults(t *testing.T, setup func(*maintStore), run func(*maintStore) error) {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm") // where a sync costs nothing
	}
	for name, kind := range map[string]durable.Kind{"fail": durable.Fail, "short": durable.Short, "crash": durable.Crash, "power cut": durable.PowerCut} {
		for n := 1; ; n++ {
			f := durable.FaultAt(n, kind, unix.ENOSPC)
			maintFault(t, f, fmt.Sprintf("%s at step %d", name, n), setup, run)
			if !f.Hit() {
				if n < 5 {
					t.Errorf("only %d steps", n)
				}
				break
			}
		}
	}
}

// TestPurgeFaults spoils every step: no message is lost or doubled, and all references are
// right.
func TestPurgeFaults(t *testing.T) {
	maintFaults(t, nil, func(s *maintStore) error {
		_, err := s.maintenance().purge(t.Context())
		return err
	})
}

// TestPurgeModel purges and moves between other changes, and compares with a model.
func TestPurgeModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := newMaintStore(t, "A", "B", "C")
	names := []string{"A", "B", "C"}
	some := func(name string) (mailbox.UID, bool) {
		uids := s.uids(name)
		if len(uids) == 0 {
			return 0, false
		}
		return uids[r.IntN(len(uids))], true
	}
	for range 300 {
		name := names[r.IntN(3)]
		switch op := r.IntN(12); {
		case op < 4:
			s.save(name, strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(1500)), fmt.Sprint("n", s.n))
		case op < 6:
			if uid, ok := some(name); ok {
				s.copy(name, uid, names[r.IntN(3)])
			}
		case op < 9:
			if uid, ok := some(name); ok {
				s.expunge(name, uid)
			}
		case op == 9:
			if _, err := s.maintenance().purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		case op == 10:
			mod := mailbox.UID(1 + r.IntN(4))
			toAlt := r.IntN(2) == 0
			if _, err := s.maintenance().altMove(context.Background(), toAlt, func(_ string, m mailbox.Message) bool { return m.UID%mod == 0 }); err != nil {
				t.Fatal(err)
			}
		case op == 11:
			s.reopen()
		}
	}
	s.check("at the end")
	if strings.Contains(s.states(), "tail") || strings.Contains(s.states(), "unknown") {
		t.Error(s.states())
	}
}

// Messages can be read, saved and expunged while others move: nobody notices.
func TestMovesUnderUse(t *testing.T) {
	s := newResyncStore(t)
	h := s.open()
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var users sync.WaitGroup
	defer users.Wait()
	defer cancel()
	for range 3 {
		users.Go(func() {
			m, err := h.OpenMailbox(t.Context(), "INBOX")
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			for uid := mailbox.UID(4); ctx.Err() == nil; uid = 4 + (uid-3)%9 {
				st, err := m.Open(t.Context(), uid)
				if err != nil {
					t.Errorf("UID %d: %v", uid, err)
					return
				}
				b := make([]byte, st.Size())
				if _, err := st.ReadAt(b, 0); err != nil && err != io.EOF || !strings.HasPrefix(string(b), fmt.Sprint(uid-1, " ")) {
					t.Errorf("UID %d: %.20q, %v", uid, b, err)
				}
				st.Close()
			}
		})
	}
	users.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			rsSave(t, h, "Empty", strings.Repeat("y", n*97%2000), fmt.Sprintf("%032x", 5000+n))
			m := rsOpen(t, h, "Empty")
			if err := m.Expunge(t.Context(), []mailbox.UID{mailbox.UID(n)}); err != nil {
				t.Error(err)
			}
			m.Close()
		}
	})
	for n := range 12 {
		done, err := h.Purge(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, left := range done.Left {
			if left.Reason != "it is being written to" {
				t.Errorf("%+v", left)
			}
		}
		if _, err := h.AltMove(t.Context(), n%2 == 0, func(_ string, m mailbox.Message) bool { return m.UID%2 == 0 }); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	users.Wait()
	checkStore(t, h)
}
