package keys

import (
	"errors"
	"fmt"

	"mailcrypt/dcrypt"
)

// A Finder finds the keys of messages among what an Opened opens. It is not safe for
// concurrent use. Close it before its Opened; keys that it returned must not be used after
// that.
type Finder struct {
	opened *Opened
	inv    *Inventory
	folder map[dcrypt.KeyID]*dcrypt.PrivateKey
	tried  map[*Stored]error
	budget int // rounds left for opening keys that no id points to
	why    error
}

// Finder returns a finder of keys of an inventory.
func (o *Opened) Finder(inv *Inventory) *Finder {
	return &Finder{o, inv, map[dcrypt.KeyID]*dcrypt.PrivateKey{}, map[*Stored]error{}, searchRounds, nil}
}

// Err says why a key was not found, nil where all were: of several that would each have done,
// what a secret would mend comes first.
func (f *Finder) Err() error { return f.why }

// PrivateKey implements dcrypt.KeyFinder. The error wraps dcrypt.ErrNoKey, and beside it
// ErrLocked where the key is there and what was given does not open it, or ErrBadKey where
// what is stored is damaged.
func (f *Finder) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	key, err := f.find(id)
	if err != nil && (f.why == nil || errors.Is(err, ErrLocked) && !errors.Is(f.why, ErrLocked)) {
		f.why = err
	}
	return key, err
}

func (f *Finder) find(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	if key := f.opened.wrapper(id); key != nil {
		return key, nil
	}
	if key := f.folder[id]; key != nil {
		return key, nil
	}
	var failed error
	for _, st := range f.inv.Keys {
		if !st.Has(id) {
			continue
		}
		err := f.open(st)
		if key := f.folder[id]; err == nil && key != nil {
			return key, nil
		}
		// Several folders may have the key; what can be mended by a secret is told first.
		if failed == nil || errors.Is(err, ErrLocked) {
			failed = err
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("%w: %w", dcrypt.ErrNoKey, failed)
	}
	return f.search(id)
}

// open opens a folder key once; of a user key it tells why that is shut.
func (f *Finder) open(st *Stored) error {
	if err, done := f.tried[st]; done {
		return err
	}
	err := f.try(st)
	f.tried[st] = err
	return err
}

func (f *Finder) try(st *Stored) error {
	if st.User {
		_, err := f.opened.UserKey(st)
		switch {
		case err == nil || errors.Is(err, ErrBadKey):
			return err
		case errors.Is(err, ErrPassword), errors.Is(err, dcrypt.ErrNoKey):
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return fmt.Errorf("%w: user key %s: %w", ErrBadKey, st.ID, err)
	}
	key, err := f.opened.FolderKey(st)
	switch {
	case err == nil:
		remember(f.folder, key)
		return nil
	case errors.Is(err, dcrypt.ErrNoKey) && f.wrapperThere(st):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}

// wrapperThere reports whether the user key that wraps a folder key is stored, so that a
// secret would do.
func (f *Finder) wrapperThere(st *Stored) bool {
	id, ok := st.Wrapper()
	if !ok {
		return false
	}
	for _, u := range f.inv.Keys {
		if u.User && u.Text != nil && u.Has(id) {
			return true
		}
	}
	return false
}

// search opens folder keys whose public half is not there to tell their other id.
func (f *Finder) search(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	var locked error
	for _, st := range f.inv.Keys {
		if st.User || st.publicIDs() != nil || st.Text == nil {
			continue
		}
		info, err := dcrypt.Inspect(st.Text)
		if err != nil || f.budget < searchCost(info) {
			continue
		}
		if _, done := f.tried[st]; !done {
			f.budget -= searchCost(info)
		}
		err = f.open(st)
		if key := f.folder[id]; err == nil && key != nil {
			return key, nil
		}
		if errors.Is(err, ErrLocked) {
			locked = err
		}
	}
	if locked != nil {
		return nil, fmt.Errorf("%w: key %s, unless it is one that stays shut: %w", dcrypt.ErrNoKey, id, locked)
	}
	return nil, fmt.Errorf("%w: key %s", dcrypt.ErrNoKey, id)
}

// Close destroys the folder keys.
func (f *Finder) Close() {
	for _, key := range f.folder {
		key.Destroy()
	}
	clear(f.folder)
}
