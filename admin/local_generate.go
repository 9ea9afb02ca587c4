package admin

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

// isIO reports whether a message could not be looked at now, which says nothing of it.
func isIO(err error) bool {
	var bad *storage.ReadError
	return !errors.As(err, &bad) || bad.Kind == storage.IO
}

// Generate implements Service. A new user key is one transaction, all folder keys are
// another, and moving them a third: after each all mail is readable.
func (l *Local) Generate(ctx context.Context, r GenerateRequest) (GenerateResult, error) {
	if !r.UserKey && len(r.Folders) == 0 && !r.Rewrap {
		return GenerateResult{}, fmt.Errorf("%w: say which keys: the user key, or folders", ErrUsage)
	}
	var result GenerateResult
	err := l.on(ctx, r.User, true, func(j *job) error {
		var secret keys.Secret
		if r.Password != nil {
			if r.Password.Key != nil {
				return fmt.Errorf("%w: a new user key is sealed by a password, or to the configured key", ErrUsage)
			}
			if err := l.checkLogin(ctx, j.user, *r.Password); err != nil {
				return err
			}
			var err error
			if secret, err = l.seal(j.user, *r.Password); err != nil {
				return err
			}
			defer secret.Clear()
		}
		g, err := j.Keys.GenerateUserKey(ctx, secret, r.Force && r.UserKey)
		if g.ID != "" && errors.Is(err, keys.ErrNoUserKey) {
			err = fmt.Errorf("%w: it is what the new user key is to be sealed by", ErrNeedPassword)
		}
		if r.UserKey || g.Made || err != nil {
			result.Keys = append(result.Keys, j.generated(g, true, err))
		}
		if err != nil {
			return err
		}
		var guids []mailbox.GUID
		for _, f := range j.folders {
			if matchAny(r.Folders, f.Name, j.Separator()) {
				guids = append(guids, f.GUID)
			}
		}
		result.Matched = len(guids)
		if len(guids) > 0 {
			rows, err := j.Keys.GenerateFolderKeys(ctx, guids, r.Force, j.progress("making folder keys"))
			for _, g := range rows {
				result.Keys = append(result.Keys, j.generated(g, false, g.Err))
			}
			if err != nil {
				return err
			}
		}
		if r.Rewrap {
			secrets, done, err := l.secrets(j, r.Old)
			if err != nil {
				return err
			}
			defer done()
			if secret.Known() {
				secrets = append(secrets, secret)
			}
			rewrap, err := j.rewrap(ctx, secrets, nil, false)
			result.Rewrap = &rewrap
			if err != nil {
				return err
			}
		}
		for _, k := range result.Keys {
			if k.Error != "" {
				return fmt.Errorf("%w: key of %s: %s", ErrPartly, k.Folder, k.Error)
			}
		}
		return nil
	})
	return result, err
}

// checkLogin wants a login password to be the user's.
func (l *Local) checkLogin(ctx context.Context, u *userdb.User, p Password) error {
	if !p.Login {
		return nil
	}
	_, err := l.Users.Authenticate(ctx, u.Name, p.Secret)
	switch {
	case errors.Is(err, userdb.ErrAuth):
		return fmt.Errorf("%w for user %s; nothing was changed", ErrPassword, u.Name)
	case err != nil:
		return classify(err)
	}
	return nil
}

// generated is the row of a key after Generate.
func (j *job) generated(g keys.Generated, user bool, err error) GeneratedKey {
	row := GeneratedKey{KeyRef: KeyRef{ID: g.ID, User: user, GUID: g.GUID.String(), Folder: j.names[g.GUID]}, Made: g.Made, Was: g.Was}
	if g.Made {
		row.Curve = string(j.Keys.Config().Curve)
		row.Seal = sealRef(g.Text())
	}
	if err != nil {
		row.Error = err.Error()
	}
	return row
}

func (j *job) progress(what string) func(done, total int) {
	return func(done, total int) {
		j.report.report(Progress{What: what, Done: int64(done), Total: int64(total)})
	}
}

// Rewrap implements Service, in one transaction.
func (l *Local) Rewrap(ctx context.Context, r RewrapRequest) (RewrapResult, error) {
	var result RewrapResult
	err := l.on(ctx, r.User, true, func(j *job) error {
		secrets, done, err := l.secrets(j, r.Secrets)
		if err != nil {
			return err
		}
		defer done()
		result, err = j.rewrap(ctx, secrets, r.Folders, r.DryRun)
		return err
	})
	return result, err
}

func (j *job) rewrap(ctx context.Context, secrets []keys.Secret, folders []string, dry bool) (RewrapResult, error) {
	want := func(st *keys.Stored) bool {
		name, there := j.names[st.GUID]
		return len(folders) == 0 || there && matchAny(folders, name, j.Separator())
	}
	to, rows, err := j.Keys.Rewrap(ctx, secrets, want, dry, j.progress("wrapping folder keys"))
	result := RewrapResult{To: to}
	for _, row := range rows {
		result.Keys = append(result.Keys, j.rewrapped(row, dry))
	}
	if err != nil {
		if errors.Is(err, keys.ErrNoUserKey) {
			return result, fmt.Errorf("%w: user %s has no active user key", ErrNoKey, j.user.Name)
		}
		if errors.Is(err, keys.ErrPassword) && len(secrets) == 0 {
			return result, fmt.Errorf("%w: the active user key is sealed by one: %w", ErrNeedPassword, err)
		}
		return result, err
	}
	if n := result.Count(Left) + result.Count(Unreadable); n > 0 {
		return result, fmt.Errorf("%w: %d of %d folder keys stay as they are", ErrPartly, n, len(result.Keys))
	}
	return result, nil
}

func (j *job) rewrapped(row keys.Rewrapped, dry bool) RewrappedKey {
	k := RewrappedKey{KeyRef: j.ref(row.Stored), From: row.From, Done: Already}
	switch {
	case row.Err != nil && row.Check() != nil:
		k.Done, k.Error = Unreadable, row.Err.Error()
	case row.Err != nil:
		k.Done, k.Error = Left, row.Err.Error()
	case row.Changed && dry:
		k.Done = WouldBe
	case row.Changed && row.Clear:
		k.Done = WasInClear
	case row.Changed:
		k.Done = Rewrapped
	}
	return k
}
