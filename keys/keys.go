// Package keys manages the keys that mail is encrypted to, in Dovecot's layout of
// mailbox attributes (Dovecot: mail-crypt-key.c).
//
//	user key     one active, older ones kept; sealed by a password, by an ECC key, or open
//	folder key   one active per folder, older ones kept; wrapped by the user's public key
//	global key   configured, not stored: one public key for saving, private keys for reading
//
// Saving needs public keys alone: a folder's, or the user's to make one. Reading needs
// a [Ring], which holds what one login's secret has opened.
//
// Names in the dictionary, where <guid> is the folder's GUID, <inbox> that of INBOX,
// crypt is vendor/vendor.dovecot/pvt/crypt and server vendor/vendor.dovecot/pvt/server:
//
//	shared/<guid>/crypt/active                  id of the key for new mail
//	shared/<guid>/crypt/pubkeys/<id>            public key
//	priv/<guid>/crypt/privkeys/<id>             private key, wrapped by a user key
//	shared/<inbox>/server/crypt/active          the same three of the user key
//	shared/<inbox>/server/crypt/pubkeys/<id>
//	priv/<inbox>/server/crypt/privkeys/<id>     sealed by a password or a key, or open
//
// Of our own are, under the same pvt/, mailcrypt/pending/<id>: the new seal of a user
// key while its password is being changed, mailcrypt/quarantine/<id>: ids that were
// active though nobody could open them, and those that names.go tells of. Dovecot ignores
// them.
//
// Every change is one transaction of the dictionary. No operation removes a private key
// before what replaces it has been read back.
package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/secret"
	"mailcrypt/mailbox"
)

var (
	// ErrNoUserKey reports a user without a user key where none may be made: a
	// delivery is deferred until the first login.
	ErrNoUserKey = errors.New("keys: the user has no key yet")
	// ErrNoGeneration reports that a key is needed and the settings name no curve.
	ErrNoGeneration = errors.New("keys: no curve is configured, so no key can be made")
	// ErrPassword reports a secret that opens none of the user's keys.
	ErrPassword = errors.New("keys: wrong password")
	// ErrLocked reports a key that is there and that none of the given secrets opens.
	ErrLocked = errors.New("keys: the key is locked")
	// ErrClosed reports the use of a closed Ring.
	ErrClosed = errors.New("keys: the key ring is closed")
	// ErrBadKey reports a record of the dictionary that is not the key that its name
	// says.
	ErrBadKey = errors.New("keys: bad key record")
)

const defaultSealRounds = 210_000

// A Secret is a password that seals user keys. There are three: none is configured
// (the zero value), one is wanted but not at hand (a template that needs the login's
// password, at a delivery), and one that is known. A known one may be empty, which is
// a password like others.
type Secret struct {
	wanted bool
	known  bool
	bytes  secret.Bytes
}

// AbsentSecret is a password that is wanted, but not at hand.
func AbsentSecret() Secret { return Secret{wanted: true} }

// NewSecret is a known password. It keeps b, which the caller clears when done.
func NewSecret(b []byte) Secret { return Secret{true, true, secret.New(b)} }

// Wanted reports whether keys are to be sealed by a password.
func (s Secret) Wanted() bool { return s.wanted }

// Known reports whether the password is at hand.
func (s Secret) Known() bool { return s.known }

// Bytes is the password, empty where none is known.
func (s Secret) Bytes() []byte {
	if !s.known {
		return nil
	}
	return s.bytes.Bytes()
}

// Clear overwrites a known password.
func (s Secret) Clear() {
	if s.known {
		s.bytes.Clear()
	}
}

// Config says how one user's keys are made, sealed and found.
type Config struct {
	// Curve is the curve of new keys; "" makes none.
	Curve dcrypt.Curve
	// Global, where set, is the key that all mail is encrypted to; no other is made.
	Global *dcrypt.PublicKey
	// GlobalPrivate open mail, tried by id before stored keys.
	GlobalPrivate []*dcrypt.PrivateKey
	// SealKeys open sealed user keys (Dovecot: mail_crypt_private_key, …key2 and so
	// on); new user keys are sealed to the first, which Dovecot can read, though not make.
	SealKeys []*dcrypt.PrivateKey
	// OpenKeys open sealed user keys, too; nothing is sealed to them.
	OpenKeys []*dcrypt.PrivateKey
	// Password seals new user keys where there is no SealKey.
	Password Secret
	// RequireSealed forbids making an open user key, and seals those found open.
	RequireSealed bool
	// UnsealedFirst lets a delivery before the first login make an open user key
	// although sealing is wanted; the first login seals it.
	UnsealedFirst bool
	// NoUserKey forbids making user keys: whoever logs in is not the user.
	NoUserKey bool
	// Seal are the parameters of password seals. Zero values are SHA-512, 210,000
	// rounds (some 90 ms a guess) and 16 bytes of salt. Weaker seals are raised.
	Seal dcrypt.SealOptions
	// NoGenerate forbids making folder keys (stream version 1, for whose readers a key
	// of today's format would have the wrong name).
	NoGenerate bool
	// Memory spares opening again what was opened before. All users may share one; nil is one
	// for this configuration alone.
	Memory *Memory
}

