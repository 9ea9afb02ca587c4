package dcrypt

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/cryptobyte"

	"mailcrypt/internal/gcmstream"
)

// seal draws the key data of one stream and returns the header with it.
//
// No nonce is ever used twice: key and IV of the body are random and serve this one
// stream, and the key that wraps them is derived from an ephemeral key pair that is
// forgotten when this function returns. Keeping the pair for a second stream would wrap
// both under one key and IV.
func (h *Header) seal(to *PublicKey) (head, kd []byte, err error) {
	kd = make([]byte, h.keyDataLen())
	_, _ = rand.Read(kd) // never fails
	r := Recipient{RSA: to.info == nil, ID: to.id}
	if h.Version == 1 {
		r.ID = to.oldID
	}
	if r.RSA {
		r.wrapped, err = encryptOAEP(to, kd)
	} else {
		err = h.wrap(&r, to, kd)
	}
	if err != nil {
		clear(kd)
		return nil, nil, err
	}
	h.Recipients, h.hash = []Recipient{r}, h.keyDataHash(kd)
	if head, err = h.marshal(); err != nil {
		clear(kd)
		return nil, nil, fmt.Errorf("encoding the header: %w", err)
	}
	h.Size = int64(len(head))
	return head, kd, nil
}

// wrap encrypts kd for a recipient with a curve.
func (h *Header) wrap(r *Recipient, to *PublicKey, kd []byte) error {
	ephemeral, secret, err := to.agreeEphemeral()
	if err != nil {
		return err
	}
	defer clear(secret)
	r.ephemeral = ephemeral
	if h.Version == 1 {
		r.wrapped, err = cryptSeed(secret, kd)
		return err
	}
	c, t := h.wrapKey(secret, ephemeral)
	defer clear(t)
	r.wrapped, err = c.seal(t[:c.keySize], t[c.keySize:], kd)
	return err
}

// marshal encodes the header. It is the reverse of parseHeader.
func (h *Header) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddBytes([]byte(magic))
	b.AddUint8(uint8(h.Version))
	r := h.Recipients[0]
	if h.Version == 1 {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, field := range [][]byte{r.ephemeral, r.ID[:], h.hash, r.wrapped} {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(field) })
			}
		})
		return b.Bytes()
	}
	var rest cryptobyte.Builder // behind the header's length
	rest.AddASN1ObjectIdentifier(h.cipher.oid)
	rest.AddASN1ObjectIdentifier(h.digest.oid)
	rest.AddUint32(uint32(h.Rounds))
	rest.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(uint8(len(h.Recipients)))
		for _, r := range h.Recipients {
			addRecipient(b, r)
		}
		addLong(b, h.hash)
	})
	tail, err := rest.Bytes()
	if err != nil {
		return nil, err
	}
	b.AddUint32(h.flags())
	b.AddUint32(uint32(minHeaderV2 + len(tail)))
	b.AddBytes(tail)
	return b.Bytes()
}

func (h *Header) flags() uint32 {
	flags := uint32(flagNone)
	switch h.Integrity {
	case AEAD:
		flags = flagAEAD
	case HMAC:
		flags = flagHMAC
	}
	if h.SameCipher {
		flags |= flagSameAlg
	}
	return flags
}

func addRecipient(b *cryptobyte.Builder, r Recipient) {
	kind := uint8(recipientEC)
	if r.RSA {
		kind = recipientRSA
	}
	b.AddUint8(kind)
	b.AddBytes(r.ID[:])
	addLong(b, r.ephemeral)
	addLong(b, r.wrapped)
}

func addLong(b *cryptobyte.Builder, octets []byte) {
	b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(octets) })
}

// A sealer encrypts the pieces of one body.
type sealer interface {
	// seal encrypts b in place and appends, when it is the last piece, padding and
	// trailer, for which b has room. All pieces but the last are whole chunks.
	seal(b []byte, last bool) ([]byte, error)
}

// newSealer keeps parts of kd.
func newSealer(h *Header, kd []byte) (sealer, error) {
	dec, err := newBody(h, kd)
	if err != nil {
		return nil, err
	}
	iv := append([]byte(nil), ivOf(h, kd)...) // CFB changes it
	switch dec := dec.(type) {
	case *gcmBody:
		return &gcmSealer{dec: dec}, nil
	case *chachaBody:
		stream, err := dec.stream(1)
		if err != nil {
			return nil, err
		}
		return &chachaSealer{dec: dec, stream: stream}, nil
	case *cbcBody:
		c := cipher.NewCBCEncrypter(dec.block, iv)
		return &blockSealer{pad: true, crypt: func(b []byte) { c.CryptBlocks(b, b) }, mac: newMAC(dec.mac)}, nil
	case *cfbBody:
		return &blockSealer{crypt: func(b []byte) { encryptCFB(dec.block, iv, b) }, mac: newMAC(dec.mac)}, nil
	case *ctrBody:
		c := cipher.NewCTR(dec.block, iv)
		return &blockSealer{crypt: func(b []byte) { c.XORKeyStream(b, b) }}, nil
	}
	panic("dcrypt: internal error: body without a sealer")
}

func newMAC(f func() hash.Hash) hash.Hash {
	if f == nil {
		return nil
	}
	return f()
}

// sealWhole seals a message that is one piece, which is faster.
func sealWhole(b []byte, dec wholeBody) []byte {
	a, nonce, aad := dec.aead()
	return a.Seal(b[:0], nonce, b, aad)
}

type gcmSealer struct {
	dec    *gcmBody
	stream *gcmstream.Sealer // nil before the first piece
}

func (s *gcmSealer) seal(b []byte, last bool) ([]byte, error) {
	if s.stream == nil {
		if last {
			return sealWhole(b, s.dec), nil
		}
		s.stream = s.dec.g.NewSealer(s.dec.aad)
	}
	if err := s.stream.Seal(b); err != nil {
		return nil, err
	}
	if last {
		tag := s.stream.Sum()
		b = append(b, tag[:]...)
	}
	return b, nil
}

type chachaSealer struct {
	dec    *chachaBody
	stream *chacha20.Cipher
	mac    *polyCheck // nil before the first piece
}

func (s *chachaSealer) seal(b []byte, last bool) ([]byte, error) {
	if s.mac == nil {
		if last {
			return sealWhole(b, s.dec), nil
		}
		s.mac = s.dec.check().(*polyCheck)
	}
	if s.mac.text+uint64(len(b)) > maxChaCha {
		return nil, gcmstream.ErrTooLong
	}
	s.stream.XORKeyStream(b, b)
	if err := s.mac.update(b); err != nil {
		return nil, err
	}
	if last {
		b = append(b, s.mac.sum()...)
	}
	return b, nil
}

// blockSealer seals in a mode without a tag of its own.
type blockSealer struct {
	pad   bool
	crypt func([]byte)
	mac   hash.Hash // nil without integrity
}

func (s *blockSealer) seal(b []byte, last bool) ([]byte, error) {
	if last && s.pad {
		b = pad(b)
	}
	s.crypt(b)
	if s.mac != nil {
		_, _ = s.mac.Write(b)
		if last {
			b = s.mac.Sum(b)
		}
	}
	return b, nil
}

// encryptOAEP is RSAES-OAEP with SHA-1 for both hashes, whatever digest is chosen: the
// format has no place to say otherwise.
func encryptOAEP(to *PublicKey, kd []byte) ([]byte, error) {
	return rsa.EncryptOAEP(sha1.New(), rand.Reader, to.rsa, kd, nil)
}
