package gcmstream

import (
	"crypto/subtle"

	"mailcrypt/internal/gcmwide"
)

// A Verifier computes the tag of a message from its ciphertext alone. It is not safe
// for concurrent use.
type Verifier struct {
	g    *GCM
	hash ghash
	aad  uint64
	text uint64

	blocks int // of the last piece that Add took, and H to that power: pieces are mostly equal
	power  element
	wide   gcmwide.Power
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
	end := lengths(v.aad, v.text)
	if v.g.wide != nil {
		end.store(tag[:])
		v.hash.block(tag[:])
	} else {
		v.hash.z = v.hash.z.xor(end.mul(v.g.h))
	}
	v.hash.z.xor(v.g.final).store(tag[:])
	return tag
}

// Verify reports in constant time whether tag is the message's. Nothing may be added
// afterwards.
func (v *Verifier) Verify(tag []byte) bool {
	sum := v.Sum()
	return subtle.ConstantTimeCompare(sum[:], tag) == 1
}
