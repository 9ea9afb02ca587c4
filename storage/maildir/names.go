package maildir

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcrypt/mailbox"
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
	key, err := h.storageName(name)
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

func (h *Hierarchy) controlRoot() string {
	if h.loc.Control != "" {
		return h.loc.Control
	}
	return h.loc.Root
}

// storageName encodes a name level by level.
func (h *Hierarchy) storageName(name string) (string, error) {
	if err := mailbox.CheckName(name, h.sep); err != nil {
		return "", fmt.Errorf("maildir: name %.80q: %w", name, err)
	}
	parts := mailbox.SplitName(name, h.sep)
	for i, p := range parts {
		enc := p
		if !h.loc.UTF8 {
			enc = mailbox.EncodeUTF7(p)
		}
		if err := h.checkPart(enc); err != nil {
			return "", fmt.Errorf("maildir: name %.80q: %w", name, err)
		}
		parts[i] = enc
	}
	return mailbox.JoinName(parts, h.loc.Layout.separator()), nil
}

// checkPart finds encoded levels that the layout cannot hold.
func (h *Hierarchy) checkPart(enc string) error {
	switch {
	case len(enc) > mailbox.MaxPart-1: // Maildir++ adds a dot
		return fmt.Errorf("%w: level of %d bytes", mailbox.ErrLimit, len(enc))
	case strings.IndexByte(enc, h.loc.Layout.separator()) >= 0:
		return fmt.Errorf("%w: %q cannot be in a level", mailbox.ErrName, h.loc.Layout.separator())
	case escaped(enc):
		return fmt.Errorf("%w: escapes are not supported", mailbox.ErrName)
	case h.loc.Layout == FS && h.reserved(enc):
		return fmt.Errorf("%w: reserved", mailbox.ErrName)
	}
	return nil
}

// reserved are the directories that are no folders in the fs layout.
func (h *Hierarchy) reserved(enc string) bool {
	switch enc {
	case "cur", "new", "tmp", fsTrash:
		return true
	}
	return h.loc.DirName != "" && enc == h.loc.DirName
}

// escaped reports whether a name has what the listescape plugin writes: a backslash and
// two lower-case hexadecimal digits.
func escaped(enc string) bool {
	const hex = "0123456789abcdef"
	for i := 0; i+2 < len(enc); i++ {
		if enc[i] == '\\' && strings.IndexByte(hex, enc[i+1]) >= 0 && strings.IndexByte(hex, enc[i+2]) >= 0 {
			return true
		}
	}
	return false
}

// visibleName decodes a storage name. ok is false where the name cannot be shown: not
// canonical, or with our separator inside a level.
func (h *Hierarchy) visibleName(key string) (name string, ok bool) {
	parts := mailbox.SplitName(key, h.loc.Layout.separator())
	for i, p := range parts {
		if !h.loc.UTF8 {
			dec, err := mailbox.DecodeUTF7(p)
			if err != nil {
				return "", false
			}
			p = dec
		}
		if strings.IndexByte(p, h.sep) >= 0 {
			return "", false
		}
		parts[i] = p
	}
	name = mailbox.JoinName(parts, h.sep)
	back, err := h.storageName(name)
	return name, err == nil && back == key && mailbox.CanonicalName(name, h.sep) == name
}
