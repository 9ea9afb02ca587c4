package index

import (
	"errors"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// A CatalogMailbox is what the catalog says of a mailbox as a whole.
type CatalogMailbox struct {
	GUID          mailbox.GUID
	UIDValidity   uint32
	UIDNext       mailbox.UID
	HighestModSeq mailbox.ModSeq
	FirstRecent   mailbox.UID // messages from here on no session was told of
	Messages      uint32
	Bytes         int64 // the sum of the virtual sizes, or of what else is known
}

// box is a mailbox in a transaction.
type box struct {
	t    *CatalogTx
	guid mailbox.GUID
	b    *bolt.Bucket
	boxState
}

func errNoMailbox(guid mailbox.GUID) error {
	return fmt.Errorf("index: mailbox %s: %w", guid, mailbox.ErrNotFound)
}

func (t *CatalogTx) box(guid mailbox.GUID) (*box, error) {
	b := t.tx.Bucket(boxBucket).Bucket(guid[:])
	if b == nil {
		return nil, errNoMailbox(guid)
	}
	s, err := decodeBoxState(b.Get(headerKey))
	return &box{t, guid, b, s}, err
}

func (b *box) save() error { return b.b.Put(headerKey, b.encode()) }

func (b *box) messages() (*bolt.Bucket, error) {
	m := b.b.Bucket(messagesKey)
	if m == nil {
		return nil, fmt.Errorf("%w: mailbox without messages", errRecord)
	}
	m.FillPercent = 0.9 // mostly appended
	return m, nil
}

func (b *box) get(m *bolt.Bucket, uid mailbox.UID) (CatalogMessage, error) {
	v := m.Get(uidKey(uid))
	if v == nil {
		return CatalogMessage{}, fmt.Errorf("index: UID %d of mailbox %s: %w", uid, b.guid, mailbox.ErrNotFound)
	}
	return decodeMessage(uidKey(uid), v)
}

// Names calls fn for every mailbox, by storage name, until it returns an error.
func (t *CatalogTx) Names(fn func(name string, id Identity) error) error {
	return t.tx.Bucket(nameBucket).ForEach(func(k, v []byte) error {
		id, err := decodeIdentity(v)
		if err != nil {
			return err
		}
		return fn(string(k), id)
	})
}

// Name returns the identity of the mailbox of a storage name. Of it UIDNext is not kept
// here. The error wraps mailbox.ErrNotFound where there is none.
func (t *CatalogTx) Name(name string) (Identity, error) {
	if v := t.tx.Bucket(nameBucket).Get([]byte(name)); v != nil {
		return decodeIdentity(v)
	}
	return Identity{}, fmt.Errorf("index: mailbox %q: %w", name, mailbox.ErrNotFound)
}

// CreateMailbox makes an empty mailbox. Where id has a UIDNext above 1, lower UIDs were
// given before, as after a rebuild. The error wraps mailbox.ErrExists where the name or the
// GUID is taken.
func (t *CatalogTx) CreateMailbox(name string, id Identity) error {
	names, boxes := t.tx.Bucket(nameBucket), t.tx.Bucket(boxBucket)
	if id.GUID.IsZero() || id.UIDValidity == 0 || name == "" || len(name) > mailbox.MaxName {
		return fmt.Errorf("index: making mailbox %.80q: %w", name, mailbox.ErrName)
	}
	if names.Get([]byte(name)) != nil || boxes.Bucket(id.GUID[:]) != nil {
		return fmt.Errorf("index: making mailbox %q: %w", name, mailbox.ErrExists)
	}
	b, err := boxes.CreateBucket(id.GUID[:])
	if err != nil {
		return err
	}
	if _, err := b.CreateBucket(messagesKey); err != nil {
		return err
	}
	modseq := nextModSeq(0, t.now())
	s := boxState{h: header{id.UIDValidity, max(id.UIDNext, 1), modseq}}
	s.recent = s.h.next
	if err := b.Put(headerKey, s.encode()); err != nil {
		return err
	}
	if err := (&pending{floor: modseq}).writeLog(b, modseq); err != nil {
		return err
	}
	id.UIDNext = 0
	return names.Put([]byte(name), encodeIdentity(id))
}

// RestoreMailbox makes an empty mailbox with the numbers that it has had elsewhere; those that
// count messages are not looked at. The error wraps mailbox.ErrExists where the name or the
// GUID is taken, or ErrName where they are none.
func (t *CatalogTx) RestoreMailbox(name string, m CatalogMailbox) error {
	if err := t.CreateMailbox(name, Identity{GUID: m.GUID, UIDValidity: m.UIDValidity, UIDNext: m.UIDNext}); err != nil {
		return err
	}
	b, err := t.box(m.GUID)
	if err != nil {
		return err
	}
	b.h.highest, b.recent = max(1, m.HighestModSeq), max(1, m.FirstRecent)
	if err := (&pending{restart: true}).writeLog(b.b, b.h.highest); err != nil {
		return err
	}
	return b.save()
}

// SetMailbox replaces what is said of a mailbox as a whole, for a rebuild. Numbers that count
// messages are not looked at, and none gets lower but FirstRecent.
func (t *CatalogTx) SetMailbox(m CatalogMailbox) error {
	b, err := t.box(m.GUID)
	if err != nil {
		return err
	}
	b.h.next, b.h.highest, b.recent = max(b.h.next, m.UIDNext), max(b.h.highest, m.HighestModSeq), m.FirstRecent
	if err := (&pending{restart: true}).writeLog(b.b, b.h.highest); err != nil {
		return err
	}
	return b.save()
}

// RenameMailbox gives a mailbox another name.
func (t *CatalogTx) RenameMailbox(from, to string) error {
	names := t.tx.Bucket(nameBucket)
	id, err := t.Name(from)
	if err != nil {
		return err
	}
	if names.Get([]byte(to)) != nil {
		return fmt.Errorf("index: renaming to %q: %w", to, mailbox.ErrExists)
	}
	return errors.Join(names.Delete([]byte(from)), names.Put([]byte(to), encodeIdentity(id)))
}

// DeleteMailbox removes a mailbox and its messages, and returns its identity.
func (t *CatalogTx) DeleteMailbox(name string) (Identity, error) {
	id, err := t.Name(name)
	if err != nil {
		return id, err
	}
	err = t.Messages(id.GUID, func(m CatalogMessage) error {
		_, err := t.refer(m.MapUID, -1)
		return err
	})
	if err != nil {
		return id, err
	}
	return id, errors.Join(t.tx.Bucket(boxBucket).DeleteBucket(id.GUID[:]), t.tx.Bucket(nameBucket).Delete([]byte(name)))
}

// Mailbox returns what is known of a mailbox. The error wraps mailbox.ErrNotFound where there
// is none.
func (t *CatalogTx) Mailbox(guid mailbox.GUID) (CatalogMailbox, error) {
	b, err := t.box(guid)
	if err != nil {
		return CatalogMailbox{}, err
	}
	return CatalogMailbox{guid, b.h.validity, b.h.next, b.h.highest, b.recent, b.boxState.messages, b.bytes}, nil
}

// Messages calls fn for every message of a mailbox, by UID, until it returns an error. fn
// must not change the mailbox.
func (t *CatalogTx) Messages(guid mailbox.GUID, fn func(CatalogMessage) error) error {
	b, err := t.box(guid)
	if err != nil {
		return err
	}
	msgs, err := b.messages()
	if err != nil {
		return err
	}
	return msgs.ForEach(func(k, v []byte) error {
		m, err := decodeMessage(k, v)
		if err != nil {
			return err
		}
		return fn(m)
	})
}

// Message returns a message and its stored bytes. The error wraps mailbox.ErrNotFound where
// it is not there.
func (t *CatalogTx) Message(guid mailbox.GUID, uid mailbox.UID) (CatalogMessage, MapRecord, error) {
	b, err := t.box(guid)
	if err != nil {
		return CatalogMessage{}, MapRecord{}, err
	}
	msgs, err := b.messages()
	if err != nil {
		return CatalogMessage{}, MapRecord{}, err
	}
	m, err := b.get(msgs, uid)
	if err != nil {
		return m, MapRecord{}, err
	}
	r, err := t.mapOf(m.MapUID)
	return m, r, err
}

// AddMessages adds messages to a mailbox, each a further reference to its stored bytes, and
// gives them the next UIDs and one new modseq, which it writes into msgs. The error wraps
// mailbox.ErrNotFound where the mailbox is not there, errors.ErrUnsupported where a stored
// message has too many references, and mailbox.ErrLimit.
func (t *CatalogTx) AddMessages(guid mailbox.GUID, msgs []CatalogMessage) error {
	b, err := t.box(guid)
	if err != nil || len(msgs) == 0 {
		return err
	}
	if uint64(b.h.next)+uint64(len(msgs)) > math.MaxUint32 {
		return fmt.Errorf("index: mailbox %s: %w: no UIDs are left", guid, mailbox.ErrLimit)
	}
	b.h.highest = nextModSeq(b.h.highest, t.now())
	for i := range msgs {
		m := &msgs[i]
		m.UID, m.ModSeq = b.h.next, b.h.highest
		b.h.next++
		if err := b.add(*m); err != nil {
			return err
		}
	}
	return b.save()
}

// PutMessage adds a message under the UID and the modseq that it has, which nothing else has
// had; it is for rebuilding.
func (t *CatalogTx) PutMessage(guid mailbox.GUID, m CatalogMessage) error {
	b, err := t.box(guid)
	if err != nil {
		return err
	}
	b.h.next, b.h.highest = max(b.h.next, m.UID+1), max(b.h.highest, m.ModSeq)
	if err := b.add(m); err != nil {
		return err
	}
	return b.save()
}

func (b *box) add(m CatalogMessage) error {
	msgs, err := b.messages()
	if err != nil {
		return err
	}
	r, err := b.t.refer(m.MapUID, 1)
	if err != nil {
		return err
	}
	b.boxState.messages++
	b.bytes += m.counted(r.Stored)
	return msgs.Put(uidKey(m.UID), m.encode())
}

// change is what LateChange says of a message.
func (b *box) change(r Record) error {
	msgs, err := b.messages()
	if err != nil {
		return err
	}
	m, err := b.get(msgs, r.UID)
	if errors.Is(err, mailbox.ErrNotFound) {
		return nil // expunged meanwhile
	}
	if err != nil {
		return err
	}
	if m.Physical != r.Physical || m.Virtual != r.Virtual {
		place, err := b.t.mapOf(m.MapUID)
		if err != nil {
			return err
		}
		b.bytes -= m.counted(place.Stored)
		m.Physical, m.Virtual = r.Physical, r.Virtual
		b.bytes += m.counted(place.Stored)
		if err := b.t.setSizes(m.MapUID, m.Physical, m.Virtual); err != nil {
			return err
		}
	}
	m.ModSeq, m.Flags = r.ModSeq, r.Flags
	return msgs.Put(uidKey(m.UID), m.encode())
}

// Expunge removes those of the messages that are there, and returns which they were, sorted,
// and the modseq of that, 0 where there were none.
func (t *CatalogTx) Expunge(guid mailbox.GUID, uids []mailbox.UID) (gone []mailbox.UID, modseq mailbox.ModSeq, err error) {
	b, err := t.box(guid)
	if err != nil {
		return nil, 0, err
	}
	msgs, err := b.messages()
	if err != nil {
		return nil, 0, err
	}
	for _, uid := range slices.Compact(slices.Sorted(slices.Values(uids))) {
		m, err := b.get(msgs, uid)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		r, err := t.refer(m.MapUID, -1)
		if err != nil {
			return nil, 0, err
		}
		if err := msgs.Delete(uidKey(uid)); err != nil {
			return nil, 0, err
		}
		// A sum that has gone wrong is put right by a rebuild, and none goes below nothing.
		b.boxState.messages--
		b.bytes = max(0, b.bytes-m.counted(r.Stored))
		gone = append(gone, uid)
	}
	if len(gone) == 0 {
		return nil, 0, nil
	}
	b.h.highest = nextModSeq(b.h.highest, t.now())
	if err := (&pending{events: []event{newEvent(b.h.highest, gone)}}).writeLog(b.b, b.h.highest); err != nil {
		return nil, 0, err
	}
	return gone, b.h.highest, b.save()
}
