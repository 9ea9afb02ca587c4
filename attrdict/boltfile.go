package attrdict

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// createBolt makes a database with its bucket in a file that is linked to path when it is
// whole: bbolt itself creates in place, and a crash in between leaves a file that it cannot
// open again (etcd-io/bbolt#567). A link, unlike a rename, cannot replace the database that
// another process has made meanwhile.
func createBolt(path string, timeout time.Duration) error {
	dir := filepath.Dir(path)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err := createUnnamed(path, timeout)
	if errors.Is(err, errors.ErrUnsupported) {
		err = createNamed(path, timeout)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return durable.SyncDir(dir)
}

// createNamed has the file under a temporary name, which a kill leaves behind: for file
// systems that cannot do without.
func createNamed(path string, timeout time.Duration) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(durable.InheritFile(tmp), tmp.Close()); err != nil {
		return err
	}
	err = fillBolt(tmp.Name(), &bolt.Options{Timeout: timeout}, func() error { return nil })
	if err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
		// A file system without hard links. Linux renames without replacing on all of them.
		err = renameNew(tmp.Name(), path)
	}
	return err
}

// fillBolt makes a database with its bucket, and calls then while it is open.
func fillBolt(path string, o *bolt.Options, then func() error) error {
	db, err := bolt.Open(path, 0o600, o)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error { // bbolt syncs the file
		_, err := tx.CreateBucket(boltBucket)
		return err
	})
	if err == nil {
		err = then()
	}
	return errors.Join(err, db.Close())
}

// openRegular is bbolt's OpenFile: no symbolic link is followed, a FIFO does not block,
// nothing is created, and what is no database is refused before it is mapped.
func openRegular(path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, perm)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%w: %s is a symbolic link", ErrCorrupt, path)
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case info.Mode().Perm()&0o002 != 0:
		err = fmt.Errorf("attrdict: %s may be written by everybody: run chmod o-w", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockBolt takes bbolt's lock, whole-file flock.
func lockBolt(f *os.File, o BoltOptions) error {
	how := unix.LOCK_EX
	if o.ReadOnly {
		how = unix.LOCK_SH
	}
	for end := time.Now().Add(o.Timeout); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("attrdict: locking %s: %w", f.Name(), err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %s", ErrLocked, f.Name())
		}
	}
}
