package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A Rewrapped tells what became of one record of a folder key.
type Rewrapped struct {
	*Stored
	From    string // id of the user key that wrapped it, "" where it lay in the clear
	Changed bool   // it is under the active user key now, and was read back from there
	Clear   bool   // it lay in the clear
	Err     error  // it is as it was

	next []byte
}

// Rewrap puts folder keys under the active user key, which a secret must open: one that is
// not shown to be the user's gets none. want chooses keys, nil all. It is one transaction;
// each new text has been opened before it is stored, and compared with what stands in the
// dictionary then. A key that does not open is left as it is, with the reason. With dry nothing is
// stored, and Changed says what would be. report, where set, is called after each key.
func (k *Keys) Rewrap(ctx context.Context, secrets []Secret, want func(*Stored) bool, dry bool, report func(done, total int)) (to string, rows []Rewrapped, err error) {
	for tries := 0; ; tries++ {
		to, rows, err = k.rewrap(ctx, secrets, want, dry, report)
		if tries == 2 || !errors.Is(err, attrdict.ErrChanged) {
			return to, rows, err
		}
	}
}

func (k *Keys) rewrap(ctx context.Context, secrets []Secret, want func(*Stored) bool, dry bool, report func(done, total int)) (string, []Rewrapped, error) {
	inv, err := k.Inventory(ctx)
	if err != nil {
		return "", nil, err
	}
	o, err := k.Open(ctx, inv, secrets)
	if err != nil {
		return "", nil, err
	}
	defer o.Close()
	active, err := o.active(inv)
	if err != nil {
		return "", nil, fmt.Errorf("keys: opening the active user key: %w", err)
	}
	to := active.ID().String()
	var chosen []*Stored
	for _, st := range inv.Keys {
		if !st.User && st.Text != nil && !st.Retired && (want == nil || want(st)) {
			chosen = append(chosen, st)
		}
	}
	rows := make([]Rewrapped, 0, len(chosen))
	for i, st := range chosen {
		if err := ctx.Err(); err != nil {
			return to, nil, err
		}
		rows = append(rows, rewrapOne(st, o, active))
		if report != nil {
			report(i+1, len(chosen))
		}
	}
	if dry {
		return to, rows, nil
	}
	if err := k.storeRewrapped(ctx, rows); err != nil {
		return to, nil, err
	}
	return to, rows, k.readRewrapped(context.WithoutCancel(ctx), rows, active)
}

// rewrapOne makes the new text of a folder key and opens it again.
func rewrapOne(st *Stored, o *Opened, active *dcrypt.PrivateKey) (row Rewrapped) {
	row.Stored = st
	info, err := dcrypt.Inspect(st.Text)
	if err != nil {
		row.Err = st.Check()
		return row
	}
	row.From, row.Clear = info.Protector, info.Private && info.Protection == dcrypt.Unprotected
	key, err := o.FolderKey(st)
	if err != nil {
		row.Err = err
		return row
	}
	defer key.Destroy()
	if id, ok := st.Wrapper(); ok && matches(active, id) {
		return row // it is there already, and opens
	}
	if info.Format != dcrypt.FormatV2 {
		// Dovecot looks for the old id in the text, which only texts of version 1 have.
		row.Err = fmt.Errorf("keys: folder key %s is a text of version 1, which is not written anew: it stays under user key %s", st.ID, row.From)
		return row
	}
	text, err := dcrypt.SealKey(key, active.Public(), dcrypt.SealOptions{})
	if err == nil {
		err = wrapHolds(st.ID, text, active, o.memory)
	}
	if err != nil {
		row.Err = fmt.Errorf("keys: wrapping folder key %s: %w", st.ID, err)
		return row
	}
	row.next, row.Changed = text, true
	return row
}

// wrapHolds opens a text with the key that it should be under.
func wrapHolds(id string, text []byte, under *dcrypt.PrivateKey, m *Memory) error {
	back, err := openFolderText(id, text, dcrypt.Opener{Keys: dcrypt.KeyList{under}, Known: m.Known()})
	if err != nil {
		return err
	}
	defer back.Destroy()
	if back.ID().String() == id {
		m.add(openedBy(id, text, under.ID()))
	}
	return nil
}

func (k *Keys) storeRewrapped(ctx context.Context, rows []Rewrapped) error {
	changed := false
	for _, row := range rows {
		changed = changed || row.next != nil
	}
	if !changed {
		return nil
	}
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, row := range rows {
			if row.next == nil {
				continue
			}
			if err := attrdict.CompareAndSet(tx, row.level().private(row.ID), row.Text, row.next); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys: storing folder keys: %w", err)
	}
	return nil
}

// readRewrapped opens what the dictionary has now. Should it give back something else than
// was stored, the old texts are put back.
func (k *Keys) readRewrapped(ctx context.Context, rows []Rewrapped, active *dcrypt.PrivateKey) error {
	bad := false
	err := k.dict.View(ctx, func(d attrdict.Reader) error {
		for i := range rows {
			row := &rows[i]
			if row.next == nil {
				continue
			}
			now, err := get(d, row.level().private(row.ID))
			if err != nil {
				return err
			}
			// The new text was opened before it was stored. Another program may have been here;
			// what it left must open as well.
			if !bytes.Equal(now, row.next) {
				err = wrapHolds(row.ID, now, active, k.Config().Memory)
			}
			if err != nil {
				row.Err, row.Changed, bad = fmt.Errorf("keys: reading folder key %s back: %w", row.ID, err), false, true
			}
		}
		return nil
	})
	if err != nil || !bad {
		return err
	}
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, row := range rows {
			if row.next != nil && row.Err != nil {
				if err := tx.Set(row.level().private(row.ID), row.Text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
