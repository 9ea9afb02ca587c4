// Package attrdict stores mailbox attributes, above all keys, in a transactional
// dictionary. It knows no cryptography: values are bytes.
//
// Names are Dovecot's: "priv/<guid>/<name>" and "shared/<guid>/<name>", where guid is
// the mailbox GUID in 32 lower-case hexadecimal digits (Dovecot: index-attribute.c).
package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotFound reports a key that has no value.
	ErrNotFound = errors.New("attrdict: no such key")
	// ErrChanged reports that CompareAndSet found another value.
	ErrChanged = errors.New("attrdict: value has changed")
	// ErrLocked reports that another process keeps the dictionary locked.
	ErrLocked = errors.New("attrdict: locked by another process")
	// ErrCorrupt reports a dictionary file whose contents cannot be believed.
	ErrCorrupt = errors.New("attrdict: corrupt dictionary")
)

// A Dict is one user's dictionary. All methods may be called concurrently.
type Dict interface {
	// View runs fn on a consistent state. Values are valid until fn returns.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn as one transaction: when Update returns nil, all of fn's changes
	// are durable; when it returns an error, none was made. fn may run more than once.
	Update(ctx context.Context, fn func(Tx) error) error
	Close() error
}

// A Reader reads within a transaction. It must not be used after the transaction.
type Reader interface {
	// Get returns a value, or an error wrapping ErrNotFound.
	Get(key string) ([]byte, error)
	// Iterate calls fn for every key with the prefix, in byte order of the keys, until fn
	// returns an error, which it returns.
	Iterate(prefix string, fn func(key string, value []byte) error) error
}

// A Tx reads and writes within a transaction; reads see its own writes.
type Tx interface {
	Reader
	Set(key string, value []byte) error
	// Unset removes a key; one that is not there is no error.
	Unset(key string) error
}

// CompareAndSet sets a key only where its value is old (nil: where it has none), and
// otherwise returns an error wrapping ErrChanged.
func CompareAndSet(tx Tx, key string, old, value []byte) error {
	now, err := tx.Get(key)
	switch {
	case errors.Is(err, ErrNotFound):
		now = nil
	case err != nil:
		return err
	}
	if (now == nil) != (old == nil) || !bytes.Equal(now, old) {
		return fmt.Errorf("%w: %s", ErrChanged, key)
	}
	return tx.Set(key, value)
}
