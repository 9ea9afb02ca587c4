package index

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// reserveAhead is how far beyond the last modseq the bound is put: a minute of
// microseconds, so that a busy mailbox syncs for it once a minute.
const reserveAhead = 60_000_000

// A Record is what is kept of one message.
type Record struct {
	UID      mailbox.UID
	ModSeq   mailbox.ModSeq
	Flags    mailbox.Flags // as of ModSeq, without Recent
	Physical int64         // found by reading; mailbox.Unknown where it was not
	Virtual  int64
	Saved    time.Time // zero where unknown
}

// A State is what was recorded of a mailbox, empty where it is new.
type State struct {
	UIDValidity uint32 // 0: nothing is recorded
	// UIDNext is above every UID that was recorded. A lower UID without a record had
	// been expunged.
	UIDNext       mailbox.UID
	HighestModSeq mailbox.ModSeq // above or equal to everything that was announced
	Records       []Record       // by UID
}

// A Mailbox writes the index of one mailbox. One goroutine at a time.
type Mailbox struct {
	db   *DB
	guid mailbox.GUID
	h    header
	used bool // a bound has been reserved
}

// Mailbox loads what is recorded of a mailbox. There must be one Mailbox of a GUID at a
// time. The caller closes it.
func (d *DB) Mailbox(guid mailbox.GUID) (*Mailbox, State) {
	m := &Mailbox{db: d, guid: guid}
	var s State
	d.mu.Lock()
	outstanding := d.dirty[guid] != nil
	d.mu.Unlock()
	if outstanding && d.Flush() != nil {
		// What is on disk is older than what this process has announced.
		return m, s
	}
	ok := d.view(func(tx *bolt.Tx) (err error) {
		box := tx.Bucket(boxBucket).Bucket(guid[:])
		if box == nil {
			return nil
		}
		if m.h, err = decodeHeader(box.Get(headerKey)); err != nil {
			return err
		}
		msgs := box.Bucket(messagesKey)
		if msgs == nil {
			return nil
		}
		return msgs.ForEach(func(k, v []byte) error {
			r, err := decodeRecord(k, v)
			s.Records = append(s.Records, r)
			return err
		})
	})
	if !ok {
		m.h = header{}
		return m, State{}
	}
	if !m.h.clean {
		m.h.highest = max(m.h.highest, m.h.reserved)
	}
	s.UIDValidity, s.UIDNext, s.HighestModSeq = m.h.validity, m.h.next, m.h.highest
	return m, s
}

// Reserve writes a new bound if the next NextModSeq would have to.
func (m *Mailbox) Reserve() {
	next := max(m.h.highest+1, mailbox.ModSeq(max(0, time.Now().UnixMicro())))
	if m.used && next+1_000_000 <= m.h.reserved {
		return
	}
	m.used = true
	m.h.reserved = next + reserveAhead
	m.h.clean = false
	m.db.put(m.guid, &pending{header: m.headerCopy()})
	// If the bound cannot be written the clock alone guards the order.
	_ = m.db.Flush()
}

// NextModSeq returns a modseq above all that were ever announced.
func (m *Mailbox) NextModSeq() mailbox.ModSeq {
	next := max(m.h.highest+1, mailbox.ModSeq(max(0, time.Now().UnixMicro())))
	if !m.used || next > m.h.reserved {
		m.Reserve()
	}
	m.h.highest = next
	return next
}

// Put records changed and expunged messages, and the UIDNEXT and UIDVALIDITY that go
// with them. They are written a little later.
func (m *Mailbox) Put(validity uint32, next mailbox.UID, changed []Record, gone []mailbox.UID) {
	p := &pending{msgs: make(map[mailbox.UID]*Record, len(changed)+len(gone))}
	if m.h.validity != validity {
		p.reset = true
		m.h.next = 0
	}
	m.h.validity, m.h.next = validity, max(m.h.next, next)
	for i := range changed {
		p.msgs[changed[i].UID] = &changed[i]
	}
	for _, uid := range gone {
		p.msgs[uid] = nil
	}
	p.header = m.headerCopy()
	m.db.put(m.guid, p)
}

// Close notes that the sequence ended in good order.
func (m *Mailbox) Close() {
	if m.used {
		m.h.clean = true
		m.db.put(m.guid, &pending{header: m.headerCopy()})
	}
}

func (m *Mailbox) headerCopy() *header {
	h := m.h
	return &h
}

// DropMailbox forgets a deleted mailbox.
func (d *DB) DropMailbox(guid mailbox.GUID) { d.put(guid, &pending{drop: true}) }

func (d *DB) put(guid mailbox.GUID, p *pending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.dirty[guid]; old != nil {
		p = old.then(p)
	}
	d.dirty[guid] = p
	d.schedule()
}
