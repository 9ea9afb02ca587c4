package userdb

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/bcrypt"
)

// Bounds on what a stored hash may cost, for a line of the file may be anybody's.
const (
	maxHashRounds = 5_000_000
	maxBcryptCost = 16
	maxHashMemory = 1 << 30
)

// errCost is for parameters beyond the bounds.
var errCost = fmt.Errorf("%w: its parameters cost too much", ErrScheme)

// verifyCrypt compares with a crypt(3) hash of any kind, as Dovecot does for all its
// schemes that end in CRYPT.
func verifyCrypt(_ string, password, stored []byte) error {
	kind, _, _ := strings.Cut(strings.TrimPrefix(string(stored), "$"), "$")
	switch {
	case len(stored) == 0 || stored[0] != '$':
		return fmt.Errorf("%w: traditional crypt", ErrScheme)
	case kind == "1":
		return verifyMD5Crypt(password, string(stored))
	case kind == "5":
		return verifySHACrypt(sha256.New, password, string(stored))
	case kind == "6":
		return verifySHACrypt(sha512.New, password, string(stored))
	case kind == "2a", kind == "2b", kind == "2y":
		return verifyBcrypt(password, stored)
	case kind == "y":
		return verifyYescrypt(password, stored)
	}
	return fmt.Errorf("%w: crypt hash of kind %.10q", ErrScheme, kind)
}

// verifyMD5Crypt reads "$1$" salt "$" hash ["$" ignored].
func verifyMD5Crypt(password []byte, stored string) error {
	parts := strings.Split(stored, "$")
	if len(parts) < 4 {
		return fmt.Errorf("%w: MD5-CRYPT", ErrHash)
	}
	salt := parts[2]
	return equal(crypt.KeyMD5Crypt(password, []byte(salt[:min(len(salt), 8)])), []byte(parts[3]))
}

// verifySHACrypt reads "$5$" ["rounds=" N "$"] salt "$" hash, and "$6$" likewise.
func verifySHACrypt(h func() hash.Hash, password []byte, stored string) error {
	parts, rounds := strings.Split(stored, "$"), 5000
	if len(parts) == 5 && strings.HasPrefix(parts[2], "rounds=") {
		n, err := strconv.Atoi(parts[2][len("rounds="):])
		if err != nil || n < 1000 { // libxcrypt refuses fewer
			return fmt.Errorf("%w: rounds", ErrHash)
		}
		rounds = n
		parts = append(parts[:2], parts[3:]...)
	}
	switch {
	case len(parts) != 4:
		return fmt.Errorf("%w: SHA-CRYPT", ErrHash)
	case rounds > maxHashRounds:
		return errCost
	}
	return equal(shaCrypt(h, password, parts[2], rounds), []byte(parts[3]))
}

func shaCrypt(h func() hash.Hash, password []byte, salt string, rounds int) []byte {
	return crypt.KeySHACrypt(h, password, []byte(salt[:min(len(salt), 16)]), rounds)
}

func verifyBcrypt(password, stored []byte) error {
	cost, err := bcrypt.Cost(stored)
	if err != nil {
		return fmt.Errorf("%w: BLF-CRYPT", ErrHash)
	}
	if cost > maxBcryptCost {
		return errCost
	}
	switch err := bcrypt.CompareHashAndPassword(stored, password); {
	case err == nil:
		return nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return ErrPassword
	}
	return fmt.Errorf("%w: BLF-CRYPT", ErrHash)
}

// verifyYescrypt reads what Debian's passwd writes: "$y$j" N r "$" salt "$" hash, where
// the costs are a character each. The library bounds them to 1 GiB.
func verifyYescrypt(password, stored []byte) error {
	if bytes.Count(stored, []byte{'$'}) != 4 {
		return fmt.Errorf("%w: yescrypt", ErrHash)
	}
	got, err := yescrypt.Hash(password, stored)
	if err != nil {
		return fmt.Errorf("%w: yescrypt parameters", ErrScheme)
	}
	return equal(got, stored)
}

func hashBcrypt(_ string, password []byte, rounds int) ([]byte, error) {
	if rounds == 0 {
		rounds = 10
	}
	if rounds < bcrypt.MinCost || rounds > maxBcryptCost {
		return nil, fmt.Errorf("userdb: bcrypt takes a cost of %d to %d", bcrypt.MinCost, maxBcryptCost)
	}
	out, err := bcrypt.GenerateFromPassword(password, rounds)
	if err != nil {
		return nil, fmt.Errorf("userdb: bcrypt: %w", err) // a password of more than 72 bytes
	}
	copy(out, "$2y$") // the same algorithm under the name that crypt(3) prefers
	return out, nil
}

func hashSHA256Crypt(_ string, password []byte, rounds int) ([]byte, error) {
	return hashSHACrypt("5", sha256.New, password, rounds)
}

func hashSHA512Crypt(_ string, password []byte, rounds int) ([]byte, error) {
	return hashSHACrypt("6", sha512.New, password, rounds)
}

func hashSHACrypt(kind string, h func() hash.Hash, password []byte, rounds int) ([]byte, error) {
	if rounds == 0 {
		rounds = 100_000
	}
	if rounds < 1000 || rounds > maxHashRounds {
		return nil, fmt.Errorf("userdb: SHA-CRYPT takes 1000 to %d rounds", maxHashRounds)
	}
	salt := cryptSalt(16)
	return fmt.Appendf(nil, "$%s$rounds=%d$%s$%s", kind, rounds, salt, shaCrypt(h, password, salt, rounds)), nil
}

func hashMD5Crypt(_ string, password []byte, _ int) ([]byte, error) {
	salt := cryptSalt(8)
	return fmt.Appendf(nil, "$1$%s$%s", salt, crypt.KeyMD5Crypt(password, []byte(salt))), nil
}

// cryptSalt returns random characters of crypt(3)'s alphabet.
func cryptSalt(n int) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[b[i]%64]
	}
	return string(b)
}
