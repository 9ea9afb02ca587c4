// Package maildir stores messages in Maildir and Maildir++ trees that Dovecot may be
// using at the same time. It moves stored bytes: whether they are compressed or
// encrypted it neither knows nor looks at.
//
// A folder is a directory with cur, new and tmp. One file is one message:
//
//	file   = base [":2," *letter ["," any]]       ; in cur, or in new while recent
//	base   = secs ".M" usecs "P" pid "Q" count "R" random "." host [",S=" n ",W=" n]
//	letter = "D" / "F" / "R" / "S" / "T" / a-z    ; \Draft \Flagged \Answered \Seen \Deleted, keyword
//
// S is the size of the message with its line ends as stored, W with CRLF, both without
// compression and encryption; both are there or neither. The file's mtime is the
// INTERNALDATE. Any other base name is accepted when reading.
//
// UIDs are in dovecot-uidlist, beside cur or in the control directory:
//
//	"3 V" uidvalidity " N" next-uid " G" 32hex *(" " key value) LF
//	*(uid " " *(key value " ") ":" base LF)       ; UIDs ascending
//
// Records are appended or the file is replaced, never edited, under the dotlock
// dovecot-uidlist.lock. Of a record's fields G is the message's GUID where that is not
// the base name, S and W are sizes that the name lacks; others are kept. Version 1 of the
// file is read and replaced by version 3 at the next write.
//
// While a mailbox is open, the file of the last lock waits for the next one in tmp, as *.lock.
//
// dovecot-keywords has a line of index, space and name for each keyword letter in use.
// It is written under the uidlist's lock, before the first file that uses it is renamed.
//
// # Delivery
//
// A file is written in tmp, synced, and renamed to new, or to cur if it has flags. A UID
// that is asked for is appended to the uidlist after that. The directory and the uidlist are
// synced, in no order, and only then the message is acknowledged. A crash at any step loses
// nothing that was acknowledged and doubles nothing: a file without record gets its UID at
// the next scan, a record without file is ignored.
//
// # Layouts
//
// In Maildir++ the folder A.B is the directory .A.B of the root, whose folders are all
// direct children; in LAYOUT=fs it is A/B. INBOX is the root itself. Names are stored in
// modified UTF-7, or as UTF-8 if the location says so. CONTROL= moves uidlists, keywords,
// subscriptions and UIDVALIDITY counters into a tree of the same shape, in which INBOX is
// a directory too. Symbolic links are followed for folders, which administrators share in
// that way, and never for messages. Names escaped as \xx (Dovecot's listescape) are not
// supported: such directories are not listed.
//
// dovecot.mailbox.log, with which Dovecot's replication follows renamed and deleted folders,
// is not written; replication then compares the trees.
//
// # Modseqs
//
// A message whose flags are not those that the index has recorded gets a new modseq, whoever
// changed them and whether we ran meanwhile; one that is not there any more is an expunge
// under a new modseq. That is found when the directories are read, which happens when a
// mailbox is first used and whenever they have changed. A change that was undone before
// anybody looked is none. \Recent and sizes have no modseq.
//
// What a kill or a crash costs is what no client was told ([Mailbox.SyncModSeqs]). After it
// files and records are compared as after any other program's work. UIDs that were given
// since the index was last written and have no file then count as expunged, for a client may
// have heard of them.
//
// Where the index is lost all messages get modseqs of the time when that is found, or above
// the ctime of the directories and the uidlist if that is later because the clock was put
// back, and nothing is known of earlier expunges. This guard has a gap: if the index is lost,
// the clock was put back, and files were changed or looked at in between, a client may hold a
// modseq above ours. For one above HighestModSeq [Mailbox.Expunged] is not complete.
//
// # What only Dovecot's index knows
//
// Dovecot's modseqs, keywords beyond the 26th of a folder, the save date of messages whose flags
// changed before we saw them, and the private \Seen of shared folders (INDEXPVT) are not in
// the Maildir but in dovecot.index. That is neither read nor written here: these are lost to us, and the
// keywords beyond the 26th cannot be set. Our own modseqs, save dates and sizes found by
// reading are in package index.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/control"
)

// Options are settings of a Hierarchy. The zero value works.
type Options struct {
	// Separator joins the levels of the names that callers use; 0 means the layout's own.
	Separator byte
	// Host is the host name in file names and locks; "" means os.Hostname. Programs that
	// share a Maildir but not their process IDs must have different ones.
	Host string
	// Watcher tells of changes by other programs; nil gives the Hierarchy one of its own.
	// A server has one for all users.
	Watcher *Watcher
	// LockWait is how long to wait for another program's lock; 0 means Dovecot's 122 s.
	LockWait time.Duration
	// Logger is told what was repaired or left out; nil is silent.
	Logger *slog.Logger
	// Faults is for tests.
	Faults *durable.Faults
}

// A Hierarchy is one user's Maildir tree.
type Hierarchy struct {
	loc      Location
	sep      byte
	host     string
	lockWait time.Duration
	log      *slog.Logger
	faults   *durable.Faults
	index    *index.DB
	unique   *unique
	watcher  *Watcher
	ownWatch bool
	cache    index.Options

	folders sync.RWMutex // held for writing while names change
	mu      sync.Mutex
	boxes   map[string]*box   // those that are open, by storage name
	tallies map[string]*tally // of Totals, by storage name
	warned  map[string]bool   // directories whose names were logged
	closed  bool

	control  control.Dir
	watching nameWatch
}

