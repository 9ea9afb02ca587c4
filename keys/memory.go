package keys

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"mailcrypt/dcrypt"
	"mailcrypt/internal/recent"
)

// A Memory spares opening what was opened before, of all users of a process. It remembers
// nothing that could go stale, for everything is filed under the bytes that it was learned from:
// public points of private keys (dcrypt.Known), configured public keys, and that a folder's records,
// opened by a certain user key, were what they should be. A record that has changed by one bit is not known.
//
// It holds hashes and public points, no secret. The zero value is empty and its size is bounded;
// its methods may be called concurrently, and on a nil *Memory, which remembers nothing.
type Memory struct {
	known   dcrypt.Known
	publics PublicKeys // of configurations

	mu     sync.Mutex
	proofs recent.Map[proof, struct{}] // some 2 MB at most
}

// A proof is a hash of what was looked at.
type proof [sha256.Size]byte

// Known is the part of the Memory that opening private keys uses.
func (m *Memory) Known() *dcrypt.Known {
	if m == nil {
		return nil
	}
	return &m.known
}

// PublicKey is dcrypt.ParsePublicKey for the keys of configurations: the same text is the same key,
// which has what it has computed for being used often.
func (m *Memory) PublicKey(text []byte) (*dcrypt.PublicKey, error) {
	if m == nil {
		return dcrypt.ParsePublicKey(text)
	}
	return m.publics.parse(text)
}

// openedBy is the proof that a user key opens a folder key's text, and that this is the key of
// its name.
func openedBy(id string, text []byte, user dcrypt.KeyID) proof {
	return prove("opens", []byte(id), text, user[:])
}

// ownedBy is the proof that the records of a folder key are whole: openedBy, and that the public text
// is the same key's.
func ownedBy(id string, public, private []byte, user dcrypt.KeyID) proof {
	return prove("owned", []byte(id), public, private, user[:])
}

// prove hashes parts with their lengths.
func prove(what string, parts ...[]byte) proof {
	h := sha256.New()
	h.Write([]byte(what))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return proof(h.Sum(nil))
}

// has reports whether something was proved before.
func (m *Memory) has(p proof) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.proofs.Get(p)
	return ok
}

// add remembers what was proved.
func (m *Memory) add(p proof) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs.Put(p, struct{}{})
}
