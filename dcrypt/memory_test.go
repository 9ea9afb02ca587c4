package dcrypt

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// TestWhatIsInMemory opens streams above 4 MiB until there is no memory for them: the next
// are read in chunks, and give the same text.
func TestWhatIsInMemory(t *testing.T) {
	k := testKeys()[Prime256v1]
	for _, tt := range []struct {
		cipher   string
		size     int
		inMemory int
	}{
		{"aes-256-gcm", 12 << 20, 2},
		{"chacha20-poly1305", 12 << 20, 2},
		{"chacha20-poly1305", 16 << 20, 2},
		{"aes-256-gcm", largestStream, 0},
		{"aes-256-cbc", 5 << 20, 0},
	} {
		plain := fill(17, tt.size)
		stream := encrypt(t, k.Public(), WriterOptions{Cipher: tt.cipher}, plain, chunkSize)
		var open []*Reader
		for i := range tt.inMemory + 1 {
			r, err := Open(bytes.NewReader(stream), int64(len(stream)), KeyList{k})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, r)
			if got := r.Memory() != nil; got != (i < tt.inMemory) {
				t.Errorf("%s: stream %d of %d octets in memory: %v", tt.cipher, i, tt.size, got)
			}
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: stream %d of %d octets: another text (%v)", tt.cipher, i, tt.size, err)
			}
		}
		for _, r := range open {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		bad := bytes.Clone(stream)
		bad[len(bad)/2] ^= 4
		if r, err := Open(bytes.NewReader(bad), int64(len(bad)), KeyList{k}); err == nil || !typed(err) {
			t.Errorf("%s: %d octets, a bit changed: %v, %v", tt.cipher, tt.size, r, err)
		}
	}
}

// TestDamageInMemory changes and cuts streams that are opened in one piece by several goroutines,
// and lets reading them fail; the memory that was lent is given back.
func TestDamageInMemory(t *testing.T) {
	k := testKeys()[Prime256v1]
	for _, c := range []string{"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-poly1305"} {
		plain := fill(18, 2<<20+77)
		stream := encrypt(t, k.Public(), WriterOptions{Cipher: c}, plain, chunkSize)
		n := len(stream)
		for i := range 40 {
			at := n - 1 - i*(n-1000)/40
			bad := bytes.Clone(stream)
			bad[at] ^= 1 << (i % 8)
			if _, err := Open(bytes.NewReader(bad), int64(n), KeyList{k}); !errors.Is(err, ErrAuth) {
				t.Fatalf("%s: changed at %d of %d: %v", c, at, n, err)
			}
			if _, err := Open(bytes.NewReader(stream[:at]), int64(at), KeyList{k}); !errors.Is(err, ErrAuth) {
				t.Fatalf("%s: cut at %d of %d: %v", c, at, n, err)
			}
			if _, err := Open(bytes.NewReader(stream[:at]), int64(n), KeyList{k}); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s: ends at %d of %d: %v", c, at, n, err)
			}
		}
		r, err := Open(bytes.NewReader(stream), int64(n), KeyList{k})
		if err != nil || !bytes.Equal(r.Memory(), plain) {
			t.Fatalf("%s: not in memory after all that: %v", c, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
