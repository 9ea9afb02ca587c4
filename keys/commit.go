package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/attrdict"
)

// readBack compares what is stored with what was meant.
func (c *Change) readBack(ctx context.Context) error {
	return c.keys.dict.View(ctx, func(r attrdict.Reader) error {
		for _, rec := range c.prepared {
			now, err := get(r, pendingName(rec.record.guid, rec.record.id))
			if err != nil {
				return err
			}
			if !bytes.Equal(now, rec.pending) {
				return fmt.Errorf("keys: the new seal of user key %s does not read back; the old one counts", rec.record.id)
			}
		}
		return nil
	})
}

// Commit makes the new seals the seals, in one transaction: all of them or, with an error,
// none. The old secret no longer opens these keys. Seals that another change has prepared
// are left alone.
func (c *Change) Commit(ctx context.Context) error {
	err := c.finish(ctx, func(tx attrdict.Tx, rec userRecord, pending bool) error {
		if pending {
			if err := setSeal(tx, rec.record, rec.pending, c.KeepOld); err != nil {
				return err
			}
			return unsetAll(tx, rec.record.id, "lost")
		}
		now, err := get(tx, userLevel(rec.record.guid).private(rec.record.id))
		if err == nil && !bytes.Equal(now, rec.pending) { // else a login was first
			err = fmt.Errorf("%w: the new seal of user key %s is gone", attrdict.ErrChanged, rec.record.id)
		}
		if err == nil && c.KeepOld > 0 {
			err = keep(tx, rec.record, rec.text, now, c.KeepOld) // a login that was first kept nothing
		}
		return err
	}, c.setAside)
	return err
}

// setAside is the part of Commit that concerns lost keys.
func (c *Change) setAside(tx attrdict.Tx) error {
	c.Reset = nil
	for _, rec := range c.lost {
		l := userLevel(rec.record.guid)
		now, err := get(tx, l.private(rec.record.id))
		if err != nil || now == nil {
			return err
		}
		err = errors.Join(tx.Set(l.own("lost", rec.record.id), now), tx.Unset(l.private(rec.record.id)),
			tx.Unset(pendingName(rec.record.guid, rec.record.id)))
		if err != nil {
			return err
		}
	}
	if len(c.lost) == 0 {
		return nil
	}
	if g := c.fresh; g != nil {
		l := userLevel(c.keys.inbox)
		now, err := get(tx, l.active())
		if err != nil {
			return err
		}
		if string(now) == g.replace { // else a login was first
			if err := tx.Set(l.active(), []byte(g.ID)); err != nil {
				return err
			}
		}
	}
	return c.resetFolders(tx)
}

// resetFolders makes folder keys that hang on lost ones active no more.
func (c *Change) resetFolders(tx attrdict.Tx) error {
	inv, err := c.keys.inventory(tx)
	if err != nil {
		return err
	}
	for _, st := range inv.Keys {
		by, ok := st.Wrapper()
		if st.User || !st.Active || !ok || !slices.ContainsFunc(c.lost, func(rec userRecord) bool { return rec.record.id == by.String() }) {
			continue
		}
		if err := tx.Unset(st.level().active()); err != nil {
			return err
		}
		c.Reset = append(c.Reset, st.GUID)
	}
	return nil
}

// Rollback forgets the new seals.
func (c *Change) Rollback(ctx context.Context) error {
	return c.finish(ctx, func(attrdict.Tx, userRecord, bool) error { return nil }, func(tx attrdict.Tx) error {
		g := c.fresh
		if g == nil || g.text == nil {
			return nil
		}
		l := userLevel(c.keys.inbox)
		active, err := get(tx, l.active())
		if err != nil || string(active) == g.ID {
			return err // a login has made it active
		}
		return errors.Join(tx.Unset(l.private(g.ID)), tx.Unset(l.public(g.ID)))
	})
}

// finish ends the change; pending tells do whether the new seal still waits.
func (c *Change) finish(ctx context.Context, do func(tx attrdict.Tx, rec userRecord, pending bool) error, then func(attrdict.Tx) error) error {
	if len(c.prepared) == 0 && len(c.lost) == 0 && c.fresh == nil {
		return nil
	}
	err := c.keys.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, rec := range c.prepared {
			name := pendingName(rec.record.guid, rec.record.id)
			now, err := get(tx, name)
			if err != nil {
				return err
			}
			pending := now != nil && bytes.Equal(now, rec.pending)
			if err := do(tx, rec, pending); err != nil {
				return err
			}
			if pending {
				if err := tx.Unset(name); err != nil {
					return err
				}
			}
		}
		return then(tx)
	})
	if err != nil {
		return fmt.Errorf("keys: changing seals: %w", err)
	}
	return nil
}

// Reseal is Prepare and Commit in one: for callers that keep no login hash to change at
// the same time. Where no key opens, nothing is changed and the error wraps ErrPassword.
func (k *Keys) Reseal(ctx context.Context, old []Secret, to Seal) ([]KeyResult, error) {
	change, err := k.Prepare(ctx, old, to)
	if err != nil {
		return nil, err
	}
	if len(change.Keys) > 0 && len(change.prepared) == 0 && len(change.done) == 0 {
		for _, row := range change.Keys {
			if row.Err != nil {
				return change.Keys, row.Err
			}
		}
	}
	return change.Keys, change.Commit(ctx)
}
