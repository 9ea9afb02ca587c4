package keys

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// PublicKey returns the key that new mail of a folder is encrypted to, making it where
// there is none. It needs no secret, except for a user who has no key yet: then
// secret (or the configured one) seals the new user key, and the error wraps
// ErrNoUserKey where sealing is wanted and no secret is at hand.
//
// Two deliveries at once agree on one key: who commits second takes the first's.
func (k *Keys) PublicKey(ctx context.Context, folder mailbox.GUID, secret Secret) (*dcrypt.PublicKey, error) {
	c := k.Config()
	if c.Global != nil {
		return c.Global, nil
	}
	var pub *dcrypt.PublicKey
	var active []byte
	err := k.dict.View(ctx, func(r attrdict.Reader) (err error) {
		pub, active, err = activeKey(r, folderLevel(folder), k.Publics)
		return err
	})
	if errors.Is(err, ErrBadKey) && !c.NoUserKey {
		// Mail goes on to a new key; the record stays for whoever wants to mend it.
		k.log.Warn("folder key is not usable, making another", "folder", folder.String(), "err", err)
	} else if err != nil || pub != nil {
		return pub, err
	}
	if c.NoGenerate {
		return nil, fmt.Errorf("%w: the folder has none, and version 1 makes none", ErrNoGeneration)
	}
	user, err := k.userPublicKey(ctx, secret, c)
	if err != nil {
		return nil, err
	}
	return k.newFolderKey(ctx, folder, user, c, active)
}

// SaveKey is PublicKey for a login, which can tell whose key it gets: one that VerifyFolder
// accepts. A login that can tell nothing saves as a delivery does.
func (k *Keys) SaveKey(ctx context.Context, r *Ring, folder mailbox.GUID) (*dcrypt.PublicKey, error) {
	c := k.Config()
	for range 3 {
		f, err := k.verifyFolder(ctx, r, folder)
		if err != nil {
			return nil, err
		}
		if f != nil {
			if pub, err := f.key(k.Publics.parse); pub != nil && err == nil {
				return pub, nil
			}
		}
		pub, err := k.PublicKey(ctx, folder, Secret{})
		if err != nil || c.Global != nil || !r.canTell() {
			return pub, err
		}
		if owns, err := r.ownsFolder(pub); owns || err != nil {
			return pub, err
		}
	}
	return nil, fmt.Errorf("%w: the key of folder %s changes as fast as it is verified", ErrBadKey, folder)
}

// newFolderKey makes a folder key wrapped by user and makes it active in the place of
// replace: an id that was found bad, or nil for none. Where the active key has become
// another one in the meantime, that one is returned.
func (k *Keys) newFolderKey(ctx context.Context, folder mailbox.GUID, user *dcrypt.PublicKey, c Config, replace []byte) (*dcrypt.PublicKey, error) {
	if c.Curve == "" {
		return nil, ErrNoGeneration
	}
	key, err := dcrypt.GenerateKey(c.Curve)
	if err != nil {
		return nil, fmt.Errorf("keys: making a folder key: %w", err)
	}
	defer key.Destroy()
	wrapped, err := dcrypt.SealKey(key, user, dcrypt.SealOptions{})
	if err != nil {
		return nil, fmt.Errorf("keys: wrapping a folder key: %w", err)
	}
	// A user key whose private half is kept elsewhere may wrap; one that is being destroyed
	// at this moment must not.
	there := k.dict.View(ctx, func(d attrdict.Reader) error { return wraps(d, user) }) == nil
	return k.install(ctx, folderLevel(folder), key.Public(), wrapped, replace, func(tx attrdict.Reader) error {
		if !there {
			return nil
		}
		return wraps(tx, user)
	})
}

// userPublicKey returns the active user key, making one where there is none.
func (k *Keys) userPublicKey(ctx context.Context, secret Secret, c Config) (*dcrypt.PublicKey, error) {
	var pub *dcrypt.PublicKey
	var active []byte
	err := k.dict.View(ctx, func(r attrdict.Reader) (err error) {
		pub, active, err = activeKey(r, userLevel(k.inbox), k.Publics)
		if err == nil && pub == nil {
			pub, err = k.onlyUserKey(r)
		}
		return err
	})
	if err != nil || pub != nil {
		return pub, err
	}
	return k.newUserKey(ctx, secret, c, active, false)
}

