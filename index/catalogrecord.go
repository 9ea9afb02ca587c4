package index

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"mailcrypt/mailbox"
)

// maxGUIDLen bounds the text that identifies a message; it is a line of the metadata.
const maxGUIDLen = 1 << 12

func u32Key(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func (d *decoder) u32() uint32 {
	if b := d.bytes(4); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) size() int64 { return int64(d.uvarint(math.MaxInt64)) - 1 }

func appendSize(b []byte, size int64) []byte {
	return binary.AppendUvarint(b, uint64(max(size, mailbox.Unknown)+1))
}

func (r *MapRecord) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 56), r.File)
	b = binary.BigEndian.AppendUint32(b, r.Offset)
	b = binary.BigEndian.AppendUint32(b, r.Size)
	b = binary.BigEndian.AppendUint16(b, r.Refs)
	b = binary.AppendVarint(b, r.Received.Unix())
	b = appendSize(b, r.Physical)
	b = appendSize(b, r.Virtual)
	b = appendSize(b, r.Stored)
	if raw, ok := plainGUID(r.GUID); ok {
		return append(append(b, 0), raw[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.GUID))+1)
	return append(b, r.GUID...)
}

// plainGUID is a GUID's text as the 16 bytes that it usually stands for.
func plainGUID(text string) (raw [16]byte, ok bool) {
	if len(text) != 32 {
		return raw, false
	}
	g, err := mailbox.ParseGUID(text)
	return g, err == nil && g.String() == text
}

// decodeMap reads a stored message's entry. The result shares nothing with b.
func decodeMap(mapUID uint32, b []byte) (MapRecord, error) {
	d := decoder{b: b}
	r := MapRecord{MapUID: mapUID, Place: Place{d.u32(), d.u32(), d.u32()}}
	if refs := d.bytes(2); len(refs) == 2 {
		r.Refs = binary.BigEndian.Uint16(refs)
	}
	r.Received = time.Unix(d.varint(), 0)
	r.Physical, r.Virtual, r.Stored = d.size(), d.size(), d.size()
	if n := d.uvarint(maxGUIDLen); n == 0 {
		r.GUID = hex.EncodeToString(d.bytes(16))
	} else {
		r.GUID = string(d.bytes(n - 1))
	}
	if d.bad || len(d.b) > 0 || r.Refs > maxRefs {
		return MapRecord{}, fmt.Errorf("%w: map UID %d", errRecord, mapUID)
	}
	return r, nil
}

// A CatalogMessage is a message of a mailbox.
type CatalogMessage struct {
	Record
	MapUID uint32 // of its stored bytes
}

func (m *CatalogMessage) encode() []byte {
	return append(u32Key(m.MapUID), m.Record.encode()...)
}

func decodeMessage(key, b []byte) (CatalogMessage, error) {
	if len(b) < 4 {
		return CatalogMessage{}, fmt.Errorf("%w: message", errRecord)
	}
	r, err := decodeRecord(key, b[4:])
	return CatalogMessage{r, binary.BigEndian.Uint32(b)}, err
}

// boxState is the "h" entry of a mailbox.
type boxState struct {
	h        header
	recent   mailbox.UID // messages from here on are recent
	messages uint32
	bytes    int64
}

const boxStateLen = headerLen + 4 + 4 + 8

func (s *boxState) encode() []byte {
	b := binary.BigEndian.AppendUint32(s.h.encode(), uint32(s.recent))
	b = binary.BigEndian.AppendUint32(b, s.messages)
	return binary.BigEndian.AppendUint64(b, uint64(s.bytes))
}

func decodeBoxState(b []byte) (s boxState, err error) {
	if len(b) != boxStateLen {
		return s, fmt.Errorf("%w: header of a mailbox", errRecord)
	}
	if s.h, err = decodeHeader(b[:headerLen]); err != nil {
		return s, err
	}
	b = b[headerLen:]
	s.recent = mailbox.UID(binary.BigEndian.Uint32(b))
	s.messages = binary.BigEndian.Uint32(b[4:])
	s.bytes = int64(binary.BigEndian.Uint64(b[8:]))
	if s.h.validity == 0 || s.h.next == 0 || s.bytes < 0 {
		return s, fmt.Errorf("%w: header of a mailbox", errRecord)
	}
	return s, nil
}

// maxCounted bounds what one message can claim, so that no sum overflows.
const maxCounted = 1 << 40

// counted is what a message adds to the bytes of its mailbox.
func (m *CatalogMessage) counted(stored int64) int64 {
	size := m.Virtual
	if size < 0 {
		size = m.Physical
	}
	if size < 0 {
		size = stored
	}
	return min(max(size, 0), maxCounted)
}
