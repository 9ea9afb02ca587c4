package imapd

import (
	"context"
	"errors"
	"io"
	"net"

	"mailcrypt/mailbox"
	"mailcrypt/metadata"
	"mailcrypt/quota"
	"mailcrypt/sealedcache"
	"mailcrypt/storage"
)

// A login is what a session does with a user who has logged in: account.Login, by
// the methods that are used here.
type login interface {
	User() string
	Alert() string
	Separator() byte
	AppendLimit() int64
	List(ctx context.Context) ([]storage.Folder, error)
	SpecialUse() map[string]string
	Subscriptions(ctx context.Context) ([]string, error)
	Subscribe(ctx context.Context, name string, on bool) error
	Watch(fn func()) (stop func())
	Create(ctx context.Context, name string) error
	GUID(ctx context.Context, name string) (mailbox.GUID, error)
	Delete(ctx context.Context, name string) error
	Rename(ctx context.Context, from, to string) error
	// HasMetadata reports whether annotations are kept; those of the server have the name "".
	HasMetadata() bool
	MetadataLimits() metadata.Limits
	Metadata(ctx context.Context, name string, entries []metadata.Entry, depth int) ([]metadata.Value, error)
	SetMetadata(ctx context.Context, name string, values []metadata.Value) error
	// Quota is nil where the user has none.
	Quota(ctx context.Context) (*quotaState, error)
	Open(ctx context.Context, name string, readOnly bool) (box, error)
	Close() error
}

// A box is one session's use of a mailbox: account.Mailbox.
type box interface {
	Name() string
	GUID() mailbox.GUID
	ReadOnly() bool
	View() *mailbox.View
	Sync(ctx context.Context) (*mailbox.View, error)
	Watch(fn func()) (stop func())
	ClaimRecent(ctx context.Context) ([]mailbox.UID, error)
	Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error)
	Read(ctx context.Context, uid mailbox.UID) (content, error)
	SizeOf(ctx context.Context, uid mailbox.UID) (int64, error)
	Recall(dst []byte, f sealedcache.Field, uid mailbox.UID) ([]byte, bool)
	Learn(msg content, f sealedcache.Field, value []byte)
	Append(ctx context.Context, info mailbox.SaveInfo) (appender, error)
	CommitAll(ctx context.Context, messages []appender) ([]mailbox.UID, error)
	SetFlags(ctx context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error)
	Expunge(ctx context.Context, uids []mailbox.UID) error
	Expunged(ctx context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error)
	SyncModSeqs(ctx context.Context) error
	Copy(ctx context.Context, uids []mailbox.UID, to string) (copied, error)
	Move(ctx context.Context, uids []mailbox.UID, to string) (copied, error)
	Close() error
}

// content is the plaintext of one message with CRLF line ends: storage.Message.
type content interface {
	io.ReaderAt
	Size() int64
	// Memory is all of it where it is in memory, which must not be changed; else nil.
	Memory() []byte
	HasNUL() bool
	Close() error
}

// An appender takes a message that is being saved: storage.Appender.
type appender interface {
	io.Writer
	Finish() error
	Abort() error
}

// copied is the result of a copy: account.CopyResult.
type copied struct {
	uidValidity uint32
	from, to    []mailbox.UID
}

// quotaState is a user's quota root: account.Quota.
type quotaState struct {
	root   string
	used   quota.Usage
	limits quota.Limits
}

// authenticateAs is the login of a master user for another one.
type authenticateAs func(ctx context.Context, user, master string, password []byte, remote net.Addr) (login, error)

type authenticate func(ctx context.Context, user string, password []byte, remote net.Addr) (login, error)

var (
	errAuth      = errors.New("imapd: authentication failed")
	errTemporary = errors.New("imapd: temporary failure")
)

// unreadable is the error for a message whose plaintext cannot be had:
// *storage.ReadError. Reason is safe to show to a client.
type unreadable interface {
	error
	Reason() string
}
