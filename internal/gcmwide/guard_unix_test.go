//go:build unix

package gcmwide

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// guarded returns memory of one page between two that cannot be touched.
func guarded(t *testing.T) []byte {
	t.Helper()
	size := unix.Getpagesize()
	b, err := unix.Mmap(-1, 0, 3*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	for _, side := range [][]byte{b[:size], b[2*size:]} {
		if err := unix.Mprotect(side, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return b[size : 2*size]
}

// TestStaysInside works on texts that begin or end where touching one octet more kills the process,
// and looks at what lies on the other side.
func TestStaysInside(t *testing.T) {
	k := newKey(t, fill(1, 32))
	page := guarded(t)
	for n := 1; n <= 1600; n++ {
		text := fill(uint64(n), n)
		var want Block
		counter := Counter(text[:0], 2)
		sealed := make([]byte, n)
		k.Encrypt(&counter, &want, sealed, text)
		for _, at := range []int{0, len(page) - n} {
			for i := range page {
				page[i] = 0xee
			}
			b := page[at : at+n]
			copy(b, text)
			var state, hash Block
			counter = Counter(nil, 2)
			k.Encrypt(&counter, &state, b, b)
			k.Hash(&hash, b)
			if !bytes.Equal(b, sealed) || state != want || hash != want {
				t.Fatalf("%d octets at %d: encrypted otherwise", n, at)
			}
			counter, state = Counter(nil, 2), Block{}
			k.Decrypt(&counter, &state, b, b)
			if !bytes.Equal(b, text) || state != want {
				t.Fatalf("%d octets at %d: decrypted otherwise", n, at)
			}
			counter = Counter(nil, 2)
			k.XORKeyStream(&counter, b, b)
			if !bytes.Equal(b, sealed) {
				t.Fatalf("%d octets at %d: another key stream", n, at)
			}
			around := append(bytes.Clone(page[:at]), page[at+n:]...)
			if !bytes.Equal(around, bytes.Repeat([]byte{0xee}, len(page)-n)) {
				t.Fatalf("%d octets at %d: written beside them", n, at)
			}
		}
	}
}
