package index

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// A Record is what is kept of one message.
type Record struct {
	UID      mailbox.UID
	ModSeq   mailbox.ModSeq
	Flags    mailbox.Flags // as of ModSeq; Recent where the store itself cannot tell
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
	HighestModSeq mailbox.ModSeq // above or equal to everything that was told
	Records       []Record       // by UID
}

// A Mailbox writes the index of one mailbox. One goroutine at a time, but for Sync and
// Expunged.
type Mailbox struct {
	db   *DB
	guid mailbox.GUID
	h    header
	last mailbox.ModSeq // the highest that was put or loaded
	// unlogged says that the log of expunges has to be begun, above floor, which is
	// nothing yet where that is 0.
	unlogged bool
	floor    mailbox.ModSeq
	closed   bool // under DB.mu
}

// ErrClosed reports the use of a Mailbox after Close.
var ErrClosed = errors.New("index: mailbox is closed")

// Mailbox loads what is recorded of a mailbox, and what is about to be. Of several Mailboxes
// of one GUID the last counts: what an earlier one puts is not taken any more. The caller
// closes it.
func (d *DB) Mailbox(guid mailbox.GUID) (*Mailbox, State) {
	m := &Mailbox{db: d, guid: guid, unlogged: true}
	d.writing.Lock() // so that nothing is under way from memory to disk
	defer d.writing.Unlock()
	var s State
	ok := d.view(func(tx *bolt.Tx) (err error) { return m.read(tx, &s) })
	if !ok {
		m.h, s = header{}, State{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owners[guid] = m
	if p := d.dirty[guid]; p != nil && d.bolt != nil {
		m.overlay(p, &s)
	}
	m.floor, m.last = m.h.highest, m.h.highest
	s.UIDValidity, s.UIDNext, s.HighestModSeq = m.h.validity, m.h.next, m.h.highest
	return m, s
}

func (m *Mailbox) read(tx *bolt.Tx, s *State) (err error) {
	box := tx.Bucket(boxBucket).Bucket(m.guid[:])
	if box == nil {
		return nil
	}
	if m.h, err = decodeHeader(box.Get(headerKey)); err != nil {
		return err
	}
	m.unlogged = box.Get(logKey) == nil
	msgs := box.Bucket(messagesKey)
	if msgs == nil {
		return nil
	}
	return msgs.ForEach(func(k, v []byte) error {
		r, err := decodeRecord(k, v)
		s.Records = append(s.Records, r)
		return err
	})
}

// overlay adds what is not written yet.
func (m *Mailbox) overlay(p *pending, s *State) {
	if p.drop || p.reset {
		m.h, m.unlogged, s.Records = header{}, true, nil
	}
	if p.header != nil {
		m.h = *p.header
	}
	m.unlogged = m.unlogged && p.floor == 0
	if len(p.msgs) == 0 {
		return
	}
	s.Records = slices.DeleteFunc(s.Records, func(r Record) bool {
		_, newer := p.msgs[r.UID]
		return newer
	})
	for _, r := range p.msgs {
		if r != nil {
			s.Records = append(s.Records, *r)
		}
	}
	slices.SortFunc(s.Records, func(a, b Record) int { return cmp.Compare(a.UID, b.UID) })
}

// AtLeast puts all further modseqs above one that may have been told by an index that is
// lost.
func (m *Mailbox) AtLeast(told mailbox.ModSeq) { m.h.highest = min(max(m.h.highest, told), maxModSeq) }

// NextModSeq returns a modseq above all others.
func (m *Mailbox) NextModSeq() mailbox.ModSeq {
	m.h.highest = nextModSeq(m.h.highest, m.db.now())
	return m.h.highest
}

// nextModSeq is the modseq after another one at a time.
func nextModSeq(last mailbox.ModSeq, now time.Time) mailbox.ModSeq {
	return max(last+1, mailbox.ModSeq(max(0, now.UnixMicro())))
}

// Put records changed messages, those that were expunged under the last NextModSeq, and the
// UIDNEXT and UIDVALIDITY that go with them. They are written a little later; Sync waits for
// that. Where nothing is new, nothing is written.
func (m *Mailbox) Put(validity uint32, next mailbox.UID, changed []Record, gone []mailbox.UID) {
	if len(changed)+len(gone) == 0 && !m.unlogged && m.last == m.h.highest && m.h.validity == validity && next <= m.h.next {
		return
	}
	p := &pending{msgs: make(map[mailbox.UID]*Record, len(changed)+len(gone))}
	if m.h.validity != validity {
		p.reset = true
		m.h.next, m.unlogged, m.floor = 0, true, 0
	}
	m.h.validity, m.h.next = validity, max(m.h.next, next)
	for i := range changed {
		p.msgs[changed[i].UID] = &changed[i]
	}
	for _, uid := range gone {
		p.msgs[uid] = nil
	}
	if m.unlogged {
		p.floor = m.floor
		if p.floor == 0 {
			p.floor = max(m.h.highest, 1)
		}
		m.unlogged = false
	}
	if len(gone) > 0 {
		p.events = []event{newEvent(m.h.highest, gone)}
	}
	h := m.h
	p.header, m.last = &h, h.highest
	m.db.put(m, p)
}

// Forget says that UIDs may have been expunged of which nothing is known: Expunged is not
// complete for what lies before the last NextModSeq. The next Put records it.
func (m *Mailbox) Forget() { m.unlogged, m.floor = true, m.h.highest }

// Sync waits until everything that was put is on disk. It costs nothing where that is so,
// and calls at the same time share one write. The error wraps mailbox.ErrNoModSeqs where
// the index is not kept in a file or the GUID has become that of another Mailbox, and ErrClosed
// after Close, be it while Sync waits.
func (m *Mailbox) Sync() error {
	d := m.db
	if done, err := d.synced(m); done {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	if done, err := d.synced(m); done { // by who held it
		return err
	}
	if err := d.flush(); err != nil {
		return err
	}
	_, err := d.synced(m)
	return err
}

// synced reports whether nothing is outstanding of a mailbox.
func (d *DB) synced(m *Mailbox) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.closed {
		return true, fmt.Errorf("index: syncing: %w", ErrClosed)
	}
	if d.bolt == nil || d.owners[m.guid] != m {
		return true, fmt.Errorf("index: %w", mailbox.ErrNoModSeqs)
	}
	return d.dirty[m.guid] == nil && d.flight[m.guid] == nil, nil
}

// Close ends the use of m; what was put is written all the same.
func (m *Mailbox) Close() {
	m.db.mu.Lock()
	defer m.db.mu.Unlock()
	m.closed = true
	if m.db.owners[m.guid] == m {
		delete(m.db.owners, m.guid)
	}
}

// DropMailbox forgets a deleted mailbox.
func (d *DB) DropMailbox(guid mailbox.GUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(guid, &pending{drop: true})
}

// put takes a change from the one who has the mailbox.
func (d *DB) put(m *Mailbox, p *pending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[m.guid] == m {
		d.add(m.guid, p)
	}
}

// add joins a change to those that are outstanding. d.mu is held.
func (d *DB) add(guid mailbox.GUID, p *pending) {
	if old := d.dirty[guid]; old != nil {
		p = old.then(p)
	}
	d.dirty[guid] = p
	d.schedule()
}
