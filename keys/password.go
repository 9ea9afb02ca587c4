package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A Seal says how user keys are to be sealed: by a password, to a key, or not at all.
type Seal struct {
	Password Secret
	Key      *dcrypt.PublicKey
	Open     bool // leave the key in the clear; must be asked for
}

// A KeyResult tells what became of one user key.
type KeyResult struct {
	ID  string
	Err error // nil: it has the new seal
}

// Prepare seals every user key that one of the old secrets opens anew and stores the
// results beside the present seals, which stay: until Commit the old secret counts, and
// a login with the new one completes the change by itself. It is one transaction. The
// new seals have been read back from the dictionary when it returns. A key that no old
// secret opens is listed with an error wrapping ErrPassword and is not changed.
func (k *Keys) Prepare(ctx context.Context, old []Secret, to Seal) ([]KeyResult, error) {
	c := k.Config()
	records, err := k.userRecords(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]KeyResult, 0, len(records))
	pending := map[string][]byte{}
	for _, rec := range records {
		text, err := k.prepareOne(rec, old, to, c)
		results = append(results, KeyResult{rec.record.id, err})
		if err == nil {
			pending[rec.record.id] = text
		}
	}
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, rec := range records {
			text, ok := pending[rec.record.id]
			if !ok {
				continue
			}
			now, err := get(tx, level{rec.record.guid, serverPrefix + cryptPrefix}.private(rec.record.id))
			if err != nil {
				return err
			}
			if string(now) != string(rec.text) {
				return fmt.Errorf("%w: user key %s", attrdict.ErrChanged, rec.record.id)
			}
			if err := tx.Set(pendingName(rec.record.guid, rec.record.id), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: storing new seals: %w", err)
	}
	return results, k.readBack(ctx, pending)
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
	sealKeys := finder(func(id dcrypt.KeyID) *dcrypt.PrivateKey {
		i := slices.IndexFunc(c.SealKeys, func(key *dcrypt.PrivateKey) bool { return matches(key, id) })
		if i < 0 {
			return nil
		}
		return c.SealKeys[i]
	})
	var firstErr error
	for _, s := range append([]Secret{{}}, old...) {
		opener := dcrypt.Opener{Keys: sealKeys}
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
func (k *Keys) readBack(ctx context.Context, pending map[string][]byte) error {
	records, err := k.userRecords(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if text, ok := pending[rec.record.id]; ok && string(text) != string(rec.pending) {
			return fmt.Errorf("keys: the new seal of user key %s does not read back; the old one counts", rec.record.id)
		}
	}
	return nil
}

// Commit makes all prepared seals the seals, in one transaction, and returns the ids.
// The old secret no longer opens these keys.
func (k *Keys) Commit(ctx context.Context) ([]string, error) {
	return k.finish(ctx, func(tx attrdict.Tx, rec userRecord) error {
		return tx.Set(level{rec.record.guid, serverPrefix + cryptPrefix}.private(rec.record.id), rec.pending)
	})
}

// Rollback forgets all prepared seals and returns the ids of their keys.
func (k *Keys) Rollback(ctx context.Context) ([]string, error) {
	return k.finish(ctx, func(attrdict.Tx, userRecord) error { return nil })
}

func (k *Keys) finish(ctx context.Context, do func(attrdict.Tx, userRecord) error) ([]string, error) {
	records, err := k.userRecords(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		ids = nil
		for _, rec := range records {
			name := pendingName(rec.record.guid, rec.record.id)
			now, err := get(tx, name)
			if err != nil {
				return err
			}
			if now == nil || string(now) != string(rec.pending) {
				continue
			}
			if err := errors.Join(do(tx, rec), tx.Unset(name)); err != nil {
				return err
			}
			ids = append(ids, rec.record.id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: changing seals: %w", err)
	}
	return ids, nil
}

// Reseal is Prepare and Commit in one: for callers that keep no login hash to change at
// the same time. Where no key opens, nothing is changed and the error wraps ErrPassword.
func (k *Keys) Reseal(ctx context.Context, old []Secret, to Seal) ([]KeyResult, error) {
	results, err := k.Prepare(ctx, old, to)
	if err != nil {
		return results, err
	}
	if len(results) > 0 && !slices.ContainsFunc(results, func(r KeyResult) bool { return r.Err == nil }) {
		return results, results[0].Err
	}
	_, err = k.Commit(ctx)
	return results, err
}
