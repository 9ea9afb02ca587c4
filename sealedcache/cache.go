package sealedcache

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// MaxValue is the size in bytes of the largest value that is kept.
const MaxValue = 64 << 10

// A Field is what a value is of a message. The numbers are those of the file.
type Field uint8

const (
	// keyData is key data, whose names are no UIDs.
	keyData Field = 1
	// Envelope is the ENVELOPE as IMAP has it.
	Envelope Field = 2
	// BodyStructure is the BODYSTRUCTURE as IMAP has it.
	BodyStructure Field = 3
	// Headers are fields of the header.
	Headers Field = 4
)

// Options are settings of a Cache. The zero value works.
type Options struct {
	// MaxBytes is how large the file may grow; 0 is 64 MiB. The oldest half goes then.
	MaxBytes int64
	// Logger is told once of what keeps the cache from working; nil is silent.
	Logger *slog.Logger
}

// A Cache is the file of one mailbox. It never fails: where the file cannot be used, it holds
// nothing. All methods may be called concurrently. One Cache of one process at a time may
// use a file.
type Cache struct {
	path string
	guid mailbox.GUID
	o    Options

	mu      sync.Mutex
	broken  bool
	loaded  bool // entries and slots are those of the file
	file    *os.File
	size    int64  // of the file
	tail    []byte // what follows it and is not written yet
	dead    int64  // bytes of entries that others have replaced
	entries map[name]entry
	gen     int // counts what the file was replaced by
	slots   map[uint64]*slot
	sealers map[origin]*sealer // of this process
}

// An entry is where a value lies and what it is sealed under.
type entry struct {
	place
	slot uint64
}

// An origin is what a sealer's key comes from.
type origin struct {
	key dcrypt.KeyID
	how byte
}

// FileName is the name of a mailbox's file.
func FileName(guid mailbox.GUID) string { return "mailcryptd." + guid.String() + ".sealed" }

// Open returns the cache of a mailbox, whose file is in dir. It reads nothing before the first
// use. The caller closes it.
func Open(dir string, guid mailbox.GUID, o Options) *Cache {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cache{path: filepath.Join(dir, FileName(guid)), guid: guid, o: o}
	return c
}

// Remove removes a mailbox's file.
func Remove(dir string, guid mailbox.GUID) { _ = os.Remove(filepath.Join(dir, FileName(guid))) }

// Close writes what is outstanding and closes the file.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	c.broken = true
	c.entries, c.slots, c.sealers = nil, nil, nil
	if c.file == nil {
		return nil
	}
	f := c.file
	c.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("sealedcache: %w", err)
	}
	return nil
}

// ready opens the file. That is enough to write: what was never asked for is not read, for a
// delivery must not cost what is stored. c.mu is held.
func (c *Cache) ready() bool {
	if c.file != nil || c.broken {
		return !c.broken
	}
	f, size, err := openFile(c.path, c.guid)
	if err != nil {
		c.giveUp(err)
		return false
	}
	if c.sealers == nil || size != c.size {
		// The slots that would be sealed with are not there, or may not be.
		c.sealers = map[origin]*sealer{}
	}
	c.file, c.size = f, size
	return true
}

// load reads what is in the file. c.mu is held.
func (c *Cache) load() bool {
	if !c.ready() || c.loaded {
		return !c.broken
	}
	if c.flush(); c.broken {
		return false
	}
	c.loaded = true
	c.entries, c.slots = map[name]entry{}, map[uint64]*slot{}
	end, err := scan(c.file, c.size, c.take)
	if err == nil && end < c.size {
		// A write was cut off, or the file is damaged. What was sealed behind that is lost,
		// and so are slots that would be sealed with again.
		clear(c.sealers)
		err = c.file.Truncate(end)
	}
	if err != nil {
		c.giveUp(err)
		return false
	}
	c.size = end
	return true
}

