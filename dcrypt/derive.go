package dcrypt

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// secretSize is the size of what Encapsulate agrees on for RSA, where the sender chooses it.
const secretSize = 32

// Derive returns n octets, at most 8,160, that only the holder of the key can compute:
// HKDF-SHA256 (RFC 5869) of the private value, without salt. They tell nothing of the
// key nor of what is derived under another info. The caller clears them. The error wraps
// ErrNoKey after Destroy.
func (k *PrivateKey) Derive(info string, n int) ([]byte, error) {
	value, err := k.value()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	out, err := hkdf.Key(sha256.New, value, nil, info, n)
	if err != nil {
		return nil, fmt.Errorf("dcrypt: deriving from key %s: %w", k.pub.id, err)
	}
	return out, nil
}

// Encapsulate makes a secret that the holder of the private key gets from enc by
// Decapsulate, and nobody else: ECDH with a key that is made for it, or RSA-OAEP. The
// secret is not uniform; derive keys from it, with enc as part of the info (RFC 9180
// section 4.1 does so). It proves nothing about who made it. The caller clears it.
func (k *PublicKey) Encapsulate() (enc, secret []byte, err error) {
	if k.info != nil {
		return k.agreeEphemeral()
	}
	secret = make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	if enc, err = encryptOAEP(k, secret); err != nil {
		clear(secret)
		return nil, nil, err
	}
	return enc, secret, nil
}

// Decapsulate returns the secret that Encapsulate made with enc. What was made for another
// key, or altered, gives an error or another secret. The caller clears it. Errors are
// *FormatError or wrap ErrNoKey.
func (k *PrivateKey) Decapsulate(enc []byte) ([]byte, error) {
	if k.pub.info != nil {
		secret, err := k.shared(enc)
		if err == errPoint {
			err = &FormatError{Where: "encapsulated secret", Reason: "not a point of the key's curve"}
		}
		return secret, err
	}
	secret, err := k.decryptRSA(enc)
	if err == errUnwrap {
		err = &FormatError{Where: "encapsulated secret", Reason: "does not decrypt"}
	}
	return secret, err
}
