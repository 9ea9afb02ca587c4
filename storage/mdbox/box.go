package mdbox

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// A box is the state of one mailbox that all who have it open share. op is held by whoever
// changes the mailbox, from before the catalog is asked until the view shows the change: so
// modseqs and UIDs show in the order in which they were given. mu guards what readers look
// at meanwhile.
type box struct {
	h        *Hierarchy
	at       atomic.Pointer[folder] // see f
	guid     mailbox.GUID
	validity uint32
	refs     int // guarded by h.mu

	op     chan struct{} // a semaphore of one, so that waiting can end with a context
	recent mailbox.UID   // messages from here on are recent; guarded by op, known once loaded

	mu       sync.RWMutex  // taken after op
	view     *mailbox.View // nil: nobody has looked
	gone     bool          // deleted
	closed   bool
	watching watchers
}

func newBox(h *Hierarchy, f folder, id index.Identity) *box {
	b := &box{h: h, guid: id.GUID, validity: id.UIDValidity, op: make(chan struct{}, 1)}
	b.at.Store(&f)
	return b
}

// f is where the mailbox is; a rename changes it.
func (b *box) f() *folder { return b.at.Load() }

// lock takes op of a mailbox that is there.
func (b *box) lock(ctx context.Context) error {
	select {
	case b.op <- struct{}{}:
	case <-ctx.Done():
		return b.wrap("waiting for", ctx.Err())
	}
	if err := b.usable(); err != nil {
		b.unlock()
		return err
	}
	return nil
}

func (b *box) unlock() { <-b.op }

// usable reports why the mailbox cannot be used any more.
func (b *box) usable() error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case b.gone:
		return b.wrap("opening", mailbox.ErrNotFound)
	case b.closed:
		return b.wrap("using", os.ErrClosed)
	}
	return nil
}

func (b *box) isGone() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.gone
}

func (b *box) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mdbox: %s %s: %w", doing, b.f().key, err)
}

// loaded is the view, nil where nobody has looked yet.
func (b *box) loaded() *mailbox.View {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.view
}

// look returns the view, which the first one loads.
func (b *box) look(ctx context.Context) (*mailbox.View, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if v := b.loaded(); v != nil {
		return v, ctx.Err()
	}
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	return b.load()
}

// load reads the mailbox from the catalog, once. op is held.
func (b *box) load() (*mailbox.View, error) {
	if v := b.loaded(); v != nil {
		return v, nil
	}
	var msgs []*mailbox.Message
	sets := map[string][]string{} // each set of keywords once, for memory
	m, err := b.h.catalog.Load(b.guid, func(c index.CatalogMessage, r index.MapRecord) error {
		msg := message(c, r)
		if k := msg.Flags.Keywords; len(k) > 0 {
			id := strings.Join(k, "\x00")
			if sets[id] == nil {
				sets[id] = k
			}
			msg.Flags.Keywords = sets[id]
		}
		msgs = append(msgs, msg)
		return nil
	})
	if err != nil {
		return nil, b.wrap("loading", err)
	}
	for _, msg := range slices.Backward(msgs) {
		if msg.UID < m.FirstRecent {
			break
		}
		msg.Flags.System |= mailbox.Recent
	}
	view := mailbox.NewView(mailbox.View{GUID: b.guid, UIDValidity: m.UIDValidity, UIDNext: m.UIDNext,
		HighestModSeq: m.HighestModSeq}, msgs)
	b.mu.Lock()
	b.recent, b.view = m.FirstRecent, view
	b.mu.Unlock()
	return view, nil
}

// message is a message as a view shows it, but for \Recent.
func message(c index.CatalogMessage, r index.MapRecord) *mailbox.Message {
	flags := c.Flags
	flags.System &^= mailbox.Recent
	return &mailbox.Message{UID: c.UID, Flags: flags, ModSeq: c.ModSeq, GUID: r.GUID,
		Sizes: mailbox.Sizes{Physical: c.Physical, Virtual: c.Virtual, Stored: r.Stored}}
}

// show publishes a new view. op is held.
func (b *box) show(v *mailbox.View) {
	b.mu.Lock()
	b.view = v
	b.mu.Unlock()
}

// add shows messages that the catalog has taken, and tells those who watch. op is held.
func (b *box) add(msgs []*mailbox.Message) {
	if v := b.loaded(); v != nil {
		for _, m := range msgs {
			m.Flags.System |= mailbox.Recent
		}
		b.show(v.Replace(msgs...))
	}
	b.watching.wake()
}

// bury ends a deleted mailbox for those who have it open. op is held.
func (b *box) bury() {
	b.h.mu.Lock()
	if b.h.boxes[b.f().key] == b {
		delete(b.h.boxes, b.f().key)
	}
	b.h.mu.Unlock()
	b.mu.Lock()
	b.gone = true
	b.mu.Unlock()
	b.watching.wake()
}

// close ends the box with its Hierarchy.
func (b *box) close() {
	b.op <- struct{}{}
	defer b.unlock()
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}
