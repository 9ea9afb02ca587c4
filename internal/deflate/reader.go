package deflate

import (
	"errors"
	"io"
)

const (
	window   = 32 << 10 // how far back a match reaches
	maxHist  = 2 * window
	inSize   = 4 << 10
	maxRatio = 1000    // output octets for one of input,
	freeOut  = 1 << 20 // beyond these
)

// A Reader decompresses. It is not safe for concurrent use.
type Reader struct {
	raw   io.Reader
	first [16]byte // where an idle connection waits for input
	in    []byte   // nil while idle
	r, w  int      // of in, or of first where in is nil

	bits  uint64 // not used yet, lowest first
	nbits uint
	again []byte // input that is read once more, see dynamicHead
	taken []byte // input since dynamicHead
	keep  bool   // in taken

	hist []byte // the window, and what is not read yet
	out  int    // hist[out:] is not read yet

	block             blockKind
	final             bool
	stored            int // octets left in a stored block
	literals, offsets *table
	edge              bool  // the last block ended the stream, or a flush, on an octet
	read, written     int64 // octets in and out
	full              bool  // the last read filled in
	ending, plain     bool  // see End
	err               error
}

type blockKind uint8

const (
	between     blockKind = iota // the next bits are a block's header
	storedHead                   // a stored block's length is next
	dynamicHead                  // a block's codes are next
	stored
	coded
)

// errWait says that the rest of an item is not there, while output is.
var errWait = errors.New("deflate: wait")

// NewReader returns a Reader of what r sends.
func NewReader(r io.Reader) *Reader { return &Reader{raw: r} }

// Begin begins a compressed stream, after End another one. What the caller has read ahead
// of it comes first.
func (z *Reader) Begin(ahead []byte) {
	rest := z.input()[z.r:z.w]
	in := make([]byte, max(inSize, len(ahead)+len(rest)))
	w := copy(in, ahead)
	w += copy(in[w:], rest)
	*z = Reader{raw: z.raw, in: in, w: w, read: int64(w), full: true}
}

// End says that the peer's compressed stream ends here, where it has last flushed or
// finished: what follows is handed out as it is. Compressed output that is still to come
// makes Read fail with ErrCorrupt.
func (z *Reader) End() { z.ending = true }

// Read reads what there is and waits only where that is nothing. The errors are io.EOF
// where the compressed stream has ended, ErrCorrupt and ErrRatio, which stick, and those of
// the connection, after which Read can be called again: a deadline loses nothing.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for !z.plain {
		if z.out < len(z.hist) {
			if z.ending {
				z.fail(ErrCorrupt)
				return 0, z.err
			}
			n := copy(p, z.hist[z.out:])
			z.out += n
			return n, nil
		}
		if z.err != nil {
			return 0, z.err
		}
		if z.ending && z.edge {
			z.plain = true
			z.literals, z.offsets, z.hist, z.out = nil, nil, nil, 0
			break
		}
		z.slide()
		switch err := z.decode(len(p)); err {
		case nil, errWait:
		case ErrCorrupt, ErrRatio, io.EOF, io.ErrUnexpectedEOF:
			z.fail(err) // after the output that is there
		default:
			return 0, err
		}
	}
	if z.r < z.w {
		n := copy(p, z.input()[z.r:z.w])
		z.r += n
		return n, nil
	}
	z.in, z.r, z.w = nil, 0, 0 // Begin looks for what is left
	return z.raw.Read(p)
}

func (z *Reader) fail(err error) {
	if z.err == nil {
		z.err = err
	}
}

// slide makes room behind the window once what is before it is of no use. All output has
// been read.
func (z *Reader) slide() {
	if len(z.hist) >= maxHist-window/2 {
		n := copy(z.hist, z.hist[len(z.hist)-window:])
		z.hist, z.out = z.hist[:n], n
	}
}

// decode adds output until there are want octets, or until it would have to wait for input
// while there are some.
func (z *Reader) decode(want int) error {
	for len(z.hist)-z.out < want && len(z.hist)+258 <= maxHist {
		if z.written > freeOut+maxRatio*z.read {
			return ErrRatio
		}
		var err error
		before := len(z.hist)
		switch z.block {
		case between:
			if z.out < len(z.hist) || z.ending && z.edge {
				return nil // so a header is read whole
			}
			err = z.header()
		case storedHead:
			err = z.storedHead()
		case dynamicHead:
			err = z.dynamicHead()
		case stored:
			err = z.copyStored()
		case coded:
			err = z.symbol()
		}
		z.written += int64(len(z.hist) - before)
		if err != nil {
			return err
		}
	}
	return nil
}

// input is where the input lies.
func (z *Reader) input() []byte {
	if z.in == nil {
		return z.first[:]
	}
	return z.in
}

// more makes sure that some input is there. Output that is there goes first.
func (z *Reader) more() error {
	if z.r < z.w {
		return nil
	}
	if z.out < len(z.hist) {
		return errWait
	}
	// Whoever has sent all that it has is idle: wait without a buffer.
	switch {
	case z.in != nil && !z.full:
		clear(z.in)
		z.in = nil
		if z.block == between {
			z.literals, z.offsets = nil, nil
		}
	case z.in == nil && z.full:
		z.in = make([]byte, inSize)
	}
	z.r, z.w = 0, 0
	for range 100 {
		n, err := z.raw.Read(z.input())
		if n > 0 {
			z.w, z.full = n, n == len(z.input())
			z.read += int64(n)
			return nil
		}
		if err == io.EOF && !z.edge {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// need makes sure that n bits are there, at most 56.
func (z *Reader) need(n uint) error {
	for z.nbits < n {
		b, err := z.octet()
		if err != nil {
			return err
		}
		z.bits |= uint64(b) << z.nbits
		z.nbits += 8
	}
	return nil
}

// octet consumes one octet of input.
func (z *Reader) octet() (b byte, err error) {
	if len(z.again) > 0 {
		b, z.again = z.again[0], z.again[1:]
	} else {
		if err := z.more(); err != nil {
			return 0, err
		}
		b = z.input()[z.r]
		z.r++
	}
	if z.keep {
		z.taken = append(z.taken, b)
	}
	return b, nil
}

// take consumes n bits that are there.
func (z *Reader) take(n uint) int {
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.nbits -= n
	return int(v)
}
