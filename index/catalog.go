package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// CatalogName is the name of the catalog of an mdbox store.
const CatalogName = "mailcryptd.mdbox.db"

// What callers of a Catalog branch on.
var (
	// ErrCatalogDamaged reports a catalog that cannot be believed.
	ErrCatalogDamaged = errors.New("index: the catalog of the mdbox store is damaged; doveadm-crypt force-resync makes it anew from the messages")
	// ErrCatalogBusy reports a catalog that another process has open.
	ErrCatalogBusy = errors.New("index: another process has the mdbox store open")
)

// CatalogOptions are settings of a Catalog. The zero value works.
type CatalogOptions struct {
	// Delay is how long changes of flags may wait to be written with others; 0 means 200 ms.
	Delay time.Duration
	// LockWait is how long to wait for another process to let go of the file; 0 means a
	// second.
	LockWait time.Duration
	// ReadOnly opens a catalog that is there for reading alone, also beside other readers.
	ReadOnly bool
	// Logger is told of what goes wrong behind the callers; nil is silent.
	Logger *slog.Logger
	// Write and Now are for tests: Write is called for each transaction that writes, to run
	// it or to fail, and Now tells the time; nil are a plain call and the clock.
	Write func(commit func() error) error
	Now   func() time.Time
}

func (o *CatalogOptions) fill() {
	if o.Delay == 0 {
		o.Delay = 200 * time.Millisecond
	}
	if o.LockWait == 0 {
		o.LockWait = time.Second
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
}

// A Catalog says what an mdbox store holds: where each message lies, which mailboxes there
// are and what is in them. Unlike a [DB] it is no cache but the truth, so nothing is done
// without it: what cannot be written is an error, and what is damaged wraps
// [ErrCatalogDamaged]. All methods may be called concurrently.
//
// The file is a bbolt database that one process holds open:
//
//	"meta"      "format" => "1", "validity" => u32, "next" => u32: the next map UID,
//	            "file" => u32: the highest file id, "rebuilds" => u32, "commits" => u64,
//	            "handed" => anything: the store was handed over to Dovecot
//	"map"       map UID(u32) => place
//	"places"    file(u32) offset(u32) => map UID(u32)
//	"files"     file(u32) => file
//	"names"     storage name => GUID(16) UIDVALIDITY(u32) 0(u32)
//	"mailboxes" GUID(16) => bucket
//	               "h" => UIDVALIDITY(u32) UIDNEXT(u32) highest(u64) first-recent(u32) messages(u32) bytes(u64)
//	               "m" => bucket: UID(u32) => map UID(u32) record
//	               "l", "x" => the log of expunges
//
//	place = file(u32) offset(u32) size(u32) references(u16) received physical virtual stored guid
//	guid  = %x00 16bytes / length bytes
//	file  = end(u32) created flags messages dead dead-bytes
//
// Records and the log are those of a [DB]. Of a place, received is a signed varint of
// seconds since 1970, and physical+1, virtual+1, stored+1 and the length of a GUID's text are
// unsigned varints; 32 lower-case hexadecimal digits are kept as 16 bytes. Of a file, created
// is a signed varint of seconds, flags a byte (1: in the alternative storage, 2: to be
// removed), and how many messages it has, how many of these nothing refers to, and their bytes
// are unsigned varints. "bytes" of a mailbox adds up virtual sizes, or what else is known.
//
// # Writing
//
// [Catalog.Update] returns when its change is durable; changes at the same time share one
// transaction, and one that fails costs the others nothing. [Catalog.Later] takes changes
// of flags, which are written with the next Update, or after a delay, or when
// [Catalog.Sync] asks for it.
//
// "commits" counts transactions. Where writing one fails, the count tells whether it is
// there all the same, written and perhaps not durable. Then another transaction makes it so;
// where that fails too, nothing can be told of the store any more before it is opened again,
// and every call returns an error.
//
// bbolt's file is sparse. The catalog has the disk set its blocks aside beforehand, and some
// behind its end, so that messages can be expunged when the disk is full.
type Catalog struct {
	path string
	o    CatalogOptions
	bolt *bolt.DB
	room room // guarded by writing

	writing sync.Mutex // held by whoever writes; taken before mu
	mu      sync.Mutex
	queue   []*update
	dirty   map[mailbox.GUID]*late
	timer   *time.Timer
	wait    time.Duration // until the next attempt, grows while writing fails
	closed  bool
	broken  error
}

var (
	mapBucket   = []byte("map")
	placeBucket = []byte("places")
	fileBucket  = []byte("files")

	catalogFormat = []byte("1")
	validityKey   = []byte("validity")
	nextKey       = []byte("next")
	highFileKey   = []byte("file")
	rebuildsKey   = []byte("rebuilds")
	commitsKey    = []byte("commits")
	handedKey     = []byte("handed")
)

// OpenCatalog opens the catalog at path. The error wraps os.ErrNotExist where there is none,
// ErrCatalogBusy or ErrCatalogDamaged. The caller closes it.
func OpenCatalog(path string, o CatalogOptions) (*Catalog, error) {
	o.fill()
	if _, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("index: opening catalog: %w", err)
	}
	db, err := openBolt(path, o.LockWait, o.ReadOnly)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrCatalogBusy, path)
	case err != nil && damaged(err):
		return nil, fmt.Errorf("%w: %w", ErrCatalogDamaged, err)
	case err != nil:
		return nil, err
	}
	c := &Catalog{path: path, o: o, bolt: db, dirty: map[mailbox.GUID]*late{}, wait: o.Delay}
	if err := c.View(func(tx *CatalogTx) error { return tx.check() }); err != nil {
		abandon(db)
		return nil, err
	}
	if !o.ReadOnly {
		c.room.open(path)
	}
	return c, nil
}

