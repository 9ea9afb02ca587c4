package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"mailcrypt/internal/boltfile"
)

// boltBucket holds all pairs, key and value as they are.
var boltBucket = []byte("attributes")

// BoltOptions are the options of OpenBolt.
type BoltOptions struct {
	// Timeout is how long to wait for another process that has the file open; 0 means one
	// second.
	Timeout time.Duration
	// ReadOnly opens for View alone and shares the file with other readers. The file must
	// exist.
	ReadOnly bool
}

// boltDict implements Dict. bbolt maps its file, so damage shows as a panic or a memory
// fault in the middle of a read; every call into it therefore goes through guard.
type boltDict struct {
	path string
	db   *bolt.DB
	file *os.File
	turn chan struct{} // held by the one Update; waiting for it can end with a context

	mu     sync.RWMutex // held for reading by transactions, for writing by Close
	closed bool

	badMu sync.Mutex
	bad   error // set once: nothing more is read from a file that has shown damage
}

// OpenBolt opens the bbolt file at path and creates it, mode 0600, if there is none. Damage
// that can be seen is an error wrapping ErrCorrupt, now or at any later call, after which
// the dictionary answers nothing else: the file must be restored and opened again. If
// another process has it, and for a second OpenBolt in this one, the error wraps ErrLocked.
func OpenBolt(path string, o BoltOptions) (Dict, error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	d := &boltDict{path: path, turn: make(chan struct{}, 1)}
	err := d.open(o)
	if errors.Is(err, os.ErrNotExist) && !o.ReadOnly {
		if err = createBolt(path, o.Timeout); err == nil {
			err = d.open(o)
		}
	}
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrLocked):
		return nil, err // names the path
	}
	return nil, fmt.Errorf("attrdict: opening %s: %w", path, err)
}

// open checks the file under bbolt's lock: without it, a writer could be growing the file.
// bbolt locks after OpenFile and maps next, so its lock is taken here; taking it again on
// the same descriptor is no conflict.
func (d *boltDict) open(o BoltOptions) error {
	err := d.guard(nil, func() error {
		db, err := bolt.Open(d.path, 0o600, &bolt.Options{
			Timeout:  o.Timeout,
			ReadOnly: o.ReadOnly,
			OpenFile: func(path string, flag int, perm os.FileMode) (*os.File, error) {
				f, err := openRegular(path, flag, perm)
				if err != nil {
					return nil, err
				}
				if err := d.inspect(f, o); err != nil {
					f.Close()
					return nil, err
				}
				d.file = f
				return f, nil
			},
			PreLoadFreelist: true,
		})
		if err != nil {
			return boltError(d.path, err)
		}
		d.db = db
		return db.View(func(tx *bolt.Tx) error {
			if tx.Bucket(boltBucket) == nil {
				return fmt.Errorf("%w: %s has no bucket of attributes", ErrCorrupt, d.path)
			}
			return nil
		})
	})
	switch {
	case err == nil:
	case d.damage() == nil && d.db != nil:
		_ = d.db.Close() // why it was not opened matters more
	case d.file != nil:
		d.abandon()
	}
	return err
}

func (d *boltDict) inspect(f *os.File, o BoltOptions) error {
	if err := lockBolt(f, o); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	err = boltfile.Check(f, info.Size())
	switch {
	case errors.Is(err, boltfile.ErrDamaged):
		return fmt.Errorf("%s: %w: %w", d.path, ErrCorrupt, err)
	case err != nil:
		return fmt.Errorf("attrdict: %s: %w", d.path, err)
	}
	return nil
}

// View implements Dict.
func (d *boltDict) View(ctx context.Context, fn func(Reader) error) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	t := &boltTx{path: d.path}
	return d.guard(t, func() error {
		return d.db.View(func(tx *bolt.Tx) error { return t.run(tx, func() error { return fn(t) }) })
	})
}

