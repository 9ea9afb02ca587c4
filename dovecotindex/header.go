package dovecotindex

// The base header of an index: offsets of the fields that are used. (Dovecot:
// mail-index.h, struct mail_index_header.)
const (
	baseHeaderSize = 120

	hdrMajor         = 0
	hdrMinor         = 1
	hdrBaseSize      = 2
	hdrSize          = 4
	hdrRecordSize    = 8
	hdrCompat        = 12
	hdrIndexID       = 16
	hdrFlags         = 20
	hdrUIDValidity   = 24
	hdrNextUID       = 28
	hdrMessages      = 32
	hdrFirstRecent   = 48
	hdrLogSeq        = 60
	hdrLogTail       = 64
	hdrLogHead       = 68
	indexMajor       = 7
	compatLittle     = 0x01
	minRecordSize    = 5
	flagMarkedBroken = 0x01
)

// A baseHeader is kept as bytes, for the log changes it by offsets, and may be longer than
// what is known of it.
type baseHeader []byte

// newBaseHeader is that of an index that was just made.
func newBaseHeader() baseHeader {
	h := make(baseHeader, baseHeaderSize)
	h.set(hdrNextUID, 1)
	h.set(hdrFirstRecent, 1)
	return h
}

func (h baseHeader) get(off int) uint32    { return le.Uint32(h[off:]) }
func (h baseHeader) set(off int, v uint32) { le.PutUint32(h[off:], v) }

// update replaces bytes, as a record of the log says. The UID to come never gets smaller:
// replication may try, and Dovecot ignores that silently. How far the mail itself was
// synced is no fact of this state, and stays.
func (h baseHeader) update(off int, data []byte) error {
	if off+len(data) > len(h) {
		return unfit("header update outside the header: %d bytes at %d of %d", len(data), off, len(h))
	}
	next, tail := h.get(hdrNextUID), h.get(hdrLogTail)
	copy(h[off:], data)
	h.set(hdrNextUID, max(next, h.get(hdrNextUID)))
	h.set(hdrLogTail, tail)
	return nil
}
