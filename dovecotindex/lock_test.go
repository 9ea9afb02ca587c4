package dovecotindex

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/dovetest"
)

func lockedLog(t *testing.T) (path string, f *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "dovecot.index")
	must(t, Create(path, begin().b))
	f, err := os.OpenFile(path+".log", os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return path, f
}

func TestAcquire(t *testing.T) {
	path, _ := lockedLog(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := Acquire(t.Context(), path)
	must(t, err)
	if _, err := Acquire(ended, path); !errors.Is(err, ErrLocked) || !errors.Is(err, context.Canceled) {
		t.Errorf("locked twice: %v", err)
	}
	if _, err := Read(t.Context(), path); err != nil {
		t.Errorf("a lock keeps readers out: %v", err)
	}
	must(t, l.Release())
	if err := l.Release(); err == nil {
		t.Error("unlocked twice")
	}
	l, err = Acquire(ended, path)
	must(t, err)
	must(t, l.Release())
	if _, err := Acquire(t.Context(), path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index that is not there: %v", err)
	}
}

// Each way in which Dovecot may lock keeps us out, and shows.
func TestLocksOfOthers(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, lock := range map[string]func(path string, f *os.File) error{
		"fcntl": func(_ string, f *os.File) error {
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
		},
		"flock":   func(_ string, f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) },
		"dotlock": func(path string, _ *os.File) error { return os.WriteFile(path+".log.lock", nil, 0o600) },
	} {
		path, f := lockedLog(t)
		if users, err := Users(path); err != nil || len(users) != 0 {
			t.Errorf("%s: used by %v before: %v", name, users, err)
		}
		must(t, lock(path, f))
		if _, err := Acquire(ended, path); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
		users, err := Users(path)
		if err != nil || len(users) != 1 || !users[0].Locked {
			t.Errorf("%s: used by %v, %v", name, users, err)
		}
	}
}

// Dovecot waits for our lock, and shows as a user of the mailbox that it has open.
func TestLockAgainstDovecot(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		path := liveIndex(d, "mdbox", "INBOX")
		s := d.IMAP()
		s.Append("INBOX", "", "Subject: a\r\n\r\nb\r\n")
		s.OK("SELECT INBOX")
		users, err := Users(path, filepath.Join(d.Home, "mdbox/storage/dovecot.map.index"))
		if err != nil || len(users) != 1 || users[0].Program != "imap" || users[0].Locked {
			t.Errorf("used by %+v, %v", users, err)
		}
		l, err := Acquire(t.Context(), path)
		must(t, err)
		done := make(chan struct{})
		go func() {
			s.OK(`STORE 1 +FLAGS (\Seen)`)
			close(done)
		}()
		select {
		case <-done:
			t.Error("Dovecot has changed a mailbox that was locked")
		case <-time.After(300 * time.Millisecond):
		}
		must(t, l.Release())
		<-done
		s.Close()
		if users, err := Users(path); err != nil || len(users) != 0 {
			t.Errorf("used by %+v, %v", users, err)
		}
		compare(t, d, "mdbox", "INBOX")
	})
}
