package gcmwide

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"slices"
	"unsafe"
)

// Sizes in octets. MaxSize is the longest message that the 32-bit block counter allows
// (NIST SP 800-38D section 5.2.1.1).
const (
	nonceSize = 12
	tagSize   = BlockSize
	MaxSize   = 1<<36 - 32
)

// ErrOpen reports a message whose tag is not its own.
var ErrOpen = errors.New("gcmwide: message authentication failed")

var _ cipher.AEAD = (*Key)(nil)

// NonceSize implements cipher.AEAD.
func (*Key) NonceSize() int { return nonceSize }

// Overhead implements cipher.AEAD.
func (*Key) Overhead() int { return tagSize }

// Counter is the counter block n of a message: 1 masks the tag, the text begins with 2.
func Counter(nonce []byte, n uint32) (b Block) {
	copy(b[:nonceSize], nonce)
	binary.BigEndian.PutUint32(b[nonceSize:], n)
	return b
}

// Lengths is the block of two bit counts that closes a GHASH.
func Lengths(aad, text uint64) (b Block) {
	binary.BigEndian.PutUint64(b[:], aad*8)
	binary.BigEndian.PutUint64(b[8:], text*8)
	return b
}

// Seal implements cipher.AEAD. Like the standard library's it panics where the nonce has another
// length, the message is too long for one, or memory overlaps otherwise than exactly.
func (k *Key) Seal(dst, nonce, plaintext, aad []byte) []byte {
	if len(nonce) != nonceSize {
		panic("gcmwide: incorrect nonce length")
	}
	if uint64(len(plaintext)) > MaxSize {
		panic("gcmwide: message too large")
	}
	whole, out := extend(dst, len(plaintext)+tagSize)
	checkOverlap(out, plaintext, aad)
	var state Block
	k.Hash(&state, aad)
	counter := Counter(nonce, 2)
	k.Encrypt(&counter, &state, out, plaintext)
	k.tag(&state, nonce, len(aad), len(plaintext))
	copy(out[len(plaintext):], state[:])
	return whole
}

// Open implements cipher.AEAD. It panics as Seal does. After ErrOpen what it would have appended
// is zeros.
func (k *Key) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(nonce) != nonceSize {
		panic("gcmwide: incorrect nonce length")
	}
	n := len(ciphertext) - tagSize
	if n < 0 || uint64(n) > MaxSize {
		return nil, ErrOpen
	}
	whole, out := extend(dst, n)
	checkOverlap(out, ciphertext, aad)
	text, tag := ciphertext[:n], ciphertext[n:]
	var state Block
	k.Hash(&state, aad)
	counter := Counter(nonce, 2)
	k.Decrypt(&counter, &state, out, text)
	k.tag(&state, nonce, len(aad), n)
	if subtle.ConstantTimeCompare(state[:], tag) != 1 {
		clear(out)
		return nil, ErrOpen
	}
	return whole, nil
}

// tag makes the state of additional data and text the tag.
func (k *Key) tag(state *Block, nonce []byte, aad, text int) {
	lengths := Lengths(uint64(aad), uint64(text))
	k.Hash(state, lengths[:])
	counter := Counter(nonce, 1)
	ctr(k, &counter, &state[0], &state[0], tagSize)
}

// extend returns b with n more octets, and those alone.
func extend(b []byte, n int) (whole, added []byte) {
	whole = slices.Grow(b, n)[:len(b)+n]
	return whole, whole[len(b):]
}

// checkOverlap panics where writing to out would change what is still to be read.
func checkOverlap(out, text, aad []byte) {
	if overlap(out, text) && &out[0] != &text[0] || overlap(out, aad) {
		panic("gcmwide: invalid buffer overlap")
	}
}

func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	p, q := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return p < q+uintptr(len(b)) && q < p+uintptr(len(a))
}
