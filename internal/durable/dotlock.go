package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DotlockOptions say how long to wait for a lock. Dovecot's values, as wait and stale:
// dovecot-uidlist 122 s and 120 s, dovecot-keywords 0 and 120 s, subscriptions 120 s and
// 30 s, dovecot-acl 30 s and 120 s, file dictionaries 120 s and 60 s.
type DotlockOptions struct {
	// Wait is how long to wait for another holder; 0 means to try once.
	Wait time.Duration
	// Stale is the time after which a lock whose holder cannot be asked about is removed,
	// if neither it nor the file has changed; 0 means never.
	Stale time.Duration
	// Perm is the mode of the lock file, and of a file that ReplaceWith creates; 0 means
	// 0600. A file that exists keeps its mode.
	Perm os.FileMode
	// Host is the host name to write and to compare; "" means os.Hostname.
	Host string
	// Anonymous leaves the lock file empty, as Dovecot does for the locks that become the
	// file. Then a crash of ours blocks others for their stale timeout.
	Anonymous bool
	// AdvanceMtime makes ReplaceWith give the file a modification time later than the old
	// one's by a second at least: readers of dovecot-keywords compare whole seconds.
	AdvanceMtime bool
	// Spare, where set, keeps the lock file for the next time. It does nothing for an
	// anonymous lock.
	Spare *Spare
	// Faults is for tests.
	Faults *Faults
}

// A Dotlock is a held lock. It is one goroutine's at a time, except that Touch and Check
// may be called concurrently with each other.
type Dotlock struct {
	path, lock string
	o          DotlockOptions
	file       *File
	id         fingerprint // only dev and ino
	leave      func()
	once       sync.Once
}

