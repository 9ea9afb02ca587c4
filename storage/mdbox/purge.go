package mdbox

import (
	"context"
	"fmt"

	"mailcrypt/index"
)

// Purge gives back the space of expunged messages: what else is in their files is copied into
// others, and the files are removed. Mailboxes can be in use meanwhile. Files in which there
// is what the catalog does not know are left, and named.
func (h *Hierarchy) Purge(ctx context.Context) (Moved, error) {
	h.moving.Lock()
	defer h.moving.Unlock()
	return h.maintenance().purge(ctx)
}

// purge is Purge. (Dovecot: mdbox-purge.c.)
func (s *maintenance) purge(ctx context.Context) (Moved, error) {
	var done Moved
	var ids []uint32
	err := s.catalog.View(func(tx *index.CatalogTx) error {
		files, err := tx.Files()
		for _, f := range files {
			if f.Dead > 0 && !f.Doomed {
				ids = append(ids, f.ID)
			}
		}
		return err
	})
	if err != nil {
		return done, fmt.Errorf("mdbox: purging: %w", err)
	}
	return done, s.rewrite(ctx, ids, func(_ *index.MapRecord, is bool) bool { return is }, &done)
}
