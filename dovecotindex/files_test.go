package dovecotindex

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// A set is the files of an index after each of some transactions, with a snapshot and a
// rotation in between.
type set struct {
	Files
	want string
}

// snapshot is what Dovecot would write for the state of x, a log's up to its end.
func snapshot(t testing.TB, x *Index) []byte {
	t.Helper()
	b := make([]byte, baseHeaderSize)
	b[0], b[1], b[hdrCompat] = indexMajor, 3, compatLittle
	le.PutUint16(b[hdrBaseSize:], baseHeaderSize)
	row := 8
	var offsets []int
	for _, e := range x.exts {
		offsets = append(offsets, row)
		hdr := e.header[:e.hdrSize]
		if e.name == extKeywords {
			hdr = keywordHeader(x.Keywords)
		}
		n := len(b)
		b = le.AppendUint32(b, uint32(len(hdr)))
		b = le.AppendUint32(b, e.resetID)
		b = le.AppendUint16(b, uint16(row))
		b = le.AppendUint16(b, uint16(e.size))
		b = le.AppendUint16(b, uint16(max(e.align, 1)))
		b = le.AppendUint16(b, uint16(len(e.name)))
		b = append(b, e.name...)
		b = append(b, make([]byte, align8(len(b)-n)-(len(b)-n))...)
		b = append(b, hdr...)
		b = append(b, make([]byte, align8(len(hdr))-len(hdr))...)
		row = align8(row + e.size)
	}
	h := baseHeader(b)
	for off, v := range map[int]uint32{
		hdrSize: uint32(len(b)), hdrRecordSize: uint32(row), hdrIndexID: x.ID, hdrUIDValidity: x.UIDValidity, hdrNextUID: uint32(x.NextUID),
		hdrMessages: uint32(x.Len()), hdrFirstRecent: uint32(x.FirstRecentUID), hdrLogSeq: x.LogSeq, hdrLogHead: x.LogOffset, hdrLogTail: x.LogTail,
	} {
		h.set(off, v)
	}
	for i := range x.Len() {
		rec := make([]byte, row)
		le.PutUint32(rec, uint32(x.UID(i)))
		rec[4] = x.RawFlags(i)
		for k, e := range x.exts {
			copy(rec[offsets[k]:], e.at(i))
		}
		b = append(b, rec...)
	}
	return b
}

func keywordHeader(names []string) []byte {
	h := le.AppendUint32(nil, uint32(len(names)))
	off := 0
	for _, n := range names {
		h = le.AppendUint32(le.AppendUint32(h, 0), uint32(off))
		off += len(n) + 1
	}
	for _, n := range names {
		h = append(append(h, n...), 0)
	}
	return h
}

// next begins the log after another.
func next(prev []byte, id uint32, modseq uint64, prevSeq uint32) *script {
	s := &script{*newBuilder(LogOptions{ID: id})}
	le.PutUint32(s.b[8:], le.Uint32(prev[8:])+1)
	le.PutUint32(s.b[12:], prevSeq)
	if prevSeq != 0 {
		le.PutUint32(s.b[16:], uint32(len(prev)))
	}
	le.PutUint64(s.b[24:], modseq)
	return s
}

// snapshots are the files of one index in the ways in which they may lie.
func snapshots(t testing.TB) map[string]set {
	work := func(s *script) *script {
		return s.add(1, 2, 3).rec(typeKeywordUpdate, uint16(0), uint16(4), "Work", []uint32{2, 3}).
			intro(byName, 0, 4, 4, 4, 0, "x").rec(typeExtRecord, []uint32{1, 7}).rec(typeExtHeader, uint16(0), uint16(4), "head")
	}
	first := work(begin()).b
	x, err := Parse(Files{Log: first})
	must(t, err)
	snap := snapshot(t, x)
	old := func() []byte { return slices.Clone(first) }
	more := (&script{builder{b: old()}}).rec(typeExpunge, []uint32{1, 1}).add(4).intro(1, 0, 4, 4, 4, 0, "").rec(typeExtRecord, []uint32{4, 5}).b
	y, err := Parse(Files{Log: more})
	must(t, err)
	second := next(more, 7, uint64(y.HighestModSeq), 1).add(6).rec(typeFlagUpdate, []uint32{2, 6, 8}).b
	begun := next(more, 7, 50, 0).add(9).b
	const (
		atMid = "1=07000000 2[Work]=00000000 3[Work]=00000000 next 4 modseq 3 header 68656164"
		atEnd = "2[Work]=00000000 3[Work]=00000000 4=05000000 next 5 modseq 5 header 68656164"
		later = "2/8[Work]=00000000 3/8[Work]=00000000 4/8=05000000 6/8=00000000 next 7 modseq 7 header 68656164"
	)
	return map[string]set{
		"log alone":                    {Files{Log: more}, atEnd},
		"snapshot alone":               {Files{Index: snap}, "1=07000000 2[Work]=00000000 3[Work]=00000000 next 4 modseq 0 header 68656164"},
		"snapshot up to date":          {Files{Index: snap, Log: first}, atMid},
		"snapshot and more":            {Files{Index: snap, Log: more}, atEnd},
		"two logs":                     {Files{Log: second, Log2: more}, later},
		"snapshot and two logs":        {Files{Index: snap, Log: second, Log2: more}, later},
		"snapshot at the rotation":     {Files{Index: snapshot(t, y), Log: second}, later},
		"both logs are one":            {Files{Index: snap, Log: more, Log2: more}, atEnd},
		"begun anew":                   {Files{Index: snap, Log: begun, Log2: more}, "9 next 10 modseq 51"},
		"backup":                       {Files{Index: []byte("broken"), Backup: snap, Log: second, Log2: more}, later},
		"broken snapshot and all logs": {Files{Index: snap[:130], Log: second, Log2: more}, later},
	}
}

