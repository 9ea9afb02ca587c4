package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/secret"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/userdb"
)

// A job is one operation on the keys of one user.
type job struct {
	*account.Admin
	user   *userdb.User
	report *reporter
	// Of operations that on runs:
	folders []account.NamedFolder
	names   map[mailbox.GUID]string
}

// on runs an operation over a user's files, which knows the user's folders. Operations that
// change keys take turns.
func (l *Local) on(ctx context.Context, user string, changes bool, fn func(*job) error) error {
	return l.onUser(ctx, user, changes, func(j *job) (err error) {
		if j.folders, err = j.Folders(ctx); err != nil {
			return err
		}
		slices.SortFunc(j.folders, func(a, b account.NamedFolder) int { return strings.Compare(a.Name, b.Name) })
		for _, f := range j.folders {
			j.names[f.GUID] = f.Name
		}
		return fn(j)
	})
}

// onUser is on for operations on user keys, to which folders are all the same: to list them is to
// open each one.
func (l *Local) onUser(ctx context.Context, user string, changes bool, fn func(*job) error) error {
	u, err := l.lookup(ctx, user)
	if err != nil {
		return err
	}
	if changes {
		done, err := l.turn(ctx, u.Name)
		if err != nil {
			return err
		}
		defer done()
	}
	err = l.Accounts.Admin(ctx, u, func(a *account.Admin) error {
		return fn(&job{Admin: a, user: u, report: newReporter(ctx), names: map[mailbox.GUID]string{}})
	})
	return classify(err)
}

// secrets turns what was given into what the keys' packages take, and lets private keys
// among it open sealed user keys. done clears it.
func (l *Local) secrets(j *job, list []Password) (secrets []keys.Secret, done func(), err error) {
	var private []*dcrypt.PrivateKey
	done = func() {
		for _, s := range secrets {
			s.Clear()
		}
		for _, k := range private {
			k.Destroy()
		}
	}
	for _, p := range list {
		if p.Key != nil {
			key, kerr := privateKey(p)
			if kerr != nil {
				done()
				return nil, nil, kerr
			}
			private = append(private, key)
			continue
		}
		s, serr := l.seal(j.user, p)
		if serr != nil {
			done()
			return nil, nil, serr
		}
		secrets = append(secrets, s)
	}
	if len(private) > 0 {
		c := j.Keys.Config()
		c.OpenKeys = append(slices.Clone(c.OpenKeys), private...)
		j.Keys.Configure(c)
	}
	return secrets, done, nil
}

func privateKey(p Password) (*dcrypt.PrivateKey, error) {
	opener := dcrypt.Opener{}
	if len(p.Secret) > 0 {
		opener.Password = secret.New(p.Secret)
	}
	key, err := dcrypt.ParsePrivateKey(dcrypt.DecodeKeySetting(p.Key), opener)
	switch {
	case errors.Is(err, dcrypt.ErrPassword):
		return nil, fmt.Errorf("%w: it does not open the given private key", ErrPassword)
	case errors.Is(err, dcrypt.ErrPasswordRequired):
		return nil, fmt.Errorf("%w: the given private key is sealed by one", ErrNeedPassword)
	case err != nil:
		return nil, fmt.Errorf("%w: the given private key: %w", ErrUsage, err)
	}
	return key, nil
}

// ref names a stored key.
func (j *job) ref(st *keys.Stored) KeyRef {
	return KeyRef{ID: st.ID, User: st.User, GUID: st.GUID.String(), Folder: j.names[st.GUID]}
}

// selected reports whether a selection means a key.
func (j *job) selected(s Selection, st *keys.Stored) bool {
	if len(s.IDs) > 0 {
		if !slices.ContainsFunc(st.IDs(), func(id dcrypt.KeyID) bool { return slices.Contains(s.IDs, id.String()) }) {
			return false
		}
	}
	if !s.UserKeys && len(s.Folders) == 0 && !s.Deleted {
		return true
	}
	name, there := j.names[st.GUID]
	switch {
	case st.User:
		return s.UserKeys
	case !there:
		return s.Deleted
	}
	return matchAny(s.Folders, name, j.Separator())
}

// unknown names the first id of a selection that no key has.
func unknown(ids []string, inv *keys.Inventory) error {
	for _, s := range ids {
		id, err := dcrypt.ParseKeyID(s)
		if err != nil {
			return fmt.Errorf("%w: %q is no key id: 64 lower-case hex digits", ErrUsage, s)
		}
		if !slices.ContainsFunc(inv.Keys, func(st *keys.Stored) bool { return st.Has(id) }) {
			return fmt.Errorf("%w: %s", ErrNoKey, s)
		}
	}
	return nil
}

// sealOf tells how a private key text is sealed.
func sealOf(text []byte) Seal {
	if text == nil {
		return Seal{By: "missing"}
	}
	info, err := dcrypt.Inspect(text)
	if err != nil || !info.Private {
		return Seal{By: "damaged"}
	}
	return Seal{By: info.Protection.String(), Key: info.Protector, Cipher: info.Cipher, Hash: info.Hash,
		Rounds: info.Rounds, Salt: info.SaltLen, Format: info.Format.String()}
}

func sealRef(text []byte) *Seal {
	if text == nil {
		return nil
	}
	s := sealOf(text)
	return &s
}
