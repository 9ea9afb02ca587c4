package keycheck

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// FromHierarchy reads the headers of all messages of a user. Mailboxes are opened and
// brought up to date, as by any login. A message that goes meanwhile is left out.
func FromHierarchy(ctx context.Context, h storage.Hierarchy) (*Needs, error) {
	n := &Needs{}
	folders, err := h.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("keycheck: %w", err)
	}
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		if err := n.folder(ctx, h, f.Name); err != nil {
			return nil, fmt.Errorf("keycheck: %s: %w", f.Name, err)
		}
	}
	return n, nil
}

func (n *Needs) folder(ctx context.Context, h storage.Hierarchy, name string) (err error) {
	b, err := h.Open(ctx, name)
	if errors.Is(err, mailbox.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	view, err := b.Sync(ctx)
	if err != nil {
		return err
	}
	if name == "INBOX" {
		n.Inbox = b.GUID()
	}
	n.guid(b.GUID(), name)
	s := storage.New(b)
	for _, m := range view.All() {
		head, err := s.Header(ctx, m.UID)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.add(name, fmt.Sprintf("%s UID %d", name, m.UID), head, err)
	}
	return nil
}

func (n *Needs) guid(g mailbox.GUID, folder string) {
	if n.Folders == nil {
		n.Folders = map[mailbox.GUID]string{}
	}
	n.Folders[g] = folder
}
