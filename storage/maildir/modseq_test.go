package maildir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

func setFlag(t testing.TB, m *Mailbox, uid mailbox.UID, name string) {
	t.Helper()
	if err := setFlags(context.Background(), m, []mailbox.UID{uid}, mailbox.FlagChange{Flags: flags(name)}); err != nil {
		t.Fatal(err)
	}
}

func expunge(t testing.TB, m *Mailbox, uids ...mailbox.UID) {
	t.Helper()
	if err := m.Expunge(context.Background(), uids); err != nil {
		t.Fatal(err)
	}
}

func wantGone(t testing.TB, m *Mailbox, since mailbox.ModSeq, complete bool, want ...mailbox.UID) {
	t.Helper()
	got, is, err := m.Expunged(context.Background(), since)
	if err != nil || is != complete || !slices.Equal(got, want) {
		t.Errorf("expunged since %d: %v, complete %v, %v; want %v, complete %v", since, got, is, err, want, complete)
	}
}

// A conditional change looks at what others did, but files without UID must not have it wait
// for the lock that it holds itself.
func TestConditionalWithNewFiles(t *testing.T) {
	l := newLocation(t)
	m := openBox(t, openTree(t, l, Options{LockWait: time.Minute}), "INBOX")
	uid := save(t, m, "x", mailbox.SaveInfo{})
	since := m.View().HighestModSeq
	setFlag(t, m, uid, `\Seen`)
	put(t, filepath.Join(l.Root, "new", "1.new"), "y")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	modified, err := m.SetFlags(ctx, []mailbox.UID{uid}, mailbox.FlagChange{Flags: flags(`\Draft`), UnchangedSince: &since})
	if err != nil || !slices.Equal(modified, []mailbox.UID{uid}) {
		t.Errorf("refused %v, %v", modified, err)
	}
	wantShown(t, m, `1 \Seen \Recent`, `2 \Recent`)
}

// Another program's change counts for a condition, though nobody has looked since.
func TestConditionalForeign(t *testing.T) {
	l := newLocation(t)
	m := openBox(t, openTree(t, l, Options{}), "INBOX")
	uid := save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	v := m.View()
	past := time.Now().Add(-time.Minute)
	cur := filepath.Join(l.Root, "cur")
	os.Chtimes(cur, past, past)
	resync(t, m)
	base := filepath.Join(cur, v.Get(uid).GUID)
	mustRename(t, base+":2,S", base+":2,FS")
	change := mailbox.FlagChange{Op: mailbox.RemoveFlags, Flags: flags(`\Seen`), UnchangedSince: &v.HighestModSeq}
	modified, err := m.SetFlags(t.Context(), []mailbox.UID{uid}, change)
	if err != nil || !slices.Equal(modified, []mailbox.UID{uid}) {
		t.Errorf("refused %v, %v", modified, err)
	}
	wantShown(t, m, `1 \Flagged \Seen \Recent`)
}

func TestExpungedSinceUnknown(t *testing.T) {
	l := newLocation(t)
	m := openBox(t, openTree(t, l, Options{}), "INBOX")
	uid := save(t, m, "x", mailbox.SaveInfo{})
	first := m.View().HighestModSeq
	wantGone(t, m, first, true)
	wantGone(t, m, first+1, false) // nobody told it
	wantGone(t, m, 1, false)       // before the index was begun
	expunge(t, m, uid)
	wantGone(t, m, first, true, uid)
}

// Without a file nothing is kept, and the caller must say so to clients.
func TestNoModSeqs(t *testing.T) {
	l := newLocation(t)
	l.Index = "MEMORY"
	m := openBox(t, openTree(t, l, Options{}), "INBOX")
	if err := m.SyncModSeqs(t.Context()); !errors.Is(err, mailbox.ErrNoModSeqs) {
		t.Errorf("SyncModSeqs: %v", err)
	}
	first := m.View().HighestModSeq
	save(t, m, "x", mailbox.SaveInfo{})
	wantGone(t, m, first, false)
}

// A mailbox that is deleted while its modseqs are synced is gone, as for all other calls: that
// its index is closed says nothing of modseqs.
func TestSyncModSeqsDeleted(t *testing.T) {
	for name, read := range map[string]bool{"read": true, "never read": false} {
		t.Run(name, func(t *testing.T) {
			h := openTree(t, newLocation(t), Options{})
			if err := h.Create(t.Context(), "Box"); err != nil {
				t.Fatal(err)
			}
			m := openBox(t, h, "Box")
			if read {
				m.View()
			}
			m.b.syncing.Lock() // between the look at the index and its use
			done := make(chan error)
			go func() { done <- m.SyncModSeqs(t.Context()) }()
			time.Sleep(20 * time.Millisecond) // it should be there by now; if not, the test proves less
			if err := h.Delete(t.Context(), "Box"); err != nil {
				t.Fatal(err)
			}
			m.b.syncing.Unlock()
			if err := <-done; !errors.Is(err, mailbox.ErrNotFound) {
				t.Errorf("SyncModSeqs: %v", err)
			}
		})
	}
}

