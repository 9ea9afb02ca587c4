package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

// A Login is a user who has authenticated, with the keys that this login opened. One
// session uses it; its methods may be called concurrently. Close it, after its mailboxes.
type Login struct {
	account *account
	set     Settings
	keys    *keys.Keys
	ring    *sharedRing
	master  string // who has logged in as the user; "" is the user
	log     *slog.Logger

	stop   context.CancelFunc // ends what runs behind the login
	behind sync.WaitGroup
	closed sync.Once
}

// Login opens a user's mail after the password has been checked. The password opens the
// user's keys and is not kept; the caller clears it. That it opens none is no error: see
// Alert. Errors wrap ErrTemporary or ErrSettings.
func (r *Registry) Login(ctx context.Context, u *userdb.User, password []byte) (*Login, error) {
	if password == nil {
		password = []byte{}
	}
	s, err := r.Settings(u, password)
	if err != nil {
		return nil, err
	}
	defer s.Keys.Password.Clear()
	return r.login(ctx, s, "")
}

// LoginAs opens a user's mail for a master user, who has proved to be that and has none of
// the user's secrets. What the user's password seals stays locked; keys that open without it
// open. The login changes no user key and makes none, whatever it finds. In templates the
// password is absent, %{master_user} is the master's name and %{login_user} the user's.
func (r *Registry) LoginAs(ctx context.Context, u *userdb.User, master string) (*Login, error) {
	r.mu.Lock()
	d := r.defaults
	r.mu.Unlock()
	s, err := resolve(d, u, nil, master, &r.memory)
	if err != nil {
		return nil, err
	}
	s.Keys.NoUserKey = true
	return r.login(ctx, s, master)
}

// login opens the user of settings.
func (r *Registry) login(ctx context.Context, s Settings, master string) (*Login, error) {
	a, err := r.open(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &Login{account: a, set: s, master: master, log: r.log.With("user", s.User)}
	l.keys = a.keysFor(s)
	if master != "" {
		// Shared with nobody: it may do less than the user's.
		l.log = l.log.With("master", master)
		l.ring, err = a.rings.own(func() (*keys.Ring, error) { return l.keys.Look(ctx) })
	} else {
		l.ring, err = a.rings.get(ctx, r.ringID(s.Keys), s.KeepUnlocked, func() (*keys.Ring, error) {
			return l.keys.Unlock(ctx, keys.Secret{})
		})
	}
	if err != nil {
		a.release()
		return nil, fmt.Errorf("%w: opening the keys of user %s: %w", ErrTemporary, s.User, err)
	}
	// From here on the login needs no password.
	withoutPassword := s.Keys
	if withoutPassword.Password.Known() {
		withoutPassword.Password = keys.AbsentSecret()
	}
	l.keys.Configure(withoutPassword)
	l.set.Keys = withoutPassword
	if s.ReadErr != nil {
		l.log.Warn("a configured private key does not load", "err", s.ReadErr)
	}
	if s.SaveErr != nil {
		l.log.Error("no mail can be saved", "err", s.SaveErr)
	}
	l.makeFolders(ctx)
	l.verifyBehind()
	return l, nil
}

// makeFolders makes the configured folders that are missing. A failure costs the login
// nothing.
func (l *Login) makeFolders(ctx context.Context) {
	if !slices.ContainsFunc(l.set.Folders, func(f Folder) bool { return f.Create }) {
		return
	}
	have, err := l.account.hier.List(ctx)
	if err != nil {
		l.log.Warn("could not list folders", "err", err)
		return
	}
	for _, f := range l.set.Folders {
		there := slices.ContainsFunc(have, func(h storage.Folder) bool { return h.Name == f.Name && h.Selectable })
		if !f.Create || there {
			continue
		}
		err := l.account.hier.Create(ctx, f.Name)
		if err == nil && f.Subscribe {
			err = l.account.hier.Subscribe(ctx, f.Name, true)
		}
		if err != nil && !errors.Is(err, mailbox.ErrExists) {
			l.log.Warn("could not make a configured folder", "folder", f.Name, "err", err)
		}
	}
}

// verifyBehind looks, behind the login, whether every folder's mail is encrypted to a key
// of the user's, so that deliveries, which cannot look, go to no other. Keys whose records are
// known from an earlier login are not opened; of the others INBOX's comes first, and is verified
// however short the session is.
func (l *Login) verifyBehind() {
	if l.master != "" || l.ring.ring.State().Opened == 0 || l.set.Keys.Global != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.behind.Go(func() {
		todo, err := l.keys.Unverified(context.WithoutCancel(ctx), l.ring.ring)
		if err != nil {
			l.log.Warn("could not list folder keys", "err", err)
		}
		if len(todo) > 0 {
			l.verifyFolders(ctx, todo)
		}
	})
}

// verifyFolders verifies the keys of folders, INBOX's first, until ctx ends.
func (l *Login) verifyFolders(ctx context.Context, todo []mailbox.GUID) {
	waiting := map[mailbox.GUID]bool{}
	for _, guid := range todo {
		waiting[guid] = true
	}
	inbox := l.account.inbox
	if waiting[inbox] {
		l.verify(context.WithoutCancel(ctx), inbox)
	}
	folders, err := l.account.hier.List(ctx)
	if ctx.Err() != nil {
		return // the login has ended
	}
	if err != nil {
		l.log.Warn("could not list folders", "err", err)
		return
	}
	for _, f := range folders {
		if ctx.Err() != nil || !f.Selectable {
			continue
		}
		guid, err := l.account.hier.GUID(ctx, f.Name)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, mailbox.ErrNotFound):
			l.log.Warn("could not verify the key of a folder", "folder", f.Name, "err", err)
		case err == nil && guid != inbox && waiting[guid]:
			l.verify(ctx, guid)
		}
	}
}

