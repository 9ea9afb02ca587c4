package dcrypt

import (
	"fmt"
	"io"
	"sync"

	"mailcrypt/internal/bufpool"
	"mailcrypt/internal/gcmstream"
)

// maxMarks bounds the memory for marks: above maxMarks * chunkSize, 8 GiB, the chunks
// get larger instead of more.
const maxMarks = 1 << 16

// chunks reads a large stream in two passes: the first verifies it and marks each
// chunk, the second decrypts a chunk when it is wanted, if it still has its mark. So
// the file may be replaced or written to between the passes without a single
// unverified octet coming out.
type chunks struct {
	passes    passes
	src       *io.SectionReader // ciphertext and trailer
	size      int64             // of the ciphertext
	chunkSize int64
	kd        []byte

	mu    sync.Mutex
	slots [1 + chunksAhead]slot
	last  int64 // chunk that was wanted last
	ended sync.WaitGroup
}

// chunksAhead is how many chunks are decrypted ahead of one who reads in order: as many
// processors as that keeps busy beside his own.
const chunksAhead = 2

// A slot has the plaintext of one chunk, or will have it. Its fields belong to the one who
// decrypts until ready is closed.
type slot struct {
	at    int64 // -1 for none
	buf   *bufpool.Buffer
	err   error
	ready chan struct{} // nil: nothing is under way
}

// passes are the two passes for one kind of cipher.
type passes interface {
	// verify reads all of the ciphertext and compares the trailer.
	verify(c *chunks) error
	// decrypt decrypts chunk i in place, if it is what was verified. It is called for several
	// chunks at the same time.
	decrypt(c *chunks, i int64, b []byte) error
}

// spare is how many octets a buffer has behind a chunk, for its tag.
const spare = gcmstream.TagSize

// newChunks verifies the stream. It keeps kd, to clear it.
func newChunks(dec body, kd, iv []byte, src *io.SectionReader, size int64) (*chunks, error) {
	c := &chunks{kd: kd, src: src, size: size, chunkSize: chunkSize, last: -2}
	for size/c.chunkSize >= maxMarks {
		c.chunkSize *= 2
	}
	for i := range c.slots {
		c.slots[i].at = -1
	}
	if gcm, ok := dec.(*gcmBody); ok {
		c.passes = &gcmPasses{gcmBody: gcm}
	} else {
		c.passes = &markedPasses{dec: dec, iv: iv}
	}
	return c, c.passes.verify(c)
}

// count is the number of chunks.
func (c *chunks) count() int64 { return (c.size + c.chunkSize - 1) / c.chunkSize }

// length is that of chunk i.
func (c *chunks) length(i int64) int64 { return min(c.chunkSize, c.size-i*c.chunkSize) }

// trailer reads what follows the ciphertext.
func (c *chunks) trailer() ([]byte, error) {
	b := make([]byte, c.src.Size()-c.size)
	return b, readFull(c.src, b, c.size)
}

// buffer is one for a chunk and its tag.
func (c *chunks) buffer() *bufpool.Buffer {
	return bufpool.Make(int(min(c.chunkSize, c.size) + spare))
}

// ciphertext reads chunk i into buf.
func (c *chunks) ciphertext(i int64, buf []byte) ([]byte, error) {
	b := buf[:c.length(i)]
	return b, readFull(c.src, b, i*c.chunkSize)
}

// load makes a slot hold the plaintext of its chunk.
func (c *chunks) load(s *slot) {
	if s.buf == nil {
		s.buf = c.buffer()
	}
	b, err := c.ciphertext(s.at, s.buf.B)
	if err == nil {
		err = c.passes.decrypt(c, s.at, b)
	}
	s.err = err
}

// chunk returns the plaintext of chunk i, which lasts until the next call. The caller holds mu
// or is alone.
func (c *chunks) chunk(i int64) ([]byte, error) {
	s := c.slot(i)
	if s == nil {
		s = c.free(i, i)
		s.at = i
		c.load(s)
	}
	if s.wait(); s.err != nil {
		err := s.err
		s.at, s.err = -1, nil // it may be tried once more
		return nil, err
	}
	if i == c.last+1 {
		c.ahead(i)
	}
	c.last = i
	return s.buf.B[:c.length(i)], nil
}

// slot finds the slot of chunk i.
func (c *chunks) slot(i int64) *slot {
	for k := range c.slots {
		if c.slots[k].at == i {
			return &c.slots[k]
		}
	}
	return nil
}

// free returns a slot of no chunk from one to another.
func (c *chunks) free(from, to int64) *slot {
	for k := range c.slots {
		if s := &c.slots[k]; s.at < from || s.at > to {
			s.wait()
			s.err = nil
			return s
		}
	}
	panic("dcrypt: internal error: more chunks than slots")
}

func (s *slot) wait() {
	if s.ready != nil {
		<-s.ready
		s.ready = nil
	}
}

// ahead begins the chunks after i.
func (c *chunks) ahead(i int64) {
	to := min(i+chunksAhead, c.count()-1)
	for next := i + 1; next <= to; next++ {
		if c.slot(next) != nil {
			continue
		}
		s := c.free(i, to)
		s.at, s.ready = next, make(chan struct{})
		c.ended.Go(func() {
			defer close(s.ready)
			c.load(s)
		})
	}
}

// errChanged is what a chunk that lost its mark means.
func errChanged() error { return fmt.Errorf("%w: stream changed while it was read", ErrAuth) }

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
	c.ended.Wait()
	for k := range c.slots {
		c.slots[k].buf.Free()
		c.slots[k] = slot{at: -1}
	}
	clear(c.kd) // which passes refer to
	c.passes = nil
}
