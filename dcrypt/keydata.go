package dcrypt

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"mailcrypt/internal/sha256loop"
)

// keyDataRounds is how often the key-data hash is iterated, whatever the header's
// rounds say.
const keyDataRounds = 2048

// keyDataLen is the length of key || IV || tail. The key data of version 1 is the key.
func (h *Header) keyDataLen() int {
	if h.Version == 1 {
		return h.cipher.keySize
	}
	n := h.cipher.keySize + h.cipher.ivSize()
	if h.Integrity != None {
		n += tailLen
	}
	return n
}

// findKeyData opens the key data with the first recipient whose key is at hand, and says
// which that was. The caller clears it.
func (h *Header) findKeyData(keys KeyFinder) ([]byte, KeyID, error) {
	for i := range h.Recipients {
		r := &h.Recipients[i]
		if keys == nil {
			break
		}
		k, err := keys.PrivateKey(r.ID)
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return nil, KeyID{}, fmt.Errorf("dcrypt: finding key %s: %w", r.ID, err)
		}
		if k == nil {
			continue
		}
		kd, err := h.openKeyData(r, k)
		return kd, r.ID, err
	}
	return nil, KeyID{}, fmt.Errorf("%w: stream is for %s", ErrNoKey, h.Recipients[0].ID)
}

func (h *Header) openKeyData(r *Recipient, k *PrivateKey) ([]byte, error) {
	id := k.ID()
	if h.Version == 1 {
		id, _ = k.OldID()
	}
	if id != r.ID {
		return nil, fmt.Errorf("%w: stream is for %s", ErrKeyID, r.ID)
	}
	if r.RSA != (k.pub.info == nil) {
		return nil, badHeader("recipient is of another type than its key")
	}
	kd, err := h.unwrap(r, k)
	switch {
	case errors.Is(err, errPoint):
		return nil, badHeader("ephemeral key is not a valid point of the key's curve")
	case errors.Is(err, errUnwrap):
		return nil, badHeader("key data does not decrypt")
	case err != nil:
		return nil, err
	}
	if len(kd) != h.keyDataLen() {
		clear(kd)
		return nil, badHeader("key data has the wrong length")
	}
	// An AEAD tag fails under any other key, IV or tail, so there the hash, which costs
	// 2,049 digests a message, would add nothing. An HMAC is keyed by the tail alone: a
	// changed E could replace key and IV, and text decrypted under them would pass.
	if h.Integrity != AEAD && subtle.ConstantTimeCompare(h.keyDataHash(kd), h.hash) != 1 {
		clear(kd)
		return nil, badHeader("key data does not fit its hash")
	}
	return kd, nil
}

// unwrap decrypts the key data of one recipient.
func (h *Header) unwrap(r *Recipient, k *PrivateKey) ([]byte, error) {
	if r.RSA {
		return k.decryptRSA(r.wrapped)
	}
	secret, err := k.shared(r.ephemeral)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	if h.Version == 1 {
		return cryptSeed(secret, r.wrapped)
	}
	c, t := h.wrapKey(secret, r.ephemeral)
	defer clear(t)
	key, iv, aad := t[:c.keySize], t[c.keySize:c.keySize+c.ivSize()], t[c.keySize+c.ivSize():]
	return c.open(key, iv, aad, r.wrapped)
}

// wrapKey returns the cipher that wraps the key data, and its key || IV || AAD.
func (h *Header) wrapKey(secret, ephemeral []byte) (*cipherInfo, []byte) {
	c, _ := cipherByName("aes-256-cbc")
	aad := 0
	if h.SameCipher {
		c = h.cipher
		if c.aead() {
			aad = tailLen
		}
	}
	return c, h.digest.derive(secret, ephemeral, h.Rounds, c.keySize+c.ivSize()+aad)
}

// cryptSeed encrypts or decrypts the seed of a version 1 stream. Its counter begins at
// zero; the key comes from an ephemeral key and serves once.
func cryptSeed(secret, seed []byte) ([]byte, error) {
	kek := sha256.Sum256(secret)
	defer clear(kek[:])
	c, _ := cipherByName("aes-256-ctr")
	return c.open(kek[:], make([]byte, c.ivSize()), nil, seed)
}

// keyDataHash is the digest of the key data: one hash in version 1, 2,049 in version 2.
func (h *Header) keyDataHash(kd []byte) []byte {
	d := h.digest.new()
	d.Write(kd)
	sum := d.Sum(nil)
	if h.Version == 1 {
		return sum
	}
	if h.digest.name == "sha256" {
		sha256loop.Chain((*[sha256.Size]byte)(sum), keyDataRounds)
		return sum
	}
	// One Write for digest and counter.
	n := len(sum)
	sum = append(sum, 0, 0, 0, 0)
	for i := uint32(1); i <= keyDataRounds; i++ {
		binary.BigEndian.PutUint32(sum[n:], i)
		d.Reset()
		d.Write(sum)
		d.Sum(sum[:0])
	}
	return sum[:n]
}
