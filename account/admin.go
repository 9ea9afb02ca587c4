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

// An Admin is one user's files as administration needs them: keys, folders, and what the
// headers of stored messages say, which takes no secret. It ends with the call that gave it.
type Admin struct {
	Keys     *keys.Keys
	Settings Settings

	account *account
}

// Admin gives fn a user's files. Errors wrap ErrTemporary or ErrSettings.
func (r *Registry) Admin(ctx context.Context, u *userdb.User, fn func(*Admin) error) error {
	s, err := r.Settings(u, nil)
	if err != nil {
		return err
	}
	defer s.Keys.Password.Clear()
	a, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	defer a.release()
	k := a.keysFor(s)
	k.OnUserKey = func(key *dcrypt.PrivateKey, was string, stored bool) {
		if err := a.rings.adopt(key, was, stored); err != nil {
			r.log.Warn("an open session does not take over a new user key: it must log in again", "user", s.User, "err", err)
		}
	}
	return fn(&Admin{Keys: k, Settings: s, account: a})
}

// Changing says that the user's password is about to change, until done is called. Logins
// with the new one do not end the change meanwhile: one with the old one may be under way.
func (a *Admin) Changing() (done func()) {
	a.account.changing.Add(1)
	return sync.OnceFunc(func() { a.account.changing.Add(-1) })
}

// A NamedFolder is a mailbox with what its keys hang under.
type NamedFolder struct {
	Name string
	GUID mailbox.GUID
}

// Separator is the hierarchy separator of names.
func (a *Admin) Separator() byte { return a.account.hier.Separator() }

// Folders returns every mailbox, in no order.
func (a *Admin) Folders(ctx context.Context) ([]NamedFolder, error) {
	list, err := a.account.hier.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: listing the folders of user %s: %w", ErrTemporary, a.Settings.User, err)
	}
	var folders []NamedFolder
	for _, f := range list {
		if !f.Selectable {
			continue
		}
		guid, err := a.account.hier.GUID(ctx, f.Name)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("%w: folder %s of user %s: %w", ErrTemporary, f.Name, a.Settings.User, err)
		}
		folders = append(folders, NamedFolder{f.Name, guid})
	}
	return folders, nil
}

// A StoredHeader is the beginning of a stored message.
type StoredHeader struct {
	Folder NamedFolder
	UID    mailbox.UID
	Header *dcrypt.Header // nil: not encrypted
	// Err says why the header cannot be read. It is a *storage.ReadError; the message
	// will not be read either, or not now where its Kind is storage.IO.
	Err error
}

// A HeaderScan reads the headers of a user's messages, each once. It is not safe for
// concurrent use.
type HeaderScan struct {
	admin   *Admin
	want    func(NamedFolder) bool
	seen    map[mailbox.GUID]scanned
	Folders int // that were looked at
	// Report, where set, is called after each message of a folder.
	Report func(folder string, done, total int)
}

type scanned struct {
	validity uint32
	next     mailbox.UID
}

// Scan begins to read headers, of the folders that want chooses, nil all.
func (a *Admin) Scan(want func(NamedFolder) bool) *HeaderScan {
	return &HeaderScan{admin: a, want: want, seen: map[mailbox.GUID]scanned{}}
}

// Round calls fn for every message that no earlier round has seen, and returns how many
// there were: a message that is moved while a round runs may escape it, and shows in the
// next one as new. When a round finds none, all that there is has been seen.
func (s *HeaderScan) Round(ctx context.Context, fn func(StoredHeader) error) (int, error) {
	folders, err := s.admin.Folders(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range folders {
		if s.want != nil && !s.want(f) {
			continue
		}
		m, err := s.folder(ctx, f, fn)
		n += m
		if errors.Is(err, mailbox.ErrNotFound) {
			continue // deleted or renamed; under its new name the next round finds it
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *HeaderScan) folder(ctx context.Context, f NamedFolder, fn func(StoredHeader) error) (n int, err error) {
	b, err := s.admin.account.hier.Open(ctx, f.Name)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	v, err := b.Sync(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: folder %s of user %s: %w", ErrTemporary, f.Name, s.admin.Settings.User, err)
	}
	f.GUID = b.GUID()
	before, again := s.seen[f.GUID]
	if !again {
		s.Folders++
	}
	if before.validity != v.UIDValidity {
		before = scanned{}
	}
	store := storage.New(b)
	for i, m := range v.All() {
		if m.UID < before.next {
			continue
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		h, err := store.Header(ctx, m.UID)
		var bad *storage.ReadError
		switch {
		case errors.Is(err, mailbox.ErrNotFound):
			continue
		case err != nil && !errors.As(err, &bad):
			return n, err
		}
		n++
		if err := fn(StoredHeader{f, m.UID, h, err}); err != nil {
			return n, err
		}
		if s.Report != nil {
			s.Report(f.Name, i+1, v.Len())
		}
	}
	s.seen[f.GUID] = scanned{v.UIDValidity, v.UIDNext}
	return n, nil
}
