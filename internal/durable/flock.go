package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Flock is an exclusive lock on a file that ends with the process, whatever ends it:
// the lock with which one program claims a directory or a role.
type Flock struct {
	f *os.File
}

// LockFile takes the lock, without waiting; an error wrapping ErrLocked says that another
// process, or another Flock of this one, has it. The file is created if need be, holds
// this process's pid for people to read, and is left in place by Unlock: removing it would
// let two processes lock two files of one name.
func LockFile(path string) (*Flock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("durable: locking: %w", err)
		}
		if err := InheritFile(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("durable: locking: %w", err)
		}
		same, err := flockFile(f, path)
		if err != nil {
			f.Close()
			return nil, err
		}
		if same {
			if err := f.Truncate(0); err == nil {
				_, _ = f.WriteString(strconv.Itoa(os.Getpid()) + "\n") // only for people
			}
			return &Flock{f}, nil
		}
		f.Close() // somebody removed the file between open and lock: take the new one
	}
}

// LockFileContext is LockFile, but waits until the lock is free or ctx ends; then the
// error wraps both ErrLocked and ctx's.
func LockFileContext(ctx context.Context, path string) (*Flock, error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		l, err := LockFile(path)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if cerr := sleep(ctx, wait); cerr != nil {
			return nil, errors.Join(err, cerr)
		}
	}
}

// flockFile locks f and reports whether path still names it.
func flockFile(f *os.File, path string) (same bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("durable: locking: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("durable: locking %s: not a regular file", path)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, fmt.Errorf("%w: %s", ErrLocked, path)
	case err != nil:
		return false, fmt.Errorf("durable: locking %s: %w", path, err)
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(info, now), nil
}

// Unlock gives the lock up. A second call returns an error.
func (l *Flock) Unlock() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("durable: unlocking: %w", err)
	}
	return nil
}

// sleep waits for d or for the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
