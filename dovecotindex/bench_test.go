package dovecotindex

import (
	"fmt"
	"testing"
)

// BenchmarkParse reads a mailbox of 200,000 messages with flags, keywords, modseqs, GUIDs and
// places: all of it in a log, and all of it in a snapshot.
func BenchmarkParse(b *testing.B) {
	const n = 200_000
	log, err := sample(n).MdboxLog(LogOptions{})
	must(b, err)
	x, err := Parse(Files{Log: log})
	must(b, err)
	// One expunge record each, as clients make them, of every other message.
	s := &script{builder{b: append([]byte(nil), log...)}}
	for i := 0; i < n; i += 2 {
		s.rec(typeExpungeGUID, uint32(x.UID(i)), make([]byte, 16))
	}
	for _, bb := range []struct {
		name string
		f    Files
	}{
		{"log", Files{Log: log}},
		{"snapshot", Files{Index: snapshot(b, x), Log: log}},
		{"expunges", Files{Log: s.b}},
	} {
		b.Run(fmt.Sprintf("%s/%d", bb.name, n), func(b *testing.B) {
			b.SetBytes(int64(len(bb.f.Index) + len(bb.f.Log)))
			b.ReportAllocs()
			for b.Loop() {
				x, err := Parse(bb.f)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := x.Mdbox(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
