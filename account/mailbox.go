package account

import (
	"context"
	"fmt"
	"sync"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
	"mailcrypt/storage"
)

// A Mailbox is one session's use of one mailbox. Its methods may be called concurrently.
// Close it before its Login.
type Mailbox struct {
	login    *Login
	name     string
	readOnly bool
	backend  storage.Backend
	store    *storage.Store

	mu     sync.Mutex
	cache  *sealedcache.Cache  // nil where none is kept
	sealed *sealedcache.Opener // nil before the first use
}

// Open opens a mailbox; INBOX is made if missing. The error wraps mailbox.ErrNotFound where
// there is none.
func (l *Login) Open(ctx context.Context, name string, readOnly bool) (*Mailbox, error) {
	b, err := l.account.hier.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Mailbox{login: l, name: name, readOnly: readOnly, backend: b, store: storage.New(b), cache: l.account.caches.get(b.GUID(), l.set.SealedCache)}, nil
}

// Name is the name that the mailbox was opened by.
func (m *Mailbox) Name() string { return m.name }

// GUID is the mailbox's GUID.
func (m *Mailbox) GUID() mailbox.GUID { return m.backend.GUID() }

// ReadOnly reports whether changes are refused.
func (m *Mailbox) ReadOnly() bool { return m.readOnly }

// View is the mailbox as last looked at; it does no I/O.
func (m *Mailbox) View() *mailbox.View { return m.backend.View() }

// Sync looks for what others changed and returns the newest view.
func (m *Mailbox) Sync(ctx context.Context) (*mailbox.View, error) { return m.backend.Sync(ctx) }

// Watch calls fn after each change, those of other programs included, until stop is called.
// fn must not block.
func (m *Mailbox) Watch(fn func()) (stop func()) { return m.backend.Watch(fn) }

// ClaimRecent takes \Recent away from all messages and returns their UIDs.
func (m *Mailbox) ClaimRecent(ctx context.Context) ([]mailbox.UID, error) {
	if m.readOnly {
		return nil, nil
	}
	return m.backend.ClaimRecent(ctx)
}

// Stat returns a message with its dates looked up.
func (m *Mailbox) Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error) {
	return m.backend.Stat(ctx, uid)
}

// Read opens a message with the keys of the login. The error is a *storage.ReadError where
// the message is there but cannot be read.
func (m *Mailbox) Read(ctx context.Context, uid mailbox.UID) (*storage.Message, error) {
	return m.store.Open(ctx, uid, m.keyFinder())
}

// keyFinder is what opens messages for the login.
func (m *Mailbox) keyFinder() dcrypt.KeyFinder {
	if o := m.opener(); o != nil {
		return sealedReader{m.login.ring.ring, o}
	}
	return m.login.ring.ring
}

// opener is the login's use of the sealed cache; nil where none is kept.
func (m *Mailbox) opener() *sealedcache.Opener {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sealed == nil && m.cache != nil {
		m.sealed = m.cache.Opener(m.login.ring.ring, m.backend.View().UIDValidity)
	}
	return m.sealed
}

// Recall appends what was learned of a message to dst; ok is false where nothing is known, or the
// login's keys do not open it.
func (m *Mailbox) Recall(dst []byte, f sealedcache.Field, uid mailbox.UID) (_ []byte, ok bool) {
	if o := m.opener(); o != nil {
		return o.Get(dst, f, uid)
	}
	return dst, false
}

// Learn keeps what reading a message has told, for Recall: sealed to the key that opens the
// message. What is not encrypted, or could not be verified, is not kept.
func (m *Mailbox) Learn(msg *storage.Message, f sealedcache.Field, value []byte) {
	form := msg.Form()
	if form.Header == nil || !form.Verified {
		return
	}
	if o := m.opener(); o != nil {
		o.Put(f, msg.UID(), form.Header.Recipients[0].ID, value)
	}
}

