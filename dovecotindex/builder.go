package dovecotindex

import (
	"fmt"
	"math"
	"time"
)

// A builder writes a transaction log from its beginning: the state of a new index. All of its
// records are external, for they are facts.
type builder struct {
	b   []byte
	err error
}

// LogOptions describe a log that is written.
type LogOptions struct {
	// ID tells indexes of one path apart; Dovecot takes the time of making one. 0 takes Created.
	ID uint32
	// Created is when the log was made; zero is now. Dovecot rotates logs by their age.
	Created time.Time
}

// chunk is how many items a record gets.
const chunk = 32768

// newBuilder begins a log. Its counter of modseqs does not count yet: see modseqs.
func newBuilder(o LogOptions) *builder {
	if o.Created.IsZero() {
		o.Created = time.Now()
	}
	created := stamp(o.Created)
	if o.ID == 0 {
		o.ID = max(created, 1)
	}
	h := make([]byte, logHeaderSize)
	h[0], h[1] = logMajor, logMinor
	le.PutUint16(h[2:], logHeaderSize)
	le.PutUint32(h[4:], o.ID)
	le.PutUint32(h[8:], 1) // the first file, without a predecessor
	le.PutUint32(h[20:], created)
	h[32] = compatLittle
	return &builder{b: h}
}

// stamp is a time as indexes have it.
func stamp(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}

func (w *builder) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("dovecotindex: writing a log: "+format, args...)
	}
}

// record writes one record, padded to a multiple of 4.
func (w *builder) record(kind uint32, data []byte) {
	n := recordHeader + align4(len(data))
	w.b = appendRecordSize(w.b, n)
	w.b = le.AppendUint32(w.b, kind|typeExternal)
	w.b = append(w.b, data...)
	w.b = append(w.b, make([]byte, n-recordHeader-len(data))...)
}

// items writes records of a list's items, several of each.
func (w *builder) items(kind uint32, n int, item func(b []byte, i int) []byte) {
	for from := 0; from < n; from += chunk {
		var data []byte
		for i := from; i < min(from+chunk, n); i++ {
			data = item(data, i)
		}
		w.record(kind, data)
	}
}

// header sets a number of the base header.
func (w *builder) header(off int, v uint32) {
	w.record(typeHeaderUpdate, le.AppendUint32([]byte{byte(off), 0, 4, 0}, v))
}

// extension introduces an extension by name.
func (w *builder) extension(name string, hdrSize, recordSize, align int) {
	b := le.AppendUint32(nil, byName)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(hdrSize))
	b = le.AppendUint16(b, uint16(recordSize))
	b = le.AppendUint16(b, uint16(align))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, uint16(len(name)))
	w.record(typeExtIntro, append(b, name...))
}

// extHeader writes the header of the extension introduced last, of less than 64 KiB or not.
func (w *builder) extHeader(data []byte) {
	if len(data) <= math.MaxUint16 {
		w.record(typeExtHeader, append([]byte{0, 0, byte(len(data)), byte(len(data) >> 8)}, data...))
		return
	}
	w.record(typeExtHeader32, append(le.AppendUint32(make([]byte, 4), uint32(len(data))), data...))
}

// extRecords writes data of the extension introduced last.
func (w *builder) extRecords(n int, item func(i int) (uid uint32, data []byte)) {
	w.items(typeExtRecord, n, func(b []byte, i int) []byte {
		uid, data := item(i)
		b = append(le.AppendUint32(b, uid), data...)
		return append(b, make([]byte, align4(len(data))-len(data))...)
	})
}

// appends writes messages, whose UIDs must ascend.
func (w *builder) appends(n int, item func(i int) (uid uint32, flags uint8)) {
	var prev uint32
	w.items(typeAppend, n, func(b []byte, i int) []byte {
		uid, flags := item(i)
		if uid <= prev || uid == math.MaxUint32 {
			w.fail("UID %d after %d", uid, prev)
		}
		prev = uid
		return append(le.AppendUint32(b, uid), flags, 0, 0, 0)
	})
}

// keyword sets a keyword for messages.
func (w *builder) keyword(name string, uids []uint32) {
	if name == "" || len(name) > math.MaxUint16 {
		w.fail("a keyword of %d bytes", len(name))
		return
	}
	ranges := ranges(uids)
	for from := 0; from < len(ranges); from += chunk {
		b := append([]byte{0, 0, byte(len(name)), byte(len(name) >> 8)}, name...)
		b = append(b, make([]byte, align4(len(b))-len(b))...)
		for _, r := range ranges[from:min(from+chunk, len(ranges))] {
			b = le.AppendUint32(le.AppendUint32(b, r[0]), r[1])
		}
		w.record(typeKeywordUpdate, b)
	}
}

// ranges joins ascending UIDs.
func ranges(uids []uint32) (r [][2]uint32) {
	for _, uid := range uids {
		if n := len(r); n > 0 && r[n-1][1]+1 == uid {
			r[n-1][1] = uid
		} else {
			r = append(r, [2]uint32{uid, uid})
		}
	}
	return r
}

// modseqs gives messages their modseqs and the index its highest. The log's counter began at
// 0, which counts nothing until the extension is introduced: so none of the records before
// has raised a modseq, and what is set here is what stays.
func (w *builder) modseqs(highest uint64, n int, item func(i int) (uid uint32, modseq uint64)) {
	w.extension(extModseq, 16, 8, 8)
	var h [16]byte
	le.PutUint64(h[:], 1)
	w.extHeader(h[:])
	update := func(b []byte, uid uint32, modseq uint64) []byte {
		return le.AppendUint64(le.AppendUint32(b, uid), modseq)
	}
	w.items(typeModseqUpdate, n, func(b []byte, i int) []byte {
		uid, modseq := item(i)
		return update(b, uid, max(modseq, 1))
	})
	w.record(typeModseqUpdate, update(nil, 0, max(highest, 1)))
}

// finish says that all is synced, and returns the log.
func (w *builder) finish() ([]byte, error) {
	const last = recordHeader + 8
	if len(w.b)+last > math.MaxInt32 {
		w.fail("too many messages")
	}
	w.header(hdrLogTail, uint32(len(w.b)+last))
	if w.err != nil {
		return nil, w.err
	}
	return w.b, nil
}
