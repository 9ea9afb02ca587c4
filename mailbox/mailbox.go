// Package mailbox is the vocabulary of mail storage that every layer shares: UIDs,
// GUIDs, flags, sizes, messages and mailbox names. It does no I/O and knows neither
// paths nor keys.
package mailbox

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Conditions that callers branch on. Packages wrap them with the place.
var (
	// ErrNotFound reports a mailbox or message that does not exist (any more).
	ErrNotFound = errors.New("mailbox: not found")
	// ErrExpunged reports a message that is gone where all of several were wanted.
	ErrExpunged = errors.New("mailbox: message was expunged")
	// ErrExists reports a mailbox that cannot be made because it is there.
	ErrExists = errors.New("mailbox: already exists")
	// ErrName reports a mailbox name that the store cannot hold.
	ErrName = errors.New("mailbox: name not allowed")
	// ErrNotSelectable reports a name that is only a level of the hierarchy.
	ErrNotSelectable = errors.New("mailbox: not selectable")
	// ErrLimit reports a limit of the store: too many keywords, a name too long.
	ErrLimit = errors.New("mailbox: limit reached")
	// ErrTooLarge reports a message above the size that the store accepts.
	ErrTooLarge = errors.New("mailbox: message too large")
	// ErrDamaged reports a message whose bytes in the store are not what was saved.
	ErrDamaged = errors.New("mailbox: message is damaged in the store")
	// ErrReadOnly reports a change to a mailbox that was opened for reading.
	ErrReadOnly = errors.New("mailbox: read-only")
	// ErrNoModSeqs reports a mailbox whose modseqs do not outlive the process, so that no
	// client may be told one (RFC 7162 section 3.1.2.2, NOMODSEQ).
	ErrNoModSeqs = errors.New("mailbox: modseqs are not kept")
	// ErrLooksTransformed reports a client's message that begins with the magic of an
	// encrypted or compressed stream and would be saved as it is: a reader would
	// transform it back.
	ErrLooksTransformed = errors.New("mailbox: message begins like an encrypted or compressed stream")
)

// UID is a message's unique identifier in its mailbox (RFC 9051 section 2.3.1.1);
// 0 is none.
type UID uint32

// ModSeq is a modification sequence number (RFC 7162); 0 is none.
type ModSeq uint64

// GUID is a mailbox's 128-bit global identifier. The keys of a mailbox are stored
// under it: losing it loses them.
type GUID [16]byte

// NewGUID returns a random GUID.
func NewGUID() GUID {
	var g GUID
	rand.Read(g[:])
	return g
}

// ParseGUID reads the printed form: 32 hexadecimal digits.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 2*len(g) {
		return g, fmt.Errorf("mailbox: GUID has %d digits, want %d", len(s), 2*len(g))
	}
	if _, err := hex.Decode(g[:], []byte(s)); err != nil {
		return GUID{}, fmt.Errorf("mailbox: GUID: %w", err)
	}
	return g, nil
}

// String is the printed form, 32 lower-case hexadecimal digits in byte order.
func (g GUID) String() string { return hex.EncodeToString(g[:]) }

// IsZero reports whether g was never given.
func (g GUID) IsZero() bool { return g == GUID{} }

// Sizes are the three sizes of a message, in bytes; Unknown where not (yet) counted.
type Sizes struct {
	Physical int64 // plaintext, line ends as stored (Maildir S=, mdbox Z)
	Virtual  int64 // plaintext with CRLF line ends (Maildir W=, mdbox V): RFC822.SIZE
	Stored   int64 // on disk, after compression and encryption
}

// Unknown is a size that nobody has counted.
const Unknown int64 = -1

// UnknownSizes has every size Unknown.
var UnknownSizes = Sizes{Unknown, Unknown, Unknown}

// A Message is what a store knows of a message without reading it.
type Message struct {
	UID    UID
	Flags  Flags
	Sizes  Sizes
	ModSeq ModSeq
	// GUID is the message's identifier. A Maildir has arbitrary text here, by
	// default the base name of the file.
	GUID string
	// Received is the INTERNALDATE, Saved the time of saving in this mailbox. Both
	// are zero in a View until Backend.Stat has looked them up.
	Received time.Time
	Saved    time.Time
}

// SaveInfo describes a message to be saved.
type SaveInfo struct {
	Received time.Time // INTERNALDATE; zero means now
	Flags    Flags
	GUID     string // keep this message GUID (a copy); "" makes a new one
	// NeedUID asks that Commit return the message's UID (APPENDUID, COPYUID). A
	// delivery that leaves it false may be cheaper: the UID is given at the next scan.
	NeedUID bool
	// Announced is the size in bytes that the client has announced, 0 where it has not. What
	// is too large by that alone is refused before it is received.
	Announced int64
	// Before is what was announced for messages that are saved together with this one.
	Before int64
}

// A Pending is a message being saved: write the stored bytes, then Commit or Abort.
// It is not safe for concurrent use.
type Pending interface {
	io.Writer
	// Commit makes the message durable and visible, and only then returns. The UID
	// is 0 where SaveInfo.NeedUID was false and none was given.
	Commit(s Sizes) (UID, error)
	// Abort removes what was written. After Commit it does nothing.
	Abort() error
}

// Stored is a message's stored bytes, open for reading. Reads may run concurrently.
// The caller closes it. Message is as of opening.
type Stored interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes on disk
	Message() Message
}
