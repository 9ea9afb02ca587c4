package dovecotindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Lock keeps Dovecot from changing an index. Readers need none; it is for reading several
// indexes at one time, as mdbox's map with its mailboxes, and for whoever replaces one.
// Dovecot waits for three minutes and then fails what it was doing, so it is held shortly.
type Lock struct {
	f *os.File
}

// Acquire locks the index of a path by its log, by fcntl and by flock, of which Dovecot uses
// the one that lock_method names. With lock_method=dotlock it cannot be kept out; that it holds
// such a lock is seen. Acquire waits while Dovecot has the lock, until ctx ends: then the error wraps
// [ErrLocked] and ctx's. An index without a log gives an error that wraps fs.ErrNotExist.
//
// Dovecot takes the map's lock before a mailbox's: who takes both does the same.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		l, err := tryLock(path + fileLog)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(err, ctx.Err())
		case <-t.C:
		}
	}
}

// Release gives the lock up. A second call returns an error.
func (l *Lock) Release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("dovecotindex: unlocking: %w", err)
	}
	return nil
}

// tryLock locks a log, unless it was rotated meanwhile: then the new one is tried.
func tryLock(log string) (*Lock, error) {
	for {
		f, err := os.OpenFile(log, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("dovecotindex: locking: %w", err)
		}
		if err := lockFile(f, log); err != nil {
			f.Close()
			return nil, err
		}
		opened, err := f.Stat()
		if err == nil {
			if now, err := os.Lstat(log); err == nil && os.SameFile(opened, now) {
				return &Lock{f}, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("dovecotindex: locking: %w", err)
		}
	}
}

// lockFile takes both locks. The lock of fcntl belongs to the open file and not, as in POSIX,
// to the process: another reader in this process that closes the log would end that.
func lockFile(f *os.File, log string) error {
	if _, err := os.Lstat(log + ".lock"); err == nil {
		return fmt.Errorf("%w: %s.lock is there", ErrLocked, log)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: %s", ErrLocked, log)
	}
	if err != nil {
		return fmt.Errorf("dovecotindex: locking %s: %w", log, err)
	}
	return nil
}
