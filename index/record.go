package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"mailcrypt/mailbox"
)

const (
	maxKeywords   = 1 << 16
	maxKeywordLen = 1 << 12
	headerLen     = 4 + 4 + 8 + 8 + 1
	identityLen   = 16 + 4 + 4
)

// header is the "h" entry of a mailbox.
type header struct {
	validity uint32
	next     mailbox.UID
	highest  mailbox.ModSeq
	reserved mailbox.ModSeq
	clean    bool // highest is exact; otherwise reserved is the bound
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerLen)
	b = binary.BigEndian.AppendUint32(b, h.validity)
	b = binary.BigEndian.AppendUint32(b, uint32(h.next))
	b = binary.BigEndian.AppendUint64(b, uint64(h.highest))
	b = binary.BigEndian.AppendUint64(b, uint64(h.reserved))
	if h.clean {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeHeader(b []byte) (header, error) {
	if b == nil {
		return header{}, nil
	}
	if len(b) != headerLen || b[24] > 1 {
		return header{}, fmt.Errorf("%w: header", errRecord)
	}
	h := header{
		validity: binary.BigEndian.Uint32(b),
		next:     mailbox.UID(binary.BigEndian.Uint32(b[4:])),
		highest:  mailbox.ModSeq(binary.BigEndian.Uint64(b[8:])),
		reserved: mailbox.ModSeq(binary.BigEndian.Uint64(b[16:])),
		clean:    b[24] == 1,
	}
	// RFC 7162 section 3.1: 63 bits.
	if h.highest > math.MaxInt64-reserveAhead || h.reserved > math.MaxInt64-reserveAhead {
		return header{}, fmt.Errorf("%w: modseq", errRecord)
	}
	return h, nil
}

func encodeIdentity(id Identity) []byte {
	b := append(make([]byte, 0, identityLen), id.GUID[:]...)
	b = binary.BigEndian.AppendUint32(b, id.UIDValidity)
	return binary.BigEndian.AppendUint32(b, uint32(id.UIDNext))
}

func decodeIdentity(b []byte) (id Identity, err error) {
	if len(b) != identityLen {
		return id, fmt.Errorf("%w: identity", errRecord)
	}
	copy(id.GUID[:], b)
	id.UIDValidity = binary.BigEndian.Uint32(b[16:])
	id.UIDNext = mailbox.UID(binary.BigEndian.Uint32(b[20:]))
	if id.GUID.IsZero() || id.UIDValidity == 0 {
		return Identity{}, fmt.Errorf("%w: identity", errRecord)
	}
	return id, nil
}

func uidKey(uid mailbox.UID) []byte { return binary.BigEndian.AppendUint32(nil, uint32(uid)) }

func (r *Record) encode() []byte {
	b := binary.AppendUvarint(make([]byte, 0, 40), uint64(r.ModSeq))
	b = append(b, byte(r.Flags.System&^mailbox.Recent))
	b = binary.AppendUvarint(b, uint64(max(r.Physical, mailbox.Unknown)+1))
	b = binary.AppendUvarint(b, uint64(max(r.Virtual, mailbox.Unknown)+1))
	saved := int64(0)
	if !r.Saved.IsZero() {
		saved = r.Saved.UnixNano()
	}
	b = binary.AppendVarint(b, saved)
	b = binary.AppendUvarint(b, uint64(len(r.Flags.Keywords)))
	for _, k := range r.Flags.Keywords {
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
	}
	return b
}

// decodeRecord reads a message's entry. The result shares nothing with its arguments.
func decodeRecord(key, b []byte) (Record, error) {
	d := decoder{b: b}
	if len(key) != 4 {
		return Record{}, fmt.Errorf("%w: key of %d bytes", errRecord, len(key))
	}
	r := Record{UID: mailbox.UID(binary.BigEndian.Uint32(key))}
	r.ModSeq = mailbox.ModSeq(d.uvarint(math.MaxInt64))
	if system := d.bytes(1); len(system) == 1 {
		r.Flags.System = mailbox.SystemFlags(system[0])
	}
	r.Physical = int64(d.uvarint(math.MaxInt64)) - 1
	r.Virtual = int64(d.uvarint(math.MaxInt64)) - 1
	if saved := d.varint(); saved != 0 {
		r.Saved = time.Unix(0, saved)
	}
	n := d.uvarint(maxKeywords)
	for i := uint64(0); i < n && !d.bad; i++ {
		r.Flags.Keywords = append(r.Flags.Keywords, string(d.bytes(d.uvarint(maxKeywordLen))))
	}
	if d.bad || len(d.b) > 0 {
		return Record{}, fmt.Errorf("%w: UID %d", errRecord, r.UID)
	}
	return r, nil
}

// A decoder takes values off b; after the first that is not there, all are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}
