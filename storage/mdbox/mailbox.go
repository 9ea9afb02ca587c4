package mdbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/mdbox/mfile"
)

// A Mailbox is one user's hold on an open mailbox. All who have the same mailbox of a
// Hierarchy open share what is known of it. All methods may be called concurrently.
type Mailbox struct {
	b    *box
	once sync.Once
}

var (
	_ storage.Backend        = (*Mailbox)(nil)
	_ storage.Linker         = (*Mailbox)(nil)
	_ storage.GroupLinker    = (*Mailbox)(nil)
	_ storage.GroupCommitter = (*Mailbox)(nil)
	_ storage.Finisher       = (*pending)(nil)
)

// GUID returns the mailbox's GUID.
func (m *Mailbox) GUID() mailbox.GUID { return m.b.guid }

// View is the mailbox. If nobody has looked since it was opened, View does, and shows an
// empty mailbox if that fails.
func (m *Mailbox) View() *mailbox.View {
	b := m.b
	if v := b.loaded(); v != nil {
		return v
	}
	v, err := b.look(context.Background())
	if err != nil {
		b.h.log.Warn("mdbox: first look", "mailbox", b.f().key, "error", err)
		return mailbox.NewView(mailbox.View{GUID: b.guid, UIDValidity: b.validity}, nil)
	}
	return v
}

// Sync returns the newest View. It does I/O only where nobody has looked yet.
func (m *Mailbox) Sync(ctx context.Context) (*mailbox.View, error) { return m.b.look(ctx) }

// find returns a message of the view with its entry and its place in the catalog.
func (b *box) find(ctx context.Context, uid mailbox.UID) (msg mailbox.Message, place index.Place, err error) {
	doing := fmt.Sprintf("reading UID %d of", uid)
	v, err := b.look(ctx)
	if err != nil {
		return msg, place, err
	}
	shown := v.Get(uid)
	if shown == nil {
		return msg, place, b.wrap(doing, mailbox.ErrNotFound)
	}
	err = b.h.catalog.View(func(tx *index.CatalogTx) error {
		c, r, err := tx.Message(b.guid, uid)
		if err != nil {
			return err
		}
		msg, place = *shown, r.Place
		msg.Sizes.Stored, msg.Received, msg.Saved = r.Stored, r.Received, c.Saved
		return nil
	})
	return msg, place, b.wrap(doing, err)
}

// Stat returns a message with its dates and stored size looked up.
func (m *Mailbox) Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error) {
	msg, _, err := m.b.find(ctx, uid)
	return msg, err
}

// Open opens a message for reading. The error wraps mailbox.ErrDamaged where what is at its
// place is no message.
func (m *Mailbox) Open(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	b := m.b
	var was index.Place
	var failed error
	for {
		msg, place, err := b.find(ctx, uid)
		if err != nil {
			return nil, err
		}
		if failed != nil && place == was {
			return nil, b.wrap(fmt.Sprintf("reading UID %d of", uid), failed)
		}
		f, err := b.h.files.Open(mfile.Place(place))
		if err == nil {
			msg.Sizes.Stored = f.Size()
			return &stored{f, msg}, nil
		}
		var corrupt *mfile.CorruptError
		if errors.As(err, &corrupt) {
			err = fmt.Errorf("%w: %w", mailbox.ErrDamaged, err)
		}
		was, failed = place, err // it may have been moved while we looked
	}
}

// stored is an open message.
type stored struct {
	*mfile.Stored
	msg mailbox.Message
}

func (s *stored) Message() mailbox.Message { return s.msg }

// RecordSizes notes the plaintext sizes of a message that was read and verified.
func (m *Mailbox) RecordSizes(ctx context.Context, uid mailbox.UID, s mailbox.Sizes) error {
	b := m.b
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	v, err := b.load()
	if err != nil {
		return err
	}
	old := v.Get(uid)
	if old == nil {
		return b.wrap(fmt.Sprintf("recording sizes of UID %d of", uid), mailbox.ErrNotFound)
	}
	msg := *old
	if s.Physical >= 0 {
		msg.Sizes.Physical = s.Physical
	}
	if s.Virtual >= 0 {
		msg.Sizes.Virtual = s.Virtual
	}
	if msg.Sizes == old.Sizes {
		return nil
	}
	if err := b.h.catalog.Later(b.guid, index.LateChange{Messages: []*mailbox.Message{&msg}}); err != nil {
		return b.wrap("recording sizes in", err)
	}
	b.show(v.Replace(&msg))
	return nil
}

// newRecord is what the catalog keeps of a message that is saved now.
func newRecord(flags mailbox.Flags, s mailbox.Sizes) index.Record {
	flags = mailbox.FlagChange{Op: mailbox.AddFlags, Flags: flags}.Apply(mailbox.Flags{})
	return index.Record{Flags: flags, Physical: s.Physical, Virtual: s.Virtual, Saved: time.Now()}
}

// Close releases the mailbox.
func (m *Mailbox) Close() error {
	m.once.Do(func() { m.b.h.release(m.b) })
	return nil
}