// verify verifies the key of one folder.
func (l *Login) verify(ctx context.Context, folder mailbox.GUID) {
	err := l.keys.VerifyFolder(ctx, l.ring.ring, folder)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not verify the key of a folder", "folder", folder.String(), "err", err)
	}
}

// User is the user's name.
func (l *Login) User() string { return l.set.User }

// Master is the master user who has logged in as the user, "" where it is the user.
func (l *Login) Master() string { return l.master }

// Alert is what the user should be told at login, "" when every key opened.
func (l *Login) Alert() string {
	state := l.ring.ring.State()
	switch {
	case l.master != "" && state.Opened < state.UserKeys:
		return "You act for another user. Mail that is encrypted under the user's password cannot be read; it can be listed, flagged, copied, moved and deleted."
	case l.master != "":
	case state.Locked():
		return "Your password does not open the keys of this mailbox. Encrypted mail cannot be read; it can be moved and deleted. Ask the administrator to restore access."
	case l.set.ReadErr != nil:
		return "A key of this mailbox does not load. Encrypted mail may be unreadable until the administrator has mended the configuration."
	}
	return ""
}

// Locked reports that the user has keys and the login's secret has opened none.
func (l *Login) Locked() bool { return l.ring.ring.State().Locked() }

// Separator is the hierarchy separator of names.
func (l *Login) Separator() byte { return l.account.hier.Separator() }

// AppendLimit is the size of the largest message that can be saved, in bytes; 0 is no limit.
func (l *Login) AppendLimit() int64 { return l.set.AppendLimit }

// SpecialUse maps names of folders to their roles, such as `\Sent`.
func (l *Login) SpecialUse() map[string]string {
	m := map[string]string{}
	for _, f := range l.set.Folders {
		if f.SpecialUse != "" {
			m[f.Name] = f.SpecialUse
		}
	}
	return m
}

// List returns every mailbox and every level above one, in no order.
func (l *Login) List(ctx context.Context) ([]storage.Folder, error) { return l.account.hier.List(ctx) }

// Subscriptions returns the subscribed names, which need not exist.
func (l *Login) Subscriptions(ctx context.Context) ([]string, error) {
	return l.account.hier.Subscriptions(ctx)
}

// Subscribe changes a subscription.
func (l *Login) Subscribe(ctx context.Context, name string, on bool) error {
	return l.account.hier.Subscribe(ctx, name, on)
}

// Watch calls fn after names or subscriptions have changed, by other programs too, until
// stop is called. fn must not block.
func (l *Login) Watch(fn func()) (stop func()) { return l.account.hier.Watch(fn) }

// Create makes a mailbox.
func (l *Login) Create(ctx context.Context, name string) error {
	return l.account.hier.Create(ctx, name)
}

// GUID returns a mailbox's GUID, which a rename does not change.
func (l *Login) GUID(ctx context.Context, name string) (mailbox.GUID, error) {
	return l.account.hier.GUID(ctx, name)
}

// Delete removes a mailbox and its messages. Its keys stay in the dictionary, for other
// folders may hold messages that were moved there by programs that know no keys; its other
// attributes go.
func (l *Login) Delete(ctx context.Context, name string) error {
	guid, err := l.account.hier.GUID(ctx, name)
	if err != nil {
		return err
	}
	if err := l.account.hier.Delete(ctx, name); err != nil {
		return err
	}
	l.account.caches.remove(guid)
	if err := l.keys.ForgetFolder(ctx, guid); err != nil {
		l.log.Warn("could not remove the attributes of a deleted folder", "folder", guid.String(), "err", err)
	}
	return nil
}

// Rename renames a mailbox and all below it. INBOX keeps its name, its GUID and so the
// user's keys: its messages move (RFC 9051 section 6.3.6).
func (l *Login) Rename(ctx context.Context, from, to string) error {
	if !strings.EqualFold(from, "INBOX") {
		return l.account.hier.Rename(ctx, from, to)
	}
	if err := l.account.hier.Create(ctx, to); err != nil {
		return err
	}
	in, err := l.Open(ctx, "INBOX", false)
	if err != nil {
		return err
	}
	defer in.Close()
	v, err := in.Sync(ctx)
	if err != nil {
		return err
	}
	uids := make([]mailbox.UID, 0, v.Len())
	for _, m := range v.All() {
		uids = append(uids, m.UID)
	}
	_, err = in.Move(ctx, uids, to)
	return err
}

// Close ends the login: its keys are destroyed unless another login shares them. A second
// Close does nothing.
func (l *Login) Close() error {
	l.closed.Do(func() {
		if l.stop != nil {
			l.stop()
		}
		l.behind.Wait()
		l.ring.release()
		l.account.release()
	})
	return nil
}
