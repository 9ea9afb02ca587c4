package userdb

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrPassword reports a password that is not the one that was hashed.
	ErrPassword = errors.New("userdb: wrong password")
	// ErrScheme reports a password scheme that is not supported, or whose cost is beyond
	// what this program is willing to spend.
	ErrScheme = errors.New("userdb: unsupported password scheme")
	// ErrHash reports a stored hash that its scheme does not allow.
	ErrHash = errors.New("userdb: invalid password hash")
)

// A hashEncoding is how the bytes of a hash are written. Dovecot: password-scheme.h.
type hashEncoding int

const (
	encNone hashEncoding = iota
	encHex
	encBase64
)

// A scheme is one of Dovecot's password schemes.
type scheme struct {
	// encoding is how the hash is written where the scheme's name has no suffix.
	encoding hashEncoding
	// size is that of the decoded hash, 0 if it varies. With a fixed size both encodings
	// are recognised by length.
	size   int
	verify func(user string, password, hash []byte) error
	// hash makes a hash for HashPassword, decoded; nil if the scheme is only verified.
	hash func(user string, password []byte, rounds int) ([]byte, error)
}

// schemeByName returns the scheme with an upper-case name.
func schemeByName(name string) (scheme, bool) {
	switch name {
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return scheme{encNone, 0, verifyPlain, hashPlain}, true
	case "CRYPT":
		return scheme{encNone, 0, verifyCrypt, hashBcrypt}, true
	case "BLF-CRYPT":
		return scheme{encNone, 0, verifyCrypt, hashBcrypt}, true
	case "SHA256-CRYPT":
		return scheme{encNone, 0, verifyCrypt, hashSHA256Crypt}, true
	case "SHA512-CRYPT":
		return scheme{encNone, 0, verifyCrypt, hashSHA512Crypt}, true
	case "MD5-CRYPT":
		return scheme{encNone, 0, verifyCrypt, hashMD5Crypt}, true
	case "MD5": // either of two, for history's sake
		return scheme{encNone, 0, verifyMD5, nil}, true
	case "ARGON2I":
		return scheme{encNone, 0, verifyArgon2, hashArgon2i}, true
	case "ARGON2ID":
		return scheme{encNone, 0, verifyArgon2, hashArgon2id}, true
	case "PBKDF2":
		return scheme{encNone, 0, verifyPBKDF2, hashPBKDF2}, true
	case "CRAM-MD5", "HMAC-MD5":
		return scheme{encHex, 32, verifyCramMD5, hashCramMD5}, true
	case "DIGEST-MD5":
		return scheme{encHex, 16, verifyDigestMD5, hashDigestMD5}, true
	}
	return digestScheme(name)
}

// parseHash takes a stored password apart. Without a scheme it is a crypt(3) hash, which
// is the default of Dovecot's passwd-file.
func parseHash(stored string) (s scheme, hash []byte, err error) {
	name, text := "CRYPT", stored
	if rest, ok := strings.CutPrefix(stored, "{"); ok {
		if name, text, ok = strings.Cut(rest, "}"); !ok {
			return scheme{}, nil, fmt.Errorf("%w: no end of the scheme", ErrHash)
		}
	}
	name, suffix, _ := strings.Cut(strings.ToUpper(name), ".")
	s, ok := schemeByName(name)
	if !ok {
		return scheme{}, nil, fmt.Errorf("%w: %.40q", ErrScheme, name)
	}
	enc := s.encoding
	switch suffix {
	case "":
		if s.size > 0 && enc != encNone { // Dovecot: guess_decode()
			enc = encBase64
			if len(text) == 2*s.size {
				enc = encHex
			}
		}
	case "B64", "BASE64":
		enc = encBase64
	case "HEX":
		enc = encHex
	default:
		return scheme{}, nil, fmt.Errorf("%w: encoding %.40q", ErrScheme, suffix)
	}
	if hash, err = enc.decode(text); err != nil {
		return scheme{}, nil, fmt.Errorf("%w: not as the scheme %.40q encodes it", ErrHash, name)
	}
	if s.size > 0 && len(hash) != s.size {
		return scheme{}, nil, fmt.Errorf("%w: %d bytes for %s", ErrHash, len(hash), name)
	}
	return s, hash, nil
}

func (e hashEncoding) decode(s string) ([]byte, error) {
	switch e {
	case encHex:
		return hex.DecodeString(s)
	case encBase64:
		return base64.StdEncoding.DecodeString(strings.Trim(s, " \t"))
	}
	return []byte(s), nil
}

func (e hashEncoding) encode(b []byte) string {
	switch e {
	case encHex:
		return hex.EncodeToString(b)
	case encBase64:
		return base64.StdEncoding.EncodeToString(b)
	}
	return string(b)
}

// Verify compares a password with a stored {SCHEME}hash and returns nil, or an error
// wrapping ErrPassword, ErrScheme or ErrHash. The schemes are PLAIN, CLEARTEXT, CRYPT with
// the hashes $1$ $5$ $6$ $2a$ $2b$ $2y$ $y$, SHA256-CRYPT, SHA512-CRYPT, BLF-CRYPT,
// MD5-CRYPT, ARGON2I, ARGON2ID, PBKDF2, SHA, SHA1, SHA256, SHA512, SSHA, SSHA256, SSHA512,
// SMD5, MD5, PLAIN-MD5, LDAP-MD5, CRAM-MD5, DIGEST-MD5, SCRAM-SHA-1 and SCRAM-SHA-256; a
// suffix .b64, .base64 or .hex names the encoding. Names are the same in upper and lower
// case. user matters to DIGEST-MD5 alone.
//
// What a hash may cost is bounded: 5,000,000 rounds, bcrypt cost 16, 1 GiB of memory.
func Verify(user, stored string, password []byte) error {
	s, hash, err := parseHash(stored)
	if err != nil {
		return err
	}
	for _, c := range password {
		if c == 0 { // crypt(3) would stop there, and no SASL mechanism carries it
			return ErrPassword
		}
	}
	return s.verify(user, password, hash)
}
