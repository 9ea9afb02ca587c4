package userdb

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argonParams are those of a hash in the form of the reference implementation:
//
//	"$argon2id$v=19$m=" KiB ",t=" passes ",p=" lanes "$" salt "$" key
//
// with salt and key in base64 without padding.
type argonParams struct {
	id        bool
	mem, time uint32
	lanes     uint8
	salt, key []byte
}

func parseArgon2(s string) (argonParams, error) {
	var p argonParams
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return p, fmt.Errorf("%w: ARGON2", ErrHash)
	}
	switch parts[1] {
	case "argon2i":
	case "argon2id":
		p.id = true
	default:
		return p, fmt.Errorf("%w: %.20q", ErrScheme, parts[1])
	}
	var n [3]uint64
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return p, fmt.Errorf("%w: ARGON2 parameters", ErrHash)
	}
	for i, name := range []string{"m=", "t=", "p="} {
		v, ok := strings.CutPrefix(params[i], name)
		var err error
		if n[i], err = strconv.ParseUint(v, 10, 32); !ok || err != nil || n[i] == 0 {
			return p, fmt.Errorf("%w: ARGON2 parameters", ErrHash)
		}
	}
	// Memory, and memory times passes: 16 GiB of work takes some ten seconds of a core.
	if n[0]<<10 > maxHashMemory || n[1] > 1<<20 || n[0]<<10*n[1] > 16<<30 || n[2] > 64 {
		return p, errCost
	}
	p.mem, p.time, p.lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(p.salt) == 0 || len(p.key) < 16 || len(p.key) > 1024 {
		return p, fmt.Errorf("%w: ARGON2", ErrHash)
	}
	return p, nil
}

func (p argonParams) derive(password []byte, size int) []byte {
	if p.id {
		return argon2.IDKey(password, p.salt, p.time, p.mem, p.lanes, uint32(size))
	}
	return argon2.Key(password, p.salt, p.time, p.mem, p.lanes, uint32(size))
}

func verifyArgon2(_ string, password, stored []byte) error {
	p, err := parseArgon2(string(stored))
	if err != nil {
		return err
	}
	return equal(p.derive(password, len(p.key)), p.key)
}

func hashArgon2i(_ string, password []byte, rounds int) ([]byte, error) {
	return hashArgon2(argonParams{mem: 32 << 10, time: 4, lanes: 1}, password, rounds)
}

func hashArgon2id(_ string, password []byte, rounds int) ([]byte, error) {
	return hashArgon2(argonParams{id: true, mem: 64 << 10, time: 3, lanes: 1}, password, rounds)
}

// hashArgon2 takes Dovecot's parameters, which are those of libsodium's "moderate" memory;
// rounds are the passes.
func hashArgon2(p argonParams, password []byte, rounds int) ([]byte, error) {
	if rounds != 0 {
		if rounds < 3 || rounds > 64 {
			return nil, fmt.Errorf("userdb: ARGON2 takes 3 to 64 rounds")
		}
		p.time = uint32(rounds)
	}
	name := "argon2i"
	if p.id {
		name = "argon2id"
	}
	p.salt = make([]byte, 16)
	rand.Read(p.salt) // never fails
	b64 := base64.RawStdEncoding
	return fmt.Appendf(nil, "$%s$v=19$m=%d,t=%d,p=%d$%s$%s", name, p.mem, p.time, p.lanes,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.derive(password, 32))), nil
}

// verifyPBKDF2 reads "$1$" salt "$" rounds "$" hex: PBKDF2 with SHA-1, the salt as it
// stands. (Dovecot: password-scheme-pbkdf2.c.)
func verifyPBKDF2(_ string, password, stored []byte) error {
	parts := strings.Split(string(stored), "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "1" {
		return fmt.Errorf("%w: PBKDF2", ErrHash)
	}
	n, err := strconv.Atoi(parts[3])
	key, herr := hex.DecodeString(parts[4])
	if err != nil || herr != nil || n < 1 || len(key) != sha1.Size {
		return fmt.Errorf("%w: PBKDF2", ErrHash)
	}
	if n > maxHashRounds {
		return errCost
	}
	got, err := pbkdf2.Key(sha1.New, string(password), []byte(parts[2]), n, len(key))
	if err != nil {
		return fmt.Errorf("userdb: PBKDF2: %w", err)
	}
	return equal(got, key)
}

func hashPBKDF2(_ string, password []byte, rounds int) ([]byte, error) {
	if rounds == 0 {
		rounds = 210_000
	}
	if rounds < 1000 || rounds > maxHashRounds {
		return nil, fmt.Errorf("userdb: PBKDF2 takes 1000 to %d rounds", maxHashRounds)
	}
	salt := cryptSalt(16)
	key, err := pbkdf2.Key(sha1.New, string(password), []byte(salt), rounds, sha1.Size)
	if err != nil {
		return nil, fmt.Errorf("userdb: PBKDF2: %w", err)
	}
	return fmt.Appendf(nil, "$1$%s$%d$%x", salt, rounds, key), nil
}

// scram is the stored form of RFC 5802: rounds "," salt "," StoredKey "," ServerKey, the
// last three in base64.
func scram(h func() hash.Hash) scheme {
	keys := func(password, salt []byte, n int) (stored, server []byte, err error) {
		salted, err := pbkdf2.Key(h, string(password), salt, n, h().Size())
		if err != nil {
			return nil, nil, fmt.Errorf("userdb: SCRAM: %w", err)
		}
		mac := func(text string) []byte {
			m := hmac.New(h, salted)
			m.Write([]byte(text))
			return m.Sum(nil)
		}
		return sum(h, mac("Client Key")), mac("Server Key"), nil
	}
	return scheme{
		verify: func(_ string, password, hash []byte) error {
			parts := strings.Split(string(hash), ",")
			if len(parts) != 4 {
				return fmt.Errorf("%w: SCRAM", ErrHash)
			}
			n, err := strconv.Atoi(parts[0])
			salt, err1 := base64.StdEncoding.DecodeString(parts[1])
			stored, err2 := base64.StdEncoding.DecodeString(parts[2])
			server, err3 := base64.StdEncoding.DecodeString(parts[3])
			if err != nil || err1 != nil || err2 != nil || err3 != nil || n < 1 {
				return fmt.Errorf("%w: SCRAM", ErrHash)
			}
			if n > maxHashRounds {
				return errCost
			}
			gotStored, gotServer, err := keys(password, salt, n)
			if err != nil {
				return err
			}
			return equal(append(gotStored, gotServer...), append(stored, server...))
		},
		hash: func(_ string, password []byte, rounds int) ([]byte, error) {
			if rounds == 0 {
				rounds = 100_000
			}
			if rounds < 4096 || rounds > maxHashRounds { // RFC 5802 section 5.1
				return nil, fmt.Errorf("userdb: SCRAM takes 4096 to %d rounds", maxHashRounds)
			}
			salt := make([]byte, 16)
			rand.Read(salt) // never fails
			stored, server, err := keys(password, salt, rounds)
			b64 := base64.StdEncoding
			return fmt.Appendf(nil, "%d,%s,%s,%s", rounds, b64.EncodeToString(salt),
				b64.EncodeToString(stored), b64.EncodeToString(server)), err
		},
	}
}
