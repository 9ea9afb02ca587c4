package attrdict

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// createBolt makes a database with its bucket under a temporary name and links it to
// path: bbolt itself creates in place, and a crash in between leaves a file that it
// cannot open again (etcd-io/bbolt#567). A link, unlike a rename, cannot replace the
// database that another process has made meanwhile.
func createBolt(path string, timeout time.Duration) error {
	dir, base := filepath.Split(path)
	if err := durable.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+base+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(durable.InheritFile(tmp), tmp.Close()); err != nil {
		return err
	}
	db, err := bolt.Open(tmp.Name(), 0o600, &bolt.Options{Timeout: timeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error { // bbolt syncs the file
		_, err := tx.CreateBucket(boltBucket)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
		// A file system without hard links. Linux renames without replacing on all of them.
		err = renameNew(tmp.Name(), path)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return durable.SyncDir(dir)
}

// openRegular is bbolt's OpenFile: no symbolic link is followed, a FIFO does not block,
// nothing is created, and what is no database is refused before it is mapped.
func openRegular(path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, perm)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%w: %s is a symbolic link", ErrCorrupt, path)
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case info.Mode().Perm()&0o002 != 0:
		err = fmt.Errorf("attrdict: %s may be written by everybody: run chmod o-w", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockBolt takes bbolt's lock, whole-file flock.
func lockBolt(f *os.File, o BoltOptions) error {
	how := unix.LOCK_EX
	if o.ReadOnly {
		how = unix.LOCK_SH
	}
	for end := time.Now().Add(o.Timeout); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("attrdict: locking %s: %w", f.Name(), err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %s", ErrLocked, f.Name())
		}
	}
}

// A boltMeta is what we need of a meta page (bbolt: internal/common/meta.go), all fields
// in the byte order of the machine:
//
//	page header: id u64, flags u16, count u16, overflow u32
//	meta: magic u32, version u32, page size u32, flags u32, root page u64, root sequence u64,
//	      free list page u64, high-water page u64, transaction u64, checksum u64 (FNV-1a of the rest)
type boltMeta struct {
	pageSize, freelist, high, txid uint64
}

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltPageHeader = 16
	boltMetaSize   = 64
	boltNoFreelist = ^uint64(0)
)

func parseBoltMeta(b []byte) (boltMeta, bool) {
	ne, m := binary.NativeEndian, b[boltPageHeader:]
	sum := fnv.New64a()
	sum.Write(m[:boltMetaSize-8])
	if ne.Uint32(m) != boltMagic || ne.Uint32(m[4:]) != boltVersion || ne.Uint64(m[56:]) != sum.Sum64() {
		return boltMeta{}, false
	}
	return boltMeta{
		pageSize: uint64(ne.Uint32(m[8:])), freelist: ne.Uint64(m[32:]),
		high: ne.Uint64(m[40:]), txid: ne.Uint64(m[48:]),
	}, true
}

// checkBolt looks at a database before it is mapped: at a page beyond the end of the file
// the kernel sends SIGBUS instead of an error, and bbolt rebuilds a missing free list in a
// goroutine of its own, where a panic cannot be recovered.
func checkBolt(f io.ReaderAt, size int64) error {
	m, err := newestMeta(f, size)
	if err != nil {
		return err
	}
	switch {
	case m.high > uint64(size)/m.pageSize:
		return fmt.Errorf("%w: %d bytes hold less than %d pages of %d", ErrCorrupt, size, m.high, m.pageSize)
	case m.freelist == boltNoFreelist:
		return fmt.Errorf("%w: no free list was stored", ErrCorrupt)
	case m.freelist < 2 || m.freelist >= m.high:
		return fmt.Errorf("%w: free list at page %d of %d", ErrCorrupt, m.freelist, m.high)
	}
	head := make([]byte, boltPageHeader+8)
	if _, err := f.ReadAt(head, int64(m.freelist*m.pageSize)); err != nil {
		return fmt.Errorf("attrdict: reading free list: %w", err)
	}
	count := uint64(binary.NativeEndian.Uint16(head[10:]))
	if count == 0xffff { // bbolt: page.go FreelistPageCount
		count = binary.NativeEndian.Uint64(head[boltPageHeader:])
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if count > m.high || overflow >= m.high-m.freelist {
		return fmt.Errorf("%w: free list of %d pages in %d", ErrCorrupt, count, m.high)
	}
	return nil
}

// newestMeta returns the meta page that bbolt will use: the valid one of the higher
// transaction. The second one lies at the page size, which the first may not tell any more.
func newestMeta(f io.ReaderAt, size int64) (boltMeta, error) {
	var newest boltMeta
	buf := make([]byte, boltPageHeader+boltMetaSize)
	for at := int64(0); at == 0 || at <= 1<<20; at = max(2*at, 1024) {
		if at+int64(len(buf)) > size {
			break
		}
		if _, err := f.ReadAt(buf, at); err != nil {
			return boltMeta{}, fmt.Errorf("attrdict: reading meta page: %w", err)
		}
		m, ok := parseBoltMeta(buf)
		if ok && m.pageSize >= 512 && (at == 0 || uint64(at) == m.pageSize) && (newest.pageSize == 0 || m.txid > newest.txid) {
			newest = m
		}
	}
	if newest.pageSize == 0 {
		return boltMeta{}, fmt.Errorf("%w: no valid meta page in %d bytes", ErrCorrupt, size)
	}
	return newest, nil
}
