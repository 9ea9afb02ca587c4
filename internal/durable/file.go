package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// noFollow makes opening a symbolic link fail: stores are hostile input.
const noFollow = unix.O_NOFOLLOW | unix.O_CLOEXEC

// openFD opens a file or directory without what os.OpenFile does for pipes and sockets:
// five calls of the kernel, in vain, for each file that a message needs.
func openFD(path string, flag int, perm os.FileMode) (int, error) {
	for {
		fd, err := unix.Open(path, flag|unix.O_LARGEFILE, uint32(perm.Perm()))
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// A File is an open file whose changes are steps of a [Faults]. One goroutine at a time.
type File struct {
	f      *os.File
	faults *Faults
	synced int64 // its size when it was opened or synced; only kept for faults
}

// settled notes what a power cut leaves.
func (file *File) settled() {
	if st, err := file.f.Stat(); err == nil {
		file.synced = st.Size()
	}
}

// cut takes what was appended since then. The file may be gone or closed.
func (file *File) cut() {
	if st, err := file.f.Stat(); err == nil && st.Size() > file.synced {
		_ = file.f.Truncate(file.synced)
	}
}

// Name returns the name with which the file was opened.
func (file *File) Name() string { return file.f.Name() }

// OS returns the file itself, for reading. Writes to it are not counted.
func (file *File) OS() *os.File { return file.f }

// Write appends at the current offset, as one step.
func (file *File) Write(p []byte) (int, error) {
	short, err := file.faults.step(OpWrite, file.Name())
	if err != nil {
		n := 0
		if short {
			n, _ = file.f.Write(p[:len(p)/2])
		}
		return n, err
	}
	file.faults.mark(file, true)
	return file.f.Write(p)
}

// WriteAt writes at an offset, as one step, and leaves the current one.
func (file *File) WriteAt(p []byte, at int64) (int, error) {
	short, err := file.faults.step(OpWrite, file.Name())
	if err != nil {
		n := 0
		if short {
			n, _ = file.f.WriteAt(p[:len(p)/2], at)
		}
		return n, err
	}
	file.faults.mark(file, true)
	return file.f.WriteAt(p, at)
}

// Truncate changes the size and moves the offset there.
func (file *File) Truncate(size int64) error {
	return file.faults.Do(OpTruncate, file.Name(), func() error {
		if err := file.f.Truncate(size); err != nil {
			return err
		}
		file.faults.mark(file, true)
		_, err := file.f.Seek(size, 0)
		return err
	})
}

// Chmod sets the permissions exactly.
func (file *File) Chmod(perm os.FileMode) error {
	return file.faults.Do(OpChmod, file.Name(), func() error { return file.f.Chmod(perm) })
}

// Inherit gives the file the mode and group of the file at path that it is to replace, and
// its owner where the process may set it. Where there is none the mode is perm, exactly.
func (file *File) Inherit(path string, perm os.FileMode) error {
	var old, mine unix.Stat_t
	switch err := unix.Lstat(path, &old); {
	case errors.Is(err, unix.ENOENT):
		return file.Chmod(perm)
	case err != nil:
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	case old.Mode&unix.S_IFMT != unix.S_IFREG:
		return file.Chmod(perm)
	}
	fd := int(file.f.Fd())
	if err := unix.Fstat(fd, &mine); err != nil {
		return err
	}
	perm = os.FileMode(old.Mode & 0o777)
	if old.Gid != mine.Gid && unix.Fchown(fd, -1, int(old.Gid)) != nil {
		perm &^= 0o070 // another group must not gain what the old one had
	}
	if old.Uid != mine.Uid {
		_ = unix.Fchown(fd, int(old.Uid), -1) // only root may
	}
	return file.Chmod(perm)
}

// Sync makes the contents durable. After an error the file must be given up: the kernel
// may have dropped the pages and will report success the next time.
func (file *File) Sync() error {
	return file.faults.Do(OpSync, file.Name(), func() error {
		if err := file.f.Sync(); err != nil {
			return fmt.Errorf("durable: syncing: %w", err)
		}
		file.clean()
		return nil
	})
}

// Datasync is Sync without the times of the file: what is needed to read the contents back
// is durable, its size too.
func (file *File) Datasync() error {
	return file.faults.Do(OpSync, file.Name(), func() error {
		for {
			err := unix.Fdatasync(int(file.f.Fd()))
			if err == nil {
				file.clean()
				return nil
			}
			if err != unix.EINTR {
				return fmt.Errorf("durable: syncing: %w", &os.PathError{Op: "fdatasync", Path: file.Name(), Err: err})
			}
		}
	})
}

// clean notes that the contents are durable.
func (file *File) clean() {
	if file.faults != nil {
		file.settled()
		file.faults.mark(file, false)
	}
}

// Close closes the file. It makes nothing durable.
func (file *File) Close() error { return file.f.Close() }
