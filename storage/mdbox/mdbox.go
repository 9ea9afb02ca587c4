// Package mdbox stores mail in Dovecot's multi-dbox form: many messages in one file. It moves
// stored bytes: whether they are compressed or encrypted it neither knows nor looks at.
//
//	<root>/storage/m.N                      messages (package mfile)
//	<root>/storage/mailcryptd.mdbox.db      the catalog (index.Catalog); with INDEX= in its storage
//	<root>/mailboxes/A/B/dbox-Mails         an empty directory for the mailbox A/B
//	<root>/subscriptions, dovecot-uidvalidity*   with CONTROL= there
//	<alt>/storage/m.N                       messages that were moved to slower disks
//
// The files m.N are Dovecot's, byte for byte. Where each message lies, in which mailboxes
// it is and with which flags Dovecot keeps in its own index files, and this package in its
// catalog, which is the truth: nothing is shown or acknowledged that is not in it. One process
// has a store open at a time, so the views in its memory are the truth of the moment, and
// nobody else changes anything. The directories of mailboxes follow the catalog; they are
// there for a rebuild, and for people.
//
// # Saving
//
// Messages that are committed at the same time, in any mailboxes, are appended to the same
// file, synced once, and entered into the catalog in one transaction; then views show them. A
// mailbox that nobody reads is not loaded for that. Where the transaction fails the bytes
// are taken back. A crash before it leaves bytes that no catalog knows: they stay, nothing
// is appended behind them, and a rebuild takes them for messages.
//
// A copy is a further reference to the same bytes: the message keeps its GUID and its
// received date, as in Dovecot. What is expunged stays in its file until that is purged.
//
// # Identities
//
// A mailbox's keys hang on its GUID. So names, GUIDs and UIDVALIDITYs are kept a second time
// where the keys are ([Identities]), written before the catalog: who loses the catalog loses
// no key.
//
// # Modseqs
//
// Messages that are saved and expunged are durable with their modseqs. Changes of flags are
// written 200 ms later at most, together; [Mailbox.SyncModSeqs] has that done before a modseq
// is told. After a crash only what nobody was told is forgotten, and the log of expunges has
// no gaps.
package mdbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/control"
	"mailcrypt/storage/mdbox/mfile"
)

// Options are settings of a Hierarchy. The zero value works.
type Options struct {
	// Separator joins the levels of the names that callers use; 0 means '/'.
	Separator byte
	// Host is the host name in file names and locks; "" means os.Hostname.
	Host string
	// LockWait is how long to wait for another program's lock of the subscriptions; 0 means
	// 120 s.
	LockWait time.Duration
	// RotateSize, RotateInterval and Preallocate are as in mfile.Options.
	RotateSize     int64
	RotateInterval time.Duration
	Preallocate    bool
	// Identities keeps names and GUIDs of mailboxes beside the keys; nil keeps them in the
	// catalog alone.
	Identities Identities
	// Logger is told what was repaired or left out; nil is silent.
	Logger *slog.Logger
	// Faults is for tests.
	Faults *durable.Faults
}

// A Hierarchy is one user's mdbox store.
type Hierarchy struct {
	loc        Location
	sep        byte
	log        *slog.Logger
	faults     *durable.Faults
	tree       durable.Tree
	control    control.Dir
	identities Identities
	files      *mfile.Dir
	catalog    *index.Catalog
	lastFile   atomic.Uint32 // the highest id of a file that was given

	folders sync.RWMutex // held for writing while names change
	mu      sync.Mutex
	boxes   map[string]*box // those that are open, by storage name
	warned  map[string]bool // storage names that were logged
	closed  bool

	commits  commitQueue
	moving   sync.Mutex // held while messages are moved between files
	watching watchers
}

var _ storage.Hierarchy = (*Hierarchy)(nil)

// Open opens the store of a location, and makes it where there is none. The error wraps
// ErrDovecot or ErrNoCatalog where mail is there that this package must not touch as it is,
// and index.ErrCatalogBusy or ErrCatalogDamaged. The caller closes the Hierarchy after all its
// mailboxes.
func Open(ctx context.Context, l Location, o Options) (*Hierarchy, error) {
	h, err := prepare(l, o)
	if err != nil {
		return nil, err
	}
	if err := h.openCatalog(ctx); err != nil {
		return nil, fmt.Errorf("mdbox: opening %s: %w", l.Root, err)
	}
	if err := h.begin(ctx); err != nil {
		return nil, fmt.Errorf("mdbox: opening %s: %w", l.Root, errors.Join(err, h.catalog.Close()))
	}
	return h, nil
}

