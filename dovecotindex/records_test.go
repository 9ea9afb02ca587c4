package dovecotindex

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A script is a log in the making.
type script struct{ builder }

func begin() *script {
	s := &script{*newBuilder(LogOptions{ID: 7})}
	le.PutUint64(s.b[24:], 1) // modseqs are counted
	s.header(hdrUIDValidity, 99)
	return s
}

func (s *script) rec(kind uint32, v ...any) *script {
	s.raw(kind|typeExternal, v...)
	return s
}

// raw writes a record of numbers, bytes and texts.
func (s *script) raw(typ uint32, v ...any) *script {
	var b []byte
	for _, a := range v {
		if text, ok := a.(string); ok {
			a = []byte(text)
		}
		b, _ = binary.Append(b, le, a)
	}
	b = append(b, make([]byte, align4(len(b))-len(b))...)
	s.b = appendRecordSize(s.b, recordHeader+len(b))
	s.b = append(le.AppendUint32(s.b, typ), b...)
	return s
}

func (s *script) add(uids ...uint32) *script {
	var v []any
	for _, u := range uids {
		v = append(v, u, uint32(0))
	}
	return s.rec(typeAppend, v...)
}

func (s *script) intro(id, reset, hdr uint32, rec, align, flags uint16, name string) *script {
	return s.rec(typeExtIntro, id, reset, hdr, rec, align, flags, uint16(len(name)), name)
}

type recordCase struct {
	name   string
	make   func(s *script) *script
	want   string // as show has it
	damage string // "" for none
}

func (c recordCase) log() []byte { return c.make(begin()).b }

// show is an index in a line: messages with flags, keywords, and the extension "x".
func show(x *Index) string {
	var b strings.Builder
	e, _ := x.Extension("x")
	for i := range x.Len() {
		fmt.Fprintf(&b, "%d", x.UID(i))
		if f := x.RawFlags(i); f != 0 {
			fmt.Fprintf(&b, "/%x", f)
		}
		if k := x.KeywordsOf(i); len(k) > 0 {
			fmt.Fprintf(&b, "[%s]", strings.Join(k, " "))
		}
		if r := e.Record(i); r != nil {
			fmt.Fprintf(&b, "=%x", r)
		}
		if x.HasModSeqs {
			fmt.Fprintf(&b, "@%d", x.ModSeq(i))
		}
		b.WriteByte(' ')
	}
	fmt.Fprintf(&b, "next %d modseq %d", x.NextUID, x.HighestModSeq)
	if len(e.Header) > 0 {
		fmt.Fprintf(&b, " header %x", e.Header)
	}
	if x.Deleted {
		b.WriteString(" deleted")
	}
	return b.String()
}

