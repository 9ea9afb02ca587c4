// Package secret holds key material and passwords in a form that does not print.
//
// Clearing is best effort: Go may have copied the bytes while they were in use, and
// promises nothing about registers and stacks.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// placeholder is what every way of printing shows instead of the secret.
const placeholder = "[secret]"

// Bytes is key material or a password. It is a closure because fmt skips the methods
// of unexported fields: a []byte, even behind a pointer, is printed whole by a %s of
// the struct around it, while a func prints as an address. A func is also not
// comparable, which rules out an == that is not constant time.
//
// The zero value was never set, which is not the same as an empty secret. Bytes is
// not safe for concurrent use with Clear.
type Bytes struct{ b func() []byte }

// New returns b as a secret. It keeps b, does not copy it, and Clear overwrites it.
func New(b []byte) Bytes { return Bytes{func() []byte { return b }} }

// IsZero reports whether the secret was never set. An empty secret was.
func (s Bytes) IsZero() bool { return s.b == nil }

// Bytes returns the secret itself, not a copy; nil if it was never set.
func (s Bytes) Bytes() []byte {
	if s.b == nil {
		return nil
	}
	return s.b()
}

// Equal compares in constant time. Only the lengths can be learned from its timing.
// A secret that was never set equals an empty one.
func (s Bytes) Equal(t Bytes) bool { return subtle.ConstantTimeCompare(s.Bytes(), t.Bytes()) == 1 }

// Clear overwrites the secret with zeros. Its length stays.
func (s Bytes) Clear() { clear(s.Bytes()) }

// Format implements fmt.Formatter for every verb and flag.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, placeholder) }

// LogValue implements slog.LogValuer.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(placeholder) }

// MarshalText refuses, so that no encoder writes a secret by accident.
func (s Bytes) MarshalText() ([]byte, error) { return nil, errors.New("secret: will not marshal") }
