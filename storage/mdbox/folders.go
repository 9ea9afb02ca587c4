package mdbox

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// Create makes a mailbox and gives it its identity. The error wraps mailbox.ErrExists,
// ErrName or ErrLimit.
func (h *Hierarchy) Create(ctx context.Context, name string) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	h.folders.Lock()
	defer h.folders.Unlock()
	if err := h.create(ctx, f.key); err != nil {
		return fmt.Errorf("mdbox: creating %s: %w", f.key, err)
	}
	h.watching.wake()
	return nil
}

func (h *Hierarchy) create(ctx context.Context, key string) error {
	found, err := h.keys()
	if err != nil {
		return err
	}
	if found[key] {
		return mailbox.ErrExists
	}
	v, err := h.control.NextUIDValidity()
	if err != nil {
		return err
	}
	id := index.Identity{GUID: mailbox.NewGUID(), UIDValidity: v}
	if err := h.makeDir(key); err != nil {
		return err
	}
	// Beside the keys first, so that none is ever stored under a GUID that can be lost.
	err = h.changeIdentities(ctx, map[string]Identity{key: identityOf(id)}, nil)
	if err == nil {
		err = h.catalog.Update(ctx, func(tx *index.CatalogTx) error { return tx.CreateMailbox(key, id) })
	}
	if err != nil && !errors.Is(err, index.ErrCatalogUnknown) {
		h.removeDir(key)
		h.forgetIdentities(ctx, key)
	}
	return err
}

func (h *Hierarchy) changeIdentities(ctx context.Context, set map[string]Identity, remove []string) error {
	if h.identities == nil {
		return nil
	}
	if err := h.identities.Change(ctx, set, remove); err != nil {
		return fmt.Errorf("keeping the GUIDs of mailboxes: %w", err)
	}
	return nil
}

// forgetIdentities removes what the catalog does not have. Where that fails it is done when
// the store is opened next.
func (h *Hierarchy) forgetIdentities(ctx context.Context, names ...string) {
	if err := h.changeIdentities(context.WithoutCancel(ctx), nil, names); err != nil {
		h.log.Warn("mdbox: the GUID of a mailbox that is no more stays beside the keys for now", "error", err)
	}
}

