package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

// smallDisk is a file system of its own, which only root can have.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a file system here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// On a full disk saving is refused, reading, flags and expunging work, and after that
// everything does again.
func TestFullDisk(t *testing.T) {
	for _, options := range []string{"size=1m", "nr_inodes=40"} {
		t.Run(options, func(t *testing.T) {
			dir := smallDisk(t, options)
			h := openTree(t, Location{Root: filepath.Join(dir, "M"), Layout: PlusPlus}, Options{})
			m := openBox(t, h, "INBOX")
			for i := range 5 {
				put(t, filepath.Join(dir, fmt.Sprint("fill", i)), strings.Repeat("x", 30_000))
			}
			first := save(t, m, "first", mailbox.SaveInfo{})
			saved := 1
			text := strings.Repeat("x", 20_000)
			var err error
			for ; err == nil; saved++ {
				_, err = trySave(m, text, mailbox.SaveInfo{NeedUID: saved%2 == 0})
			}
			saved--
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("saving on a full disk: %v", err)
			}
			// Nothing at all is left now.
			for i := 10; i < 1000; i++ {
				if os.WriteFile(filepath.Join(dir, fmt.Sprint("fill", i)), []byte(text), 0o600) != nil {
					break
				}
			}
			if _, err := trySave(m, "y", mailbox.SaveInfo{}); err == nil {
				saved++ // the last byte
			}
			if _, err := m.Sync(t.Context()); err != nil {
				t.Errorf("Sync: %v", err)
			}
			if _, err := m.Open(t.Context(), first); err != nil {
				t.Errorf("Open: %v", err)
			}
			if err := setFlags(t.Context(), m, []mailbox.UID{first}, mailbox.FlagChange{Flags: flags(`\Seen`)}); err != nil {
				t.Errorf("SetFlags: %v", err)
			}
			if err := m.Expunge(t.Context(), []mailbox.UID{first}); err != nil {
				t.Errorf("Expunge: %v", err)
			}
			if m.View().Get(first) != nil {
				t.Error("an expunged message stands")
			}
			for _, n := range names(t, dir) {
				if strings.HasPrefix(n, "fill") {
					mustRemove(t, filepath.Join(dir, n))
				}
			}
			if v, err := m.Sync(t.Context()); err != nil || v.Len() != saved-1 {
				t.Errorf("%d messages of %d, %v", v.Len(), saved-1, err)
			}
			save(t, m, "last", mailbox.SaveInfo{Flags: flags("k")})
			if n := inTmp(t, filepath.Join(dir, "M", "tmp")); len(n) != 0 {
				t.Errorf("tmp holds %q", n)
			}
		})
	}
}

// A store that cannot be written is read all the same.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "size=4m")
	l := Location{Root: filepath.Join(dir, "M"), Layout: PlusPlus}
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	uid := save(t, m, "text", mailbox.SaveInfo{})
	if _, err := trySave(m, "unlisted", mailbox.SaveInfo{}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	h.Close()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	if v, err := m.Sync(t.Context()); err != nil || v.Get(uid) == nil {
		t.Errorf("%v, %v", v, err)
	}
	s, err := m.Open(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := trySave(m, "x", mailbox.SaveInfo{}); !errors.Is(err, unix.EROFS) {
		t.Errorf("saving: %v", err)
	}
	if _, err := m.ClaimRecent(t.Context()); err != nil {
		t.Errorf("ClaimRecent: %v", err)
	}
}
