package dcrypt

import (
	"bytes"
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
		{"chacha20-poly1305", 32 << 20, 1},
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