// SyncModSeqs syncs the names before the index says so, and only what is outstanding.
func TestSyncModSeqsOrder(t *testing.T) {
	m := newInbox(t)
	h := m.b.h
	h.cache.Delay = time.Hour
	uid := save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	if err := m.SyncModSeqs(t.Context()); err != nil {
		t.Fatal(err)
	}
	// steps are those of a SyncModSeqs, the nth of which is spoilt.
	steps := func(n int) (out []string, err error) {
		h.faults = durable.FaultAt(n, durable.Fail, unix.EIO)
		err = m.SyncModSeqs(t.Context())
		for _, s := range h.faults.Steps() {
			out = append(out, fmt.Sprint(s.Op, " ", filepath.Base(s.Path)))
		}
		h.faults = nil
		return out, err
	}
	if got, err := steps(1); err != nil || len(got) != 0 {
		t.Errorf("nothing was outstanding, but: %q, %v", got, err)
	}
	setFlag(t, m, uid, `\Flagged`)
	if _, err := steps(1); !errors.Is(err, unix.EIO) {
		t.Errorf("a directory that could not be synced: %v", err)
	}
	if _, err := steps(2); !errors.Is(err, unix.EIO) {
		t.Errorf("an index that could not be written: %v", err)
	}
	if got, err := steps(3); err != nil || !slices.Equal(got, []string{"sync " + index.FileName}) {
		t.Errorf("what was left: %q, %v", got, err)
	}
	setFlag(t, m, uid, `\Draft`)
	if got, err := steps(3); err != nil || !slices.Equal(got, []string{"syncdir cur", "sync " + index.FileName}) {
		t.Errorf("steps %q, %v", got, err)
	}
}

// To open a mailbox in which nothing has changed writes nothing.
func TestReopenWritesNothing(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	save(t, m, "x", mailbox.SaveInfo{})
	expunge(t, m, save(t, m, "y", mailbox.SaveInfo{}))
	was := m.View().HighestModSeq
	m.Close()
	h.Close()
	h = openTree(t, l, Options{})
	h.cache.Delay = time.Hour
	h.faults = durable.FaultAt(1, durable.Fail, unix.EIO)
	m = openBox(t, h, "INBOX")
	v, err := m.Sync(t.Context())
	if err == nil {
		err = m.SyncModSeqs(t.Context())
	}
	if steps := h.faults.Steps(); err != nil || len(steps) > 0 || v.HighestModSeq != was {
		t.Errorf("%v, steps %v, HighestModSeq %d, was %d", err, steps, v.HighestModSeq, was)
	}
	h.faults = nil
}

