package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// An entry is one base name: a record of the uidlist, a file, or both.
type entry struct {
	base    string
	suffix  string // what follows the base in the file's name
	fields  string // of the record
	uid     mailbox.UID
	gen     uint32 // the scan that last found the file
	adopted uint32 // the reading of the uidlist that last found the record

	present bool // there is a file
	inNew   bool // it is in new
	recent  bool // no session has been told of it
	noted   bool // as recent in the index: the file is in cur, and its place does not tell
	unseen  bool // the record was read after the last scan
	touched bool // publish has to look at it

	// Overrides of what the name and the record say, from reading the message.
	physical, virtual int64
	saved             int64 // nanoseconds since 1970; 0 means the file's ctime
	unsaved           bool  // saved is not in the index yet

	msg *mailbox.Message // in the view; nil where it is not
}

// listed reports whether the entry has a record.
func (e *entry) listed() bool { return e.uid != 0 }

// A box is the state of one mailbox that all who have it open share. op is held by whoever
// changes files or reads the control files; mu guards what readers look at meanwhile.
type box struct {
	h    *Hierarchy
	at   atomic.Pointer[folder] // see f
	db   *index.DB
	refs int // guarded by h.mu

	op chan struct{} // a semaphore of one, so that waiting can end with a context

	// Held by who uses paths without op, so that no rename comes between; such a one must not
	// wait for op. Rename and Delete take it after op.
	paths sync.RWMutex

	// For work in the background, which close must not wait for.
	ctx    context.Context
	cancel context.CancelFunc

	// Guarded by op.
	prepared bool
	loaded   bool
	mode     os.FileMode // of new files
	like     unix.Stat_t // the folder's directory
	list     listState
	keys     keywords
	keysID   fileID
	keysRead bool
	flags    map[string]mailbox.Flags // by suffix
	suffixes map[string]string        // each suffix once, for memory
	dirs     [2]dirState
	gen      uint32
	adopting uint32
	unseen   bool     // some entry is
	fresh    bool     // the view is to be made anew
	found    []*entry // touched, in no order
	recents  map[*entry]struct{}
	inNew    map[*entry]struct{}
	doubles  []double
	odd      []string    // names with an empty base, with their directory
	known    mailbox.UID // below it, what is not in the view was expunged
	idx      *index.Mailbox
	identity index.Identity // as last recorded
	unknown  mailbox.UID    // UIDs from here on that are not there may have been expunged while nobody looked; 0: none
	commits  commitQueue
	spare    *durable.Spare // of the uidlist's lock

	arriving [2]durable.Shared // syncs of the directories for new messages

	// We have delivered to the directory since the last sync: that comes before what gets its
	// UID at once, and is looked for, whatever the directory's time says.
	arrived [2]atomic.Bool
	renamed [2]atomic.Uint64 // counts our changes of the directories that were not synced

	syncing sync.Mutex // held while they are synced, without op or mu
	synced  [2]uint64  // of renamed

	mu      sync.RWMutex // taken after op
	head    uidHeader
	entries map[string]*entry
	byUID   []*entry // those listed
	view    *mailbox.View
	waiting map[*func()]struct{} // those of Watch
	watch   *watch               // while there are any
	gone    bool                 // deleted by this process
	closed  bool
	kicked  bool // a background sync is under way or waiting
	again   bool // and another is to follow
}

// The two directories of messages.
const (
	newDir = 0
	curDir = 1
)

var dirNames = [2]string{"new", "cur"}

func newBox(h *Hierarchy, f folder, db *index.DB) *box {
	b := &box{h: h, db: db, op: make(chan struct{}, 1), waiting: map[*func()]struct{}{},
		entries: map[string]*entry{}, flags: map[string]mailbox.Flags{}, suffixes: map[string]string{},
		recents: map[*entry]struct{}{}, inNew: map[*entry]struct{}{}, view: &mailbox.View{}}
	b.at.Store(&f)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	name := h.unique.next() + ".lock"
	b.spare = durable.NewSpare(func() string { return b.tmpPath(name) })
	return b
}

// f is where the mailbox is; a rename changes it.
func (b *box) f() *folder { return b.at.Load() }

