package account

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestHomeOwner runs as root, as a daemon started by hand may: everything in a new home
// belongs to the uid and gid of the user database.
func TestHomeOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
	const uid, gid = 5001, 5002
	for _, dict := range []string{"bolt:~/keys.db", "file:~/Maildir/dovecot-attributes"} {
		w := newWorld(t, dict, time.Hour)
		u := user("u")
		u.UID, u.GID = uid, gid
		l := w.login(t, u, "pw")
		if err := l.Create(t.Context(), "Work"); err != nil {
			t.Fatal(err)
		}
		if err := l.Subscribe(t.Context(), "Work", true); err != nil {
			t.Fatal(err)
		}
		save(t, open(t, l, "Work"), "Subject: x\n\ny\n")
		if err := w.deliver(t, u, "Subject: z\n\n"); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := filepath.WalkDir(filepath.Join(w.dir, "u"), func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := e.Info()
			if err != nil {
				return err
			}
			n++
			if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid {
				t.Errorf("%s belongs to %d:%d", p, st.Uid, st.Gid)
			}
			return nil
		})
		if err != nil || n < 15 {
			t.Errorf("looked at %d files: %v", n, err)
		}
	}
}
