package mdbox

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// AltMove moves the messages that match into the alternative directory (ALT=), or back out of
// it. match gets a message with its dates, and the name of its mailbox; it must not call the
// store. A message that is in several mailboxes moves if any of them matches. Files are
// rewritten as by Purge: what is expunged in those that are touched is gone then. Mailboxes
// can be in use meanwhile.
func (h *Hierarchy) AltMove(ctx context.Context, toAlt bool, match func(name string, m mailbox.Message) bool) (Moved, error) {
	h.moving.Lock()
	defer h.moving.Unlock()
	names := h.names()
	return h.maintenance().altMove(ctx, toAlt, func(key string, m mailbox.Message) bool {
		name, ok := names.Decode(key)
		return ok && match(name, m)
	})
}

// altMove is AltMove with storage names. (Dovecot: doveadm altmove.)
func (s *maintenance) altMove(ctx context.Context, toAlt bool, match func(name string, m mailbox.Message) bool) (Moved, error) {
	var done Moved
	names := map[string]mailbox.GUID{}
	err := s.catalog.View(func(tx *index.CatalogTx) error {
		return tx.Names(func(name string, id index.Identity) error {
			names[name] = id.GUID
			return nil
		})
	})
	moving := map[uint32]bool{} // map UIDs
	files := map[uint32]bool{}
	for name, guid := range names {
		if err != nil {
			break
		}
		_, err = s.catalog.Load(guid, func(m index.CatalogMessage, r index.MapRecord) error {
			if !moving[r.MapUID] && match(name, *whole(m, r)) {
				moving[r.MapUID], files[r.File] = true, true
			}
			return ctx.Err()
		})
		if errors.Is(err, mailbox.ErrNotFound) {
			err = nil // deleted meanwhile
		}
	}
	var ids []uint32
	if err == nil {
		ids, err = s.onSide(files, !toAlt)
	}
	if err != nil {
		return done, fmt.Errorf("mdbox: moving to other storage: %w", err)
	}
	return done, s.rewrite(ctx, ids, func(r *index.MapRecord, is bool) bool {
		if moving[r.MapUID] {
			return toAlt
		}
		return is
	}, &done)
}

// onSide returns which of the files are in one directory, by id.
func (s *maintenance) onSide(files map[uint32]bool, alt bool) (ids []uint32, err error) {
	err = s.catalog.View(func(tx *index.CatalogTx) error {
		list, err := tx.Files()
		for _, f := range list {
			if files[f.ID] && f.Alt == alt && !f.Doomed {
				ids = append(ids, f.ID)
			}
		}
		return err
	})
	return ids, err
}

// whole is a message with its dates and all sizes that are known.
func whole(c index.CatalogMessage, r index.MapRecord) *mailbox.Message {
	m := message(c, r)
	m.Received, m.Saved = r.Received, c.Saved
	if m.Sizes.Physical < 0 {
		m.Sizes.Physical = r.Physical
	}
	if m.Sizes.Virtual < 0 {
		m.Sizes.Virtual = r.Virtual
	}
	return m
}
