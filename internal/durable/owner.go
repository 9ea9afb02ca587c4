package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Inherit gives a new file or directory, where this process is root, to the owner of the
// directory that it is in. So a daemon or a tool that root has started leaves nothing in
// a store that the store's owner, or Dovecot running as it, could not open. Elsewhere it
// does nothing.
func Inherit(path string) error {
	return inherit(path, func(uid, gid int) error { return os.Lchown(path, uid, gid) })
}

// InheritFile is Inherit for an open file. One that had an owner before is left alone: only
// files of root's own are given away.
func InheritFile(f *os.File) error {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Fstat(int(f.Fd()), &st) != nil || st.Uid != 0 {
		return nil
	}
	return inherit(f.Name(), f.Chown)
}

func inherit(path string, chown func(uid, gid int) error) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &st); err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	if st.Uid == 0 || st.Mode&unix.S_ISVTX != 0 {
		return nil // root's own place, or one that is everybody's
	}
	return chown(int(st.Uid), int(st.Gid))
}

// MkdirAll is os.MkdirAll, with Inherit for every directory that it makes, and makes their
// names durable: what is synced in a directory is lost with it.
func MkdirAll(dir string, perm os.FileMode) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return &os.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, perm)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = Inherit(dir)
	}
	if err != nil {
		return err
	}
	if err = SyncDir(filepath.Dir(dir)); errors.Is(err, os.ErrPermission) {
		return nil // it can be written to and not read: there is no way to sync it
	}
	return err
}