func TestFiles(t *testing.T) {
	for name, s := range snapshots(t) {
		x, err := Parse(s.Files)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkIndex(t, x, s.Files)
		if got := show(x); got != s.want {
			t.Errorf("%s: %s\nwant %s", name, got, s.want)
		}
		whole := name != "snapshot alone" && !bytes.HasPrefix([]byte(name), []byte("b")) || name == "both logs are one" || name == "begun anew"
		if whole && x.Damage != nil {
			t.Errorf("%s: %v", name, x.Damage)
		}
		if !whole && x.Damage == nil {
			t.Errorf("%s: nothing was found wrong", name)
		}
	}
}

// What is missing is told, and what there is comes with it.
func TestGaps(t *testing.T) {
	s := snapshots(t)
	more, second, snap := s["two logs"].Log2, s["two logs"].Log, s["snapshot alone"].Index
	third := next(second, 7, 9, 2).add(20).b
	foreign := slices.Clone(more)
	le.PutUint32(foreign[4:], 8)
	le.PutUint32(foreign[12:], 5)
	marked := slices.Clone(more)
	le.PutUint32(marked[4:], 0)
	short := slices.Clone(more[:60])
	var corrupt *CorruptError
	for _, tt := range []struct {
		name string
		f    Files
		gap  bool
		len  int // messages, -1 for no index
	}{
		{"snapshot, second log", Files{Index: snap, Log: second}, true, 3},
		{"second log", Files{Log: second}, true, -1},
		{"snapshot, third log", Files{Index: snap, Log: third, Log2: more}, true, 3},
		{"log of another index", Files{Index: snap, Log: foreign}, false, 3},
		{"log marked as damaged", Files{Index: snap, Log: marked}, false, 3},
		{"log shorter than the snapshot says", Files{Index: snap, Log: short}, false, 3},
		{"garbage", Files{Index: []byte("x"), Log: []byte("y")}, false, -1},
		{"garbage for a log", Files{Index: snap, Log: []byte("y")}, false, 3},
	} {
		x, err := Parse(tt.f)
		if tt.gap && !errors.Is(err, ErrGap) || !tt.gap && !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if (x == nil) != (tt.len < 0) || x != nil && x.Len() != tt.len {
			t.Errorf("%s: %v", tt.name, x)
		}
	}
}

// A log that ends anywhere is as it was after some record: Dovecot may be writing.
func TestUnfinished(t *testing.T) {
	log := snapshots(t)["two logs"].Log2
	ends := map[int]bool{}
	for at := logHeaderSize; at < len(log); at += recordSize(log[at:]) {
		ends[at] = true
	}
	want := ""
	for n := logHeaderSize; n <= len(log); n++ {
		x, err := Parse(Files{Log: log[:n]})
		if err != nil || x.Damage != nil {
			t.Fatalf("of %d bytes: %v", n, err)
		}
		if ends[n] || n == len(log) {
			want = show(x)
		} else if got := show(x); got != want || x.Unfinished == 0 {
			t.Fatalf("of %d bytes: %s, want %s", n, got, want)
		}
	}
	for n := range logHeaderSize {
		if x, err := Parse(Files{Log: log[:n]}); n != 0 && err == nil {
			t.Errorf("a header of %d bytes: %v", n, x)
		}
	}
}

// No byte of a snapshot makes trouble.
func TestDamagedSnapshot(t *testing.T) {
	f := snapshots(t)["snapshot and more"].Files
	for at := range f.Index {
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			g := f
			g.Index = slices.Clone(f.Index)
			g.Index[at] = c
			x, err := Parse(g)
			checkError(t, err)
			if x != nil {
				checkIndex(t, x, g)
			} else if err == nil {
				t.Fatal("neither an index nor an error")
			}
		}
	}
}
