package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// maxRefs is how many messages of mailboxes may share one place (Dovecot: dbox-storage.h).
const maxRefs = 32768

// A CatalogTx is one transaction of a [Catalog]. It ends with the function that got it.
type CatalogTx struct {
	tx  *bolt.Tx
	now func() time.Time
}

// A CatalogMeta is what a catalog says of the store as a whole.
type CatalogMeta struct {
	MapValidity uint32 // of map UIDs; Dovecot calls it the map index's uid_validity
	NextMapUID  uint32
	HighestFile uint32 // m.N files above it are none of ours
	Rebuilds    uint32
	HandedOver  bool // to Dovecot, which may have changed the store since
}

// Meta returns the state of the store.
func (t *CatalogTx) Meta() (m CatalogMeta, err error) {
	b := t.tx.Bucket(metaBucket)
	for _, f := range []struct {
		key  []byte
		into *uint32
	}{{validityKey, &m.MapValidity}, {nextKey, &m.NextMapUID}, {highFileKey, &m.HighestFile}, {rebuildsKey, &m.Rebuilds}} {
		v := b.Get(f.key)
		if v != nil && len(v) != 4 {
			return m, fmt.Errorf("%w: %q", errRecord, f.key)
		}
		if v != nil {
			*f.into = binary.BigEndian.Uint32(v)
		}
	}
	if m.MapValidity == 0 || m.NextMapUID == 0 {
		return m, fmt.Errorf("%w: no map UIDs", errRecord)
	}
	m.HandedOver = b.Get(handedKey) != nil
	return m, nil
}

// SetMeta replaces the state of the store.
func (t *CatalogTx) SetMeta(m CatalogMeta) error {
	b := t.tx.Bucket(metaBucket)
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	err := errors.Join(b.Put(validityKey, u32(m.MapValidity)), b.Put(nextKey, u32(m.NextMapUID)),
		b.Put(highFileKey, u32(m.HighestFile)), b.Put(rebuildsKey, u32(m.Rebuilds)))
	if m.HandedOver {
		return errors.Join(err, b.Put(handedKey, []byte{1}))
	}
	return errors.Join(err, b.Delete(handedKey))
}

