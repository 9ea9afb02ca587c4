package account

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/storage/mdbox"
	"mailcrypt/userdb"
)

var (
	// ErrNotMdbox reports a user whose mail is in no mdbox store.
	ErrNotMdbox = errors.New("account: the user's mail is not in an mdbox store")
	// ErrStoreOpen reports a store that sessions, or another process, have open.
	ErrStoreOpen = errors.New("account: the mail is in use")
)

// Mdbox is the user's store, for what only one of mdbox needs. The error is ErrNotMdbox where
// it is another one.
func (a *Admin) Mdbox() (*mdbox.Hierarchy, error) {
	if u, ok := a.account.hier.(*usedStore); ok {
		return u.Hierarchy, nil
	}
	return nil, ErrNotMdbox
}

// ResyncMdbox makes the catalog of a user's mdbox store anew, also where the store cannot be
// opened. Errors wrap ErrNotMdbox, ErrStoreOpen while sessions or deliveries use it, ErrTemporary
// or ErrSettings.
func (r *Registry) ResyncMdbox(ctx context.Context, u *userdb.User, o mdbox.ResyncOptions) (*mdbox.ResyncReport, error) {
	s, err := r.Settings(u, nil)
	if err != nil {
		return nil, err
	}
	defer s.Keys.Password.Clear()
	if !isMdbox(s.MailLocation) {
		return nil, ErrNotMdbox
	}
	dict, err := r.dicts.get(s.AttributeDict, s.Home)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	defer dict.Close()
	location, options, err := r.mdboxOptions(s, dict)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	r.dropIdle(location.Root)
	report, err := mdbox.Resync(ctx, location, options, o)
	if errors.Is(err, index.ErrCatalogBusy) {
		err = fmt.Errorf("%w: %w", ErrStoreOpen, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return report, nil
}

// dropIdle closes a store that is only open because it was used a moment ago.
func (r *Registry) dropIdle(root string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.accounts {
		if a.refs > 0 {
			continue
		}
		if u, ok := a.hier.(*usedStore); ok && u.key.Root == root {
			a.timer.Stop()
			r.drop(a)
		}
	}
}
