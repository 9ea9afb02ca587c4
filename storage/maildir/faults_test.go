package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// A faultCase is an operation that is spoilt at each of its steps in turn.
type faultCase struct {
	name string
	run  func(h *Hierarchy, m *Mailbox) error
	// before and after are what the mailbox shows, without \Recent, if the operation had no
	// effect, and if it had all of it. Anything between counts only where partly is set.
	after  []string
	partly bool
	// onlyAfter says that a failed operation may not leave its effect.
	undone bool
}

var faultBefore = []string{`1 \Seen`, `2 \Flagged k0`, `3`}

func saving(info mailbox.SaveInfo) func(*Hierarchy, *Mailbox) error {
	return func(_ *Hierarchy, m *Mailbox) error {
		_, err := trySave(m, "the new message", info)
		return err
	}
}

var faultCases = []faultCase{
	{name: "deliver", run: saving(mailbox.SaveInfo{}), after: append(slices.Clone(faultBefore), "4"), undone: true},
	{name: "append", run: saving(mailbox.SaveInfo{NeedUID: true}), after: append(slices.Clone(faultBefore), "4"), undone: true},
	{name: "append with keyword and GUID", run: saving(mailbox.SaveInfo{GUID: "g", Flags: flags("new", `\Seen`)}),
		after: append(slices.Clone(faultBefore), `4 \Seen new`), undone: true},
	{name: "group", partly: true, undone: true, after: append(slices.Clone(faultBefore), "4", `5 \Seen new`, "6"),
		run: func(_ *Hierarchy, m *Mailbox) error {
			return tryGroup(m, mailbox.SaveInfo{}, mailbox.SaveInfo{GUID: "g", Flags: flags("new", `\Seen`)}, mailbox.SaveInfo{})
		}},
	{name: "flags", partly: true, after: []string{`1 \Seen \Draft new`, `2 \Flagged \Draft k0 new`, `3 \Draft new`},
		run: func(_ *Hierarchy, m *Mailbox) error {
			return setFlags(context.Background(), m, []mailbox.UID{1, 2, 3}, mailbox.FlagChange{Flags: flags(`\Draft`, "new")})
		}},
	{name: "expunge", partly: true, after: []string{`2 \Flagged k0`}, run: func(_ *Hierarchy, m *Mailbox) error {
		return m.Expunge(context.Background(), []mailbox.UID{1, 3})
	}},
	{name: "link", after: append(slices.Clone(faultBefore), `4 \Seen`), undone: true, run: func(_ *Hierarchy, m *Mailbox) error {
		_, err := m.Link(context.Background(), m, 1, mailbox.SaveInfo{GUID: m.View().Get(1).GUID, Flags: flags(`\Seen`)})
		return err
	}},
	{name: "claim recent", after: faultBefore, run: func(_ *Hierarchy, m *Mailbox) error {
		_, err := m.ClaimRecent(context.Background())
		return err
	}},
	{name: "sync of a new file", after: append(slices.Clone(faultBefore), "4"), undone: false, run: func(_ *Hierarchy, m *Mailbox) error {
		if err := os.WriteFile(filepath.Join(m.b.dirPath(curDir), "9.h:2,"), []byte("the new message"), 0o600); err != nil {
			return err
		}
		_, err := m.Sync(context.Background())
		return err
	}},
	{name: "sync of a damaged uidlist", after: faultBefore, run: func(_ *Hierarchy, m *Mailbox) error {
		f, err := os.OpenFile(m.b.listPath(), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		f.WriteString("\x00garbage\n")
		f.Close()
		_, err = m.Sync(context.Background())
		return err
	}},
	{name: "rename and back", after: faultBefore, run: func(h *Hierarchy, m *Mailbox) error {
		if err := h.Rename(context.Background(), "A", "B"); err != nil {
			return err
		}
		return h.Rename(context.Background(), "B", "A")
	}},
}

// TestFaults spoils every step of every operation in every way.
func TestFaults(t *testing.T) {
	inMemory(t)
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			kinds := map[string]durable.Kind{"fail": durable.Fail, "short": durable.Short, "crash": durable.Crash, "power cut": durable.PowerCut}
			for name, kind := range kinds {
				for n := 1; ; n++ {
					f := durable.FaultAt(n, kind, unix.ENOSPC)
					steps := oneFault(t, &c, f, fmt.Sprintf("%s at step %d", name, n))
					if !f.Hit() {
						if n == 1 {
							t.Errorf("the operation has no steps")
						}
						if n <= len(steps) {
							t.Errorf("step %d of %d was not hit", n, len(steps))
						}
						break
					}
					if n > 200 {
						t.Fatal("the operation does not end")
					}
				}
			}
		})
	}
}

