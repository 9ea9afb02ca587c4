package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mailcrypt/account"
	"mailcrypt/keys"
	"mailcrypt/userdb"
)

// Users is the user database as administration needs it. *userdb.PasswdFile is one.
type Users interface {
	Lookup(ctx context.Context, name string) (*userdb.User, error)
	Authenticate(ctx context.Context, name string, password []byte) (*userdb.User, error)
	SetPassword(ctx context.Context, name, hash string) error
}

// Local is the Service of the process that owns the users' files.
type Local struct {
	Accounts *account.Registry
	Users    Users
	Build    string // version of the program
	Daemon   bool
	// RetireDelay is how long after a key was active it is not destroyed; 0 is 15 minutes,
	// negative none.
	RetireDelay time.Duration
	// Sessions are those of the daemon; nil without one.
	Sessions Sessions
	Started  time.Time // of the process

	mu    sync.Mutex
	turns map[string]chan struct{} // of the users whose keys are being changed
}

// turn waits until nobody else changes a user's keys. Two changes at once could take one
// another's seals, and one another's login hash, for their own.
func (l *Local) turn(ctx context.Context, user string) (done func(), err error) {
	for {
		l.mu.Lock()
		if l.turns == nil {
			l.turns = map[string]chan struct{}{}
		}
		busy := l.turns[user]
		if busy == nil {
			mine := make(chan struct{})
			l.turns[user] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.turns, user)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, classify(ctx.Err())
		}
	}
}

// Close implements Service; what l was made of stays open.
func (l *Local) Close() error { return nil }

func (l *Local) lookup(ctx context.Context, name string) (*userdb.User, error) {
	u, err := l.Users.Lookup(ctx, name)
	switch {
	case errors.Is(err, userdb.ErrNoUser):
		return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
	case err != nil:
		return nil, classify(err)
	}
	return u, nil
}

// seal turns a password as given into the secret of a seal, which the caller clears.
func (l *Local) seal(u *userdb.User, p Password) (keys.Secret, error) {
	if p.Key != nil {
		return keys.Secret{}, fmt.Errorf("%w: a private key is given where a password is wanted", ErrUsage)
	}
	if !p.Login {
		return keys.NewSecret(bytes.Clone(p.Secret)), nil
	}
	s, err := l.Accounts.Settings(u, p.Secret)
	if err != nil {
		return keys.Secret{}, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	if !s.Keys.Password.Known() {
		return keys.Secret{}, fmt.Errorf("%w: no mail_crypt_private_password is configured for user %s, so a login password seals nothing: give the raw secret", ErrUsage, u.Name)
	}
	return s.Keys.Password, nil
}
