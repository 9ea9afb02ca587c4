package dcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"io"
	"testing"
)

// BenchmarkBody is what a body costs once the key data are known, beside its cipher alone:
//
//	aead      cipher.AEAD.Open of the same bytes, which are in memory, by Go's libraries
//	own       the same by what Open uses
//	open      Open, which reads them, and the text in one piece where that is in memory
//	stream    Open and reading the text in pieces of 64 KiB
//	chunks    the same as a large stream is read, whatever its size
func BenchmarkBody(b *testing.B) {
	for _, c := range []string{"aes-256-gcm", "chacha20-poly1305"} {
		for _, size := range benchSizes {
			k := &keeper{KeyList: KeyList{testKeys()[Prime256v1]}, kept: map[string][]byte{}}
			stream := encrypt(b, testKeys()[Prime256v1].Public(), WriterOptions{Cipher: c}, make([]byte, size.n), size.n)
			src, n := bytes.NewReader(stream), int64(len(stream))
			r, err := Open(src, n, k) // which fills k
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Close(); err != nil { // its memory is wanted again
				b.Fatal(err)
			}
			name := c + "/" + size.name
			run := func(kind string, fn func() error) {
				b.Run(name+"/"+kind, func(b *testing.B) {
					b.SetBytes(int64(size.n))
					b.ReportAllocs()
					for b.Loop() {
						if err := fn(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			kd := k.KeyData(r.Header().raw)
			run("aead", aeadAlone(b, r.Header(), kd, stream[r.Header().Size:], true))
			run("own", aeadAlone(b, r.Header(), kd, stream[r.Header().Size:], false))
			run("open", func() error { return openBody(src, n, k, largestStream, nil) })
			buf := make([]byte, 64<<10)
			run("stream", func() error { return openBody(src, n, k, largestStream, buf) })
			run("chunks", func() error { return openBody(src, n, k, 0, buf) })
		}
	}
}

// aeadAlone decrypts a body by its cipher and nothing else.
func aeadAlone(b *testing.B, h *Header, kd, body []byte, libraries bool) func() error {
	dec, err := newBody(h, kd)
	if err != nil {
		b.Fatal(err)
	}
	a, nonce, aad := dec.(wholeBody).aead()
	if h.cipher.mode == modeGCM && libraries {
		block, err := aes.NewCipher(kd[:h.cipher.keySize])
		if err != nil {
			b.Fatal(err)
		}
		if a, err = cipher.NewGCM(block); err != nil {
			b.Fatal(err)
		}
	}
	out := make([]byte, 0, len(body))
	return func() error {
		_, err := a.Open(out, nonce, body, aad)
		return err
	}
}

// openBody opens a stream, and reads it where there is a buffer to read into.
func openBody(src io.ReaderAt, size int64, keys KeyFinder, small int64, buf []byte) error {
	r, err := open(src, size, keys, small)
	if err != nil {
		return err
	}
	for off := int64(0); buf != nil && off < r.Size(); off += int64(len(buf)) {
		if _, err := r.ReadAt(buf, off); err != nil && err != io.EOF {
			return err
		}
	}
	return r.Close()
}
