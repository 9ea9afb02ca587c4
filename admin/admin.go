// Package admin is what an administrator can do to users and their keys, in the process
// that owns their files: the daemon, through a unix socket, or the command line tool
// itself while no daemon runs. [Local] does the work; [Server] offers a Service on a
// socket, and [Client] is a Service at its other end.
//
// The protocol on the socket is lines of text, each ended by LF:
//
//	server  mailcryptd-admin 1
//	client  {"do":"Reseal","args":{…}}
//	server  {"result":{…},"error":{"kind":"…","text":"…"}} ; either, or both of work half done
//
// One connection carries one request after another. Secrets travel as base64, over a
// socket that only the daemon's user and root can open.
package admin

import (
	"context"
	"errors"
	"fmt"
)

// Version is the version of the protocol; a server of another one is not talked to.
const Version = 1

// Kinds of failure that callers branch on; they survive the socket.
var (
	// ErrUsage reports arguments that make no sense.
	ErrUsage = errors.New("admin: wrong use")
	// ErrNoUser reports a user who is not there.
	ErrNoUser = errors.New("admin: no such user")
	// ErrPassword reports an old password that is wrong, or opens nothing.
	ErrPassword = errors.New("admin: wrong password")
	// ErrTemporary reports a failure that may pass.
	ErrTemporary = errors.New("admin: temporary failure")
	// ErrPartly reports that some keys were changed and others were not.
	ErrPartly = errors.New("admin: not every key was changed")
)

// kinds gives the errors their names on the socket.
var kinds = map[string]error{
	"usage": ErrUsage, "no-user": ErrNoUser, "password": ErrPassword, "temporary": ErrTemporary, "partly": ErrPartly,
}

// A Service is every administrative operation. Its methods may be called concurrently.
// Errors wrap one of the kinds where a caller may want to know.
type Service interface {
	// Reseal gives user keys a new seal.
	Reseal(ctx context.Context, r ResealRequest) (ResealResult, error)
	// SetPassword changes a user's login password and the seals that hang on it.
	SetPassword(ctx context.Context, r SetPasswordRequest) (ResealResult, error)
	// Status says what the process is.
	Status(ctx context.Context) (Status, error)
	Close() error
}

// A Password is a secret as given: raw, as the seal takes it, or a login password, which
// the user's configured template turns into the seal's.
type Password struct {
	Secret []byte `json:"secret"`
	Login  bool   `json:"login,omitempty"`
}

// A ResealRequest asks for new seals of all user keys of one user.
type ResealRequest struct {
	User string     `json:"user"`
	Old  []Password `json:"old,omitempty"` // tried in turn; open keys need none
	New  *Password  `json:"new,omitempty"`
	// Open asks to leave the keys in the clear. Without it and New, nothing is done.
	Open bool `json:"open,omitempty"`
}

// A SetPasswordRequest asks for a new login password.
type SetPasswordRequest struct {
	User   string `json:"user"`
	Old    []byte `json:"old"` // the present login password
	New    []byte `json:"new"`
	Scheme string `json:"scheme,omitempty"` // of the hash; "" is the default
}

// A KeyResult tells what became of one user key.
type KeyResult struct {
	ID    string `json:"id"`
	Error string `json:"error,omitempty"` // "" where it has the new seal
}

// A ResealResult tells what became of a user's keys.
type ResealResult struct {
	Keys []KeyResult `json:"keys"`
	// LoginChanged says that the login password is the new one.
	LoginChanged bool `json:"login_changed,omitempty"`
}

// Changed counts the keys that have the new seal.
func (r ResealResult) Changed() int {
	n := 0
	for _, k := range r.Keys {
		if k.Error == "" {
			n++
		}
	}
	return n
}

// failed makes the error of a result in which some keys did not open.
func (r ResealResult) failed() error {
	switch n := len(r.Keys) - r.Changed(); {
	case n == 0:
		return nil
	case r.Changed() == 0:
		return fmt.Errorf("%w: it opens none of the %d user keys", ErrPassword, n)
	default:
		return fmt.Errorf("%w: %d of %d did not open", ErrPartly, n, len(r.Keys))
	}
}

// Status says what process answers.
type Status struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Daemon  bool   `json:"daemon"`
}
