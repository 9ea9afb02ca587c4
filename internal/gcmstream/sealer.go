package gcmstream

import (
	"crypto/cipher"

	"mailcrypt/internal/gcmwide"
)

// A Sealer encrypts one message in pieces. It is not safe for concurrent use.
type Sealer struct {
	stream cipher.Stream
	verify *Verifier
}

// NewSealer begins the one message that may be sealed with g.
func (g *GCM) NewSealer(aad []byte) *Sealer {
	return &Sealer{stream: g.stream(g.counter(2)), verify: g.NewVerifier(aad)}
}

// Seal encrypts the next piece, of any length, in place.
func (s *Sealer) Seal(b []byte) error {
	if s.verify.text+uint64(len(b)) > MaxSize {
		return ErrTooLong
	}
	s.verify.text += uint64(len(b))
	hash := &s.verify.hash
	if stream, ok := s.stream.(*wideStream); ok {
		// Up to the next whole block; then all whole blocks at once.
		first := min(-len(hash.partial)&15, len(b))
		stream.XORKeyStream(b[:first], b[:first])
		hash.update(b[:first])
		b = b[first:]
		whole := len(b) &^ 15
		stream.encrypt(&hash.z, b[:whole])
		b = b[whole:]
	}
	s.stream.XORKeyStream(b, b)
	hash.update(b)
	return nil
}

// Sum returns the tag. Nothing may be sealed afterwards.
func (s *Sealer) Sum() [TagSize]byte { return s.verify.Sum() }

// wideStream is CTR by package gcmwide, as a cipher.Stream.
type wideStream struct {
	key     *gcmwide.Key
	counter gcmwide.Block // of the block that comes next, or of which a part was used
	used    int           // octets of that part
}

// XORKeyStream implements cipher.Stream.
func (s *wideStream) XORKeyStream(dst, src []byte) {
	if s.used > 0 {
		var b gcmwide.Block
		n := copy(b[s.used:], src)
		next := s.counter
		s.key.XORKeyStream(&next, b[:], b[:])
		copy(dst, b[s.used:s.used+n])
		if s.used += n; s.used == len(b) {
			s.counter, s.used = next, 0
		}
		clear(b[:])
		dst, src = dst[n:], src[n:]
	}
	if len(src) > 0 {
		s.key.XORKeyStream(&s.counter, dst, src)
		s.used = len(src) % gcmwide.BlockSize
	}
}

// encrypt encrypts whole blocks in place, and adds them to the state of a hash. What came before
// were whole blocks, too.
func (s *wideStream) encrypt(z *element, b []byte) {
	var state gcmwide.Block
	z.store(state[:])
	s.key.Encrypt(&s.counter, &state, b, b)
	*z = loadElement(state[:])
}
