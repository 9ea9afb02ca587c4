// Package index caches what a Maildir does not hold: modification sequences, sizes
// that were found by reading, save dates, and the identity of each mailbox. Nothing in
// it is the only copy of anything that matters: a lost or damaged index costs time.
//
// There is one file a mail root, mailcryptd.index.db, a bbolt database that one process
// holds open. Its buckets:
//
//	"meta"      "format" => "2"
//	"names"     mailbox directory => GUID(16) UIDVALIDITY(u32) UIDNEXT(u32)
//	"mailboxes" GUID(16) => bucket
//	               "h" => UIDVALIDITY(u32) UIDNEXT(u32) highest(u64)
//	               "m" => bucket: UID(u32) => record
//	               "l" => floor(u64) events(u32) bytes(u32)
//	               "x" => bucket: modseq(u64) => event
//
//	record  = modseq system physical virtual saved count *keyword
//	keyword = length bytes
//	event   = crc(u32) 1*(gap more)
//
// Fixed numbers are big-endian, so that keys sort. In a record, modseq, physical+1,
// virtual+1, count and length are unsigned varints, system is a byte with the bits of
// mailbox.SystemFlags, saved a signed varint of nanoseconds since 1970, 0 for unknown.
//
// An event is what was expunged under one modseq, as ascending ranges of UIDs: gap is how
// far the first UID is above the last one of the range before, or above 0, and more is how
// many follow it; both are unsigned varints in their shortest form, and between ranges gap
// is at least 2. crc is the CRC-32C of the key and the ranges.
//
// Format 1 had neither "l" nor "x", and "h" went on with a bound of what could have been
// told (u64) and whether highest was exact (u8). It is read; the log of expunges then
// begins at the highest modseq that is found.
//
// # Modification sequences
//
// A new modseq is the time in microseconds, or the highest one plus one where the clock has
// not moved on or was put back. No modseq may be told before [Mailbox.Sync] has returned. So
// what was told is on disk, with the state that it was told for, and after a crash nothing
// but what was not told is forgotten: the owner of the messages compares them with the
// records, and gives new modseqs to what differs. Where the index is lost, the time puts new
// modseqs above the old ones, and the owner may add what else it knows (Mailbox.AtLeast).
//
// # Expunges
//
// The log of events is complete above floor: what was expunged under a later modseq is in
// it. events and bytes count what is in "x", keys included. Beyond 10,000 events or 256 KiB
// the older half is merged, four events into one under the latest modseq of them, and then
// the oldest are dropped and the floor is raised. So an old UID may be told once more, and
// none is kept back. An event that is damaged empties the log and raises the floor to the
// highest modseq, for it cannot be known what is missing; a message's record that is damaged
// costs the whole file.
//
// # Faults
//
// bbolt maps its file, so a file that another program truncates, or a failing disk,
// shows as a memory fault. Every transaction turns faults and panics into errors; the
// index then moves the file aside, logs it, and goes on in memory alone.
package index

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// FileName is the name of the index in a mail root.
const FileName = "mailcryptd.index.db"

// Options are settings of an index. The zero value works.
type Options struct {
	// Delay is how long changes may wait to be written together; 0 means 200 ms.
	Delay time.Duration
	// LockWait is how long to wait for another process to let go of the file; 0 means
	// 50 ms.
	LockWait time.Duration
	// Logger is told of everything that goes wrong; nil is silent.
	Logger *slog.Logger
	// Write and Now are for tests: Write is called for each transaction that writes, to run
	// it or to fail, and Now tells the time; nil are a plain call and the clock.
	Write func(commit func() error) error
	Now   func() time.Time
}

// A DB is the index of one mail root. All methods may be called concurrently.
type DB struct {
	path  string
	delay time.Duration
	log   *slog.Logger
	run   func(commit func() error) error // Options.Write
	now   func() time.Time

	writing sync.Mutex // held by whoever writes; taken before mu
	mu      sync.Mutex
	bolt    *bolt.DB // nil: in memory only
	dirty   map[mailbox.GUID]*pending
	flight  map[mailbox.GUID]*pending // being written
	owners  map[mailbox.GUID]*Mailbox
	names   map[string]*Identity // to be written; nil values are to be deleted
	timer   *time.Timer
	wait    time.Duration // until the next attempt, grows while writing fails
	closed  bool
}

// An Identity is what must not be lost with a mailbox's own files.
type Identity struct {
	GUID        mailbox.GUID
	UIDValidity uint32
	UIDNext     mailbox.UID
}

