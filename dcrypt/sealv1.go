package dcrypt

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"mailcrypt/internal/sha256loop"
)

// ErrHexPassword reports a password that cannot seal a key in version 1: Dovecot takes it
// for hex digits.
var ErrHexPassword error = &UnsupportedError{What: "a password that is not hex digits, for a key of version 1"}

// TextV1 returns the key unsealed as version 1 text: a secret, which the caller clears.
// Version 1 is for keys that exist under their old ID alone, where Dovecot looks for a text
// that names it; a new key wants version 2. The error is an *UnsupportedError for RSA and for
// curves that version 1 cannot name.
func TextV1(k *PrivateKey) ([]byte, error) {
	value, err := k.valueV1()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	return k.appendV1("0", hexField(value)), nil
}

// SealPasswordV1 returns k as version 1 text under a password of hex digits; another one is
// ErrHexPassword. The format has 16 rounds of PBKDF2 and no more: only a password that nobody
// can guess is safe there, such as a long digest of a secret.
func SealPasswordV1(k *PrivateKey, password []byte) ([]byte, error) {
	secret, err := hex.AppendDecode(nil, password)
	if err != nil || len(secret) == 0 {
		return nil, ErrHexPassword
	}
	defer clear(secret)
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	kek := sha256loop.PBKDF2(secret, salt, rounds1, 32)
	defer clear(kek)
	text, err := k.sealV1(kek)
	if err != nil {
		return nil, err
	}
	return k.appendV1("2", hexField(text), hexField(salt)), nil
}

// SealKeyV1 returns k as version 1 text that the private half of to opens, which the text
// names by its old ID.
func SealKeyV1(k *PrivateKey, to *PublicKey) ([]byte, error) {
	if to.info == nil || to.info.raw {
		return nil, &UnsupportedError{What: "this kind of key as protector of a key of version 1"}
	}
	ephemeral, shared, err := to.agreeEphemeral()
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	kek := sha256.Sum256(shared)
	defer clear(kek[:])
	text, err := k.sealV1(kek[:])
	if err != nil {
		return nil, err
	}
	return k.appendV1("1", hexField(text), hexField(ephemeral), []byte(to.oldID.String())), nil
}

// sealV1 encrypts the scalar. The salt or the ephemeral key is fresh, so that the key of the
// seal serves once and the counter may begin at zero.
func (k *PrivateKey) sealV1(kek []byte) ([]byte, error) {
	value, err := k.valueV1()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	ctr, err := cipherByName("aes-256-ctr")
	if err != nil {
		return nil, err
	}
	return ctr.seal(kek, make([]byte, ctr.ivSize()), value)
}

// valueV1 is the bare scalar.
func (k *PrivateKey) valueV1() ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case k.rsa != nil || k.pub.info != nil && (k.pub.info.raw || k.pub.info.nid == 0):
		return nil, &UnsupportedError{What: "this kind of key in version 1"}
	case k.scalar.IsZero():
		return nil, errDestroyed()
	}
	return bytes.Clone(k.scalar.Bytes()), nil
}

// appendV1 joins the fields of a version 1 text, and clears them.
func (k *PrivateKey) appendV1(kind string, fields ...[]byte) []byte {
	size := 128
	for _, f := range fields {
		size += len(f) + 1
	}
	out := append(make([]byte, 0, size), "1\t"+strconv.Itoa(k.pub.info.nid)+"\t"+kind...)
	for _, f := range fields {
		out = append(append(out, '\t'), f...)
		clear(f)
	}
	return append(out, "\t"+k.pub.oldID.String()...)
}
