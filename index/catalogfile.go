package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"mailcrypt/mailbox"
)

// A CatalogFile is one m.N file.
type CatalogFile struct {
	ID      uint32
	End     uint32    // of the last message that the catalog knows; what lies beyond is not ours
	Created time.Time // as the file says, in seconds
	Alt     bool      // in the alternative storage
	Doomed  bool      // nothing in it is needed: it is to be removed

	// Kept by the catalog, whatever PutFile is given.
	Messages  uint32 // how many stored messages it has
	Dead      uint32 // how many of them nothing refers to
	DeadBytes uint64 // and their size
}

// File returns what is known of a file. The error wraps mailbox.ErrNotFound where it is
// nothing.
func (t *CatalogTx) File(id uint32) (CatalogFile, error) {
	v := t.tx.Bucket(fileBucket).Get(u32Key(id))
	if v == nil {
		return CatalogFile{}, fmt.Errorf("index: file m.%d: %w", id, mailbox.ErrNotFound)
	}
	return decodeFile(id, v)
}

// Files returns what is known of all files, by id.
func (t *CatalogTx) Files() (files []CatalogFile, err error) {
	err = t.tx.Bucket(fileBucket).ForEach(func(k, v []byte) error {
		if len(k) != 4 {
			return fmt.Errorf("%w: file id of %d bytes", errRecord, len(k))
		}
		f, err := decodeFile(binary.BigEndian.Uint32(k), v)
		files = append(files, f)
		return err
	})
	return files, err
}

// PutFile notes the state of a file, and that its id is taken.
func (t *CatalogTx) PutFile(f CatalogFile) error {
	f.Messages, f.Dead, f.DeadBytes = 0, 0, 0
	if v := t.tx.Bucket(fileBucket).Get(u32Key(f.ID)); v != nil {
		was, err := decodeFile(f.ID, v)
		if err != nil {
			return err
		}
		f.Messages, f.Dead, f.DeadBytes = was.Messages, was.Dead, was.DeadBytes
	}
	m, err := t.Meta()
	if err != nil {
		return err
	}
	if f.ID > m.HighestFile {
		if err := t.tx.Bucket(metaBucket).Put(highFileKey, u32Key(f.ID)); err != nil {
			return err
		}
	}
	return t.putFile(f)
}

func (t *CatalogTx) putFile(f CatalogFile) error {
	return t.tx.Bucket(fileBucket).Put(u32Key(f.ID), f.encode())
}

// DropFile forgets a file, in which there are no messages any more.
func (t *CatalogTx) DropFile(id uint32) error {
	f, err := t.File(id)
	if err != nil {
		return err
	}
	if f.Messages > 0 {
		return fmt.Errorf("index: file m.%d has %d messages", id, f.Messages)
	}
	return t.tx.Bucket(fileBucket).Delete(u32Key(id))
}

// Places calls fn for the stored messages of a file, by offset, until it returns an error.
// fn must not change the catalog.
func (t *CatalogTx) Places(file uint32, fn func(MapRecord) error) error {
	c := t.tx.Bucket(placeBucket).Cursor()
	for k, v := c.Seek(placeKey(Place{File: file})); k != nil; k, v = c.Next() {
		if len(k) != 8 || len(v) != 4 {
			return fmt.Errorf("%w: place", errRecord)
		}
		if binary.BigEndian.Uint32(k) != file {
			break
		}
		r, err := t.Map(binary.BigEndian.Uint32(v))
		if err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

func placeKey(p Place) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(make([]byte, 0, 8), p.File), p.Offset)
}

// enterPlace counts a message in its file.
func (t *CatalogTx) enterPlace(r *MapRecord) error {
	f, err := t.File(r.File)
	if err != nil {
		return err
	}
	if f.Messages++; r.Refs == 0 {
		f.Dead, f.DeadBytes = f.Dead+1, f.DeadBytes+uint64(r.Size)
	}
	if err := t.putFile(f); err != nil {
		return err
	}
	b := t.tx.Bucket(placeBucket)
	if b.Get(placeKey(r.Place)) != nil {
		return fmt.Errorf("index: two messages of file m.%d at %d", r.File, r.Offset)
	}
	return b.Put(placeKey(r.Place), u32Key(r.MapUID))
}

// leavePlace is the inverse of enterPlace.
func (t *CatalogTx) leavePlace(r *MapRecord) error {
	f, err := t.File(r.File)
	if err != nil {
		return err
	}
	if f.Messages--; r.Refs == 0 {
		f.Dead, f.DeadBytes = f.Dead-1, f.DeadBytes-uint64(r.Size)
	}
	if err := t.putFile(f); err != nil {
		return err
	}
	return t.tx.Bucket(placeBucket).Delete(placeKey(r.Place))
}

const (
	fileAlt    = 1
	fileDoomed = 2
)

func (f *CatalogFile) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 32), f.End)
	b = binary.AppendVarint(b, f.Created.Unix())
	flags := byte(0)
	if f.Alt {
		flags |= fileAlt
	}
	if f.Doomed {
		flags |= fileDoomed
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(f.Messages))
	b = binary.AppendUvarint(b, uint64(f.Dead))
	return binary.AppendUvarint(b, f.DeadBytes)
}

func decodeFile(id uint32, b []byte) (CatalogFile, error) {
	d := decoder{b: b}
	f := CatalogFile{ID: id, End: d.u32(), Created: time.Unix(d.varint(), 0)}
	if flags := d.bytes(1); len(flags) == 1 {
		f.Alt, f.Doomed = flags[0]&fileAlt != 0, flags[0]&fileDoomed != 0
	}
	f.Messages = uint32(d.uvarint(math.MaxUint32))
	f.Dead = uint32(d.uvarint(math.MaxUint32))
	f.DeadBytes = d.uvarint(math.MaxInt64)
	if d.bad || len(d.b) > 0 || f.Dead > f.Messages {
		return CatalogFile{}, fmt.Errorf("%w: file m.%d", errRecord, id)
	}
	return f, nil
}
