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
// Where the processor has the instructions for package gcmwide, that does the work instead: it
// hashes without such detours, and the state is Y itself.
//
// The package is for AES with 12-byte nonces and 16-byte tags. Under GODEBUG=fips140=only
// crypto/cipher refuses to make the piece hash, and New returns its error.
package gcmstream

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"mailcrypt/internal/gcmwide"
)

// Sizes in octets. MaxSize is the longest message that the 32-bit block counter allows
// (NIST SP 800-38D section 5.2.1.1).
const (
	NonceSize = 12
	TagSize   = 16
	MaxSize   = gcmwide.MaxSize
)

// ErrTooLong reports a message of more than MaxSize octets.
var ErrTooLong = errors.New("gcmstream: message is longer than one nonce allows")

// GCM is one key and one nonce: one message. It is safe for concurrent use.
type GCM struct {
	nonce [NonceSize]byte
	final element      // E(J0) of the message's nonce
	wide  *gcmwide.Key // nil where it is not available

	// The rest is for the standard library, and unset where wide is not nil.
	block cipher.Block
	aead  cipher.AEAD
	h     element // E(0)
	mask  element // E(J) of the nonce for pieces, which is all zero
}

// New returns the state for one message. The key has 16, 24 or 32 octets, the nonce
// NonceSize. No two messages may be sealed under one key and nonce.
func New(key, nonce []byte) (*GCM, error) {
	if len(nonce) != NonceSize {
		return nil, fmt.Errorf("gcmstream: nonce has %d octets, want %d", len(nonce), NonceSize)
	}
	if !gcmwide.Available() {
		return newStandard(key, nonce)
	}
	wide, err := gcmwide.New(key)
	if err != nil {
		return nil, fmt.Errorf("gcmstream: %w", err)
	}
	g := &GCM{wide: wide, nonce: [NonceSize]byte(nonce)}
	g.final = g.encrypt(g.counter(1))
	return g, nil
}

// newStandard is New with the standard library.
func newStandard(key, nonce []byte) (*GCM, error) {
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
func (g *GCM) AEAD() cipher.AEAD {
	if g.wide != nil {
		return g.wide
	}
	return g.aead
}

func (g *GCM) encrypt(b [16]byte) element {
	if g.wide != nil {
		g.wide.EncryptBlock(&b)
	} else {
		g.block.Encrypt(b[:], b[:])
	}
	return loadElement(b[:])
}

// counter is the counter block n of the message; J0 is 1, the text begins with 2.
func (g *GCM) counter(n uint32) [16]byte { return gcmwide.Counter(g.nonce[:], n) }

// XORKeyStreamAt encrypts or decrypts a part of the message that begins at octet off,
// in place. Nothing is authenticated: verify the message first.
func (g *GCM) XORKeyStreamAt(b []byte, off int64) error {
	if off < 0 || off > MaxSize-int64(len(b)) {
		return ErrTooLong
	}
	// Below MaxSize the counter does not wrap, so that the carry of 128-bit CTR into
	// the nonce, which GCM forbids, never happens.
	iv := g.counter(uint32(off/16) + 2)
	stream := g.stream(iv)
	if skip := off % 16; skip != 0 {
		var pad [16]byte
		stream.XORKeyStream(pad[:skip], pad[:skip])
	}
	stream.XORKeyStream(b, b)
	return nil
}

// stream is CTR from a counter block on.
func (g *GCM) stream(iv [16]byte) cipher.Stream {
	if g.wide != nil {
		return &wideStream{key: g.wide, counter: iv}
	}
	return cipher.NewCTR(g.block, iv[:])
}
