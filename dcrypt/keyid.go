package dcrypt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// A KeyID names a key by its public half: a SHA-256, printed as 64 lower-case hex
// digits. There are two kinds, told apart only by context: the version 2 ID over the
// SubjectPublicKeyInfo, and the old ID over the upper-case hex of the point, which
// version 1 streams and key texts use.
type KeyID [sha256.Size]byte

// String returns the ID as Dovecot writes it in attribute names: lower-case hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id was never set.
func (id KeyID) IsZero() bool { return id == KeyID{} }

// ParseKeyID parses 64 lower-case hex digits. Upper case is refused, for Dovecot
// compares IDs as text. The error is a *FormatError.
func ParseKeyID(s string) (KeyID, error) {
	var id KeyID
	if len(s) != hex.EncodedLen(len(id)) || strings.ToLower(s) != s {
		return KeyID{}, &FormatError{Where: "key ID", Reason: fmt.Sprintf("want %d lower-case hex digits", hex.EncodedLen(len(id)))}
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return KeyID{}, &FormatError{Where: "key ID", Reason: "not hex"}
	}
	return id, nil
}
