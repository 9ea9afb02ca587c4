package compress

import (
	"bufio"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdPoolWindow is the largest window of a decoder that is kept for the next
	// message: a decoder keeps a buffer of that size. RFC 8878 section 3.1.1.1.2
	// recommends 8 MiB for all readers; libzstd needs more from level 20 on.
	zstdPoolWindow = 8 << 20
	// zstdMaxWindow is the most that libzstd, and so Dovecot, reads
	// (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
	zstdMaxWindow = 128 << 20
)

// zstdReaders holds decoders for windows up to zstdPoolWindow between messages.
var zstdReaders sync.Pool

// zstdDecoder looks at the first frame's window to choose a pooled decoder or, for
// the rare large window, one of its own. Later frames may not have a larger one
// than that decoder takes.
func zstdDecoder(r *bufio.Reader) (io.Reader, func(), error) {
	large, err := wantsLargeWindow(r)
	if err != nil {
		return nil, nil, err
	}
	if large {
		z, err := newZstdDecoder(zstdMaxWindow)
		if err != nil {
			return nil, nil, err
		}
		return &zstdReader{z}, z.Close, z.Reset(r)
	}
	z, ok := zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		if z, err = newZstdDecoder(zstdPoolWindow); err != nil {
			return nil, nil, err
		}
	}
	release := func() {
		if z.Reset(nil) == nil {
			zstdReaders.Put(z)
		}
	}
	return &zstdReader{z}, release, z.Reset(r)
}

func newZstdDecoder(window uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // no goroutines
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window),
	)
}

// wantsLargeWindow reads the header of the first frame without consuming it.
func wantsLargeWindow(r *bufio.Reader) (bool, error) {
	head, _ := r.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return false, unexpected(err)
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window > zstdMaxWindow {
		return false, fmt.Errorf("zstd: window of %d bytes: %w", window, ErrTooLarge)
	}
	return window > zstdPoolWindow, nil
}

// A zstdReader gives the decoder's memory errors our name.
type zstdReader struct{ z *zstd.Decoder }

func (r *zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err == zstd.ErrWindowSizeExceeded || err == zstd.ErrDecoderSizeExceeded {
		err = fmt.Errorf("zstd: %w: %w", err, ErrTooLarge)
	}
	return n, err
}
