package account

import (
	"context"
	"fmt"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// An AdminMailbox is a mailbox as administration reads it: no flag changes by that, \Recent
// included. It is not safe for concurrent use. Close it before the Admin ends.
type AdminMailbox struct {
	name    string
	backend storage.Backend
	store   *storage.Store
	view    *mailbox.View
}

// Mailbox opens a mailbox and looks for what others have changed in it. The error wraps
// mailbox.ErrNotFound, mailbox.ErrNotSelectable or mailbox.ErrName where there is none of that
// name, and ErrTemporary where it cannot be read.
func (a *Admin) Mailbox(ctx context.Context, name string) (*AdminMailbox, error) {
	name = mailbox.CanonicalName(name, a.Separator())
	b, err := a.account.hier.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("account: opening mailbox %q of user %s: %w", name, a.Settings.User, err)
	}
	v, err := b.Sync(ctx)
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("%w: mailbox %q of user %s: %w", ErrTemporary, name, a.Settings.User, err)
	}
	return &AdminMailbox{name, b, storage.New(b), v}, nil
}

// Name is the name of the mailbox, INBOX in capitals.
func (m *AdminMailbox) Name() string { return m.name }

// View is the mailbox as it was opened.
func (m *AdminMailbox) View() *mailbox.View { return m.view }

// Stat returns a message with its dates looked up. The error wraps mailbox.ErrNotFound where
// it is gone.
func (m *AdminMailbox) Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error) {
	return m.backend.Stat(ctx, uid)
}

// Header reads how a message is encrypted, which takes no key; nil where it is not. Errors are
// those of storage.Store.Header.
func (m *AdminMailbox) Header(ctx context.Context, uid mailbox.UID) (*dcrypt.Header, error) {
	return m.store.Header(ctx, uid)
}

// Read opens a message with keys, and verifies it before anything is given out. Errors are
// those of storage.Store.Open; the caller closes the message.
func (m *AdminMailbox) Read(ctx context.Context, uid mailbox.UID, keys dcrypt.KeyFinder) (*storage.Message, error) {
	return m.store.Open(ctx, uid, keys)
}

// Close ends the use of the mailbox.
func (m *AdminMailbox) Close() error { return m.backend.Close() }
