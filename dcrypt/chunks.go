package dcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// maxMarks bounds the memory for marks: above maxMarks * chunkSize, 4 GiB, the chunks
// get larger instead of more.
const maxMarks = 1 << 16

// chunks reads a large stream in two passes: the first verifies it and marks each
// chunk, the second decrypts a chunk when it is wanted, if it still has its mark.
//
// A mark is a GMAC under a key that was drawn for this reader and never leaves it. So
// the file may be replaced or written to between the passes without a single
// unverified octet coming out. That costs some 6 us for 64 KiB.
type chunks struct {
	dec       body
	src       *io.SectionReader // ciphertext and trailer
	size      int64             // of the ciphertext
	chunkSize int64
	kd, iv    []byte
	gmac      cipher.AEAD
	marks     []mark // nil where nothing verifies the stream: nothing to keep hold of

	mu  sync.Mutex
	buf []byte // plaintext of chunk at
	at  int64  // -1 for none
}

// A mark is what the first pass keeps of a chunk.
type mark struct {
	tag  [16]byte
	prev [aes.BlockSize]byte // the ciphertext before the chunk, which CBC and CFB need
}

// newChunks verifies the stream. It keeps kd, to clear it.
func newChunks(dec body, kd, iv []byte, src *io.SectionReader, size int64) (*chunks, error) {
	c := &chunks{dec: dec, kd: kd, iv: iv, src: src, size: size, chunkSize: chunkSize, at: -1}
	for size/c.chunkSize >= maxMarks {
		c.chunkSize *= 2
	}
	c.buf = make([]byte, min(c.chunkSize, size))
	check := dec.check()
	if check == nil {
		return c, nil
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	clear(key[:])
	if c.gmac, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("dcrypt: opening stream: %w", err)
	}
	return c, c.verify(check)
}

// verify is the first pass.
func (c *chunks) verify(check check) error {
	marks := make([]mark, (c.size+c.chunkSize-1)/c.chunkSize)
	var prev [aes.BlockSize]byte
	copy(prev[:], c.iv)
	for i := range marks {
		b, err := c.ciphertext(int64(i))
		if err != nil {
			return err
		}
		marks[i] = mark{tag: c.tag(int64(i), b), prev: prev}
		copy(prev[:], b[max(0, len(b)-aes.BlockSize):])
		if err := check.update(b); err != nil {
			return errTooLong(err)
		}
	}
	trailer := make([]byte, c.src.Size()-c.size)
	if err := readFull(c.src, trailer, c.size); err != nil {
		return err
	}
	if !check.verify(trailer) {
		return ErrAuth
	}
	c.marks = marks
	return nil
}

// ciphertext reads chunk i into buf.
func (c *chunks) ciphertext(i int64) ([]byte, error) {
	off := i * c.chunkSize
	b := c.buf[:min(c.chunkSize, c.size-off)]
	c.at = -1
	return b, readFull(c.src, b, off)
}

// tag is the GMAC of a chunk, with its number as nonce. A number that comes again with
// other ciphertext would endanger the key only if tags were given out.
func (c *chunks) tag(i int64, b []byte) (tag [16]byte) {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], uint64(i))
	c.gmac.Seal(tag[:0], nonce[:], nil, b)
	return tag
}

// chunk returns the plaintext of chunk i, in buf. The caller holds mu or is alone.
func (c *chunks) chunk(i int64) ([]byte, error) {
	if c.at == i {
		return c.buf[:min(c.chunkSize, c.size-i*c.chunkSize)], nil
	}
	b, err := c.ciphertext(i)
	if err != nil {
		return nil, err
	}
	prev := c.iv
	if c.marks != nil {
		tag := c.tag(i, b)
		if subtle.ConstantTimeCompare(tag[:], c.marks[i].tag[:]) != 1 {
			return nil, fmt.Errorf("%w: stream changed while it was read", ErrAuth)
		}
		prev = c.marks[i].prev[:]
	} else if i > 0 {
		var before [aes.BlockSize]byte
		if err := readFull(c.src, before[:], i*c.chunkSize-aes.BlockSize); err != nil {
			return nil, err
		}
		prev = before[:]
	}
	if err := c.dec.decryptAt(b, i*c.chunkSize, prev); err != nil {
		return nil, err
	}
	c.at = i
	return b, nil
}

// readAt fills p, which lies inside the plaintext, from off.
func (c *chunks) readAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(p) {
		i, skip := off/c.chunkSize, off%c.chunkSize
		b, err := c.chunk(i)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], b[skip:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (c *chunks) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.buf)
	clear(c.kd) // which dec refers to
	c.at, c.dec, c.gmac = -1, nil, nil
}
