package message

import (
	"bytes"
	"errors"
	"io"
)

// windowSize is how much of the message is in memory at a time.
const windowSize = 64 << 10

// A window reads a message once, in order, and lets the scanner look a little ahead.
// It counts line ends.
type window struct {
	r     io.ReaderAt
	size  int64
	buf   []byte // bytes read and not yet consumed
	store []byte
	pos   int64 // offset of buf[0]
	lines int64 // line feeds before pos
	err   error
}

func newWindow(r io.ReaderAt, size int64) *window {
	return &window{r: r, size: max(size, 0), store: make([]byte, min(windowSize, max(size, 0)))}
}

// peek returns at least n of the bytes ahead, fewer only at the end of the message
// or after an error. n is at most windowSize.
func (w *window) peek(n int) []byte {
	if len(w.buf) >= n || w.err != nil {
		return w.buf
	}
	have := copy(w.store, w.buf)
	next := w.pos + int64(have)
	want := int(min(int64(len(w.store)-have), w.size-next))
	if want > 0 {
		got, err := io.ReadFull(io.NewSectionReader(w.r, next, int64(want)), w.store[have:have+want])
		have += got
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the reader is shorter than the size given
			}
			w.err = err
		}
	}
	w.buf = w.store[:have]
	return w.buf
}

// skip consumes n bytes that peek has shown.
func (w *window) skip(n int) {
	w.lines += int64(bytes.Count(w.buf[:n], lf))
	w.pos += int64(n)
	w.buf = w.buf[n:]
}

// skipLine consumes up to and including the next line feed, or to the end. It
// returns the size of the line end: 0 without one, 1 for a bare LF, 2 for CRLF.
func (w *window) skipLine() int { return w.line(func([]byte) {}) }

// line is skipLine that shows what it consumes, piece by piece. The first piece has
// the whole line or at least lookahead bytes of it.
func (w *window) line(each func([]byte)) int {
	afterCR := false
	for {
		b := w.peek(lookahead)
		if len(b) == 0 {
			return 0
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			afterCR = b[len(b)-1] == '\r'
			each(b)
			w.skip(len(b))
			continue
		}
		if i > 0 {
			afterCR = b[i-1] == '\r'
		}
		each(b[:i+1])
		w.skip(i + 1)
		if afterCR {
			return 2
		}
		return 1
	}
}

// skipRest consumes everything.
func (w *window) skipRest() {
	for {
		b := w.peek(1)
		if len(b) == 0 {
			return
		}
		w.skip(len(b))
	}
}

var lf = []byte{'\n'}
