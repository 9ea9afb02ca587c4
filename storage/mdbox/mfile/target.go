package mfile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// maxTried is how many files are looked at for room before a new one is made, as in Dovecot.
const maxTried = 10

// writeSize is how much is gathered for one write.
const writeSize = 256 << 10

// A target is a file that is being appended to. It is locked.
type target struct {
	file    *durable.File
	id      uint32 // 0 while it has a temporary name
	fresh   bool   // made for this append
	alt     bool
	created time.Time
	from    int64 // where it ended before
	end     int64 // where it ends now, with buf
	buf     []byte
}

// write appends bytes. What is much already is not gathered.
func (t *target) write(p []byte) error {
	if len(p) >= writeSize/8 {
		if err := t.flush(); err != nil {
			return err
		}
		t.end += int64(len(p))
		if _, err := t.file.Write(p); err != nil {
			return fmt.Errorf("mfile: appending: %w", err)
		}
		return nil
	}
	t.buf = append(t.buf, p...)
	t.end += int64(len(p))
	if len(t.buf) < writeSize {
		return nil
	}
	return t.flush()
}

func (t *target) flush() error {
	if len(t.buf) == 0 {
		return nil
	}
	_, err := t.file.Write(t.buf)
	t.buf = t.buf[:0]
	if err != nil {
		return fmt.Errorf("mfile: appending: %w", err)
	}
	return nil
}

// target finds room for a message of that many bytes, or makes it.
func (a *Appended) target(size int64) (*target, error) {
	if size > math.MaxUint32-maxFileHeader {
		return nil, ErrTooLarge
	}
	rotate := a.d.o.RotateSize
	for i := len(a.targets) - 1; i >= 0 && i >= len(a.targets)-maxTried; i-- {
		if t := a.targets[i]; t.end+size <= rotate {
			return t, nil
		}
	}
	for len(a.locked) < maxTried {
		f, ok := a.d.claim(size, a.alt, a.locked)
		if !ok {
			break
		}
		t, err := a.d.openTarget(f)
		if t != nil {
			a.targets = append(a.targets, t)
			return t, nil
		}
		// That of another program is left to it; anything else will not get better.
		a.d.release(f.ID, !errors.Is(err, ErrBusy))
		a.locked = append(a.locked, f.ID)
	}
	file, head, err := a.d.createTemp(a.alt)
	if err != nil {
		return nil, err
	}
	a.d.preallocate(file)
	t := &target{file: file, fresh: true, alt: a.alt, created: head.created, end: head.end}
	a.targets = append(a.targets, t)
	return t, nil
}

// claim takes the newest file with room for a message, but for some, and marks it as busy.
func (d *Dir) claim(size int64, alt bool, not []uint32) (FileState, bool) {
	oldest := rotateStamp(d.o.Now(), d.o.RotateInterval)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.recent {
		f := d.known[id]
		if f.Alt == alt && int64(f.End)+size <= d.o.RotateSize && f.End > 0 &&
			!d.busy[id] && !d.full[id] && !slices.Contains(not, id) && !f.Created.Before(oldest) {
			d.busy[id] = true
			return f, true
		}
	}
	return FileState{}, false
}

// release gives a file back. It may be that it is not to be appended to again.
func (d *Dir) release(id uint32, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, id)
	if full {
		d.full[id] = true
		d.recent = slices.DeleteFunc(d.recent, func(r uint32) bool { return r == id })
	}
}

// openTarget opens and locks a file that was claimed. It returns an error if it is not as it
// must be: the file of another length has something behind its messages that is not ours.
func (d *Dir) openTarget(f FileState) (*target, error) {
	path := d.path(f.ID, f.Alt)
	file, err := d.o.Faults.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = lock(file.OS(), path)
	var head fileHeader
	if err == nil {
		w := window{r: file.OS(), size: int64(f.End), file: f.ID}
		head, err = w.fileHeader()
	}
	if err == nil && (head.version != "2" || head.message != headerSize) {
		err = errors.New("mfile: file of an old version")
	}
	if err == nil {
		var at int64
		if at, err = file.OS().Seek(0, io.SeekEnd); err == nil && at != int64(f.End) {
			err = errors.New("mfile: file has another length than is known")
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &target{file: file, id: f.ID, alt: f.Alt, created: head.created, from: int64(f.End), end: int64(f.End)}, nil
}

// lock takes Dovecot's lock of a message file, without waiting; an error wraps ErrBusy if
// another program has it. The file must still have its name.
func lock(f *os.File, path string) error {
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%w: %s", ErrBusy, path)
	case err != nil:
		return fmt.Errorf("mfile: locking %s: %w", path, err)
	}
	is, err := f.Stat()
	if err != nil {
		return fmt.Errorf("mfile: locking: %w", err)
	}
	named, err := os.Lstat(path)
	if err != nil || !os.SameFile(is, named) {
		return fmt.Errorf("%w: %s", ErrGone, path)
	}
	return nil
}

// rotateStamp is the time before which a file must not have been made to be appended to: the
// interval ends with the day, hour or minute that it is now. (Dovecot: day_begin_stamp.)
func rotateStamp(now time.Time, interval time.Duration) time.Time {
	now = now.Local()
	y, m, d := now.Date()
	switch {
	case interval <= 0:
		return time.Time{}
	case interval >= 24*time.Hour:
		return time.Date(y, m, d, 0, 0, 0, 0, time.Local).Add(24*time.Hour - interval)
	case interval >= time.Hour:
		return time.Date(y, m, d, now.Hour(), 0, 0, 0, time.Local).Add(time.Hour - interval)
	case interval >= time.Minute:
		return time.Date(y, m, d, now.Hour(), now.Minute(), 0, 0, time.Local).Add(time.Minute - interval)
	}
	return now.Truncate(time.Second).Add(time.Second - interval)
}
