package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// Names under which deleted folders lie until they have been removed. Dovecot never lists
// them either.
const (
	plusTrash = "..DOVECOT-TRASHED"
	fsTrash   = "..DOVECOT-TrasH"
)

// maxDepth bounds the levels of the fs layout, against links that lead in circles.
const maxDepth = 100

// List returns every mailbox and every level above one, in no order. INBOX is always among
// them. Directories whose names cannot be shown are left out, and logged.
func (h *Hierarchy) List(ctx context.Context) ([]storage.Folder, error) {
	h.folders.RLock()
	defer h.folders.RUnlock()
	keys, err := h.keys(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]storage.Folder, 0, len(keys))
	for key, selectable := range keys {
		if key == mailbox.Inbox {
			selectable = true
		}
		name, ok := h.names().Decode(key)
		if !ok {
			h.warnOnce(key)
			continue
		}
		out = append(out, storage.Folder{Name: name, Selectable: selectable})
	}
	return out, nil
}

// warnOnce tells of a directory whose name cannot be shown.
func (h *Hierarchy) warnOnce(key string) {
	h.mu.Lock()
	known := h.warned[key]
	if len(h.warned) < 1000 {
		h.warned[key] = true
	}
	h.mu.Unlock()
	if !known {
		h.log.Warn("maildir: folder has a name that cannot be shown", "directory", key)
	}
}

// keys returns the storage names in the tree, and whether each is a mailbox.
func (h *Hierarchy) keys(ctx context.Context) (map[string]bool, error) {
	keys := map[string]bool{mailbox.Inbox: true}
	if h.loc.Layout == FS {
		return keys, h.walk(ctx, "", 0, keys)
	}
	list, err := readDir(h.loc.Root)
	if err != nil {
		return nil, fmt.Errorf("maildir: listing: %w", err)
	}
	for _, d := range list {
		key, ok := strings.CutPrefix(d.Name(), ".")
		if !ok || key == "" || key[0] == '.' || !isDir(h.loc.Root, d) || strings.EqualFold(key, mailbox.Inbox) {
			continue
		}
		keys[key] = true
		if strings.Contains(key, "..") {
			continue // not a name
		}
		for i := range len(key) { // levels above that have no directory
			if parent := key[:i]; key[i] == '.' && !keys[parent] {
				keys[parent] = false
			}
		}
	}
	return keys, ctx.Err()
}

// walk adds what is below a directory of the fs layout.
func (h *Hierarchy) walk(ctx context.Context, above string, depth int, keys map[string]bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := readDir(filepath.Join(h.loc.Root, above))
	if err != nil {
		return fmt.Errorf("maildir: listing: %w", err)
	}
	for _, d := range list {
		name := d.Name()
		if h.reserved(name) || name == "." || name == ".." || !isDir(filepath.Join(h.loc.Root, above), d) {
			continue
		}
		key := name
		if above != "" {
			key = above + "/" + name
		}
		if !strings.EqualFold(key, mailbox.Inbox) {
			keys[key] = isMaildir(filepath.Join(h.loc.Root, key, h.loc.DirName))
		} else if key != mailbox.Inbox {
			continue
		}
		if depth < maxDepth {
			if err := h.walk(ctx, key, depth+1, keys); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDir reads a directory; one that does not exist is empty.
func readDir(dir string) ([]os.DirEntry, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// isDir reports whether an entry is a directory or a link to one.
func isDir(dir string, d fs.DirEntry) bool {
	if d.Type()&fs.ModeSymlink == 0 {
		return d.IsDir()
	}
	st, err := os.Stat(filepath.Join(dir, d.Name()))
	return err == nil && st.IsDir()
}

// absent tells why a mailbox cannot be opened: nothing has its name, or only folders below
// it do.
func (h *Hierarchy) absent(f folder) error {
	keys, err := h.keys(context.Background())
	if err != nil {
		return err
	}
	if _, ok := keys[f.key]; ok {
		return mailbox.ErrNotSelectable
	}
	return mailbox.ErrNotFound
}