func (t *CatalogTx) number64(key []byte) uint64 {
	if v := t.tx.Bucket(metaBucket).Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (t *CatalogTx) countCommit() (uint64, error) {
	n := t.number64(commitsKey) + 1
	return n, t.tx.Bucket(metaBucket).Put(commitsKey, binary.BigEndian.AppendUint64(nil, n))
}

// Clear takes everything out, for a rebuild, but for the numbers that must only grow.
func (t *CatalogTx) Clear() error {
	for _, name := range [][]byte{mapBucket, placeBucket, fileBucket, nameBucket, boxBucket} {
		if err := t.tx.DeleteBucket(name); err != nil && t.tx.Bucket(name) != nil {
			return err
		}
		if _, err := t.tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// Place is where a message lies, with its header and its metadata: bytes of a file.
type Place struct{ File, Offset, Size uint32 }

// A MapRecord is one stored message, which any number of mailboxes may refer to.
type MapRecord struct {
	MapUID uint32
	Place
	// Refs is how many messages of mailboxes there are of it. With none it was expunged, and
	// stays until its file is purged.
	Refs     uint16
	Received time.Time // of the INTERNALDATE the seconds are kept
	// Physical and Virtual are sizes of the message, mailbox.Unknown where they are not known;
	// Stored is the size of its stored bytes alone.
	Physical, Virtual, Stored int64
	GUID                      string // of the message
}

// AddMap adds a stored message, without references, and gives it the next map UID. Its file
// is known (PutFile).
func (t *CatalogTx) AddMap(r MapRecord) (uint32, error) {
	m, err := t.Meta()
	if err != nil {
		return 0, err
	}
	if m.NextMapUID == math.MaxUint32 {
		return 0, fmt.Errorf("index: %w: no map UIDs are left; doveadm-crypt force-resync numbers anew", mailbox.ErrLimit)
	}
	r.MapUID = m.NextMapUID
	next := binary.BigEndian.AppendUint32(nil, m.NextMapUID+1)
	if err := t.tx.Bucket(metaBucket).Put(nextKey, next); err != nil {
		return 0, err
	}
	return r.MapUID, t.PutMap(r)
}

// PutMap adds a stored message under the map UID that it has; it is for rebuilding. Its file
// is known, and nothing else has the map UID or the place.
func (t *CatalogTx) PutMap(r MapRecord) error {
	b := t.tx.Bucket(mapBucket)
	b.FillPercent = 0.9 // always appended
	if err := b.Put(u32Key(r.MapUID), r.encode()); err != nil {
		return err
	}
	return t.enterPlace(&r)
}

// Map returns a stored message. The error wraps mailbox.ErrNotFound where there is none.
func (t *CatalogTx) Map(mapUID uint32) (MapRecord, error) {
	v := t.tx.Bucket(mapBucket).Get(u32Key(mapUID))
	if v == nil {
		return MapRecord{}, fmt.Errorf("index: map UID %d: %w", mapUID, mailbox.ErrNotFound)
	}
	return decodeMap(mapUID, v)
}

// mapOf is Map for a message of a mailbox, which must be there.
func (t *CatalogTx) mapOf(mapUID uint32) (MapRecord, error) {
	r, err := t.Map(mapUID)
	if errors.Is(err, mailbox.ErrNotFound) {
		err = fmt.Errorf("%w: a message refers to map UID %d, which is not there", errRecord, mapUID)
	}
	return r, err
}

// Maps calls fn for every stored message, by map UID, until it returns an error.
func (t *CatalogTx) Maps(fn func(MapRecord) error) error {
	return t.tx.Bucket(mapBucket).ForEach(func(k, v []byte) error {
		if len(k) != 4 {
			return fmt.Errorf("%w: map UID of %d bytes", errRecord, len(k))
		}
		r, err := decodeMap(binary.BigEndian.Uint32(k), v)
		if err != nil {
			return err
		}
		return fn(r)
	})
}

// MoveMap gives a stored message another place, in a file that is known.
func (t *CatalogTx) MoveMap(mapUID uint32, to Place) error {
	r, err := t.Map(mapUID)
	if err != nil {
		return err
	}
	if err := t.leavePlace(&r); err != nil {
		return err
	}
	r.Place = to
	if err := t.tx.Bucket(mapBucket).Put(u32Key(mapUID), r.encode()); err != nil {
		return err
	}
	return t.enterPlace(&r)
}

// DropMap forgets a stored message that nothing refers to.
func (t *CatalogTx) DropMap(mapUID uint32) error {
	r, err := t.Map(mapUID)
	if err != nil {
		return err
	}
	if r.Refs > 0 {
		return fmt.Errorf("index: map UID %d has %d references", mapUID, r.Refs)
	}
	if err := t.leavePlace(&r); err != nil {
		return err
	}
	return t.tx.Bucket(mapBucket).Delete(u32Key(mapUID))
}

// refer adds to the references of a stored message. The error wraps errors.ErrUnsupported
// where it has as many as it can.
func (t *CatalogTx) refer(mapUID uint32, by int) (MapRecord, error) {
	r, err := t.mapOf(mapUID)
	if err != nil {
		return r, err
	}
	was, refs := r.Refs, int(r.Refs)+by
	switch {
	case refs < 0:
		return r, fmt.Errorf("%w: map UID %d has fewer references than messages", errRecord, mapUID)
	case refs > maxRefs:
		return r, fmt.Errorf("index: map UID %d has %d references: %w", mapUID, was, errors.ErrUnsupported)
	}
	r.Refs = uint16(refs)
	if (was == 0) != (refs == 0) {
		f, err := t.File(r.File)
		if err != nil {
			return r, err
		}
		if refs == 0 {
			f.Dead, f.DeadBytes = f.Dead+1, f.DeadBytes+uint64(r.Size)
		} else {
			f.Dead, f.DeadBytes = f.Dead-1, f.DeadBytes-uint64(r.Size)
		}
		if err := t.putFile(f); err != nil {
			return r, err
		}
	}
	return r, t.tx.Bucket(mapBucket).Put(u32Key(mapUID), r.encode())
}

// setSizes notes the sizes of a stored message.
func (t *CatalogTx) setSizes(mapUID uint32, physical, virtual int64) error {
	r, err := t.mapOf(mapUID)
	if err != nil || r.Physical == physical && r.Virtual == virtual {
		return err
	}
	r.Physical, r.Virtual = physical, virtual
	return t.tx.Bucket(mapBucket).Put(u32Key(mapUID), r.encode())
}
