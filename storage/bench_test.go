package storage_test

import (
	"fmt"
	"io"
	"testing"

	"mailcrypt/compress"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

func BenchmarkAppend(b *testing.B) {
	benchmark(b, func(b *testing.B, text []byte, o storage.Options) {
		key := newKey(b).Public()
		s := storage.New(newInbox(b))
		for b.Loop() {
			uid := save(b, s, text, key, o)
			b.StopTimer()
			if err := s.Backend().Expunge(b.Context(), []mailbox.UID{uid}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func BenchmarkOpenAndRead(b *testing.B) {
	benchmark(b, func(b *testing.B, text []byte, o storage.Options) {
		key := newKey(b)
		keys := keyring{}.add(key)
		s := storage.New(newInbox(b))
		uid := save(b, s, text, key.Public(), o)
		for b.Loop() {
			m, err := s.Open(b.Context(), uid, keys)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, io.NewSectionReader(m, 0, m.Size())); err != nil {
				b.Fatal(err)
			}
			m.Close()
		}
	})
}

func benchmark(b *testing.B, run func(*testing.B, []byte, storage.Options)) {
	for _, version := range []int{0, 2} {
		for _, m := range []compress.Method{compress.None, compress.Gzip, compress.Zstd} {
			for _, size := range []int{3 << 10, 64 << 10, 4 << 20} {
				b.Run(fmt.Sprintf("v%d/%s/%dKiB", version, m, size>>10), func(b *testing.B) {
					text := mail(size)
					b.SetBytes(int64(len(text)))
					b.ReportAllocs()
					run(b, text, storage.Options{Version: version, Compression: m})
				})
			}
		}
	}
}
