package mfile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// Options are the options of Open. All but Root may be zero.
type Options struct {
	// Root is the mail root; the files are in its directory "storage".
	Root string
	// Alt is the alternative root, "" where there is none.
	Alt string
	// RotateSize is how long a file may become, if it is not a single message that is
	// longer; 0 means 10 MiB. (mdbox_rotate_size)
	RotateSize int64
	// RotateInterval is how old a file may become, in intervals that begin with the day, the
	// hour or the minute in local time; 0 means any age. (mdbox_rotate_interval)
	RotateInterval time.Duration
	// Preallocate takes the space of new files beforehand. (mdbox_preallocate_space)
	Preallocate bool
	// Host is in the names of temporary files; "" means os.Hostname.
	Host string
	// Faults is for tests.
	Faults *durable.Faults
	// Now is for tests; nil means time.Now.
	Now func() time.Time
}

// A Dir is the directory of message files of one store, which its catalog has locked: no
// other program writes there. It may be used concurrently.
type Dir struct {
	o     Options
	dirs  [2]string // primary and alternative, the latter "" where there is none
	names *tempNames

	mu    sync.Mutex
	known map[uint32]FileState
	// recent are the files that may be appended to, that of the last append first.
	recent []uint32
	busy   map[uint32]bool // held by an Appended or a Lock
	temps  map[string]bool // temporary files in use
	full   map[uint32]bool // files not to be appended to, whatever their size
}

// Open makes a Dir. It does no more than look at the directories: the primary one is made
// when the first message is saved, and the alternative one must be there for anything to be
// moved into it, for it may be a file system that is not mounted.
func Open(o Options) (*Dir, error) {
	if o.RotateSize <= 0 {
		o.RotateSize = 10 << 20
	}
	o.RotateSize = min(o.RotateSize, math.MaxUint32)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("mfile: %w", err)
		}
		o.Host = host
	}
	d := &Dir{o: o, names: newTempNames(o.Host), known: map[uint32]FileState{}, busy: map[uint32]bool{},
		temps: map[string]bool{}, full: map[uint32]bool{}}
	d.dirs[0] = filepath.Join(o.Root, "storage")
	if o.Alt != "" {
		d.dirs[1] = filepath.Join(o.Alt, "storage")
	}
	for _, dir := range d.dirs {
		fi, err := os.Stat(dir)
		if dir == "" || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && !fi.IsDir() {
			err = &os.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
		}
		if err != nil {
			return nil, fmt.Errorf("mfile: %w", err)
		}
	}
	return d, nil
}

// Known tells what the catalog knows of all files, in place of what was known before. A
// file is appended to only if it is as long as that.
func (d *Dir) Known(files []FileState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.recent = make(map[uint32]FileState, len(files)), d.recent[:0]
	clear(d.full)
	for _, f := range files {
		d.known[f.ID] = f
		if int64(f.End) < d.o.RotateSize {
			d.recent = append(d.recent, f.ID)
		}
	}
	slices.SortFunc(d.recent, func(a, b uint32) int { return cmp.Compare(b, a) })
}

// A File is a file as it lies there.
type File struct {
	ID   uint32
	Alt  bool
	Size int64
}

// List returns the message files of both directories, by ID; one that is in both comes
// twice, the primary one first. Temporary files, Dovecot's indexes and files that its
// repair has put aside (m.N.broken) are not among them.
func (d *Dir) List() ([]File, error) {
	var files []File
	for i, dir := range d.dirs {
		if dir == "" {
			continue
		}
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("mfile: listing: %w", err)
		}
		for _, e := range list {
			id, ok := parseName(e.Name())
			if !ok {
				continue
			}
			fi, err := e.Info()
			if errors.Is(err, os.ErrNotExist) || err == nil && !fi.Mode().IsRegular() {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("mfile: listing: %w", err)
			}
			files = append(files, File{id, i == 1, fi.Size()})
		}
	}
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.ID, b.ID) })
	return files, nil
}

func fileName(id uint32) string { return "m." + strconv.FormatUint(uint64(id), 10) }

func parseName(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, "m.")
	id, err := strconv.ParseUint(digits, 10, 32)
	return uint32(id), ok && err == nil && id > 0 && name == fileName(uint32(id))
}

func (d *Dir) path(id uint32, alt bool) string {
	if alt {
		return filepath.Join(d.dirs[1], fileName(id))
	}
	return filepath.Join(d.dirs[0], fileName(id))
}

// open opens a file for reading, the primary one if it is in both directories, and tells
// where it was. An error wraps ErrGone if it is in none.
func (d *Dir) open(id uint32) (f *os.File, alt bool, err error) {
	for i, dir := range d.dirs {
		if dir == "" {
			break
		}
		f, _, err = openRegular(d.path(id, i == 1))
		if !errors.Is(err, os.ErrNotExist) {
			return f, i == 1, err
		}
	}
	return nil, false, fmt.Errorf("%w: m.%d", ErrGone, id)
}

// openRegular opens a file, not a link or what would block.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	f, fi, err := durable.OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, nil, fmt.Errorf("mfile: %w", err)
	}
	return f, fi, nil
}
