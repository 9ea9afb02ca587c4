package userdb

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// Simple digests, with and without salt. They are here to read what others have stored: all
// of them are too fast for a password.

func equal(a, b []byte) error {
	if subtle.ConstantTimeCompare(a, b) != 1 {
		return ErrPassword
	}
	return nil
}

func verifyPlain(_ string, password, stored []byte) error { return equal(password, stored) }

func hashPlain(_ string, password []byte, _ int) ([]byte, error) { return password, nil }

// digestScheme has the schemes that are one application of a hash function:
//
//	SHA, SHA256, SHA512, PLAIN-MD5, LDAP-MD5   H(password)
//	SSHA, SSHA256, SSHA512, SMD5               H(password salt) salt
//	SCRAM-SHA-1, SCRAM-SHA-256                 see scram
func digestScheme(name string) (scheme, bool) {
	switch name {
	case "SHA", "SHA1":
		return plainDigest(sha1.New, encBase64), true
	case "SHA256":
		return plainDigest(sha256.New, encBase64), true
	case "SHA512":
		return plainDigest(sha512.New, encBase64), true
	case "PLAIN-MD5":
		return plainDigest(md5.New, encHex), true
	case "LDAP-MD5":
		return plainDigest(md5.New, encBase64), true
	case "SSHA":
		return saltedDigest(sha1.New), true
	case "SSHA256":
		return saltedDigest(sha256.New), true
	case "SSHA512":
		return saltedDigest(sha512.New), true
	case "SMD5":
		return saltedDigest(md5.New), true
	case "SCRAM-SHA-1":
		return scram(sha1.New), true
	case "SCRAM-SHA-256":
		return scram(sha256.New), true
	}
	return scheme{}, false
}

func sum(h func() hash.Hash, parts ...[]byte) []byte {
	d := h()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

func plainDigest(h func() hash.Hash, enc hashEncoding) scheme {
	return scheme{
		encoding: enc, size: h().Size(),
		verify: func(_ string, password, stored []byte) error { return equal(sum(h, password), stored) },
		hash:   func(_ string, password []byte, _ int) ([]byte, error) { return sum(h, password), nil },
	}
}

func saltedDigest(h func() hash.Hash) scheme {
	size := h().Size()
	return scheme{
		encoding: encBase64,
		verify: func(_ string, password, stored []byte) error {
			if len(stored) <= size {
				return fmt.Errorf("%w: no salt", ErrHash)
			}
			return equal(sum(h, password, stored[size:]), stored[:size])
		},
		hash: func(_ string, password []byte, _ int) ([]byte, error) {
			salt := make([]byte, 16)
			rand.Read(salt) // never fails
			return append(sum(h, password, salt), salt...), nil
		},
	}
}

// verifyMD5 is {MD5}: a crypt(3) hash, or else hexadecimal or base64 digits.
func verifyMD5(user string, password, stored []byte) error {
	if strings.HasPrefix(string(stored), "$1$") {
		return verifyCrypt(user, password, stored)
	}
	s, raw, err := parseHash("{PLAIN-MD5}" + string(stored))
	if err != nil {
		return err
	}
	return s.verify(user, password, raw)
}

// hashDigestMD5 is H(user ":" realm ":" password), where the realm is the domain.
func hashDigestMD5(user string, password []byte, _ int) ([]byte, error) {
	local, realm, _ := strings.Cut(user, "@")
	return sum(md5.New, []byte(local+":"+realm+":"), password), nil
}

func verifyDigestMD5(user string, password, stored []byte) error {
	want, err := hashDigestMD5(user, password, 0)
	if err != nil {
		return err
	}
	return equal(want, stored)
}

// hashCramMD5 returns the states of the outer and the inner MD5 of an HMAC after the padded
// key, each as four little-endian words. (Dovecot: password_generate_cram_md5.)
func hashCramMD5(_ string, password []byte, _ int) ([]byte, error) {
	if len(password) > md5.BlockSize {
		password = sum(md5.New, password)
	}
	var out []byte
	for _, pad := range []byte{0x5c, 0x36} {
		block := make([]byte, md5.BlockSize)
		copy(block, password)
		for i := range block {
			block[i] ^= pad
		}
		d := md5.New()
		d.Write(block)
		clear(block)
		m, ok := d.(encoding.BinaryMarshaler)
		if !ok {
			return nil, errors.New("userdb: internal error: crypto/md5 shows no state")
		}
		state, err := m.MarshalBinary() // "md5\x01" and the words, big-endian
		if err != nil {
			return nil, fmt.Errorf("userdb: state of MD5: %w", err)
		}
		for i := range 4 {
			out = binary.LittleEndian.AppendUint32(out, binary.BigEndian.Uint32(state[4+4*i:]))
		}
	}
	return out, nil
}

func verifyCramMD5(user string, password, stored []byte) error {
	want, err := hashCramMD5(user, password, 0)
	if err != nil {
		return err
	}
	return equal(want, stored)
}
