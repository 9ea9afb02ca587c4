package admin

import (
	"context"
	"errors"
	"fmt"
	"os"

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
}

// Status implements Service.
func (l *Local) Status(context.Context) (Status, error) {
	return Status{os.Getpid(), l.Build, l.Daemon}, nil
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

// seal turns a password as given into the secret of a seal.
func (l *Local) seal(u *userdb.User, p Password) (keys.Secret, error) {
	if !p.Login {
		return keys.NewSecret(p.Secret), nil
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
	u, err := l.lookup(ctx, r.User)
	if err != nil {
		return ResealResult{}, err
	}
	var old []keys.Secret
	for _, p := range r.Old {
		s, err := l.seal(u, p)
		if err != nil {
			return ResealResult{}, err
		}
		old = append(old, s)
	}
	to := keys.Seal{Open: r.Open}
	if r.New != nil {
		if to.Password, err = l.seal(u, *r.New); err != nil {
			return ResealResult{}, err
		}
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
	return result, result.failed()
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
	if _, err := l.lookup(ctx, r.User); err != nil {
		return ResealResult{}, err
	}
	u, err := l.Users.Authenticate(ctx, r.User, r.Old)
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
		prepared, err := l.prepare(ctx, u, k, r)
		result = prepared
		if err != nil {
			return err
		}
		if err := l.Users.SetPassword(ctx, u.Name, hash); err != nil {
			_, undo := k.Rollback(ctx)
			return errors.Join(err, undo)
		}
		result.LoginChanged = true
		_, err = k.Commit(ctx)
		return err
	})
	switch {
	case errors.Is(err, ErrPassword), errors.Is(err, ErrPartly), errors.Is(err, ErrTemporary):
		return result, err
	case err != nil:
		return result, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return result, nil
}

// prepare stores new seals where the seal hangs on the login password. A key that the old
// password does not open stops the change before anything counts.
func (l *Local) prepare(ctx context.Context, u *userdb.User, k *keys.Keys, r SetPasswordRequest) (ResealResult, error) {
	was, err := l.Accounts.Settings(u, r.Old)
	if err != nil {
		return ResealResult{}, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	defer was.Keys.Password.Clear()
	is, err := l.Accounts.Settings(u, r.New)
	if err != nil {
		return ResealResult{}, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	defer is.Keys.Password.Clear()
	if !is.Keys.Password.Known() || string(is.Keys.Password.Bytes()) == string(was.Keys.Password.Bytes()) {
		return ResealResult{}, nil // the seals hang on something else
	}
	list, err := k.Prepare(ctx, []keys.Secret{was.Keys.Password}, keys.Seal{Password: is.Keys.Password})
	if err != nil {
		return ResealResult{}, err
	}
	result := keyResults(list)
	if err := result.failed(); err != nil {
		_, undo := k.Rollback(ctx)
		return result, errors.Join(fmt.Errorf("%w; nothing was changed", err), undo)
	}
	return result, nil
}
