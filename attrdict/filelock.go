package attrdict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// A selfLock is a lock on the dictionary file itself, as Dovecot takes it for lock=fcntl
// and lock=flock. A rewrite goes through <file>.tmp, which only the holder may touch; the
// lock ends when the old file, which it is on, is closed.
type selfLock struct {
	f      *os.File
	path   string
	faults *durable.Faults
}

// lockItself locks the file that path names, once it has been locked: while one waits,
// the file may be replaced.
func lockItself(ctx context.Context, path string, o FileOptions) (*selfLock, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil {
			err = durable.InheritFile(f)
		}
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%w: not a regular file", ErrCorrupt)
		}
		if err == nil {
			err = waitLock(ctx, f, o.Lock)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Lstat(path); err == nil && os.SameFile(info, now) {
			return &selfLock{f, path, o.Faults}, nil
		}
		f.Close()
	}
}

func waitLock(ctx context.Context, f *os.File, how LockMethod) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		var err error
		if how == LockFlock {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		} else {
			err = fcntlLock(f)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return durable.ErrLocked
		}
	}
}

func (l *selfLock) replace(write func(io.Writer) error) (err error) {
	defer l.unlock()
	tmp := l.path + ".tmp"
	// A leftover of a crash is ours to overwrite; anything but a file is not opened.
	if old, err := os.Lstat(tmp); err == nil && !old.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, tmp)
	}
	out, err := l.faults.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	renamed := false
	defer func() {
		if !renamed {
			_ = l.faults.Remove(tmp)
		}
	}()
	if err := write(out); err != nil {
		return err
	}
	if err := out.Inherit(l.path, 0o600); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := l.faults.Rename(tmp, l.path); err != nil {
		return err
	}
	renamed = true
	return l.faults.SyncDir(filepath.Dir(l.path))
}

// unlock closes the file; a second time it does nothing of effect.
func (l *selfLock) unlock() { _ = l.f.Close() }
