package index

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// The log of expunges keeps at most this much of one mailbox; what is older is merged,
// then dropped.
const (
	maxEvents     = 10_000
	maxEventBytes = 256 << 10
	// maxExpunged bounds the UIDs of one answer and of one event: beyond it a client is
	// better told what is left.
	maxExpunged = 1 << 20
)

// A uidRange is all UIDs from first to last.
type uidRange struct{ first, last mailbox.UID }

// An event is what was expunged under one modseq.
type event struct {
	modseq mailbox.ModSeq
	uids   []uidRange // ascending, with gaps between
}

// newEvent makes an event of UIDs in any order.
func newEvent(modseq mailbox.ModSeq, uids []mailbox.UID) event {
	// Not last+1 below: it wraps at the highest UID.
	e := event{modseq: modseq}
	for _, uid := range slices.Sorted(slices.Values(uids)) {
		if n := len(e.uids); n > 0 && uid-1 <= e.uids[n-1].last {
			e.uids[n-1].last = max(uid, e.uids[n-1].last)
			continue
		}
		e.uids = append(e.uids, uidRange{uid, uid})
	}
	return e
}

// with returns an event of the UIDs of both under the later modseq.
func (e event) with(f event) event {
	all := slices.Concat(e.uids, f.uids)
	slices.SortFunc(all, func(a, b uidRange) int { return cmp.Compare(a.first, b.first) })
	out := event{modseq: max(e.modseq, f.modseq), uids: all[:0]}
	for _, r := range all {
		if n := len(out.uids); n > 0 && r.first-1 <= out.uids[n-1].last {
			out.uids[n-1].last = max(r.last, out.uids[n-1].last)
			continue
		}
		out.uids = append(out.uids, r)
	}
	return out
}

// count is how many UIDs the event has.
func (e event) count() (n uint64) {
	for _, r := range e.uids {
		n += uint64(r.last-r.first) + 1
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the key and the value of an event.
func (e event) encode() (key, value []byte) {
	key = modseqKey(e.modseq)
	value = make([]byte, 4, 4+2*len(e.uids)+8)
	var last mailbox.UID
	for _, r := range e.uids {
		value = binary.AppendUvarint(value, uint64(r.first-last))
		value = binary.AppendUvarint(value, uint64(r.last-r.first))
		last = r.last
	}
	binary.BigEndian.PutUint32(value, eventSum(key, value[4:]))
	return key, value
}

func modseqKey(m mailbox.ModSeq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(m)) }

// eventSum is the checksum of an event: a UID that a fault has made up would have a client
// drop a message that is there.
func eventSum(key, ranges []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, ranges)
}

// decodeEvent is the inverse of encode, and takes no other bytes.
func decodeEvent(key, value []byte) (event, error) {
	if len(key) != 8 || len(value) < 4 || binary.BigEndian.Uint32(value) != eventSum(key, value[4:]) {
		return event{}, fmt.Errorf("%w: expunge", errRecord)
	}
	e := event{modseq: mailbox.ModSeq(binary.BigEndian.Uint64(key))}
	d := decoder{b: value[4:]}
	e.uids = make([]uidRange, 0, len(d.b)/2)
	var last uint64
	for len(d.b) > 0 {
		least := uint64(2)
		if len(e.uids) == 0 {
			least = 1
		}
		gap := d.shortUvarint(math.MaxUint32)
		more := d.shortUvarint(math.MaxUint32)
		first := last + gap
		if last = first + more; gap < least || last > math.MaxUint32 {
			d.bad = true
		}
		if d.bad {
			break
		}
		e.uids = append(e.uids, uidRange{mailbox.UID(first), mailbox.UID(last)})
	}
	if d.bad || len(e.uids) == 0 || e.modseq == 0 || e.modseq > math.MaxInt64 {
		return event{}, fmt.Errorf("%w: expunge", errRecord)
	}
	return e, nil
}

// logState is the "l" entry of a mailbox.
type logState struct {
	floor  mailbox.ModSeq // all that was expunged above it is in the log
	events uint32
	bytes  uint32
}

const logStateLen = 8 + 4 + 4

func (s logState) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, logStateLen), uint64(s.floor))
	b = binary.BigEndian.AppendUint32(b, s.events)
	return binary.BigEndian.AppendUint32(b, s.bytes)
}

func decodeLogState(b []byte) (s logState, ok bool) {
	if len(b) != logStateLen {
		return s, false
	}
	s = logState{mailbox.ModSeq(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}
	return s, s.floor != 0 && s.floor <= math.MaxInt64
}

func (s *logState) add(size int) { s.events, s.bytes = s.events+1, s.bytes+uint32(size) }

// Expunged returns the UIDs, sorted, of what was expunged above a modseq. complete is false
// where the log does not reach back so far.
func (m *Mailbox) Expunged(since mailbox.ModSeq) (uids []mailbox.UID, complete bool) {
	d := m.db
	// What is outstanding first: it may be written while we look, but not the other way.
	d.mu.Lock()
	flight, dirty := d.flight[m.guid].log(), d.dirty[m.guid].log()
	d.mu.Unlock()
	var found event
	var floor mailbox.ModSeq
	take := func(e event) {
		if e.modseq > since {
			found.uids = append(found.uids, e.uids...)
		}
	}
	if !flight.reset && !dirty.reset {
		var bad error
		ok := d.view(func(tx *bolt.Tx) error {
			floor, bad = readLog(tx, m.guid, since, take)
			return nil
		})
		if !ok || bad != nil {
			if bad != nil {
				m.mistrust(bad)
			}
			return nil, false
		}
	}
	for _, p := range []outstanding{flight, dirty} {
		if p.reset {
			floor, found.uids = 0, nil
		}
		floor = max(floor, p.floor)
		for _, e := range p.events {
			take(e)
		}
	}
	if floor == 0 || since < floor {
		return nil, false
	}
	return found.expand()
}

// expand lists the UIDs of ranges in any order; ok is false where there are too many.
func (e event) expand() (uids []mailbox.UID, ok bool) {
	e = e.with(event{})
	if e.count() > maxExpunged {
		return nil, false
	}
	for _, r := range e.uids {
		for uid := uint64(r.first); uid <= uint64(r.last); uid++ {
			uids = append(uids, mailbox.UID(uid))
		}
	}
	return uids, true
}

// readLog reads the events above a modseq, if the log reaches back so far. An error is about
// what is recorded, not about the database.
func readLog(tx *bolt.Tx, guid mailbox.GUID, since mailbox.ModSeq, take func(event)) (floor mailbox.ModSeq, err error) {
	box := tx.Bucket(boxBucket).Bucket(guid[:])
	if box == nil {
		return 0, nil
	}
	v := box.Get(logKey)
	if v == nil {
		return 0, nil
	}
	s, ok := decodeLogState(v)
	if !ok {
		return 0, fmt.Errorf("%w: log of expunges", errRecord)
	}
	events := box.Bucket(eventsKey)
	if events == nil || since < s.floor {
		return s.floor, nil
	}
	c := events.Cursor()
	for k, v := c.Seek(modseqKey(since + 1)); k != nil; k, v = c.Next() {
		e, err := decodeEvent(k, v)
		if err != nil {
			return 0, err
		}
		take(e)
	}
	return s.floor, nil
}

// mistrust starts the log anew: of what it has said nothing is believed.
func (m *Mailbox) mistrust(reason error) {
	m.db.log.Warn("index: log of expunges is damaged, starting it anew", "path", m.db.path, "mailbox", m.guid, "error", reason)
	m.db.put(m, &pending{restart: true})
}
