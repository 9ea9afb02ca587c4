package sealedcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"mailcrypt/mailbox"
)

const (
	magic      = "MCSC\x01\x00\x00\x00"
	fileHead   = len(magic) + len(mailbox.GUID{})
	recordHead = 4
	slotHead   = 8 + 1 + 32 + 16
	entryHead  = 8 + 8 + len(name{})
	tagSize    = 16

	slotRecord  = 1
	entryRecord = 2

	// maxEnc bounds what Encapsulate makes: 1 KiB for RSA-8192.
	maxEnc = 2 << 10
	// maxSlots bounds memory; each costs a key to derive.
	maxSlots = 1 << 16
)

// A name is a field and what it is of.
type name [17]byte

func uidName(f Field, validity uint32, uid mailbox.UID) (n name) {
	n[0] = byte(f)
	binary.BigEndian.PutUint32(n[1:], validity)
	binary.BigEndian.PutUint32(n[5:], uint32(uid))
	return n
}

// uid is the message of a name; ok is false where it is the name of key data.
func (n name) uid() (validity uint32, uid mailbox.UID, ok bool) {
	return binary.BigEndian.Uint32(n[1:]), mailbox.UID(binary.BigEndian.Uint32(n[5:])), Field(n[0]) != keyData
}

// A place is where an entry's body lies in the file.
type place struct {
	at   int64
	size int32
}

// head is how the file of a mailbox begins.
func head(guid mailbox.GUID) []byte { return append([]byte(magic), guid[:]...) }

// openFile opens or makes a file and says how long it is. One that belongs to another
// mailbox is emptied.
func openFile(path string, guid mailbox.GUID) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("sealedcache: %w", err)
	}
	fail := func(err error) (*os.File, int64, error) {
		f.Close()
		return nil, 0, fmt.Errorf("sealedcache: opening %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("not a file"))
	}
	is := make([]byte, fileHead)
	if n, err := f.ReadAt(is, 0); err != nil && err != io.EOF {
		return fail(err)
	} else if bytes.Equal(is[:n], head(guid)) {
		return f, info.Size(), nil
	}
	if err := f.Truncate(0); err != nil {
		return fail(err)
	}
	if _, err := f.WriteAt(head(guid), 0); err != nil {
		return fail(err)
	}
	return f, int64(fileHead), nil
}

// scan calls fn for each record of a file until one cannot be or fn says so, and returns where
// that is. body is of the file's buffer; of an entry it has the head alone.
func scan(r io.ReaderAt, size int64, fn func(kind byte, p place, body []byte) bool) (end int64, err error) {
	const window = 256 << 10
	buf := make([]byte, 0, window)
	var at int64 // of buf
	// need returns n bytes at off, which is never below at.
	need := func(off int64, n int) ([]byte, error) {
		if off+int64(n) > at+int64(len(buf)) {
			at, buf = off, buf[:min(window, size-off)]
			if _, err := r.ReadAt(buf, at); err != nil {
				return nil, err
			}
		}
		return buf[off-at : off-at+int64(n)], nil
	}
	off := int64(fileHead)
	for off+recordHead <= size {
		h, err := need(off, recordHead)
		if err != nil {
			return off, err
		}
		kind, n := h[0], int(h[1])<<16|int(h[2])<<8|int(h[3])
		p := place{off + recordHead, int32(n)}
		if p.at+int64(n) > size {
			return off, nil
		}
		part := n
		switch {
		case kind == slotRecord && n >= slotHead && n <= slotHead+maxEnc:
		case kind == entryRecord && n >= entryHead+tagSize && n <= entryHead+MaxValue+tagSize:
			part = entryHead
		default:
			return off, nil
		}
		body, err := need(p.at, part)
		if err != nil {
			return off, err
		}
		if !fn(kind, p, body) {
			return off, nil
		}
		off = p.at + int64(n)
	}
	return off, nil
}

func appendRecordHead(dst []byte, kind byte, n int) []byte {
	return append(dst, kind, byte(n>>16), byte(n>>8), byte(n))
}

func (s *slot) append(dst []byte) []byte {
	dst = appendRecordHead(dst, slotRecord, slotHead+len(s.enc))
	dst = binary.BigEndian.AppendUint64(dst, s.number)
	dst = append(dst, s.how)
	dst = append(dst, s.key[:]...)
	dst = append(dst, s.salt[:]...)
	return append(dst, s.enc...)
}

func parseSlot(b []byte) (*slot, bool) {
	s := &slot{number: binary.BigEndian.Uint64(b), how: b[8], enc: bytes.Clone(b[slotHead:])}
	copy(s.key[:], b[9:])
	copy(s.salt[:], b[41:])
	return s, s.how == derived || s.how == encapsulated
}
