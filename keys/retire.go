package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
)

// ErrInUse reports a key that is active, or that other keys hang on.
var ErrInUse = errors.New("keys: the key is in use")

// SetAside takes keys out of use, as the first step of destroying them: nobody opens them any
// more, and PutBack undoes it. It is one transaction over all of them. The error wraps
// attrdict.ErrChanged where one is not as it was, and ErrInUse where one has become active.
func (k *Keys) SetAside(ctx context.Context, list []*Stored) error {
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		inv, err := k.inventory(tx)
		if err != nil {
			return err
		}
		for _, st := range list {
			now := inv.find(record{st.GUID, st.User, st.ID})
			switch {
			case now == nil || !bytes.Equal(now.Text, st.Text) || now.Lost != st.Lost || now.Retired != st.Retired:
				return fmt.Errorf("%w: key %s", attrdict.ErrChanged, st.ID)
			case now.Active:
				return fmt.Errorf("%w: key %s is active", ErrInUse, st.ID)
			}
			if st.Text == nil || st.Retired || st.Lost {
				continue // out of use already
			}
			err := errors.Join(tx.Set(st.level().own("retired", st.ID), st.Text), tx.Unset(st.level().private(st.ID)))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys: setting keys aside: %w", err)
	}
	return nil
}

// PutBack brings back what SetAside has taken out of use, also after a crash in between. A key
// that is there again keeps what is there; what was set aside as lost stays so.
func (k *Keys) PutBack(ctx context.Context, list []*Stored) error {
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, st := range list {
			aside := st.level().own("retired", st.ID)
			text, err := get(tx, aside)
			if err != nil {
				return err
			}
			to := st.level().private(st.ID)
			now, err := get(tx, to)
			if err != nil {
				return err
			}
			if now == nil && text != nil {
				if err := tx.Set(to, text); err != nil {
					return err
				}
			}
			if err := tx.Unset(aside); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys: putting keys back: %w", err)
	}
	return nil
}

// Destroy removes keys that SetAside has taken out of use, with everything that is stored of
// them, in one transaction. The error wraps ErrInUse where one is in use again.
func (k *Keys) Destroy(ctx context.Context, list []*Stored) error {
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		inv, err := k.inventory(tx)
		if err != nil {
			return err
		}
		for _, st := range list {
			now := inv.find(record{st.GUID, st.User, st.ID})
			if now == nil {
				continue
			}
			if now.Active || now.Text != nil && !now.Retired && !now.Lost {
				return fmt.Errorf("%w: key %s is back", ErrInUse, st.ID)
			}
			l := st.level()
			names := []string{l.public(st.ID), l.rotated(st.ID), l.quarantine(st.ID)}
			for _, kind := range []string{"retired", "lost", "kept", "pending"} {
				names = append(names, l.own(kind, st.ID))
			}
			for _, name := range names {
				if err := tx.Unset(name); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys: destroying keys: %w", err)
	}
	return nil
}
