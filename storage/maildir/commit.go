package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

// A commit is a file that is to become a message.
type commit struct {
	from   string // a name in tmp, or a path of another mailbox if link is set
	link   bool
	base   string
	fields string // of the record
	info   mailbox.SaveInfo
	sizes  mailbox.Sizes // found by reading, for the index; zero where in the name

	letters string
	target  string
	group   *commitGroup // with which it stands or falls; nil: alone
	done    bool
	uid     mailbox.UID
	err     error
}

// A commitGroup holds messages of which all are saved or none.
type commitGroup struct {
	err error // of the first that failed
}

// place is the directory and name of the new message: in new, as recent, if it has no
// flags.
func (r *commit) place() (dir int, suffix string) {
	if r.letters == "" {
		return newDir, ""
	}
	return curDir, changeSuffix("", mailbox.AddFlags, r.letters)
}

// move gives the file its name.
func (b *box) move(r *commit) error {
	dir, suffix := r.place()
	r.target = filepath.Join(b.dirPath(dir), r.base+suffix)
	if r.link {
		return b.h.faults.Link(r.from, r.target)
	}
	return b.h.renameNew(b.tmpPath(r.from), r.target)
}

// deliver makes a message visible without a UID: the next scan gives it one.
func (b *box) deliver(r *commit) error {
	r.letters = lettersOf(r.info.Flags.System)
	dir, _ := r.place()
	if err := b.moveDurably(r, dir); err != nil {
		return err
	}
	b.arrived[dir].Store(true)
	if b.watched() {
		b.kick()
	}
	return nil
}

// moveDurably moves a message to new or cur and syncs the name.
func (b *box) moveDurably(r *commit, dir int) error {
	b.paths.RLock()
	defer b.paths.RUnlock()
	err := b.move(r)
	if err == nil {
		if err = b.syncDir(dir); err != nil {
			_ = b.h.faults.Remove(r.target) // it must not stand if it was not acknowledged
		}
	}
	return b.wrap("saving to", b.orNotFound(err))
}

// orNotFound tells a deleted mailbox from other errors. op or paths is held.
func (b *box) orNotFound(err error) error {
	if errors.Is(err, os.ErrNotExist) && b.vanished() {
		return mailbox.ErrNotFound
	}
	return err
}

// vanished reports whether the mailbox was deleted. It must not be made again for those
// who have it open. op or paths is held: in the middle of a rename it is neither here nor there.
func (b *box) vanished() bool {
	b.mu.RLock()
	gone := b.gone
	b.mu.RUnlock()
	if gone {
		return true
	}
	_, err := os.Stat(b.f().dir)
	return errors.Is(err, os.ErrNotExist) || b.h.loc.Layout == FS && !b.f().inbox() && !isMaildir(b.f().dir)
}

// A commitQueue gathers messages that want a UID, so that those which wait for the lock at
// the same time share it, and the syncs.
type commitQueue struct {
	mu      sync.Mutex
	waiting []*commit
}

// commit saves messages under the lock, which gives them UIDs. Several are of one group.
func (b *box) commit(ctx context.Context, own ...*commit) error {
	q := &b.commits
	q.mu.Lock()
	q.waiting = append(q.waiting, own...)
	q.mu.Unlock()
	if err := b.lock(ctx); err != nil {
		q.mu.Lock()
		n := slices.Index(q.waiting, own[0])
		if n >= 0 {
			q.waiting = slices.Delete(q.waiting, n, n+len(own))
		}
		q.mu.Unlock()
		if n >= 0 {
			return err
		}
		// Somebody is at it already: wait for the outcome.
		b.op <- struct{}{}
	}
	defer b.unlock()
	if !own[0].done {
		q.mu.Lock()
		work := q.waiting
		q.waiting = nil
		q.mu.Unlock()
		// The others do not share our context.
		err := b.commitAll(context.WithoutCancel(ctx), work)
		for _, w := range work {
			w.done = true
			if err != nil && w.err == nil {
				w.err = err
				if w.target != "" {
					_ = b.h.faults.Remove(w.target)
				}
			}
		}
	}
	return own[0].err
}

