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
	headerLen     = 4 + 4 + 8
	// Of format 1: behind that a bound of what could have been told, and whether highest is
	// exact.
	oldHeaderLen = headerLen + 8 + 1
	// maxModSeq leaves room to count on below the 63 bits of RFC 7162 section 3.1.
	maxModSeq   = math.MaxInt64 - 1<<32
	identityLen = 16 + 4 + 4
)

// header is the "h" entry of a mailbox.
type header struct {
	validity uint32
	next     mailbox.UID
	highest  mailbox.ModSeq // nothing above it was told
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerLen)
	b = binary.BigEndian.AppendUint32(b, h.validity)
	b = binary.BigEndian.AppendUint32(b, uint32(h.next))
	return binary.BigEndian.AppendUint64(b, uint64(h.highest))
}

func decodeHeader(b []byte) (header, error) {
	if b == nil {
		return header{}, nil
	}
	if len(b) != headerLen && (len(b) != oldHeaderLen || b[24] > 1) {
		return header{}, fmt.Errorf("%w: header", errRecord)
	}
	h := header{
		validity: binary.BigEndian.Uint32(b),
		next:     mailbox.UID(binary.BigEndian.Uint32(b[4:])),
		highest:  mailbox.ModSeq(binary.BigEndian.Uint64(b[8:])),
	}
	if len(b) == oldHeaderLen && b[24] == 0 {
		h.highest = max(h.highest, mailbox.ModSeq(binary.BigEndian.Uint64(b[16:])))
	}
	// RFC 7162 section 3.1: 63 bits.
	if h.highest > maxModSeq {
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
	b = append(b, byte(r.Flags.System))
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

// shortUvarint is uvarint for what has one encoding only, the shortest.
func (d *decoder) shortUvarint(limit uint64) uint64 {
	was := d.b
	v := d.uvarint(limit)
	if n := len(was) - len(d.b); n > 1 && was[n-1] == 0 {
		d.bad, d.b = true, nil
	}
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