// Lock takes the dotlock of path, whose directory must exist. path itself need not; it
// must be opened or read again after Lock has returned. An error wraps ErrLocked if the
// time has run out, and ctx's error if ctx has ended. The goroutines of this process that
// want one lock get it in the order of asking.
//
// The caller ends the lock with Unlock or ReplaceWith.
func Lock(ctx context.Context, path string, o DotlockOptions) (*Dotlock, error) {
	if o.Perm == 0 {
		o.Perm = 0o600
	}
	if o.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("durable: locking %s: %w", path, err)
		}
		o.Host = host
	}
	if o.Anonymous {
		o.Spare = nil
	}
	key, err := keyOf(path)
	if err != nil {
		return nil, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	leave, err := enter(waitCtx, key)
	if err == nil {
		l := &Dotlock{path: path, lock: path + ".lock", o: o, leave: leave}
		if err = l.acquire(waitCtx); err == nil {
			return l, nil
		}
		leave()
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("durable: locking %s: %w", path, ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %s, after %v", ErrLocked, path, o.Wait)
	}
	return nil, err
}

// acquire polls as Dovecot does: after 0.1 to 0.2 s, and once the lock has not changed for
// a second by half as much more each second, up to 3 s.
func (l *Dotlock) acquire(ctx context.Context) error {
	w := &watch{path: l.path, lock: l.lock, host: l.o.Host, stale: l.o.Stale, now: time.Now}
	wait, grown, seen := pause(), time.Now(), w.seenLock
	for {
		free, overridden, err := w.check(l.o.Faults.Remove)
		if err != nil {
			return err
		}
		if overridden {
			// Not bounded by ctx: the lock is ours for the taking even at the last moment.
			time.Sleep(pause())
		}
		if free {
			if err := l.create(); !errors.Is(err, os.ErrExist) {
				return err
			}
		}
		if w.seenLock != seen {
			wait, grown, seen = pause(), time.Now(), w.seenLock
		} else if time.Since(grown) >= time.Second {
			wait, grown = min(wait+wait/2, 3*time.Second), time.Now()
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// pause is random, so that waiters that met once do not meet again.
func pause() time.Duration { return time.Duration(100+rand.IntN(100)) * time.Millisecond }

func (l *Dotlock) create() error {
	spare, err := l.o.Spare.take(l)
	if err != nil {
		return fmt.Errorf("durable: creating lock: %w", err)
	}
	if spare != nil {
		l.file = spare
		if err := l.note(); err != nil {
			return fmt.Errorf("durable: creating lock: %w", err)
		}
		return nil
	}
	file, err := l.o.Faults.OpenFile(l.lock, os.O_RDWR|os.O_CREATE|os.O_EXCL, l.o.Perm)
	if err != nil {
		return fmt.Errorf("durable: creating lock: %w", err)
	}
	l.file = file
	if err := l.sign(); err != nil {
		_ = l.release()
		return fmt.Errorf("durable: creating lock: %w", err)
	}
	return nil
}

// note notes which file is ours.
func (l *Dotlock) note() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(l.file.f.Fd()), &st); err != nil {
		return err
	}
	l.id = fingerprint{dev: uint64(st.Dev), ino: st.Ino}
	return nil
}

// sign notes which file is ours and writes the holder into it.
func (l *Dotlock) sign() error {
	if err := l.note(); err != nil {
		return err
	}
	if l.o.Anonymous {
		return nil
	}
	_, err := l.file.Write([]byte(strconv.Itoa(os.Getpid()) + ":" + l.o.Host))
	return err
}

// Path returns the path of the protected file.
func (l *Dotlock) Path() string { return l.path }

// Check returns an error wrapping ErrLost if the lock is no longer ours.
func (l *Dotlock) Check() error {
	now, err := fingerprintOf(l.lock)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s was removed", ErrLost, l.lock)
	case err != nil:
		return fmt.Errorf("durable: looking at lock: %w", err)
	case now.dev != l.id.dev || now.ino != l.id.ino:
		return fmt.Errorf("%w: %s was replaced", ErrLost, l.lock)
	}
	return nil
}

// Touch shows others that the holder is alive. Whoever works under a lock for long calls
// it every ten seconds, and gives up on an error wrapping ErrLost.
func (l *Dotlock) Touch() error {
	if err := l.Check(); err != nil {
		return err
	}
	now := unix.NsecToTimeval(time.Now().UnixNano())
	if err := unix.Futimes(int(l.file.f.Fd()), []unix.Timeval{now, now}); err != nil {
		return fmt.Errorf("durable: touching %s: %w", l.lock, err)
	}
	return nil
}

// Unlock releases the lock. An error wrapping ErrLost says that it was not ours any more,
// and that what was done under it may have collided with another program's work. After the
// first call it does nothing.
func (l *Dotlock) Unlock() (err error) {
	l.once.Do(func() {
		defer l.leave()
		err = l.release()
	})
	return err
}

// release removes the lock file if it is ours.
func (l *Dotlock) release() error {
	spare := l.o.Spare.owns(l)
	if err := l.Check(); err != nil {
		if spare {
			l.o.Spare.lose(l)
		} else {
			_ = l.file.Close()
		}
		return err
	}
	if l.o.Spare.keep(l) {
		return nil
	}
	if !spare {
		defer l.file.Close()
	}
	if err := l.o.Faults.Remove(l.lock); err != nil {
		return fmt.Errorf("durable: unlocking: %w", err)
	}
	return nil
}

// ReplaceWith makes write's output the contents of the protected file and releases the
// lock: the output goes into a temporary file, which is synced and renamed over the file,
// then the lock is removed and the directory synced. An anonymous lock is itself that
// temporary file. One with a pid keeps it until the end: were it overwritten, a kill in
// between would leave a lock that nobody can ask about, and others would wait for its stale
// timeout. The file keeps its mode and group, and its owner where we may set it. On an error
// the lock is released too and the file holds its old contents, or the new ones if only the
// last sync failed.
func (l *Dotlock) ReplaceWith(write func(io.Writer) error) error {
	err := os.ErrClosed
	l.once.Do(func() {
		defer l.leave()
		renamed := false
		if l.o.Anonymous {
			renamed, err = l.replace(l.file, write)
		} else {
			renamed, err = l.replaceByTemp(write)
		}
		if !renamed || !l.o.Anonymous {
			_ = l.release() // what kept us from replacing matters more
		}
		if renamed {
			if l.o.Anonymous {
				defer l.file.Close()
			}
			err = l.o.Faults.SyncDir(filepath.Dir(l.path))
		}
	})
	if err != nil {
		return fmt.Errorf("durable: replacing %s: %w", l.path, err)
	}
	return nil
}

func (l *Dotlock) replaceByTemp(write func(io.Writer) error) (renamed bool, err error) {
	dir, base := filepath.Dir(l.path), filepath.Base(l.path)
	tmp, err := l.o.Faults.createTemp(dir, base)
	if err != nil {
		return false, err
	}
	defer tmp.Close()
	if renamed, err = l.replace(tmp, write); renamed {
		l.o.Faults.sweep(dir, base)
	} else {
		_ = l.o.Faults.Remove(tmp.Name()) // best effort: the temporary name is never read
	}
	return renamed, err
}

// replace fills a file, syncs it and renames it over the protected one.
func (l *Dotlock) replace(file *File, write func(io.Writer) error) (renamed bool, err error) {
	if err := file.fill(write); err != nil {
		return false, err
	}
	if err := l.inherit(file); err != nil {
		return false, err
	}
	if err := file.Sync(); err != nil {
		return false, err
	}
	if err := l.Check(); err != nil {
		return false, err
	}
	if err := l.o.Faults.Rename(file.Name(), l.path); err != nil {
		return false, err
	}
	return true, nil
}

// inherit gives a file the mode, group and owner of the file that it will replace.
func (l *Dotlock) inherit(file *File) error {
	if err := file.Inherit(l.path, l.o.Perm); err != nil {
		return err
	}
	var old unix.Stat_t
	if !l.o.AdvanceMtime || unix.Lstat(l.path, &old) != nil {
		return nil
	}
	if next := int64(old.Mtim.Sec) + 1; next > time.Now().Unix() {
		t := unix.NsecToTimeval(time.Unix(next, 0).UnixNano())
		return unix.Futimes(int(file.f.Fd()), []unix.Timeval{t, t})
	}
	return nil
}
