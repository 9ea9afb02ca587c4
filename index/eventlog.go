package index

import (
	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// An eventLog is the log of expunges of one mailbox in a write transaction.
type eventLog struct {
	box    *bolt.Bucket
	events *bolt.Bucket
	// highest is the mailbox's highest modseq.
	highest mailbox.ModSeq
	logState
}

// writeLog adds to the log of a mailbox. highest is the mailbox's highest modseq, with what
// is written now.
func (p *pending) writeLog(box *bolt.Bucket, highest mailbox.ModSeq) error {
	if p.floor == 0 && len(p.events) == 0 && !p.restart {
		return nil
	}
	v := box.Get(logKey)
	s, ok := decodeLogState(v)
	l := eventLog{box: box, highest: max(highest, 1), logState: s}
	if p.restart || !ok && (v != nil || p.floor == 0) {
		if err := l.restart(); err != nil {
			return err
		}
	}
	var err error
	if l.events, err = box.CreateBucketIfNotExists(eventsKey); err != nil {
		return err
	}
	l.events.FillPercent = 0.9      // always appended
	l.floor = max(l.floor, p.floor) // compacting drops what is below
	for _, e := range p.events {
		if err := l.append(e); err != nil {
			return err
		}
	}
	if l.logState.events > maxEvents || l.bytes > maxEventBytes {
		if err := l.compact(); err != nil {
			return err
		}
	}
	return box.Put(logKey, l.encode())
}

// restart empties the log: it knows nothing of what was expunged up to now.
func (l *eventLog) restart() error {
	l.logState = logState{floor: l.highest}
	return l.drop()
}

func (l *eventLog) drop() error {
	if l.box.Bucket(eventsKey) == nil {
		return nil
	}
	return l.box.DeleteBucket(eventsKey)
}

func (l *eventLog) append(e event) error {
	if e.modseq <= l.floor {
		return nil
	}
	key, value := e.encode()
	if len(value) > maxEventBytes || e.count() > maxExpunged {
		l.floor = e.modseq // who has not seen it compares all
		return nil
	}
	if l.events.Get(key) == nil {
		l.add(len(key) + len(value))
	}
	return l.events.Put(key, value)
}

// compact makes room: the older half of the events is merged in fours, and the oldest are
// dropped while the log is above three quarters of what it may have.
func (l *eventLog) compact() error {
	var all []event
	c := l.events.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		e, err := decodeEvent(k, v)
		if err != nil {
			// The key may be what is damaged, so nothing tells which events are whole.
			if err := l.restart(); err != nil {
				return err
			}
			l.events, err = l.box.CreateBucket(eventsKey)
			return err
		}
		if e.modseq > l.floor {
			all = append(all, e)
		}
	}
	old := all[:len(all)/2]
	merged := make([]event, 0, len(all))
	for len(old) > 0 {
		n := min(4, len(old))
		e := old[0]
		for _, f := range old[1:n] {
			e = e.with(f)
		}
		merged, old = append(merged, e), old[n:]
	}
	return l.rewrite(append(merged, all[len(all)/2:]...))
}

// rewrite replaces the events, but for the oldest that are too many.
func (l *eventLog) rewrite(all []event) error {
	keys, values := make([][]byte, len(all)), make([][]byte, len(all))
	first, total := len(all), 0
	for i := len(all) - 1; i >= 0; i-- {
		keys[i], values[i] = all[i].encode()
		total += len(keys[i]) + len(values[i])
		if total > maxEventBytes*3/4 || len(all)-i > maxEvents*3/4 {
			break
		}
		first = i
	}
	if first > 0 {
		l.floor = all[first-1].modseq
	}
	if err := l.drop(); err != nil {
		return err
	}
	var err error
	if l.events, err = l.box.CreateBucket(eventsKey); err != nil {
		return err
	}
	l.events.FillPercent = 0.9
	l.logState = logState{floor: l.floor}
	for i := first; i < len(all); i++ {
		if err := l.events.Put(keys[i], values[i]); err != nil {
			return err
		}
		l.add(len(keys[i]) + len(values[i]))
	}
	return nil
}
