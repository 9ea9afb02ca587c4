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

// createUnnamed makes the database in a file without a name, of which a kill leaves nothing.
// The error wraps errors.ErrUnsupported where the file system, or a missing /proc, does not
// let it.
func createUnnamed(path string, timeout time.Duration) error {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: a file without a name: %w", errors.ErrUnsupported, err)
	case err != nil:
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), path) // bbolt closes it
	if err := durable.InheritFile(f); err != nil {
		f.Close()
		return err
	}
	o := &bolt.Options{Timeout: timeout, OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil }}
	return fillBolt(path, o, func() error {
		// linkat(2): how to do it without the capability to search all directories.
		err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
		switch {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOENT):
			return fmt.Errorf("%w: a name for a file: %w", errors.ErrUnsupported, err)
		case err != nil:
			return &os.LinkError{Op: "link", Old: path, New: path, Err: err}
		}
		return nil
	})
}
