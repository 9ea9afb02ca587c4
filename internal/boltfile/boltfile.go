// Package boltfile looks at a bbolt database before it is opened. bbolt maps its file: at
// a page beyond the end the kernel sends SIGBUS instead of an error. It allocates what the
// list of free pages says, and where there is no such list it walks all pages in a
// goroutine of its own, where a panic cannot be recovered. So all of that is ruled out
// first. The caller keeps writers out meanwhile.
//
// What is looked at (bbolt: internal/common/meta.go, page.go), in the machine's byte order:
//
//	page header: id u64, flags u16, count u16, overflow u32
//	meta: magic u32, version u32, page size u32, flags u32, root page u64, root sequence u64,
//	      free list page u64, high-water page u64, transaction u64, checksum u64 (FNV-1a of the rest)
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// ErrDamaged reports a file that bbolt must not open.
var ErrDamaged = errors.New("damaged database file")

const (
	magic        = 0xED0CDAED
	version      = 2
	pageHeader   = 16
	metaSize     = 64
	minPage      = 512
	maxPage      = 1 << 16
	freelistFlag = 0x10
	noFreelist   = ^uint64(0)
)

// A meta is what we need of a meta page.
type meta struct{ pageSize, freelist, high, txid uint64 }

// Check reports whether a database of size bytes can be opened. The error wraps ErrDamaged
// where it cannot.
func Check(f io.ReaderAt, size int64) error {
	m, err := newest(f, size)
	if err != nil {
		return err
	}
	switch {
	case m.high > uint64(size)/m.pageSize:
		return fmt.Errorf("%w: %d bytes hold less than %d pages of %d", ErrDamaged, size, m.high, m.pageSize)
	case m.freelist == noFreelist:
		return fmt.Errorf("%w: no list of free pages was stored", ErrDamaged)
	case m.freelist < 2 || m.freelist >= m.high:
		return fmt.Errorf("%w: list of free pages at page %d of %d", ErrDamaged, m.freelist, m.high)
	}
	head := make([]byte, pageHeader+8)
	if _, err := f.ReadAt(head, int64(m.freelist*m.pageSize)); err != nil {
		return fmt.Errorf("reading the list of free pages: %w", err)
	}
	ne := binary.NativeEndian
	count := uint64(ne.Uint16(head[10:]))
	if count == 0xffff { // bbolt: page.go FreelistPageCount
		count = ne.Uint64(head[pageHeader:])
	}
	overflow := uint64(ne.Uint32(head[12:]))
	room := (overflow + 1) * m.pageSize / 8
	switch {
	case ne.Uint64(head) != m.freelist, ne.Uint16(head[8:]) != freelistFlag:
		return fmt.Errorf("%w: the list of free pages is something else", ErrDamaged)
	case count > room || count > m.high || overflow >= m.high-m.freelist:
		return fmt.Errorf("%w: list of %d free pages in %d", ErrDamaged, count, m.high)
	}
	return nil
}

// newest returns the meta page that bbolt will use: the valid one of the higher transaction.
// The second one lies at the page size, which the first may not tell any more.
func newest(f io.ReaderAt, size int64) (meta, error) {
	var found meta
	buf := make([]byte, pageHeader+metaSize)
	for at := int64(0); at <= maxPage; at = max(2*at, minPage) {
		if at+int64(len(buf)) > size {
			break
		}
		if _, err := f.ReadAt(buf, at); err != nil {
			return meta{}, fmt.Errorf("reading a meta page: %w", err)
		}
		m, ok := parse(buf[pageHeader:])
		if ok && (at == 0 || uint64(at) == m.pageSize) && (found.pageSize == 0 || m.txid > found.txid) {
			found = m
		}
	}
	if found.pageSize == 0 {
		return meta{}, fmt.Errorf("%w: no valid meta page in %d bytes", ErrDamaged, size)
	}
	return found, nil
}

func parse(b []byte) (meta, bool) {
	ne := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m := meta{
		pageSize: uint64(ne.Uint32(b[8:])), freelist: ne.Uint64(b[32:]),
		high: ne.Uint64(b[40:]), txid: ne.Uint64(b[48:]),
	}
	ok := ne.Uint32(b) == magic && ne.Uint32(b[4:]) == version && ne.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= minPage && m.pageSize <= maxPage
	return m, ok
}