// SizeOf returns RFC822.SIZE. It reads the message only where no size was recorded.
func (m *Mailbox) SizeOf(ctx context.Context, uid mailbox.UID) (int64, error) {
	if msg := m.backend.View().Get(uid); msg != nil && msg.Sizes.Virtual != mailbox.Unknown {
		return msg.Sizes.Virtual, nil
	}
	msg, err := m.Read(ctx, uid)
	if err != nil {
		return 0, err
	}
	defer msg.Close()
	return msg.Size(), nil
}

// Append begins a message, encrypted as the user's settings say. The caller commits or
// aborts it. Where encryption is wanted and no key of the user's is to be had, the error
// says so and nothing is stored. Where the quota is exceeded by what info announces, or
// when the appender commits, the error is a *quota.Error.
func (m *Mailbox) Append(ctx context.Context, info mailbox.SaveInfo) (*storage.Appender, error) {
	o := m.login.set.Store
	o.MaxSize = m.login.set.AppendLimit
	if o.MaxSize > 0 && info.Announced > o.MaxSize {
		return nil, fmt.Errorf("account: more than %d bytes: %w", o.MaxSize, mailbox.ErrTooLarge)
	}
	o, err := m.login.purse().options(ctx, m.name, info, o)
	if err != nil {
		return nil, err
	}
	return m.save(ctx, info, o)
}

// CommitAll shows messages that Append has begun, all or none, and returns their UIDs,
// which ascend. After an error nothing is left of any; it is a *quota.Error where all of
// them together are too much.
func (m *Mailbox) CommitAll(ctx context.Context, messages []*storage.Appender) ([]mailbox.UID, error) {
	return m.store.CommitAll(ctx, messages)
}

// save begins a message.
func (m *Mailbox) save(ctx context.Context, info mailbox.SaveInfo, o storage.Options) (*storage.Appender, error) {
	if m.readOnly {
		return nil, mailbox.ErrReadOnly
	}
	to, err := m.publicKey(ctx)
	if err != nil {
		return nil, err
	}
	remember(m.cache, to, &o)
	return m.store.Append(ctx, info, to, o)
}

// publicKey is the key that this login's messages for the mailbox are encrypted to, nil
// where they are not. The login has looked whether it is the user's.
func (m *Mailbox) publicKey(ctx context.Context) (*dcrypt.PublicKey, error) {
	l := m.login
	if l.set.Store.Version == 0 {
		return nil, nil
	}
	if l.set.SaveErr != nil {
		return nil, l.set.SaveErr
	}
	to, err := l.keys.SaveKey(ctx, l.ring.ring, m.backend.GUID())
	if err != nil {
		return nil, fmt.Errorf("account: finding the key of mailbox %s: %w", m.backend.GUID(), err)
	}
	return to, nil
}

// SetFlags changes flags, and returns the messages that change.UnchangedSince kept from it.
func (m *Mailbox) SetFlags(ctx context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error) {
	if m.readOnly {
		return nil, mailbox.ErrReadOnly
	}
	return m.backend.SetFlags(ctx, uids, change)
}

// Expunge removes messages.
func (m *Mailbox) Expunge(ctx context.Context, uids []mailbox.UID) error {
	if m.readOnly {
		return mailbox.ErrReadOnly
	}
	return m.backend.Expunge(ctx, uids)
}

// Expunged returns the UIDs of messages that were expunged with a modseq above since;
// complete is false where that is not known any more.
func (m *Mailbox) Expunged(ctx context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error) {
	return m.backend.Expunged(ctx, since)
}

// SyncModSeqs makes durable what the modseqs of the View say, before a client is told one.
func (m *Mailbox) SyncModSeqs(ctx context.Context) error { return m.backend.SyncModSeqs(ctx) }

// Close ends the session's use of the mailbox. The account keeps it open for a while.
func (m *Mailbox) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sealed != nil {
		m.sealed.Close()
	}
	if m.cache != nil {
		m.login.account.caches.put(m.backend.GUID())
		m.cache = nil
	}
	return m.login.account.kept.put(m.backend)
}
