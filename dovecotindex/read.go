package dovecotindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxFile bounds a file that is read. Dovecot rotates its logs at one MiB, and a snapshot has
// some 50 bytes a message.
const maxFile = 1 << 30

// maxTries is how often the files are read again because Dovecot has replaced one meanwhile.
const maxTries = 20

// Read reads the index of a path such as ".../dbox-Mails/dovecot.index", to which its other
// files are named. No lock is needed or taken, and Dovecot may be writing: what is returned
// is the state after some complete transaction. Errors are as of [Parse], with paths; [ErrBusy]
// where the files were replaced faster than they could be read; or come from the file system.
func Read(ctx context.Context, path string) (*Index, error) {
	for range maxTries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("dovecotindex: reading %s: %w", path, err)
		}
		f, same, err := load(path)
		if err != nil {
			return nil, fmt.Errorf("dovecotindex: reading %s: %w", path, err)
		}
		if !same {
			continue
		}
		x, err := Parse(f)
		if x != nil {
			for _, e := range x.Damage {
				e.File = path + e.File
			}
		}
		return x, place(path, x, err)
	}
	return nil, fmt.Errorf("%w: %s", ErrBusy, path)
}

// place puts the path into an error of Parse. The damage of an Index has it already.
func place(path string, x *Index, err error) error {
	var c *CorruptError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &c):
		if x == nil {
			c.File = path + c.File
		}
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &fs.PathError{Op: "dovecotindex: reading", Path: path, Err: fs.ErrNotExist}
	}
	return fmt.Errorf("%w (%s)", err, path)
}

// load reads the files, and says whether they were still the same ones afterwards. The
// snapshot comes first, for a log read before it might end before the place that it names; the
// log before its predecessor, so that a rotation in between is seen as another log.
func load(path string) (f Files, same bool, err error) {
	parts := []struct {
		name string
		to   *[]byte
		info fs.FileInfo
	}{{fileIndex, &f.Index, nil}, {fileLog, &f.Log, nil}, {fileLog2, &f.Log2, nil}, {fileBackup, &f.Backup, nil}}
	for i := range parts {
		p := &parts[i]
		if *p.to, p.info, err = readFile(path + p.name); err != nil {
			return f, false, err
		}
	}
	for _, p := range parts[:3] { // the backup is only another snapshot
		now, err := os.Lstat(path + p.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		if (now == nil) != (p.info == nil) || now != nil && !os.SameFile(now, p.info) {
			return f, false, nil
		}
	}
	return f, true, nil
}

// readFile reads a regular file; one that is not there is nil and no error.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", filepath.Base(path))
	}
	if info.Size() > maxFile {
		return nil, nil, fmt.Errorf("%w: %s", ErrTooLarge, filepath.Base(path))
	}
	b := make([]byte, 0, info.Size()+512)
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, info, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if len(b) == cap(b) {
			if len(b) > maxFile {
				return nil, nil, fmt.Errorf("%w: %s", ErrTooLarge, filepath.Base(path))
			}
			b = append(b, 0)[:len(b)]
		}
	}
}
