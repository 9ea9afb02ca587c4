package index

import (
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// Load returns a mailbox with what Later has put for it, and calls fn for every message, by
// UID, with its stored bytes. Nobody waits meanwhile. The error wraps mailbox.ErrNotFound
// where there is no such mailbox.
func (c *Catalog) Load(guid mailbox.GUID, fn func(m CatalogMessage, r MapRecord) error) (m CatalogMailbox, err error) {
	tx, l, err := c.snapshot(guid)
	if err != nil {
		return m, err
	}
	newer := l.messages.newest()
	err = guard(func() (err error) {
		defer tx.Rollback()
		t := &CatalogTx{tx: tx, now: c.o.Now}
		if m, err = t.Mailbox(guid); err != nil {
			return err
		}
		m.HighestModSeq, m.FirstRecent = max(m.HighestModSeq, l.highest), max(m.FirstRecent, l.recent)
		return t.Messages(guid, func(msg CatalogMessage) error {
			r, err := t.mapOf(msg.MapUID)
			if err != nil {
				return err
			}
			for len(newer) > 0 && newer[0].UID < msg.UID { // expunged meanwhile
				newer = newer[1:]
			}
			if len(newer) > 0 && newer[0].UID == msg.UID {
				saved := msg.Saved
				msg.Record = lateRecord(newer[0])
				msg.Saved = saved
			}
			return fn(msg, r)
		})
	})
	return m, c.judge(err)
}

// snapshot begins to read, with what is outstanding of a mailbox at that moment.
func (c *Catalog) snapshot(guid mailbox.GUID) (tx *bolt.Tx, l late, err error) {
	c.writing.Lock() // so that nothing is under way from memory to disk
	defer c.writing.Unlock()
	if err := c.usable(); err != nil {
		return nil, l, err
	}
	c.mu.Lock()
	if d := c.dirty[guid]; d != nil {
		l = *d
		l.messages.parts = slices.Clone(d.messages.parts)
	}
	c.mu.Unlock()
	err = guard(func() (err error) {
		tx, err = c.bolt.Begin(false)
		return err
	})
	return tx, l, c.judge(err)
}

// Expunged returns the UIDs, sorted, of what was expunged from a mailbox above a modseq.
// complete is false where the log does not reach back so far.
func (c *Catalog) Expunged(guid mailbox.GUID, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error) {
	var found event
	var floor mailbox.ModSeq
	var bad error
	err = c.View(func(t *CatalogTx) error {
		if _, err := t.box(guid); err != nil {
			return err
		}
		floor, bad = readLog(t.tx, guid, since, func(e event) {
			if e.modseq > since {
				found.uids = append(found.uids, e.uids...)
			}
		})
		return nil
	})
	switch {
	case err != nil:
		return nil, false, err
	case errors.Is(bad, errRecord):
		c.o.Logger.Warn("index: log of expunges is damaged, starting it anew", "path", c.path, "mailbox", guid, "error", bad)
		c.later(guid, &late{restart: true})
		return nil, false, nil
	case bad != nil:
		return nil, false, fmt.Errorf("index: log of expunges: %w", bad)
	case floor == 0 || since < floor:
		return nil, false, nil
	}
	uids, complete = found.expand()
	return uids, complete, nil
}