// Modseqs of a mailbox that has become another one go on, and nothing is known of before.
func TestModSeqsOfAnotherMailbox(t *testing.T) {
	for name, change := range map[string]func(header string) string{
		"GUID":        func(h string) string { return strings.Replace(h, " G", " Gffff", 1)[:len(h)] },
		"UIDVALIDITY": func(h string) string { return strings.Replace(h, "3 V", "3 V1", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLocation(t)
			h := openTree(t, l, Options{})
			h.cache.Now = func() time.Time { return time.Unix(1_000_000, 0) }
			m := openBox(t, h, "INBOX")
			for range 3 {
				save(t, m, "x", mailbox.SaveInfo{})
			}
			expunge(t, m, 2)
			was := m.View()
			wantGone(t, m, was.HighestModSeq-1, true, 2)
			list := readFile(t, m.b.listPath())
			header, rest, _ := strings.Cut(list, "\n")
			put(t, m.b.listPath(), change(header)+"\n"+rest)
			v, err := m.Sync(t.Context())
			if err != nil || v.GUID == was.GUID && v.UIDValidity == was.UIDValidity {
				t.Fatalf("the mailbox is still the same: %v", err)
			}
			if v.HighestModSeq <= was.HighestModSeq || v.Len() != 2 || v.At(0).ModSeq <= was.HighestModSeq {
				t.Errorf("HighestModSeq %d after %d; first message %+v", v.HighestModSeq, was.HighestModSeq, v.At(0))
			}
			wantGone(t, m, was.HighestModSeq, false)
			if err := m.SyncModSeqs(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where the index is lost and the clock was put back, the times of the files say what may
// have been told.
func TestLostIndexClockBack(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	uid := save(t, m, "x", mailbox.SaveInfo{})
	setFlag(t, m, uid, `\Seen`)
	told := m.View().HighestModSeq
	m.Close()
	h.Close()
	mustRemove(t, filepath.Join(l.Root, index.FileName))
	// The kernel's times are a tick behind the clock.
	time.Sleep(20 * time.Millisecond)
	cur := filepath.Join(l.Root, "cur")
	mustRename(t, filepath.Join(cur, m.b.byUID[0].base+":2,S"), filepath.Join(cur, m.b.byUID[0].base+":2,RS"))
	h = openTree(t, l, Options{})
	h.cache.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	m = openBox(t, h, "INBOX")
	if v := m.View(); v.At(0).ModSeq <= told {
		t.Errorf("modseq %d, told was %d", v.At(0).ModSeq, told)
	}
}

// The save date is that of saving in this mailbox, whatever happens to the file's ctime.
func TestSavedIsKept(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	other := openBox(t, h, "Other")
	// Two deliveries, by us and by another program that also gave the UID, and an APPEND.
	if _, err := trySave(m, "a", mailbox.SaveInfo{}); err != nil {
		t.Fatal(err)
	}
	resync(t, m)
	put(t, filepath.Join(l.Root, "new", "2.other"), "b")
	put(t, m.b.listPath(), readFile(t, m.b.listPath())+"2 :2.other\n")
	resync(t, m)
	save(t, m, "c", mailbox.SaveInfo{})
	stat := func(m *Mailbox, uid mailbox.UID) time.Time {
		t.Helper()
		s, err := m.Stat(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		return s.Saved
	}
	saved := map[mailbox.UID]time.Time{1: stat(m, 1), 2: stat(m, 2), 3: stat(m, 3)}
	check := func(what string) {
		t.Helper()
		for uid, want := range saved {
			if got := stat(m, uid); !got.Equal(want) {
				t.Errorf("after %s: UID %d saved at %v, was %v", what, uid, got, want)
			}
		}
	}
	reopen := func() {
		m.Close()
		other.Close()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = openTree(t, l, Options{})
		m, other = openBox(t, h, "INBOX"), openBox(t, h, "Other")
	}
	time.Sleep(20 * time.Millisecond) // so that times differ
	if claimed, err := m.ClaimRecent(t.Context()); err != nil || len(claimed) != 3 {
		t.Fatal(claimed, err)
	}
	check("claiming")
	reopen()
	check("claiming and a restart")
	for uid := range saved {
		setFlag(t, m, uid, `\Seen`)
	}
	check("a flag")
	reopen()
	check("a flag and a restart")
	before := time.Now().Add(-10 * time.Millisecond)
	copied, err := other.Link(t.Context(), m, 2, mailbox.SaveInfo{GUID: m.View().Get(2).GUID})
	if err != nil {
		t.Fatal(err)
	}
	if got := stat(other, copied); got.Before(before) {
		t.Errorf("a copy was saved at %v, before it was made", got)
	}
	saved2 := stat(other, copied)
	check("a copy")
	time.Sleep(20 * time.Millisecond)
	setFlag(t, other, copied, `\Seen`)
	reopen()
	check("a copy and a restart")
	if got := stat(other, copied); !got.Equal(saved2) {
		t.Errorf("a copy was saved at %v, and after a restart at %v", saved2, got)
	}
}

// Sessions, another program and clients at the same time.
func TestModSeqsConcurrent(t *testing.T) {
	inMemory(t)
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	for range 20 {
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	}
	stop := make(chan struct{})
	var workers, clients sync.WaitGroup
	loop := func(fn func(i int) error) {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := fn(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	pick := func(i int) []mailbox.UID {
		v := m.View()
		if v.Len() == 0 {
			return nil
		}
		return []mailbox.UID{v.At(i * 7 % v.Len()).UID}
	}
	loop(func(i int) error {
		return setFlags(context.Background(), m, pick(i), mailbox.FlagChange{Op: mailbox.FlagOp(i % 3), Flags: flags(`\Flagged`)})
	})
	loop(func(i int) error {
		if _, err := trySave(m, "y", mailbox.SaveInfo{NeedUID: i%2 == 0}); err != nil {
			return err
		}
		return m.Expunge(context.Background(), pick(i))
	})
	loop(func(i int) error { // another program
		for _, path := range names(t, filepath.Join(l.Root, "cur")) {
			base, letters, _ := strings.Cut(path, ":2,")
			path = filepath.Join(l.Root, "cur", path)
			if i%5 == 0 {
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
				break
			}
			err := os.Rename(path, filepath.Join(l.Root, "cur", base+":2,"+toggle(letters, "R")))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			i++
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	for range 3 {
		clients.Go(func() {
			picture := map[mailbox.UID]string{}
			since := mailbox.ModSeq(0)
			for range 500 {
				v, err := m.Sync(context.Background())
				if err == nil {
					err = m.SyncModSeqs(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
				gone, complete, err := m.Expunged(context.Background(), since)
				if err != nil || !complete && since != 0 {
					t.Errorf("expunged: complete %v, %v", complete, err)
				}
				for _, uid := range gone {
					if v.Get(uid) == nil { // or it was expunged after v
						delete(picture, uid)
					}
				}
				for _, msg := range v.All() {
					if msg.ModSeq > since {
						picture[msg.UID] = pictureLine(msg)
					}
				}
				if want := pictureOf(v); !maps.Equal(picture, want) {
					t.Errorf("client since %d has\n%v, want\n%v", since, picture, want)
					return
				}
				since = v.HighestModSeq
			}
		})
	}
	clients.Wait()
	close(stop)
	workers.Wait()
}