// Update implements Dict.
func (d *boltDict) Update(ctx context.Context, fn func(Tx) error) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	t := &boltTx{path: d.path}
	err := d.guard(t, func() error {
		return d.db.Update(func(tx *bolt.Tx) error { return t.run(tx, func() error { return fn(t) }) })
	})
	if err != nil && t.err == nil && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("attrdict: writing %s: %w", d.path, err)
	}
	return err
}

// begin takes the lock that Close waits for.
func (d *boltDict) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.RLock()
	err := d.damage()
	if d.closed {
		err = fmt.Errorf("%w: %s", ErrClosed, d.path)
	}
	if err != nil {
		d.mu.RUnlock()
	}
	return err
}

func (d *boltDict) damage() error {
	d.badMu.Lock()
	defer d.badMu.Unlock()
	return d.bad
}

// guard turns a panic of bbolt's, or a fault in the mapped file, into ErrCorrupt and marks
// the dictionary as bad. A panic of the caller's fn goes on to the caller.
func (d *boltDict) guard(t *boltTx, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if t != nil && t.inFn {
			return // recover is not called: the panic, if there is one, passes
		}
		if p := recover(); p != nil {
			// What it says may quote the file; that it happened is enough.
			err = fmt.Errorf("%w: %s: reading failed in the middle", ErrCorrupt, d.path)
			d.badMu.Lock()
			d.bad = err
			d.badMu.Unlock()
		}
	}()
	return fn()
}

// abandon closes the file under bbolt, which after a panic may hold locks that its own
// Close would wait for. The mapping stays, and with it the kernel's lock if that were not
// given up first; nothing reads through it any more.
func (d *boltDict) abandon() {
	_ = unix.Flock(int(d.file.Fd()), unix.LOCK_UN) // closed by bbolt already: nothing to do
	d.file.Close()
}

// Close implements Dict.
func (d *boltDict) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%w: %s", ErrClosed, d.path)
	}
	d.closed = true
	if d.damage() != nil {
		d.abandon()
		return nil
	}
	if err := d.db.Close(); err != nil {
		return fmt.Errorf("attrdict: closing %s: %w", d.path, err)
	}
	return nil
}

// boltError tells damage from other reasons.
func boltError(path string, err error) error {
	for _, damage := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
		}
	}
	return err
}

// boltTx implements Tx. Values are copied, so that the caller never touches the mapping.
type boltTx struct {
	path string
	b    *bolt.Bucket
	inFn bool  // the caller's code runs, not bbolt's
	err  error // what it returned
}

func (t *boltTx) run(tx *bolt.Tx, fn func() error) error {
	t.b = tx.Bucket(boltBucket)
	if t.b == nil {
		return fmt.Errorf("%w: %s has no bucket of attributes", ErrCorrupt, t.path)
	}
	t.inFn = true
	t.err = fn()
	t.inFn = false
	return t.err
}

// call runs bbolt's code on behalf of the caller's.
func (t *boltTx) call(fn func() error) error {
	t.inFn = false
	err := fn()
	t.inFn = true
	return err
}

// Get implements Reader.
func (t *boltTx) Get(key string) (value []byte, err error) {
	err = t.call(func() error {
		v := t.b.Get([]byte(key))
		if v == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, key)
		}
		value = append([]byte{}, v...)
		return nil
	})
	return value, err
}

// Iterate implements Reader. All pairs are read first: fn may change the bucket, which a
// cursor would not survive.
func (t *boltTx) Iterate(prefix string, fn func(string, []byte) error) error {
	type pair struct {
		key   string
		value []byte
	}
	var pairs []pair
	err := t.call(func() error {
		c := t.b.Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			pairs = append(pairs, pair{string(k), append([]byte{}, v...)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if err := fn(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// Set implements Tx.
func (t *boltTx) Set(key string, value []byte) error {
	if err := checkPair(key, value); err != nil {
		return err
	}
	return t.call(func() error { return t.b.Put([]byte(key), bytes.Clone(value)) })
}

// Unset implements Tx.
func (t *boltTx) Unset(key string) error {
	return t.call(func() error { return t.b.Delete([]byte(key)) })
}
