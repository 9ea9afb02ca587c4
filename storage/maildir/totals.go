package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A tally is the sum of one mailbox's messages. Of a mailbox that is open it follows the
// view. Of others the names of the files tell: a directory is read again only when it has
// changed, and a delivery changes only new. Where a name tells no size the mailbox is
// opened, and stays so: its uidlist or index may know.
type tally struct {
	mu sync.Mutex // held while it is brought up to date

	dirs [2]dirTally

	dropped bool     // the mailbox is no more
	held    *Mailbox // open for the sizes that no name tells
	view    *mailbox.View
	sum     storage.Totals
	guessed map[mailbox.UID]int64 // what those count that nobody knows the size of
}

// A dirTally is the sum of one directory.
type dirTally struct {
	dirState
	sum     storage.Totals
	unsized bool // there is a name without size
}

var _ storage.Totaler = (*Hierarchy)(nil)

// Totals sums up all mailboxes but those that skip names. Nothing is locked: a message that
// is being moved or renamed meanwhile may count twice or not at all, and is right the next
// time.
func (h *Hierarchy) Totals(ctx context.Context, skip func(name string) bool) (storage.Totals, error) {
	var all storage.Totals
	list, err := h.List(ctx)
	if err != nil {
		return all, err
	}
	listed := make(map[string]bool, len(list))
	for _, entry := range list {
		if !entry.Selectable {
			continue
		}
		f, err := h.folder(entry.Name)
		if err != nil {
			return all, err
		}
		listed[f.key] = true
		if skip != nil && skip(entry.Name) {
			continue
		}
		sum, err := h.tally(ctx, f, entry.Name)
		if errors.Is(err, mailbox.ErrNotFound) || errors.Is(err, mailbox.ErrNotSelectable) {
			continue // deleted meanwhile
		}
		if err != nil {
			return all, fmt.Errorf("maildir: summing up %s: %w", f.key, err)
		}
		all.Messages += sum.Messages
		all.Bytes += sum.Bytes
	}
	return all, h.dropTallies(listed)
}

// dropTallies forgets mailboxes that are no more.
func (h *Hierarchy) dropTallies(listed map[string]bool) error {
	var gone []*tally
	h.mu.Lock()
	for key, t := range h.tallies {
		if !listed[key] {
			delete(h.tallies, key)
			gone = append(gone, t)
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, t := range gone {
		t.mu.Lock()
		t.dropped = true
		errs = append(errs, t.letGo())
		t.mu.Unlock()
	}
	return errors.Join(errs...)
}

// tally returns the sum of one mailbox.
func (h *Hierarchy) tally(ctx context.Context, f folder, name string) (storage.Totals, error) {
	h.mu.Lock()
	t := h.tallies[f.key]
	if t == nil {
		t = &tally{}
		h.tallies[f.key] = t
	}
	open := h.boxes[f.key]
	h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held != nil && t.held.b != open { // deleted and made anew
		if err := t.letGo(); err != nil {
			return storage.Totals{}, err
		}
	}
	hold := false
	if open == nil || !open.looked() {
		sum, sized, err := t.byName(f)
		if sized || err != nil {
			return sum, err
		}
		hold = !t.dropped
	}
	m, err := h.OpenMailbox(ctx, name)
	if err != nil {
		return storage.Totals{}, err
	}
	sum, err := t.byView(ctx, m)
	if hold && t.held == nil && err == nil {
		t.held = m
		return sum, nil
	}
	return sum, errors.Join(err, m.Close())
}

// letGo closes the mailbox that is held.
func (t *tally) letGo() error {
	m := t.held
	t.held = nil
	if m == nil {
		return nil
	}
	return m.Close()
}

// looked reports whether the view is there without reading everything.
func (b *box) looked() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.loaded && !b.fresh
}

// byName sums up what the names of the files tell. sized is false where one does not.
func (t *tally) byName(f folder) (sum storage.Totals, sized bool, err error) {
	t.view, t.guessed = nil, nil
	for i := range t.dirs {
		d := &t.dirs[i]
		path := filepath.Join(f.dir, dirNames[i])
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			if *d = (dirTally{}); errors.Is(err, unix.ENOENT) {
				continue
			}
			return sum, false, err
		}
		if id, now := idOf(&st), time.Now(); d.stale(id, now) {
			*d = dirTally{dirState: dirState{true, id, now}}
			if err := d.read(path); err != nil {
				d.scanned = false
				return sum, false, err
			}
		}
		if d.unsized {
			return sum, false, nil
		}
		sum.Messages += d.sum.Messages
		sum.Bytes += d.sum.Bytes
	}
	return sum, true, nil
}

// read sums up a directory.
func (d *dirTally) read(path string) error {
	err := scanDir(path, func(buf []byte) {
		eachFile(buf, path, func(name []byte) {
			size := sizeInName(name)
			d.unsized = d.unsized || size < 0
			d.sum.Messages++
			d.sum.Bytes += counted(size)
		})
	})
	if errors.Is(err, unix.ENOENT) {
		return nil // it was deleted meanwhile
	}
	return err
}

// sizeInName returns the virtual size that a file's name tells, or the physical one where
// there is no other.
func sizeInName(name []byte) int64 {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[:i]
	}
	for _, key := range []string{",W=", ",S="} {
		_, digits, ok := bytes.Cut(name, []byte(key))
		if !ok {
			continue
		}
		digits, _, _ = bytes.Cut(digits, []byte{','})
		if n := parseSize(string(digits)); n >= 0 {
			return n
		}
	}
	return mailbox.Unknown
}

// maxCounted bounds what one name can claim, so that no sum overflows.
const maxCounted = 1 << 40

func counted(size int64) int64 { return min(max(size, 0), maxCounted) }

// byView follows the view of an open mailbox.
func (t *tally) byView(ctx context.Context, m *Mailbox) (storage.Totals, error) {
	view, err := m.Sync(ctx)
	if err != nil {
		return storage.Totals{}, err
	}
	if t.view == view {
		return t.sum, nil
	}
	old := t.view
	if old == nil || old.GUID != view.GUID || old.UIDValidity != view.UIDValidity {
		old, t.sum, t.guessed = &mailbox.View{}, storage.Totals{}, map[mailbox.UID]int64{}
	}
	t.view = nil // until all is summed up
	for c := range view.Replaced(old) {
		if c.Old != nil {
			t.sum.Messages--
			t.sum.Bytes -= t.sizeOf(c.Old)
			delete(t.guessed, c.Old.UID)
		}
		if c.New == nil {
			continue
		}
		if c.New.Sizes.Virtual < 0 && c.New.Sizes.Physical < 0 {
			if t.guessed[c.New.UID], err = m.storedSize(ctx, c.New.UID); err != nil {
				return storage.Totals{}, err
			}
		}
		t.sum.Messages++
		t.sum.Bytes += t.sizeOf(c.New)
	}
	t.view = view
	return t.sum, nil
}

// sizeOf is what a message counts.
func (t *tally) sizeOf(m *mailbox.Message) int64 {
	switch {
	case m.Sizes.Virtual >= 0:
		return counted(m.Sizes.Virtual)
	case m.Sizes.Physical >= 0:
		return counted(m.Sizes.Physical)
	}
	return counted(t.guessed[m.UID])
}

// storedSize is what a message takes on the disk; nothing where it is gone.
func (m *Mailbox) storedSize(ctx context.Context, uid mailbox.UID) (int64, error) {
	msg, err := m.Stat(ctx, uid)
	if errors.Is(err, mailbox.ErrNotFound) && ctx.Err() == nil {
		return 0, nil
	}
	return max(msg.Sizes.Stored, 0), err
}
