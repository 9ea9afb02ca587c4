package attrdict

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

func TestParseContents(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string // want as dump, "|" between
		dropped        bool
	}{
		{"empty", "", "", false},
		{"two pairs", "b\n2\na\n1\n", "a=1|b=2", false},
		{"escapes", "k\n\x010\x011\x01t\x01r\x01n\n", "k=\x00\x01\t\r\n", false},
		{"unknown escape", "k\na\x01xb\n", "k=axb", false},
		{"lone escape at the end", "k\nv\x01\n", "k=v", false},
		{"escape before escape", "k\n\x01\x01\n", "k=\x01", false},
		{"CR LF", "k\r\nv\r\n", "k=v", false},
		{"two CR", "k\nv\r\r\n", "k=v\r", false},
		{"no LF at the end", "k\nv\nl\nw", "k=v", true},
		{"key without value", "k\nv\nl\n", "k=v", true},
		{"unfinished key", "k\nv\nl", "k=v", true},
		{"twice", "k\n1\nl\n2\nk\n3\n", "k=3|l=2", false},
		{"twice through escapes", "a\x01xb\n1\naxb\n2\n", "axb=2", false},
		{"empty value", "k\n\n", "k=", false},
		{"empty key", "\nv\n", "=v", false},
		{"backslashes", "a/b:\\n\n\\t\n", "a/b:\\n=\\t", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parseContents([]byte(tt.in))
			var got []string
			for _, i := range c.sorted {
				got = append(got, c.pairs[i].key+"="+string(c.pairs[i].value))
			}
			if s := strings.Join(got, "|"); s != tt.want || c.dropped != tt.dropped {
				t.Errorf("got %q, dropped %v; want %q, %v", s, c.dropped, tt.want, tt.dropped)
			}
		})
	}
}

// A change leaves the bytes of all other pairs and their order alone.
func TestFilePreserves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr")
	before := "z/foreign\nodd \x01x escape\x01\nk\nold\na\n1\x01t2\nk2\nv\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	d, err := OpenFile(path, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Update(context.Background(), func(tx Tx) error {
		return errors.Join(tx.Set("k", []byte("new\x00\x01\t\r\n")), tx.Unset("k2"), tx.Set("b", []byte("y")), tx.Set("a2", []byte("x")))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "z/foreign\nodd \x01x escape\x01\nk\nnew\x010\x011\x01t\x01r\x01n\na\n1\x01t2\na2\nx\nb\ny\n"
	got, err := os.ReadFile(path)
	if string(got) != want || err != nil {
		t.Errorf("file holds\n%q, %v; want\n%q", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want that of the old file", info.Mode(), err)
	}
}

