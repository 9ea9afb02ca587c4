package keys

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A Seal says how user keys are to be sealed: by a password, to a key, or not at all.
type Seal struct {
	Password Secret
	Key      *dcrypt.PublicKey
	Open     bool // leave the key in the clear; must be asked for
	// PasswordOnly leaves alone what no password seals: keys sealed to a key, and keys in
	// the clear. So a change of the login password does not take a key for the user's that
	// somebody has put there.
	PasswordOnly bool
}

// A KeyResult tells what became of one user key.
type KeyResult struct {
	ID  string
	Err error // nil: it has the new seal
}

// A Change is new seals of user keys, stored beside the present ones. It ends with Commit
// or Rollback; where it ends with neither, because of a crash say, both seals open, and a
// login with the new secret completes it.
type Change struct {
	Keys []KeyResult

	keys     *Keys
	prepared []userRecord // with the new seal as pending
}

// Prepare seals every user key that one of the old secrets opens anew and stores the
// results beside the present seals, which stay: until Commit the old secret counts, and
// a login with the new one completes the change by itself. It is one transaction. The
// new seals have been read back from the dictionary when it returns. A key that no old
// secret opens is listed with an error wrapping ErrPassword and is not changed; where
// such a key is not INBOX's, but lies where INBOX was before Dovecot renamed it, it is not
// listed.
func (k *Keys) Prepare(ctx context.Context, old []Secret, to Seal) (*Change, error) {
	for tries := 0; ; tries++ {
		change, err := k.prepare(ctx, old, to)
		// A login may have raised a seal meanwhile.
		if err == nil || tries == 2 || !errors.Is(err, attrdict.ErrChanged) {
			return change, err
		}
	}
}

func (k *Keys) prepare(ctx context.Context, old []Secret, to Seal) (*Change, error) {
	c := k.Config()
	records, more, err := k.userRecords(ctx)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, fmt.Errorf("%w: there are more than %d user keys", ErrBadKey, maxUserKeys)
	}
	change := &Change{keys: k}
	seen := map[string]bool{}
	for _, rec := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if seen[rec.record.id] || to.PasswordOnly && !isPasswordText(rec.text) {
			continue
		}
		text, err := k.prepareOne(rec, old, to, c)
		if err != nil && rec.record.guid != k.inbox && errors.Is(err, ErrPassword) {
			continue
		}
		seen[rec.record.id] = true
		change.Keys = append(change.Keys, KeyResult{rec.record.id, err})
		if err == nil {
			change.prepared = append(change.prepared, userRecord{rec.namedKey, text})
		}
	}
	if len(change.prepared) == 0 {
		return change, nil
	}
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, rec := range change.prepared {
			now, err := get(tx, userLevel(rec.record.guid).private(rec.record.id))
			if err != nil {
				return err
			}
			if string(now) != string(rec.text) {
				return fmt.Errorf("%w: user key %s", attrdict.ErrChanged, rec.record.id)
			}
			if err := tx.Set(pendingName(rec.record.guid, rec.record.id), rec.pending); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: storing new seals: %w", err)
	}
	return change, change.readBack(ctx)
}

func isPasswordText(text []byte) bool {
	info, err := dcrypt.Inspect(text)
	return err == nil && info.Protection == dcrypt.ByPassword
}

func (k *Keys) prepareOne(rec userRecord, old []Secret, to Seal, c Config) ([]byte, error) {
	key, err := openWithAny(rec, old, c)
	if err != nil {
		return nil, err
	}
	defer key.Destroy()
	switch {
	case to.Key != nil:
		return dcrypt.SealKey(key, to.Key, dcrypt.SealOptions{})
	case to.Password.Known():
		return resealed(key, to.Password, c)
	case to.Open:
		return key.Text(), nil
	}
	return nil, errors.New("keys: no new seal is given")
}

// openWithAny opens a user key with the first of the secrets, or configured keys, that
// does.
func openWithAny(rec userRecord, old []Secret, c Config) (*dcrypt.PrivateKey, error) {
	var firstErr error
	for _, s := range append([]Secret{{}}, old...) {
		opener := dcrypt.Opener{Keys: dcrypt.KeyList(c.SealKeys)}
		if s.Known() {
			opener.Password = s.bytes
		}
		key, err := openUserKey(rec.record.id, rec.text, opener)
		if err == nil {
			return key, nil
		}
		if firstErr == nil || s.Known() {
			firstErr = err
		}
	}
	if errors.Is(firstErr, dcrypt.ErrPassword) || errors.Is(firstErr, dcrypt.ErrPasswordRequired) {
		return nil, fmt.Errorf("%w for user key %s", ErrPassword, rec.record.id)
	}
	return nil, fmt.Errorf("keys: opening user key %s: %w", rec.record.id, firstErr)
}

// readBack compares what is stored with what was meant.
func (c *Change) readBack(ctx context.Context) error {
	return c.keys.dict.View(ctx, func(r attrdict.Reader) error {
		for _, rec := range c.prepared {
			now, err := get(r, pendingName(rec.record.guid, rec.record.id))
			if err != nil {
				return err
			}
			if string(now) != string(rec.pending) {
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
	return c.finish(ctx, func(tx attrdict.Tx, rec userRecord, pending bool) error {
		if pending {
			return setSeal(tx, rec.record, rec.pending)
		}
		now, err := get(tx, userLevel(rec.record.guid).private(rec.record.id))
		if err == nil && string(now) != string(rec.pending) { // else a login was first
			err = fmt.Errorf("%w: the new seal of user key %s is gone", attrdict.ErrChanged, rec.record.id)
		}
		return err
	})
}

// Rollback forgets the new seals.
func (c *Change) Rollback(ctx context.Context) error {
	return c.finish(ctx, func(attrdict.Tx, userRecord, bool) error { return nil })
}

// finish ends the change; pending tells do whether the new seal still waits.
func (c *Change) finish(ctx context.Context, do func(tx attrdict.Tx, rec userRecord, pending bool) error) error {
	if len(c.prepared) == 0 {
		return nil
	}
	err := c.keys.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, rec := range c.prepared {
			name := pendingName(rec.record.guid, rec.record.id)
			now, err := get(tx, name)
			if err != nil {
				return err
			}
			pending := string(now) == string(rec.pending)
			if err := do(tx, rec, pending); err != nil {
				return err
			}
			if pending {
				if err := tx.Unset(name); err != nil {
					return err
				}
			}
		}
		return nil
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
	if len(change.Keys) > 0 && len(change.prepared) == 0 {
		return change.Keys, change.Keys[0].Err
	}
	return change.Keys, change.Commit(ctx)
}
