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
	reset  bool                    // drop all records first
	drop   bool                    // drop the whole mailbox; nothing else is set
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
	if p.reset && box.Bucket(messagesKey) != nil {
		if err := box.DeleteBucket(messagesKey); err != nil {
			return err
		}
	}
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
	if p.header != nil {
		return box.Put(headerKey, p.header.encode())
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
	err := guard(func() error { return db.Update(fn) })
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
