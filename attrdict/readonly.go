package attrdict

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// ErrReadOnly reports an Update of a dictionary that is only read.
var ErrReadOnly = errors.New("attrdict: opened for reading")

// boltHead is how much of a file IsBolt wants to see.
const boltHead = 20

// IsBolt reports whether a file begins as a bbolt database does: its first page is a meta
// page, with the magic 0xED0CDAED, as a little-endian machine writes it, behind its head.
func IsBolt(prefix []byte) bool {
	return len(prefix) >= boltHead && string(prefix[16:boltHead]) == "\xed\xda\x0c\xed"
}

// OpenReadOnly opens the dictionary file at a path for View, whichever of the two stores it
// is of. It must exist. A bbolt file is shared with other readers, and the error wraps
// ErrLocked while somebody writes; a file of Dovecot's is not locked at all.
func OpenReadOnly(path string) (Dict, error) {
	f, _, err := durable.OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("attrdict: opening: %w", err)
	}
	defer f.Close()
	var head [boltHead]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("attrdict: reading %s: %w", path, err)
	}
	var d Dict
	if IsBolt(head[:n]) {
		d, err = OpenBolt(path, BoltOptions{ReadOnly: true})
	} else {
		d, err = OpenFile(path, FileOptions{})
	}
	if err != nil {
		return nil, err
	}
	return ReadOnly(d), nil
}

// ReadOnly returns d with an Update that fails with ErrReadOnly. A nil d is an empty
// dictionary.
func ReadOnly(d Dict) Dict {
	if d == nil {
		d = empty{}
	}
	return readOnly{d}
}

type readOnly struct{ Dict }

func (readOnly) Update(context.Context, func(Tx) error) error { return ErrReadOnly }

// empty is a dictionary without attributes, and its own Reader.
type empty struct{}

func (empty) View(_ context.Context, fn func(Reader) error) error        { return fn(empty{}) }
func (empty) Update(context.Context, func(Tx) error) error               { return ErrReadOnly }
func (empty) Close() error                                               { return nil }
func (empty) Get(string) ([]byte, error)                                 { return nil, ErrNotFound }
func (empty) Iterate(string, func(key string, value []byte) error) error { return nil }
