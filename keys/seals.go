package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A mendedSeal is a change of one user key's seal that a login makes.
type mendedSeal struct {
	what string
	rec  userRecord
	text []byte // the new seal; nil: the pending one
	err  error  // it was left as it is
}

// mendSeals completes changes of passwords that were cut off, and seals the keys anew whose
// seals are not as configured. It is one transaction: of keys that lie open, all or none get
// a seal, for open ones beside sealed ones prove nothing and would lie open for good.
func (k *Keys) mendSeals(ctx context.Context, r *Ring, c Config, trusted []openedKey, secret Secret) {
	var list []*mendedSeal
	for _, o := range trusted {
		if o.byPending && k.LeavePending != nil && k.LeavePending() {
			continue
		}
		m := &mendedSeal{rec: o.rec, what: "completed a password change of key " + o.rec.record.id}
		if !o.byPending {
			m.what, m.text, m.err = raise(c, o.rec, o.key, secret)
		}
		if m.what != "" {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return
	}
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, m := range list {
			switch {
			case m.err != nil:
			case m.text == nil:
				if err := commitPending(tx, m.rec); err != nil {
					return err
				}
			default:
				err := replaceSeal(tx, m.rec, m.text)
				if errors.Is(err, attrdict.ErrChanged) {
					m.err, err = err, nil // somebody else has been here
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, m := range list {
		k.note(r, m.what, errors.Join(m.err, err))
	}
}

// raise makes a new seal for a user key where its seal is weaker than configured, or where it
// is open and must not be. Otherwise what is "".
func raise(c Config, rec userRecord, key *dcrypt.PrivateKey, secret Secret) (what string, text []byte, err error) {
	info, err := dcrypt.Inspect(rec.text)
	if err != nil || info.Format != dcrypt.FormatV2 {
		return "", nil, nil // version 1 texts hang under their old id and stay as they are
	}
	switch {
	case info.Protection == dcrypt.Unprotected && c.RequireSealed && (secret.Known() || len(c.SealKeys) > 0):
		what = "sealed user key " + rec.record.id + ", which was open"
	case info.Protection == dcrypt.ByPassword && info.Rounds < c.Seal.Rounds && secret.Known():
		what = "raised the seal of user key " + rec.record.id
	default:
		return "", nil, nil
	}
	if info.Protection == dcrypt.Unprotected && len(c.SealKeys) > 0 {
		text, err = sealedTo(key, c.SealKeys[0])
	} else {
		text, err = resealed(key, secret, c)
	}
	return what, text, err
}

// resealed seals a key by a password and reads the result back before anyone relies on
// it.
func resealed(key *dcrypt.PrivateKey, secret Secret, c Config) ([]byte, error) {
	text, err := dcrypt.SealPassword(key, secret.Bytes(), c.Seal)
	if err != nil {
		return nil, fmt.Errorf("keys: sealing user key %s: %w", key.ID(), err)
	}
	return text, sealHolds(key, text, dcrypt.Opener{Password: secret.bytes, Known: c.Memory.Known()})
}

// sealedTo is resealed with a key in the place of the password.
func sealedTo(key, to *dcrypt.PrivateKey) ([]byte, error) {
	text, err := dcrypt.SealKey(key, to.Public(), dcrypt.SealOptions{})
	if err != nil {
		return nil, fmt.Errorf("keys: sealing user key %s: %w", key.ID(), err)
	}
	return text, sealHolds(key, text, dcrypt.Opener{Keys: dcrypt.KeyList{to}})
}

func sealHolds(key *dcrypt.PrivateKey, text []byte, o dcrypt.Opener) error {
	back, err := dcrypt.ParsePrivateKey(text, o)
	if err != nil {
		return fmt.Errorf("keys: reading back the seal of user key %s: %w", key.ID(), err)
	}
	defer back.Destroy()
	if back.ID() != key.ID() {
		return fmt.Errorf("%w: the new seal of user key %s holds another key", ErrBadKey, key.ID())
	}
	return nil
}

// replaceSeal stores a new text of a user key where the old one is still there.
func replaceSeal(tx attrdict.Tx, rec userRecord, text []byte) error {
	now, err := get(tx, userLevel(rec.record.guid).private(rec.record.id))
	if err != nil {
		return err
	}
	if string(now) != string(rec.text) {
		return fmt.Errorf("%w: user key %s", attrdict.ErrChanged, rec.record.id)
	}
	kept, err := get(tx, userLevel(rec.record.guid).own("kept", rec.record.id))
	if err != nil {
		return err
	}
	if err := setSeal(tx, rec.record, text, 0); err != nil {
		return err
	}
	// The secret is the same: what could be undone still can.
	if old, ok := parseKept(kept); ok && old.by == textSum(rec.text) {
		old.by = textSum(text)
		return tx.Set(userLevel(rec.record.guid).own("kept", rec.record.id), []byte(old.String()))
	}
	return nil
}

// setSeal stores a user key's text in all its records: where INBOX was renamed, an old one
// hangs under another GUID, and must not go on to open with an old secret. keepOld keeps the
// seal that goes, for Undo.
func setSeal(tx attrdict.Tx, rec record, text []byte, keepOld time.Duration) error {
	now, err := get(tx, userLevel(rec.guid).private(rec.id))
	if err == nil {
		err = keep(tx, rec, now, text, keepOld)
	}
	if err != nil {
		return err
	}
	if err := tx.Set(userLevel(rec.guid).private(rec.id), text); err != nil {
		return err
	}
	names, _, err := privateNames(tx, true, maxUserKeys)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.record.id == rec.id && n.record.guid != rec.guid {
			if err := tx.Set(userLevel(n.record.guid).private(rec.id), text); err != nil {
				return err
			}
		}
	}
	return nil
}

// commitPending makes a pending seal the seal, unless somebody else has been here.
func commitPending(tx attrdict.Tx, rec userRecord) error {
	name := pendingName(rec.record.guid, rec.record.id)
	now, err := get(tx, name)
	if err != nil || string(now) != string(rec.pending) {
		return err
	}
	return errors.Join(setSeal(tx, rec.record, rec.pending, 0), tx.Unset(name), unsetAll(tx, rec.record.id, "lost"))
}

// note logs what was mended, or that it could not be.
func (k *Keys) note(r *Ring, what string, err error) {
	if err != nil {
		if errors.Is(err, attrdict.ErrChanged) {
			k.log.Debug("keys have changed before they were mended", "what", what)
			return
		}
		k.log.Warn("could not mend keys", "what", what, "err", err)
		return
	}
	k.log.Info("mended keys", "what", what)
	r.state.Repaired = append(r.state.Repaired, what)
}
