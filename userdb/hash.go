package userdb

import (
	"bytes"
	"fmt"
	"strings"
)

// HashOptions tune HashPassword; the zero value takes the defaults.
type HashOptions struct {
	// Rounds is the cost in the scheme's own unit: rounds, passes, or bcrypt's exponent.
	Rounds int
	// User is needed for DIGEST-MD5, whose hash includes the name.
	User string
}

// DefaultScheme is what HashPassword uses if none is named. Dovecot must have been built
// with libsodium to read it, as distributions do.
const DefaultScheme = "ARGON2ID"

// HashPassword returns the {SCHEME}hash of a password for a passwd-file, as "doveadm pw"
// does. A suffix of the scheme, .b64 or .hex, changes the encoding. An error wraps
// ErrScheme for a scheme that [Verify] does not have, or only verifies.
func HashPassword(name string, password []byte, options ...HashOptions) (string, error) {
	var o HashOptions
	if len(options) > 0 {
		o = options[0]
	}
	if name == "" {
		name = DefaultScheme
	}
	name = strings.ToUpper(strings.Trim(name, "{}"))
	base, suffix, _ := strings.Cut(name, ".")
	s, ok := schemeByName(base)
	if !ok || s.hash == nil {
		return "", fmt.Errorf("%w: %.40q", ErrScheme, base)
	}
	if bytes.IndexByte(password, 0) >= 0 {
		return "", fmt.Errorf("userdb: hashing: the password has a NUL byte")
	}
	enc := s.encoding
	switch suffix {
	case "":
	case "B64", "BASE64":
		enc = encBase64
	case "HEX":
		enc = encHex
	default:
		return "", fmt.Errorf("%w: encoding %.40q", ErrScheme, suffix)
	}
	hash, err := s.hash(o.User, password, o.Rounds)
	if err != nil {
		return "", err
	}
	text := "{" + name + "}" + enc.encode(hash)
	if err := checkHash(text); err != nil {
		return "", fmt.Errorf("%w: %s cannot hold this password; take another scheme", err, base)
	}
	return text, nil
}

// checkHash returns an error wrapping ErrHash for a hash that would break its line.
func checkHash(stored string) error {
	for _, c := range []byte(stored) {
		if c < ' ' || c == ':' || c == 0x7f {
			return fmt.Errorf("%w: character %q", ErrHash, c)
		}
	}
	return nil
}
