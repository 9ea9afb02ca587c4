package account

import (
	"context"
	"errors"
	"strings"
	"sync"

	"mailcrypt/attrdict"
	"mailcrypt/storage"
	"mailcrypt/storage/maildir"
	"mailcrypt/storage/mdbox"
)

// checkLocation finds out whether a mail location can be used.
func checkLocation(location, home string) (err error) {
	if isMdbox(location) {
		_, err = mdbox.ParseLocation(location, home)
	} else {
		_, err = maildir.ParseLocation(location, home)
	}
	return err
}

func isMdbox(location string) bool { return strings.HasPrefix(location, "mdbox:") }

// openStore opens the mail of a user whose dictionary is open.
func (a *account) openStore(ctx context.Context, s Settings) (storage.Hierarchy, error) {
	log := a.reg.log.With("user", s.User)
	separator := byte(0)
	if s.Separator != "" {
		separator = s.Separator[0]
	}
	if !isMdbox(s.MailLocation) {
		location, err := maildir.ParseLocation(s.MailLocation, s.Home)
		if err != nil {
			return nil, err
		}
		return maildir.Open(location, maildir.Options{Logger: log, Watcher: a.reg.watcher, Separator: separator})
	}
	location, o, err := a.reg.mdboxOptions(s, a.dict)
	if err != nil {
		return nil, err
	}
	return a.reg.stores.get(ctx, location, o)
}

// mdboxOptions say where a user's mdbox store is and how it is opened.
func (r *Registry) mdboxOptions(s Settings, dict attrdict.Dict) (mdbox.Location, mdbox.Options, error) {
	location, err := mdbox.ParseLocation(s.MailLocation, s.Home)
	o := mdbox.Options{Logger: r.log.With("user", s.User), RotateSize: s.Mdbox.RotateSize,
		RotateInterval: s.Mdbox.RotateInterval, Preallocate: s.Mdbox.Preallocate}
	if s.Separator != "" {
		o.Separator = s.Separator[0]
	}
	if s.AttributeDict != "" {
		o.Identities = newIdentities(dict, location.Root)
	}
	return location, o, err
}

// stores are the open mdbox stores of a registry. A store can be open only once, and two
// accounts may name one: a user whose fields have changed while sessions are open, or two
// users of one home. So they share it, unless they see it differently.
type stores struct {
	mu   sync.Mutex
	open map[storeKey]*sharedStore
	held map[string]bool // roots of stores that are kept closed
}

// errHeld reports a store that is kept closed for a while.
var errHeld = errors.New("account: the mail is being handed over, try again in a moment")

// hold keeps the store of a root from being opened until release. It is false where somebody
// does so already.
func (ss *stores) hold(root string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.held[root] {
		return false
	}
	if ss.held == nil {
		ss.held = map[string]bool{}
	}
	ss.held[root] = true
	return true
}

func (ss *stores) release(root string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.held, root)
}

// uses reports whether the store of a root is open, or being opened.
func (ss *stores) uses(root string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for key := range ss.open {
		if key.Root == root {
			return true
		}
	}
	return false
}

type storeKey struct {
	mdbox.Location
	separator byte
}

type sharedStore struct {
	mu   sync.Mutex // held while it is being opened
	hier *mdbox.Hierarchy
	refs int // under stores.mu
}

// get opens a store, or shares it. The caller closes it.
func (ss *stores) get(ctx context.Context, l mdbox.Location, o mdbox.Options) (storage.Hierarchy, error) {
	key := storeKey{l, o.Separator}
	ss.mu.Lock()
	if ss.held[l.Root] {
		ss.mu.Unlock()
		return nil, errHeld
	}
	if ss.open == nil {
		ss.open = map[storeKey]*sharedStore{}
	}
	s := ss.open[key]
	if s == nil {
		s = &sharedStore{}
		ss.open[key] = s
	}
	s.refs++
	ss.mu.Unlock()
	use := &usedStore{set: ss, shared: s, key: key}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hier == nil {
		hier, err := mdbox.Open(ctx, l, o)
		if err != nil {
			return nil, errors.Join(err, use.release())
		}
		s.hier = hier
	}
	use.Hierarchy = s.hier
	return use, nil
}

// A usedStore is one account's use of a store.
type usedStore struct {
	*mdbox.Hierarchy
	set    *stores
	shared *sharedStore
	key    storeKey
	once   sync.Once
}

// Close gives the use back; the last one closes the store.
func (u *usedStore) Close() (err error) {
	u.once.Do(func() { err = u.release() })
	return err
}

// release closes the store under the lock of the set, so that nobody opens it before it is
// free.
func (u *usedStore) release() error {
	u.set.mu.Lock()
	defer u.set.mu.Unlock()
	if u.shared.refs--; u.shared.refs > 0 {
		return nil
	}
	delete(u.set.open, u.key)
	if u.shared.hier == nil {
		return nil
	}
	return u.shared.hier.Close()
}

var _ storage.Totaler = (*usedStore)(nil)
