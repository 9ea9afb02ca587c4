// Package storage keeps messages compressed and encrypted in a Backend that sees
// only stored bytes. A Store holds no secret: whoever reads brings the keys.
//
// Compression is inside, encryption outermost, as in Dovecot; reading goes by the
// magic of what is found, so plain, compressed and encrypted messages mix freely in
// one mailbox.
package storage

import (
	"context"

	"mailcrypt/mailbox"
)

// A Backend keeps the messages of one mailbox as stored bytes. It never sees
// plaintext or keys. All methods may be called concurrently; the conformance suite
// is package storagetest.
type Backend interface {
	GUID() mailbox.GUID

	// View is the mailbox as last looked at. It does no I/O.
	View() *mailbox.View
	// Sync looks for what other programs changed, gives UIDs to new messages, and
	// returns the newest View.
	Sync(ctx context.Context) (*mailbox.View, error)
	// Watch calls fn after each change of the View and once the mailbox is gone, until stop
	// is called. Meanwhile other programs' changes are looked for. fn must not block, and
	// may be called for nothing, and once more while stop is being called.
	Watch(fn func()) (stop func())
	// ClaimRecent takes \Recent away from all messages and returns their UIDs; each
	// is given to one caller only (RFC 3501 section 2.3.2).
	ClaimRecent(ctx context.Context) ([]mailbox.UID, error)

	// Stat returns a message with its dates and stored size looked up.
	Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error)
	// Open opens a message for reading. The error wraps mailbox.ErrNotFound where it
	// is gone.
	Open(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error)
	// RecordSizes notes the plaintext sizes of a message that was read and verified,
	// where they were unknown or wrong. It is a cache: losing it costs a read.
	RecordSizes(ctx context.Context, uid mailbox.UID, s mailbox.Sizes) error

	// Create begins a message. Nothing is visible before Commit.
	Create(ctx context.Context, info mailbox.SaveInfo) (mailbox.Pending, error)
	// SetFlags changes flags of those of the messages that exist. The View shows the
	// result when it returns. What change.UnchangedSince kept from changing is returned,
	// sorted; looking and changing are one step for everyone who uses the Backend.
	SetFlags(ctx context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error)
	// Expunge removes those of the messages that exist. It works on a full disk.
	Expunge(ctx context.Context, uids []mailbox.UID) error
	// Expunged returns the UIDs, sorted, of messages that were expunged with a modseq
	// above since, as far as the newest View shows it; who still shows an older one leaves
	// out what is in that. complete is false where it is not known any more, or since is
	// above HighestModSeq: then every UID below UIDNEXT that is not in the View may be one
	// of them. An old expunge may be told once more than needed, never one that was none.
	Expunged(ctx context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error)
	// SyncModSeqs makes durable what the modseqs of the View at the call say. A modseq is
	// told to a client only after that: after a crash nothing may look unchanged that was
	// changed back since. It costs nothing where nothing is outstanding, and calls at the
	// same time share the work. After an error (a full disk) no modseq of the View may be
	// told; the error wraps mailbox.ErrNoModSeqs where none ever can, because the store has
	// no place for them.
	SyncModSeqs(ctx context.Context) error

	// Close releases the mailbox; the caller has no Pending or Stored open.
	Close() error
}

// A Linker is a Backend that can take a message from another mailbox of the same
// kind without copying its bytes (a hard link, a reference).
type Linker interface {
	// Link saves the stored bytes of a message of from under info's date, flags and
	// GUID, and returns the new UID. The error wraps errors.ErrUnsupported where the two
	// cannot share bytes.
	Link(ctx context.Context, from Backend, uid mailbox.UID, info mailbox.SaveInfo) (mailbox.UID, error)
}

// A GroupLinker is a Linker that can take several messages at once, which costs little more
// than one.
type GroupLinker interface {
	// LinkAll is Link for several messages, all or none. The UIDs are in the order of the
	// messages and ascend.
	LinkAll(ctx context.Context, from Backend, uids []mailbox.UID, infos []mailbox.SaveInfo) ([]mailbox.UID, error)
}

// A Finisher is a Pending that can be made durable before it is shown.
type Finisher interface {
	// Finish makes what was written durable and closes what is open for it. All that is
	// left is Commit, CommitAll or Abort.
	Finish() error
}

// A GroupCommitter is a Backend that can show several messages at once.
type GroupCommitter interface {
	// CommitAll makes messages that this Backend has begun durable and visible, all or
	// none: no View shows some of them. It returns their UIDs, which ascend, and commits or
	// aborts every one of them. A crash in the middle may leave some, each of them whole.
	CommitAll(ctx context.Context, messages []mailbox.Pending, sizes []mailbox.Sizes) ([]mailbox.UID, error)
}

// A Folder is one name of a hierarchy of mailboxes.
type Folder struct {
	Name       string // UTF-8, levels joined by the hierarchy's separator
	Selectable bool   // false: only a level above others
}

// A Hierarchy is the tree of one user's mailboxes. Names are UTF-8 with the
// separator that it was opened with; INBOX is spelt in capitals. All methods may be
// called concurrently. Errors wrap mailbox.ErrNotFound, ErrExists, ErrName,
// ErrNotSelectable or ErrLimit.
type Hierarchy interface {
	Separator() byte
	// List returns every mailbox and every level above one, in no order.
	List(ctx context.Context) ([]Folder, error)
	// Open opens a mailbox. The error wraps mailbox.ErrNotFound where it does not exist.
	// INBOX is made if missing. The caller closes the Backend.
	Open(ctx context.Context, name string) (Backend, error)
	// GUID returns a mailbox's GUID, giving it one if it has none.
	GUID(ctx context.Context, name string) (mailbox.GUID, error)
	Create(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
	// Rename renames a mailbox and all below it. GUIDs stay. INBOX cannot be renamed
	// here: its messages are moved by the caller, for the user's keys hang on its GUID.
	Rename(ctx context.Context, from, to string) error
	// Subscriptions returns the subscribed names, which need not exist.
	Subscriptions(ctx context.Context) ([]string, error)
	Subscribe(ctx context.Context, name string, on bool) error
	// Watch calls fn after names or subscriptions have changed, here or, as far as that can
	// be noticed, by other programs, until stop is called. fn must not block, and may be
	// called for nothing.
	Watch(fn func()) (stop func())
	Close() error
}

// Totals are what mailboxes hold together.
type Totals struct {
	Messages int64
	// Bytes is the sum of the virtual sizes. A message whose virtual size nobody knows
	// counts with its physical size, or with what it takes in the store.
	Bytes int64
}

// A Totaler is a Hierarchy that knows how much it holds without opening messages.
type Totaler interface {
	// Totals sums up all mailboxes but those that skip names. What other programs have
	// added and removed counts too.
	Totals(ctx context.Context, skip func(name string) bool) (Totals, error)
}
