package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Tree makes directories and names in the directories of one user, with the modes and
// groups that Dovecot gives them. It may be used concurrently.
type Tree struct {
	// Roots are the directories under which all is the user's; an empty one counts for
	// nothing. What is outside is no model for modes.
	Roots []string
	// Faults is for tests.
	Faults *Faults
}

// MkdirAll makes a directory and those above it. Each gets the mode and group of the one
// above it, as Dovecot does, and always 0700 for the owner.
func (t Tree) MkdirAll(dir string) error {
	if st, err := os.Stat(dir); err == nil {
		if st.IsDir() {
			return nil
		}
		return &os.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := t.MkdirAll(parent); err != nil {
			return err
		}
	}
	err := t.Mkdir(dir, parent)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// Mkdir makes a directory with the mode and group of another one, and makes its name
// durable.
func (t Tree) Mkdir(dir, like string) error {
	perm := os.FileMode(0o700)
	var st unix.Stat_t
	err := unix.Stat(like, &st)
	// A system directory such as /var/mail is no model: it is open to all.
	if err == nil && st.Mode&unix.S_ISVTX == 0 && int(st.Uid) == os.Geteuid() && t.Inside(like) {
		perm |= os.FileMode(st.Mode & 0o777)
	}
	if err := t.Faults.Mkdir(dir, perm); err != nil {
		return err
	}
	if perm != 0o700 {
		if err := os.Chmod(dir, perm); err != nil {
			return fmt.Errorf("durable: making directory: %w", err)
		}
		InheritGroup(dir, &st)
	}
	return t.Faults.SyncDir(filepath.Dir(dir))
}

// Inside reports whether a directory is one of the roots or below one.
func (t Tree) Inside(dir string) bool {
	for _, root := range t.Roots {
		if root == "" {
			continue
		}
		if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// InheritGroup gives path the group of a directory whose group has other rights than
// the world. Without the right to do so it stays as it is.
func InheritGroup(path string, like *unix.Stat_t) {
	if int(like.Gid) != os.Getegid() && like.Mode>>3&7 != like.Mode&7 {
		_ = os.Lchown(path, -1, int(like.Gid))
	}
}

// FileMode is the mode of new files in a directory.
func FileMode(dir *unix.Stat_t) os.FileMode { return os.FileMode(dir.Mode&0o666) | 0o600 }

// RenameNew renames a file, as one step, to a name that must not be taken; an error
// wrapping os.ErrExist says that it is.
func (f *Faults) RenameNew(from, to string) error {
	return f.RenameNewAt(unix.AT_FDCWD, from, unix.AT_FDCWD, to)
}

// RenameNewAt is RenameNew with names in open directories, or unix.AT_FDCWD.
func (f *Faults) RenameNewAt(fromDir int, from string, toDir int, to string) error {
	return f.Do(OpRename, to, func() error {
		err := unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			// Not every file system can. The names are unique; this is a second guard.
			var st unix.Stat_t
			if serr := unix.Fstatat(toDir, to, &st, unix.AT_SYMLINK_NOFOLLOW); serr == nil {
				err = unix.EEXIST
			} else {
				err = unix.Renameat(fromDir, from, toDir, to)
			}
		}
		if err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	})
}
