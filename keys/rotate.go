package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// A Generated is the active key of a folder, or of the user, after it was made sure that
// there is one.
type Generated struct {
	GUID mailbox.GUID
	ID   string
	Made bool
	Was  string // the id that was active before, of a key that was made
	Err  error  // there is none

	text    []byte
	pub     *dcrypt.PublicKey
	replace string // the id that is to be displaced
}

// Text is the private key of a Generated that was made, as it is stored.
func (g Generated) Text() []byte { return g.text }

// GenerateUserKey makes a user key where there is none, and with rotate another one, which
// becomes active; the old ones stay, and folder keys stay under them: see Rewrap. It is sealed
// as new keys are, by secret where that takes one. The error wraps ErrNoUserKey where a
// secret is needed and none is given, and ErrPassword where user keys are sealed by passwords
// and secret opens none of them: a login would not open the new key either.
func (k *Keys) GenerateUserKey(ctx context.Context, secret Secret, rotate bool) (Generated, error) {
	inv, err := k.Inventory(ctx)
	if err != nil {
		return Generated{}, err
	}
	g := Generated{GUID: k.inbox, ID: inv.ActiveUser}
	usable := false
	for _, st := range inv.Keys {
		usable = usable || st.User && st.Active && st.Public() != nil && st.Text != nil && !st.Lost
	}
	if usable && !rotate {
		return g, nil
	}
	c := k.Config()
	if c.Global != nil {
		return g, fmt.Errorf("%w: all mail is encrypted to a global key", ErrNoGeneration)
	}
	if err := k.provesItself(ctx, inv, c, secret); err != nil {
		return g, err
	}
	var fresh *dcrypt.PrivateKey
	err = g.make(c, func(key *dcrypt.PrivateKey) ([]byte, error) {
		text, err := c.sealUserKey(key, secret, true)
		if err == nil {
			plain := key.Text()
			defer clear(plain)
			fresh, err = dcrypt.ParsePrivateKey(plain, dcrypt.Opener{})
		}
		return text, err
	})
	if err != nil {
		return g, err
	}
	defer fresh.Destroy()
	k.onUserKey(fresh, inv.ActiveUser, false)
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error { return g.activate(tx, userLevel(k.inbox), inv.ActiveUser) })
	if err != nil {
		return g, fmt.Errorf("keys: storing user key %s: %w", g.ID, err)
	}
	k.onUserKey(fresh, inv.ActiveUser, true)
	g.Made, g.Was = true, inv.ActiveUser
	k.log.Info("made a user key", "key", g.ID, "was", printable([]byte(g.Was)))
	return g, nil
}

func (k *Keys) onUserKey(key *dcrypt.PrivateKey, was string, stored bool) {
	if k.OnUserKey != nil {
		k.OnUserKey(key, was, stored)
	}
}

// provesItself wants the secret that is to seal a new user key to open one that is there,
// where any is sealed by a password.
func (k *Keys) provesItself(ctx context.Context, inv *Inventory, c Config, secret Secret) error {
	if !secret.known || len(c.SealKeys) > 0 {
		return nil
	}
	sealed := false
	for _, st := range inv.Keys {
		if !st.User || st.Lost || !isPasswordText(st.Text) {
			continue
		}
		sealed = true
		if err := ctx.Err(); err != nil {
			return err
		}
		if key, err := openUserKey(st.ID, st.Text, dcrypt.Opener{Password: secret.bytes, Known: c.Memory.Known()}); err == nil {
			key.Destroy()
			return nil
		}
	}
	if sealed {
		return fmt.Errorf("%w: it opens none of the present user keys, so it shall not seal a new one", ErrPassword)
	}
	return nil
}

// make makes a key pair and its stored text.
func (g *Generated) make(c Config, seal func(*dcrypt.PrivateKey) ([]byte, error)) error {
	if c.Curve == "" || c.NoGenerate {
		return ErrNoGeneration
	}
	key, err := dcrypt.GenerateKey(c.Curve)
	if err != nil {
		return fmt.Errorf("keys: making a key: %w", err)
	}
	defer key.Destroy()
	if g.text, err = seal(key); err != nil {
		return err
	}
	g.ID, g.pub = key.Public().ID().String(), key.Public()
	return nil
}