// lock takes op.
func (b *box) lock(ctx context.Context) error {
	select {
	case b.op <- struct{}{}:
	case <-ctx.Done():
		return b.wrap("waiting for", ctx.Err())
	}
	b.mu.RLock()
	gone, closed := b.gone, b.closed
	b.mu.RUnlock()
	switch {
	case gone:
		b.unlock()
		return b.wrap("opening", mailbox.ErrNotFound)
	case closed:
		b.unlock()
		return b.wrap("using", os.ErrClosed)
	}
	return nil
}

func (b *box) unlock() { <-b.op }

func (b *box) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("maildir: %s %s: %w", doing, b.f().key, err)
}

// path is where an entry's file is.
func (b *box) path(e *entry) string {
	dir := dirNames[curDir]
	if e.inNew {
		dir = dirNames[newDir]
	}
	return filepath.Join(b.f().dir, dir, e.base+e.suffix)
}

// find returns the entry of a UID. op or mu is held.
func (b *box) find(uid mailbox.UID) *entry {
	i := sort.Search(len(b.byUID), func(i int) bool { return b.byUID[i].uid >= uid })
	if i < len(b.byUID) && b.byUID[i].uid == uid {
		return b.byUID[i]
	}
	return nil
}

// touch notes that publish has to look at an entry.
func (b *box) touch(e *entry) {
	if !e.touched {
		e.touched = true
		b.found = append(b.found, e)
	}
}

// prepare finds the mailbox and its identity, and repairs what is missing of it.
func (b *box) prepare(ctx context.Context) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	var st unix.Stat_t
	if err := unix.Stat(b.f().dir, &st); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
			return b.wrap("opening", b.h.absent(*b.f()))
		}
		return b.wrap("opening", err)
	}
	if b.prepared {
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || b.h.loc.Layout == FS && !b.f().inbox() && !isMaildir(b.f().dir) {
		return b.wrap("opening", mailbox.ErrNotSelectable)
	}
	b.like, b.mode = st, durable.FileMode(&st)
	b.awaitSubdirs(ctx, &st)
	if err := b.h.makeSubdirs(*b.f()); err != nil && !readOnly(err) {
		return err
	}
	b.identity, _ = b.db.Identity(b.f().key)
	if err := b.readIdentity(); err != nil {
		// No list, or not one that can be used as it is: this is what a sync mends.
		if err := b.syncLocked(ctx, false); err != nil {
			return err
		}
		if b.head.guid.IsZero() {
			return b.wrap("opening", errors.New("no GUID and no way to record one"))
		}
	}
	b.cleanTmp()
	b.prepared = true
	return nil
}

