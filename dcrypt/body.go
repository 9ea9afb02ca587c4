package dcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	//lint:ignore SA1019 chacha20poly1305 wants a whole message, and this is its tag in pieces
	"golang.org/x/crypto/poly1305"

	"mailcrypt/internal/gcmstream"
)

// A body decrypts the ciphertext of one stream from any chunk on.
type body interface {
	// decryptAt decrypts b in place. It lies at off, a multiple of 64; prev is the 16
	// octets of ciphertext before it, or the IV.
	decryptAt(b []byte, off int64, prev []byte) error
	// check returns what verifies the ciphertext, or nil where nothing does.
	check() check
}

// A check is fed the ciphertext in order and then compares the trailer. update may
// change b while it runs.
type check interface {
	update(b []byte) error
	verify(trailer []byte) bool
}

// A wholeBody is a body that opens a message in memory faster in one go.
type wholeBody interface {
	aead() (a cipher.AEAD, nonce, aad []byte)
}

// newBody takes the key data of h. It keeps parts of kd.
func newBody(h *Header, kd []byte) (body, error) {
	c := h.cipher
	key, iv, tail := kd[:c.keySize], ivOf(h, kd), kd[c.keySize:]
	if h.Version != 1 {
		tail = kd[c.keySize+c.ivSize():]
	}
	switch c.mode {
	case modeGCM:
		g, err := gcmstream.New(key, iv)
		return &gcmBody{g, iv, tail}, err
	case modeChaCha:
		return &chachaBody{key, iv, tail}, nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	b := blockBody{block: block}
	if h.Integrity == HMAC {
		b.mac = func() hash.Hash { return hmac.New(h.digest.new, tail) }
	}
	switch c.mode {
	case modeCBC:
		return &cbcBody{b}, nil
	case modeCFB:
		return &cfbBody{b}, nil
	default:
		return &ctrBody{b, iv}, nil
	}
}

type gcmBody struct {
	g          *gcmstream.GCM
	nonce, aad []byte
}

func (b *gcmBody) decryptAt(p []byte, off int64, _ []byte) error { return b.g.XORKeyStreamAt(p, off) }
func (b *gcmBody) check() check                                  { return &gcmCheck{b.g.NewVerifier(b.aad)} }
func (b *gcmBody) aead() (cipher.AEAD, []byte, []byte)           { return b.g.AEAD(), b.nonce, b.aad }

type gcmCheck struct{ v *gcmstream.Verifier }

func (c *gcmCheck) update(b []byte) error      { return c.v.Update(b) }
func (c *gcmCheck) verify(trailer []byte) bool { return c.v.Verify(trailer) }

// chachaBody is RFC 8439's AEAD.
type chachaBody struct{ key, nonce, aad []byte }

// maxChaCha is what the 32-bit block counter allows; block 0 keys the tag.
const maxChaCha = (1<<32 - 1) * 64

func (b *chachaBody) stream(block uint32) (*chacha20.Cipher, error) {
	s, err := chacha20.NewUnauthenticatedCipher(b.key, b.nonce)
	if err != nil {
		return nil, err
	}
	s.SetCounter(block)
	return s, nil
}

func (b *chachaBody) decryptAt(p []byte, off int64, _ []byte) error {
	if off > maxChaCha-int64(len(p)) {
		return gcmstream.ErrTooLong
	}
	s, err := b.stream(uint32(off/64) + 1)
	if err != nil {
		return err
	}
	s.XORKeyStream(p, p)
	return nil
}

func (b *chachaBody) aead() (cipher.AEAD, []byte, []byte) {
	a, err := chacha20poly1305.New(b.key)
	if err != nil {
		panic("dcrypt: internal error: " + err.Error()) // the key's length comes from our table
	}
	return a, b.nonce, b.aad
}

func (b *chachaBody) check() check {
	var key [32]byte
	s, err := b.stream(0)
	if err != nil {
		panic("dcrypt: internal error: " + err.Error())
	}
	s.XORKeyStream(key[:], key[:])
	c := &polyCheck{mac: poly1305.New(&key), aad: uint64(len(b.aad))}
	c.write(b.aad)
	return c
}

// polyCheck is the tag of RFC 8439 section 2.8.
type polyCheck struct {
	mac       *poly1305.MAC
	aad, text uint64
}

// write adds octets and zeros up to a multiple of 16.
func (c *polyCheck) write(b []byte) {
	var zero [16]byte
	_, _ = c.mac.Write(b)
	_, _ = c.mac.Write(zero[:-len(b)&15])
}

// update pads each piece: all but the last are whole chunks, where nothing is added.
func (c *polyCheck) update(b []byte) error {
	if c.text += uint64(len(b)); c.text > maxChaCha {
		return gcmstream.ErrTooLong
	}
	c.write(b)
	return nil
}

func (c *polyCheck) sum() []byte {
	lengths := binary.LittleEndian.AppendUint64(nil, c.aad)
	_, _ = c.mac.Write(binary.LittleEndian.AppendUint64(lengths, c.text))
	return c.mac.Sum(nil)
}

func (c *polyCheck) verify(trailer []byte) bool {
	return subtle.ConstantTimeCompare(c.sum(), trailer) == 1
}

// blockBody is what the modes without a tag of their own share.
type blockBody struct {
	block cipher.Block
	mac   func() hash.Hash // nil without integrity
}

func (b *blockBody) check() check {
	if b.mac == nil {
		return nil
	}
	return &macCheck{b.mac()}
}

type macCheck struct{ h hash.Hash }

func (c *macCheck) update(b []byte) error      { _, err := c.h.Write(b); return err }
func (c *macCheck) verify(trailer []byte) bool { return hmac.Equal(c.h.Sum(nil), trailer) }

type cbcBody struct{ blockBody }

func (b *cbcBody) decryptAt(p []byte, _ int64, prev []byte) error {
	if len(p)%aes.BlockSize != 0 {
		return &FormatError{Where: "stream body", Reason: "not a whole number of blocks"}
	}
	cipher.NewCBCDecrypter(b.block, prev).CryptBlocks(p, p)
	return nil
}

type cfbBody struct{ blockBody }

func (b *cfbBody) decryptAt(p []byte, _ int64, prev []byte) error {
	decryptCFB(b.block, prev, p)
	return nil
}

// ctrBody is version 1. The counter is a 128-bit big-endian number from iv on, which
// is zero.
type ctrBody struct {
	blockBody
	iv []byte
}

func (b *ctrBody) decryptAt(p []byte, off int64, _ []byte) error {
	var iv [aes.BlockSize]byte
	copy(iv[:], b.iv)
	binary.BigEndian.PutUint64(iv[8:], binary.BigEndian.Uint64(iv[8:])+uint64(off)/aes.BlockSize)
	cipher.NewCTR(b.block, iv[:]).XORKeyStream(p, p)
	return nil
}

// ivOf returns the IV in the key data. Version 1 has a zero one: every message has a key
// of its own.
func ivOf(h *Header, kd []byte) []byte {
	if h.Version == 1 {
		return make([]byte, aes.BlockSize)
	}
	return kd[h.cipher.keySize : h.cipher.keySize+h.cipher.ivSize()]
}

// errTooLong turns the limits of the stream ciphers into this package's error.
func errTooLong(err error) error { return fmt.Errorf("dcrypt: stream: %w", err) }
