package index

import (
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

// A Salvage is what could be read of a catalog that may be damaged. Its parts need not fit
// together.
type Salvage struct {
	Meta      CatalogMeta // zero where it could not be read
	Maps      []MapRecord
	Places    map[uint32]Place // by map UID, as kept for searching by file; without sizes
	Files     []CatalogFile
	Names     map[string]Identity // by storage name
	Mailboxes []SalvagedMailbox   // by GUID
	// Lost says what could not be read, for people; empty where all could.
	Lost []string
}

// A SalvagedMailbox is what could be read of a mailbox.
type SalvagedMailbox struct {
	CatalogMailbox // zero, but for the GUID, where its header could not be read
	Messages       []CatalogMessage
}

// SalvageCatalog reads what it can of the catalog at path, and changes nothing. An error
// says that it is nothing at all.
func SalvageCatalog(path string, o CatalogOptions) (*Salvage, error) {
	o.fill()
	var db *bolt.DB
	err := guard(func() (err error) {
		// Not looked over before: what is beyond the end of the file shows as a fault, which is caught.
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: o.LockWait, OpenFile: openRegular, ReadOnly: true})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("index: salvaging catalog: %w", err)
	}
	s := &Salvage{Names: map[string]Identity{}, Places: map[uint32]Place{}}
	// One transaction for all. After a fault it may not be possible to end it.
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			s.read(&CatalogTx{tx: tx, now: time.Now})
			return nil
		})
	})
	if err != nil {
		s.lose("the rest", err)
	}
	abandon(db)
	return s, nil
}

func (s *Salvage) lose(what string, err error) {
	s.Lost = append(s.Lost, fmt.Sprintf("%s: %v", what, err))
}

// part reads one part; what was read of it before a fault counts.
func (s *Salvage) part(what string, fn func() error) {
	if err := guard(fn); err != nil {
		s.lose(what, err)
	}
}

func (s *Salvage) read(t *CatalogTx) {
	s.part("the numbers of the store", func() (err error) { s.Meta, err = t.Meta(); return err })
	s.bucket(t.tx.Bucket, mapBucket, "places", func(k, v []byte) error {
		r, err := decodeMap(keyNumber(k), v)
		if err == nil {
			s.Maps = append(s.Maps, r)
		}
		return err
	})
	s.bucket(t.tx.Bucket, placeBucket, "places by file", func(k, v []byte) error {
		if len(k) != 8 || len(v) != 4 {
			return fmt.Errorf("%w: place", errRecord)
		}
		s.Places[keyNumber(v)] = Place{File: keyNumber(k[:4]), Offset: keyNumber(k[4:])}
		return nil
	})
	s.bucket(t.tx.Bucket, fileBucket, "files", func(k, v []byte) error {
		f, err := decodeFile(keyNumber(k), v)
		if err == nil {
			s.Files = append(s.Files, f)
		}
		return err
	})
	s.bucket(t.tx.Bucket, nameBucket, "names", func(k, v []byte) error {
		id, err := decodeIdentity(v)
		if err == nil {
			s.Names[string(k)] = id
		}
		return err
	})
	guids := map[mailbox.GUID]bool{}
	for _, id := range s.Names {
		guids[id.GUID] = true
	}
	s.bucket(t.tx.Bucket, boxBucket, "the list of mailboxes", func(k, v []byte) error {
		var g mailbox.GUID
		if v != nil || len(k) != len(g) {
			return fmt.Errorf("%w: mailbox", errRecord)
		}
		copy(g[:], k)
		guids[g] = true
		return nil
	})
	order := func(a, b mailbox.GUID) int { return slices.Compare(a[:], b[:]) }
	for _, g := range slices.SortedFunc(maps.Keys(guids), order) {
		s.mailbox(t, g)
	}
}

func keyNumber(k []byte) uint32 {
	d := decoder{b: k}
	return d.u32()
}

// bucket calls fn for what is in a bucket; what fn cannot read is passed over.
func (s *Salvage) bucket(find func([]byte) *bolt.Bucket, name []byte, what string, fn func(k, v []byte) error) {
	var bad error
	count := 0
	s.part(what, func() error {
		b := find(name)
		if b == nil {
			return fmt.Errorf("%w: not there", errRecord)
		}
		return b.ForEach(func(k, v []byte) error {
			if err := fn(k, v); err != nil {
				bad = err
				count++
			}
			return nil
		})
	})
	if count > 0 {
		s.lose(fmt.Sprintf("%d of %s", count, what), bad)
	}
}

func (s *Salvage) mailbox(t *CatalogTx, guid mailbox.GUID) {
	m := SalvagedMailbox{CatalogMailbox: CatalogMailbox{GUID: guid}}
	var b *bolt.Bucket
	s.part("mailbox "+guid.String(), func() (err error) {
		if b = t.tx.Bucket(boxBucket).Bucket(guid[:]); b == nil {
			return fmt.Errorf("%w: not there", errRecord)
		}
		if found, err := t.Mailbox(guid); err != nil {
			s.lose("the header of mailbox "+guid.String(), err)
		} else {
			m.CatalogMailbox = found
		}
		return nil
	})
	if b == nil {
		return
	}
	s.bucket(b.Bucket, messagesKey, "messages of mailbox "+guid.String(), func(k, v []byte) error {
		msg, err := decodeMessage(k, v)
		if err == nil {
			m.Messages = append(m.Messages, msg)
		}
		return err
	})
	s.Mailboxes = append(s.Mailboxes, m)
}
