package dcrypt

import (
	"errors"
	"fmt"
)

// Conditions that callers tell apart, all testable with errors.Is. None of them, and
// no other error of this package, contains key material or plaintext.
var (
	// ErrNoKey reports that the private key that is asked for is not at hand.
	ErrNoKey = errors.New("dcrypt: no private key")

	// ErrPasswordRequired reports a private key sealed by a password when none was given.
	ErrPasswordRequired = errors.New("dcrypt: key is sealed by a password")

	// ErrPassword reports that a password does not open a sealed key. The seals have no
	// authentication tag, so a wrong password and a damaged seal look the same.
	ErrPassword = errors.New("dcrypt: wrong password or damaged key")

	// ErrKeyID reports a key whose computed ID is not the one it is stored under.
	ErrKeyID = errors.New("dcrypt: key does not have the ID it names")

	// ErrAuth reports a stream whose tag or MAC fails, or whose bytes changed after it
	// was verified: it was damaged or tampered with.
	ErrAuth = errors.New("dcrypt: message authentication failed")

	// ErrTruncated reports a stream that ends inside its header or its trailer.
	ErrTruncated = errors.New("dcrypt: stream is truncated")
)

// An UnsupportedError reports well-formed input that asks for an algorithm, curve or
// form this package does not have.
type UnsupportedError struct {
	What string // for example "cipher 1.2.840.113549.3.7"
}

func (e *UnsupportedError) Error() string { return "dcrypt: unsupported " + e.What }

// A FormatError reports bytes that the format does not allow.
type FormatError struct {
	Where  string // part of the input, for example "stream header" or "key text"
	Reason string
}

func (e *FormatError) Error() string { return fmt.Sprintf("dcrypt: %s: %s", e.Where, e.Reason) }

// badKey is a FormatError about key text.
func badKey(reason string) error { return &FormatError{Where: "key text", Reason: reason} }

// badHeader is a FormatError about a stream header.
func badHeader(reason string) error { return &FormatError{Where: "stream header", Reason: reason} }
