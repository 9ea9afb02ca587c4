package dcrypt

import (
	"crypto/rand"
	"fmt"
	"strconv"
)

// The defaults of SealOptions. A password needs many rounds. An ECDH secret has the full entropy
// of the curve, so rounds protect nothing there, and opening a key costs more by them than by the
// curve.
const (
	defaultSealCipher     = "aes-256-ctr"
	defaultPasswordHash   = "sha512"
	defaultPasswordRounds = 210_000
	defaultKeyHash        = "sha256"
	defaultKeyRounds      = 1
	defaultSaltLen        = 16
	maxSaltLen            = maxHexField / 2
)

// SealOptions chooses how a private key is sealed. Zero values mean aes-256-ctr and a
// salt of 16 octets; for a password sha512 with 210,000 rounds, for a key sha256 with
// one. Dovecot 2.3 and 2.4 read whatever is chosen here; they write sha256 with 2,048
// rounds, also for passwords.
type SealOptions struct {
	Cipher  string // aes-128-, 192- or 256-, ctr, cbc or cfb
	Hash    string // sha1, sha256, sha384, sha512, ...
	Rounds  int    // up to 10,000,000 for a password, 100,000 for a key
	SaltLen int    // octets, at least 8
}

func (o SealOptions) withDefaults(hash string, rounds int) SealOptions {
	if o.Cipher == "" {
		o.Cipher = defaultSealCipher
	}
	if o.Hash == "" {
		o.Hash = hash
	}
	if o.Rounds == 0 {
		o.Rounds = rounds
	}
	if o.SaltLen == 0 {
		o.SaltLen = defaultSaltLen
	}
	return o
}

// seal is the protection of one version 2 private key.
type seal struct {
	cipher *cipherInfo
	digest *digestInfo
	rounds int
	salt   []byte
}

func newSeal(cipher, hash string, rounds int, by Protection) (*seal, error) {
	c, err := cipherByName(cipher)
	if err != nil {
		return nil, err
	}
	if c.aead() { // the text has no place for a tag
		return nil, &UnsupportedError{What: "cipher " + c.name + " for a key"}
	}
	d, err := digestByName(hash)
	if err != nil {
		return nil, err
	}
	limit := maxRounds
	if by == ByPassword {
		limit = maxPasswordRounds
	}
	if rounds < 1 || rounds > limit {
		return nil, badKey(fmt.Sprintf("rounds not within 1 to %d", limit))
	}
	return &seal{cipher: c, digest: d, rounds: rounds}, nil
}

// key derives key || iv from a password or shared secret.
func (s *seal) key(secret []byte) []byte {
	return s.digest.derive(secret, s.salt, s.rounds, s.cipher.keySize+s.cipher.ivSize())
}

func (s *seal) open(secret, text []byte) ([]byte, error) {
	key := s.key(secret)
	defer clear(key)
	return s.cipher.open(key[:s.cipher.keySize], key[s.cipher.keySize:], nil, text)
}

// seal encrypts a private value. The salt is fresh, so key and IV serve once.
func (s *seal) seal(secret, value []byte) ([]byte, error) {
	key := s.key(secret)
	defer clear(key)
	return s.cipher.seal(key[:s.cipher.keySize], key[s.cipher.keySize:], value)
}

// makeSeal checks options for writing and draws the salt.
func makeSeal(o SealOptions, by Protection) (*seal, error) {
	s, err := newSeal(o.Cipher, o.Hash, o.Rounds, by)
	if err != nil {
		return nil, fmt.Errorf("dcrypt: sealing a key: %w", err)
	}
	if o.SaltLen < 8 || o.SaltLen > maxSaltLen {
		return nil, fmt.Errorf("dcrypt: sealing a key: salt of %d octets", o.SaltLen)
	}
	s.salt = make([]byte, o.SaltLen)
	_, _ = rand.Read(s.salt) // never fails
	return s, nil
}

// SealPassword returns k as version 2 text under a password, which may be empty and
// may hold any octets. The password is not kept.
func SealPassword(k *PrivateKey, password []byte, o SealOptions) ([]byte, error) {
	s, err := makeSeal(o.withDefaults(defaultPasswordHash, defaultPasswordRounds), ByPassword)
	if err != nil {
		return nil, err
	}
	fields, err := s.sealed(k, password)
	if err != nil {
		return nil, err
	}
	return appendV2(k.pub, "2", fields...), nil
}

// SealKey returns k as version 2 text that the private half of to opens. An RSA key
// cannot be used: Dovecot crashes when it reads such a text (*UnsupportedError).
func SealKey(k *PrivateKey, to *PublicKey, o SealOptions) ([]byte, error) {
	if to.info == nil {
		return nil, &UnsupportedError{What: "RSA key as protector of another key"}
	}
	s, err := makeSeal(o.withDefaults(defaultKeyHash, defaultKeyRounds), ByKey)
	if err != nil {
		return nil, err
	}
	ephemeral, shared, err := to.agreeEphemeral()
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	fields, err := s.sealed(k, shared)
	if err != nil {
		return nil, err
	}
	fields = append(fields, hexField(ephemeral), []byte(to.id.String()))
	return appendV2(k.pub, "1", fields...), nil
}

// agreeEphemeral agrees on a secret with a key pair that serves this once, and returns
// its public point, uncompressed.
func (k *PublicKey) agreeEphemeral() (ephemeral, shared []byte, err error) {
	scalar, agree, ephemeral, err := k.info.generate()
	if err != nil {
		return nil, nil, err
	}
	defer clear(scalar)
	defer agree.clear()
	if t := k.table(); t != nil {
		shared, err = t.x(scalar)
	} else {
		shared, err = agree.shared(k.point)
	}
	if err != nil {
		return nil, nil, badKey("public key is of low order")
	}
	return ephemeral, shared, nil
}

// sealed returns the fields of a seal from the cipher to the ciphertext.
func (s *seal) sealed(k *PrivateKey, secret []byte) ([][]byte, error) {
	value, err := k.value()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	text, err := s.seal(secret, value)
	if err != nil {
		return nil, err
	}
	return [][]byte{[]byte(s.cipher.name), hexField(s.salt), []byte(s.digest.name),
		strconv.AppendInt(nil, int64(s.rounds), 10), hexField(text)}, nil
}

// appendV2 joins the fields of a version 2 private key text. The fields are cleared,
// for one of them may be the bare private value.
func appendV2(k *PublicKey, kind string, fields ...[]byte) []byte {
	oid := oidRSA
	if k.info != nil {
		oid = k.info.oid
	}
	size := 256
	for _, f := range fields {
		size += len(f) + 1
	}
	// Large enough from the start: growing would leave a copy of the secret behind.
	out := make([]byte, 0, size)
	out = append(out, "2:"+oid.String()+":"+kind...)
	for _, f := range fields {
		out = append(append(out, ':'), f...)
		clear(f)
	}
	return append(out, ":"+k.id.String()...)
}
