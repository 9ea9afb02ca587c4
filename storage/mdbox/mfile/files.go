package mfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// A Lock is a file that is neither appended to nor taken by another program's purge.
type Lock struct {
	d  *Dir
	f  *os.File
	id uint32

	// Size is how long the file is, and Begin where its first message begins, 0 where its
	// header cannot be read.
	Size, Begin int64
	Alt         bool
}

// Lock locks a file, without waiting. An error wraps ErrBusy if it is locked already, or
// ErrGone.
func (d *Dir) Lock(id uint32) (*Lock, error) {
	d.mu.Lock()
	busy := d.busy[id]
	if !busy {
		d.busy[id] = true
	}
	d.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("%w: m.%d", ErrBusy, id)
	}
	l := &Lock{d: d, id: id}
	if err := l.take(); err != nil {
		d.release(id, false)
		return nil, err
	}
	return l, nil
}

func (l *Lock) take() (err error) {
	if l.f, l.Alt, err = l.d.open(l.id); err != nil {
		return err
	}
	path := l.d.path(l.id, l.Alt)
	var fi os.FileInfo
	if err = lock(l.f, path); err == nil {
		fi, err = l.f.Stat()
	}
	if err != nil {
		l.f.Close()
		return fmt.Errorf("mfile: locking m.%d: %w", l.id, err)
	}
	l.Size = fi.Size()
	w := window{r: l.f, size: l.Size, file: l.id, least: maxFileHeader}
	if h, err := w.fileHeader(); err == nil {
		l.Begin = h.end
	}
	return nil
}

// Keep gives the file a second name, "m.N.broken", under which it stays when it is removed:
// for one in which there are bytes that nobody has understood. Dovecot's repair does so too.
func (l *Lock) Keep() error {
	path := l.d.path(l.id, l.Alt)
	if err := l.d.o.Faults.Link(path, path+".broken"); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("mfile: keeping m.%d: %w", l.id, err)
	}
	return nil
}

// Unlock ends the lock. After the first call it does nothing.
func (l *Lock) Unlock() {
	if l.f == nil {
		return
	}
	l.f.Close()
	l.f = nil
	l.d.release(l.id, false)
}

// Remove removes files and makes that durable. Those that are gone already are no error. From
// now on nothing is appended to any of them, even where it fails; whoever has a Lock of one
// must not give it back before. Size does not count.
func (d *Dir) Remove(files ...File) error {
	var removed [2]bool
	var err error
	d.mu.Lock()
	for _, f := range files {
		delete(d.known, f.ID)
		d.full[f.ID] = true
		d.recent = slices.DeleteFunc(d.recent, func(id uint32) bool { return id == f.ID })
	}
	d.mu.Unlock()
	for _, f := range files {
		rerr := d.o.Faults.Remove(d.path(f.ID, f.Alt))
		if rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("mfile: removing m.%d: %w", f.ID, rerr))
			continue
		}
		removed[index(f.Alt)] = true
		d.mu.Lock()
		delete(d.full, f.ID) // IDs are given once
		d.mu.Unlock()
	}
	for i, yes := range removed {
		if !yes {
			continue
		}
		if serr := d.o.Faults.SyncDir(d.dirs[i]); serr != nil && !errors.Is(serr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("mfile: removing: %w", serr))
		}
	}
	return err
}

// Renumber gives a file the next free ID, for one whose ID is in both directories, and makes
// that durable.
func (d *Dir) Renumber(ctx context.Context, f File, next func() uint32) (uint32, error) {
	id, err := d.rename(ctx, d.path(f.ID, f.Alt), f.Alt, next)
	if err != nil {
		return 0, err
	}
	if err := d.o.Faults.SyncDir(d.dirs[index(f.Alt)]); err != nil {
		return 0, fmt.Errorf("mfile: renaming m.%d: %w", f.ID, err)
	}
	return id, nil
}

// A FileScanner is a Scanner of a file of a Dir. The caller closes it.
type FileScanner struct {
	*Scanner
	f *os.File
}

// Scan begins to go through the messages of a file, as long as it is now. Where the header of
// the file is damaged the first Next says so, and Skip finds the messages. Errors wrap
// ErrGone or come from the file system.
func (d *Dir) Scan(f File) (*FileScanner, error) {
	if f.Alt && d.o.Alt == "" {
		return nil, fmt.Errorf("%w: m.%d", ErrGone, f.ID)
	}
	file, fi, err := openRegular(d.path(f.ID, f.Alt))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: m.%d", ErrGone, f.ID)
	}
	if err != nil {
		return nil, err
	}
	w := window{r: file, size: fi.Size(), file: f.ID}
	s, err := newScanner(w)
	if _, damaged := err.(*CorruptError); damaged {
		s, err = &Scanner{w: w, header: headerSize}, nil
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &FileScanner{s, file}, nil
}

// Close ends the scan.
func (s *FileScanner) Close() error { return s.f.Close() }

// ReadAt reads of the file, for instance the body of a message that was found.
func (s *FileScanner) ReadAt(p []byte, at int64) (int, error) { return s.f.ReadAt(p, at) }
