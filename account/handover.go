package account

import (
	"context"
	"fmt"
	"time"

	"mailcrypt/storage/mdbox"
	"mailcrypt/userdb"
)

// closeWait is how long sessions and deliveries that are ending are waited for.
const closeWait = 30 * time.Second

// An MdboxPlace is where a user's mdbox store is and how it is opened.
type MdboxPlace struct {
	Location mdbox.Location
	Options  mdbox.Options // without identities, for nothing is to be opened with them
	Home     string
}

// WithClosedMdbox calls fn while nobody in this process has the mdbox store of a user open,
// and nobody can open it: logins and deliveries fail temporarily. The
// caller has ended the sessions; those that are ending are waited for. Errors wrap
// ErrNotMdbox, ErrStoreOpen where they do not end, ErrTemporary or ErrSettings, or are fn's.
func (r *Registry) WithClosedMdbox(ctx context.Context, u *userdb.User, fn func(MdboxPlace) error) error {
	s, err := r.Settings(u, nil)
	if err != nil {
		return err
	}
	defer s.Keys.Password.Clear()
	if !isMdbox(s.MailLocation) {
		return ErrNotMdbox
	}
	location, options, err := r.mdboxOptions(s, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	options.Identities = nil
	if err := (&account{reg: r}).makeHome(s); err != nil {
		return fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	root := location.Root
	if !r.stores.hold(root) {
		return ErrStoreOpen
	}
	defer r.stores.release(root)
	if err := r.closeStore(ctx, root); err != nil {
		return err
	}
	return fn(MdboxPlace{location, options, s.Home})
}

// closeStore waits until nobody uses a store, and closes it.
func (r *Registry) closeStore(ctx context.Context, root string) error {
	ctx, cancel := context.WithTimeout(ctx, closeWait)
	defer cancel()
	for r.dropIdle(root); r.stores.uses(root); r.dropIdle(root) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrStoreOpen, ctx.Err())
		}
	}
	return nil
}
