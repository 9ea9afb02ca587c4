package mdbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
	"mailcrypt/storage/control"
)

// A folder is a name and where its directory is, which is below the root whatever the name.
type folder struct {
	name string // as callers know it
	key  string // storage name: encoded levels, joined by '/'
}

func (f *folder) inbox() bool { return f.key == mailbox.Inbox }

// folder finds the storage name of a name. The error wraps mailbox.ErrName or ErrLimit.
func (h *Hierarchy) folder(name string) (folder, error) {
	name = mailbox.CanonicalName(name, h.sep)
	key, err := h.names().Encode(name)
	if err != nil {
		return folder{}, fmt.Errorf("mdbox: %w", err)
	}
	return folder{name, key}, nil
}

// names encodes and decodes names of mailboxes.
func (h *Hierarchy) names() control.Names {
	return control.Names{Separator: h.sep, Layout: '/', UTF8: h.loc.UTF8,
		Reserved: func(level string) bool { return level == mailsDir || level == trashDir }}
}

// dir is the directory of a storage name, which holds mailsDir and the folders below.
func (h *Hierarchy) dir(key string) string { return filepath.Join(h.loc.Root, mailboxesDir, key) }

// makeDir makes the directories of a mailbox.
func (h *Hierarchy) makeDir(key string) error {
	err := h.tree.MkdirAll(filepath.Join(h.dir(key), mailsDir))
	if errors.Is(err, unix.ENAMETOOLONG) {
		err = fmt.Errorf("%w: %w", mailbox.ErrLimit, err)
	}
	return err
}

// removeDir removes the directory of a mailbox that is no more, with those above it that
// nothing is in. Files that Dovecot has left there go too: they speak of what was deleted.
func (h *Hierarchy) removeDir(key string) {
	dir := h.dir(key)
	mails := filepath.Join(dir, mailsDir)
	list, _ := os.ReadDir(mails)
	for _, e := range list {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), "dovecot") {
			_ = h.faults.Remove(filepath.Join(mails, e.Name()))
		}
	}
	if err := h.faults.Remove(mails); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.log.Warn("mdbox: removing the directory of a deleted mailbox", "error", err)
		return
	}
	h.removeEmpty(key)
}

// removeEmpty removes the directory of a name and those above it as long as nothing is in
// them.
func (h *Hierarchy) removeEmpty(key string) {
	for key != "" && os.Remove(h.dir(key)) == nil {
		key = mailbox.ParentName(key, '/')
	}
}

// moveDir renames the directory of a mailbox and all below it.
func (h *Hierarchy) moveDir(from, to string) error {
	if err := h.tree.MkdirAll(filepath.Dir(h.dir(to))); err != nil {
		return err
	}
	// What a crash has left in the way holds nothing.
	_ = os.Remove(filepath.Join(h.dir(to), mailsDir))
	_ = os.Remove(h.dir(to))
	err := h.faults.RenameNew(h.dir(from), h.dir(to))
	if errors.Is(err, unix.ENAMETOOLONG) {
		err = fmt.Errorf("%w: %w", mailbox.ErrLimit, err)
	}
	if err != nil {
		return err
	}
	return errors.Join(h.faults.SyncDir(filepath.Dir(h.dir(to))), h.faults.SyncDir(filepath.Dir(h.dir(from))))
}

// mendDirs makes the directories of mailboxes what the catalog says, as far as can be: they
// are of use to nobody before the catalog is lost.
func (h *Hierarchy) mendDirs(names map[string]Identity) {
	there := mailDirs(h.loc.Root)
	var err error
	for name := range names {
		if !there[name] {
			err = errors.Join(err, h.makeDir(name))
		}
	}
	for key := range there {
		if _, ok := names[key]; ok || len(names) == 0 {
			continue
		}
		// Only if it is empty: what else is there nobody has asked to be removed.
		if os.Remove(filepath.Join(h.dir(key), mailsDir)) == nil {
			h.removeEmpty(key)
		}
	}
	if err != nil {
		h.log.Warn("mdbox: making directories of mailboxes", "root", h.loc.Root, "error", err)
	}
}

// mailDirs are the storage names that have a directory. What cannot be read is passed over.
func mailDirs(root string) map[string]bool {
	root = filepath.Join(root, mailboxesDir)
	there := map[string]bool{}
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what is below is not walked
		}
		if e.IsDir() && e.Name() == mailsDir {
			if key, err := filepath.Rel(root, filepath.Dir(path)); err == nil {
				there[key] = true
			}
			return filepath.SkipDir
		}
		return nil
	})
	return there
}
