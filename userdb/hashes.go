package userdb

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// hashByName returns a hash that templates may name, nil if there is none. Dovecot:
// hash-method.c; it knows no SHA-224.
func hashByName(name string) func() hash.Hash {
	switch name {
	case "md5":
		return md5.New
	case "sha1":
		return sha1.New
	case "sha256":
		return sha256.New
	case "sha384":
		return sha512.New384
	case "sha512":
		return sha512.New
	case "sha3-256":
		return func() hash.Hash { return sha3.New256() }
	case "sha3-512":
		return func() hash.Hash { return sha3.New512() }
	}
	return nil
}

// rounds applies h so often, each time to the salt and the result before.
func rounds(h func() hash.Hash, value, salt []byte, n int) []byte {
	for range n {
		d := h()
		d.Write(salt)
		d.Write(value)
		clear(value)
		value = d.Sum(nil)
	}
	return value
}

// pkcs5Size is how much Dovecot 2.3.19.1 derives for pkcs5, tried on amd64: not the size
// of the digest but that of its state.
const pkcs5Size = 336

// hash23 expands NAME[;options]:field, of which s holds what follows the name.
func (v Vars) hash23(s, algo string, depth int) ([]byte, error) {
	options, field, found := strings.Cut(s, ":")
	if !found {
		return nil, fmt.Errorf("%w: hash of no variable", ErrTemplate)
	}
	o := hashOptions{rounds: 1, format: "hex"}
	if algo == "pkcs5" {
		o.rounds, o.salt = 2048, []byte(field) // an unset salt is the variable's name
	}
	if err := o.parse(v, strings.TrimPrefix(options, ";"), depth); err != nil {
		return nil, err
	}
	value, err := v.lookup(field)
	if err != nil {
		return nil, err
	}
	var sum []byte
	if algo == "pkcs5" {
		sum, err = pbkdf2.Key(sha256.New, string(value), o.salt, o.rounds, pkcs5Size)
		clear(value)
		if err != nil {
			return nil, fmt.Errorf("userdb: pkcs5: %w", err)
		}
	} else {
		sum = rounds(hashByName(algo), value, o.salt, o.rounds)
	}
	if o.bits > 0 {
		sum = truncateBits(sum, o.bits)
	}
	switch o.format {
	case "base64":
		return base64.StdEncoding.AppendEncode(nil, sum), nil
	case "base64url":
		return base64.URLEncoding.AppendEncode(nil, sum), nil
	}
	return hex.AppendEncode(nil, sum), nil
}

type hashOptions struct {
	rounds, bits int
	salt         []byte
	format       string
}

// parse reads options separated by commas. What comes after salt is not read, and unknown
// options are ignored, both as in Dovecot.
func (o *hashOptions) parse(v Vars, s string, depth int) error {
	for option := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "rounds":
			o.rounds, err = strconv.Atoi(value)
			if err != nil || o.rounds < 1 || o.rounds > maxRounds {
				return fmt.Errorf("%w: rounds must be 1 to %d", ErrTemplate, maxRounds)
			}
		case "truncate":
			o.bits, err = strconv.Atoi(value)
			if err != nil || o.bits < 0 {
				return fmt.Errorf("%w: truncate must be a number of bits", ErrTemplate)
			}
		case "format":
			switch value {
			case "hex", "hexuc", "base64", "base64url":
				o.format = value
			default:
				return fmt.Errorf("%w: unknown format %q", ErrTemplate, value)
			}
		case "salt":
			if o.salt, err = v.expand(value, depth+1); err == nil && len(o.salt) > maxSalt {
				err = fmt.Errorf("%w: salt of %d bytes", ErrTemplate, len(o.salt))
			}
			return err
		}
	}
	return nil
}

// truncateBits keeps the first bits, moved to the right end of whole bytes. Dovecot:
// buffer_truncate_rshift_bits().
func truncateBits(b []byte, bits int) []byte {
	if bits >= 8*len(b) {
		return b
	}
	b = b[:(bits+7)/8]
	if shift := (8 - bits%8) % 8; shift > 0 {
		for i := len(b) - 1; i > 0; i-- {
			b[i] = b[i]>>shift | b[i-1]<<(8-shift)
		}
		b[0] >>= shift
	}
	return b
}
