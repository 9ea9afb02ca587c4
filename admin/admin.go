// Package admin is what an administrator can do to users and their keys, in the process
// that owns their files: the daemon, through a unix socket, or the command line tool
// itself while no daemon runs. [Local] does the work; [Server] offers a Service on a
// socket, and [Client] is a Service at its other end.
//
// The protocol on the socket, of which docs/admin-protocol.md has every field, is lines of text, each ended by LF:
//
//	server  mailcryptd-admin 2
//	client  {"do":"Reseal","version":2,"args":{…}}
//	server  {"progress":{"what":"reading headers","done":100,"total":2000}}   ; any number
//	server  {"piece":"…"}                                            ; of Fetch: text, in base64; any number
//	server  {"result":{…},"error":{"kinds":["…"],"text":"…"}} ; either, or both of work half done
//
// One connection carries one request after another. The line {"cancel":true}, or the
// client's end of the connection, cancels the request under way, which is answered all the
// same. Secrets travel as base64, over a socket that only the daemon's user and root can open.
//
// Every operation on keys is one transaction of the user's dictionary, or a few of which each
// leaves every message readable; stopped anywhere, it is completed by being asked for again.
// Results have a row for each key, with an error where that key was left as it was, and come
// beside an error too: they say what was done.
package admin

import (
	"context"
	"io"
)

// Version is the version of the protocol; a server of another one is not talked to.
const Version = 3

// A Service is every administrative operation. Its methods may be called concurrently.
// Errors wrap one of the kinds where a caller may want to know. Long operations report to
// the function of [WithProgress].
type Service interface {
	// Reseal gives user keys a new seal.
	Reseal(ctx context.Context, r ResealRequest) (ResealResult, error)
	// EndReseal ends a Reseal that was only prepared: the new seals count, or are forgotten.
	EndReseal(ctx context.Context, r EndResealRequest) (ResealResult, error)
	// UndoReseal puts old seals back that were kept, or ends their time.
	UndoReseal(ctx context.Context, r UndoResealRequest) (ResealResult, error)
	// SetPassword changes a user's login password and the seals that hang on it.
	SetPassword(ctx context.Context, r SetPasswordRequest) (ResealResult, error)
	// Generate makes user keys and folder keys.
	Generate(ctx context.Context, r GenerateRequest) (GenerateResult, error)
	// Rewrap moves folder keys under the active user key.
	Rewrap(ctx context.Context, r RewrapRequest) (RewrapResult, error)
	// List tells of every key of a user. It needs no secret and changes nothing.
	List(ctx context.Context, r ListRequest) (ListResult, error)
	// Export gives out keys, sealed as they are stored or, where asked for, in the clear.
	Export(ctx context.Context, r ExportRequest) (ExportResult, error)
	// Import stores keys that were exported.
	Import(ctx context.Context, r ImportRequest) (ImportResult, error)
	// Retire destroys keys that nothing needs any more.
	Retire(ctx context.Context, r RetireRequest) (RetireResult, error)
	// Check looks whether every key that mail needs is there. It changes nothing.
	Check(ctx context.Context, r CheckRequest) (CheckResult, error)
	// Fetch gives out one message, decrypted, or tells of it. The text goes to w in pieces as
	// it is read, and not before all of it was verified; the result comes when all is written.
	// Before ErrNeedPassword and ErrPassword nothing has been written. Nothing is changed.
	Fetch(ctx context.Context, r FetchRequest, w io.Writer) (FetchResult, error)
	// Purge gives back the space of expunged messages of an mdbox store. Its files may be in use.
	Purge(ctx context.Context, r PurgeRequest) (MoveResult, error)
	// AltMove moves messages of an mdbox store into its alternative directory, or back, and
	// purges the files that they were in.
	AltMove(ctx context.Context, r AltMoveRequest) (MoveResult, error)
	// StoreStat says what is in an mdbox store. It changes nothing.
	StoreStat(ctx context.Context, r StoreStatRequest) (StoreStatResult, error)
	// Resync makes the catalog of an mdbox store anew from its messages.
	Resync(ctx context.Context, r ResyncRequest) (ResyncResult, error)
	// ImportStore takes over an mdbox or sdbox store that Dovecot has written. With ErrIncomplete
	// the result names the messages, and nothing was done.
	ImportStore(ctx context.Context, r ImportStoreRequest) (HandoverResult, error)
	// ExportStore hands an mdbox store to Dovecot, or makes one for it. With ErrIncomplete the
	// result names the messages, and nothing was done.
	ExportStore(ctx context.Context, r ExportStoreRequest) (HandoverResult, error)
	// ListUsers names the users.
	ListUsers(ctx context.Context, r ListUsersRequest) (ListUsersResult, error)
	// Who lists the sessions of the daemon.
	Who(ctx context.Context, r WhoRequest) (WhoResult, error)
	// Kick ends sessions of the daemon.
	Kick(ctx context.Context, r KickRequest) (WhoResult, error)
	// Status says what the process is.
	Status(ctx context.Context) (Status, error)
	Close() error
}

// A Password is a secret as given: raw, as the seal takes it, or a login password, which
// the user's configured template turns into the seal's. With Key it is a private key, whose
// own password Secret is, where it has one: it opens what is sealed to that key.
type Password struct {
	Secret []byte `json:"secret"`
	Login  bool   `json:"login,omitempty"`
	Key    []byte `json:"key,omitempty"` // private key text, PEM or JSON web key
}

// Status says what process answers.
type Status struct {
	PID      int    `json:"pid"`
	Version  string `json:"version"`
	Daemon   bool   `json:"daemon"`
	Protocol int    `json:"protocol"`           // Version
	Started  int64  `json:"started,omitempty"`  // Unix time; 0 where it is not known
	Sessions int    `json:"sessions,omitempty"` // connections of IMAP clients
}