// commitAll saves messages in one holding of the lock. An error is that of all; single ones
// are in the commits. op is held.
func (b *box) commitAll(ctx context.Context, work []*commit) (err error) {
	if !b.loaded || b.fresh || b.list.rewrite != "" || b.arrived[newDir].Load() || b.arrived[curDir].Load() {
		if err := b.syncLocked(ctx, false); err != nil {
			return err
		}
	}
	l, err := b.lockList(ctx, b.h.lockWait)
	if err != nil {
		return b.wrap("locking", b.orNotFound(err))
	}
	defer func() {
		// A lost lock is not acknowledged: our record may be gone.
		if uerr := l.Unlock(); uerr != nil {
			err = errors.Join(err, b.wrap("unlocking", uerr))
		}
	}()
	if err := b.readControl(true); err != nil {
		return err
	}
	own := b.beginOwn()
	var moved [2]bool
	taken := map[string]bool{}
	for i, w := range work {
		if i%batch == batch-1 {
			if err := l.Touch(); err != nil {
				own.end()
				return b.wrap("locking", err)
			}
		}
		if w.group != nil && w.group.err != nil {
			w.err = w.group.err
			continue
		}
		if w.err = b.moveCommit(ctx, w, taken); w.err == nil {
			dir, _ := w.place()
			moved[dir] = true
			taken[w.base] = true
		} else if w.group != nil {
			w.group.err = w.err
			b.moveBack(work[:i], w.group)
		}
	}
	own.end()
	added := b.enter(work)
	dirs := b.syncMoved(moved)
	err = b.giveUIDs(l, added)
	if derr := dirs(); err == nil {
		err = b.wrap("saving to", derr)
	}
	if err != nil {
		b.leave(work)
		return err
	}
	for _, w := range work {
		if w.err == nil {
			w.uid = b.entries[w.base].uid
		}
	}
	return b.publishCommits(ctx)
}

// syncMoved begins to sync the directories that files were moved to, and returns what waits for
// the end. Meanwhile the list is synced: either may be durable before the other, for a file
// without record gets one, and a record without file is no harm.
func (b *box) syncMoved(moved [2]bool) (wait func() error) {
	sync := func() error {
		for i, yes := range moved {
			if yes {
				if err := b.syncDir(i); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if b.h.faults != nil {
		return sync // steps are counted in one order
	}
	done := make(chan error, 1)
	go func() { done <- sync() }()
	return func() error { return <-done }
}

// syncDir syncs new or cur, once for all who have moved files there meanwhile.
func (b *box) syncDir(i int) error {
	return b.arriving[i].Do(func() error { return b.h.faults.SyncDir(b.dirPath(i)) })
}

// publishCommits makes new messages visible. Those that another program has added meanwhile
// have lower UIDs and must be in the same view.
func (b *box) publishCommits(ctx context.Context) error {
	if b.unseen {
		if err := b.scan(true); err != nil {
			b.h.log.Warn("maildir: scanning", "mailbox", b.f().key, "error", err)
			return nil // the messages are saved; the next sync shows them
		}
	}
	b.publish()
	return nil
}

// moveCommit moves one file into place, its keywords first. taken are base names that are
// not among the entries yet.
func (b *box) moveCommit(ctx context.Context, w *commit, taken map[string]bool) error {
	w.letters = lettersOf(w.info.Flags.System)
	if len(w.info.Flags.Keywords) > 0 {
		more, err := b.writeKeywords(ctx, w.info.Flags.Keywords)
		if err != nil {
			return err
		}
		w.letters += more
	}
	if w.link && (b.entries[w.base] != nil || taken[w.base]) {
		if err := b.otherBase(w); err != nil {
			return err
		}
	}
	err := b.move(w)
	if w.link && errors.Is(err, os.ErrExist) {
		if err = b.otherBase(w); err == nil {
			err = b.move(w)
		}
	}
	if err != nil {
		w.target = ""
		if w.link && (errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK)) {
			err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
		return b.wrap("saving to", b.orNotFound(err))
	}
	return nil
}

// moveBack removes the files of a group of which a later one could not be moved. Nobody has
// seen them: they have no records.
func (b *box) moveBack(work []*commit, g *commitGroup) {
	for _, w := range work {
		if w.group == g && w.err == nil {
			w.err = g.err
			_ = b.h.faults.Remove(w.target) // as after any failure; it is in our hands no more
		}
	}
}

// enter takes up the files that are in place, without UIDs as yet.
func (b *box) enter(work []*commit) (added []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now().UnixNano()
	for _, w := range work {
		if w.err != nil {
			continue
		}
		e := newEntry(w.base)
		e.fields, e.gen, e.saved = w.fields, b.gen, now
		if w.sizes != (mailbox.Sizes{}) {
			e.physical, e.virtual = w.sizes.Physical, w.sizes.Virtual
		}
		b.entries[w.base] = e
		dir, suffix := w.place()
		b.place(e, suffix, dir == newDir)
		// In cur only the index knows that nobody was told of it (RFC 3501 section 6.4.7).
		b.recents[e], e.recent = struct{}{}, true
		added = append(added, e)
	}
	return added
}

// leave drops the entries of messages that could not be given UIDs. Their files are removed
// by the caller.
func (b *box) leave(work []*commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range work {
		if e := b.entries[w.base]; w.err == nil && e != nil {
			b.lose(e)
		}
	}
	b.found = slices.DeleteFunc(b.found, func(e *entry) bool { return !e.present && !e.listed() && e.msg == nil })
}