// Open opens or makes the index at path; "" keeps it in memory. It never fails: where
// the file cannot be used (another process has it, the directory is read-only) the index
// works in memory, and a damaged file is moved aside. The caller closes it.
func Open(path string, o Options) *DB {
	if o.Delay == 0 {
		o.Delay = 200 * time.Millisecond
	}
	if o.LockWait == 0 {
		o.LockWait = 50 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Write == nil {
		o.Write = func(commit func() error) error { return commit() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &DB{path: path, delay: o.Delay, wait: o.Delay, log: o.Logger, run: o.Write, now: o.Now,
		dirty: map[mailbox.GUID]*pending{}, owners: map[mailbox.GUID]*Mailbox{}, names: map[string]*Identity{}}
	if path == "" {
		return d
	}
	db, err := open(path, o.LockWait)
	if err != nil && damaged(err) {
		d.log.Warn("index: damaged, starting anew", "path", path, "error", err)
		setAside(path, d.log)
		db, err = open(path, o.LockWait)
	}
	if err != nil {
		d.log.Warn("index: not usable, working without", "path", path, "error", err)
		return d
	}
	d.bolt = db
	return d
}

// damaged tells files that hold nonsense from those that cannot be opened now.
func damaged(err error) bool {
	var errno unix.Errno
	return !errors.Is(err, bolterrors.ErrTimeout) && !errors.Is(err, errNotRegular) && !errors.As(err, &errno)
}

var (
	errNotRegular = errors.New("index: not a regular file")
	errFormat     = errors.New("index: unknown format")
	errRecord     = errors.New("index: damaged record")
)

func open(path string, wait time.Duration) (*bolt.DB, error) {
	db, err := openBolt(path, wait, false)
	if err != nil {
		return nil, err
	}
	err = guard(func() error { return db.Update(prepare) })
	if err != nil {
		abandon(db)
		return nil, fmt.Errorf("index: opening: %w", err)
	}
	return db, nil
}

// openBolt opens a database that has been looked over.
func openBolt(path string, wait time.Duration, readOnly bool) (db *bolt.DB, err error) {
	if err := check(path, wait); err != nil {
		return nil, err
	}
	err = guard(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      wait,
			FreelistType: bolt.FreelistMapType,
			OpenFile:     openRegular,
			ReadOnly:     readOnly,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("index: opening: %w", err)
	}
	return db, nil
}

// openRegular neither follows a symbolic link nor waits on a FIFO.
func openRegular(path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errNotRegular
	}
	if err := durable.InheritFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

var (
	metaBucket  = []byte("meta")
	nameBucket  = []byte("names")
	boxBucket   = []byte("mailboxes")
	formatKey   = []byte("format")
	format      = []byte("2")
	oldFormat   = []byte("1") // no log of expunges, longer headers
	headerKey   = []byte("h")
	messagesKey = []byte("m")
	logKey      = []byte("l")
	eventsKey   = []byte("x")
)

func prepare(tx *bolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	switch v := meta.Get(formatKey); {
	case v == nil, bytes.Equal(v, oldFormat):
		if err := meta.Put(formatKey, format); err != nil {
			return err
		}
	case !bytes.Equal(v, format):
		return errFormat
	}
	if _, err := tx.CreateBucketIfNotExists(nameBucket); err != nil {
		return err
	}
	_, err = tx.CreateBucketIfNotExists(boxBucket)
	return err
}

// Persistent reports whether the index is kept in a file at present.
func (d *DB) Persistent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bolt != nil
}

// Close writes what is outstanding and closes the file.
func (d *DB) Close() error {
	err := d.Flush()
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	db := d.bolt
	d.bolt, d.closed = nil, true
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	if db == nil {
		return err
	}
	return errors.Join(err, guard(db.Close))
}

// Identity returns what was last recorded for a mailbox directory.
func (d *DB) Identity(name string) (Identity, bool) {
	d.mu.Lock()
	id, ok := d.names[name]
	d.mu.Unlock()
	if ok {
		if id == nil {
			return Identity{}, false
		}
		return *id, true
	}
	var found Identity
	d.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(nameBucket).Get([]byte(name))
		if v == nil {
			return nil
		}
		var err error
		found, err = decodeIdentity(v)
		ok = err == nil
		return err
	})
	return found, ok
}

// SetIdentity records the identity of a mailbox directory.
func (d *DB) SetIdentity(name string, id Identity) { d.setName(name, &id) }

// DropIdentity forgets a directory: its mailbox was deleted.
func (d *DB) DropIdentity(name string) { d.setName(name, nil) }

// RenameIdentity moves what is known of one directory to another.
func (d *DB) RenameIdentity(from, to string) {
	if id, ok := d.Identity(from); ok {
		d.setName(to, &id)
	}
	d.setName(from, nil)
}

func (d *DB) setName(name string, id *Identity) {
	if name == "" || len(name) > bolt.MaxKeySize {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = id
	d.schedule()
}
