// Package durable makes changes to files that survive a crash, and takes the locks that
// Dovecot takes on the same files.
//
// A file is replaced in four steps, of which none may be left out and none may fail
// unnoticed: write a temporary file in the same directory, sync it, rename it over the old
// one, sync the directory. After a crash at any step the path holds the old or the new
// contents, whole.
//
// A [Dotlock] on FILE is the file FILE.lock, created exclusively; its contents are
//
//	pid ":" hostname          ; no line end
//
// Programs that replace FILE while holding its lock rename another file over it. Dovecot
// writes the new contents into the lock file, which replaces and unlocks in one step;
// [Dotlock.ReplaceWith] does so where the lock is anonymous. Dovecot: file-dotlock.c.
//
// # Containers
//
// Whoever waits for a dotlock that carries its own host name and the pid of no living
// process removes it after two seconds. Two programs in different PID namespaces that share
// a host name therefore steal each other's locks. Run them in one PID namespace, give them
// different host names, or set [DotlockOptions.Anonymous]: a lock without a pid is stale
// only after it and its file have not changed for the stale timeout.
//
// # Faults
//
// Every effect goes through a [Faults], which tests use to let the n-th step fail or to
// stop the world there. A nil *Faults is the real thing and costs nothing.
package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked reports that a lock is held by somebody else and was not released in time.
var ErrLocked = errors.New("durable: locked")

// ErrLost reports that a lock that was ours has been removed or replaced by another
// program: what was done under it must count as not done.
var ErrLost = errors.New("durable: lock lost")

// SyncDir makes the entries of a directory durable. File systems that cannot sync a
// directory do not report that as an error.
func SyncDir(dir string) error { return (*Faults)(nil).SyncDir(dir) }

// Replace makes write's output the contents of path, with the given permissions whatever
// the umask says. When it returns nil the new contents are durable. When it returns an
// error, path holds the old contents, or the new ones if only the last sync, of the
// directory, failed. A symbolic link at path is replaced, not followed. What a killed process
// has left of replacing the same file is removed, once it is ten minutes old.
//
// The writer is buffered; write must not keep it.
func Replace(path string, perm os.FileMode, write func(io.Writer) error) error {
	return (*Faults)(nil).Replace(path, perm, write)
}

// SyncDir is the function of the same name, as a step that can fail.
func (f *Faults) SyncDir(dir string) error {
	return f.Do(OpSyncDir, dir, func() error {
		fd, err := openFD(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("durable: syncing directory: %w", err)
		}
		defer unix.Close(fd)
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Fsync(fd)
		}
		// Dovecot: fdatasync_path() ignores the same two.
		if err != nil && err != unix.EINVAL && err != unix.EBADF {
			return fmt.Errorf("durable: syncing directory: %w", &os.PathError{Op: "sync", Path: dir, Err: err})
		}
		return nil
	})
}

// Replace is the function of the same name, in steps that can fail.
func (f *Faults) Replace(path string, perm os.FileMode, write func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := f.createTemp(dir, base)
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		tmp.Close()
		if !renamed {
			_ = f.Remove(tmp.Name()) // best effort: the temporary name is never read
		}
	}()
	if err := tmp.fill(write); err != nil {
		return err
	}
	if err := tmp.Chmod(perm); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := f.Rename(tmp.Name(), path); err != nil {
		return err
	}
	renamed = true
	f.sweep(dir, base)
	return f.SyncDir(dir)
}

// tempAge is the age from which a temporary file of Replace counts as left behind by a
// process that was killed: no replacing takes as long.
const tempAge = 10 * time.Minute

// sweep removes what killed processes have left of replacing a file. It is best effort.
func (f *Faults) sweep(dir, base string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), tempPrefix(base)) || !e.Type().IsRegular() {
			continue
		}
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > tempAge {
			_ = f.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// tempPrefix begins the names of the temporary files of Replace.
func tempPrefix(base string) string { return "." + base + ".tmp-" }

// createTemp makes a file with a fresh name that begins with a dot and names its purpose.
func (f *Faults) createTemp(dir, base string) (*File, error) {
	var file *os.File
	err := f.Do(OpCreate, filepath.Join(dir, base), func() (err error) {
		// os.CreateTemp: O_EXCL, so never through a link; mode 0600.
		if file, err = os.CreateTemp(dir, tempPrefix(base)+"*"); err == nil {
			err = InheritFile(file)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("durable: creating temporary file: %w", err)
	}
	return f.track(file), nil
}

// fill writes through a buffer, so that steps are writes of some size.
func (file *File) fill(write func(io.Writer) error) error {
	w := bufio.NewWriterSize(file, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}
