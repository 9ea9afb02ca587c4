package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mailcrypt/internal/durable"
)

// tree makes the directories of the user's tree.
func (h *Hierarchy) tree() durable.Tree {
	return durable.Tree{Roots: h.loc.roots(), Faults: h.faults}
}

// mkdirAll makes a directory and those above it.
func (h *Hierarchy) mkdirAll(dir string) error { return h.tree().MkdirAll(dir) }

// mkdir makes a directory with the mode and group of another one.
func (h *Hierarchy) mkdir(dir, like string) error { return h.tree().Mkdir(dir, like) }

// roots are the directories under which all is the user's.
func (l Location) roots() []string { return []string{l.Root, l.Control, l.Index, l.Inbox} }

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
