package mfile

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkAppend is what saving costs without a catalog: one message, or many that are
// committed together.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 2 << 20} {
		for _, n := range []int{1, 32} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, n), func(b *testing.B) {
				d := newDir(b, Options{})
				next := ids(0)
				text := strings.Repeat("x", size)
				b.SetBytes(int64(size * n))
				for b.Loop() {
					list := make([]Message, n)
					for i := range list {
						list[i] = message(b, d, text, "g")
					}
					a, err := d.Append(b.Context(), next, list)
					if err != nil {
						b.Fatal(err)
					}
					a.Commit()
				}
			})
		}
	}
}

// BenchmarkOpen is what finding a message costs before its first byte is read.
func BenchmarkOpen(b *testing.B) {
	d := newDir(b, Options{})
	places := save(b, d, ids(0), strings.Split(strings.Repeat("x", 999), "")...)
	i := 0
	for b.Loop() {
		s, err := d.Open(places[i%len(places)])
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
		i += 37
	}
}

// BenchmarkScan is a rebuild's share.
func BenchmarkScan(b *testing.B) {
	d := newDir(b, Options{})
	save(b, d, ids(0), strings.Split(strings.Repeat(strings.Repeat("x", 2000)+",", 2000), ",")...)
	b.SetBytes(2000 * 2000)
	for b.Loop() {
		if texts, err := scanAll(b, d, File{ID: 1}); err != nil || len(texts) < 2000 {
			b.Fatal(len(texts), err)
		}
	}
}
