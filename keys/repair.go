package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// mend does what a login that has proved itself can do for the stored keys.
func (k *Keys) mend(ctx context.Context, r *Ring, c Config, opened []openedKey, records []userRecord, secret Secret) {
	var trusted []openedKey
	for _, o := range opened {
		if _, ok := r.trusted[o.key.ID()]; ok {
			trusted = append(trusted, o)
			continue
		}
		k.log.Warn("a user key opens without the login's secret: it reads, and new mail does not depend on it", "key", o.rec.record.id)
	}
	k.mendSeals(ctx, r, c, trusted, secret)
	if err := k.Expire(ctx); err != nil {
		k.log.Warn("could not remove old seals whose time is over", "err", err)
	}
	if c.Global != nil {
		return
	}
	if err := k.mendUser(ctx, r, c, records, secret); err != nil {
		k.log.Warn("could not mend the user key", "err", err)
		return
	}
	if err := k.lookAtInbox(ctx, r); err != nil {
		k.log.Warn("could not verify the folder key of INBOX", "err", err)
	}
}

// mendUser makes sure that the active user key is one that is trusted; where there is
// none at all, it makes the user's first key. Of a key that has come since the login looked,
// or has another seal since, it can say nothing.
func (k *Keys) mendUser(ctx context.Context, r *Ring, c Config, records []userRecord, secret Secret) error {
	var pub *dcrypt.PublicKey
	var active []byte
	changed := false
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		if pub, active, err = activeKey(d, userLevel(k.inbox), k.Publics); err != nil || active == nil {
			return err
		}
		changed, err = k.changedSince(d, string(active), records)
		return err
	})
	if err != nil && !errors.Is(err, ErrBadKey) {
		return err
	}
	key, rec := r.trustedKey(active)
	switch {
	case err == nil && pub != nil && r.trusts(pub), changed:
		return nil
	case key != nil:
		k.note(r, "made user key "+key.ID().String()+" the active one", k.adopt(ctx, key, rec, active))
		return nil
	case c.Curve == "" || c.NoGenerate:
		return nil
	}
	made, err := k.newUserKey(ctx, secret, c, active, true)
	if err != nil {
		return err
	}
	return k.loadUserKey(ctx, r, made, secret)
}

// changedSince reports whether a private user key is another than the login has read, or was
// not there then.
func (k *Keys) changedSince(d attrdict.Reader, id string, read []userRecord) (bool, error) {
	if _, err := dcrypt.ParseKeyID(id); err != nil {
		return false, nil // what is no id may be too long to be a name
	}
	now, err := get(d, userLevel(k.inbox).private(id))
	if err != nil || now == nil {
		return false, err
	}
	for _, rec := range read {
		if rec.record.id == id && rec.record.guid == k.inbox {
			return !bytes.Equal(rec.text, now), nil
		}
	}
	return true, nil
}

// adopt makes a trusted user key the active one. Where its private record hangs under
// another GUID, because INBOX was renamed, it is copied to INBOX's, which has none.
func (k *Keys) adopt(ctx context.Context, key *dcrypt.PrivateKey, rec userRecord, replace []byte) error {
	l := userLevel(k.inbox)
	id := rec.record.id
	if id != key.ID().String() {
		return fmt.Errorf("%w: user key %s is of version 1, and its public record is damaged", ErrBadKey, id)
	}
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		now, err := get(tx, l.active())
		if err != nil || string(now) != string(replace) {
			return err
		}
		if err := quarantine(tx, l, replace, id); err != nil {
			return err
		}
		own, err := get(tx, l.private(id))
		if err != nil {
			return err
		}
		if own == nil {
			text, err := get(tx, userLevel(rec.record.guid).private(id))
			if err != nil {
				return err
			}
			if text == nil {
				return fmt.Errorf("%w: user key %s", attrdict.ErrNotFound, id)
			}
			if err := tx.Set(l.private(id), text); err != nil {
				return err
			}
		}
		return errors.Join(
			tx.Set(l.public(id), []byte(key.Public().Text())),
			tx.Set(l.active(), []byte(id)))
	})
}

