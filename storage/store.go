package storage

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// DefaultReadLimit is how many bytes may come out of a compressed message, far above
// any mail and far below what a bomb makes of a few KiB.
const DefaultReadLimit = 1 << 30

// A Store saves and reads the messages of one Backend, compressed and encrypted. It
// holds no secret and no state of its own, so one serves all logins of a user, and
// its methods may be called concurrently.
type Store struct {
	backend Backend
	limit   int64
}

// New returns a Store over a Backend, which the caller closes.
func New(b Backend) *Store { return &Store{b, DefaultReadLimit} }

// WithReadLimit returns a Store over the same Backend that refuses to decompress a
// message to more than n bytes.
func (s *Store) WithReadLimit(n int64) *Store { return &Store{s.backend, n} }

// Backend returns what the Store was made with.
func (s *Store) Backend() Backend { return s.backend }

// Options says in which form messages are saved. The zero Options saves plaintext.
// Reading goes by what is found and needs none.
type Options struct {
	// Compression is the method that the text is compressed with first; None for none.
	Compression compress.Method
	Level       compress.Level
	// Version is the version of the encrypted stream: 0 plaintext, 1 or 2. Version 1 has
	// no integrity at all and is for sharing with very old readers only.
	Version int
	// Rounds is the PBKDF2 count that protects the message key; 0 is dcrypt's default.
	Rounds int
	// KeyData, where set, is told header and key data of the encrypted stream as it begins
	// (dcrypt.WriterOptions).
	KeyData func(header, kd []byte)
	// MaxSize is the largest message in bytes with CRLF line ends; 0 is no limit.
	MaxSize int64
	// Admit, where set, is asked by Commit and CommitAll whether so many messages, of these
	// sizes together, may be saved; an error of its is theirs, and nothing is saved. done is
	// called when that has ended, well or not.
	Admit func(messages int, total mailbox.Sizes) (done func(), err error)
}

// Header returns the header of a message's encrypted stream, which needs no key, or
// nil where the message is not encrypted. It tells which key opens the message. The
// error is as Open's.
func (s *Store) Header(ctx context.Context, uid mailbox.UID) (*dcrypt.Header, error) {
	st, err := s.openStored(ctx, uid)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	head, err := prefix(st, st.Size())
	if err != nil {
		return nil, readError(uid, err)
	}
	if !dcrypt.IsEncrypted(head) {
		return nil, nil
	}
	h, err := dcrypt.ReadHeader(st, st.Size())
	if err != nil {
		return nil, readError(uid, err)
	}
	return h, nil
}

// Link saves the stored bytes of a message of from as they are, without reading
// them: the caller has made sure that who reads here has the key. The error wraps
// errors.ErrUnsupported where the backends cannot share bytes; then decrypt and
// append instead.
func (s *Store) Link(ctx context.Context, from *Store, uid mailbox.UID, info mailbox.SaveInfo) (mailbox.UID, error) {
	l, ok := s.backend.(Linker)
	if !ok {
		return 0, fmt.Errorf("storage: linking uid %d: %w", uid, errors.ErrUnsupported)
	}
	return l.Link(ctx, from.backend, uid, info)
}
