package sealedcache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

const (
	deriveInfo = "mailcrypt sealed cache 1"
	slotInfo   = "mailcrypt sealed cache 1 slot"
)

// How a slot's key comes from a folder's key.
const (
	derived      = 1
	encapsulated = 2
)

// A slot says where the key of some entries comes from.
type slot struct {
	number uint64
	how    byte
	key    dcrypt.KeyID
	salt   [16]byte
	enc    []byte
}

// A sealer seals entries under one slot. Its count never repeats: a slot is used by the
// process that has made it, and by one sealer.
type sealer struct {
	slot  uint64
	count uint64
	aead  cipher.AEAD
}

// newSlot makes a slot to seal with: by the private key, or where that is nil by the public
// one.
func newSlot(guid mailbox.GUID, private *dcrypt.PrivateKey, public *dcrypt.PublicKey) (*slot, *sealer, error) {
	s := &slot{how: derived}
	_, _ = rand.Read(s.salt[:]) // never fails
	var number [8]byte
	_, _ = rand.Read(number[:])
	s.number = binary.BigEndian.Uint64(number[:])
	var secret []byte
	var err error
	if private != nil {
		s.key = private.ID()
		secret, err = private.Derive(deriveInfo, 32)
	} else {
		s.how, s.key = encapsulated, public.ID()
		s.enc, secret, err = public.Encapsulate()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sealedcache: making a slot: %w", err)
	}
	defer clear(secret)
	aead, err := s.aead(guid, secret)
	if err != nil {
		return nil, nil, err
	}
	return s, &sealer{slot: s.number, aead: aead}, nil
}

// open returns what opens a slot's entries.
func (s *slot) open(guid mailbox.GUID, private *dcrypt.PrivateKey) (cipher.AEAD, error) {
	var secret []byte
	var err error
	if s.how == derived {
		secret, err = private.Derive(deriveInfo, 32)
	} else {
		secret, err = private.Decapsulate(s.enc)
	}
	if err != nil {
		return nil, fmt.Errorf("sealedcache: opening a slot: %w", err)
	}
	defer clear(secret)
	return s.aead(guid, secret)
}

func (s *slot) aead(guid mailbox.GUID, secret []byte) (cipher.AEAD, error) {
	info := append([]byte(slotInfo), s.how)
	info = append(append(append(info, s.key[:]...), guid[:]...), s.enc...)
	key, err := hkdf.Key(sha256.New, secret, s.salt[:], string(info), 32)
	if err != nil {
		return nil, fmt.Errorf("sealedcache: deriving a slot's key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sealedcache: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal appends an entry's body to dst.
func (s *sealer) seal(dst []byte, guid mailbox.GUID, n name, value []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, s.slot)
	dst = binary.BigEndian.AppendUint64(dst, s.count)
	dst = append(dst, n[:]...)
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], s.count)
	s.count++
	return s.aead.Seal(dst, nonce[:], value, additional(nil, guid, n))
}

// unseal opens the body of an entry and appends the value to dst. scratch serves the next call.
func unseal(dst []byte, aead cipher.AEAD, guid mailbox.GUID, body []byte, scratch *[]byte) ([]byte, error) {
	b := append((*scratch)[:0], 0, 0, 0, 0)
	b = append(b, body[8:16]...)
	nonce := len(b)
	b = additional(b, guid, name(body[16:entryHead]))
	*scratch = b
	return aead.Open(dst, b[:nonce], body[entryHead:], b[nonce:])
}

// additional appends what is authenticated with an entry to dst.
func additional(dst []byte, guid mailbox.GUID, n name) []byte {
	return append(append(dst, guid[:]...), n[:]...)
}
