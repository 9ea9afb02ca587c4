package mfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A Message is a message to be appended.
type Message struct {
	Spool    *Spool
	Metadata Metadata
}

// An Appended are messages that are on the disk, in files that are locked until Commit or
// Undo, one of which must be called. It is one goroutine's.
type Appended struct {
	d       *Dir
	alt     bool
	targets []*target
	placed  []placed
	locked  []uint32 // by other programs, or not as they must be: not to be tried again
	ended   bool
}

type placed struct {
	t            *target
	offset, size int64
}

// Append writes messages behind those of the newest files, or into new files, and makes
// them durable. It takes over the spools, whatever comes of it. next gives new IDs of files,
// each above all that have been; those that are taken are passed over.
//
// Errors wrap ErrTooLarge, ErrAttachments or those of the file system. Then nothing has been
// appended.
func (d *Dir) Append(ctx context.Context, next func() uint32, messages []Message) (*Appended, error) {
	defer func() {
		for _, m := range messages {
			_ = m.Spool.Abort() // of those that were not reached
		}
	}()
	a := &Appended{d: d}
	for i := range messages {
		if err := ctx.Err(); err != nil {
			return nil, a.fail(err)
		}
		if err := a.add(&messages[i]); err != nil {
			return nil, a.fail(err)
		}
	}
	if err := a.sync(ctx, next); err != nil {
		return nil, a.fail(err)
	}
	return a, nil
}

func (a *Appended) fail(err error) error { return errors.Join(err, a.Undo()) }

// add writes one message.
func (a *Appended) add(m *Message) error {
	if err := m.Metadata.check(); err != nil {
		return err
	}
	post := m.Metadata.append(nil, m.Spool.size)
	if len(post) > maxTrailer/2 {
		return fmt.Errorf("mfile: metadata of %d bytes: %w", len(post), ErrTooLarge)
	}
	file, err := m.Spool.take()
	if err != nil {
		return err
	}
	if file != nil { // it becomes a file of its own, to which others may be appended
		t := &target{file: file, fresh: true, created: m.Spool.head.created}
		t.end = m.Spool.head.end + headerSize + m.Spool.size
		a.targets = append(a.targets, t)
		offset := m.Spool.head.end
		if err := t.write(post); err != nil {
			return err
		}
		a.placed = append(a.placed, placed{t, offset, t.end - offset})
		return nil
	}
	size := headerSize + m.Spool.size + int64(len(post))
	t, err := a.target(size)
	if err != nil {
		return err
	}
	a.placed = append(a.placed, placed{t, t.end, size})
	t.buf = slices.Grow(t.buf, int(min(size, writeSize/8)))
	if err := t.write(appendHeader(nil, m.Spool.size)); err != nil {
		return err
	}
	if err := m.Spool.each(t.write); err != nil {
		return err
	}
	return t.write(post)
}

// sync makes everything durable: first the bytes, then the names.
func (a *Appended) sync(ctx context.Context, next func() uint32) error {
	for _, t := range a.targets {
		if err := t.flush(); err != nil {
			return err
		}
		if err := t.file.Datasync(); err != nil {
			if !t.fresh {
				a.d.release(t.id, true) // what the kernel has dropped it will not tell again
			}
			return fmt.Errorf("mfile: appending: %w", err)
		}
	}
	var renamed [2]bool
	for _, t := range a.targets {
		if !t.fresh {
			continue
		}
		if err := a.d.name(ctx, t, next); err != nil {
			return err
		}
		renamed[index(t.alt)] = true
	}
	for i, yes := range renamed {
		if !yes {
			continue
		}
		if err := a.d.o.Faults.SyncDir(a.d.dirs[i]); err != nil {
			return fmt.Errorf("mfile: appending: %w", err)
		}
	}
	return nil
}

func index(alt bool) int {
	if alt {
		return 1
	}
	return 0
}

// name gives a new file the next free ID, and locks it before others can see it.
func (d *Dir) name(ctx context.Context, t *target, next func() uint32) error {
	if err := unix.Flock(int(t.file.OS().Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("mfile: locking: %w", err)
	}
	id, err := d.rename(ctx, t.file.Name(), t.alt, next)
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.temps, t.file.Name())
	d.busy[id] = true
	d.mu.Unlock()
	t.id = id
	return nil
}

// rename renames a file to the next ID that neither directory has.
func (d *Dir) rename(ctx context.Context, from string, alt bool, next func() uint32) (uint32, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		id := next()
		if id == 0 {
			return 0, errors.New("mfile: there are no more IDs for message files")
		}
		if d.dirs[1] != "" {
			if _, err := os.Lstat(d.path(id, !alt)); err == nil {
				continue
			}
		}
		err := d.o.Faults.RenameNew(from, d.path(id, alt))
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("mfile: naming a new file: %w", err)
		}
		return id, nil
	}
}

// Places tell where the messages are, in the order in which they were given.
func (a *Appended) Places() []Place {
	places := make([]Place, len(a.placed))
	for i, p := range a.placed {
		places[i] = Place{p.t.id, uint32(p.offset), uint32(p.size)}
	}
	return places
}

// Files are the files that have become longer, as the catalog must know them.
func (a *Appended) Files() []FileState {
	files := make([]FileState, 0, len(a.targets))
	for _, t := range a.targets {
		files = append(files, t.state())
	}
	return files
}

func (t *target) state() FileState {
	return FileState{ID: t.id, End: uint32(t.end), Created: t.created, Alt: t.alt}
}

// Commit says that the catalog knows the messages. It unlocks the files.
func (a *Appended) Commit() {
	if a.ended {
		return
	}
	a.ended = true
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	for _, t := range a.targets {
		a.d.commit(t.state())
		delete(a.d.busy, t.id)
		t.file.Close()
	}
}

// commit takes up what is known of a file now. mu is held.
func (d *Dir) commit(f FileState) {
	d.known[f.ID] = f
	d.recent = slices.DeleteFunc(d.recent, func(id uint32) bool { return id == f.ID })
	if int64(f.End) < d.o.RotateSize && !d.full[f.ID] {
		d.recent = slices.Insert(d.recent, 0, f.ID)
	}
}

// Undo takes the messages back, and unlocks the files. After an error some of the bytes
// still lie there; the files are not appended to any more, and nothing else is wrong.
func (a *Appended) Undo() (err error) {
	if a.ended {
		return nil
	}
	a.ended = true
	for _, t := range a.targets {
		err = errors.Join(err, a.d.undo(t))
	}
	return err
}

func (d *Dir) undo(t *target) error {
	if t.fresh {
		if t.id == 0 {
			return d.dropTemp(t.file)
		}
		err := d.o.Faults.Remove(d.path(t.id, t.alt))
		t.file.Close()
		d.release(t.id, true)
		if err != nil {
			return fmt.Errorf("mfile: taking back: %w", err)
		}
		return nil
	}
	defer t.file.Close()
	fi, err := t.file.OS().Stat()
	if err == nil && fi.Size() > t.end-int64(len(t.buf)) {
		err = fmt.Errorf("%s was appended to by another program", filepath.Base(t.file.Name()))
	}
	if err == nil && fi.Size() > t.from {
		err = t.file.Truncate(t.from)
	}
	d.release(t.id, err != nil)
	if err != nil {
		return fmt.Errorf("mfile: taking back: %w", err)
	}
	return nil
}
