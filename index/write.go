package index

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// maxWait bounds the pause between attempts to write while they fail.
const maxWait = 30 * time.Second

// pending is what is to be written for one mailbox.
type pending struct {
	header *header
	msgs   map[mailbox.UID]*Record // nil values are to be deleted
	reset  bool                    // drop all records and the log first
	drop   bool                    // drop the whole mailbox; nothing else is set

	events  []event        // expunged, by modseq
	floor   mailbox.ModSeq // unless 0, of what was expunged up to it nothing is known
	restart bool           // drop the log first
}

// outstanding is what a pending has for the log of expunges.
type outstanding struct {
	events []event
	floor  mailbox.ModSeq
	reset  bool // nothing older counts
}

func (p *pending) log() outstanding {
	if p == nil {
		return outstanding{}
	}
	return outstanding{p.events, p.floor, p.reset || p.drop}
}

// schedule arranges for a flush. d.mu is held.
func (d *DB) schedule() {
	if d.bolt == nil || d.closed {
		if d.bolt == nil {
			d.forget()
		}
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(d.wait, func() { _ = d.Flush() })
	}
}

// forget drops what nobody will write: in memory, the mailboxes' owners hold the state.
// Identities stay, for they are few and serve as long as the process lives.
func (d *DB) forget() { clear(d.dirty) }

// Flush writes what is outstanding. On an error it is kept and tried again later.
func (d *DB) Flush() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.flush()
}

// flush is Flush for who holds d.writing.
func (d *DB) flush() error {
	d.mu.Lock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	db, dirty, names := d.bolt, d.dirty, d.names
	if db == nil || len(dirty) == 0 && len(names) == 0 {
		d.mu.Unlock()
		return nil
	}
	d.dirty, d.names = map[mailbox.GUID]*pending{}, map[string]*Identity{}
	d.flight = dirty
	d.mu.Unlock()

	err := d.update(db, func(tx *bolt.Tx) error {
		for name, id := range names {
			if err := putName(tx.Bucket(nameBucket), name, id); err != nil {
				return err
			}
		}
		for guid, p := range dirty {
			if err := p.write(tx.Bucket(boxBucket), guid); err != nil {
				return err
			}
		}
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flight = nil
	if err == nil {
		d.wait = d.delay
		return nil
	}
	for name, id := range names {
		if _, newer := d.names[name]; !newer {
			d.names[name] = id
		}
	}
	for guid, p := range dirty {
		d.dirty[guid] = p.then(d.dirty[guid])
	}
	d.wait = min(2*d.wait, maxWait)
	d.schedule()
	return fmt.Errorf("index: writing: %w", err)
}

// then returns p followed by a later change of the same mailbox.
func (p *pending) then(q *pending) *pending {
	if q == nil {
		return p
	}
	if q.drop || q.reset {
		return q
	}
	if p.drop {
		p = &pending{reset: true}
	}
	if p.msgs == nil {
		p.msgs = map[mailbox.UID]*Record{}
	}
	for uid, r := range q.msgs {
		p.msgs[uid] = r
	}
	if q.header != nil {
		p.header = q.header
	}
	p.restart = p.restart || q.restart
	p.floor = max(p.floor, q.floor)
	p.events = append(p.events, q.events...)
	if n := len(p.events) - maxEvents; n > 0 { // nothing could be written for long
		p.floor = max(p.floor, p.events[n+maxEvents/2-1].modseq)
		p.events = p.events[n+maxEvents/2:]
	}
	return p
}

func putName(b *bolt.Bucket, name string, id *Identity) error {
	if id == nil {
		return b.Delete([]byte(name))
	}
	return b.Put([]byte(name), encodeIdentity(*id))
}

func (p *pending) write(boxes *bolt.Bucket, guid mailbox.GUID) error {
	if p.drop {
		if boxes.Bucket(guid[:]) == nil {
			return nil
		}
		return boxes.DeleteBucket(guid[:])
	}
	box, err := boxes.CreateBucketIfNotExists(guid[:])
	if err != nil {
		return err
	}
	h, err := decodeHeader(box.Get(headerKey))
	if err != nil {
		return err
	}
	if p.header != nil {
		h = *p.header
	}
	if p.reset {
		if err := empty(box); err != nil {
			return err
		}
	}
	if err := p.writeRecords(box); err != nil {
		return err
	}
	if err := p.writeLog(box, h.highest); err != nil {
		return err
	}
	return box.Put(headerKey, h.encode())
}

// empty takes everything from a mailbox but its header.
func empty(box *bolt.Bucket) error {
	for _, key := range [][]byte{messagesKey, eventsKey} {
		if box.Bucket(key) == nil {
			continue
		}
		if err := box.DeleteBucket(key); err != nil {
			return err
		}
	}
	return box.Delete(logKey)
}

func (p *pending) writeRecords(box *bolt.Bucket) error {
	msgs, err := box.CreateBucketIfNotExists(messagesKey)
	if err != nil {
		return err
	}
	msgs.FillPercent = 0.9 // mostly appended
	// In order: bbolt moves all that follows for each key in the middle.
	for _, uid := range slices.Sorted(maps.Keys(p.msgs)) {
		r, key := p.msgs[uid], uidKey(uid)
		if r == nil {
			err = msgs.Delete(key)
		} else {
			err = msgs.Put(key, r.encode())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// view runs a read transaction and reports whether it went well.
func (d *DB) view(fn func(*bolt.Tx) error) bool {
	d.mu.Lock()
	db := d.bolt
	d.mu.Unlock()
	if db == nil {
		return false
	}
	err := guard(func() error { return db.View(fn) })
	if err != nil {
		d.fail(db, err)
	}
	return err == nil
}

// update runs a write transaction. d.writing is held.
func (d *DB) update(db *bolt.DB, fn func(*bolt.Tx) error) error {
	err := d.run(func() error { return guard(func() error { return db.Update(fn) }) })
	var f *faultError
	switch {
	case errors.As(err, &f):
		d.fail(db, err)
	case err != nil:
		d.log.Warn("index: writing", "path", d.path, "error", err)
	}
	return err
}

// fail gives a database up: what it holds cannot be trusted.
func (d *DB) fail(db *bolt.DB, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bolt != db || d.closed {
		return
	}
	d.log.Error("index: damaged, going on in memory", "path", d.path, "error", err)
	d.bolt = nil
	d.forget()
	setAside(d.path, d.log)
	abandon(db)
}

// setAside renames a damaged index, over the last one that was set aside.
func setAside(path string, log *slog.Logger) {
	if err := os.Rename(path, path+".bad"); err != nil {
		log.Warn("index: moving aside", "path", path, "error", err)
	}
}

// abandon closes a database that may hold locks for ever, so it does not wait for it.
func abandon(db *bolt.DB) { go func() { _ = guard(db.Close) }() }

// A faultError is a panic or memory fault of a transaction.
type faultError struct{ reason any }

func (e *faultError) Error() string { return fmt.Sprintf("index: fault: %v", e.reason) }

// guard turns panics and memory faults of fn into a *faultError.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = &faultError{r}
		}
	}()
	return fn()
}
