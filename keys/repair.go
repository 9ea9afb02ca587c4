package keys

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// repair makes sure that the active user key and INBOX's active key are the user's, as
// far as this login can tell.
func (k *Keys) repair(ctx context.Context, r *Ring, c Config, secret Secret) {
	if r.state.Locked() {
		return // a wrong password must not make keys
	}
	var pub *dcrypt.PublicKey
	var active []byte
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		pub, active, err = activeKey(d, userLevel(k.inbox))
		return err
	})
	if err != nil && !errors.Is(err, ErrBadKey) {
		k.log.Warn("could not look at the user key", "err", err)
		return
	}
	switch {
	case err == nil && pub != nil && r.userKey(pub.ID()) != nil:
	case len(r.user) > 0:
		key := r.firstUserKey(active)
		k.note(r, "made user key "+key.ID().String()+" the active one", k.adopt(ctx, key, active))
	case c.Curve == "" || c.NoGenerate:
		return
	default:
		made, err := k.newUserKey(ctx, secret, c, active, true)
		if err == nil {
			err = k.loadUserKey(ctx, r, made, secret)
		}
		if err != nil {
			k.log.Warn("could not make the user's key", "err", err)
			return
		}
	}
	if err := k.VerifyFolder(ctx, r, k.inbox); err != nil {
		k.log.Warn("could not verify the folder key of INBOX", "err", err)
	}
}

// firstUserKey prefers the key that is named active, whose public record may be bad.
func (r *Ring) firstUserKey(active []byte) *dcrypt.PrivateKey {
	if id, err := dcrypt.ParseKeyID(string(active)); err == nil && r.user[id] != nil {
		return r.user[id]
	}
	for _, key := range r.user {
		return key
	}
	return nil
}

// adopt makes an open user key the active one. Where its private record hangs under
// another GUID, because INBOX was renamed, it is copied to INBOX's.
func (k *Keys) adopt(ctx context.Context, key *dcrypt.PrivateKey, replace []byte) error {
	l := userLevel(k.inbox)
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		now, err := get(tx, l.active())
		if err != nil || string(now) != string(replace) {
			return err
		}
		names, err := privateNames(tx)
		if err != nil {
			return err
		}
		for _, n := range names {
			id, err := dcrypt.ParseKeyID(n.record.id)
			if err != nil || !n.record.user || !matches(key, id) {
				continue
			}
			if id != key.ID() {
				return fmt.Errorf("%w: user key %s is of version 1, and its public record is damaged", ErrBadKey, id)
			}
			if replace != nil && string(replace) != n.record.id {
				if err := tx.Set(l.quarantine(string(replace)), []byte("1")); err != nil {
					return err
				}
			}
			if n.record.guid != k.inbox {
				if err := tx.Set(l.private(n.record.id), n.text); err != nil {
					return err
				}
			}
			return errors.Join(
				tx.Set(l.public(n.record.id), []byte(key.Public().Text())),
				tx.Set(l.active(), []byte(n.record.id)))
		}
		return fmt.Errorf("%w: user key %s", attrdict.ErrNotFound, key.ID())
	})
}

// loadUserKey puts a user key that was just made, by us or by somebody at the same
// moment, into the ring.
func (k *Keys) loadUserKey(ctx context.Context, r *Ring, pub *dcrypt.PublicKey, secret Secret) error {
	var text []byte
	id := pub.ID().String()
	err := k.dict.View(ctx, func(d attrdict.Reader) error {
		v, err := get(d, userLevel(k.inbox).private(id))
		text = append([]byte(nil), v...)
		return err
	})
	if err != nil {
		return err
	}
	opener := dcrypt.Opener{Keys: finder(r.known)}
	if secret.Known() {
		opener.Password = secret.bytes
	}
	key, err := openUserKey(id, text, opener)
	if err != nil {
		return fmt.Errorf("keys: opening user key %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	remember(r.user, key)
	r.state.UserKeys++
	r.state.Opened++
	return nil
}

// VerifyFolder makes sure, with the keys of a login, that mail of a folder is encrypted
// to a key of the user's: the private half of the active key must be stored, open, and
// have its id. A public record that is damaged is written anew from the private half;
// where there is no such half, a new folder key takes the place of the active one,
// whose id is noted. A locked ring can tell nothing and changes nothing.
func (k *Keys) VerifyFolder(ctx context.Context, r *Ring, folder mailbox.GUID) error {
	c := k.Config()
	if c.Global != nil || r.state.Opened == 0 {
		return nil
	}
	l := folderLevel(folder)
	var pub *dcrypt.PublicKey
	var active []byte
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		pub, active, err = activeKey(d, l)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, ErrBadKey):
		return err
	case active == nil:
		return nil // nobody encrypts to it yet
	case pub != nil && (r.isGood(folder, pub) || r.opensFolder(pub)):
		r.markGood(folder, pub)
		return nil
	}
	if id, perr := dcrypt.ParseKeyID(string(active)); perr == nil && pub == nil {
		if key, kerr := r.PrivateKey(id); kerr == nil && key.ID() == id {
			k.log.Warn("wrote a damaged public key anew", "folder", folder.String(), "key", id.String())
			return k.dict.Update(ctx, func(tx attrdict.Tx) error {
				return tx.Set(l.public(string(active)), []byte(key.Public().Text()))
			})
		}
	}
	if c.NoGenerate || c.Curve == "" {
		return fmt.Errorf("%w: the active key of folder %s cannot be shown to be the user's", ErrBadKey, folder)
	}
	user, err := k.userPublicKey(ctx, Secret{}, c)
	if err != nil {
		return err
	}
	made, err := k.newFolderKey(ctx, folder, user, c, active)
	if err != nil {
		return err
	}
	k.log.Warn("the active folder key could not be shown to be the user's: new mail goes to a new key",
		"folder", folder.String(), "was", string(active), "key", made.ID().String())
	return nil
}
