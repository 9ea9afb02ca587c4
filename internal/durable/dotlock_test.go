package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadPID returns the pid of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func hostname(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func TestDotlockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	l, err := Lock(context.Background(), path, DotlockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, path+".lock"), fmt.Sprintf("%d:%s", os.Getpid(), hostname(t)); got != want {
		t.Errorf("lock holds %q, want %q", got, want)
	}
	if err := l.Touch(); err != nil {
		t.Error(err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if _, err := Lock(context.Background(), path, DotlockOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if err := l.Unlock(); err != nil {
		t.Errorf("second unlock: %v", err)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	l, err = Lock(context.Background(), path, DotlockOptions{Anonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if got := contents(t, path+".lock"); got != "" {
		t.Errorf("anonymous lock holds %q", got)
	}
}

func TestDotlockStale(t *testing.T) {
	host, dead := hostname(t), deadPID(t)
	old := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name  string
		text  string
		age   time.Duration // of the lock's mtime
		stale time.Duration
		taken bool
	}{
		{"dead process", fmt.Sprintf("%d:%s", dead, host), 3 * time.Second, 0, true},
		{"dead process with line end", fmt.Sprintf("%d:%s\n", dead, host), 3 * time.Second, 0, true},
		{"dead process, too young", fmt.Sprintf("%d:%s", dead, host), time.Second, 0, false},
		{"our own pid, left over", fmt.Sprintf("%d:%s", os.Getpid(), host), 3 * time.Second, 0, true},
		{"living process", fmt.Sprintf("%d:%s", os.Getppid(), host), 3 * time.Second, time.Nanosecond, false},
		{"other host", fmt.Sprintf("%d:%s", dead, "other."+host), 3 * time.Second, time.Hour, false},
		{"other host, stale", fmt.Sprintf("%d:%s", dead, "other."+host), 3 * time.Second, time.Nanosecond, true},
		{"empty", "", 3 * time.Second, time.Hour, false},
		{"empty, stale", "", 3 * time.Second, time.Nanosecond, true},
		{"never stale", "", time.Hour, 0, false},
		{"pid zero", "0:" + host, 3 * time.Second, 0, false},
		{"negative pid", "-7:" + host, 3 * time.Second, 0, false},
		{"no pid", ":" + host, 3 * time.Second, 0, false},
		{"huge pid", strings.Repeat("9", 40) + ":" + host, 3 * time.Second, 0, false},
		{"long junk", strings.Repeat("x", 5000), 3 * time.Second, time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path+".lock", []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.age == time.Hour {
				if err := os.Chtimes(path+".lock", old, old); err != nil {
					t.Fatal(err)
				}
			} else {
				at := time.Now().Add(-tt.age)
				if err := os.Chtimes(path+".lock", at, at); err != nil {
					t.Fatal(err)
				}
			}
			l, err := Lock(context.Background(), path, DotlockOptions{Stale: tt.stale})
			if (err == nil) != tt.taken {
				t.Fatalf("Lock: %v; want taken: %v", err, tt.taken)
			}
			if err != nil {
				if !errors.Is(err, ErrLocked) {
					t.Errorf("error %v, want ErrLocked", err)
				}
				return
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A lock is not stale while the protected file still changes.
func TestDotlockStaleNeedsQuietFile(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, p := range []string{path, path + ".lock"} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &watch{path: path, lock: path + ".lock", host: "h", stale: time.Minute, now: func() time.Time { return now }}
	check := func(want bool) {
		t.Helper()
		if free, _, err := w.check(func(string) error { return nil }); err != nil || free != want {
			t.Errorf("check = %v, %v; want %v", free, err, want)
		}
	}
	check(false)
	now = now.Add(59 * time.Second)
	if err := os.WriteFile(path, []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(false)
	now = now.Add(59 * time.Second)
	check(false)
	now = now.Add(2 * time.Second)
	check(true)
}

func TestDotlockWaitsForRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	foreign := fmt.Sprintf("%d:%s", os.Getppid(), hostname(t))
	if err := os.WriteFile(path+".lock", []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := make(chan error)
	go func() {
		l, err := Lock(context.Background(), path, DotlockOptions{Wait: time.Minute})
		if err == nil {
			err = l.Unlock()
		}
		tried <- err
	}()
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if err := <-tried; err != nil {
		t.Fatal(err)
	}
}

func TestDotlockContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Lock(ctx, path, DotlockOptions{Wait: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, err := Lock(context.Background(), filepath.Join(path, "missing", "f"), DotlockOptions{}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("missing directory: %v", err)
	}
}

func TestDotlockLost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steal func(lock string) error
	}{
		{"removed", os.Remove},
		{"replaced", func(lock string) error {
			if err := os.WriteFile(lock+"2", []byte("1:other"), 0o600); err != nil {
				return err
			}
			return os.Rename(lock+"2", lock)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, end := range []func(*Dotlock) error{
				(*Dotlock).Unlock,
				(*Dotlock).Check,
				(*Dotlock).Touch,
				func(l *Dotlock) error { return l.ReplaceWith(text("new")) },
			} {
				os.Remove(path + ".lock")
				l, err := Lock(context.Background(), path, DotlockOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if err := tt.steal(path + ".lock"); err != nil {
					t.Fatal(err)
				}
				if err := end(l); !errors.Is(err, ErrLost) {
					t.Errorf("error %v, want ErrLost", err)
				}
				if _, err := os.Lstat(path + ".lock"); tt.name == "replaced" && err != nil {
					t.Errorf("the other's lock is gone: %v", err)
				}
				_ = l.Unlock()
			}
			if got := contents(t, path); got != "old" {
				t.Errorf("file holds %q after a lost lock", got)
			}
		})
	}
}

func TestReplaceWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(10 * time.Second)
	if err := os.Chtimes(path, future, future); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"longer than the pid and host name that stood there: " + strings.Repeat("x", 100), "s", ""} {
		l, err := Lock(context.Background(), path, DotlockOptions{AdvanceMtime: true})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.Stat(path)
		if err := l.ReplaceWith(text(want)); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); got != want {
			t.Errorf("%d: contents %q, want %q", i, got, want)
		}
		if after.Mode() != 0o664 {
			t.Errorf("%d: mode %v, want that of the old file", i, after.Mode())
		}
		if after.ModTime().Unix() <= before.ModTime().Unix() {
			t.Errorf("%d: mtime went from %v to %v", i, before.ModTime(), after.ModTime())
		}
		if err := l.ReplaceWith(text("again")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("second ReplaceWith: %v", err)
		}
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestReplaceWithCreates(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	path := filepath.Join(t.TempDir(), "f")
	l, err := Lock(context.Background(), path, DotlockOptions{Perm: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ReplaceWith(text("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("created %v, %v; want mode 0640", info.Mode(), err)
	}
}

func TestReplaceWithFaults(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		spoil(t, func(f *Faults, path string) error {
			l, err := Lock(context.Background(), path, DotlockOptions{Faults: f, Anonymous: anonymous})
			if err != nil {
				return err
			}
			return l.ReplaceWith(text("new contents"))
		})
	}
}

// Many goroutines of one process take turns, without one poll of 0.1 s between any two.
func TestDotlockQueue(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	inside, total := 0, 0
	for i := range 8 {
		path := filepath.Join(dir, "f")
		if i%2 == 1 {
			path = filepath.Join(dir, "alias", "f") // the same file by another name
		}
		wg.Go(func() {
			for range 50 {
				l, err := Lock(context.Background(), path, DotlockOptions{Wait: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				if inside++; inside != 1 {
					t.Errorf("%d holders at once", inside)
				}
				total++
				inside--
				if err := l.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if total != 400 {
		t.Errorf("%d turns, want 400", total)
	}
	queues.Lock()
	defer queues.Unlock()
	if len(queues.m) != 0 {
		t.Errorf("%d queues left", len(queues.m))
	}
}

func TestFlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instance.lock")
	l, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockFile(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := LockFileContext(ctx, path); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v, want ErrLocked and the context's error", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = LockFileContext(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, path), fmt.Sprintf("%d\n", os.Getpid()); got != want {
		t.Errorf("file holds %q, want %q", got, want)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestFlockRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo, link, filepath.Join(dir, "missing", "f")} {
		if l, err := LockFile(path); err == nil {
			l.Unlock()
			t.Errorf("locked %s", path)
		}
	}
}

// TestReplaceKeepsPid stops in the middle of a replacing. Another process finds a lock whose
// pid it can ask about, at every step.
func TestReplaceKeepsPid(t *testing.T) {
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "file")
		f := FaultAt(n, Crash, nil)
		l, err := Lock(context.Background(), path, DotlockOptions{Faults: f})
		if err == nil {
			err = l.ReplaceWith(text("new contents"))
		}
		if !f.Hit() {
			if err != nil || n < 8 {
				t.Errorf("%d steps, %v", n-1, err)
			}
			return
		}
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		mine := fmt.Sprintf("%d:%s", os.Getpid(), host)
		b, err := os.ReadFile(path + ".lock")
		if err == nil && string(b) != mine && (n > 2 || !strings.HasPrefix(mine, string(b))) { // the second writes it
			t.Errorf("stopped at step %d the lock holds %q", n, b)
		}
	}
}