// awaitSubdirs waits for what a folder lacks that was made just now: another program is about to
// make it, and Dovecot takes it for a mailbox that exists if it finds it there.
func (b *box) awaitSubdirs(ctx context.Context, st *unix.Stat_t) {
	complete := func() bool {
		for _, sub := range subdirs {
			if _, err := os.Stat(filepath.Join(b.f().dir, sub)); err != nil {
				return false
			}
		}
		return true
	}
	const wait = time.Second
	begun := time.Now()
	if begun.Sub(time.Unix(st.Mtim.Unix())).Abs() > wait {
		return
	}
	for !complete() && time.Since(begun) < wait {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// isMaildir reports whether a directory of the fs layout is a folder.
func isMaildir(dir string) bool {
	for _, sub := range subdirs {
		if st, err := os.Stat(filepath.Join(dir, sub)); err == nil && st.IsDir() {
			return true
		}
	}
	return false
}

// readOnly reports whether an error says that nothing can be written here.
func readOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		errors.Is(err, os.ErrPermission)
}

// load reads the index, once.
func (b *box) load() {
	if b.loaded && b.idx != nil {
		return
	}
	idx, s := b.db.Mailbox(b.head.guid)
	if s.UIDValidity != b.head.validity {
		if s.UIDValidity == 0 {
			idx.AtLeast(b.lastChange())
		}
		s = index.State{HighestModSeq: s.HighestModSeq}
	}
	b.known, b.unknown = s.UIDNext, s.UIDNext
	b.mu.Lock()
	defer b.mu.Unlock()
	highest := max(s.HighestModSeq, b.view.HighestModSeq) // of what the name stood for before
	idx.AtLeast(highest)
	b.idx = idx
	b.loaded, b.fresh = true, true
	b.view = &mailbox.View{GUID: b.head.guid, UIDValidity: b.head.validity,
		UIDNext: b.head.next, HighestModSeq: highest}
	i := 0
	for _, r := range s.Records {
		for i < len(b.byUID) && b.byUID[i].uid < r.UID {
			i++
		}
		if i < len(b.byUID) && b.byUID[i].uid == r.UID {
			e := b.byUID[i]
			e.physical, e.virtual = r.Physical, r.Virtual
			if !r.Saved.IsZero() {
				e.saved = r.Saved.UnixNano()
			}
			// Not in the view yet: publish compares and puts it there.
			e.msg = &mailbox.Message{UID: r.UID, ModSeq: r.ModSeq, Flags: withoutRecent(r.Flags)}
			if e.noted = r.Flags.System&mailbox.Recent != 0; e.noted {
				b.recents[e], e.recent = struct{}{}, true
			}
		} else {
			b.touch(&entry{uid: r.UID, msg: &mailbox.Message{UID: r.UID}}) // expunged meanwhile
		}
	}
	for _, e := range b.byUID {
		b.touch(e)
	}
}

// lastChange is a modseq that stands for the last change of the files, for a mailbox of which
// the index knows nothing: modseqs were told that were not much above the time of such
// changes, and the clock may have been put back since. The ctime is the kernel's: no program
// sets it.
func (b *box) lastChange() (last mailbox.ModSeq) {
	for _, path := range []string{b.dirPath(newDir), b.dirPath(curDir), b.listPath()} {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Ctim.Sec > 0 && st.Ctim.Sec < 1<<40 {
			last = max(last, mailbox.ModSeq(st.Ctim.Sec*1_000_000+st.Ctim.Nsec/1000+1))
		}
	}
	return last
}

// lockList takes the uidlist's lock.
func (b *box) lockList(ctx context.Context, wait time.Duration) (*durable.Dotlock, error) {
	return durable.Lock(ctx, filepath.Join(b.f().control, uidlistName), durable.DotlockOptions{
		Wait: wait, Stale: 120 * time.Second, Perm: b.mode, Host: b.h.host, Spare: b.spare, Faults: b.h.faults})
}

// tryLockList takes the lock for work that should, but need not, have it: on a full disk
// or against a holder that hangs the work goes on without.
func (b *box) tryLockList(ctx context.Context) (unlock func()) {
	l, err := b.lockList(ctx, min(b.h.lockWait, 10*time.Second))
	if err != nil {
		if ctx.Err() == nil {
			b.h.log.Warn("maildir: working without lock", "mailbox", b.f().key, "error", err)
		}
		return func() {}
	}
	return func() {
		if err := l.Unlock(); err != nil {
			b.h.log.Warn("maildir: unlocking", "mailbox", b.f().key, "error", err)
		}
	}
}

// close lets go of the index and the watch. Nobody uses the box any more.
func (b *box) close() {
	b.cancel()
	b.op <- struct{}{}
	defer b.unlock()
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	b.mu.Unlock()
	b.unwatch()
	b.spare.Close()
	if b.idx != nil {
		b.idx.Close()
	}
}

// cleanTmp removes what writers that died have left in tmp: files whose ctime is more than
// 36 hours old. As in Dovecot the directory's atime tells when that was last done.
func (b *box) cleanTmp() {
	const (
		tooOld   = 36 * time.Hour
		interval = 24 * time.Hour
	)
	dir := filepath.Join(b.f().dir, "tmp")
	var st unix.Stat_t
	now := time.Now()
	if unix.Stat(dir, &st) != nil || now.Sub(time.Unix(st.Atim.Unix())) < interval {
		return
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		var fst unix.Stat_t
		if unix.Lstat(path, &fst) == nil && fst.Mode&unix.S_IFMT == unix.S_IFREG &&
			now.Sub(time.Unix(fst.Ctim.Unix())) > tooOld {
			_ = b.h.faults.Remove(path) // it may be gone, and the next time will do
		}
	}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{unix.NsecToTimespec(now.UnixNano()), st.Mtim}, 0)
}
