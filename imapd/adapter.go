package imapd

import (
	"context"
	"errors"
	"fmt"
	"net"

	"mailcrypt/account"
	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
	"mailcrypt/storage"
)

// An Authenticator checks a user's password and opens the account. The error wraps
// account.ErrAuth where user or password are wrong, and account.ErrTemporary where that
// could not be found out. The password is overwritten once Login has returned.
type Authenticator interface {
	Login(ctx context.Context, user string, password []byte, remote net.Addr) (*account.Login, error)
}

// A Namer is an Authenticator that knows which login names stand for one user: guesses count
// against all of them together. Without it names count as they are typed, but for their case.
type Namer interface {
	Authenticator
	// UserKey is the same for all names of one user. It does no I/O.
	UserKey(name string) string
}

// A MasterAuthenticator is an Authenticator that lets master users act for others. LoginAs
// checks the master's password and opens the user's account, without the user's secrets.
// Errors are as those of Login.
type MasterAuthenticator interface {
	Authenticator
	LoginAs(ctx context.Context, user, master string, password []byte, remote net.Addr) (*account.Login, error)
}

// NewServer returns a Server. Call Serve for each listener, and Shutdown at the end.
func NewServer(o Options) *Server {
	auth := o.Authenticator
	s := newServer(o, func(ctx context.Context, user string, password []byte, remote net.Addr) (login, error) {
		return adapt(auth.Login(ctx, user, password, remote))
	})
	if n, ok := auth.(Namer); ok {
		s.userKey = n.UserKey
	}
	if m, ok := auth.(MasterAuthenticator); ok {
		s.loginAs = func(ctx context.Context, user, master string, password []byte, remote net.Addr) (login, error) {
			return adapt(m.LoginAs(ctx, user, master, password, remote))
		}
	}
	return s
}

// adapt turns what an Authenticator returned.
func adapt(l *account.Login, err error) (login, error) {
	switch {
	case err == nil:
		return accountLogin{l}, nil
	case errors.Is(err, account.ErrAuth):
		return nil, fmt.Errorf("%w: %w", errAuth, err)
	case errors.Is(err, account.ErrTemporary):
		return nil, fmt.Errorf("%w: %w", errTemporary, err)
	}
	return nil, err
}

// accountLogin gives account.Login the types of this package.
type accountLogin struct{ *account.Login }

// Open wraps the mailbox, so that its own methods below are found.
func (l accountLogin) Open(ctx context.Context, name string, readOnly bool) (box, error) {
	b, err := l.Login.Open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	return accountBox{b}, nil
}

// Quota turns the result.
func (l accountLogin) Quota(ctx context.Context) (*quotaState, error) {
	q, err := l.Login.Quota(ctx)
	if q == nil {
		return nil, err
	}
	return &quotaState{q.Root, q.Used, q.Limits}, err
}

type accountBox struct{ *account.Mailbox }

// Read keeps a nil *storage.Message from becoming a content that is not nil.
func (b accountBox) Read(ctx context.Context, uid mailbox.UID) (content, error) {
	m, err := b.Mailbox.Read(ctx, uid)
	if err != nil {
		return nil, err // not a nil *storage.Message in an interface
	}
	return m, nil
}

// Learn takes a content of Read.
func (b accountBox) Learn(msg content, f sealedcache.Field, value []byte) {
	b.Mailbox.Learn(msg.(*storage.Message), f, value)
}

// Append keeps a nil *storage.Appender from becoming an appender that is not nil.
func (b accountBox) Append(ctx context.Context, info mailbox.SaveInfo) (appender, error) {
	a, err := b.Mailbox.Append(ctx, info)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// CommitAll takes appenders of Append.
func (b accountBox) CommitAll(ctx context.Context, messages []appender) ([]mailbox.UID, error) {
	stored := make([]*storage.Appender, len(messages))
	for i, a := range messages {
		stored[i] = a.(*storage.Appender)
	}
	return b.Mailbox.CommitAll(ctx, stored)
}

// Copy turns the result; what was copied before an error is in it.
func (b accountBox) Copy(ctx context.Context, uids []mailbox.UID, to string) (copied, error) {
	r, err := b.Mailbox.Copy(ctx, uids, to)
	return copied{r.UIDValidity, r.From, r.To}, err
}

// Move turns the result; what was moved before an error is in it.
func (b accountBox) Move(ctx context.Context, uids []mailbox.UID, to string) (copied, error) {
	r, err := b.Mailbox.Move(ctx, uids, to)
	return copied{r.UIDValidity, r.From, r.To}, err
}