// onlyUserKey finds the user's public key where active is missing: a crash of Dovecot's
// between its two transactions leaves that, and a second user key would then be made
// beside a good one.
func (k *Keys) onlyUserKey(r attrdict.Reader) (*dcrypt.PublicKey, error) {
	l := userLevel(k.inbox)
	var found *dcrypt.PublicKey
	n := 0
	prefix := l.public("")
	err := r.Iterate(prefix, func(name string, text []byte) error {
		pub, err := dcrypt.ParsePublicKey(text)
		if err != nil {
			return nil // another record may be good
		}
		if private, err := get(r, l.private(name[len(prefix):])); err != nil || private == nil {
			return err
		}
		found, n = pub, n+1
		return nil
	})
	if err != nil || n != 1 {
		return nil, err
	}
	return found, nil
}

// newUserKey makes the user's key. atLogin says that whoever asks has authenticated.
func (k *Keys) newUserKey(ctx context.Context, secret Secret, c Config, replace []byte, atLogin bool) (*dcrypt.PublicKey, error) {
	if c.NoUserKey {
		return nil, fmt.Errorf("%w, and only the user's own login may make it", ErrNoUserKey)
	}
	if c.Curve == "" {
		return nil, ErrNoGeneration
	}
	key, err := dcrypt.GenerateKey(c.Curve)
	if err != nil {
		return nil, fmt.Errorf("keys: making a user key: %w", err)
	}
	defer key.Destroy()
	if !atLogin && c.UnsealedFirst {
		// An open key is for users who have none. One who has keys, of which none can be
		// found active, gets none in clear beside them.
		has, err := k.UserKeyExists(ctx)
		if err != nil {
			return nil, err
		}
		c.UnsealedFirst = !has
	}
	text, err := c.sealUserKey(key, secret, atLogin)
	if err != nil {
		return nil, err
	}
	pub, err := k.install(ctx, userLevel(k.inbox), key.Public(), text, replace, nil)
	if err == nil && pub.ID() == key.ID() {
		k.log.Info("made a user key", "key", key.ID().String(), "curve", string(c.Curve))
	}
	return pub, err
}

// sealUserKey gives the stored form of a user key: sealed to a key, by a password, or,
// where nothing is wanted or the policy says so, open.
func (c Config) sealUserKey(key *dcrypt.PrivateKey, secret Secret, atLogin bool) ([]byte, error) {
	if !secret.known {
		secret = c.Password
	}
	switch {
	case len(c.SealKeys) > 0:
		text, err := dcrypt.SealKey(key, c.SealKeys[0].Public(), dcrypt.SealOptions{})
		if err != nil {
			return nil, fmt.Errorf("keys: sealing a user key: %w", err)
		}
		return text, nil
	case secret.Known():
		text, err := dcrypt.SealPassword(key, secret.Bytes(), c.Seal)
		if err != nil {
			return nil, fmt.Errorf("keys: sealing a user key: %w", err)
		}
		return text, nil
	case c.UnsealedFirst && !atLogin:
		return key.Text(), nil
	case secret.Wanted():
		return nil, fmt.Errorf("%w, and the password that would seal it is only known at a login", ErrNoUserKey)
	case c.RequireSealed:
		return nil, fmt.Errorf("%w, and no password or key is configured to seal it", ErrNoUserKey)
	}
	return key.Text(), nil
}

// install stores a key pair and makes it active, in one transaction. replace is the
// active id that may be displaced; another active key wins and is returned. check, where
// set, may refuse.
func (k *Keys) install(ctx context.Context, l level, pub *dcrypt.PublicKey, private, replace []byte, check func(attrdict.Reader) error) (*dcrypt.PublicKey, error) {
	result := pub
	id := pub.ID().String()
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		result = pub
		now, active, err := activeKey(tx, l, k.Publics)
		if string(active) != string(replace) {
			if now != nil || err != nil {
				result = now
				return err
			}
		}
		if check != nil {
			if err := check(tx); err != nil {
				return err
			}
		}
		if err := quarantine(tx, l, active, id); err != nil {
			return err
		}
		return errors.Join(tx.Set(l.private(id), private),
			tx.Set(l.public(id), []byte(pub.Text())),
			tx.Set(l.active(), []byte(id)))
	})
	if err != nil {
		return nil, fmt.Errorf("keys: storing key %s: %w", id, err)
	}
	return result, nil
}
