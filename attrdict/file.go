package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// A LockMethod is how writers of a dictionary file keep out of each other's way. All
// programs that use one file must use the same.
type LockMethod string

// Dovecot's lock methods for the file dictionary.
const (
	LockDotlock LockMethod = ""      // <file>.lock, the default
	LockFcntl   LockMethod = "fcntl" // a POSIX lock on the file itself
	LockFlock   LockMethod = "flock" // a BSD lock on the file itself
)

// FileOptions are the options of OpenFile.
type FileOptions struct {
	Lock LockMethod
	// Wait is how long to wait for other writers; 0 means Dovecot's 120 seconds.
	Wait time.Duration
	// Stale is the age from which a dotlock without any activity counts as left behind; 0
	// means Dovecot's 60 seconds.
	Stale time.Duration
	// AnonymousLock leaves our dotlocks without pid and host name; see internal/durable on
	// containers.
	AnonymousLock bool
	// Logger is told when a rewrite drops an unfinished end of the file; nil is silent.
	Logger *slog.Logger
	// Faults is for tests.
	Faults *durable.Faults
}

// fileDict implements Dict.
type fileDict struct {
	path string
	o    FileOptions
	turn chan struct{} // held by the one Update

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup
	cache  *contents
	stamp  stamp
}

// OpenFile returns Dovecot's "file" dictionary at path. Dovecot may use it at the same
// time. The file:
//
//	file   = *(key LF value LF)
//	escape = %x01 ("0" / "1" / "t" / "r" / "n")   ; NUL, 0x01, TAB, CR, LF
//
// Order means nothing; of two pairs with one key the last counts; CR LF is read as LF. A
// last line without LF is ignored, and so is a key line without a value line. A file that
// holds a NUL is ErrCorrupt: a crash of the system may have left it so, and it must not be
// taken for one without keys. Every change
// rewrites the file under its lock, into the lock file or <file>.tmp, which is synced and
// renamed. Pairs that are not changed keep their bytes. (Dovecot: dict-file.c.)
//
// A file that does not exist is empty, and is created by the first Update, with mode 0600
// where Dovecot would derive it from the directory; an existing file keeps its mode.
// Where a rewrite would lose an unfinished end, the old file is kept as <file>.unfinished.
func OpenFile(path string, o FileOptions) (Dict, error) {
	switch o.Lock {
	case LockDotlock, LockFcntl, LockFlock:
	default:
		return nil, fmt.Errorf("attrdict: unknown lock method %q", o.Lock)
	}
	if o.Wait <= 0 {
		o.Wait = 120 * time.Second
	}
	if o.Stale <= 0 {
		o.Stale = 60 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &fileDict{path: path, o: o, turn: make(chan struct{}, 1)}
	if _, err := d.current(); err != nil {
		return nil, err
	}
	return d, nil
}

// View implements Dict.
func (d *fileDict) View(ctx context.Context, fn func(Reader) error) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.active.Done()
	c, err := d.current()
	if err != nil {
		return err
	}
	return fn(&fileTx{base: c})
}

// Update implements Dict.
func (d *fileDict) Update(ctx context.Context, fn func(Tx) error) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.active.Done()
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	l, err := d.lock(ctx)
	if err != nil {
		return d.lockError(err)
	}
	defer l.unlock()
	c, _, err := readContents(d.path) // never the cache: its file may be another by now
	if err != nil {
		return err
	}
	tx := &fileTx{base: c, changes: map[string]*[]byte{}}
	if err := fn(tx); err != nil {
		return err
	}
	if len(tx.changes) == 0 {
		return nil
	}
	return d.write(l, c, tx.changes)
}

func (d *fileDict) write(l fileLock, old *contents, changes map[string]*[]byte) error {
	text := old.with(changes).format()
	if len(text) > maxFile {
		return fmt.Errorf("%w: %s would have %d bytes", ErrTooLarge, d.path, len(text))
	}
	if old.dropped {
		d.o.Logger.Warn("dictionary file has an unfinished end, which is dropped", "file", d.path)
		if err := d.o.Faults.Link(d.path, d.path+".unfinished"); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("attrdict: keeping %s: %w", d.path, err)
		}
	}
	err := l.replace(func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("attrdict: writing %s: %w", d.path, err)
	}
	return nil
}

func (d *fileDict) lockError(err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w: %s", ErrLocked, d.path)
	}
	return fmt.Errorf("attrdict: locking %s: %w", d.path, err)
}

func (d *fileDict) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%w: %s", ErrClosed, d.path)
	}
	d.active.Add(1)
	return nil
}

// Close implements Dict.
func (d *fileDict) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrClosed, d.path)
	}
	d.closed = true
	d.mu.Unlock()
	d.active.Wait()
	return nil
}

