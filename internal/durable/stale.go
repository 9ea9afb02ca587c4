package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pidGrace is the age below which a lock's pid is not looked at: whoever wrote it has
// most likely not died since. Dovecot: STALE_PID_CHECK_SECS.
const pidGrace = 2 * time.Second

// A fingerprint is what Dovecot compares to see that a file has changed.
type fingerprint struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
}

func fingerprintOf(path string) (fingerprint, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fingerprint{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return fingerprint{
		dev: uint64(st.Dev), ino: st.Ino, size: st.Size,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}, nil
}

// A watch follows a lock that somebody else holds, to find out whether anybody does.
type watch struct {
	path, lock string
	host       string
	stale      time.Duration
	now        func() time.Time

	seenLock, seenFile fingerprint
	changed            time.Time // when lock or file last showed life
}

// check looks at the lock once. free means that there is none, or that it was stale and
// has been removed; in the latter case overridden is set too and the caller must pause
// before it creates its own, since another waiter may be about to remove it as well.
func (w *watch) check(remove func(string) error) (free, overridden bool, err error) {
	lock, err := fingerprintOf(w.lock)
	if errors.Is(err, os.ErrNotExist) {
		return true, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("durable: looking at lock: %w", err)
	}
	now := w.now()
	w.note(&w.seenLock, lock, now)
	if now.Sub(time.Unix(0, lock.mtime)) > pidGrace {
		if pid, ok := readPID(w.lock, w.host); ok {
			// Within this process the queue has given us the turn: a lock with our own
			// pid was left by a process that had it before us.
			if pid != os.Getpid() && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
				return false, false, nil
			}
			return w.override(lock, remove)
		}
	}
	if file, err := fingerprintOf(w.path); err == nil {
		w.note(&w.seenFile, file, now)
	}
	if w.stale > 0 && now.Sub(w.changed) > w.stale {
		return w.override(lock, remove)
	}
	return false, false, nil
}

// note records a change. What is seen for the first time counts from its own times, so
// that a lock that has been left for long is not waited for once more.
// Dovecot: update_change_info().
func (w *watch) note(seen *fingerprint, now fingerprint, at time.Time) {
	if *seen == now {
		return
	}
	if *seen == (fingerprint{}) {
		m, c := time.Unix(0, now.mtime), time.Unix(0, now.ctime)
		if m.After(at) || m.Before(c) {
			m = c // a time in the future or far past was set by somebody
		}
		at = m
	}
	*seen = now
	if at.After(w.changed) {
		w.changed = at
	}
}

// override removes the lock if it is still the one that was judged.
func (w *watch) override(judged fingerprint, remove func(string) error) (bool, bool, error) {
	switch again, err := fingerprintOf(w.lock); {
	case errors.Is(err, os.ErrNotExist):
		return true, false, nil
	case err != nil:
		return false, false, fmt.Errorf("durable: looking at lock: %w", err)
	case again != judged:
		return false, false, nil
	}
	if err := remove(w.lock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, false, fmt.Errorf("durable: removing stale lock: %w", err)
	}
	return true, true, nil
}

// readPID returns the pid in a lock file that was written on the given host.
// Dovecot: read_local_pid().
func readPID(lock, host string) (pid int, ok bool) {
	f, err := os.OpenFile(lock, os.O_RDONLY|noFollow|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	buf := make([]byte, 511)
	n, err := f.Read(buf)
	if n == 0 || err != nil && err != io.EOF {
		return 0, false
	}
	text, at, found := bytes.Cut(bytes.TrimSuffix(buf[:n], []byte{'\n'}), []byte{':'})
	if !found || string(at) != host {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	pid, err = strconv.Atoi(string(text))
	return pid, err == nil && pid > 0
}
