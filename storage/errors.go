package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// ErrNoPublicKey reports that a message is to be encrypted and there is no key to
// encrypt it to. Nothing was saved: mail is deferred rather than stored in the clear.
var ErrNoPublicKey = errors.New("storage: no public key to encrypt to")

// ErrClosed reports use of a Message or Appender after its end.
var ErrClosed = errors.New("storage: closed")

// A Kind says why a message cannot be read.
type Kind int

const (
	// IO is an error of the disk or of something else below; another try may work.
	IO Kind = iota
	// NoKey: none of the keys at hand opens it.
	NoKey
	// Damaged: the bytes are not those that were saved. No plaintext was given out of a
	// message whose integrity can be verified.
	Damaged
	// Unsupported: a stream version or algorithm that this program does not have.
	Unsupported
	// TooLarge: it would decompress to more than the limit.
	TooLarge
)

// String is a word for logs.
func (k Kind) String() string {
	switch k {
	case NoKey:
		return "no key"
	case Damaged:
		return "damaged"
	case Unsupported:
		return "unsupported"
	case TooLarge:
		return "too large"
	default:
		return "i/o"
	}
}

// A ReadError reports a message that is there and cannot be read.
type ReadError struct {
	UID  mailbox.UID
	Kind Kind
	Err  error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("storage: reading uid %d: %s: %v", e.UID, e.Kind, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// Reason is a short text for the mail's owner, to follow "message cannot be read: ".
// It has nothing in it that came from the message or its file.
func (e *ReadError) Reason() string {
	switch e.Kind {
	case NoKey:
		return "no private key for it"
	case Damaged:
		return "it is damaged: " + damage(e.Err)
	case Unsupported:
		return "its encryption is not supported"
	case TooLarge:
		return "it is too large when decompressed"
	default:
		return "temporary error of the mail store"
	}
}

// errSize reports a decoded size other than the recorded one in a message that
// nothing else verifies, where it is the only sign of a cut.
var errSize = errors.New("storage: size differs from the recorded one and nothing verifies the message")

func damage(err error) string {
	switch {
	case errors.Is(err, dcrypt.ErrAuth):
		return "tag failure"
	case errors.Is(err, dcrypt.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends early"
	case errors.Is(err, compress.ErrCorrupt):
		return "invalid compressed data"
	case errors.Is(err, errSize):
		return "wrong size"
	case errors.Is(err, mailbox.ErrDamaged):
		return "not what the store says is there"
	default:
		return "invalid encrypted data"
	}
}

// readError gives an error its Kind. What is gone and what the caller itself ended
// is no ReadError.
func readError(uid mailbox.UID, err error) error {
	var known *ReadError
	var unsupported *dcrypt.UnsupportedError
	var format *dcrypt.FormatError
	e := &ReadError{UID: uid, Err: err}
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, mailbox.ErrNotFound), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("storage: reading uid %d: %w", uid, err)
	case errors.Is(err, dcrypt.ErrNoKey), errors.Is(err, dcrypt.ErrKeyID),
		errors.Is(err, dcrypt.ErrPassword), errors.Is(err, dcrypt.ErrPasswordRequired):
		e.Kind = NoKey
	case errors.As(err, &unsupported):
		e.Kind = Unsupported
	case errors.Is(err, compress.ErrTooLarge):
		e.Kind = TooLarge
	case errors.As(err, &format), errors.Is(err, mailbox.ErrDamaged), errors.Is(err, dcrypt.ErrAuth), errors.Is(err, dcrypt.ErrTruncated),
		errors.Is(err, compress.ErrCorrupt), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errSize):
		e.Kind = Damaged
	}
	return e
}