// A stamp tells one state of a file from another.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
	read         time.Time
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
}

// racy is the age below which a file's times prove nothing: the kernel's clock for them
// ticks every few milliseconds, and within one tick an inode number can come back.
const racy = 100 * time.Millisecond

// is reports whether s, noted when the file was read, still describes the file.
func (s stamp) is(now stamp) bool {
	settled := s.read.Sub(time.Unix(0, s.ctime)) > racy
	s.read, now.read = time.Time{}, time.Time{}
	return settled && s == now
}

// current returns the contents as they are now, read again only if the file has changed.
func (d *fileDict) current() (*contents, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Lstat(d.path, &st); err == nil && d.cache != nil && d.stamp.is(stampOf(&st)) {
		return d.cache, nil
	}
	c, s, err := readContents(d.path)
	if err != nil {
		return nil, err
	}
	d.cache, d.stamp = c, s
	return c, nil
}

// readContents reads the file that is at path now. Renaming is atomic, so what one open
// file holds is one state.
func readContents(path string) (*contents, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return parseContents(nil), stamp{}, nil
	case errors.Is(err, unix.ELOOP):
		return nil, stamp{}, fmt.Errorf("%w: %s is a symbolic link", ErrCorrupt, path)
	case errors.Is(err, unix.ENXIO):
		return nil, stamp{}, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case err != nil:
		return nil, stamp{}, fmt.Errorf("attrdict: opening: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, stamp{}, fmt.Errorf("attrdict: reading %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, stamp{}, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case st.Size > maxFile:
		return nil, stamp{}, fmt.Errorf("%w: %s has %d bytes: %w", ErrCorrupt, path, st.Size, ErrTooLarge)
	}
	s := stampOf(&st)
	s.read = time.Now()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, stamp{}, fmt.Errorf("attrdict: reading: %w", err)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, stamp{}, fmt.Errorf("%w: %s holds a NUL byte, which nobody writes there", ErrCorrupt, path)
	}
	return parseContents(b), s, nil
}

// fileTx implements Tx over parsed contents; a nil value in changes is a removed key.
type fileTx struct {
	base    *contents
	changes map[string]*[]byte
}

// Get implements Reader.
func (t *fileTx) Get(key string) ([]byte, error) {
	if v, ok := t.changes[key]; ok {
		if v == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
		}
		return *v, nil
	}
	if v, ok := t.base.get(key); ok {
		return v, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
}

// Iterate implements Reader.
func (t *fileTx) Iterate(prefix string, fn func(string, []byte) error) error {
	c := t.base
	if len(t.changes) > 0 {
		c = c.with(t.changes)
	}
	first, _ := slices.BinarySearchFunc(c.sorted, prefix, func(i int, p string) int {
		return strings.Compare(c.pairs[i].key, p)
	})
	for _, i := range c.sorted[first:] {
		p := c.pairs[i]
		if !strings.HasPrefix(p.key, prefix) {
			break
		}
		if err := fn(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// Set implements Tx.
func (t *fileTx) Set(key string, value []byte) error {
	if err := checkPair(key, value); err != nil {
		return err
	}
	value = append([]byte{}, value...)
	t.changes[key] = &value
	return nil
}

// Unset implements Tx.
func (t *fileTx) Unset(key string) error {
	if _, ok := t.base.byKey[key]; ok {
		t.changes[key] = nil
	} else {
		delete(t.changes, key)
	}
	return nil
}

// A fileLock is held by one Update. replace also unlocks; unlock after it does nothing.
type fileLock interface {
	replace(write func(io.Writer) error) error
	unlock()
}

// lock takes the lock, and makes the directory as Dovecot does if it is missing.
func (d *fileDict) lock(ctx context.Context) (fileLock, error) {
	l, err := d.lockOnce(ctx)
	if errors.Is(err, os.ErrNotExist) {
		if err := durable.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
			return nil, err
		}
		l, err = d.lockOnce(ctx)
	}
	return l, err
}

func (d *fileDict) lockOnce(ctx context.Context) (fileLock, error) {
	if d.o.Lock != LockDotlock {
		return lockItself(ctx, d.path, d.o)
	}
	l, err := durable.Lock(ctx, d.path, durable.DotlockOptions{
		Wait: d.o.Wait, Stale: d.o.Stale, Anonymous: d.o.AnonymousLock, Faults: d.o.Faults,
	})
	if err != nil {
		return nil, err
	}
	return dotlock{l}, nil
}

type dotlock struct{ l *durable.Dotlock }

func (d dotlock) replace(write func(io.Writer) error) error { return d.l.ReplaceWith(write) }

// unlock has nothing to report: nothing was written.
func (d dotlock) unlock() { _ = d.l.Unlock() }
