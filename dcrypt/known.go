package dcrypt

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"mailcrypt/internal/recent"
	"mailcrypt/internal/secret"
)

// Known remembers the public points of private keys that were opened before. To compute one is a
// multiplication on the curve, and often all that opening a key a second time costs, for the id
// of a key is a hash of it. It decides nothing: a key text is opened in full, and the id compared,
// whether its point was remembered or not.
//
// It has a MAC of each private value under a random key of its own, so it holds no secret beyond
// the key's life; private values are too long to be guessed. The zero value is empty and remembers
// some ten thousand keys. Its methods may be called concurrently, and on a nil *Known, which
// remembers nothing.
type Known struct {
	computed, agreed atomic.Int64

	mu     sync.Mutex
	key    secret.Bytes                          // of the MAC
	points recent.Map[[sha256.Size]byte, []byte] // some 10 MB at most
}

// Operations is how many multiplications on curves the keys cost that were opened with this
// Known: computed of public points, agreed with other points. For tests and measurements.
func (m *Known) Operations() (computed, agreed int64) {
	if m == nil {
		return 0, 0
	}
	return m.computed.Load(), m.agreed.Load()
}

// point returns the public point of a private value; nil where it is not remembered.
func (m *Known) point(info *curveInfo, scalar []byte) []byte {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key.IsZero() {
		return nil
	}
	point, _ := m.points.Get(m.mac(info, scalar))
	return point
}

// learn remembers a key whose text has proved to be what it says.
func (m *Known) learn(k *PrivateKey) {
	if m == nil || k.pub.info == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key.IsZero() {
		key := make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails
		m.key = secret.New(key)
	}
	m.points.Put(m.mac(k.pub.info, k.scalar.Bytes()), k.pub.point)
}

func (m *Known) mac(info *curveInfo, scalar []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, m.key.Bytes())
	h.Write([]byte(info.curve))
	h.Write([]byte{0})
	h.Write(scalar)
	return [sha256.Size]byte(h.Sum(nil))
}

// countComputed and countAgreed count for Operations.
func (m *Known) countComputed() {
	if m != nil {
		m.computed.Add(1)
	}
}

func (m *Known) countAgreed() {
	if m != nil {
		m.agreed.Add(1)
	}
}
