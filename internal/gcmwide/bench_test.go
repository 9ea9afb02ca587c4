package gcmwide

import (
	"fmt"
	"testing"
)

// BenchmarkKey is the work of this package beside crypto/cipher's.
func BenchmarkKey(b *testing.B) {
	key, nonce := fill(1, 32), fill(2, nonceSize)
	k := newKey(b, key)
	_, std := standard(b, key)
	for _, size := range []int{64, 1 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20, 16 << 20} {
		run := func(kind string, fn func()) {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					fn()
				}
			})
		}
		text := make([]byte, size+tagSize)
		out := make([]byte, 0, len(text))
		var state Block
		run("hash", func() { k.Hash(&state, text[:size]) })
		run("seal", func() { k.Seal(out, nonce, text[:size], nil) })
		sealed := k.Seal(text[:0], nonce, text[:size], nil)
		run("open", func() {
			if _, err := k.Open(out, nonce, sealed, nil); err != nil {
				b.Fatal(err)
			}
		})
		run("standard/open", func() {
			if _, err := std.Open(out, nonce, sealed, nil); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			_, _ = New(key)
		}
	})
	b.Run("standard/new", func(b *testing.B) {
		for b.Loop() {
			standard(b, key)
		}
	})
}