// Delete removes a mailbox and its messages; mailboxes below it stay. INBOX cannot be
// deleted: the error wraps mailbox.ErrName. Who has the mailbox open finds it gone.
func (h *Hierarchy) Delete(ctx context.Context, name string) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	if f.inbox() {
		return fmt.Errorf("mdbox: deleting INBOX: %w", mailbox.ErrName)
	}
	h.folders.Lock()
	defer h.folders.Unlock()
	b, err := h.freeze(ctx, f.key)
	if err != nil {
		return err
	}
	defer thaw(b)
	err = h.catalog.Update(ctx, func(tx *index.CatalogTx) error {
		_, err := tx.DeleteMailbox(f.key)
		if errors.Is(err, mailbox.ErrNotFound) {
			err = absent(tx, f.key)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("mdbox: deleting %s: %w", f.key, err)
	}
	if b != nil {
		b.bury()
	}
	h.forgetIdentities(ctx, f.key)
	h.removeDir(f.key)
	h.watching.wake()
	return nil
}

// freeze takes op of a mailbox that is open, so that nobody works in it meanwhile; nil is
// one that is not.
func (h *Hierarchy) freeze(ctx context.Context, key string) (*box, error) {
	h.mu.Lock()
	b := h.boxes[key]
	h.mu.Unlock()
	if b == nil {
		return nil, nil
	}
	return b, b.lock(ctx)
}

func thaw(b *box) {
	if b != nil {
		b.unlock()
	}
}

// Rename renames a mailbox and all below it, whose GUIDs and UIDs stay. Who has one of them
// open keeps it. Renaming INBOX is refused with an error that wraps errors.ErrUnsupported.
func (h *Hierarchy) Rename(ctx context.Context, from, to string) error {
	src, err := h.folder(from)
	if err != nil {
		return err
	}
	dst, err := h.folder(to)
	if err != nil {
		return err
	}
	if src.inbox() {
		return fmt.Errorf("mdbox: renaming INBOX: %w", errors.ErrUnsupported)
	}
	if mailbox.IsBelow(dst.key, src.key, '/') {
		return fmt.Errorf("mdbox: renaming %s below itself: %w", src.key, mailbox.ErrName)
	}
	h.folders.Lock()
	defer h.folders.Unlock()
	moves, err := h.moves(src.key, dst.key)
	if err == nil {
		err = h.rename(ctx, src.key, dst.key, moves)
	}
	if err != nil {
		return fmt.Errorf("mdbox: renaming %s to %s: %w", src.key, dst.key, err)
	}
	h.watching.wake()
	return nil
}

// A move is one mailbox of a rename.
type move struct {
	from, to folder
	id       index.Identity
}

// moves are the mailboxes that a rename concerns.
func (h *Hierarchy) moves(src, dst string) (moves []move, err error) {
	err = h.catalog.View(func(tx *index.CatalogTx) error {
		found, err := keys(tx)
		if err != nil {
			return err
		}
		if _, ok := found[src]; !ok {
			return mailbox.ErrNotFound
		}
		if _, ok := found[dst]; ok || dst == mailbox.Inbox {
			return mailbox.ErrExists
		}
		return tx.Names(func(key string, id index.Identity) error {
			if key != src && !mailbox.IsBelow(key, src, '/') {
				return nil
			}
			to := dst + key[len(src):]
			if len(to) > mailbox.MaxName {
				return mailbox.ErrLimit
			}
			name, ok := h.names().Decode(to)
			if !ok {
				name = to // not visible before either
			}
			moves = append(moves, move{folder{key: key}, folder{name, to}, id})
			return nil
		})
	})
	return moves, err
}

func (h *Hierarchy) rename(ctx context.Context, src, dst string, moves []move) error {
	boxes := map[*box]error{}
	h.mu.Lock()
	for _, m := range moves {
		if b := h.boxes[m.from.key]; b != nil {
			boxes[b] = nil
		}
	}
	h.mu.Unlock()
	for _, b := range inOrder(boxes) {
		if err := b.lock(ctx); err != nil {
			return err
		}
		defer b.unlock()
	}
	there, back := map[string]Identity{}, map[string]Identity{}
	var old, renamed []string
	for _, m := range moves {
		there[m.to.key], back[m.from.key] = identityOf(m.id), identityOf(m.id)
		old, renamed = append(old, m.from.key), append(renamed, m.to.key)
	}
	if err := h.moveDir(src, dst); err != nil {
		return err
	}
	err := h.changeIdentities(ctx, there, old)
	if err == nil {
		err = h.catalog.Update(ctx, func(tx *index.CatalogTx) error {
			for _, m := range moves {
				if err := tx.RenameMailbox(m.from.key, m.to.key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if errors.Is(err, index.ErrCatalogUnknown) {
		return err // either may be true, and is looked at when the store is opened next
	}
	if err != nil {
		undo := context.WithoutCancel(ctx)
		if uerr := errors.Join(h.moveDir(dst, src), h.changeIdentities(undo, back, renamed)); uerr != nil {
			h.log.Error("mdbox: undoing a rename", "error", uerr)
		}
		return err
	}
	h.removeEmpty(mailbox.ParentName(src, '/'))
	h.moveBoxes(moves)
	return nil
}

// moveBoxes gives open mailboxes their new names.
func (h *Hierarchy) moveBoxes(moves []move) {
	h.mu.Lock()
	defer h.mu.Unlock()
	moved := map[string]*box{}
	for _, m := range moves {
		if b := h.boxes[m.from.key]; b != nil {
			delete(h.boxes, m.from.key)
			b.at.Store(&m.to)
			moved[m.to.key] = b
		}
	}
	for key, b := range moved {
		h.boxes[key] = b
	}
}