// activate stores the key and makes it active in the place of was; the error wraps
// attrdict.ErrChanged where another one is active by now.
func (g *Generated) activate(tx attrdict.Tx, l level, was string) error {
	now, err := get(tx, l.active())
	if err != nil {
		return err
	}
	if string(now) != was {
		return fmt.Errorf("%w: another key has become active", attrdict.ErrChanged)
	}
	if _, err := dcrypt.ParseKeyID(was); err == nil {
		// Mail under way may still be encrypted to it.
		if err := tx.Set(l.rotated(was), []byte(strconv.FormatInt(time.Now().Unix(), 10))); err != nil {
			return err
		}
	}
	return errors.Join(tx.Set(l.private(g.ID), g.text),
		tx.Set(l.public(g.ID), []byte(g.pub.Text())),
		tx.Set(l.active(), []byte(g.ID)))
}

// GenerateFolderKeys makes a key for every folder that has none, wrapped by the active user
// key, and with rotate for the others too, whose old keys stay for the mail that needs them. It
// is one transaction. A folder whose key somebody else makes meanwhile has that one.
func (k *Keys) GenerateFolderKeys(ctx context.Context, folders []mailbox.GUID, rotate bool, report func(done, total int)) ([]Generated, error) {
	inv, err := k.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	c := k.Config()
	if c.Global != nil {
		return nil, fmt.Errorf("%w: all mail is encrypted to a global key", ErrNoGeneration)
	}
	var user *dcrypt.PublicKey
	usable := map[mailbox.GUID]bool{}
	for _, st := range inv.Keys {
		switch {
		case st.User && st.Active && st.Text != nil && !st.Lost:
			user = st.Public()
		case !st.User && st.Active && st.Public() != nil && st.Check() == nil && !st.Retired:
			usable[st.GUID] = true
		}
	}
	if user == nil {
		return nil, fmt.Errorf("%w: no user key is active", ErrNoUserKey)
	}
	rows := make([]Generated, 0, len(folders))
	for i, guid := range folders {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g := Generated{GUID: guid, ID: inv.Active[guid]}
		if !usable[guid] || rotate {
			g.replace = inv.Active[guid]
			g.Err = g.make(c, func(key *dcrypt.PrivateKey) ([]byte, error) {
				return dcrypt.SealKey(key, user, dcrypt.SealOptions{})
			})
		}
		rows = append(rows, g)
		if report != nil {
			report(i+1, len(folders))
		}
	}
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		if err := wraps(tx, user); err != nil {
			return err
		}
		for i := range rows {
			if err := rows[i].settle(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: storing folder keys: %w", err)
	}
	return rows, nil
}

// settle stores a new folder key, or takes over the one that somebody else has made.
func (g *Generated) settle(tx attrdict.Tx) error {
	if g.text == nil {
		return nil
	}
	l := folderLevel(g.GUID)
	err := g.activate(tx, l, g.replace)
	if errors.Is(err, attrdict.ErrChanged) {
		now, gerr := get(tx, l.active())
		if gerr != nil || now == nil {
			return errors.Join(err, gerr)
		}
		g.ID, g.Made, g.Was = string(now), false, ""
		return nil
	}
	g.ID, g.Made, g.Was = g.pub.ID().String(), true, g.replace
	return err
}

// wraps makes sure that the user key which new folder keys were wrapped by is still there:
// it may have been destroyed in between. It may hang under another GUID than INBOX's, where
// INBOX was renamed.
func wraps(tx attrdict.Reader, user *dcrypt.PublicKey) error {
	names, _, err := privateNames(tx, true, maxUserKeys)
	if err != nil {
		return err
	}
	for _, n := range names {
		if id, err := dcrypt.ParseKeyID(n.record.id); err == nil && hasID(user, id) {
			return nil
		}
	}
	return fmt.Errorf("%w: user key %s is gone", attrdict.ErrChanged, user.ID())
}
