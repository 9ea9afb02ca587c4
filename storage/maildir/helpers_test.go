package maildir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

type (
	storageFolder  = storage.Folder
	storageBackend = storage.Backend
)

// newLocation is an empty Maildir++ tree.
func newLocation(t testing.TB) Location {
	t.Helper()
	return Location{Root: filepath.Join(t.TempDir(), "Maildir"), Layout: PlusPlus}
}

// openTree opens a tree until the test ends.
func openTree(t testing.TB, l Location, o Options) *Hierarchy {
	t.Helper()
	if o.LockWait == 0 {
		o.LockWait = 10 * time.Second
	}
	h, err := Open(l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// openBox opens a mailbox until the test ends, making it if need be.
func openBox(t testing.TB, h *Hierarchy, name string) *Mailbox {
	t.Helper()
	if name != mailbox.Inbox {
		if err := h.Create(context.Background(), name); err != nil && !strings.Contains(err.Error(), "exists") {
			t.Fatal(err)
		}
	}
	m, err := h.OpenMailbox(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// newInbox is the INBOX of an empty tree.
func newInbox(t testing.TB) *Mailbox {
	t.Helper()
	return openBox(t, openTree(t, newLocation(t), Options{}), mailbox.Inbox)
}

// save appends a message and returns its UID.
func save(t testing.TB, m *Mailbox, text string, info mailbox.SaveInfo) mailbox.UID {
	t.Helper()
	info.NeedUID = true
	uid, err := trySave(m, text, info)
	if err != nil {
		t.Fatal(err)
	}
	if uid == 0 {
		t.Fatal("no UID")
	}
	return uid
}

func trySave(m *Mailbox, text string, info mailbox.SaveInfo) (mailbox.UID, error) {
	p, err := m.Create(context.Background(), info)
	if err != nil {
		return 0, err
	}
	if _, err := p.Write([]byte(text)); err != nil {
		p.Abort()
		return 0, err
	}
	virtual := int64(len(text) + strings.Count(text, "\n"))
	return p.Commit(mailbox.Sizes{Physical: int64(len(text)), Virtual: virtual})
}

// tryGroup saves the new message once for each info, all or none.
func tryGroup(m *Mailbox, infos ...mailbox.SaveInfo) error {
	var pending []mailbox.Pending
	var sizes []mailbox.Sizes
	for _, info := range infos {
		p, err := m.Create(context.Background(), info)
		if err == nil {
			pending = append(pending, p)
			sizes = append(sizes, mailbox.Sizes{Physical: 15, Virtual: 15})
			_, err = p.Write([]byte("the new message"))
		}
		if err == nil {
			err = p.(storage.Finisher).Finish()
		}
		if err != nil {
			for _, p := range pending {
				p.Abort()
			}
			return err
		}
	}
	uids, err := m.CommitAll(context.Background(), pending, sizes)
	if err == nil && len(uids) != len(infos) {
		return fmt.Errorf("%d UIDs for %d messages", len(uids), len(infos))
	}
	return err
}

func flags(names ...string) mailbox.Flags { return mailbox.ParseFlags(names) }

// resync syncs and returns the view as "uid flags" lines.
func resync(t testing.TB, m *Mailbox) []string {
	t.Helper()
	v, err := m.Sync(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return shown(v)
}

func shown(v *mailbox.View) []string {
	out := []string{}
	for _, msg := range v.All() {
		out = append(out, strings.TrimSpace(fmt.Sprint(msg.UID, " ", strings.Join(msg.Flags.Names(), " "))))
	}
	return out
}

func wantShown(t testing.TB, m *Mailbox, want ...string) {
	t.Helper()
	if got := resync(t, m); !slices.Equal(got, want) {
		t.Errorf("mailbox shows %q, want %q", got, want)
	}
}

// put writes a file as another program would, and moves times so that it is noticed.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustRename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// names lists a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, d := range list {
		out = append(out, d.Name())
	}
	return out
}

// inTmp returns what a tmp directory holds, without the lock file that an open mailbox keeps
// there.
func inTmp(t testing.TB, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, dir), func(name string) bool { return strings.HasSuffix(name, ".lock") })
}

// inMemory has the test's directories in memory, where a sync costs nothing.
func inMemory(t *testing.T) {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

// setFlags is an unconditional SetFlags.
func setFlags(ctx context.Context, b storage.Backend, uids []mailbox.UID, change mailbox.FlagChange) error {
	_, err := b.SetFlags(ctx, uids, change)
	return err
}

// changedOf returns a channel that is closed at the next change, and watches until the
// test ends.
func changedOf(t *testing.T, m *Mailbox) <-chan struct{} {
	t.Helper()
	told := make(chan struct{})
	var once sync.Once
	t.Cleanup(m.Watch(func() { once.Do(func() { close(told) }) }))
	return told
}