var _ storage.Hierarchy = (*Hierarchy)(nil)

// Open opens the tree of a location. The root is made when INBOX is first opened. One
// process should open a tree once: the index can be held once only, and a second Hierarchy
// works without. The caller closes it after all its mailboxes.
func Open(l Location, o Options) (*Hierarchy, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if o.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("maildir: opening %s: %w", l.Root, err)
		}
		o.Host = host
	}
	if o.LockWait == 0 {
		o.LockWait = 122 * time.Second // Dovecot: maildir-uidlist.c
	}
	if o.Separator == 0 {
		o.Separator = l.Layout.separator()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hierarchy{loc: l, sep: o.Separator, host: o.Host, lockWait: o.LockWait, log: o.Logger,
		faults: o.Faults, unique: newUnique(o.Host), watcher: o.Watcher, boxes: map[string]*box{}, tallies: map[string]*tally{}, warned: map[string]bool{}}
	h.control = control.Dir{Path: l.Root, Subscriptions: l.Subscriptions, Separator: l.Layout.separator(),
		Host: o.Host, LockWait: o.LockWait, Tree: h.tree(), Logger: o.Logger}
	if l.Control != "" {
		h.control.Path = l.Control
	}
	h.cache = index.Options{Logger: o.Logger, Write: func(commit func() error) error {
		return h.faults.Do(durable.OpSync, index.FileName, commit)
	}}
	if h.watcher == nil {
		h.watcher, h.ownWatch = NewWatcher(WatcherOptions{Logger: o.Logger}), true
	}
	return h, nil
}

// db opens the index when it is first needed, for its directory may have to be made.
// h.mu is held.
func (h *Hierarchy) db() *index.DB {
	if h.index != nil {
		return h.index
	}
	path := ""
	if dir := h.IndexDir(); dir != "" {
		path = filepath.Join(dir, index.FileName)
		if err := h.mkdirAll(filepath.Dir(path)); err != nil {
			h.log.Warn("maildir: making index directory", "error", err)
		}
	}
	h.index = index.Open(path, h.cache)
	return h.index
}

// IndexDir is the directory of the index, which is made when a mailbox is first used; "" where
// the index is kept in memory. Files of caches may lie there, under names that begin with
// "mailcryptd.".
func (h *Hierarchy) IndexDir() string {
	switch h.loc.Index {
	case "":
		return h.loc.Root
	case "MEMORY":
		return ""
	}
	return h.loc.Index
}

// Separator joins the levels of names.
func (h *Hierarchy) Separator() byte { return h.sep }

// Open opens a mailbox. INBOX is made if missing. Nothing is scanned before a method of
// the Backend needs it, so that opening for a delivery is cheap.
func (h *Hierarchy) Open(ctx context.Context, name string) (storage.Backend, error) {
	b, err := h.OpenMailbox(ctx, name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// OpenMailbox is Open with the concrete type.
func (h *Hierarchy) OpenMailbox(ctx context.Context, name string) (*Mailbox, error) {
	f, err := h.folder(name)
	if err != nil {
		return nil, err
	}
	h.folders.RLock()
	defer h.folders.RUnlock()
	if f.inbox() {
		if err := h.makeInbox(ctx, f); err != nil {
			return nil, err
		}
	}
	b, err := h.acquire(f)
	if err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, h.release(b))
	}
	return &Mailbox{b: b}, nil
}

// acquire returns the state that all who have a mailbox open share.
func (h *Hierarchy) acquire(f folder) (*box, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("maildir: opening %s: %w", f.key, os.ErrClosed)
	}
	b := h.boxes[f.key]
	if b == nil {
		b = newBox(h, f, h.db())
		h.boxes[f.key] = b
	}
	b.refs++
	return b, nil
}

func (h *Hierarchy) release(b *box) error {
	h.mu.Lock()
	b.refs--
	last := b.refs == 0
	if last && h.boxes[b.f().key] == b {
		delete(h.boxes, b.f().key)
	}
	h.mu.Unlock()
	if last {
		b.close()
	}
	return nil
}

// GUID returns a mailbox's GUID, giving it one if it has none.
func (h *Hierarchy) GUID(ctx context.Context, name string) (mailbox.GUID, error) {
	b, err := h.OpenMailbox(ctx, name)
	if err != nil {
		return mailbox.GUID{}, err
	}
	return b.GUID(), b.Close()
}

// Close writes the index and lets go of everything.
func (h *Hierarchy) Close() error {
	h.mu.Lock()
	h.closed = true
	open := make([]*box, 0, len(h.boxes))
	for _, b := range h.boxes {
		open = append(open, b)
	}
	clear(h.boxes)
	db := h.index
	h.mu.Unlock()
	for _, b := range open {
		b.close()
	}
	if h.ownWatch {
		h.watcher.Close()
	}
	if db == nil {
		return nil
	}
	return db.Close()
}
