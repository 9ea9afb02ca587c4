package dovecotindex

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"mailcrypt/mailbox"
)

// A Cache is what X.cache says of messages in numbers. It may say nothing of any of them, and
// is not the authority for anything but the time of saving, which sdbox and Maildir have nowhere
// else. Text of headers, which is there too, is not looked at.
//
//	cache    = major:8=1 size-of-offset:8 minor:8 8 index-id:32 file-seq:32 4*32 fields-offset:32
//	fields   = next-offset:32 size:32 count:32 count*used:32 count*size:32 count*type:8
//	           count*decision:8 *(name NUL)
//	record   = previous-offset:32 size:32 *(field:32 [size:32] data align4)
//
// The offsets of fields are encoded as sizes in logs are. The extension "cache" has the offset
// of a message's newest record, and as its reset id the number of the file. (Dovecot:
// mail-cache-private.h.)
type Cache struct {
	values [numCached][]uint64 // by field and message, one more than the value; 0 where unknown
}

// Fields that are read.
const (
	cachedSaved = iota
	cachedReceived
	cachedPhysical
	cachedVirtual
	numCached
)

var cachedNames = map[string]int{
	"date.save": cachedSaved, "date.received": cachedReceived, "size.physical": cachedPhysical, "size.virtual": cachedVirtual,
}

const (
	cacheHeader    = 32
	cacheFields    = 12
	maxCacheFields = 1 << 16
	variableSize   = 1<<32 - 1
)

// ReadCache reads the cache of the index x of a path. A cache that is not there, or is another
// one than the index wants, is an empty one. With a *[CorruptError] there is what could be
// read, too.
func ReadCache(path string, x *Index) (*Cache, error) {
	b, _, err := readFile(path + ".cache")
	if err != nil {
		return &Cache{}, fmt.Errorf("dovecotindex: reading %s.cache: %w", path, err)
	}
	if b == nil {
		return &Cache{}, nil
	}
	c, err := ParseCache(b, x)
	var e *CorruptError
	if errors.As(err, &e) {
		e.File = path + e.File
	}
	return c, err
}

// Saved returns when message i was saved in this mailbox; zero where the cache does not say.
func (c *Cache) Saved(i int) time.Time { return c.time(cachedSaved, i) }

// Received returns a message's INTERNALDATE; zero where the cache does not say.
func (c *Cache) Received(i int) time.Time { return c.time(cachedReceived, i) }

// Sizes returns a message's physical and virtual size, [mailbox.Unknown] where the cache
// does not say.
func (c *Cache) Sizes(i int) mailbox.Sizes {
	size := func(field int) int64 {
		if v := c.get(field, i); v != 0 && v-1 <= math.MaxInt64 {
			return int64(v - 1)
		}
		return mailbox.Unknown
	}
	return mailbox.Sizes{Physical: size(cachedPhysical), Virtual: size(cachedVirtual), Stored: mailbox.Unknown}
}

func (c *Cache) time(field, i int) time.Time {
	if v := c.get(field, i); v != 0 {
		return time.Unix(int64(uint32(v-1)), 0).UTC()
	}
	return time.Time{}
}

func (c *Cache) get(field, i int) uint64 {
	if i >= len(c.values[field]) {
		return 0
	}
	return c.values[field][i]
}

// ParseCache is ReadCache of bytes.
func ParseCache(b []byte, x *Index) (*Cache, error) {
	c := &Cache{}
	e, ok := x.Extension("cache")
	if !ok || e.Size != 4 || len(b) < cacheHeader || b[0] != 1 || le.Uint32(b[4:]) != x.ID || le.Uint32(b[8:]) != e.ResetID {
		return c, nil // not ours: what it says may be of other messages
	}
	fields, err := cachedFields(b)
	if err != nil {
		return c, err
	}
	for f := range c.values {
		c.values[f] = make([]uint64, x.Len())
	}
	// Each record is of one message, so that following all is no more than reading the file.
	hops := len(b) / recordHeader
	for i := range x.Len() {
		rec := e.Record(i)
		if rec == nil {
			continue
		}
		for at := int(le.Uint32(rec)); at != 0; hops-- {
			if hops == 0 {
				return c, badCache(at, "records of messages run into each other")
			}
			prev, err := c.record(b, at, fields, i)
			if err != nil {
				return c, err
			}
			if prev >= at {
				return c, badCache(at, "records of a message run in a circle")
			}
			at = prev
		}
	}
	return c, nil
}

func badCache(at int, reason string) *CorruptError { return &CorruptError{".cache", int64(at), reason} }

// A cachedField is a field of the file: its size, and which of ours it is, or -1.
type cachedField struct {
	size uint32
	own  int
}

// cachedFields reads the newest description of the fields. Each points to the one that has
// replaced it, further behind.
func cachedFields(b []byte) ([]cachedField, error) {
	at := 0
	for next := recordSize(b[28:]); next != 0; next = recordSize(b[at:]) {
		if next <= at || next > len(b)-cacheFields {
			return nil, badCache(at, "description of fields outside the file")
		}
		at = next
	}
	if at == 0 {
		return nil, nil
	}
	size, count := int64(le.Uint32(b[at+4:])), int64(le.Uint32(b[at+8:]))
	if count > maxCacheFields || size > int64(len(b)-at) || size < cacheFields+10*count {
		return nil, badCache(at, "description of fields does not fit")
	}
	n := int(count)
	sizes := b[at+cacheFields+4*n:]
	names := string(b[at+cacheFields+10*n : at+int(size)])
	fields := make([]cachedField, n)
	for i := range fields {
		name, rest, ok := strings.Cut(names, "\x00")
		if !ok || name == "" {
			return nil, badCache(at, "field without a name")
		}
		own, known := cachedNames[name]
		if !known {
			own = -1
		}
		fields[i], names = cachedField{le.Uint32(sizes[4*i:]), own}, rest
	}
	return fields, nil
}

// record takes what one record says of message i, where a newer one has not said it, and
// returns where the record before is.
func (c *Cache) record(b []byte, at int, fields []cachedField, i int) (prev int, err error) {
	if at%4 != 0 || at < cacheHeader || at > len(b)-recordHeader {
		return 0, badCache(at, "record outside the file")
	}
	size := int64(le.Uint32(b[at+4:]))
	if size < recordHeader || size > int64(len(b)-at) {
		return 0, badCache(at, "record of a bad size")
	}
	for rest := b[at+recordHeader : at+int(size)]; len(rest) > 0; {
		if len(rest) < 4 || int64(le.Uint32(rest)) >= int64(len(fields)) {
			return 0, badCache(at, "record with a field that is not described")
		}
		f := fields[le.Uint32(rest)]
		rest = rest[4:]
		if f.size == variableSize {
			if len(rest) < 4 {
				return 0, badCache(at, "record ends within a field")
			}
			f.size, rest = le.Uint32(rest), rest[4:]
		}
		if int64(f.size) > int64(len(rest)) {
			return 0, badCache(at, "record ends within a field")
		}
		if f.own >= 0 && (f.size == 4 || f.size == 8) && c.values[f.own][i] == 0 {
			var n [8]byte
			copy(n[:], rest[:f.size])
			c.values[f.own][i] = le.Uint64(n[:]) + 1
		}
		rest = rest[min(align4(int(f.size)), len(rest)):]
	}
	return int(le.Uint32(b[at:])), nil
}
