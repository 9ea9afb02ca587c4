package dcrypt

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

var benchSizes = []struct {
	name string
	n    int
}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"16MiB", 16 << 20}}

var benchCiphers = []string{"aes-256-gcm", "chacha20-poly1305", "aes-256-cbc"}

func BenchmarkWriter(b *testing.B) {
	k := testKeys()[Prime256v1].Public()
	for _, c := range benchCiphers {
		for _, size := range benchSizes {
			b.Run(c+"/"+size.name, func(b *testing.B) {
				plain := make([]byte, size.n)
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				for b.Loop() {
					w, err := NewWriter(io.Discard, k, WriterOptions{Cipher: c})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := w.Write(plain); err != nil {
						b.Fatal(err)
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := testKeys()[Prime256v1]
	buf := make([]byte, 64<<10)
	for _, c := range benchCiphers {
		for _, size := range benchSizes {
			b.Run(c+"/"+size.name, func(b *testing.B) {
				stream := encrypt(b, k.Public(), WriterOptions{Cipher: c}, make([]byte, size.n), size.n)
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				for b.Loop() {
					r, err := Open(bytes.NewReader(stream), int64(len(stream)), KeyList{k})
					if err != nil {
						b.Fatal(err)
					}
					for off := int64(0); off < r.Size(); off += int64(len(buf)) {
						if _, err := r.ReadAt(buf, off); err != nil && err != io.EOF {
							b.Fatal(err)
						}
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOpenCurve shows what the key agreement costs, by curve and rounds.
func BenchmarkOpenCurve(b *testing.B) {
	for _, c := range curves {
		for _, rounds := range []int{1, 2048} {
			b.Run(fmt.Sprintf("%s/%d", c.curve, rounds), func(b *testing.B) {
				k := testKeys()[c.curve]
				stream := encrypt(b, k.Public(), WriterOptions{Rounds: rounds}, make([]byte, 1024), 1024)
				for b.Loop() {
					r, err := Open(bytes.NewReader(stream), int64(len(stream)), KeyList{k})
					if err != nil {
						b.Fatal(err)
					}
					_ = r.Close()
				}
			})
		}
	}
}

// BenchmarkHeader is what Prepare does meanwhile.
func BenchmarkHeader(b *testing.B) {
	k := testKeys()[Secp521r1].Public()
	h := &Header{Version: 2, Rounds: 1}
	if err := h.chooseSuite("", ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := h.seal(k); err != nil {
			b.Fatal(err)
		}
	}
}