// oneFault runs an operation with one fault and looks at what is left.
func oneFault(t *testing.T, c *faultCase, f *durable.Faults, what string) []durable.Step {
	t.Helper()
	l := newLocation(t)
	l.Index = "MEMORY" // so that the files alone must be right
	h, err := Open(l, Options{Host: "test", LockWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	m := openBox(t, h, "A")
	save(t, m, "first", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	save(t, m, "second", mailbox.SaveInfo{Flags: flags(`\Flagged`, "k0")})
	save(t, m, "third", mailbox.SaveInfo{})
	was, err := m.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := readFile(t, m.b.listPath())
	h.faults = f
	opErr := c.run(h, m)
	h.faults = nil
	// Of a file that was only appended to, a power cut takes no more than what was appended.
	if st, err := os.Stat(m.b.listPath()); err == nil && st.Size() == 0 {
		put(t, m.b.listPath(), list)
	}
	steps := f.Steps()
	m.Close()
	h.Close()
	where := what
	if n := len(steps); n > 0 && f.Hit() {
		where += fmt.Sprintf(" (%s %s)", steps[n-1].Op, filepath.Base(steps[n-1].Path))
	}

	// What a crash leaves locked is free after the stale time; that is tested elsewhere.
	removeLocks(t, l.Root)
	h, err = Open(l, Options{Host: "test", LockWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	m, err = h.OpenMailbox(t.Context(), "A")
	if errors.Is(err, mailbox.ErrNotFound) && opErr != nil && c.name == "rename and back" {
		m, err = h.OpenMailbox(t.Context(), "B")
	}
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return steps
	}
	defer m.Close()
	v, err := m.Sync(t.Context())
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return steps
	}
	got := bare(v)
	whole, nothing := slices.Equal(got, c.after), slices.Equal(got, faultBefore)
	if strings.HasPrefix(c.name, "sync") && len(got) == 4 {
		whole = true // a sync acknowledges nothing: any UID will do
	}
	switch {
	case opErr == nil && !whole:
		t.Errorf("%s: acknowledged, but shows %q, want %q", where, got, c.after)
	case opErr != nil && !whole && !nothing && !c.partly:
		// A UID that was given away and not used is no harm.
		if len(got) == 4 && strings.HasPrefix(got[3], "5") && slices.Equal(got[:3], faultBefore) {
			break
		}
		t.Errorf("%s: shows %q after %v", where, got, opErr)
	case opErr != nil && !nothing && c.undone && !errors.Is(opErr, durable.ErrCrashed):
		// The one exception is a lock that could not be removed: the message stands or not.
		t.Errorf("%s: refused with %v, but its effect is there", where, opErr)
	}
	if v.GUID != was.GUID || v.UIDValidity != was.UIDValidity || v.UIDNext < was.UIDNext {
		t.Errorf("%s: GUID %v V %d N %d, was %v %d %d", where, v.GUID, v.UIDValidity, v.UIDNext, was.GUID, was.UIDValidity, was.UIDNext)
	}
	texts := map[mailbox.UID]string{1: "first", 2: "second", 3: "third"}
	for uid := mailbox.UID(4); uid < 10; uid++ {
		texts[uid] = "the new message"
	}
	if c.name == "link" {
		texts[4], texts[5] = "first", "first"
	}
	for _, msg := range v.All() {
		s, err := m.Open(t.Context(), msg.UID)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		b := make([]byte, s.Size())
		s.ReadAt(b, 0)
		s.Close()
		if string(b) != texts[msg.UID] {
			t.Errorf("%s: UID %d holds %q", where, msg.UID, b)
		}
	}
	list = readFile(t, m.b.listPath())
	if p, err := parseUIDList(strings.NewReader(list)); err != nil || p.damage != nil || p.torn {
		t.Errorf("%s: uidlist %q: %v", where, list, p.damage)
	}
	return steps
}

func removeLocks(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".lock") {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A lock that a crash has left is overridden, by its pid, after two seconds.
func TestLockOfADeadProcess(t *testing.T) {
	m := newInbox(t)
	lock := m.b.listPath() + ".lock"
	put(t, lock, "4194399:"+m.b.h.host)
	old := time.Now().Add(-10 * time.Second)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	save(t, m, "x", mailbox.SaveInfo{})
	// A keywords lock that stands while the uidlist is ours was left behind.
	put(t, filepath.Join(m.b.f().control, keywordsName+".lock"), "1:elsewhere")
	save(t, m, "x", mailbox.SaveInfo{Flags: flags("k")})
	wantShown(t, m, `1 \Recent`, `2 \Recent k`)
}

// Against a lock that is not given up, flags and expunges work, and so does delivery.
func TestLockHeldByAnother(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{LockWait: 50 * time.Millisecond})
	m := openBox(t, h, "INBOX")
	for range 3 {
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	}
	put(t, m.b.listPath()+".lock", "1:elsewhere")
	if _, err := trySave(m, "x", mailbox.SaveInfo{NeedUID: true}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("saving with UID: %v", err)
	}
	if _, err := trySave(m, "x", mailbox.SaveInfo{}); err != nil {
		t.Error(err)
	}
	if err := setFlags(t.Context(), m, []mailbox.UID{1}, mailbox.FlagChange{Flags: flags(`\Flagged`)}); err != nil {
		t.Error(err)
	}
	if err := m.Expunge(t.Context(), []mailbox.UID{2}); err != nil {
		t.Error(err)
	}
	wantShown(t, m, `1 \Flagged \Seen \Recent`, `3 \Seen \Recent`)
	mustRemove(t, m.b.listPath()+".lock")
	wantShown(t, m, `1 \Flagged \Seen \Recent`, `3 \Seen \Recent`, `4 \Recent`)
}
