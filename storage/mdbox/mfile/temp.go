package mfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// tempPrefix is how Dovecot's temporary files begin, too.
const tempPrefix = ".temp."

// tempNames makes names in Dovecot's form: time, pid, counter and host.
type tempNames struct {
	host string
	mu   sync.Mutex
	n    uint64
}

func newTempNames(host string) *tempNames {
	safe := strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '/' || r == ':' {
			return '_'
		}
		return r
	}, host)
	return &tempNames{host: safe[:min(len(safe), 64)]}
}

func (t *tempNames) next(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	return fmt.Sprintf("%s%d.P%dQ%dM%d.%s", tempPrefix, now.Unix(), os.Getpid(), t.n, now.Nanosecond()/1000, t.host)
}

// createTemp makes a file that begins with the header of one, and returns the offset behind
// it. The primary directory is made if need be.
func (d *Dir) createTemp(alt bool) (*durable.File, fileHeader, error) {
	dir, now := d.dirs[0], d.o.Now()
	if alt {
		dir = d.dirs[1]
	}
	path := filepath.Join(dir, d.names.next(now))
	f, err := d.newFile(path)
	if errors.Is(err, os.ErrNotExist) && d.mayMake(alt) {
		tree := durable.Tree{Roots: []string{d.o.Root, d.o.Alt}, Faults: d.o.Faults}
		if err := tree.MkdirAll(dir); err != nil {
			return nil, fileHeader{}, fmt.Errorf("mfile: making directory: %w", err)
		}
		f, err = d.newFile(path)
	}
	if alt && errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("the alternative directory is not there; mount its file system, or make %s: %w", filepath.Dir(dir), err)
	}
	if err != nil {
		return nil, fileHeader{}, fmt.Errorf("mfile: making a file: %w", err)
	}
	d.mu.Lock()
	d.temps[path] = true
	d.mu.Unlock()
	b := appendFileHeader(nil, now)
	if _, err := f.Write(b); err != nil {
		return nil, fileHeader{}, errors.Join(fmt.Errorf("mfile: writing: %w", err), d.dropTemp(f))
	}
	return f, fileHeader{version: "2", created: time.Unix(int64(uint32(now.Unix())), 0).UTC(), message: headerSize, end: int64(len(b))}, nil
}

// mayMake: what is above the alternative directory must be there, for it may be a file
// system that is not mounted.
func (d *Dir) mayMake(alt bool) bool {
	if !alt {
		return true
	}
	_, err := os.Stat(filepath.Dir(d.dirs[1]))
	return err == nil
}

func (d *Dir) newFile(path string) (*durable.File, error) {
	mode := os.FileMode(0o600)
	var st unix.Stat_t
	if unix.Stat(filepath.Dir(path), &st) == nil {
		mode = durable.FileMode(&st)
	}
	f, err := d.o.Faults.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		durable.InheritGroup(path, &st)
	}
	return f, err
}

// preallocate takes the space of a new file up to the size at which it is full. Where that
// cannot be done the file grows as any other.
func (d *Dir) preallocate(f *durable.File) {
	if d.o.Preallocate {
		_ = unix.Fallocate(int(f.OS().Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, d.o.RotateSize)
	}
}

// dropTemp closes and removes a temporary file.
func (d *Dir) dropTemp(f *durable.File) error {
	f.Close()
	defer d.forgetTemp(f.Name())
	if err := d.o.Faults.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mfile: removing: %w", err)
	}
	return nil
}

func (d *Dir) forgetTemp(path string) {
	d.mu.Lock()
	delete(d.temps, path)
	d.mu.Unlock()
}

// RemoveTemporary removes the temporary files that crashes have left, and returns how many.
// The caller must own the store; files that this Dir is writing stay.
func (d *Dir) RemoveTemporary() (n int, err error) {
	for _, dir := range d.dirs {
		if dir == "" {
			continue
		}
		list, lerr := os.ReadDir(dir)
		if lerr != nil && !errors.Is(lerr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("mfile: listing: %w", lerr))
		}
		for _, e := range list {
			path := filepath.Join(dir, e.Name())
			d.mu.Lock()
			used := d.temps[path]
			d.mu.Unlock()
			if used || !strings.HasPrefix(e.Name(), tempPrefix) || !e.Type().IsRegular() {
				continue
			}
			if rerr := d.o.Faults.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("mfile: removing: %w", rerr))
				continue
			}
			n++
		}
	}
	return n, err
}
