package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/dcrypt"
)

// An Opened is what some secrets have opened of an Inventory, for administration: unlike a
// Ring it looks at no more than it is asked for, and tells of each key why it stays shut. It
// is not safe for concurrent use. Close it.
type Opened struct {
	memory *Memory
	fixed  []*dcrypt.PrivateKey // the configuration's, or the caller's
	user   map[dcrypt.KeyID]*dcrypt.PrivateKey
	proven map[dcrypt.KeyID]bool // by a secret or a configured key; by new id
	failed map[*Stored]error
	sealed bool // there are user keys that lie not in the clear
	// What an import brings: user keys that it could not open, and the one to be active.
	coming map[dcrypt.KeyID]bool
	next   *dcrypt.PrivateKey
}

// add takes a user key of an import over, unless it is open already. active says that it
// will be the active one.
func (o *Opened) add(key *dcrypt.PrivateKey, active bool) (taken bool) {
	if have := o.user[key.ID()]; have != nil {
		if active {
			o.next = have
		}
		return false
	}
	remember(o.user, key)
	if active {
		o.next = key
	}
	return true
}

// Open opens user keys with the secrets, the configured one among them where it is known,
// and with configured keys. A seal that a change has prepared opens its key, too. That a
// key stays shut is no error: see UserKey.
func (k *Keys) Open(ctx context.Context, inv *Inventory, secrets []Secret) (*Opened, error) {
	c := k.Config()
	o := &Opened{
		memory: c.Memory, fixed: slices.Concat(c.SealKeys, c.OpenKeys, c.GlobalPrivate),
		user: map[dcrypt.KeyID]*dcrypt.PrivateKey{}, proven: map[dcrypt.KeyID]bool{}, failed: map[*Stored]error{}, coming: map[dcrypt.KeyID]bool{},
	}
	if c.Password.Known() {
		secrets = append(slices.Clone(secrets), c.Password)
	}
	var waiting []*Stored
	for _, st := range inv.Keys {
		if st.User && st.Text != nil && !st.Retired {
			o.sealed = o.sealed || !st.Lost && !isOpenText(st.Text)
			waiting = append(waiting, st)
		}
	}
	for again := true; again; { // a user key may be wrapped by another
		again = false
		var locked []*Stored
		for _, st := range waiting {
			if err := ctx.Err(); err != nil {
				o.Close()
				return nil, err
			}
			err := o.openUser(st, secrets)
			if o.failed[st] = err; err == nil {
				again = true
			} else if errors.Is(err, dcrypt.ErrNoKey) {
				locked = append(locked, st)
			}
		}
		waiting = locked
	}
	return o, nil
}

// openUser tries every secret on a user key, and on the seal that waits beside it.
func (o *Opened) openUser(st *Stored, secrets []Secret) error {
	if id, err := dcrypt.ParseKeyID(st.ID); err == nil && o.user[id] != nil {
		return nil // another record of the same key has opened
	}
	var failed error
	for _, text := range [][]byte{st.Text, st.Pending} {
		if text == nil {
			continue
		}
		key, proven, err := o.tryUser(st.ID, text, secrets)
		if err == nil {
			remember(o.user, key)
			o.proven[key.ID()] = proven
			return nil
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

func (o *Opened) tryUser(id string, text []byte, secrets []Secret) (*dcrypt.PrivateKey, bool, error) {
	var failed error
	password := isPasswordText(text)
	if !password {
		secrets = nil
	}
	for _, s := range append([]Secret{{}}, secrets...) {
		opener := dcrypt.Opener{Keys: finder(o.wrapper), Known: o.memory.Known()}
		if s.Known() {
			opener.Password = s.bytes
		}
		key, err := openUserKey(id, text, opener)
		if err == nil {
			return key, password || o.byFixed(text), nil
		}
		if failed == nil || s.Known() {
			failed = err
		}
	}
	if errors.Is(failed, dcrypt.ErrPassword) || errors.Is(failed, dcrypt.ErrPasswordRequired) {
		failed = fmt.Errorf("%w for user key %s", ErrPassword, id)
	}
	return nil, false, failed
}

func (o *Opened) byFixed(text []byte) bool {
	id, ok := wrapperOf(text)
	return ok && slices.ContainsFunc(o.fixed, func(key *dcrypt.PrivateKey) bool { return matches(key, id) })
}

func (o *Opened) wrapper(id dcrypt.KeyID) *dcrypt.PrivateKey {
	for _, key := range o.fixed {
		if matches(key, id) {
			return key
		}
	}
	return o.user[id]
}

// PrivateKey implements dcrypt.KeyFinder over the user keys that are open, and configured
// ones.
func (o *Opened) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	return finder(o.wrapper).PrivateKey(id)
}

// UserKey returns a user key, which ends with the Opened, or why it stays shut: the error
// wraps ErrPassword where a password would open it, dcrypt.ErrNoKey where a key would.
func (o *Opened) UserKey(st *Stored) (*dcrypt.PrivateKey, error) {
	if id, err := dcrypt.ParseKeyID(st.ID); err == nil && o.user[id] != nil {
		return o.user[id], nil
	}
	if err := o.failed[st]; err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: the private half of user key %s is missing", ErrBadKey, st.ID)
}

// FolderKey opens a folder key, which the caller destroys. The error wraps dcrypt.ErrNoKey
// where the user key that wraps it is not open, and ErrBadKey where it is damaged.
func (o *Opened) FolderKey(st *Stored) (*dcrypt.PrivateKey, error) {
	if st.Text == nil {
		return nil, st.Check()
	}
	return openFolderText(st.ID, st.Text, dcrypt.Opener{Keys: finder(o.wrapper), Known: o.memory.Known()})
}

func openFolderText(id string, text []byte, o dcrypt.Opener) (*dcrypt.PrivateKey, error) {
	key, err := dcrypt.ParsePrivateKey(text, o)
	switch {
	case errors.Is(err, dcrypt.ErrNoKey):
		return nil, fmt.Errorf("keys: folder key %s: the user key that wraps it is not open: %w", id, err)
	case err != nil:
		return nil, fmt.Errorf("%w: folder key %s: %w", ErrBadKey, id, err)
	}
	if want, err := dcrypt.ParseKeyID(id); err != nil || !matches(key, want) {
		key.Destroy()
		return nil, fmt.Errorf("%w: folder key %s is another key", ErrBadKey, id)
	}
	return key, nil
}

// active returns the active user key, where it is shown to be the user's: a secret opened
// it, or there is nothing that a secret would open.
func (o *Opened) active(inv *Inventory) (*dcrypt.PrivateKey, error) {
	if inv.ActiveUser == "" {
		return nil, fmt.Errorf("%w: no user key is active", ErrNoUserKey)
	}
	for _, st := range inv.Keys {
		if !st.User || !st.Active || st.Lost {
			continue
		}
		key, err := o.UserKey(st)
		switch {
		case err != nil:
			return nil, err
		case o.sealed && !o.proven[key.ID()]:
			return nil, fmt.Errorf("%w: the active user key %s opens without a secret, though others do not: it may be anybody's", ErrBadKey, st.ID)
		case st.Public() == nil || !st.Public().Equal(key.Public()):
			return nil, fmt.Errorf("%w: the public half of the active user key %s is missing or another key's", ErrBadKey, st.ID)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%w: the active user key %s is not there", ErrBadKey, printable([]byte(inv.ActiveUser)))
}

// Close destroys the user keys.
func (o *Opened) Close() {
	for _, key := range o.user {
		key.Destroy()
	}
	clear(o.user)
}
