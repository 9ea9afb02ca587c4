package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// The parts of bbolt's file format that check looks at. Numbers are in the machine's
// byte order.
const (
	boltMagic    = 0xED0CDAED
	pageHeader   = 16 // id u64, flags u16, count u16, overflow u32
	metaLen      = 64 // magic, version, page size, flags u32; root 2*u64; freelist, pages, txid, checksum u64
	freelistFlag = 0x10
	noFreelist   = 1<<64 - 1
)

var errDamaged = errors.New("index: damaged file")

// check looks at a database before bbolt opens it. bbolt walks all pages in a goroutine of
// its own where a file has no list of free pages, and a fault there ends the process; and
// it allocates what that list says. So both are ruled out here, and files that are shorter
// than they say are too.
func check(path string, wait time.Duration) error {
	f, err := openRegular(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockShared(f, wait); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return nil
	}
	var newest meta // the older one's pages may have been used again
	for _, at := range metaOffsets(f) {
		if m, ok := readMeta(f, at); ok && m.txid >= newest.txid {
			newest = m
		}
	}
	if newest.pageSize == 0 {
		return fmt.Errorf("%w: no valid meta page", errDamaged)
	}
	return newest.check(f, st.Size())
}

// lockShared keeps writers out while we look; closing the file ends it.
func lockShared(f *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return bolterrors.ErrTimeout
		}
	}
}

type meta struct{ pageSize, freelist, pages, txid uint64 }

// metaOffsets returns where the two metas may be: the second one's place depends on the
// page size, which only the first one tells if it is whole.
func metaOffsets(r io.ReaderAt) []int64 {
	offsets := []int64{0}
	if m, ok := readMeta(r, 0); ok {
		return append(offsets, int64(m.pageSize))
	}
	for size := int64(1024); size <= 1<<16; size *= 2 {
		offsets = append(offsets, size)
	}
	return offsets
}

func readMeta(r io.ReaderAt, at int64) (meta, bool) {
	var b [metaLen]byte
	if _, err := r.ReadAt(b[:], at+pageHeader); err != nil {
		return meta{}, false
	}
	h := fnv.New64a()
	h.Write(b[:metaLen-8])
	m := meta{
		pageSize: uint64(binary.NativeEndian.Uint32(b[8:])),
		freelist: binary.NativeEndian.Uint64(b[32:]),
		pages:    binary.NativeEndian.Uint64(b[40:]),
		txid:     binary.NativeEndian.Uint64(b[48:]),
	}
	ok := binary.NativeEndian.Uint32(b[:]) == boltMagic &&
		binary.NativeEndian.Uint64(b[56:]) == h.Sum64() &&
		m.pageSize >= 512 && m.pageSize <= 1<<16
	return m, ok
}

func (m meta) check(r io.ReaderAt, size int64) error {
	if m.freelist == noFreelist {
		return fmt.Errorf("%w: no list of free pages", errDamaged)
	}
	if m.pages > uint64(size)/m.pageSize {
		return fmt.Errorf("%w: %d bytes are fewer than %d pages", errDamaged, size, m.pages)
	}
	if m.freelist >= m.pages {
		return fmt.Errorf("%w: list of free pages beyond the end", errDamaged)
	}
	var b [pageHeader + 8]byte
	if _, err := r.ReadAt(b[:], int64(m.freelist*m.pageSize)); err != nil {
		return fmt.Errorf("index: reading: %w", err)
	}
	count := uint64(binary.NativeEndian.Uint16(b[10:]))
	if count == 0xFFFF {
		count = binary.NativeEndian.Uint64(b[pageHeader:])
	}
	room := (uint64(binary.NativeEndian.Uint32(b[12:])) + 1) * m.pageSize / 8
	switch {
	case binary.NativeEndian.Uint64(b[:]) != m.freelist, binary.NativeEndian.Uint16(b[8:]) != freelistFlag:
		return fmt.Errorf("%w: list of free pages is something else", errDamaged)
	case count > room || count > m.pages:
		return fmt.Errorf("%w: %d free pages of %d", errDamaged, count, m.pages)
	}
	return nil
}
