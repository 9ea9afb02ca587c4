package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mkdirAll makes a directory and those above it. Each gets the mode and group of the one
// above it, as Dovecot does, and always 0700 for the owner.
func (h *Hierarchy) mkdirAll(dir string) error {
	if st, err := os.Stat(dir); err == nil {
		if st.IsDir() {
			return nil
		}
		return &os.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := h.mkdirAll(parent); err != nil {
			return err
		}
	}
	err := h.mkdir(dir, parent)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// mkdir makes a directory with the mode and group of another one, and makes its name
// durable.
func (h *Hierarchy) mkdir(dir, like string) error {
	perm := os.FileMode(0o700)
	var st unix.Stat_t
	err := unix.Stat(like, &st)
	// A system directory such as /var/mail is no model: it is open to all.
	if err == nil && st.Mode&unix.S_ISVTX == 0 && int(st.Uid) == os.Geteuid() && inside(h.loc, like) {
		perm |= os.FileMode(st.Mode & 0o777)
	}
	if err := h.faults.Mkdir(dir, perm); err != nil {
		return err
	}
	if perm != 0o700 {
		if err := os.Chmod(dir, perm); err != nil {
			return fmt.Errorf("maildir: making directory: %w", err)
		}
		inheritGroup(dir, &st)
	}
	return h.faults.SyncDir(filepath.Dir(dir))
}

// inside reports whether a directory belongs to the user's tree.
func inside(l Location, dir string) bool {
	for _, root := range []string{l.Root, l.Control, l.Index, l.Inbox} {
		if root == "" {
			continue
		}
		if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// inheritGroup gives path the group of a directory whose group has other rights than
// the world. Without the right to do so it stays as it is.
func inheritGroup(path string, like *unix.Stat_t) {
	if int(like.Gid) != os.Getegid() && like.Mode>>3&7 != like.Mode&7 {
		_ = os.Lchown(path, -1, int(like.Gid))
	}
}

// fileMode is the mode of new files in a directory.
func fileMode(dir *unix.Stat_t) os.FileMode { return os.FileMode(dir.Mode&0o666) | 0o600 }

// subdirs are the parts of every folder.
var subdirs = []string{"tmp", "new", "cur"}

// makeSubdirs makes what is missing of a folder: a half-made one is repaired.
func (h *Hierarchy) makeSubdirs(f folder) error {
	for _, sub := range subdirs {
		path := filepath.Join(f.dir, sub)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := h.mkdir(path, f.dir); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("maildir: making %s: %w", f.key, err)
		}
	}
	if f.control != f.dir {
		if err := h.mkdirAll(f.control); err != nil {
			return fmt.Errorf("maildir: making control directory of %s: %w", f.key, err)
		}
	}
	return nil
}
