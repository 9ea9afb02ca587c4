package mdbox

import (
	"context"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

var _ storage.Totaler = (*Hierarchy)(nil)

// keys returns the storage names and the levels above them, and whether each is a mailbox.
func keys(tx *index.CatalogTx) (map[string]bool, error) {
	found := map[string]bool{}
	err := tx.Names(func(name string, _ index.Identity) error {
		found[name] = true
		for up := mailbox.ParentName(name, '/'); up != ""; up = mailbox.ParentName(up, '/') {
			if _, ok := found[up]; !ok {
				found[up] = false
			}
		}
		return nil
	})
	return found, err
}

// absent tells why a mailbox cannot be opened: nothing has its name, or only folders below
// it do.
func absent(tx *index.CatalogTx, key string) error {
	found, err := keys(tx)
	if err != nil {
		return err
	}
	if _, ok := found[key]; ok {
		return mailbox.ErrNotSelectable
	}
	return mailbox.ErrNotFound
}

func (h *Hierarchy) keys() (found map[string]bool, err error) {
	err = h.catalog.View(func(tx *index.CatalogTx) (err error) {
		found, err = keys(tx)
		return err
	})
	return found, err
}

// List returns every mailbox and every level above one, in no order. INBOX is always among
// them. Those whose names cannot be shown are left out, and logged.
func (h *Hierarchy) List(ctx context.Context) ([]storage.Folder, error) {
	found, err := h.keys()
	if err != nil {
		return nil, fmt.Errorf("mdbox: listing: %w", err)
	}
	found[mailbox.Inbox] = true // made when it is first opened
	out := make([]storage.Folder, 0, len(found))
	for key, selectable := range found {
		if name, ok := h.names().Decode(key); ok {
			out = append(out, storage.Folder{Name: name, Selectable: selectable})
		} else {
			h.warnOnce(key)
		}
	}
	return out, ctx.Err()
}

// warnOnce tells of a name that cannot be shown.
func (h *Hierarchy) warnOnce(key string) {
	h.mu.Lock()
	known := h.warned[key]
	if len(h.warned) < 1000 {
		h.warned[key] = true
	}
	h.mu.Unlock()
	if !known {
		h.log.Warn("mdbox: mailbox has a name that cannot be shown", "directory", key)
	}
}

// Totals sums up all mailboxes but those that skip names. The catalog keeps the sums of each.
func (h *Hierarchy) Totals(ctx context.Context, skip func(name string) bool) (storage.Totals, error) {
	var all storage.Totals
	err := h.catalog.View(func(tx *index.CatalogTx) error {
		return tx.Names(func(key string, id index.Identity) error {
			name, ok := h.names().Decode(key)
			if ok && skip != nil && skip(name) {
				return nil
			}
			m, err := tx.Mailbox(id.GUID)
			all.Messages += int64(m.Messages)
			all.Bytes += m.Bytes
			return err
		})
	})
	if err != nil {
		return storage.Totals{}, fmt.Errorf("mdbox: summing up: %w", err)
	}
	return all, ctx.Err()
}
