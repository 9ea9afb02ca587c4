package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// update is a change that somebody waits for.
type update struct {
	fn   func(*CatalogTx) error
	done bool
	err  error
}

// A LateChange is what may be written a little later: flags and sizes of messages, and what
// of a mailbox goes with them. Zero values change nothing.
type LateChange struct {
	HighestModSeq mailbox.ModSeq
	FirstRecent   mailbox.UID
	// Messages are some that the mailbox has, with their new modseqs, flags (Recent does not
	// count) and sizes. One that is expunged before it is written is passed over.
	Messages []*mailbox.Message
}

// late is what is outstanding of one mailbox.
type late struct {
	highest  mailbox.ModSeq
	recent   mailbox.UID
	messages lateMessages
	restart  bool // drop the log of expunges: it is damaged
}

// then returns l followed by a later change.
func (l *late) then(q *late) *late {
	if q == nil {
		return l
	}
	l.highest, l.recent = max(l.highest, q.highest), max(l.recent, q.recent)
	l.restart = l.restart || q.restart
	l.messages.then(q.messages)
	return l
}

// Later takes changes that nobody waits for. They are seen by the next Load, and by View and
// Update after they were written. What was put for a mailbox that is deleted is dropped. An error
// says that the catalog cannot be written any more. The Messages may not be changed any more.
func (c *Catalog) Later(guid mailbox.GUID, change LateChange) error {
	if err := c.usable(); err != nil {
		return err
	}
	c.later(guid, &late{highest: change.HighestModSeq, recent: change.FirstRecent, messages: newLateMessages(change.Messages)})
	return nil
}

// NextModSeq returns a modseq above another one, for a LateChange.
func (c *Catalog) NextModSeq(last mailbox.ModSeq) mailbox.ModSeq { return nextModSeq(last, c.o.Now()) }

func (c *Catalog) later(guid mailbox.GUID, l *late) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.o.ReadOnly {
		return
	}
	if old := c.dirty[guid]; old != nil {
		l = old.then(l)
	}
	c.dirty[guid] = l
	c.schedule()
}

// schedule arranges for a write. c.mu is held.
func (c *Catalog) schedule() {
	if c.timer == nil && !c.closed && c.broken == nil {
		c.timer = time.AfterFunc(c.wait, func() {
			c.mu.Lock()
			c.timer = nil
			c.mu.Unlock()
			if err := c.Sync(context.Background()); err != nil {
				c.o.Logger.Warn("index: writing the catalog; trying again", "path", c.path, "error", err)
			}
		})
	}
}

// Sync waits until everything that Later has taken is durable. It costs nothing where that
// is so, and calls at the same time share one write.
func (c *Catalog) Sync(ctx context.Context) error {
	if clean, err := c.clean(); clean || err != nil {
		return err
	}
	return c.Update(ctx, nil)
}

// clean reports whether nothing is outstanding.
func (c *Catalog) clean() (bool, error) {
	// Whoever writes has taken it off dirty, so that the lock tells when it is done.
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.dirty) == 0, c.broken
}

// Update runs fn in a transaction, after everything that Later has taken, and returns when
// that is durable. After an error nothing of fn's is in the catalog, unless the error
// is about the catalog as a whole, when it wraps ErrCatalogUnknown. fn may run more than
// once. An error of fn's is returned as it is.
func (c *Catalog) Update(ctx context.Context, fn func(*CatalogTx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("index: writing the catalog: %w", err)
	}
	u := &update{fn: fn}
	c.mu.Lock()
	c.queue = append(c.queue, u)
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	if u.done {
		return u.err
	}
	c.mu.Lock()
	work, dirty := c.queue, c.dirty
	c.queue, c.dirty = nil, map[mailbox.GUID]*late{}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.mu.Unlock()
	err := c.write(work, dirty)
	for _, u := range work {
		u.done = true
		if u.err == nil {
			u.err = err
		}
	}
	return u.err
}

// write runs what is waiting as one transaction, again without those that fail. c.writing is
// held. The error is that of all.
func (c *Catalog) write(work []*update, dirty map[mailbox.GUID]*late) (err error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.wait = c.o.Delay
			c.room.reserve()
			return
		}
		for guid, l := range dirty {
			c.dirty[guid] = l.then(c.dirty[guid])
		}
		c.wait = min(2*c.wait, maxWait)
		if len(c.dirty) > 0 {
			c.schedule()
		}
	}()
	for {
		if err := c.usable(); err != nil {
			return err
		}
		var failed *update
		err := c.commit(func(t *CatalogTx) error {
			if err := t.applyLate(dirty); err != nil {
				return err
			}
			for _, u := range work {
				if u.err != nil || u.fn == nil {
					continue
				}
				if err := u.fn(t); err != nil {
					failed = u
					return err
				}
			}
			return nil
		})
		if failed == nil {
			return err
		}
		failed.err = err
	}
}

// ErrCatalogUnknown reports a catalog of which is not known what is on the disk, because
// the last sync failed: it must be opened again.
var ErrCatalogUnknown = errors.New("index: the catalog of the mdbox store could not be synced and must be opened again")

// commit runs one transaction. The error is as Update's.
func (c *Catalog) commit(fn func(*CatalogTx) error) error {
	var count uint64
	inside := true
	err := c.o.Write(func() error {
		return guard(func() error {
			return c.bolt.Update(func(tx *bolt.Tx) (err error) {
				t := &CatalogTx{tx: tx, now: c.o.Now}
				if err := fn(t); err != nil {
					return err
				}
				count, err = t.countCommit()
				inside = err != nil
				return err
			})
		})
	})
	if err == nil || inside {
		return c.judge(err)
	}
	// Written, but was it? What readers see of it may not be durable.
	seen := uint64(0)
	verr := guard(func() error {
		return c.bolt.View(func(tx *bolt.Tx) error {
			seen = (&CatalogTx{tx: tx}).number64(commitsKey)
			return nil
		})
	})
	if verr == nil && seen != count {
		return c.judge(fmt.Errorf("index: writing the catalog: %w", err))
	}
	if verr == nil {
		// The pages were synced before; what failed is the sync of the root that refers to
		// them. The next transaction writes another root, which refers to them too.
		if verr = c.settle(); verr == nil {
			c.o.Logger.Warn("index: the catalog was synced at the second try", "path", c.path, "error", err)
			return nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = fmt.Errorf("%w: %w", ErrCatalogUnknown, errors.Join(err, verr))
	c.o.Logger.Error("index: the catalog cannot be used any more", "path", c.path, "error", c.broken)
	return c.broken
}

// settle writes a transaction that changes nothing.
func (c *Catalog) settle() error {
	return c.o.Write(func() error {
		return guard(func() error {
			return c.bolt.Update(func(tx *bolt.Tx) error {
				_, err := (&CatalogTx{tx: tx}).countCommit()
				return err
			})
		})
	})
}

// applyLate writes what was put off.
func (t *CatalogTx) applyLate(dirty map[mailbox.GUID]*late) error {
	for guid, l := range dirty {
		b, err := t.box(guid)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		b.h.highest, b.recent = max(b.h.highest, l.highest), max(b.recent, l.recent)
		// In order: bbolt moves all that follows for each key in the middle.
		for _, m := range l.messages.newest() {
			if err := b.change(lateRecord(m)); err != nil {
				return err
			}
		}
		if l.restart {
			if err := (&pending{restart: true}).writeLog(b.b, b.h.highest); err != nil {
				return err
			}
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}