// everyRecord has each type of record, used well and badly.
func everyRecord() []recordCase {
	u := func(n ...uint32) []uint32 { return n }
	return []recordCase{
		{"append", func(s *script) *script { return s.add(1, 5) }, "1 5 next 6 modseq 2", ""},
		{"append again", func(s *script) *script { return s.add(5).add(5).add(6) }, "5 6 next 7 modseq 4", "message with UID 5 where the next is 6"},
		{"append the last UID", func(s *script) *script { return s.add(1<<32 - 1) }, "next 1 modseq 2", "last possible UID"},
		{"append half", func(s *script) *script { return s.rec(typeAppend, u(1)).add(2) }, "next 1 modseq 2", "append of 4 bytes"},
		{"expunge", func(s *script) *script { return s.add(1, 2, 3, 9).rec(typeExpunge, u(2, 3, 8, 8)) }, "1 9 next 10 modseq 3", ""},
		{"expunge wanted", func(s *script) *script { return s.add(1, 2).raw(typeExpunge, u(1, 2)) }, "1 2 next 3 modseq 2", ""},
		{"expunge unguarded", func(s *script) *script { return s.add(1, 2).rec(1, u(1, 1)).add(3) }, "1 2 next 3 modseq 2", "guard"},
		{"expunge by GUID unguarded", func(s *script) *script { return s.add(1).rec(0x2000, u(1, 0, 0, 0, 0)) }, "1 next 2 modseq 2", "guard"},
		{"expunge by GUID", func(s *script) *script { return s.add(1, 2, 3).rec(typeExpungeGUID, u(1, 0, 0, 0, 0, 7, 1, 2, 3, 4)) }, "2 3 next 4 modseq 3", ""},
		{"expunge by GUID wanted", func(s *script) *script { return s.add(1).raw(typeExpungeGUID, u(1, 0, 0, 0, 0)) }, "1 next 2 modseq 2", ""},
		{"expunge UID 0 by GUID", func(s *script) *script { return s.add(1).rec(typeExpungeGUID, u(0, 0, 0, 0, 0)) }, "1 next 2 modseq 3", "UID 0"},
		{"bad range", func(s *script) *script { return s.add(1, 2).rec(typeExpunge, u(2, 1)).add(3) }, "1 2 next 3 modseq 3", "bad range"},
		{"unsorted ranges", func(s *script) *script { return s.add(1, 2).rec(typeExpunge, u(2, 2, 1, 1)) }, "1 2 next 3 modseq 3", "bad range"},
		{"flags", func(s *script) *script {
			return s.add(1, 2, 3).rec(typeFlagUpdate, u(1, 2), uint32(0x09)).rec(typeFlagUpdate, u(2, 9), uint32(0x0804))
		}, "1/9 2/5 3/4 next 4 modseq 4", ""},
		{"flags replaced", func(s *script) *script {
			return s.rec(typeAppend, u(1, 0x1f)).rec(typeFlagUpdate, u(1, 1), uint32(0xff02))
		}, "1/2 next 2 modseq 3", ""},
		{"flags of the backend", func(s *script) *script { return s.add(1).rec(typeFlagUpdate, u(1, 1), uint32(0xc0)) }, "1/c0 next 2 modseq 2", ""},
		{"flags unchanged with modseq", func(s *script) *script { return s.add(1).rec(typeFlagUpdate, u(1, 1), uint32(0x10000)) }, "1 next 2 modseq 3", ""},
		{"next UID never falls", func(s *script) *script {
			return s.add(5).rec(typeHeaderUpdate, uint16(hdrNextUID), uint16(4), uint32(3))
		}, "5 next 6 modseq 2", ""},
		{"next UID grows", func(s *script) *script { s.header(hdrNextUID, 50); return s }, "next 50 modseq 1", ""},
		{"header of odd size", func(s *script) *script {
			return s.rec(typeHeaderUpdate, uint16(80), uint16(3), "abc", uint8(0), uint16(hdrNextUID), uint16(4), uint32(9))
		}, "next 9 modseq 1", ""},
		{"header outside", func(s *script) *script { s.header(118, 50); return s }, "next 1 modseq 1", "outside the header"},
		{"header cut", func(s *script) *script { return s.rec(typeHeaderUpdate, uint16(28), uint16(99), uint32(3)) }, "next 1 modseq 1", "beyond its end"},
		{"keywords", func(s *script) *script {
			return s.add(1, 2, 3).rec(typeKeywordUpdate, uint16(0), uint16(3), "abc", uint8(0), u(1, 2)).
				rec(typeKeywordUpdate, uint16(0), uint16(4), "Work", u(2, 3)).rec(typeKeywordUpdate, uint16(1), uint16(3), "ABC", uint8(0), u(2, 2))
		}, "1[abc] 2[Work] 3[Work] next 4 modseq 5", ""},
		{"keyword with a NUL", func(s *script) *script {
			return s.add(1).rec(typeKeywordUpdate, uint16(0), uint16(4), "ab\x00c", u(1, 1))
		}, "1[ab] next 2 modseq 3", ""},
		{"keyword without a name", func(s *script) *script { return s.add(1).rec(typeKeywordUpdate, uint32(0), u(1, 1)).add(2) }, "1 next 2 modseq 3", "name of 0 bytes"},
		{"keywords cleared", func(s *script) *script {
			return s.add(1, 2).rec(typeKeywordUpdate, uint16(0), uint16(4), "Work", u(1, 2)).rec(typeKeywordReset, u(1, 1))
		}, "1 2[Work] next 3 modseq 4", ""},
		{"keywords take a number", func(s *script) *script { // extension 1 is "x", for keywords are 0
			return s.add(1).rec(typeKeywordUpdate, uint16(0), uint16(4), "Work", u(1, 1)).
				intro(byName, 0, 0, 4, 4, 0, "x").intro(1, 0, 0, 4, 4, 0, "").rec(typeExtRecord, u(1, 7))
		}, "1[Work]=07000000 next 2 modseq 3", ""},
		{"keywords introduced", func(s *script) *script { return s.intro(byName, 0, 4, 4, 4, 0, "keywords") }, "next 1 modseq 1", "keywords"},
		{"extension", func(s *script) *script {
			return s.add(1, 2).intro(byName, 0, 8, 4, 4, 0, "x").rec(typeExtRecord, u(2, 0x01020304, 9, 5)).
				rec(typeExtHeader, uint16(2), uint16(2), "\x0a\x0b")
		}, "", "never given"},
		{"extension's header", func(s *script) *script {
			return s.intro(byName, 0, 8, 0, 0, 0, "x").rec(typeExtHeader, uint16(2), uint16(2), "\x0a\x0b").
				rec(typeExtHeader32, uint32(7), uint32(1), "\x0c")
		}, "next 1 modseq 1 header 00000a0b0000000c", ""},
		{"extension's header outside", func(s *script) *script {
			return s.intro(byName, 0, 8, 0, 0, 0, "x").rec(typeExtHeader32, uint32(7), uint32(2), "\x0c\x0d")
		}, "next 1 modseq 1 header 0000000000000000", "2 bytes at 7 of 8"},
		{"extension grows and shrinks", func(s *script) *script {
			return s.add(1).intro(byName, 0, 4, 2, 2, 0, "x").rec(typeExtRecord, u(1), uint16(0x0102)).rec(typeExtHeader, uint16(0), uint16(4), "abcd").
				intro(0, 0, 12, 6, 2, 0, "").intro(0, 0, 9, 1, 1, 1, "").intro(0, 0, 4, 3, 1, 0, "")
		}, "1=020100 next 2 modseq 2 header 61626364", ""},
		{"extension that must not shrink", func(s *script) *script {
			return s.add(1).intro(byName, 0, 0, 8, 8, 0, "x").rec(typeExtRecord, u(1, 1, 2)).intro(0, 0, 0, 4, 4, 1, "").rec(typeExtRecord, u(1, 3))
		}, "1=0300000000000000 next 2 modseq 2", ""},
		{"extension unknown", func(s *script) *script { return s.add(1).intro(4, 0, 0, 4, 4, 0, "").rec(typeExtRecord, u(1, 3)) }, "1 next 2 modseq 2", "extension 4 does not exist"},
		{"extension without intro", func(s *script) *script { return s.add(1).rec(typeExtRecord, u(1, 3)).add(2) }, "1 2 next 3 modseq 3", "not introduced"},
		{"extension of another reset id", func(s *script) *script {
			return s.add(1).intro(byName, 3, 0, 4, 4, 0, "x").rec(typeExtRecord, u(1, 3)).intro(0, 2, 0, 4, 4, 0, "").rec(typeExtRecord, u(1, 9))
		}, "1=03000000 next 2 modseq 2", ""},
		{"extension reset", func(s *script) *script {
			return s.add(1).intro(byName, 0, 4, 4, 4, 0, "x").rec(typeExtRecord, u(1, 3)).rec(typeExtReset, u(8, 1)).
				intro(0, 8, 4, 4, 4, 0, "").rec(typeExtHeader, uint16(0), uint16(1), "a").rec(typeExtReset, u(9)).rec(typeExtHeader, uint16(1), uint16(1), "b")
		}, "1 next 2 modseq 2 header 00620000", ""},
		{"extension badly named", func(s *script) *script { return s.intro(byName, 0, 4, 4, 4, 0, "a/b") }, "next 1 modseq 1", "bad name"},
		{"extension of nothing", func(s *script) *script { return s.intro(byName, 0, 0, 0, 0, 0, "x") }, "next 1 modseq 1", "without header"},
		{"extension badly aligned", func(s *script) *script { return s.intro(byName, 0, 0, 4, 16, 0, "x") }, "next 1 modseq 1", "alignment"},
		{"extension with a long name", func(s *script) *script { return s.rec(typeExtIntro, u(byName, 0, 4, 0), uint16(0), uint16(40), "x") }, "next 1 modseq 1", "beyond its end"},
		{"increment", func(s *script) *script {
			return s.add(1, 2).intro(byName, 0, 0, 2, 2, 0, "x").rec(typeIncrement, u(1, 300, 2, 5)).rec(typeIncrement, u(2, 0xffffffff))
		}, "1=2c01 2=0400 next 3 modseq 2", ""},
		{"increment below zero", func(s *script) *script {
			return s.add(1).intro(byName, 0, 0, 2, 2, 0, "x").rec(typeIncrement, u(1, 0xffffffff))
		}, "1=0000 next 2 modseq 2", "below zero"},
		{"increment too far", func(s *script) *script {
			return s.add(1).intro(byName, 0, 0, 1, 1, 0, "x").rec(typeIncrement, u(1, 255)).rec(typeIncrement, u(1, 1))
		}, "1=ff next 2 modseq 2", "overflows"},
		{"increment of no number", func(s *script) *script {
			return s.add(1).intro(byName, 0, 0, 3, 1, 0, "x").rec(typeIncrement, u(1, 1))
		}, "1 next 2 modseq 2", "no number"},
		{"modseqs", func(s *script) *script {
			return s.add(1, 2).intro(byName, 0, 16, 8, 8, 0, "modseq").rec(typeExtHeader, uint16(0), uint16(16), uint64(2), uint64(0)).
				add(3).rec(typeFlagUpdate, u(1, 1), uint32(8)).rec(typeModseqUpdate, u(2, 70, 0, 3, 1, 0, 0, 80, 0)).add(4)
		}, "1/8@4 2@70 3@3 4@81 next 5 modseq 81", ""},
		{"modseqs too early", func(s *script) *script { return s.add(1).rec(typeModseqUpdate, u(1, 70, 0)).add(2) }, "1 2 next 3 modseq 71", "before modseqs"},
		{"deleted", func(s *script) *script { return s.add(1).rec(typeDeleted, u(0)) }, "1 next 2 modseq 2 deleted", ""},
		{"deletion wanted", func(s *script) *script { return s.add(1).raw(typeDeleted, u(0)) }, "1 next 2 modseq 2", ""},
		{"deletion taken back", func(s *script) *script { return s.rec(typeDeleted, u(0)).rec(typeUndeleted, u(0)) }, "next 1 modseq 1", ""},
		{"attributes", func(s *script) *script { return s.raw(typeAttribute, "+pa\x00-sb\x00\x00", uint8(0), u(5, 3, 6)) }, "next 1 modseq 2", ""},
		{"attributes without end", func(s *script) *script { return s.raw(typeAttribute, "+pab").add(1) }, "next 1 modseq 2", "does not end"},
		{"attributes of a bad kind", func(s *script) *script { return s.raw(typeAttribute, "+xa\x00\x00").add(1) }, "next 1 modseq 2", "bad key"},
		{"unknown", func(s *script) *script { return s.rec(0x200000, u(5)).add(1) }, "1 next 2 modseq 2", "unknown type"},
		{"empty", func(s *script) *script { return s.rec(typeAppend).add(1) }, "next 1 modseq 2", "without content"},
		{"transaction", func(s *script) *script { return s.rec(typeBoundary, u(12+16)).add(1) }, "1 next 2 modseq 2", ""},
		{"transaction not complete", func(s *script) *script { return s.add(1).rec(typeBoundary, u(12+16+4)).add(2) }, "1 next 2 modseq 2", ""},
		{"transaction without a size", func(s *script) *script { return s.rec(typeBoundary).add(2) }, "next 1 modseq 1", "without a size"},
		{"record too short", func(s *script) *script {
			s.add(1)
			s.b = append(s.b, 0x80, 0x80, 0x80, 0x81, 2, 0, 0, 0)
			return s
		}, "1 next 2 modseq 2", "shorter than its header"},
	}
}

func TestEveryRecord(t *testing.T) {
	for _, tt := range everyRecord() {
		t.Run(tt.name, func(t *testing.T) {
			f := Files{Log: tt.log()}
			x, err := Parse(f)
			if x == nil {
				t.Fatal(err)
			}
			checkIndex(t, x, f)
			if got := show(x); tt.want != "" && got != tt.want {
				t.Errorf("%s; want %s", got, tt.want)
			}
			if tt.damage == "" && (err != nil || x.Damage != nil) {
				t.Errorf("damage: %v", err)
			}
			if tt.damage != "" {
				c, ok := err.(*CorruptError)
				if !ok || !strings.Contains(c.Reason, tt.damage) || c.File != ".log" || c.Offset < logHeaderSize || !slices.Contains(x.Damage, c) {
					t.Errorf("damage: %v, want %s", err, tt.damage)
				}
			}
		})
	}
}
