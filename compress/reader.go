package compress

import (
	"bufio"
	"compress/bzip2"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// NewReader returns a reader of what m compressed in r. At most limit bytes come
// out; where there would be one more, the error wraps ErrTooLarge, and memory stays
// bounded whatever r holds. Bytes that the format does not allow are an error that
// wraps ErrCorrupt, an early end one that wraps io.ErrUnexpectedEOF, and an error of
// r itself is passed on. Any error stays. r is read in pieces larger than needed.
//
// Nothing is read before the first Read. Close releases the decoder and does not
// close r. None gives r's bytes as they are, under the same limit. The reader is
// not safe for concurrent use. The error of NewReader wraps ErrMethod.
func NewReader(r io.Reader, m Method, limit int64) (*Reader, error) {
	z := &Reader{method: m, src: source{r: r}, left: limit}
	switch m {
	case None, Gzip, Bzip2, LZ4, Zstd, XZ, Deflate:
		return z, nil
	default:
		return nil, fmt.Errorf("compress: reading %q: %w", string(m), ErrMethod)
	}
}

// A Reader is an io.ReadCloser that bounds a decoder and turns what it reports into
// the errors of this package.
type Reader struct {
	method  Method
	src     source
	dec     io.Reader
	release func()
	left    int64
	err     error
	closed  bool
}

// Read is as NewReader says.
func (z *Reader) Read(p []byte) (int, error) {
	if z.closed {
		return 0, fmt.Errorf("compress: read after close: %w", io.ErrClosedPipe)
	}
	if z.err != nil || len(p) == 0 {
		return 0, z.err
	}
	if z.dec == nil {
		if z.err = z.start(); z.err != nil {
			z.err = z.explain(z.err)
			return 0, z.err
		}
	}
	// One byte above the limit tells a stream that ends there from one that goes on.
	if int64(len(p)) > z.left+1 {
		p = p[:z.left+1]
	}
	n, err := z.dec.Read(p)
	if int64(n) > z.left {
		n, err = int(z.left), fmt.Errorf("compress: reading %s: %w", z.name(), ErrTooLarge)
		z.err = err
	}
	z.left -= int64(n)
	if err != nil && z.err == nil {
		z.err = z.explain(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, z.err
}

// start makes the decoder. Some read their header at once.
func (z *Reader) start() (err error) {
	if z.method == None {
		z.dec = &z.src
		return nil
	}
	br := bufio.NewReaderSize(&z.src, 4<<10)
	switch z.method {
	case Gzip:
		z.dec, z.release, err = gzipDecoder(br)
	case Bzip2:
		z.dec = bzip2.NewReader(br)
	case LZ4:
		z.dec = &lz4Reader{r: br}
	case Zstd:
		z.dec, z.release, err = zstdDecoder(br)
	case XZ:
		z.dec = &xzReader{r: br}
	case Deflate:
		z.dec = &wholeReader{flate.NewReader(br), br}
	}
	return err
}

// explain turns a decoder's error into one of ours.
func (z *Reader) explain(err error) error {
	switch {
	case err == io.EOF:
		return io.EOF
	case z.src.err != nil:
		return fmt.Errorf("compress: reading %s: %w", z.name(), z.src.err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("compress: reading %s: %w", z.name(), io.ErrUnexpectedEOF)
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge):
		return fmt.Errorf("compress: reading %w", err)
	default:
		return fmt.Errorf("compress: reading %s: %w", z.name(), errors.Join(ErrCorrupt, err))
	}
}

func (z *Reader) name() string {
	if z.method == None {
		return "plain"
	}
	return string(z.method)
}

// Verified reports whether the end has been reached and a checksum of the format
// covered all that came out: always for gz and bz2, for xz where its writer chose
// one (xz itself does). It is false for zstd, whose frames Dovecot writes without,
// for lz4, deflate and None. Where it is false, compare the size with what was
// recorded: a cut lz4 stream ends like a whole one.
func (z *Reader) Verified() bool {
	if z.err != io.EOF {
		return false
	}
	if x, ok := z.dec.(*xzReader); ok {
		return x.checked
	}
	return z.method == Gzip || z.method == Bzip2
}

// Close may be called more than once. Verified keeps its answer until then.
func (z *Reader) Close() error {
	if !z.closed && z.release != nil {
		z.release()
	}
	z.closed, z.dec = true, nil
	return nil
}

// A source remembers the error of the reader below, which decoders hide.
type source struct {
	r   io.Reader
	err error // other than io.EOF
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A wholeReader reports bytes that are left after the end of a deflate stream: it has
// no magic, so that it fits exactly is the only sign that it was one.
type wholeReader struct {
	z io.Reader
	r io.ByteReader
}

func (w *wholeReader) Read(p []byte) (int, error) {
	n, err := w.z.Read(p)
	if err == io.EOF {
		if _, more := w.r.ReadByte(); more == nil {
			err = fmt.Errorf("deflate: bytes after the end: %w", ErrCorrupt)
		}
	}
	return n, err
}

// gzipReaders holds decoders between messages.
var gzipReaders sync.Pool

func gzipDecoder(r io.Reader) (io.Reader, func(), error) {
	z, ok := gzipReaders.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	release := func() { gzipReaders.Put(z) }
	if err := z.Reset(r); err != nil {
		return nil, release, unexpected(err)
	}
	return z, release, nil
}