func TestFileCreation(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	for _, lock := range []LockMethod{LockDotlock, LockFcntl, LockFlock} {
		dir := filepath.Join(t.TempDir(), "missing")
		path := filepath.Join(dir, "attr")
		d, err := OpenFile(path, FileOptions{Lock: lock})
		if err != nil {
			t.Fatal(err)
		}
		if got := dump(t, d, ""); got != "" {
			t.Errorf("%q: empty dictionary has %s", lock, got)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: reading made a directory", lock)
		}
		set(t, d, "k", "v")
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%q: created with %v, %v", lock, info.Mode(), err)
		}
		if got, err := os.ReadDir(dir); err != nil || len(got) != 1 {
			t.Errorf("%q: left behind: %v, %v", lock, got, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenFile("/x", FileOptions{Lock: "lockf"}); err == nil {
		t.Error("an unknown lock method was accepted")
	}
}

// TestFileOfNULs: what a crash of the system may leave is damage, not a dictionary without
// keys.
func TestFileOfNULs(t *testing.T) {
	for _, text := range []string{strings.Repeat("\x00", 4096), "shared/a\nx\n\x00\x00"} {
		path := filepath.Join(t.TempDir(), "attr")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(path, FileOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a file of %d bytes with NULs: %v", len(text), err)
		}
	}
}

// The unfinished end of a file is not read, but not lost either.
func TestFileUnfinishedEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr")
	before := "k\nv\nprecious\nkey"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenFile(path, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	set(t, d, "l", "w")
	if got, _ := os.ReadFile(path); string(got) != "k\nv\nl\nw\n" {
		t.Errorf("file holds %q", got)
	}
	if got, _ := os.ReadFile(path + ".unfinished"); string(got) != before {
		t.Errorf("kept %q, want the old file", got)
	}
}

// Changes by another program show at once, whichever way they were made.
func TestFileNoticesChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr")
	d, err := OpenFile(path, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, change := range []func() error{
		func() error { return os.WriteFile(path, []byte("k\na\n"), 0o600) },
		func() error { return os.WriteFile(path, []byte("k\nb\n"), 0o600) }, // same size, same inode
		func() error {
			if err := os.WriteFile(path+".new", []byte("k\nc\n"), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		func() error { return os.Remove(path) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		want := []string{"\"k\"=\"a\"\n", "\"k\"=\"b\"\n", "\"k\"=\"c\"\n", ""}[i]
		for range 2 {
			if got := dump(t, d, ""); got != want {
				t.Errorf("change %d: got %q, want %q", i, got, want)
			}
		}
	}
}

func TestStampSettles(t *testing.T) {
	s := stamp{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5, read: time.Unix(0, 5).Add(racy / 2)}
	if s.is(stamp{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5}) {
		t.Error("a file read right after its change must be read again")
	}
	s.read = s.read.Add(racy)
	if !s.is(stamp{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5}) || s.is(stamp{dev: 1, ino: 9, size: 3, mtime: 4, ctime: 5}) {
		t.Error("a settled stamp must match its file and no other")
	}
}

func TestFileLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method LockMethod
		lock   func() (unlock func(), err error)
	}{
		{LockDotlock, func() (func(), error) {
			return func() { os.Remove(path + ".lock") }, os.WriteFile(path+".lock", nil, 0o600)
		}},
		{LockFlock, func() (func(), error) {
			f, err := os.Open(path)
			if err != nil {
				return nil, err
			}
			return func() { f.Close() }, unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}},
		{LockFcntl, func() (func(), error) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return nil, err
			}
			// Dovecot's POSIX lock would be lost here, with the first descriptor that this
			// process closes; the live test has it in another process.
			return func() { f.Close() }, fcntlLock(f)
		}},
	} {
		t.Run(string(tt.method), func(t *testing.T) {
			d, err := OpenFile(path, FileOptions{Lock: tt.method, Wait: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			unlock, err := tt.lock()
			if err != nil {
				t.Fatal(err)
			}
			err = d.Update(context.Background(), func(tx Tx) error { return tx.Set("k", nil) })
			if !errors.Is(err, ErrLocked) {
				t.Errorf("locked: %v, want ErrLocked", err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if err := d.Update(ctx, func(tx Tx) error { return tx.Set("k", nil) }); err == nil {
				t.Error("an update went through the lock")
			}
			unlock()
			set(t, d, "k", string(tt.method))
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo, link, big := filepath.Join(dir, "fifo"), filepath.Join(dir, "link"), filepath.Join(dir, "big")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(big, nil, 0o600), os.Truncate(big, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		for _, path := range []string{dir, fifo, link, big} {
			d, err := s.open(path)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s %s: %v, want ErrCorrupt", s.name, filepath.Base(path), err)
			}
			if err == nil {
				d.Close()
			}
		}
	}
}

// After a fault at any step the file holds the old or the new state, and a later update
// works.
func TestFileFaults(t *testing.T) {
	ctx := context.Background()
	for _, lock := range []LockMethod{LockDotlock, LockFcntl} {
		run := func(f *durable.Faults, dir string) (string, error) {
			path := filepath.Join(dir, "attr")
			if err := os.WriteFile(path, []byte("k\nold\nforeign\nkept\nunfini"), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := OpenFile(path, FileOptions{Lock: lock, Faults: f})
			if err != nil {
				t.Fatal(err)
			}
			err = d.Update(ctx, func(tx Tx) error { return tx.Set("k", []byte("new")) })
			if cerr := d.Close(); cerr != nil {
				t.Fatal(cerr)
			}
			os.Remove(path + ".lock") // of the crashed process; its staleness is durable's test
			again, oerr := OpenFile(path, FileOptions{Lock: lock})
			if oerr != nil {
				t.Fatal(oerr)
			}
			defer again.Close()
			state := dump(t, again, "")
			set(t, again, "k", "later")
			return state, err
		}
		count := &durable.Faults{}
		if _, err := run(count, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if len(count.Steps()) < 5 {
			t.Fatalf("only %v", count.Steps())
		}
		for n := range len(count.Steps()) {
			for _, kind := range []durable.Kind{durable.Fail, durable.Short, durable.Crash, durable.PowerCut} {
				state, err := run(durable.FaultAt(n+1, kind, nil), t.TempDir())
				isOld := state == "\"foreign\"=\"kept\"\n\"k\"=\"old\"\n"
				isNew := state == "\"foreign\"=\"kept\"\n\"k\"=\"new\"\n"
				if !isOld && !isNew || err == nil && !isNew {
					t.Errorf("%q step %d kind %d (%v): error %v, state\n%s", lock, n+1, kind, count.Steps()[n], err, state)
				}
			}
		}
	}
}

func FuzzFileDict(f *testing.F) {
	for _, s := range []string{
		"", "k\nv\n", "b\n2\na\n1\n", "k\n\x010\x011\x01t\x01r\x01n\n", "k\r\nv\r\n",
		"k\nv\nl\nw", "k\nv\nl\n", "k\n1\nk\n2\n", "\n\n", "\x01\n\x01", "a\x00b\nc\n", "k\nv\r\r\n",
	} {
		f.Add([]byte(s), "priv/key", []byte("value"))
	}
	f.Fuzz(func(t *testing.T, in []byte, key string, value []byte) {
		c := parseContents(in)
		again := parseContents(c.format())
		if again.dropped || len(again.pairs) != len(c.pairs) {
			t.Fatalf("%d pairs became %d, dropped %v", len(c.pairs), len(again.pairs), again.dropped)
		}
		for i, p := range c.pairs {
			if q := again.pairs[i]; q.key != p.key || string(q.value) != string(p.value) {
				t.Fatalf("pair %d: %q %q became %q %q", i, p.key, p.value, q.key, q.value)
			}
		}
		changed := parseContents(c.with(map[string]*[]byte{key: &value}).format())
		if got, ok := changed.get(key); !ok || string(got) != string(value) {
			t.Fatalf("set %q to %q, read %q, %v", key, value, got, ok)
		}
		removed := parseContents(changed.with(map[string]*[]byte{key: nil}).format())
		if _, ok := removed.get(key); ok || len(removed.pairs) != len(changed.pairs)-1 {
			t.Fatalf("removing %q left %d of %d pairs", key, len(removed.pairs), len(changed.pairs))
		}
	})
}
