package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNotRegular reports a name that is not that of a regular file.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a regular file for reading; others it refuses without waiting, as
// opening a FIFO would. flags may add unix.O_NOFOLLOW. The caller closes the file.
func OpenRegular(path string, flags int) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is %w", path, ErrNotRegular)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, fi, nil
}

// ReadSmall reads a regular file, not a link, of at most limit bytes.
func ReadSmall(path string, limit int64) ([]byte, error) {
	f, fi, err := OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi.Size() > limit {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("file too large")}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// WriteNew makes a file that its owner alone can read and that write fills. It replaces
// nothing: the error wraps fs.ErrExist where there is a file. When it returns nil the file
// is durable; where it returns another error there is none.
func WriteNew(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
