package admin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A fetcher gives out one message.
type fetcher struct {
	*job
	l      *Local
	r      FetchRequest
	box    *account.AdminMailbox
	result FetchResult
}

// Fetch implements Service.
func (l *Local) Fetch(ctx context.Context, r FetchRequest, w io.Writer) (FetchResult, error) {
	switch r.Part {
	case "", PartText, PartHeader, PartBody, PartVerify, PartNone:
	default:
		return FetchResult{}, fmt.Errorf("%w: there is no part %q: it is %s, %s, %s, %s or %s", ErrUsage, r.Part,
			PartText, PartHeader, PartBody, PartVerify, PartNone)
	}
	f := &fetcher{l: l, r: r}
	err := l.on(ctx, r.User, false, func(j *job) (err error) {
		f.job = j
		if f.box, err = j.Mailbox(ctx, r.Mailbox); err != nil {
			if noMailbox(err) {
				return fmt.Errorf("%w: %q", ErrNoMailbox, r.Mailbox)
			}
			return err
		}
		defer f.box.Close()
		return f.run(ctx, w)
	})
	return f.result, err
}

func noMailbox(err error) bool {
	for _, kind := range []error{mailbox.ErrNotFound, mailbox.ErrNotSelectable, mailbox.ErrName, mailbox.ErrLimit} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// run finds the message, opens it and gives it out.
func (f *fetcher) run(ctx context.Context, w io.Writer) error {
	if err := f.describe(ctx); err != nil {
		return err
	}
	uid := mailbox.UID(f.r.UID)
	header, err := f.box.Header(ctx, uid)
	if err != nil {
		if err = f.unreadable(err); f.r.Part == PartNone && ctx.Err() == nil {
			f.result.Problem, err = err.Error(), nil
		}
		return err
	}
	f.encryption(header)
	if f.r.Part == PartNone {
		return nil
	}
	finder, done, err := f.keys(ctx, header)
	if err != nil {
		return err
	}
	defer done()
	m, err := f.open(ctx, finder)
	if err != nil {
		return err
	}
	defer m.Close()
	sizes := m.Sizes()
	f.result.Physical, f.result.Virtual, f.result.Stored = &sizes.Physical, &sizes.Virtual, sizes.Stored
	f.result.Compression, f.result.Verified = string(m.Form().Compression), m.Form().Verified
	if f.r.Part == PartVerify {
		return nil
	}
	return f.giveOut(ctx, m, w)
}

// describe fills in what needs no key.
func (f *fetcher) describe(ctx context.Context) error {
	v, uid := f.box.View(), mailbox.UID(f.r.UID)
	f.result = FetchResult{User: f.user.Name, Mailbox: f.box.Name(), MailboxGUID: v.GUID.String(), UIDValidity: v.UIDValidity, UID: f.r.UID}
	i, there := v.Find(uid)
	if !there {
		return f.unreadable(mailbox.ErrNotFound)
	}
	m, err := f.box.Stat(ctx, uid)
	if err != nil {
		return f.unreadable(err)
	}
	m.Flags.System &^= mailbox.Recent
	f.result.Seq, f.result.GUID, f.result.Flags = i+1, m.GUID, m.Flags.Names()
	f.result.Received, f.result.Saved, f.result.Stored = m.Received.UTC(), m.Saved.UTC(), m.Sizes.Stored
	if m.Sizes.Physical != mailbox.Unknown {
		f.result.Physical = &m.Sizes.Physical
	}
	if m.Sizes.Virtual != mailbox.Unknown {
		f.result.Virtual = &m.Sizes.Virtual
	}
	return nil
}

func (f *fetcher) encryption(h *dcrypt.Header) {
	if h == nil {
		return
	}
	e := &Encryption{Version: h.Version, Cipher: h.Cipher, Digest: h.Digest, Keys: []string{}}
	for _, r := range h.Recipients {
		e.Keys = append(e.Keys, r.ID.String())
	}
	f.result.Encryption = e
}

// keys opens the user's keys, where the message needs any.
func (f *fetcher) keys(ctx context.Context, h *dcrypt.Header) (_ *keys.Finder, done func(), err error) {
	if h == nil {
		return nil, func() {}, nil
	}
	secrets, clear, err := f.l.secrets(f.job, f.r.Secrets)
	if err != nil {
		return nil, nil, err
	}
	inv, err := f.Keys.Inventory(ctx)
	if err != nil {
		clear()
		return nil, nil, err
	}
	o, err := f.Keys.Open(ctx, inv, secrets)
	if err != nil {
		clear()
		return nil, nil, err
	}
	finder := o.Finder(inv)
	return finder, func() {
		finder.Close()
		o.Close()
		clear()
	}, nil
}

// open opens the message, which reads it through and checks its tag.
func (f *fetcher) open(ctx context.Context, finder *keys.Finder) (*storage.Message, error) {
	var found dcrypt.KeyFinder
	if finder != nil {
		found = finder
	}
	m, err := f.box.Read(ctx, mailbox.UID(f.r.UID), found)
	var bad *storage.ReadError
	if finder == nil || !errors.As(err, &bad) || bad.Kind != storage.NoKey {
		return m, f.unreadable(err)
	}
	switch why := finder.Err(); {
	case errors.Is(why, keys.ErrLocked) && len(f.r.Secrets) == 0:
		return nil, fmt.Errorf("%w: the message is encrypted, and its key is locked", ErrNeedPassword)
	case errors.Is(why, keys.ErrLocked):
		return nil, fmt.Errorf("%w: it does not open the key of the message", ErrPassword)
	case why != nil:
		return nil, fmt.Errorf("%w: of the message: %w", ErrNoKey, why)
	}
	return nil, fmt.Errorf("%w: of the message: %w", ErrNoKey, bad.Err)
}

// unreadable gives an error of reading the message its kind.
func (f *fetcher) unreadable(err error) error {
	var bad *storage.ReadError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mailbox.ErrNotFound):
		return fmt.Errorf("%w: UID %d in %q", ErrNoMessage, f.r.UID, f.box.Name())
	case errors.As(err, &bad) && bad.Kind != storage.IO:
		return fmt.Errorf("%w: UID %d in %q: %s", ErrUnreadable, f.r.UID, f.box.Name(), bad.Reason())
	}
	return err
}
