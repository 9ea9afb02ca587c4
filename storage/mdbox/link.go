package mdbox

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// Link saves a message of another mailbox of this store as a further reference to its bytes.
// The error wraps errors.ErrUnsupported where that cannot be: another store, another date or
// GUID, or 32768 references already.
func (m *Mailbox) Link(ctx context.Context, from storage.Backend, uid mailbox.UID, info mailbox.SaveInfo) (mailbox.UID, error) {
	uids, err := m.LinkAll(ctx, from, []mailbox.UID{uid}, []mailbox.SaveInfo{info})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

// LinkAll is Link for several messages, all or none, in one transaction.
func (m *Mailbox) LinkAll(ctx context.Context, from storage.Backend, uids []mailbox.UID, infos []mailbox.SaveInfo) ([]mailbox.UID, error) {
	b := m.b
	src, ok := from.(*Mailbox)
	if !ok || src.b.h != b.h {
		return nil, b.wrap("linking to", errors.ErrUnsupported)
	}
	for _, info := range infos {
		if err := checkInfo(info); err != nil {
			return nil, b.wrap("linking to", err)
		}
	}
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	var made []*mailbox.Message
	err := b.h.catalog.Update(ctx, func(tx *index.CatalogTx) (err error) {
		made, err = b.refer(tx, src.b, uids, infos)
		return err
	})
	if err != nil {
		return nil, b.wrap("linking to", err)
	}
	b.add(made)
	linked := make([]mailbox.UID, len(made))
	for i, msg := range made {
		linked[i] = msg.UID
	}
	return linked, nil
}

// refer adds the references to the catalog.
func (b *box) refer(tx *index.CatalogTx, src *box, uids []mailbox.UID, infos []mailbox.SaveInfo) ([]*mailbox.Message, error) {
	msgs := make([]index.CatalogMessage, len(uids))
	maps := make([]index.MapRecord, len(uids))
	for i, uid := range uids {
		msg, r, err := tx.Message(src.guid, uid)
		if err != nil {
			return nil, err
		}
		info := infos[i]
		if info.GUID != r.GUID || !info.Received.IsZero() && info.Received.Unix() != r.Received.Unix() {
			return nil, fmt.Errorf("UID %d under another date or GUID: %w", uid, errors.ErrUnsupported)
		}
		sizes := mailbox.Sizes{Physical: msg.Physical, Virtual: msg.Virtual}
		msgs[i] = index.CatalogMessage{Record: newRecord(info.Flags, sizes), MapUID: msg.MapUID}
		maps[i] = r
	}
	if err := tx.AddMessages(b.guid, msgs); err != nil {
		return nil, err
	}
	made := make([]*mailbox.Message, len(msgs))
	for i := range msgs {
		made[i] = message(msgs[i], maps[i])
	}
	return made, nil
}
