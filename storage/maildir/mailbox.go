package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A Mailbox is one user's hold on an open mailbox. All who have the same mailbox of a
// Hierarchy open share what is known of it. All methods may be called concurrently.
type Mailbox struct {
	b    *box
	once sync.Once
}

var (
	_ storage.Backend = (*Mailbox)(nil)
	_ storage.Linker  = (*Mailbox)(nil)

	_ storage.GroupCommitter = (*Mailbox)(nil)
	_ storage.Finisher       = (*pending)(nil)
)

// GUID returns the mailbox's GUID.
func (m *Mailbox) GUID() mailbox.GUID {
	m.b.mu.RLock()
	defer m.b.mu.RUnlock()
	return m.b.head.guid
}

// View is the mailbox as last looked at. If nobody has looked since it was opened, View
// does, and shows an empty mailbox if that fails.
func (m *Mailbox) View() *mailbox.View {
	b := m.b
	b.mu.RLock()
	v, ready := b.view, b.loaded && !b.fresh
	b.mu.RUnlock()
	if ready {
		return v
	}
	synced, err := b.sync(context.Background(), false)
	if err != nil {
		b.h.log.Warn("maildir: first look", "mailbox", b.f().key, "error", err)
		return v
	}
	return synced
}

// Sync looks for what other programs changed, gives UIDs to new messages, and returns the
// newest View. The uidlist's lock is taken only if there is something to write.
func (m *Mailbox) Sync(ctx context.Context) (*mailbox.View, error) { return m.b.sync(ctx, false) }

// Stat returns a message with its dates and stored size looked up.
func (m *Mailbox) Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error) {
	var st unix.Stat_t
	var msg mailbox.Message
	err := m.b.withFile(ctx, uid, func(path string) error {
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return &os.PathError{Op: "lstat", Path: path, Err: errors.New("not a regular file")}
		}
		return nil
	})
	if err != nil {
		return msg, err
	}
	return m.b.message(uid, &st)
}

// Open opens a message for reading.
func (m *Mailbox) Open(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	s := &stored{}
	var st *unix.Stat_t
	err := m.b.withFile(ctx, uid, func(path string) (err error) {
		s.File, st, err = openRegular(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if s.msg, err = m.b.message(uid, st); err != nil {
		return nil, errors.Join(err, s.File.Close())
	}
	return s, nil
}

// stored is an open message.
type stored struct {
	*os.File
	msg mailbox.Message
}

func (s *stored) Size() int64              { return s.msg.Sizes.Stored }
func (s *stored) Message() mailbox.Message { return s.msg }

// withFile calls fn with the path of a message until it is there: other programs rename
// messages at any time.
func (b *box) withFile(ctx context.Context, uid mailbox.UID, fn func(path string) error) error {
	b.mu.RLock()
	ready := b.loaded && !b.fresh
	b.mu.RUnlock()
	if !ready {
		if _, err := b.sync(ctx, false); err != nil {
			return err
		}
	}
	for range maxRounds {
		b.mu.RLock()
		e := b.find(uid)
		var path string
		if e != nil && e.present && e.msg != nil {
			path = b.path(e)
		}
		b.mu.RUnlock()
		if path == "" {
			break
		}
		err := fn(path)
		if !errors.Is(err, os.ErrNotExist) {
			return b.wrap(fmt.Sprintf("reading UID %d of", uid), err)
		}
		if _, err := b.sync(ctx, true); err != nil {
			return err
		}
	}
	return b.wrap(fmt.Sprintf("reading UID %d of", uid), mailbox.ErrNotFound)
}

// message completes a message of the view with what its file tells.
func (b *box) message(uid mailbox.UID, st *unix.Stat_t) (mailbox.Message, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	e := b.find(uid)
	if e == nil || e.msg == nil {
		return mailbox.Message{}, b.wrap(fmt.Sprintf("reading UID %d of", uid), mailbox.ErrNotFound)
	}
	msg := *e.msg
	msg.Sizes.Stored = st.Size
	msg.Received = time.Unix(st.Mtim.Unix())
	msg.Saved = time.Unix(st.Ctim.Unix())
	if e.saved != 0 {
		msg.Saved = time.Unix(0, e.saved)
	}
	return msg, nil
}

// RecordSizes notes the plaintext sizes of a message that was read and verified.
func (m *Mailbox) RecordSizes(ctx context.Context, uid mailbox.UID, s mailbox.Sizes) error {
	b := m.b
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	b.mu.Lock()
	e := b.find(uid)
	if e == nil || e.msg == nil {
		b.mu.Unlock()
		return b.wrap(fmt.Sprintf("recording sizes of UID %d of", uid), mailbox.ErrNotFound)
	}
	known := e.sizes()
	if s.Physical < 0 {
		s.Physical = known.Physical
	}
	if s.Virtual < 0 {
		s.Virtual = known.Virtual
	}
	if s.Physical == known.Physical && s.Virtual == known.Virtual {
		b.mu.Unlock()
		return nil
	}
	e.physical, e.virtual = s.Physical, s.Virtual
	b.touch(e)
	b.idx.Put(b.head.validity, b.view.UIDNext, []index.Record{e.record(e.msg)}, nil)
	b.mu.Unlock()
	b.publish()
	return nil
}

// Close releases the mailbox.
func (m *Mailbox) Close() (err error) {
	m.once.Do(func() { err = m.b.h.release(m.b) })
	return err
}
