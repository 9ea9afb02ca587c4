package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

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
			return nil, fmt.Errorf("%w: %w", ErrTemporary, ctx.Err())
		}
	}
}

// Status implements Service.
func (l *Local) Status(context.Context) (Status, error) {
	return Status{PID: os.Getpid(), Version: l.Build, Daemon: l.Daemon, Protocol: Version}, nil
}

// Close implements Service; what l was made of stays open.
func (l *Local) Close() error { return nil }

func (l *Local) lookup(ctx context.Context, name string) (*userdb.User, error) {
	u, err := l.Users.Lookup(ctx, name)
	switch {
	case errors.Is(err, userdb.ErrNoUser):
		return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return u, nil
}

// seal turns a password as given into the secret of a seal, which the caller clears.
func (l *Local) seal(u *userdb.User, p Password) (keys.Secret, error) {
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

// Reseal implements Service. The old seals stay until the new ones have been read back.
func (l *Local) Reseal(ctx context.Context, r ResealRequest) (ResealResult, error) {
	if (r.New == nil) == !r.Open {
		return ResealResult{}, fmt.Errorf("%w: give a new password, or ask to leave the keys without one", ErrUsage)
	}
	if r.New != nil && len(r.New.Secret) == 0 {
		return ResealResult{}, fmt.Errorf("%w: the new password is empty; to leave the keys without one, ask for that", ErrUsage)
	}
	u, err := l.lookup(ctx, r.User)
	if err != nil {
		return ResealResult{}, err
	}
	done, err := l.turn(ctx, u.Name)
	if err != nil {
		return ResealResult{}, err
	}
	defer done()
	var old []keys.Secret
	for _, p := range r.Old {
		s, err := l.seal(u, p)
		if err != nil {
			return ResealResult{}, err
		}
		defer s.Clear()
		old = append(old, s)
	}
	to := keys.Seal{Open: r.Open}
	if r.New != nil {
		if to.Password, err = l.seal(u, *r.New); err != nil {
			return ResealResult{}, err
		}
		defer to.Password.Clear()
	}
	var result ResealResult
	err = l.Accounts.Keys(ctx, u, func(k *keys.Keys) error {
		list, err := k.Reseal(ctx, old, to)
		result = keyResults(list)
		if errors.Is(err, keys.ErrPassword) {
			return nil // told key by key
		}
		return err
	})
	if err != nil {
		return result, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return result, failed(result)
}

func keyResults(list []keys.KeyResult) ResealResult {
	var r ResealResult
	for _, k := range list {
		kr := KeyResult{ID: k.ID}
		if k.Err != nil {
			kr.Error = k.Err.Error()
		}
		r.Keys = append(r.Keys, kr)
	}
	return r
}

// SetPassword implements Service, in two phases: the new seals are stored beside the old
// ones; then the login hash changes; then the new seals take the place of the old. A crash
// before the hash leaves the old password good for both; one after it leaves the new
// password good for the login, which completes the seals itself.
func (l *Local) SetPassword(ctx context.Context, r SetPasswordRequest) (ResealResult, error) {
	if len(r.New) == 0 {
		return ResealResult{}, fmt.Errorf("%w: the new password is empty", ErrUsage)
	}
	u, err := l.lookup(ctx, r.User)
	if err != nil {
		return ResealResult{}, err
	}
	done, err := l.turn(ctx, u.Name)
	if err != nil {
		return ResealResult{}, err
	}
	defer done()
	u, err = l.Users.Authenticate(ctx, r.User, r.Old)
	switch {
	case errors.Is(err, userdb.ErrAuth):
		return ResealResult{}, fmt.Errorf("%w for user %s; nothing was changed", ErrPassword, r.User)
	case err != nil:
		return ResealResult{}, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	hash, err := userdb.HashPassword(r.Scheme, r.New)
	if err != nil {
		return ResealResult{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	var result ResealResult
	err = l.Accounts.Keys(ctx, u, func(k *keys.Keys) error {
		change, err := l.prepare(ctx, u, k, r)
		if change != nil {
			result = keyResults(change.Keys)
		}
		if err != nil {
			return err
		}
		if err := l.Users.SetPassword(ctx, r.User, hash); err != nil {
			return errors.Join(err, l.undo(ctx, change, r))
		}
		result.LoginChanged = true
		if err := change.Commit(ctx); err != nil {
			return fmt.Errorf("the login password is the new one; the next login completes the keys: %w", err)
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrPassword), errors.Is(err, ErrPartly), errors.Is(err, ErrTemporary):
		return result, err
	case err != nil:
		return result, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return result, nil
}

// undo forgets new seals after the login hash could not be changed. A failed sync leaves open
// whether it was: unless the old password demonstrably counts, both seals stay, and whichever
// password logs in opens the keys.
func (l *Local) undo(ctx context.Context, change *keys.Change, r SetPasswordRequest) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := l.Users.Authenticate(ctx, r.User, r.Old); err != nil {
		return nil
	}
	return change.Rollback(ctx)
}

// prepare stores new seals where the seal hangs on the login password. A key that the old
// password does not open stops the change before anything counts.
func (l *Local) prepare(ctx context.Context, u *userdb.User, k *keys.Keys, r SetPasswordRequest) (*keys.Change, error) {
	was, err := l.Accounts.Settings(u, r.Old)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	defer was.Keys.Password.Clear()
	is, err := l.Accounts.Settings(u, r.New)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	defer is.Keys.Password.Clear()
	if !is.Keys.Password.Known() || string(is.Keys.Password.Bytes()) == string(was.Keys.Password.Bytes()) {
		return &keys.Change{}, nil // the seals hang on something else
	}
	change, err := k.Prepare(ctx, []keys.Secret{was.Keys.Password}, keys.Seal{Password: is.Keys.Password, PasswordOnly: true})
	if err != nil {
		return change, err
	}
	if err := failed(keyResults(change.Keys)); err != nil {
		return change, errors.Join(fmt.Errorf("%w; nothing was changed", err), change.Rollback(ctx))
	}
	return change, nil
}

// failed makes the error of a result in which some keys did not open.
func failed(r ResealResult) error {
	switch n := len(r.Keys) - r.Changed(); {
	case n == 0:
		return nil
	case r.Changed() == 0:
		return fmt.Errorf("%w: it opens none of the %d user keys", ErrPassword, n)
	default:
		return fmt.Errorf("%w: %d of %d did not open", ErrPartly, n, len(r.Keys))
	}
}
