package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// A Ring holds the private keys that one login's secret has opened, and opens folder
// keys with them when mail asks. It finds a key by its new id or its old one and under
// any mailbox GUID, so that mail outlives a lost GUID. Its methods may be called
// concurrently. It must be closed; keys that it returned must not be used after that.
type Ring struct {
	keys  *Keys
	state State

	mu     sync.Mutex
	closed bool
	user   map[dcrypt.KeyID]*dcrypt.PrivateKey // the user's, by both ids
	folder map[dcrypt.KeyID]*dcrypt.PrivateKey // folder keys opened so far, by both ids
	fixed  []*dcrypt.PrivateKey                // configured: the configuration's to destroy
	good   map[string]bool                     // folders whose active key was shown to be the user's
}

// State says what a login's secret did.
type State struct {
	UserKeys int // user keys that are stored
	Opened   int // of these, opened
	// Repaired says in words what was found wrong and mended at this login: keys made,
	// sealed, replaced. For the log.
	Repaired []string
}

// Locked reports that keys are there and the secret opened none.
func (s State) Locked() bool { return s.UserKeys > 0 && s.Opened == 0 }

// State returns what unlocking found.
func (r *Ring) State() State { return r.state }

// PrivateKey implements dcrypt.KeyFinder. The error wraps dcrypt.ErrNoKey where the
// key is missing, sealed by what this login has not, or its record is damaged (then
// also ErrBadKey), and is ErrClosed on a closed ring.
func (r *Ring) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if key := r.known(id); key != nil {
		return key, nil
	}
	var found *dcrypt.PrivateKey
	err := r.keys.dict.View(context.Background(), func(d attrdict.Reader) (err error) {
		found, err = r.find(d, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (r *Ring) known(id dcrypt.KeyID) *dcrypt.PrivateKey {
	for _, key := range r.fixed {
		if matches(key, id) {
			return key
		}
	}
	if key := r.user[id]; key != nil {
		return key
	}
	return r.folder[id]
}

// find looks in the dictionary: by name; by the other of the key's two ids, which its
// public key tells; and at last by opening whatever has not been opened.
func (r *Ring) find(d attrdict.Reader, id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	names, err := privateNames(d)
	if err != nil {
		return nil, err
	}
	var failed error
	try := func(wanted string) *dcrypt.PrivateKey {
		for _, n := range names {
			if n.record.user || n.record.id != wanted {
				continue
			}
			key, err := r.open(n)
			if err != nil {
				failed = err
			} else if matches(key, id) {
				return key
			}
		}
		return nil
	}
	if key := try(id.String()); key != nil {
		return key, nil
	}
	if other := otherID(d, id); other != "" {
		if key := try(other); key != nil {
			return key, nil
		}
	}
	if failed == nil {
		for _, n := range names {
			if key, err := r.open(n); err == nil && matches(key, id) {
				return key, nil
			}
		}
		failed = fmt.Errorf("%w: key %s", dcrypt.ErrNoKey, id)
	}
	return nil, failed
}

// A namedKey is a stored private key with its name.
type namedKey struct {
	record record
	text   []byte
}

// maxRecords bounds what one dictionary may make a login look at.
const maxRecords = 100_000

func privateNames(d attrdict.Reader) ([]namedKey, error) {
	var names []namedKey
	err := d.Iterate("priv/", func(name string, text []byte) error {
		if rec, ok := parsePrivateName(name); ok {
			if len(names) == maxRecords {
				return fmt.Errorf("%w: more than %d private keys", ErrBadKey, maxRecords)
			}
			names = append(names, namedKey{rec, append([]byte(nil), text...)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: listing private keys: %w", err)
	}
	return names, nil
}

// otherID finds the name under which a key may be stored instead, from the public keys:
// streams of version 1 name the old id, key texts of version 1 hang under it.
func otherID(d attrdict.Reader, id dcrypt.KeyID) string {
	var other string
	d.Iterate("shared/", func(name string, text []byte) error {
		if !isPublicName(name) {
			return nil
		}
		pub, err := dcrypt.ParsePublicKey(text)
		if err != nil {
			return nil // one bad record must not hide the others
		}
		old, ok := pub.OldID()
		switch {
		case ok && old == id:
			other = pub.ID().String()
		case ok && pub.ID() == id:
			other = old.String()
		default:
			return nil
		}
		return errStop
	})
	return other
}

var errStop = errors.New("keys: stop")

// open opens a folder key's record with the keys at hand and remembers it.
func (r *Ring) open(n namedKey) (*dcrypt.PrivateKey, error) {
	id, err := dcrypt.ParseKeyID(n.record.id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dcrypt.ErrNoKey, err)
	}
	if key := r.folder[id]; key != nil {
		return key, nil
	}
	key, err := dcrypt.ParsePrivateKey(n.text, dcrypt.Opener{Keys: finder(r.known)})
	switch {
	case errors.Is(err, dcrypt.ErrNoKey):
		return nil, fmt.Errorf("keys: key %s is locked: no user key that wraps it is open: %w", n.record.id, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w: key %s: %w", dcrypt.ErrNoKey, ErrBadKey, n.record.id, err)
	}
	if !matches(key, id) {
		key.Destroy()
		return nil, fmt.Errorf("%w: %w: key %s is another key", dcrypt.ErrNoKey, ErrBadKey, n.record.id)
	}
	remember(r.folder, key)
	return key, nil
}

// OpensFolder reports whether the active key of a folder was shown to be the user's in
// this ring: its private half is stored, opens and has its id.
func (r *Ring) opensFolder(pub *dcrypt.PublicKey) bool {
	key, err := r.PrivateKey(pub.ID())
	return err == nil && key.Public().Equal(pub)
}

// UserKey returns the open private user key with an id, or nil.
func (r *Ring) userKey(id dcrypt.KeyID) *dcrypt.PrivateKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.user[id]
}

func (r *Ring) isGood(folder mailbox.GUID, pub *dcrypt.PublicKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good[folder.String()+pub.ID().String()]
}

func (r *Ring) markGood(folder mailbox.GUID, pub *dcrypt.PublicKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.good[folder.String()+pub.ID().String()] = true
}

// Close destroys what the ring has opened.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, m := range []map[dcrypt.KeyID]*dcrypt.PrivateKey{r.user, r.folder} {
		for _, key := range m {
			key.Destroy()
		}
		clear(m)
	}
	return nil
}

func matches(key *dcrypt.PrivateKey, id dcrypt.KeyID) bool {
	if key.ID() == id {
		return true
	}
	old, ok := key.OldID()
	return ok && old == id
}

// remember files a key under both its ids.
func remember(m map[dcrypt.KeyID]*dcrypt.PrivateKey, key *dcrypt.PrivateKey) {
	m[key.ID()] = key
	if old, ok := key.OldID(); ok {
		m[old] = key
	}
}

// A finder makes a dcrypt.KeyFinder of a lookup.
type finder func(dcrypt.KeyID) *dcrypt.PrivateKey

func (f finder) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	if key := f(id); key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: key %s", dcrypt.ErrNoKey, id)
}