// Keys are one user's keys. All methods may be called concurrently.
type Keys struct {
	dict  attrdict.Dict
	inbox mailbox.GUID
	log   *slog.Logger

	// OnUserKey, where set, is called with a user key that GenerateUserKey has made, before
	// it is stored and after: rings that are open can Adopt it. It must not keep the key.
	OnUserKey func(key *dcrypt.PrivateKey, was string, stored bool)

	// LeavePending, where set, reports that a password change is under way that ends by itself:
	// a login with the new password leaves it alone.
	LeavePending func() bool

	// Publics, where set, are shared with others who use the same user's keys.
	Publics *PublicKeys

	mu     sync.Mutex
	config Config
}

// New returns the keys of the user whose INBOX has the given GUID. The dictionary
// stays the caller's to close.
func New(dict attrdict.Dict, inbox mailbox.GUID, config Config, log *slog.Logger) *Keys {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Keys{dict: dict, inbox: inbox, log: log}
	k.Configure(config)
	return k
}

// Configure replaces the configuration for what begins from now on.
func (k *Keys) Configure(c Config) {
	if c.Seal.Rounds == 0 {
		c.Seal.Rounds = defaultSealRounds
	}
	if c.Memory == nil {
		c.Memory = &Memory{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.config = c
}

// Config returns the current configuration.
func (k *Keys) Config() Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.config
}

// get reads a record; "" and no error where there is none.
func get(r attrdict.Reader, name string) ([]byte, error) {
	v, err := r.Get(name)
	if errors.Is(err, attrdict.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keys: reading %s: %w", name, err)
	}
	return v, nil
}

// activeKey reads the active public key of a level and checks it against its id. All
// nil where there is none, be it that active names one that is not there. p may be nil.
func activeKey(r attrdict.Reader, l level, p *PublicKeys) (*dcrypt.PublicKey, []byte, error) {
	active, err := get(r, l.active())
	if err != nil || active == nil {
		return nil, nil, err
	}
	active = append([]byte(nil), active...)
	id, err := dcrypt.ParseKeyID(string(active))
	if err != nil {
		return nil, active, fmt.Errorf("%w: %s does not hold a key id", ErrBadKey, l.active())
	}
	text, err := get(r, l.public(id.String()))
	if err != nil {
		return nil, active, err
	}
	pub, err := parseActive(l, id, text, p.parse)
	return pub, active, err
}

// parseActive reads the public text of an active key and checks it against its id; both are
// nil where there is no text.
func parseActive(l level, id dcrypt.KeyID, text []byte, parse func([]byte) (*dcrypt.PublicKey, error)) (*dcrypt.PublicKey, error) {
	if text == nil {
		return nil, nil
	}
	pub, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadKey, l.public(id.String()), err)
	}
	if !hasID(pub, id) {
		return nil, fmt.Errorf("%w: %s is another key", ErrBadKey, l.public(id.String()))
	}
	return pub, nil
}

// hasID reports whether a public key has an id, new or old.
func hasID(pub *dcrypt.PublicKey, id dcrypt.KeyID) bool {
	if pub.ID() == id {
		return true
	}
	old, ok := pub.OldID()
	return ok && old == id
}

// UserKeyExists reports whether any private user key is stored, readable or not.
func (k *Keys) UserKeyExists(ctx context.Context) (bool, error) {
	found := false
	err := k.dict.View(ctx, func(r attrdict.Reader) error {
		names, _, err := privateNames(r, true, 1)
		found = len(names) > 0
		return err
	})
	return found, err
}

// Sealing is the password as what dcrypt.Opener takes.
func (s Secret) Sealing() secret.Bytes { return s.bytes }
