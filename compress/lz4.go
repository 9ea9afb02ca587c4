package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

const (
	lz4ChunkLen = 64 << 10 // what Dovecot writes
	lz4MaxLen   = 1 << 20  // most bytes of a chunk, encoded or decoded, that readers take
)

// An lz4Writer writes Dovecot's container. Every chunk but the last is full.
type lz4Writer struct {
	w       io.Writer
	err     error
	started bool // header written
	n       int  // bytes waiting in buf
	buf     [lz4ChunkLen]byte
	out     []byte
	enc     lz4.Compressor
}

// lz4Pool holds writers between messages: their tables are larger than most mail.
var lz4Pool sync.Pool

func newLZ4Writer(w io.Writer) io.WriteCloser {
	z, ok := lz4Pool.Get().(*lz4Writer)
	if !ok {
		z = new(lz4Writer)
	}
	z.Reset(w)
	return &pooledWriter{z, &lz4Pool}
}

// Reset forgets the text that was written before.
func (z *lz4Writer) Reset(w io.Writer) {
	clear(z.buf[:])
	clear(z.out)
	z.w, z.err, z.started, z.n = w, nil, false, 0
}

func (z *lz4Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && z.err == nil {
		c := copy(z.buf[z.n:], p)
		z.n, n, p = z.n+c, n+c, p[c:]
		if z.n == len(z.buf) {
			z.flush()
		}
	}
	return n, z.err
}

// Close writes the last chunk. The header alone is an empty text; a block that
// yields nothing would be a fatal assertion in Dovecot.
func (z *lz4Writer) Close() error {
	z.header()
	if z.n > 0 {
		z.flush()
	}
	return z.err
}

func (z *lz4Writer) header() {
	if z.started || z.err != nil {
		return
	}
	z.started = true
	_, z.err = z.w.Write(binary.BigEndian.AppendUint32([]byte(lz4Magic), lz4ChunkLen))
}

func (z *lz4Writer) flush() {
	z.header()
	if z.err != nil {
		return
	}
	if z.out == nil {
		z.out = make([]byte, 4+lz4.CompressBlockBound(lz4ChunkLen))
	}
	chunk := z.buf[:z.n]
	n, err := z.enc.CompressBlock(chunk, z.out[4:])
	if err != nil {
		z.err = fmt.Errorf("compress: writing lz4: %w", err)
		return
	}
	if n == 0 {
		// The encoder gives up on what does not shrink; the container knows no
		// uncompressed chunks, so it becomes a block of literals.
		n = literalBlock(z.out[4:], chunk)
	}
	binary.BigEndian.PutUint32(z.out, uint32(n))
	_, z.err = z.w.Write(z.out[:4+n])
	z.n = 0
}

// literalBlock writes src as one raw LZ4 block without a match and returns its
// length, at most lz4.CompressBlockBound(len(src)).
func literalBlock(dst, src []byte) int {
	n := 1
	if l := len(src); l < 15 {
		dst[0] = byte(l) << 4
	} else {
		dst[0] = 15 << 4
		for l -= 15; l >= 255; l -= 255 {
			dst[n] = 255
			n++
		}
		dst[n] = byte(l)
		n++
	}
	return n + copy(dst[n:], src)
}

// An lz4Reader reads the container, more strictly than Dovecot: an end within the
// four bytes of a length is an error.
type lz4Reader struct {
	r    io.Reader
	max  int    // most bytes of a decoded chunk; 0 before the header was read
	in   []byte // grows to the largest block seen
	out  []byte
	next []byte // part of out not yet given away
	err  error
}

func (z *lz4Reader) Read(p []byte) (int, error) {
	for len(z.next) == 0 && z.err == nil {
		z.err = z.chunk()
	}
	if len(z.next) == 0 {
		return 0, z.err
	}
	n := copy(p, z.next)
	z.next = z.next[n:]
	return n, nil
}

// chunk decodes the next chunk into next. At the regular end it returns io.EOF.
func (z *lz4Reader) chunk() error {
	if z.max == 0 {
		if err := z.readHeader(); err != nil {
			return err
		}
	}
	var be [4]byte
	if _, err := io.ReadFull(z.r, be[:]); err != nil {
		return err // io.EOF exactly between two chunks
	}
	n := binary.BigEndian.Uint32(be[:])
	if n == 0 || n > lz4MaxLen {
		return fmt.Errorf("lz4: chunk of %d bytes: %w", n, ErrCorrupt)
	}
	in, err := readGrowing(z.r, z.in[:0], int(n))
	z.in = in
	if err != nil {
		return err
	}
	size, err := z.decode()
	if err != nil {
		return fmt.Errorf("lz4: block: %w", errors.Join(ErrCorrupt, err))
	}
	if size == 0 {
		return fmt.Errorf("lz4: empty block: %w", ErrCorrupt)
	}
	z.next = z.out[:size]
	return nil
}

// decode starts with a modest buffer, for max is whatever the file says: only a
// block that needs more gets it.
func (z *lz4Reader) decode() (int, error) {
	if z.out == nil {
		z.out = make([]byte, min(z.max, lz4ChunkLen))
	}
	for {
		n, err := lz4.UncompressBlock(z.in, z.out)
		if err == nil || len(z.out) >= z.max {
			return n, err
		}
		z.out = make([]byte, min(z.max, 4*len(z.out)))
	}
}

func (z *lz4Reader) readHeader() error {
	var h [len(lz4Magic) + 4]byte
	if _, err := io.ReadFull(z.r, h[:]); err != nil {
		return unexpected(err)
	}
	if string(h[:len(lz4Magic)]) != lz4Magic {
		return fmt.Errorf("lz4: magic: %w", ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(h[len(lz4Magic):])
	if n == 0 || n > lz4MaxLen {
		return fmt.Errorf("lz4: chunk size %d: %w", n, ErrCorrupt)
	}
	z.max = int(n)
	return nil
}

// readGrowing appends n bytes of r to b, in steps, so that a length that a short file
// only claims costs little memory.
func readGrowing(r io.Reader, b []byte, n int) ([]byte, error) {
	for len(b) < n {
		step := min(n-len(b), max(cap(b)-len(b), lz4ChunkLen))
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return b[:at], unexpected(err)
		}
	}
	return b, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
