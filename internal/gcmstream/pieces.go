package gcmstream

import (
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"

	"mailcrypt/internal/gcmwide"
)

// ErrPiece reports a piece of ciphertext that is not the one its Mark was made of.
var ErrPiece = errors.New("gcmstream: piece has changed since it was verified")

// A Mark is the hash of one piece of a message. The marks of all pieces give the tag
// (Verifier.Add), and each lets its piece be opened later (Pieces.Open).
type Mark struct{ z element }

// Add adds a piece of n octets by its mark, instead of Update. All but the last are whole
// blocks.
func (v *Verifier) Add(m Mark, n int) error {
	if v.text += uint64(n); v.text > MaxSize {
		return ErrTooLong
	}
	// GHASH goes on with Y*H^blocks ^ Y'; without gcmwide both sides are multiplied by H.
	blocks := (n + 15) / 16
	if v.g.wide != nil {
		if blocks != v.blocks {
			v.blocks, v.wide = blocks, v.g.wide.Power(blocks)
		}
		v.hash.z = v.hash.z.times(&v.wide).xor(m.z)
		return nil
	}
	if blocks != v.blocks {
		v.blocks, v.power = blocks, v.g.h.pow(blocks)
	}
	v.hash.z = v.hash.z.mul(v.power).xor(m.z)
	return nil
}

// times is the product with a power of H.
func (e element) times(p *gcmwide.Power) element {
	var state gcmwide.Block
	e.store(state[:])
	p.Multiply(&state)
	return loadElement(state[:])
}

// Pieces opens the pieces of a verified message, each checked and decrypted in one go. Package
// gcmwide does that as it is asked. The standard library's assembler wants each piece to be a
// message of its own: its counter blocks are those of the piece if its first one, J, is the
// block before them. With a nonce of 16 octets J is a hash of the nonce (NIST SP 800-38D section 7.1),
//
//	J = (N*H ^ L)*H     with L the block that holds the nonce's bit length
//
// which is solved for N with the inverse of H. The tag comes from the mark, and is told to
// nobody. Nothing is ever sealed under these nonces. Pieces is safe for concurrent use.
type Pieces struct {
	g *GCM

	// The rest is for the standard library.
	long    cipher.AEAD // takes nonces of 16 octets
	inverse element     // 1/H

	size           uint64  // of all pieces but the last
	asData, asText element // L*H with that many octets of either
}

// Pieces prepares hashing and opening pieces of so many octets, of which the last may have
// fewer. The error is that of a hash key of zero, which one key of 2^128 has.
func (g *GCM) Pieces(size int) (*Pieces, error) {
	if g.wide != nil {
		return &Pieces{g: g}, nil
	}
	long, err := cipher.NewGCMWithNonceSize(g.block, 16)
	if err != nil {
		return nil, fmt.Errorf("gcmstream: %w", err)
	}
	if g.h == (element{}) {
		return nil, errors.New("gcmstream: the hash key is zero")
	}
	n := uint64(size)
	return &Pieces{g, long, g.h.inverse(), n, lengths(n, 0).mul(g.h), lengths(0, n).mul(g.h)}, nil
}

// Mark hashes a piece of ciphertext. Pieces may be hashed in any order and at the same time.
func (p *Pieces) Mark(piece []byte) (m Mark) {
	if p.g.wide != nil {
		m.z.hash(p.g.wide, piece)
		return m
	}
	var buf [TagSize]byte
	tag := p.g.aead.Seal(buf[:0], zeroNonce[:], nil, piece)
	closing := p.asData
	if n := uint64(len(piece)); n != p.size {
		closing = lengths(n, 0).mul(p.g.h)
	}
	return Mark{loadElement(tag).xor(p.g.mask).xor(closing)}
}

// Open decrypts a piece in place. It lies at off in the message, a multiple of 16; the last
// TagSize octets of b are room that is needed. After ErrPiece b is nothing but zeros.
func (p *Pieces) Open(b []byte, off int64, m Mark) error {
	n := len(b) - TagSize
	if off < 0 || off%16 != 0 || off > MaxSize-int64(n) {
		return ErrTooLong
	}
	if p.g.wide != nil {
		return p.openWide(b, off, m)
	}
	j := p.g.counter(uint32(off/16) + 1)
	var nonce [16]byte
	loadElement(j[:]).mul(p.inverse).xor(lengths(0, 16)).mul(p.inverse).store(nonce[:])
	closing := p.asText
	if uint64(n) != p.size {
		closing = lengths(0, uint64(n)).mul(p.g.h)
	}
	m.z.xor(closing).xor(p.g.encrypt(j)).store(b[n:])
	_, err := p.long.Open(b[:0], nonce[:], b, nil)
	clear(b[n:])
	if err != nil {
		clear(b)
		return ErrPiece
	}
	return nil
}

// openWide is Open with gcmwide: the piece's hash, from a state of zero, is the mark.
func (p *Pieces) openWide(b []byte, off int64, m Mark) error {
	text := b[:len(b)-TagSize]
	got, err := p.Decrypt(text, off)
	if err != nil {
		return err
	}
	var is, want [16]byte
	got.z.store(is[:])
	m.z.store(want[:])
	clear(b[len(text):])
	if subtle.ConstantTimeCompare(is[:], want[:]) != 1 {
		clear(b)
		return ErrPiece
	}
	return nil
}

// Fused reports whether Pieces.Decrypt goes over a piece once.
func (g *GCM) Fused() bool { return g.wide != nil }

// Decrypt hashes and decrypts a piece in place, where Mark and Open are one pass each. It lies at
// off in the message, a multiple of 16. Nothing is authenticated yet: nobody may see the text
// before a Verifier has got the marks of all pieces and reported true, and it must be cleared if
// that reports false. Pieces may be decrypted in any order and at the same time.
func (p *Pieces) Decrypt(b []byte, off int64) (m Mark, err error) {
	if off < 0 || off%16 != 0 || off > MaxSize-int64(len(b)) {
		return m, ErrTooLong
	}
	if p.g.wide == nil {
		m = p.Mark(b)
		return m, p.g.XORKeyStreamAt(b, off)
	}
	counter := p.g.counter(uint32(off/16) + 2)
	var state gcmwide.Block
	p.g.wide.Decrypt(&counter, &state, b, b)
	m.z = loadElement(state[:])
	return m, nil
}

// pow returns e to the power n, at least 0.
func (e element) pow(n int) element {
	r := element{hi: 1 << 63} // one: the first bit is the constant term
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			r = r.mul(e)
		}
		e = e.mul(e)
	}
	return r
}

// inverse is e to the power 2^128-2, by the chain of Itoh and Tsujii.
func (e element) inverse() element {
	b, k := e, 1 // e to the power 2^k-1
	for _, next := range []int{2, 3, 6, 7, 14, 15, 30, 31, 62, 63, 126, 127} {
		if next == k+1 {
			b = b.mul(b).mul(e)
		} else {
			c := b
			for range k {
				c = c.mul(c)
			}
			b = c.mul(b)
		}
		k = next
	}
	return b.mul(b)
}
