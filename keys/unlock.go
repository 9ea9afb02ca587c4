package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// maxUserKeys bounds how many seals one login tries, each some 100 ms of a core.
const maxUserKeys = 64

// A userRecord is a stored user key with the seal that a password change has prepared.
type userRecord struct {
	namedKey
	pending []byte
}

// Unlock opens what a login's secret opens and returns it as a Ring, which the caller
// closes. A secret that opens nothing is no error: the ring then reads nothing, and
// State().Locked() says so.
//
// It also does what only a login can do: makes the user's first key; completes a
// password change that was cut off; raises seals that are weaker than configured; seals
// a key found open where sealing is required; and stops encrypting to an active key
// whose private half is not the user's. Each is its own transaction, and a failure of
// one is logged and costs the login nothing.
func (k *Keys) Unlock(ctx context.Context, secret Secret) (*Ring, error) {
	c := k.Config()
	if !secret.Known() && c.Password.Known() {
		secret = c.Password
	}
	r := &Ring{
		keys: k,
		user: map[dcrypt.KeyID]*dcrypt.PrivateKey{}, folder: map[dcrypt.KeyID]*dcrypt.PrivateKey{},
		good: map[string]bool{}, fixed: slices.Concat(c.GlobalPrivate, c.SealKeys),
	}
	records, err := k.userRecords(ctx)
	if err != nil {
		return nil, err
	}
	r.state.UserKeys = len(records)
	for _, rec := range records[:min(len(records), maxUserKeys)] {
		k.unlockOne(ctx, r, c, rec, secret)
	}
	if c.Global == nil {
		k.repair(ctx, r, c, secret)
	}
	return r, nil
}

// userRecords lists the user's private keys. Where none is stored for INBOX, those under
// any GUID count: renaming INBOX with Dovecot leaves them there.
func (k *Keys) userRecords(ctx context.Context) ([]userRecord, error) {
	var records []userRecord
	err := k.dict.View(ctx, func(d attrdict.Reader) error {
		records = nil
		names, err := privateNames(d)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(n namedKey) bool { return !n.record.user })
		own := slices.DeleteFunc(slices.Clone(names), func(n namedKey) bool { return n.record.guid != k.inbox })
		if len(own) > 0 {
			names = own
		}
		active, err := get(d, userLevel(k.inbox).active())
		if err != nil {
			return err
		}
		for _, n := range names {
			pending, err := get(d, pendingName(n.record.guid, n.record.id))
			if err != nil {
				return err
			}
			rec := userRecord{n, slices.Clone(pending)}
			if n.record.id == string(active) {
				records = slices.Insert(records, 0, rec)
			} else {
				records = append(records, rec)
			}
		}
		return nil
	})
	return records, err
}

// unlockOne tries one user key: as it is, then by the pending seal.
func (k *Keys) unlockOne(ctx context.Context, r *Ring, c Config, rec userRecord, secret Secret) {
	opener := dcrypt.Opener{Keys: finder(r.known)}
	if secret.Known() {
		opener.Password = secret.bytes
	}
	key, err := openUserKey(rec.record.id, rec.text, opener)
	byPending := false
	if err != nil && rec.pending != nil {
		if p, perr := openUserKey(rec.record.id, rec.pending, opener); perr == nil {
			key, err, byPending = p, nil, true
		}
	}
	if err != nil {
		k.log.Info("user key stays locked", "key", rec.record.id, "err", err)
		return
	}
	remember(r.user, key)
	r.state.Opened++
	switch {
	case byPending:
		k.note(r, "completed a password change of key "+rec.record.id, k.commitPending(ctx, rec.record, rec.pending))
	case secret.Known() && len(c.SealKeys) == 0:
		k.raise(ctx, r, c, rec, key, secret)
	}
}

// openUserKey opens a key text and checks that it is the key of its name.
func openUserKey(id string, text []byte, o dcrypt.Opener) (*dcrypt.PrivateKey, error) {
	want, err := dcrypt.ParseKeyID(id)
	if err != nil {
		return nil, err
	}
	key, err := dcrypt.ParsePrivateKey(text, o)
	if err != nil {
		return nil, err
	}
	if !matches(key, want) {
		key.Destroy()
		return nil, fmt.Errorf("%w: user key %s is another key", ErrBadKey, id)
	}
	return key, nil
}

// raise seals a user key anew where its seal is weaker than configured, or where it is
// open and must not be.
func (k *Keys) raise(ctx context.Context, r *Ring, c Config, rec userRecord, key *dcrypt.PrivateKey, secret Secret) {
	info, err := dcrypt.Inspect(rec.text)
	if err != nil || info.Format != dcrypt.FormatV2 {
		return // version 1 texts hang under their old id and stay as they are
	}
	var what string
	switch {
	case info.Protection == dcrypt.Unprotected && c.RequireSealed:
		what = "sealed user key " + rec.record.id + ", which was open"
	case info.Protection == dcrypt.ByPassword && info.Rounds < c.Seal.Rounds:
		what = "raised the seal of user key " + rec.record.id
	default:
		return
	}
	text, err := resealed(key, secret, c)
	if err == nil {
		err = k.replaceSeal(ctx, rec.record, rec.text, text)
	}
	k.note(r, what, err)
}

// resealed seals a key by a password and reads the result back before anyone relies on
// it.
func resealed(key *dcrypt.PrivateKey, secret Secret, c Config) ([]byte, error) {
	text, err := dcrypt.SealPassword(key, secret.Bytes(), c.Seal)
	if err != nil {
		return nil, fmt.Errorf("keys: sealing user key %s: %w", key.ID(), err)
	}
	back, err := dcrypt.ParsePrivateKey(text, dcrypt.Opener{Password: secret.bytes})
	if err != nil {
		return nil, fmt.Errorf("keys: reading back the seal of user key %s: %w", key.ID(), err)
	}
	defer back.Destroy()
	if back.ID() != key.ID() {
		return nil, fmt.Errorf("%w: the new seal of user key %s holds another key", ErrBadKey, key.ID())
	}
	return text, nil
}

// replaceSeal stores a new text of a user key where the old one is still there.
func (k *Keys) replaceSeal(ctx context.Context, rec record, old, text []byte) error {
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		return attrdict.CompareAndSet(tx, level{rec.guid, serverPrefix + cryptPrefix}.private(rec.id), old, text)
	})
}

// commitPending makes a pending seal the seal.
func (k *Keys) commitPending(ctx context.Context, rec record, pending []byte) error {
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		name := pendingName(rec.guid, rec.id)
		now, err := get(tx, name)
		if err != nil || string(now) != string(pending) {
			return err // somebody else has been here
		}
		return errors.Join(
			tx.Set(level{rec.guid, serverPrefix + cryptPrefix}.private(rec.id), pending),
			tx.Unset(name))
	})
}

// note logs what was mended, or that it could not be.
func (k *Keys) note(r *Ring, what string, err error) {
	if err != nil {
		k.log.Warn("could not mend keys", "what", what, "err", err)
		return
	}
	k.log.Info("mended keys", "what", what)
	r.state.Repaired = append(r.state.Repaired, what)
}