// take notes a record of the file.
func (c *Cache) take(kind byte, p place, body []byte) bool {
	if kind == entryRecord {
		number := binary.BigEndian.Uint64(body)
		if c.slots[number] == nil {
			return false
		}
		c.put(name(body[16:entryHead]), entry{p, number})
		return true
	}
	s, ok := parseSlot(body)
	if !ok || c.slots[s.number] != nil || len(c.slots) == maxSlots {
		return false
	}
	c.slots[s.number] = s
	return true
}

func (c *Cache) put(n name, e entry) {
	if !c.loaded {
		return // it will be found in the file
	}
	if old, ok := c.entries[n]; ok {
		c.dead += int64(old.size) + recordHead
	}
	c.entries[n] = e
}

// giveUp ends the use of the cache. c.mu is held.
func (c *Cache) giveUp(err error) {
	if !c.broken {
		c.o.Logger.Warn("sealedcache: going on without", "path", c.path, "error", err)
	}
	c.broken = true
	c.entries, c.slots, c.sealers, c.tail = nil, nil, nil, nil
	if c.file != nil {
		_ = c.file.Close()
		c.file = nil
	}
}

// flushSize is how much is written at a time.
const flushSize = 64 << 10

// flush writes what is outstanding. It is not synced: what a crash takes was a cache's.
func (c *Cache) flush() {
	if len(c.tail) == 0 || c.broken {
		return
	}
	if _, err := c.file.WriteAt(c.tail, c.size); err != nil {
		c.giveUp(err)
		return
	}
	c.size += int64(len(c.tail))
	c.tail = c.tail[:0]
}

// Rest writes what is outstanding and closes the file until the next use: it costs no file and
// little memory then.
func (c *Cache) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flush(); c.file == nil {
		return
	}
	if err := c.file.Close(); err != nil {
		c.giveUp(err)
		return
	}
	c.file, c.tail, c.loaded, c.entries, c.slots = nil, nil, false, nil, nil
	c.dead = 0
	c.gen++
}

// store seals a value under a sealer of this process, which it makes by private or public.
func (c *Cache) store(n name, private *dcrypt.PrivateKey, public *dcrypt.PublicKey, value []byte) {
	if len(value) > MaxValue {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready() {
		return
	}
	from := origin{how: encapsulated}
	if private != nil {
		from = origin{private.ID(), derived}
	} else {
		from.key = public.ID()
	}
	s := c.sealers[from]
	if s == nil {
		if len(c.slots) >= maxSlots {
			return
		}
		var sl *slot
		var err error
		if sl, s, err = newSlot(c.guid, private, public); err != nil {
			return // a key that was destroyed meanwhile
		}
		if c.loaded {
			c.slots[sl.number] = sl
		}
		c.sealers[from] = s
		c.tail = sl.append(c.tail)
	}
	size := entryHead + len(value) + tagSize
	c.tail = appendRecordHead(c.tail, entryRecord, size)
	c.put(n, entry{place{c.size + int64(len(c.tail)), int32(size)}, s.slot})
	c.tail = s.seal(c.tail, c.guid, n, value)
	if len(c.tail) >= flushSize {
		c.flush()
		c.shrink()
	}
}

// find says where an entry lies, under which slot, and in which generation of the file.
func (c *Cache) find(n name) (p place, s *slot, gen int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.load() {
		return place{}, nil, 0, false
	}
	e, ok := c.entries[n]
	return e.place, c.slots[e.slot], c.gen, ok
}

// read reads an entry that find has found, and what lies behind it, into buf. It returns how
// much it has read.
func (c *Cache) read(n name, p place, gen int, buf []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || gen != c.gen {
		return 0
	}
	var got int
	if p.at >= c.size {
		got = copy(buf, c.tail[p.at-c.size:])
	} else {
		var err error
		if got, err = c.file.ReadAt(buf, p.at); err != nil && err != io.EOF {
			c.giveUp(err)
			return 0
		}
	}
	if got < int(p.size) || name(buf[16:entryHead]) != n {
		return 0
	}
	return got
}

// forget drops an entry that does not open.
func (c *Cache) forget(n name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[n]; ok {
		c.dead += int64(e.size) + recordHead
		delete(c.entries, n)
	}
}