// quarantine notes an id that is displaced from being active by another. What is no id
// is not noted: it names nothing, and may be too long to be a name.
func quarantine(tx attrdict.Tx, l level, was []byte, by string) error {
	if _, err := dcrypt.ParseKeyID(string(was)); err != nil || string(was) == by {
		return nil
	}
	return tx.Set(l.quarantine(string(was)), []byte("1"))
}

// loadUserKey puts a user key that was just made, by us or by somebody at the same
// moment, into the ring.
func (k *Keys) loadUserKey(ctx context.Context, r *Ring, pub *dcrypt.PublicKey, secret Secret) error {
	rec := userRecord{namedKey: namedKey{record: record{k.inbox, true, pub.ID().String()}}}
	err := k.dict.View(ctx, func(d attrdict.Reader) error {
		v, err := get(d, userLevel(k.inbox).private(rec.record.id))
		rec.text = append([]byte(nil), v...)
		return err
	})
	if err != nil {
		return err
	}
	o, err := k.openOne(r, rec, secret)
	if err != nil {
		return fmt.Errorf("keys: opening user key %s: %w", rec.record.id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	remember(r.user, o.key)
	r.trusted[o.key.ID()] = rec
	r.state.UserKeys++
	r.state.Opened++
	return nil
}

// restorePublic writes the public record of an active key anew, where the key is the
// user's.
func (k *Keys) restorePublic(ctx context.Context, r *Ring, l level, active []byte) (mended bool, err error) {
	id, err := dcrypt.ParseKeyID(string(active))
	if err != nil {
		return false, nil
	}
	key, err := r.PrivateKey(id)
	switch {
	case errors.Is(err, dcrypt.ErrNoKey):
		return false, nil
	case err != nil:
		return false, err
	case key.ID() != id:
		return false, nil
	}
	if owns, err := r.ownsFolder(key.Public()); !owns || err != nil {
		return false, err
	}
	k.log.Warn("wrote a damaged public key anew", "folder", l.guid.String(), "key", id.String())
	return true, k.dict.Update(ctx, func(tx attrdict.Tx) error {
		return tx.Set(l.public(id.String()), []byte(key.Public().Text()))
	})
}

// restoreFolder stores the private record of an active folder key that the ring has open
// and the folder has lost, or has only under another GUID.
func (k *Keys) restoreFolder(ctx context.Context, r *Ring, l level, pub *dcrypt.PublicKey) error {
	key, err := r.PrivateKey(pub.ID())
	if err != nil {
		return err
	}
	user, err := r.wrapKey(ctx)
	if err != nil {
		return err
	}
	text, err := dcrypt.SealKey(key, user.Public(), dcrypt.SealOptions{})
	if err != nil {
		return fmt.Errorf("keys: wrapping a folder key: %w", err)
	}
	k.log.Warn("stored a folder key again whose record was missing", "folder", l.guid.String(), "key", pub.ID().String())
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		if err := wraps(tx, user.Public()); err != nil {
			return err
		}
		return attrdict.CompareAndSet(tx, l.private(pub.ID().String()), nil, text)
	})
	if errors.Is(err, attrdict.ErrChanged) {
		return nil // another login was first
	}
	return err
}

// replaceFolderKey puts a new key in the place of one that is not the user's. It is
// wrapped by a key of the ring, not by what the dictionary calls active.
func (k *Keys) replaceFolderKey(ctx context.Context, r *Ring, c Config, folder mailbox.GUID, active []byte) error {
	if c.NoGenerate || c.Curve == "" {
		return fmt.Errorf("%w: the active key of folder %s cannot be shown to be the user's", ErrBadKey, folder)
	}
	user, err := r.wrapKey(ctx)
	if err != nil {
		return err
	}
	made, err := k.newFolderKey(ctx, folder, user.Public(), c, active)
	if err != nil {
		return err
	}
	k.log.Warn("the active folder key could not be shown to be the user's: new mail goes to a new key",
		"folder", folder.String(), "was", printable(active), "key", made.ID().String())
	return nil
}

// printable is an id for the log; what is none may be long, and hostile.
func printable(active []byte) string {
	if _, err := dcrypt.ParseKeyID(string(active)); err != nil {
		return "no id"
	}
	return string(active)
}