// prepare is Open without the catalog.
func prepare(l Location, o Options) (_ *Hierarchy, err error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if o.Host == "" {
		if o.Host, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("mdbox: opening %s: %w", l.Root, err)
		}
	}
	if o.LockWait == 0 {
		o.LockWait = 120 * time.Second // Dovecot: subscription-file.c
	}
	if o.Separator == 0 {
		o.Separator = '/'
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hierarchy{loc: l, sep: o.Separator, log: o.Logger, faults: o.Faults, identities: o.Identities,
		boxes: map[string]*box{}, warned: map[string]bool{}}
	h.tree = durable.Tree{Roots: l.roots(), Faults: o.Faults}
	h.control = control.Dir{Path: l.Root, Subscriptions: l.Subscriptions, Separator: '/',
		Host: o.Host, LockWait: o.LockWait, Tree: h.tree, Logger: o.Logger}
	if l.Control != "" {
		h.control.Path = l.Control
	}
	h.files, err = mfile.Open(mfile.Options{Root: l.Root, Alt: l.Alt, RotateSize: o.RotateSize,
		RotateInterval: o.RotateInterval, Preallocate: o.Preallocate, Host: o.Host, Faults: o.Faults})
	if err != nil {
		return nil, fmt.Errorf("mdbox: opening %s: %w", l.Root, err)
	}
	return h, nil
}

// IndexDir is the directory of the catalog. Files of caches may lie there, under names that begin
// with "mailcryptd.".
func (h *Hierarchy) IndexDir() string { return h.loc.indexDir() }

// Separator joins the levels of names.
func (h *Hierarchy) Separator() byte { return h.sep }

// Open opens a mailbox. INBOX is made if missing. What is in it is not loaded before a method
// of the Backend needs it, so that opening for a delivery is cheap.
func (h *Hierarchy) Open(ctx context.Context, name string) (storage.Backend, error) {
	m, err := h.OpenMailbox(ctx, name)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// OpenMailbox is Open with the concrete type.
func (h *Hierarchy) OpenMailbox(ctx context.Context, name string) (*Mailbox, error) {
	f, err := h.folder(name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mdbox: opening %s: %w", f.key, err)
	}
	m, err := h.acquire(f)
	if f.inbox() && errors.Is(err, mailbox.ErrNotFound) {
		if err := h.Create(ctx, name); err != nil && !errors.Is(err, mailbox.ErrExists) {
			return nil, err
		}
		m, err = h.acquire(f)
	}
	return m, err
}

// acquire opens a mailbox whose state all who have it open share.
func (h *Hierarchy) acquire(f folder) (*Mailbox, error) {
	h.folders.RLock()
	defer h.folders.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("mdbox: opening %s: %w", f.key, os.ErrClosed)
	}
	b := h.boxes[f.key]
	if b == nil {
		var id index.Identity
		err := h.catalog.View(func(tx *index.CatalogTx) (err error) {
			id, err = tx.Name(f.key)
			if errors.Is(err, mailbox.ErrNotFound) {
				err = absent(tx, f.key)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("mdbox: opening %s: %w", f.key, err)
		}
		b = newBox(h, f, id)
		h.boxes[f.key] = b
	}
	b.refs++
	return &Mailbox{b: b}, nil
}

func (h *Hierarchy) release(b *box) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.refs--
	if b.refs == 0 && h.boxes[b.f().key] == b {
		delete(h.boxes, b.f().key)
	}
}

// GUID returns a mailbox's GUID.
func (h *Hierarchy) GUID(ctx context.Context, name string) (mailbox.GUID, error) {
	m, err := h.OpenMailbox(ctx, name)
	if err != nil {
		return mailbox.GUID{}, err
	}
	return m.GUID(), m.Close()
}

// Close writes what is outstanding and lets go of the store.
func (h *Hierarchy) Close() error {
	h.mu.Lock()
	h.closed = true
	open := make([]*box, 0, len(h.boxes))
	for _, b := range h.boxes {
		open = append(open, b)
	}
	clear(h.boxes)
	h.mu.Unlock()
	for _, b := range open {
		b.close()
	}
	return h.catalog.Close()
}
