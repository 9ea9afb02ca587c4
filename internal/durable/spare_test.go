package durable

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inode is what lies at a path.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// A lock that keeps its file is there while it is held, gone while it is not, and the same
// file each time, with a time of now.
func TestSpare(t *testing.T) {
	dir := t.TempDir()
	path, spare := filepath.Join(dir, "f"), filepath.Join(dir, "spare")
	s := NewSpare(func() string { return spare })
	lock := func() *Dotlock {
		t.Helper()
		l, err := Lock(context.Background(), path, DotlockOptions{Spare: s, Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var first uint64
	for i := range 4 {
		l := lock()
		if is := inode(t, path+".lock"); i == 0 {
			first = is
		} else if is != first {
			t.Errorf("holding %d has made a file", i)
		}
		if pid, ok := readPID(path+".lock", hostname(t)); !ok || pid != os.Getpid() {
			t.Errorf("holding %d: the lock names process %d, %v", i, pid, ok)
		}
		if err := l.Touch(); err != nil {
			t.Error(err)
		}
		if _, err := Lock(context.Background(), path, DotlockOptions{Spare: s}); !errors.Is(err, ErrLocked) {
			t.Errorf("second lock: %v, want ErrLocked", err)
		}
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"spare"}) {
			t.Errorf("after holding %d: %v", i, got)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(spare, old, old); err != nil {
			t.Fatal(err)
		}
		s.touched = old
	}
	l := lock()
	if fi, err := os.Stat(path + ".lock"); err != nil || time.Since(fi.ModTime()) > time.Minute {
		t.Errorf("the lock looks old: %v, %v", fi, err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	s.Close()
	if l = lock(); l.Unlock() != nil {
		t.Error("unlocking after Close")
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// Somebody else's lock is waited for and not touched; one that was stolen is lost, and what
// comes after it is a lock again.
func TestSpareAmongOthers(t *testing.T) {
	dir := t.TempDir()
	path, spare := filepath.Join(dir, "f"), filepath.Join(dir, "spare")
	s := NewSpare(func() string { return spare })
	o := DotlockOptions{Spare: s}
	take := func() *Dotlock {
		t.Helper()
		l, err := Lock(context.Background(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	give := func(l *Dotlock) {
		t.Helper()
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	give(take())
	if err := os.WriteFile(path+".lock", []byte("1:other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(context.Background(), path, o); !errors.Is(err, ErrLocked) {
		t.Errorf("lock of another: %v, want ErrLocked", err)
	}
	if got := contents(t, path+".lock"); got != "1:other" {
		t.Errorf("their lock holds %q", got)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}

	for range 2 { // with a lock of the spare file, and with one that was made
		l := take()
		if err := os.WriteFile(path+".2", []byte("1:thief"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".2", path+".lock"); err != nil {
			t.Fatal(err)
		}
		if err := l.Unlock(); !errors.Is(err, ErrLost) {
			t.Errorf("stolen lock: %v, want ErrLost", err)
		}
		if got := contents(t, path+".lock"); got != "1:thief" {
			t.Errorf("the thief's lock holds %q", got)
		}
		if err := os.Remove(path + ".lock"); err != nil {
			t.Fatal(err)
		}
	}

	// Cleaned away, it is made anew.
	give(take())
	if err := os.Remove(spare); err != nil {
		t.Fatal(err)
	}
	give(take())
	if got := names(t, dir); !slices.Equal(got, []string{"spare"}) {
		t.Errorf("left behind: %v", got)
	}
	s.Close()

	// Where it cannot lie, locks are locks all the same.
	o.Spare = NewSpare(func() string { return filepath.Join(dir, "missing", "spare") })
	for range 2 {
		give(take())
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("left behind: %v", got)
		}
	}
}

// Whatever step fails, a lock is held by at most one, and is free in the end.
func TestSpareFaults(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		f := FaultAt(n, Fail, nil)
		s := NewSpare(func() string { return filepath.Join(dir, "spare") })
		o := DotlockOptions{Spare: s, Faults: f}
		for range 3 {
			l, err := Lock(context.Background(), path, o)
			if err != nil {
				continue
			}
			if _, err := Lock(context.Background(), path, DotlockOptions{}); !errors.Is(err, ErrLocked) {
				t.Errorf("step %d: second lock: %v", n, err)
			}
			if err := l.Unlock(); err != nil {
				_ = os.Remove(path + ".lock") // as others do once it is stale
			}
		}
		s.Close()
		if _, err := os.Lstat(path + ".lock"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("step %d: the lock stays: %v", n, err)
		}
		if !f.Hit() {
			return
		}
	}
}
