package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailcrypt/keys"
	"mailcrypt/userdb"
)

// SetPassword implements Service, in two phases: the new seals are stored beside the old
// ones; then the login hash changes; then the new seals take the place of the old. A crash
// before the hash leaves the old password good for both; one after it leaves the new
// password good for the login, which completes the seals itself.
func (l *Local) SetPassword(ctx context.Context, r SetPasswordRequest) (ResealResult, error) {
	keep, err := keepOld(r.KeepOld)
	switch {
	case err != nil:
		return ResealResult{}, err
	case len(r.New) == 0:
		return ResealResult{}, fmt.Errorf("%w: the new password is empty", ErrUsage)
	}
	hash, err := userdb.HashPassword(r.Scheme, r.New)
	if err != nil {
		return ResealResult{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	var result ResealResult
	err = l.onUser(ctx, r.User, true, func(j *job) error {
		if !r.Reset {
			err := l.checkLogin(ctx, j.user, Password{Secret: r.Old, Login: true})
			if errors.Is(err, ErrPassword) && l.checkLogin(ctx, j.user, Password{Secret: r.New, Login: true}) == nil {
				err = nil // an earlier call was cut off after this
			}
			if err != nil {
				return err
			}
		}
		defer j.Changing()()
		change, err := l.prepare(ctx, j, r)
		if change != nil {
			result = keyResults(change.Keys)
		}
		if err != nil {
			return err
		}
		change.KeepOld = keep
		if err := l.Users.SetPassword(ctx, r.User, hash); err != nil {
			result.notYet()
			return errors.Join(err, l.undo(ctx, change, r))
		}
		result.LoginChanged = true
		if err := l.commitAfterLogins(ctx, r.User, change); err != nil {
			result.notYet()
			return fmt.Errorf("the login password is the new one; the next login completes the keys: %w", err)
		}
		for _, guid := range change.Reset {
			result.FoldersReset = append(result.FoldersReset, guid.String())
		}
		result.KeptUntil = l.expireLater(j, r.User, keep)
		return nil
	})
	return result, err
}

// patience is how long a change of the password waits for logins under way.
const patience = 30 * time.Second

// commitAfterLogins makes new seals count, after the login password has changed. Who has logged in with
// the old one just before may not have opened the keys yet, and must not find them locked.
func (l *Local) commitAfterLogins(ctx context.Context, user string, change *keys.Change) error {
	ctx = context.WithoutCancel(ctx)
	if names, ok := l.Users.(interface{ Key(login string) string }); ok {
		user = names.Key(user)
	}
	wait, done := context.WithTimeout(ctx, patience)
	defer done()
	l.Accounts.AwaitEntered(wait, user)
	return change.Commit(ctx)
}

// undo forgets new seals after the login hash could not be changed. A failed sync leaves open
// whether it was: unless the old password demonstrably counts, or, where it was not known, the
// new one demonstrably does not, both seals stay, and whichever password logs in opens the
// keys.
func (l *Local) undo(ctx context.Context, change *keys.Change, r SetPasswordRequest) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := l.Users.Authenticate(ctx, r.User, r.Old); err != nil {
		u, lookupErr := l.Users.Lookup(ctx, r.User)
		_, err = l.Users.Authenticate(ctx, r.User, r.New)
		if !r.Reset || lookupErr != nil || !mayLogIn(u) || !errors.Is(err, userdb.ErrAuth) {
			return nil
		}
	}
	return change.Rollback(ctx)
}

// mayLogIn reports whether a right password is enough.
func mayLogIn(u *userdb.User) bool {
	_, nologin := u.Fields["nologin"]
	return !nologin
}

// prepare stores new seals where the seal hangs on the login password. A key that nothing
// opens stops the change before anything counts, unless it is forced.
func (l *Local) prepare(ctx context.Context, j *job, r SetPasswordRequest) (*keys.Change, error) {
	was, err := l.Accounts.Settings(j.user, r.Old)
	if err != nil {
		return nil, err
	}
	defer was.Keys.Password.Clear()
	is, err := l.Accounts.Settings(j.user, r.New)
	if err != nil {
		return nil, err
	}
	defer is.Keys.Password.Clear()
	same := !r.Reset && string(is.Keys.Password.Bytes()) == string(was.Keys.Password.Bytes())
	if !is.Keys.Password.Known() || same && !r.Force {
		return &keys.Change{}, nil // the seals hang on something else
	}
	old, done, err := l.secrets(j, r.Keys)
	if err != nil {
		return nil, err
	}
	defer done()
	if len(r.Old) > 0 {
		old = append(old[:len(old):len(old)], was.Keys.Password)
	}
	change, err := j.Keys.Prepare(ctx, old, keys.Seal{Password: is.Keys.Password, PasswordOnly: true, All: true, Force: r.Force})
	if err != nil {
		return change, err
	}
	if err := unsealable(change.Keys); err != nil {
		return change, errors.Join(err, change.Rollback(context.WithoutCancel(ctx)))
	}
	if err := failed(keyResults(change.Keys)); err != nil {
		return change, fmt.Errorf("%w; nothing was changed", err)
	}
	return change, nil
}
