package account

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

// A Delivery is one user to deliver to, without any secret. Its methods may be called
// concurrently. Close it.
type Delivery struct {
	account *account
	set     Settings
	keys    *keys.Keys

	mu     sync.Mutex
	open   []storage.Backend // given up with the delivery
	cached []mailbox.GUID    // whose caches are in use
	closed bool
}

// Deliver opens a user's mail for saving. Errors wrap ErrTemporary or ErrSettings; a
// delivery then fails temporarily.
func (r *Registry) Deliver(ctx context.Context, u *userdb.User) (*Delivery, error) {
	s, err := r.Settings(u, nil)
	if err != nil {
		return nil, err
	}
	a, err := r.open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Delivery{account: a, set: s, keys: a.keysFor(s)}, nil
}

// User is the user's name.
func (d *Delivery) User() string { return d.set.User }

// Append begins a message in a folder. An error means that nothing was stored, in clear or
// otherwise; it wraps keys.ErrNoUserKey where the user has to log in first, and a
// *quota.Error where the user has no room, which Commit may find too.
func (d *Delivery) Append(ctx context.Context, folder string, info mailbox.SaveInfo) (*storage.Appender, error) {
	b, err := d.account.hier.Open(ctx, folder)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.open = append(d.open, b)
	d.mu.Unlock()
	a, err := d.begin(ctx, b, folder, info)
	if err != nil {
		return nil, fmt.Errorf("account: delivering to user %s: %w", d.set.User, err)
	}
	return a, nil
}

func (d *Delivery) begin(ctx context.Context, b storage.Backend, folder string, info mailbox.SaveInfo) (*storage.Appender, error) {
	var to *dcrypt.PublicKey
	if d.set.Store.Version != 0 {
		if d.set.SaveErr != nil {
			return nil, d.set.SaveErr
		}
		var err error
		if to, err = d.keys.PublicKey(ctx, b.GUID(), d.set.Keys.Password); err != nil {
			return nil, err
		}
	}
	o := d.set.Store
	o.MaxSize = d.set.maxMailSize()
	o, err := d.purse().options(ctx, folder, info, o)
	if err != nil {
		return nil, err
	}
	if c := d.account.caches.get(b.GUID(), d.set.SealedCache); c != nil {
		d.mu.Lock()
		d.cached = append(d.cached, b.GUID())
		d.mu.Unlock()
		remember(c, to, &o)
	}
	return storage.New(b).Append(ctx, info, to, o)
}

// Close ends the delivery, after what it has begun was committed or aborted. A second
// Close does nothing.
func (d *Delivery) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	for _, b := range d.open {
		errs = append(errs, d.account.kept.putUnread(b)) // the next mail may come at once
	}
	for _, guid := range d.cached {
		d.account.caches.put(guid)
	}
	d.open, d.cached = nil, nil
	d.account.release()
	return errors.Join(errs...)
}

// Keys gives fn the user's keys, for administration. Errors wrap ErrTemporary or
// ErrSettings.
func (r *Registry) Keys(ctx context.Context, u *userdb.User, fn func(*keys.Keys) error) error {
	s, err := r.Settings(u, nil)
	if err != nil {
		return err
	}
	a, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	defer a.release()
	return fn(a.keysFor(s))
}
