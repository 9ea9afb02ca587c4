package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// proves reports whether a user key's text, which opened, was sealed by somebody who had
// the login's secret, or by a configured key.
func (r *Ring) proves(text []byte) bool {
	info, err := dcrypt.Inspect(text)
	if err != nil {
		return false
	}
	switch info.Protection {
	case dcrypt.ByPassword:
		return true
	case dcrypt.ByKey:
		id, err := dcrypt.ParseKeyID(info.Protector)
		return err == nil && slices.ContainsFunc(r.fixed, func(key *dcrypt.PrivateKey) bool { return matches(key, id) })
	}
	return false
}

// judge decides which user keys are trusted, and reports whether this login may change
// anything. Where the secret opened a key, such keys are trusted. Where it opened none, open
// keys are the user's as long as no other key contradicts: a user without a password, or
// before the first login with one.
func (r *Ring) judge(opened []openedKey, records []userRecord) bool {
	anyProven := slices.ContainsFunc(opened, func(o openedKey) bool { return o.proven })
	contradicts := func(rec userRecord) bool {
		if rec.lost != nil {
			return false
		}
		id, err := dcrypt.ParseKeyID(rec.record.id)
		return err != nil || r.user[id] == nil || !isOpenText(rec.text)
	}
	if !anyProven && slices.ContainsFunc(records, contradicts) {
		return false
	}
	for _, o := range opened {
		if o.proven == anyProven {
			r.trusted[o.key.ID()] = o.rec
		}
	}
	return true
}

// isOpenText reports whether a private key text is in the clear.
func isOpenText(text []byte) bool {
	info, err := dcrypt.Inspect(text)
	return err == nil && info.Private && info.Protection == dcrypt.Unprotected
}

// isWrapped reports whether a trusted user key wraps a folder key that is open.
func (r *Ring) isWrapped(folder dcrypt.KeyID) bool {
	by, ok := r.wrapped[folder]
	return ok && r.vouches(by)
}

// vouches reports whether what a user key wraps is the user's: it is trusted, or Adopt was given it,
// and then a folder key may be under it before the ring is told that it is stored. r.mu is held.
func (r *Ring) vouches(by dcrypt.KeyID) bool {
	if r.user[by] == nil {
		return false
	}
	id := r.user[by].ID()
	_, trusted := r.trusted[id]
	_, adopted := r.adopted[id]
	return trusted || adopted
}

// canTell reports whether the login has proved whose keys are whose: it has a trusted key.
func (r *Ring) canTell() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.trusted) > 0
}

// trusts reports whether a public key is that of a trusted user key.
func (r *Ring) trusts(pub *dcrypt.PublicKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.trusted[pub.ID()]
	return ok && r.user[pub.ID()] != nil && r.user[pub.ID()].Public().Equal(pub)
}

// trustedKey returns a trusted user key with its record, that of the given id where it is
// among them; nil where there is none.
func (r *Ring) trustedKey(prefer []byte) (*dcrypt.PrivateKey, userRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *dcrypt.PrivateKey
	var rec userRecord
	for id, t := range r.trusted {
		key := r.user[id]
		switch {
		case key == nil:
		case t.record.id == string(prefer):
			return key, t
		case found == nil || id.String() < found.ID().String(): // always the same
			found, rec = key, t
		}
	}
	return found, rec
}

// wrapKey returns a trusted user key that may wrap a folder key now: one that is still
// stored, for the ring may outlive it, and the active one where that is among them.
func (r *Ring) wrapKey(ctx context.Context) (*dcrypt.PrivateKey, error) {
	inv, err := r.keys.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	var found *dcrypt.PrivateKey
	for _, st := range inv.Keys { // in an order that does not change
		if !st.User || st.Text == nil || st.Lost || st.Retired {
			continue
		}
		for id := range r.trusted {
			key := r.user[id]
			if key == nil || !st.Has(id) {
				continue
			}
			if st.Active {
				return key, nil
			}
			if found == nil {
				found = key
			}
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: no user key of this login is stored any more", ErrNoUserKey)
	}
	return found, nil
}

// Adopt hands a new user key to a ring that trusts the one that was active before: its
// login's secret seals both, and the ring shall read on. It reads with it from now on; trust
// says that it is stored, so that mail may depend on it. The ring has a copy of its own.
func (r *Ring) Adopt(key *dcrypt.PrivateKey, was string, trust bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := dcrypt.ParseKeyID(was)
	if err != nil || r.closed || r.user[id] == nil {
		return nil
	}
	if _, ok := r.trusted[r.user[id].ID()]; !ok {
		return nil
	}
	if r.user[key.ID()] == nil {
		text := key.Text()
		defer clear(text)
		own, err := dcrypt.ParsePrivateKey(text, dcrypt.Opener{})
		if err != nil {
			return err
		}
		remember(r.user, own)
		r.adopted[key.ID()] = struct{}{}
	}
	if trust {
		r.trusted[key.ID()] = userRecord{namedKey: namedKey{record: record{r.keys.inbox, true, key.ID().String()}}}
		clear(r.bad) // what did not open may open now
	}
	return nil
}

// ownsFolder reports whether a folder's public key is the user's: its private half is
// stored, opens, has its id, and is wrapped by a trusted user key. An error means that
// it cannot be told.
func (r *Ring) ownsFolder(pub *dcrypt.PublicKey) (bool, error) {
	key, err := r.PrivateKey(pub.ID())
	switch {
	case errors.Is(err, dcrypt.ErrNoKey):
		return false, nil
	case err != nil:
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return key.Public().Equal(pub) && r.isWrapped(pub.ID()), nil
}

// Fresh reports whether a login that comes now may share the ring: the active user key is
// still one that the ring trusts. Where it is not, be it that an administrator has made a
// new one or that somebody has put theirs there, only a login's secret can tell.
func (r *Ring) Fresh(ctx context.Context) bool {
	if r.keys.Config().Global != nil {
		return true
	}
	var pub *dcrypt.PublicKey
	var active []byte
	err := r.keys.dict.View(ctx, func(d attrdict.Reader) (err error) {
		pub, active, err = activeKey(d, userLevel(r.keys.inbox), r.keys.Publics)
		return err
	})
	switch {
	case err != nil:
		return !errors.Is(err, ErrBadKey)
	case pub == nil:
		return active == nil && r.state.UserKeys == 0
	}
	return r.trusts(pub)
}
