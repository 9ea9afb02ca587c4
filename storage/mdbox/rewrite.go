package mdbox

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A maintenance is what moving messages between files needs of a store.
type maintenance struct {
	files   *mfile.Dir
	catalog *index.Catalog
	next    func() uint32 // ids of new files
}

func (h *Hierarchy) maintenance() *maintenance {
	return &maintenance{files: h.files, catalog: h.catalog, next: h.nextFile}
}

// Bounds of what is moved in one transaction: so much lies twice on the disk meanwhile.
const (
	batchBytes = 64 << 20
	batchFiles = 64
	maxRetries = 5
)

// A Moved says what moving messages between files has done.
type Moved struct {
	Files    int    // removed, for everything in them was moved or expunged
	Expunged int    // messages whose bytes are gone with them
	Freed    uint64 // their bytes
	Messages int    // moved
	Bytes    uint64 // theirs
	Left     []LeftFile
}

// A LeftFile is a file that was left as it is.
type LeftFile struct {
	File   uint32
	Alt    bool
	Reason string // for people
}

// errChanged reports that the catalog has changed since it was read.
var errChanged = errors.New("mdbox: messages were moved or copied meanwhile")

// rewrite empties files: it copies what is referred to into other files, of the alternative
// directory where alt says so, enters that into the catalog in one transaction with what
// is expunged, and removes the files. A crash before the transaction leaves copies
// that no catalog knows; one behind it, files that are removed when the store is opened.
func (s *maintenance) rewrite(ctx context.Context, ids []uint32, alt func(r *index.MapRecord, is bool) bool, done *Moved) error {
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.rewriteSome(ctx, ids, alt, done)
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// rewriteSome rewrites as many files as go into a transaction, and returns how many.
func (s *maintenance) rewriteSome(ctx context.Context, ids []uint32, alt func(*index.MapRecord, bool) bool, done *Moved) (int, error) {
	for try := 1; ; try++ {
		b := &rewriteBatch{s: s, alt: alt}
		n, err := b.gather(ids[:min(len(ids), batchFiles)])
		if err == nil {
			err = b.run(ctx)
		}
		if err == nil { // under the locks: nothing must be appended to what is removed
			err = b.finish(ctx, done)
			b.unlock()
			return n, err
		}
		b.unlock()
		var corrupt *mfile.CorruptError
		switch unreadable := errors.As(err, &corrupt) || errors.Is(err, mfile.ErrGone); {
		case unreadable && n == 1:
			b.leave(b.files[0], err.Error())
			done.Left = append(done.Left, b.left...)
			return 1, nil
		case unreadable: // one file at a time, to find which
			for i := range ids[:n] {
				if _, err := s.rewriteSome(ctx, ids[i:i+1], alt, done); err != nil {
					return 0, err
				}
			}
			return n, nil
		case !errors.Is(err, errChanged) || try == maxRetries:
			return 0, fmt.Errorf("mdbox: moving messages: %w", err)
		}
	}
}

// A rewriteBatch is some files whose messages move in one transaction.
type rewriteBatch struct {
	s     *maintenance
	alt   func(*index.MapRecord, bool) bool
	locks []*mfile.Lock
	keep  []*mfile.Lock // of these the bytes stay
	files []index.CatalogFile
	live  [2][]index.MapRecord // by where they go
	dead  []index.MapRecord
	left  []LeftFile
}

func (b *rewriteBatch) leave(f index.CatalogFile, reason string) {
	b.left = append(b.left, LeftFile{f.ID, f.Alt, reason})
}

func (b *rewriteBatch) unlock() {
	for _, l := range b.locks {
		l.Unlock()
	}
}

// gather locks files and looks what is in them, until they are enough.
func (b *rewriteBatch) gather(ids []uint32) (n int, err error) {
	bytes := uint64(0)
	for i, id := range ids {
		size, err := b.add(id)
		if err != nil {
			return 0, err
		}
		if bytes += size; bytes >= batchBytes {
			return i + 1, nil
		}
	}
	return len(ids), nil
}

// add takes one file in, or leaves it.
func (b *rewriteBatch) add(id uint32) (bytes uint64, err error) {
	lock, lockErr := b.s.files.Lock(id)
	if lock != nil {
		b.locks = append(b.locks, lock)
	}
	var f index.CatalogFile
	var live, dead []index.MapRecord
	covered := int64(0)
	err = b.s.catalog.View(func(tx *index.CatalogTx) error {
		var err error
		if f, err = tx.File(id); err != nil {
			return err
		}
		return tx.Places(id, func(r index.MapRecord) error {
			covered += int64(r.Size)
			if r.Refs > 0 {
				live = append(live, r)
				bytes += uint64(r.Size)
			} else {
				dead = append(dead, r)
			}
			return nil
		})
	})
	if errors.Is(err, mailbox.ErrNotFound) || err == nil && f.Doomed {
		return 0, nil // somebody else was at it
	}
	if err != nil {
		return 0, err
	}
	if reason := whyLeft(lock, lockErr, &f, len(live)); reason != "" {
		b.leave(f, reason)
		return 0, nil
	}
	if lock != nil && lock.Begin+covered != int64(f.End) {
		b.keep = append(b.keep, lock)
	}
	if lock != nil {
		f.Alt = lock.Alt // people may move files between the directories
	}
	b.files = append(b.files, f)
	for _, r := range live {
		to := 0
		if b.alt(&r, f.Alt) {
			to = 1
		}
		b.live[to] = append(b.live[to], r)
	}
	b.dead = append(b.dead, dead...)
	return bytes, nil
}

// whyLeft says why a file is not to be touched, "" if it may be.
func whyLeft(lock *mfile.Lock, err error, f *index.CatalogFile, live int) string {
	switch {
	case errors.Is(err, mfile.ErrGone) && live == 0:
		return "" // there is nothing left to lose
	case errors.Is(err, mfile.ErrGone):
		return fmt.Sprintf("the file is missing, and with it %d messages; restore it, or run doveadm-crypt force-resync", live)
	case errors.Is(err, mfile.ErrBusy):
		return "it is being written to"
	case err != nil:
		return err.Error()
	case lock.Size > int64(f.End):
		return fmt.Sprintf("behind its messages are %d bytes that the catalog does not know; doveadm-crypt force-resync takes in what is there", lock.Size-int64(f.End))
	case lock.Size < int64(f.End):
		return fmt.Sprintf("it is %d bytes shorter than it was; restore it, or run doveadm-crypt force-resync", int64(f.End)-lock.Size)
	}
	return ""
}

// run copies what lives, and enters it into the catalog.
func (b *rewriteBatch) run(ctx context.Context) error {
	var appended [2]*mfile.Appended
	undo := func(err error) error {
		for _, a := range appended {
			switch {
			case a == nil:
			case errors.Is(err, index.ErrCatalogUnknown):
				a.Commit() // the catalog may know the places: the bytes must stay
			default:
				err = errors.Join(err, a.Undo())
			}
		}
		return err
	}
	for to, list := range b.live {
		if len(list) == 0 {
			continue
		}
		places := make([]mfile.Place, len(list))
		for i, r := range list {
			places[i] = mfile.Place(r.Place)
		}
		a, err := b.s.files.Copy(ctx, b.s.next, places, to == 1)
		if err != nil {
			return undo(err)
		}
		appended[to] = a
	}
	for _, l := range b.keep {
		if err := l.Keep(); err != nil {
			return undo(err)
		}
	}
	if err := b.s.catalog.Update(context.WithoutCancel(ctx), func(tx *index.CatalogTx) error { return b.enter(tx, appended) }); err != nil {
		return undo(err)
	}
	for _, a := range appended {
		if a != nil {
			a.Commit()
		}
	}
	return nil
}

// enter is the transaction.
func (b *rewriteBatch) enter(tx *index.CatalogTx, appended [2]*mfile.Appended) error {
	for to, a := range appended {
		if a == nil {
			continue
		}
		if err := putFiles(tx, a.Files()); err != nil {
			return err
		}
		for i, p := range a.Places() {
			was := &b.live[to][i]
			now, err := tx.Map(was.MapUID)
			if errors.Is(err, mailbox.ErrNotFound) || err == nil && now.Place != was.Place {
				err = errChanged
			}
			if err == nil {
				err = tx.MoveMap(was.MapUID, index.Place(p))
			}
			if err != nil {
				return err
			}
		}
	}
	for _, r := range b.dead {
		now, err := tx.Map(r.MapUID)
		if errors.Is(err, mailbox.ErrNotFound) || err == nil && (now.Refs > 0 || now.Place != r.Place) {
			err = errChanged // a copy was made of what a client still had in view
		}
		if err == nil {
			err = tx.DropMap(r.MapUID)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range b.files {
		now, err := tx.File(f.ID)
		if err == nil && now.Messages > 0 {
			err = errChanged
		}
		if err != nil {
			return err
		}
		now.Doomed, now.Alt = true, f.Alt
		if err := tx.PutFile(now); err != nil {
			return err
		}
	}
	return nil
}

// finish removes the files, and counts.
func (b *rewriteBatch) finish(ctx context.Context, done *Moved) error {
	done.Left = append(done.Left, b.left...)
	done.Files += len(b.files)
	done.Expunged += len(b.dead)
	for _, r := range b.dead {
		done.Freed += uint64(r.Size)
	}
	for _, list := range b.live {
		done.Messages += len(list)
		for _, r := range list {
			done.Bytes += uint64(r.Size)
		}
	}
	if err := b.s.removeDoomed(context.WithoutCancel(ctx), b.files); err != nil {
		return fmt.Errorf("mdbox: removing emptied files, which is tried again when the store is opened next: %w", err)
	}
	return nil
}

// removeDoomed removes files of which everything has moved elsewhere, and then forgets them.
func (s *maintenance) removeDoomed(ctx context.Context, files []index.CatalogFile) error {
	if len(files) == 0 {
		return nil
	}
	list := make([]mfile.File, len(files))
	for i, f := range files {
		if f.Doomed && f.Messages > 0 {
			return fmt.Errorf("m.%d is to be removed, but has %d messages: %w", f.ID, f.Messages, index.ErrCatalogDamaged)
		}
		list[i] = mfile.File{ID: f.ID, Alt: f.Alt}
	}
	if err := s.files.Remove(list...); err != nil {
		return err
	}
	return s.catalog.Update(ctx, func(tx *index.CatalogTx) error {
		for _, f := range files {
			if err := tx.DropFile(f.ID); err != nil && !errors.Is(err, mailbox.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}
