// Package attrdict stores mailbox attributes, above all keys, in a transactional
// dictionary. It knows no cryptography: values are bytes.
//
// Names are Dovecot's: "priv/<guid>/<name>" and "shared/<guid>/<name>", where guid is
// the mailbox GUID in 32 lower-case hexadecimal digits (Dovecot: index-attribute.c).
//
// There are two stores. [OpenFile] reads and writes Dovecot's own "file" dictionary, which
// Dovecot may use at the same time; its doc gives the format. [OpenBolt] keeps the
// attributes in a bbolt file, bucket "attributes", which belongs to one process: faster for
// many keys, and checked whenever it is opened. [Open] chooses by a URI such as a
// configuration holds, and [Transfer] copies from one to the other.
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
	// ErrTooLarge reports a key or value, or all of them, beyond what the store takes.
	ErrTooLarge = errors.New("attrdict: too large")
	// ErrKey reports a key that cannot be stored: the empty one.
	ErrKey = errors.New("attrdict: invalid key")
	// ErrClosed reports the use of a dictionary after Close.
	ErrClosed = errors.New("attrdict: closed")
)

// A Dict is one user's dictionary. All methods may be called concurrently. Within fn the
// dictionary itself must not be called: an Update in an Update waits for itself.
type Dict interface {
	// View runs fn on a consistent state. Values are valid until fn returns; fn must not
	// change them. An error of fn's is returned as it is.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn as one transaction: when Update returns nil, all of fn's changes
	// are durable; when it returns an error, none was made, except that an error of the
	// very last sync leaves open whether they were. fn may run more than once. Waiting for
	// other writers ends with ctx.
	Update(ctx context.Context, fn func(Tx) error) error
	// Close waits for transactions to end. Later calls of the others return ErrClosed.
	Close() error
}

// A Reader reads within a transaction. It must not be used after the transaction.
type Reader interface {
	// Get returns a value, or an error wrapping ErrNotFound.
	Get(key string) ([]byte, error)
	// Iterate calls fn for every key with the prefix, in byte order of the keys, until fn
	// returns an error, which it returns. fn may change the dictionary; Iterate shows the
	// state from before.
	Iterate(prefix string, fn func(key string, value []byte) error) error
}

// A Tx reads and writes within a transaction; reads see its own writes.
type Tx interface {
	Reader
	// Set keeps no reference to value.
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
