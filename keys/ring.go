package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A Ring holds the private keys that one login's secret has opened, and opens folder
// keys with them when mail asks. It finds a key by its new id or its old one and under
// any mailbox GUID, so that mail outlives a lost GUID. Its methods may be called
// concurrently. It must be closed; keys that it returned must not be used after that.
//
// It tells keys that read from keys that prove something. Whoever can write the
// dictionary can store a user key in clear, or one wrapped by the user's public key, and
// both open; only one that the login's secret itself opens must be the user's. Such a key
// is trusted: mail goes to folder keys that a trusted user key wraps, and to no others.
type Ring struct {
	keys  *Keys
	state State

	mu      sync.Mutex
	closed  bool
	user    map[dcrypt.KeyID]*dcrypt.PrivateKey // the user's, by both ids
	trusted map[dcrypt.KeyID]userRecord         // of these, by new id, those that are trusted
	adopted map[dcrypt.KeyID]struct{}           // of these, by new id, those that Adopt was given
	folder  map[dcrypt.KeyID]*dcrypt.PrivateKey // folder keys opened so far, by both ids
	wrapped map[dcrypt.KeyID]dcrypt.KeyID       // folder keys, by new id, and the user key that wraps each
	fixed   []*dcrypt.PrivateKey                // configured: the configuration's to destroy
	bad     map[[sha256.Size]byte]error         // key texts that failed, and cost something
	budget  int                                 // rounds left for opening keys that nobody named
}

func newRing(k *Keys, fixed []*dcrypt.PrivateKey) *Ring {
	return &Ring{
		keys: k, fixed: fixed, budget: searchRounds,
		user: map[dcrypt.KeyID]*dcrypt.PrivateKey{}, folder: map[dcrypt.KeyID]*dcrypt.PrivateKey{},
		trusted: map[dcrypt.KeyID]userRecord{}, adopted: map[dcrypt.KeyID]struct{}{}, wrapped: map[dcrypt.KeyID]dcrypt.KeyID{},
		bad: map[[sha256.Size]byte]error{},
	}
}

// State says what a login's secret did.
type State struct {
	UserKeys int // user keys that are stored
	Opened   int // of these, opened
	// Unproven says that the secret opened no key though there is one to open: such a login
	// changes nothing.
	Unproven bool
	// Repaired says in words what was found wrong and mended at this login: keys made,
	// sealed, replaced. For the log.
	Repaired []string
}

// Locked reports that keys are there and the secret opened none. Keys that lie open may
// read all the same.
func (s State) Locked() bool { return s.Unproven || s.UserKeys > 0 && s.Opened == 0 }

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
	if key := r.wrapper(id); key != nil {
		return key
	}
	return r.folder[id]
}

// open opens a folder key's record with the keys at hand and remembers it.
func (r *Ring) open(n namedKey) (*dcrypt.PrivateKey, error) {
	id, err := dcrypt.ParseKeyID(n.record.id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dcrypt.ErrNoKey, err)
	}
	if key := r.folder[id]; key != nil {
		return key, nil
	}
	// With its name: the same text may stand under another one, where it belongs.
	sum := sha256.Sum256(append([]byte(n.record.id), n.text...))
	if err := r.bad[sum]; err != nil {
		return nil, err
	}
	// Only user keys wrap folder keys; a folder key that wraps another would let records
	// hang on each other in circles.
	key, err := dcrypt.ParsePrivateKey(n.text, dcrypt.Opener{Keys: finder(r.wrapper), Known: r.keys.Config().Memory.Known()})
	switch {
	case errors.Is(err, dcrypt.ErrNoKey):
		return nil, fmt.Errorf("%w: key %s is locked: %w", dcrypt.ErrNoKey, n.record.id, errLocked)
	case err != nil:
		err = fmt.Errorf("%w: %w: key %s: %w", dcrypt.ErrNoKey, ErrBadKey, n.record.id, err)
	case !matches(key, id):
		key.Destroy()
		err = fmt.Errorf("%w: %w: key %s is another key", dcrypt.ErrNoKey, ErrBadKey, n.record.id)
	}
	if err != nil {
		r.bad[sum] = err
		return nil, err
	}
	remember(r.folder, key)
	if by, ok := wrapperOf(n.text); ok {
		r.wrapped[key.ID()] = by
		if user := r.user[by]; user != nil && key.ID() == id {
			r.keys.Config().Memory.add(openedBy(n.record.id, n.text, user.ID()))
		}
	}
	return key, nil
}

// wrapper finds a key that may wrap a folder key.
func (r *Ring) wrapper(id dcrypt.KeyID) *dcrypt.PrivateKey {
	for _, key := range r.fixed {
		if matches(key, id) {
			return key
		}
	}
	return r.user[id]
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
	clear(r.trusted)
	clear(r.adopted)
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
