// Package gcmstream seals and verifies AES-GCM in pieces, with memory that does not
// grow with the message, and decrypts any part of a message that was verified.
//
// crypto/cipher wants a whole message at once and exports no GHASH. But sealing an
// empty plaintext with a piece of ciphertext as additional data is GHASH of that piece
// at assembler speed. With H = E(0), J the first counter block of any fixed nonce, Y
// the GHASH state after the piece, and L the block that holds the piece's bit length:
//
//	tag = E(J) ^ (Y^L)*H          what cipher.NewGCM gives for the piece as AAD
//	Z   = Y*H = tag ^ E(J) ^ L*H
//
// Pieces X1..Xn chain without a field inverse: GHASH would go on with (Y^X1)*H, which
// is Z ^ X1*H, so XORing Z into the second block of the next piece and starting that
// piece from zero gives the same state. A single block is chained in software:
//
//	Z' = (Z ^ X*H)*H
//
// and the tag of the message is Z ^ L*H ^ E(J0), with L its two total lengths. The tags
// of the pieces are never given out, so using one nonce for all of them reveals nothing.
//
// The package is for AES with 12-byte nonces and 16-byte tags. Under GODEBUG=fips140=only
// crypto/cipher refuses to make the piece hash, and New returns its error.
package gcmstream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in octets. MaxSize is the longest message that the 32-bit block counter allows
// (NIST SP 800-38D section 5.2.1.1).
const (
	NonceSize = 12
	TagSize   = 16
	MaxSize   = 1<<36 - 32
)

// ErrTooLong reports a message of more than MaxSize octets.
var ErrTooLong = errors.New("gcmstream: message is longer than one nonce allows")

// GCM is one key and one nonce: one message. It is safe for concurrent use.
type GCM struct {
	block cipher.Block
	aead  cipher.AEAD
	nonce [NonceSize]byte
	h     element // E(0)
	mask  element // E(J) of the nonce for pieces, which is all zero
	final element // E(J0) of the message's nonce
}

// New returns the state for one message. The key has 16, 24 or 32 octets, the nonce
// NonceSize. No two messages may be sealed under one key and nonce.
func New(key, nonce []byte) (*GCM, error) {
	if len(nonce) != NonceSize {
		return nil, fmt.Errorf("gcmstream: nonce has %d octets, want %d", len(nonce), NonceSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("gcmstream: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("gcmstream: %w", err)
	}
	g := &GCM{block: block, aead: aead, nonce: [NonceSize]byte(nonce)}
	g.h = g.encrypt([16]byte{})
	g.mask = g.encrypt([16]byte{15: 1})
	g.final = g.encrypt(g.counter(1))
	return g, nil
}

// AEAD returns the same key as an ordinary AEAD, for messages that fit in memory.
func (g *GCM) AEAD() cipher.AEAD { return g.aead }

func (g *GCM) encrypt(b [16]byte) element {
	g.block.Encrypt(b[:], b[:])
	return loadElement(b[:])
}

// counter is the counter block n of the message; J0 is 1, the text begins with 2.
func (g *GCM) counter(n uint32) (b [16]byte) {
	copy(b[:], g.nonce[:])
	binary.BigEndian.PutUint32(b[NonceSize:], n)
	return b
}

// XORKeyStreamAt encrypts or decrypts a part of the message that begins at octet off,
// in place. Nothing is authenticated: verify the message first.
func (g *GCM) XORKeyStreamAt(b []byte, off int64) error {
	if off < 0 || off > MaxSize-int64(len(b)) {
		return ErrTooLong
	}
	// Below MaxSize the counter does not wrap, so that the carry of 128-bit CTR into
	// the nonce, which GCM forbids, never happens.
	iv := g.counter(uint32(off/16) + 2)
	stream := cipher.NewCTR(g.block, iv[:])
	if skip := off % 16; skip != 0 {
		var pad [16]byte
		stream.XORKeyStream(pad[:skip], pad[:skip])
	}
	stream.XORKeyStream(b, b)
	return nil
}

// A Verifier computes the tag of a message from its ciphertext alone. It is not safe
// for concurrent use.
type Verifier struct {
	g    *GCM
	hash ghash
	aad  uint64
	text uint64

	blocks int     // of the last piece that Add took
	power  element // H to that power: pieces are mostly equal
}

// NewVerifier begins the check of one message with the given additional data.
func (g *GCM) NewVerifier(aad []byte) *Verifier {
	v := &Verifier{g: g, hash: ghash{g: g}, aad: uint64(len(aad))}
	for ; len(aad) >= 16; aad = aad[16:] {
		v.hash.block(aad)
	}
	v.hash.partial = append(v.hash.buf[:0], aad...)
	v.hash.pad()
	return v
}

// Update adds a piece of ciphertext of any length. The piece is changed during the
// call and restored, so nobody else may use it meanwhile.
func (v *Verifier) Update(ciphertext []byte) error {
	if v.text += uint64(len(ciphertext)); v.text > MaxSize {
		return ErrTooLong
	}
	v.hash.update(ciphertext)
	return nil
}

// Sum returns the tag of all that was added. Nothing may be added afterwards.
func (v *Verifier) Sum() (tag [TagSize]byte) {
	v.hash.pad()
	sum := v.hash.z.xor(lengths(v.aad, v.text).mul(v.g.h)).xor(v.g.final)
	sum.store(tag[:])
	return tag
}

// Verify reports in constant time whether tag is the message's. Nothing may be added
// afterwards.
func (v *Verifier) Verify(tag []byte) bool {
	sum := v.Sum()
	return subtle.ConstantTimeCompare(sum[:], tag) == 1
}

// A Sealer encrypts one message in pieces. It is not safe for concurrent use.
type Sealer struct {
	stream cipher.Stream
	verify *Verifier
}

// NewSealer begins the one message that may be sealed with g.
func (g *GCM) NewSealer(aad []byte) *Sealer {
	iv := g.counter(2)
	return &Sealer{stream: cipher.NewCTR(g.block, iv[:]), verify: g.NewVerifier(aad)}
}

// Seal encrypts the next piece, of any length, in place.
func (s *Sealer) Seal(b []byte) error {
	if s.verify.text+uint64(len(b)) > MaxSize {
		return ErrTooLong
	}
	s.stream.XORKeyStream(b, b)
	return s.verify.Update(b)
}

// Sum returns the tag. Nothing may be sealed afterwards.
func (s *Sealer) Sum() [TagSize]byte { return s.verify.Sum() }
