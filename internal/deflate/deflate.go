// Package deflate is a connection's layer of raw deflate (RFC 1951), as COMPRESS=DEFLATE
// of IMAP wants it (RFC 4978): what was written is there for the peer at once, and what
// the peer has flushed can be read at once, however it flushes.
//
// A server holds thousands of connections that say nothing for minutes. So a Writer keeps
// nothing between two writes, and a Reader grows its window with what was read and holds
// tables and input only while there is input. The flate readers of the Go library and of
// others were no choice: a window of 32 KiB from the first octet on, no output before a
// block has ended, which Z_PARTIAL_FLUSH of zlib leaves open, and no way to learn where
// the compressed stream ends and what comes after it begins.
package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

var (
	// ErrCorrupt reports input that is not deflate.
	ErrCorrupt = errors.New("deflate: corrupt input")
	// ErrRatio reports input that becomes too many times its size.
	ErrRatio = errors.New("deflate: input grows too much")
)

// A Writer compresses. Each Write is flushed. Nothing is remembered from one Write to the
// next, so equal writes compress equally well, and what one message holds shows in the
// size of no other. It is not safe for concurrent use.
type Writer struct{ w io.Writer }

// NewWriter returns a Writer to w, which gets one Write for each.
func NewWriter(w io.Writer) *Writer { return &Writer{w} }

// An encoder is what one Write needs: some 650 KiB, borrowed for its time.
type encoder struct {
	out   bytes.Buffer
	flate *flate.Writer
}

// Level 1 of the Go library gives base64 its three quarters, level 6 not much more of
// anything; other encoders were measured to pass base64 over.
var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.flate, _ = flate.NewWriter(&e.out, flate.BestSpeed) // the level is a valid one
	return e
}}

// Write compresses p and sends it.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	e := encoders.Get().(*encoder)
	defer func() {
		clear(e.out.Bytes()[:e.out.Len()])
		encoders.Put(e)
	}()
	e.out.Reset()
	// A new encoder goes on where the last one has flushed: a flush ends on an octet, at
	// the end of a block, and a later block need not refer to an earlier one.
	e.flate.Reset(&e.out)
	if _, err := e.flate.Write(p); err != nil {
		return 0, err
	}
	if err := e.flate.Flush(); err != nil {
		return 0, err
	}
	if _, err := w.w.Write(e.out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
