// Package account opens users: it ties a user's mailboxes, dictionary and keys together
// and hands them to the protocols as a [Login], with the keys that its password opened, or
// a [Delivery], which has none.
//
// The Registry alone opens a user's files in this process. It opens them at first use,
// counts who uses them, and closes them when they have been idle.
package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/maildir"
	"mailcrypt/userdb"
)

// What the protocols tell apart.
var (
	// ErrAuth reports a user who is not there or a password that is wrong.
	ErrAuth = errors.New("account: authentication failed")
	// ErrTemporary reports a failure that may pass: the client should try again.
	ErrTemporary = errors.New("account: temporarily unavailable")
)

// Options are a Registry's.
type Options struct {
	Defaults Defaults
	Log      *slog.Logger
	// Idle is how long a user's files stay open after the last use; 0 is a minute.
	Idle time.Duration
	// DictWait is how long to wait for a dictionary that another process has locked; 0 is as
	// long as attrdict does.
	DictWait time.Duration
}

// A Registry opens users. Its methods may be called concurrently.
type Registry struct {
	log     *slog.Logger
	idle    time.Duration
	process [32]byte // key of the HMAC that compares the secrets of logins
	watcher *maildir.Watcher

	entering logins
	memory   keys.Memory

	mu       sync.Mutex
	defaults Defaults
	accounts map[string]*account
	closed   bool

	dicts  dicts
	stores stores
}

// NewRegistry returns a registry of users; Close it.
func NewRegistry(o Options) *Registry {
	r := &Registry{log: o.Log, idle: o.Idle, defaults: o.Defaults, accounts: map[string]*account{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.idle == 0 {
		r.idle = time.Minute
	}
	rand.Read(r.process[:])
	r.dicts.wait = o.DictWait
	r.watcher = maildir.NewWatcher(maildir.WatcherOptions{Logger: r.log})
	return r
}

// SetDefaults replaces the defaults for logins and deliveries that begin from now on.
func (r *Registry) SetDefaults(d Defaults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.defaults = d
}

// Settings resolves a user's settings; password is nil where there is no login.
func (r *Registry) Settings(u *userdb.User, password []byte) (Settings, error) {
	r.mu.Lock()
	d := r.defaults
	r.mu.Unlock()
	return resolve(d, u, password, "", &r.memory)
}

// An account is one user's files, open.
type account struct {
	reg   *Registry
	name  string // key in the registry
	hier  storage.Hierarchy
	dict  attrdict.Dict
	inbox mailbox.GUID

	ready chan struct{} // closed when opening has ended, with err
	err   error

	// Under Registry.mu.
	refs  int
	timer *time.Timer

	rings    rings
	ledger   ledger
	changing atomic.Int32 // password changes under way
	caches   caches
	kept     kept
	publics  keys.PublicKeys
}

// open returns the user's account, opening it if need be; the caller calls release.
func (r *Registry) open(ctx context.Context, s Settings) (*account, error) {
	// The places are part of the name: a user whose fields change gets other files, and what
	// is open stays until its sessions have ended.
	name := s.User + "\x00" + s.Home + "\x00" + s.MailLocation + "\x00" + s.AttributeDict + "\x00" + s.Separator
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, fmt.Errorf("%w: shutting down", ErrTemporary)
	}
	a := r.accounts[name]
	if a == nil {
		a = &account{reg: r, name: name, ready: make(chan struct{}), kept: kept{log: r.log, idle: r.idle}}
		r.accounts[name] = a
		a.refs = 1
		r.mu.Unlock()
		a.err = a.load(context.WithoutCancel(ctx), s)
		close(a.ready)
	} else {
		a.refs++
		if a.timer != nil {
			a.timer.Stop()
			a.timer = nil
		}
		r.mu.Unlock()
		select {
		case <-a.ready:
		case <-ctx.Done():
			a.release()
			return nil, ctx.Err()
		}
	}
	if a.err != nil {
		err := a.err
		a.release()
		return nil, err
	}
	return a, nil
}

// load opens the files.
func (a *account) load(ctx context.Context, s Settings) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: opening the mail of user %s: %w", ErrTemporary, s.User, errors.Join(err, a.closeFiles()))
		}
	}()
	if err := a.makeHome(s); err != nil {
		return err
	}
	if a.dict, err = a.reg.dicts.get(s.AttributeDict, s.Home); err != nil {
		return err
	}
	if a.hier, err = a.openStore(ctx, s); err != nil {
		return err
	}
	if h, ok := a.hier.(interface{ IndexDir() string }); ok {
		a.caches = caches{log: a.reg.log.With("user", s.User), dir: h.IndexDir()}
	}
	a.inbox, err = a.hier.GUID(ctx, "INBOX")
	return err
}

func (a *account) closeFiles() error {
	a.kept.close()
	a.caches.close()
	var errs []error
	if a.hier != nil {
		errs = append(errs, a.hier.Close())
	}
	if a.dict != nil {
		errs = append(errs, a.dict.Close())
	}
	return errors.Join(errs...)
}

// release gives one use back. The last one starts the idle time, unless opening failed.
func (a *account) release() {
	r := a.reg
	r.mu.Lock()
	defer r.mu.Unlock()
	a.refs--
	if a.refs > 0 {
		return
	}
	if a.err != nil || r.closed {
		r.drop(a)
		return
	}
	a.timer = time.AfterFunc(r.idle, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if a.refs == 0 && r.accounts[a.name] == a {
			r.drop(a)
		}
	})
}

// drop closes an unused account. The registry stays locked meanwhile, so that nobody opens
// the same files before they are free.
func (r *Registry) drop(a *account) {
	delete(r.accounts, a.name)
	a.rings.close()
	if a.err == nil {
		if err := a.closeFiles(); err != nil {
			r.log.Warn("closing a user's files", "err", err)
		}
	}
}

// Close closes everything that no session uses any more, and whatever remains as its last
// session ends. Logins and deliveries fail from now on.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, a := range r.accounts {
		if a.refs == 0 {
			if a.timer != nil {
				a.timer.Stop()
			}
			r.drop(a)
		}
	}
	r.mu.Unlock()
	return r.watcher.Close()
}

// keysFor returns the user's keys under the given settings.
func (a *account) keysFor(s Settings) *keys.Keys {
	k := keys.New(a.dict, a.inbox, s.Keys, a.reg.log.With("user", s.User))
	k.Publics = &a.publics
	k.LeavePending = func() bool { return a.changing.Load() > 0 }
	return k
}
