package gcmstream

import "mailcrypt/internal/gcmwide"

// minPiece is where one call of the AEAD becomes cheaper than software multiplication.
// It must be at least two blocks, for chaining goes through the second.
const minPiece = 32

// ghash is a GHASH in progress, kept as z = Y*H (see the package documentation), or as z = Y where
// gcmwide does the work.
type ghash struct {
	g       *GCM
	z       element
	partial []byte // less than a block, in buf
	buf     [16]byte

	pieceLen uint64 // the last piece's length, and L*H for it: pieces are mostly equal
	pieceLH  element
}

// block adds one block, in software without gcmwide.
func (h *ghash) block(b []byte) {
	if h.g.wide != nil {
		h.z.hash(h.g.wide, b[:16])
		return
	}
	h.z = h.z.xor(loadElement(b).mul(h.g.h)).mul(h.g.h)
}

// piece adds at least two whole blocks. It changes b and restores it.
func (h *ghash) piece(b []byte) {
	if h.g.wide != nil {
		h.z.hash(h.g.wide, b)
		return
	}
	second := loadElement(b[16:32])
	second.xor(h.z).store(b[16:32])
	var buf [TagSize]byte
	tag := h.g.aead.Seal(buf[:0], zeroNonce[:], nil, b)
	second.store(b[16:32])

	if n := uint64(len(b)); n != h.pieceLen {
		h.pieceLen, h.pieceLH = n, lengths(n, 0).mul(h.g.h)
	}
	h.z = loadElement(tag).xor(h.g.mask).xor(h.pieceLH)
}

// hash adds text and zeros up to a whole block to the state e.
func (e *element) hash(key *gcmwide.Key, text []byte) {
	var state gcmwide.Block
	e.store(state[:])
	key.Hash(&state, text)
	*e = loadElement(state[:])
}

// zeroNonce is the nonce under which pieces are hashed; GCM.mask belongs to it.
var zeroNonce [NonceSize]byte

// update adds octets of any number.
func (h *ghash) update(b []byte) {
	if len(h.partial) > 0 {
		n := min(16-len(h.partial), len(b))
		h.partial = append(h.partial, b[:n]...)
		b = b[n:]
		if len(h.partial) < 16 {
			return
		}
		h.block(h.partial)
		h.partial = h.buf[:0]
	}
	whole := len(b) &^ 15
	if whole >= minPiece {
		h.piece(b[:whole])
	} else if whole == 16 {
		h.block(b[:16])
	}
	h.partial = append(h.buf[:0], b[whole:]...)
}

// pad closes a run of octets: the additional data, or the text.
func (h *ghash) pad() {
	if len(h.partial) == 0 {
		return
	}
	var b [16]byte
	copy(b[:], h.partial)
	h.block(b[:])
	h.partial = h.buf[:0]
}
