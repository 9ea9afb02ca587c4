package maildir

import (
	"path/filepath"

	"mailcrypt/mailbox"
	"mailcrypt/storage/control"
)

// A folder is a name and where it is on disk. Its paths are below the root whatever the
// name was.
type folder struct {
	name    string // as callers know it
	key     string // storage name: encoded levels, joined by the layout's separator
	dir     string // holds cur, new and tmp
	control string // holds the uidlist
	top     string // the directory that is the folder in the tree: dir, or above DIRNAME
}

func (f *folder) inbox() bool { return f.key == mailbox.Inbox }

// folder finds where a name is. The error wraps mailbox.ErrName or ErrLimit.
func (h *Hierarchy) folder(name string) (folder, error) {
	name = mailbox.CanonicalName(name, h.sep)
	key, err := h.names().Encode(name)
	if err != nil {
		return folder{}, err
	}
	return h.at(name, key), nil
}

// at gives the paths of a storage name.
func (h *Hierarchy) at(name, key string) folder {
	f := folder{name: name, key: key}
	f.top = h.dirIn(h.loc.Root, key)
	if key == mailbox.Inbox && (h.loc.Layout == PlusPlus || h.loc.DirName == "") {
		f.top = h.loc.Root
		if h.loc.Inbox != "" {
			f.top = h.loc.Inbox
		}
		f.dir = f.top
	} else {
		f.dir = filepath.Join(f.top, h.loc.DirName)
		if key == mailbox.Inbox && h.loc.Inbox != "" {
			f.top, f.dir = h.loc.Inbox, h.loc.Inbox
		}
	}
	f.control = f.dir
	if h.loc.Control != "" {
		f.control = h.dirIn(h.loc.Control, key)
	}
	return f
}

// dirIn is the directory of a folder in one of the trees.
func (h *Hierarchy) dirIn(root, key string) string {
	if h.loc.Layout == FS {
		return filepath.Join(root, key)
	}
	return filepath.Join(root, "."+key)
}

// names encodes and decodes names of mailboxes.
func (h *Hierarchy) names() control.Names {
	n := control.Names{Separator: h.sep, Layout: h.loc.Layout.separator(), UTF8: h.loc.UTF8}
	if h.loc.Layout == FS {
		n.Reserved = h.reserved
	}
	return n
}

// reserved are the directories that are no folders in the fs layout.
func (h *Hierarchy) reserved(enc string) bool {
	switch enc {
	case "cur", "new", "tmp", fsTrash:
		return true
	}
	return h.loc.DirName != "" && enc == h.loc.DirName
}
