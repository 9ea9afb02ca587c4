package compress

import (
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"sync"

	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// NewWriter returns a writer that compresses to w. Close writes what is left of its
// own layer and does not close w; without Close the stream is incomplete. A writer
// that is given nothing still writes a valid empty stream. For None it passes bytes
// through. The level is checked again for the method; the error wraps ErrLevel or
// ErrMethod. The writer is not safe for concurrent use.
func NewWriter(w io.Writer, m Method, level Level) (io.WriteCloser, error) {
	if level.set {
		if _, err := NewLevel(m, level.n); err != nil && m != None {
			return nil, err
		}
	}
	switch m {
	case None:
		return passThrough{w}, nil
	case Gzip:
		return newGzipWriter(w, level.or(6))
	case Bzip2:
		zw, err := bzip2.NewWriter(w, &bzip2.WriterConfig{Level: level.or(9)})
		if err != nil {
			return nil, fmt.Errorf("compress: writing bz2: %w", err)
		}
		return zw, nil
	case LZ4:
		return newLZ4Writer(w), nil
	case Zstd:
		return newZstdWriter(w, level.or(3))
	default:
		return nil, fmt.Errorf("compress: writing %q: %w", string(m), ErrMethod)
	}
}

// passThrough hides a Close method that w may have.
type passThrough struct{ io.Writer }

func (passThrough) Close() error { return nil }

// A resetWriter is an encoder that can be used again.
type resetWriter interface {
	io.WriteCloser
	Reset(io.Writer)
}

// The pools hold encoders between messages: building one costs some 30 times what
// a small message does. They are caches without meaning. What is in them has been
// reset, but the encoders' buffers may hold text until they are used again.
var (
	gzipPools [10]sync.Pool // by Dovecot's level
	zstdPools [zstd.SpeedBestCompression + 1]sync.Pool
)

// pooledWriter gives its encoder back at Close.
type pooledWriter struct {
	enc  resetWriter
	pool *sync.Pool
}

func (p *pooledWriter) Write(b []byte) (int, error) {
	if p.enc == nil {
		return 0, fmt.Errorf("compress: write after close: %w", io.ErrClosedPipe)
	}
	return p.enc.Write(b)
}

// Close may be called more than once; only the first call does anything.
func (p *pooledWriter) Close() error {
	if p.enc == nil {
		return nil
	}
	err := p.enc.Close()
	// The encoder must not keep the destination, nor with it a whole message, alive.
	p.enc.Reset(nil)
	p.pool.Put(p.enc)
	p.enc = nil
	return err
}

// newGzipWriter chooses the encoder by Dovecot's level, 0 to 9. The fast levels 1 to
// 6 of klauspost/compress find no matches in base64 of random bytes and store it as
// it is, a quarter more than zlib makes of it, and base64 is most of a mail store's
// bytes. So levels 1 to 5 are the standard library's, and the default 6 is
// klauspost's 7, which compresses like zlib's 6 at twice the speed.
func newGzipWriter(w io.Writer, level int) (io.WriteCloser, error) {
	pool := &gzipPools[level]
	enc, ok := pool.Get().(resetWriter)
	if !ok {
		var err error
		switch {
		case level >= 1 && level <= 5:
			enc, err = stdgzip.NewWriterLevel(w, level)
		case level == 6:
			enc, err = gzip.NewWriterLevel(w, 7)
		default:
			enc, err = gzip.NewWriterLevel(w, level)
		}
		if err != nil {
			return nil, fmt.Errorf("compress: writing gz: %w", err)
		}
	}
	enc.Reset(w)
	return &pooledWriter{enc, pool}, nil
}

// zstdWindow is the window of written frames: what libzstd uses at level 3, so that
// no reader needs more memory for our mail than for Dovecot's.
const zstdWindow = 2 << 20

// newZstdWriter maps libzstd's level to one of the encoder's four speeds. Frames
// have a checksum, which Dovecot's do not; libzstd verifies it.
func newZstdWriter(w io.Writer, level int) (io.WriteCloser, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdPools[speed]
	enc, ok := pool.Get().(resetWriter)
	if !ok {
		var err error
		enc, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(speed),
			zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow),
			zstd.WithLowerEncoderMem(true),
			// Base64 of random bytes has no matches but only 6 bits in 8; without this it
			// is stored as it is.
			zstd.WithAllLitEntropyCompression(true),
			// An empty message gets a frame, as in Dovecot: without, nothing would say how
			// to read it.
			zstd.WithZeroFrames(true),
		)
		if err != nil {
			return nil, fmt.Errorf("compress: writing zstd: %w", err)
		}
	}
	enc.Reset(w)
	return &pooledWriter{enc, pool}, nil
}