// CreateCatalog makes an empty catalog at path, whose directory exists. Whatever was there
// is replaced, by a rename, after fill, which may be nil, has had its way with the new one.
func CreateCatalog(path string, o CatalogOptions, fill func(*CatalogTx) error) (err error) {
	o.fill()
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("index: making catalog: %w", err)
	}
	db, err := openBolt(temp, o.LockWait, false)
	if err != nil {
		return fmt.Errorf("index: making catalog: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
			err = fmt.Errorf("index: making catalog: %w", err)
		}
	}()
	err = o.Write(func() error {
		return guard(func() error {
			return db.Update(func(tx *bolt.Tx) error {
				t := &CatalogTx{tx: tx, now: o.Now}
				if err := t.prepare(); err != nil || fill == nil {
					return err
				}
				return fill(t)
			})
		})
	})
	if err := errors.Join(err, guard(db.Close)); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// prepare makes the buckets of an empty catalog.
func (t *CatalogTx) prepare() error {
	for _, name := range [][]byte{metaBucket, mapBucket, placeBucket, fileBucket, nameBucket, boxBucket} {
		if _, err := t.tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := t.tx.Bucket(metaBucket)
	// Dovecot takes the time as well; any number will do that the next catalog does not have.
	validity := binary.BigEndian.AppendUint32(nil, max(1, uint32(t.now().Unix())))
	return errors.Join(meta.Put(formatKey, catalogFormat), meta.Put(validityKey, validity),
		meta.Put(nextKey, binary.BigEndian.AppendUint32(nil, 1)))
}

// check finds a file that is no catalog.
func (t *CatalogTx) check() error {
	for _, name := range [][]byte{metaBucket, mapBucket, placeBucket, fileBucket, nameBucket, boxBucket} {
		if t.tx.Bucket(name) == nil {
			return fmt.Errorf("%w: no %q", errRecord, name)
		}
	}
	if v := t.tx.Bucket(metaBucket).Get(formatKey); !bytes.Equal(v, catalogFormat) {
		return fmt.Errorf("%w: %.20q", errFormat, v)
	}
	_, err := t.Meta()
	return err
}

// View runs fn on the state as it was last committed; what was put by Later may be
// missing. What fn gets is valid until it returns. An error of fn's is returned as it is.
func (c *Catalog) View(fn func(*CatalogTx) error) error {
	if err := c.usable(); err != nil {
		return err
	}
	err := guard(func() error {
		return c.bolt.View(func(tx *bolt.Tx) error { return fn(&CatalogTx{tx: tx, now: c.o.Now}) })
	})
	return c.judge(err)
}

// usable reports why the catalog cannot be used any more.
func (c *Catalog) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("index: catalog: %w", os.ErrClosed)
	}
	return c.broken
}

// judge says of an error what it says of the catalog.
func (c *Catalog) judge(err error) error {
	var f *faultError
	switch {
	case errors.As(err, &f):
		err = fmt.Errorf("%w: %w", ErrCatalogDamaged, err)
		c.mu.Lock()
		c.broken = err
		c.mu.Unlock()
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("index: catalog: %w", os.ErrClosed)
	case errors.Is(err, errRecord), errors.Is(err, errFormat):
		err = fmt.Errorf("%w: %w", ErrCatalogDamaged, err)
	}
	return err
}

// Close writes what is outstanding and closes the file. An error says that changes of flags
// may be lost.
func (c *Catalog) Close() error {
	err := c.Sync(context.Background())
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	was := c.closed
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	broken := c.broken
	c.mu.Unlock()
	if was {
		return nil
	}
	c.room.close()
	if broken != nil {
		abandon(c.bolt) // it may hold locks for ever
		return err
	}
	return errors.Join(err, guard(c.bolt.Close))
}
