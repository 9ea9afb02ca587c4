package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A memoryBox is one mailbox of a Memory.
type memoryBox struct {
	guid mailbox.GUID

	mu      sync.Mutex
	view    *mailbox.View
	bytes   map[mailbox.UID][]byte
	dates   map[mailbox.UID]dates
	recent  []mailbox.UID
	gone    map[mailbox.UID]mailbox.ModSeq // expunged
	waiting map[*func()]struct{}
	deleted bool
}

type dates struct{ received, saved time.Time }

func newMemoryBox(validity uint32) *memoryBox {
	guid := mailbox.NewGUID()
	return &memoryBox{
		guid:    guid,
		view:    mailbox.NewView(mailbox.View{GUID: guid, UIDValidity: validity, UIDNext: 1, HighestModSeq: 1}, nil),
		bytes:   map[mailbox.UID][]byte{},
		dates:   map[mailbox.UID]dates{},
		gone:    map[mailbox.UID]mailbox.ModSeq{},
		waiting: map[*func()]struct{}{},
	}
}

func errGone(uid mailbox.UID) error {
	return fmt.Errorf("storagetest: uid %d: %w", uid, mailbox.ErrNotFound)
}

func (b *memoryBox) GUID() mailbox.GUID { return b.guid }

func (b *memoryBox) View() *mailbox.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

func (b *memoryBox) Sync(ctx context.Context) (*mailbox.View, error) { return b.View(), ctx.Err() }

func (b *memoryBox) Watch(fn func()) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[&fn] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, &fn)
	}
}

// set shows a new view. b.mu is held.
func (b *memoryBox) set(v *mailbox.View) {
	b.view = v
	for fn := range b.waiting {
		go (*fn)()
	}
}

func (b *memoryBox) ClaimRecent(context.Context) ([]mailbox.UID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	uids := b.recent
	b.recent = nil
	return uids, nil
}

func (b *memoryBox) Stat(_ context.Context, uid mailbox.UID) (mailbox.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stat(uid)
}

func (b *memoryBox) stat(uid mailbox.UID) (mailbox.Message, error) {
	m := b.view.Get(uid)
	if m == nil {
		return mailbox.Message{}, errGone(uid)
	}
	s := *m
	s.Received, s.Saved = b.dates[uid].received, b.dates[uid].saved
	return s, nil
}

func (b *memoryBox) Open(_ context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, err := b.stat(uid)
	if err != nil {
		return nil, err
	}
	return &memoryStored{bytes.NewReader(b.bytes[uid]), m}, nil
}

type memoryStored struct {
	*bytes.Reader
	m mailbox.Message
}

func (s *memoryStored) Message() mailbox.Message { return s.m }
func (s *memoryStored) Close() error             { return nil }

func (b *memoryBox) RecordSizes(_ context.Context, uid mailbox.UID, s mailbox.Sizes) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.view.Get(uid)
	if m == nil {
		return errGone(uid)
	}
	n := *m
	n.Sizes = s
	b.view = b.view.Replace(&n) // no change that a session would announce
	return nil
}

func (b *memoryBox) SetFlags(_ context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var changed []*mailbox.Message
	modseq := b.view.HighestModSeq + 1
	for _, uid := range sorted(uids) {
		m := b.view.Get(uid)
		if m == nil {
			continue
		}
		if change.Refused(m) {
			modified = append(modified, uid)
			continue
		}
		if flags := change.Apply(m.Flags); !flags.Equal(m.Flags) {
			n := *m
			n.Flags, n.ModSeq = flags, modseq
			changed = append(changed, &n)
		}
	}
	if len(changed) > 0 {
		b.set(b.view.Replace(changed...))
	}
	return modified, nil
}

func (b *memoryBox) Expunge(_ context.Context, uids []mailbox.UID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.view.Len()
	v := b.view.Remove(b.view.HighestModSeq+1, sorted(uids)...)
	if v.Len() == before {
		return nil
	}
	for _, uid := range uids {
		if b.view.Get(uid) != nil {
			b.gone[uid] = v.HighestModSeq
		}
		delete(b.bytes, uid)
		delete(b.dates, uid)
	}
	b.recent = slices.DeleteFunc(b.recent, func(uid mailbox.UID) bool { return slices.Contains(uids, uid) })
	b.set(v)
	return nil
}

// Expunged implements storage.Backend: everything is known for ever.
func (b *memoryBox) Expunged(_ context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for uid, modseq := range b.gone {
		if modseq > since {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return uids, true, nil
}

// SyncModSeqs implements storage.Backend; memory is as durable as it gets.
func (b *memoryBox) SyncModSeqs(ctx context.Context) error { return ctx.Err() }

func sorted(uids []mailbox.UID) []mailbox.UID {
	s := slices.Clone(uids)
	slices.Sort(s)
	return slices.Compact(s)
}

func (b *memoryBox) Close() error { return nil }

// delete makes open Backends of a deleted mailbox empty and closed for new mail.
func (b *memoryBox) delete() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted = true
	clear(b.bytes)
	b.set(mailbox.NewView(*b.view, nil))
}

func (b *memoryBox) Create(ctx context.Context, info mailbox.SaveInfo) (mailbox.Pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deleted {
		return nil, fmt.Errorf("storagetest: %w", mailbox.ErrNotFound)
	}
	return &memoryPending{box: b, info: info}, ctx.Err()
}

// Link implements storage.Linker: the bytes are shared.
func (b *memoryBox) Link(ctx context.Context, from storage.Backend, uid mailbox.UID, info mailbox.SaveInfo) (mailbox.UID, error) {
	source, ok := from.(*memoryBox)
	if !ok {
		return 0, fmt.Errorf("storagetest: linking: %w", errors.ErrUnsupported)
	}
	source.mu.Lock()
	m, text := source.view.Get(uid), source.bytes[uid]
	source.mu.Unlock()
	if m == nil {
		return 0, errGone(uid)
	}
	return (&memoryPending{box: b, info: info, data: text}).Commit(m.Sizes)
}

type memoryPending struct {
	box  *memoryBox
	info mailbox.SaveInfo
	data []byte
	done bool
}

func (p *memoryPending) Write(b []byte) (int, error) {
	if p.done {
		return 0, errors.New("storagetest: write after the end")
	}
	p.data = append(p.data, b...)
	return len(b), nil
}

func (p *memoryPending) Abort() error { p.done = true; return nil }

func (p *memoryPending) Commit(s mailbox.Sizes) (mailbox.UID, error) {
	uids, err := p.box.CommitAll(context.Background(), []mailbox.Pending{p}, []mailbox.Sizes{s})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

// CommitAll implements storage.GroupCommitter: there is one new view.
func (b *memoryBox) CommitAll(_ context.Context, messages []mailbox.Pending, sizes []mailbox.Sizes) (uids []mailbox.UID, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := b.deleted
	for _, p := range messages {
		ended = ended || p.(*memoryPending).done
		p.(*memoryPending).done = true
	}
	switch {
	case b.deleted:
		return nil, fmt.Errorf("storagetest: %w", mailbox.ErrNotFound)
	case ended:
		return nil, errors.New("storagetest: commit after the end")
	case len(messages) == 0:
		return nil, nil
	}
	view := b.view
	for i, p := range messages {
		view = b.add(view, p.(*memoryPending), sizes[i])
		uids = append(uids, view.UIDNext-1)
	}
	b.set(view)
	return uids, nil
}

// add puts a message into a view that is to be shown. b.mu is held.
func (b *memoryBox) add(view *mailbox.View, p *memoryPending, s mailbox.Sizes) *mailbox.View {
	uid := view.UIDNext
	now := time.Now()
	received := p.info.Received
	if received.IsZero() {
		received = now
	}
	guid := p.info.GUID
	if guid == "" {
		guid = mailbox.NewGUID().String()
	}
	s.Stored = int64(len(p.data))
	b.bytes[uid] = p.data
	b.dates[uid] = dates{received, now}
	b.recent = append(b.recent, uid)
	flags := mailbox.FlagChange{Op: mailbox.AddFlags, Flags: p.info.Flags}.Apply(mailbox.Flags{})
	return view.Replace(&mailbox.Message{UID: uid, Flags: flags, Sizes: s, ModSeq: b.view.HighestModSeq + 1, GUID: guid})
}

var (
	_ storage.Hierarchy = (*Memory)(nil)
	_ storage.Backend   = (*memoryBox)(nil)
	_ storage.Linker    = (*memoryBox)(nil)

	_ storage.GroupCommitter = (*memoryBox)(nil)
)
