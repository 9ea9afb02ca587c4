// Package crlf turns line ends as Dovecot does: CRLF into LF when a message is saved,
// bare LF into CRLF when it is given out, with the sizes of both forms.
//
// What Dovecot 2.3.19 stores (istream-crlf.c, tried with doveadm save): of the CRs
// directly before an LF exactly one is dropped, so CR CR LF becomes CR LF; a CR at the
// very end is dropped; any other CR stays. The sizes count what is stored:
// physical its bytes, virtual those and one more for each LF without a CR before it.
//
//	in            stored      given out     physical  virtual
//	x CR LF y     x LF y      x CR LF y     3         4
//	x CR CR LF y  x CR LF y   x CR LF y     4         4
//	x CR          x           x             1         1
package crlf

import (
	"bytes"
	"io"
	"sync"
)

// A Counter adds up both sizes of text that is written to it in stored form. The zero
// Counter is empty.
type Counter struct {
	physical, virtual int64
	cr                bool // the last byte was a CR
}

// Write counts p and never fails.
func (c *Counter) Write(p []byte) (int, error) {
	c.add(p)
	return len(p), nil
}

func (c *Counter) add(p []byte) {
	if len(p) == 0 {
		return
	}
	c.physical += int64(len(p))
	c.virtual += int64(len(p))
	if bytes.IndexByte(p, '\r') < 0 {
		// As nearly all mail is stored.
		c.virtual += int64(bytes.Count(p, lf))
		if c.cr && p[0] == '\n' {
			c.virtual--
		}
		c.cr = false
		return
	}
	for rest, cr := p, c.cr; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			cr = rest[i-1] == '\r'
		}
		if !cr {
			c.virtual++
		}
		rest, cr = rest[i+1:], false
	}
	c.cr = p[len(p)-1] == '\r'
}

var lf = []byte{'\n'}

// Mark is the place after what was counted.
func (c *Counter) Mark() Mark { return Mark{c.physical, c.virtual, c.cr} }

// Physical is the number of bytes counted.
func (c *Counter) Physical() int64 { return c.physical }

// Virtual is the number of bytes with every line end as CRLF.
func (c *Counter) Virtual() int64 { return c.virtual }

// An LFWriter passes on text with CRLF turned into LF and counts what it passes on.
// It is not safe for concurrent use.
type LFWriter struct {
	w     io.Writer
	count Counter
	cr    bool // a CR is held back until the next byte is known
	err   error
	buf   *[lfBuffer + 1]byte // from the pool while in use
	used  int                 // bytes of it that held text
}

// lfBuffer is how much text is turned at a time; a CR that was held back may come before it.
const lfBuffer = 16 << 10

var lfBuffers = sync.Pool{New: func() any { return new([lfBuffer + 1]byte) }}

// NewLFWriter returns a writer that passes on to w. A CR at the end of the text is
// dropped without anybody calling anything: it is held back and never comes.
func NewLFWriter(w io.Writer) *LFWriter { return &LFWriter{w: w} }

// Write returns an error of w; n is then not exact, as bytes may be under way, and
// every later call returns that error.
func (l *LFWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && l.err == nil {
		step := min(len(p), lfBuffer)
		l.turn(p[:step])
		n, p = n+step, p[step:]
	}
	if l.err != nil {
		return 0, l.err
	}
	return n, nil
}

// turn converts one piece and passes it on.
func (l *LFWriter) turn(p []byte) {
	if !l.cr && bytes.IndexByte(p, '\r') < 0 {
		l.emit(p)
		return
	}
	if l.buf == nil {
		l.buf = lfBuffers.Get().(*[lfBuffer + 1]byte)
	}
	out, n := l.buf, 0
	if l.cr && p[0] != '\n' {
		out[0], n = '\r', 1
	}
	l.cr = false
	for {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			n += copy(out[n:], p)
			break
		}
		n += copy(out[n:], p[:i])
		p = p[i+1:]
		if len(p) == 0 {
			l.cr = true
			break
		}
		if p[0] != '\n' {
			out[n] = '\r'
			n++
		}
	}
	l.used = max(l.used, n)
	l.emit(out[:n])
}

func (l *LFWriter) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	l.count.add(p)
	n, err := l.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	l.err = err
}

// Physical is the number of bytes passed on: Maildir's S=, mdbox's Z.
func (l *LFWriter) Physical() int64 { return l.count.physical }

// Virtual is the size of the text when it is given out: Maildir's W=, mdbox's V,
// RFC822.SIZE.
func (l *LFWriter) Virtual() int64 { return l.count.virtual }

// Clear overwrites the buffer, which held text, and gives it back. The writer may be used on.
func (l *LFWriter) Clear() {
	if l.buf == nil {
		return
	}
	clear(l.buf[:l.used])
	lfBuffers.Put(l.buf)
	l.buf, l.used = nil, 0
}

// Expand writes all of src to dst with a CR put before every LF that has none, and returns
// how many bytes that is: what a Counter of src calls virtual, which dst must have room for.
func Expand(dst, src []byte) int {
	n := 0
	for len(src) > 0 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			n += copy(dst[n:], src)
			break
		}
		n += copy(dst[n:], src[:i])
		if n == 0 || dst[n-1] != '\r' {
			dst[n] = '\r'
			n++
		}
		dst[n] = '\n'
		n++
		src = src[i+1:]
	}
	return n
}

// A CRLFReader gives out text with a CR put before every LF that has none, and counts
// both sizes. It is not safe for concurrent use.
type CRLFReader struct {
	r     io.Reader
	count Counter
	buf   *[crlfBuffer]byte // from the pool while in use
	used  int               // bytes of it that held text
	next  []byte            // part of buf not yet given out
	given int64             // bytes given out
	cr    bool              // the last byte given out was a CR
	err   error
}

// crlfBuffer is how much is read at a time: what a processor's nearest cache holds.
const crlfBuffer = 32 << 10

var crlfBuffers = sync.Pool{New: func() any { return new([crlfBuffer]byte) }}

// NewCRLFReader returns a reader of r's text with CRLF line ends. It reads r in pieces of
// 32 KiB. Clear gives the buffer back.
func NewCRLFReader(r io.Reader) *CRLFReader { return &CRLFReader{r: r} }

// A Mark is a place in a text; the zero Mark is its beginning.
type Mark struct {
	Physical int64 // offset in the text as stored
	Virtual  int64 // offset in what is given out
	cr       bool  // the byte given out before was a CR
}

// NewCRLFReaderAt returns a reader that goes on where another one of the same text
// stood: r begins at m.Physical. Its sizes count from the text's beginning.
func NewCRLFReaderAt(r io.Reader, m Mark) *CRLFReader {
	return &CRLFReader{r: r, given: m.Virtual, cr: m.cr, count: Counter{m.Physical, m.Virtual, m.cr}}
}

// Mark is the place of the next byte that Read gives out.
func (c *CRLFReader) Mark() Mark {
	return Mark{c.count.physical - int64(len(c.next)), c.given, c.cr}
}

// Read returns r's error after all that came before it.
func (c *CRLFReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for empty := 0; len(c.next) == 0; empty++ {
		if c.err != nil {
			return 0, c.err
		}
		if empty == 100 {
			return 0, io.ErrNoProgress
		}
		if c.buf == nil {
			c.buf = crlfBuffers.Get().(*[crlfBuffer]byte)
		}
		n, err := c.r.Read(c.buf[:])
		c.next, c.err = c.buf[:n], err
		c.used = max(c.used, n)
		c.count.add(c.next)
	}
	n := c.turn(p)
	c.given += int64(n)
	return n, nil
}

// turn fills p from what has been read, a line at a time.
func (c *CRLFReader) turn(p []byte) (n int) {
	for n < len(p) && len(c.next) > 0 {
		i := bytes.IndexByte(c.next, '\n')
		switch room := len(p) - n; {
		case i == 0 && room < 2:
			return n + c.lineEnd(p[n:])
		case i < 0 || i+2 > room:
			// A line's end is not here, or there is no room for all of it.
			line := c.next
			if i > 0 {
				line = line[:i]
			}
			k := copy(p[n:], line)
			n, c.cr, c.next = n+k, line[k-1] == '\r', c.next[k:]
			continue
		}
		copy(p[n:], c.next[:i])
		n += i
		if i > 0 && c.next[i-1] != '\r' || i == 0 && !c.cr {
			p[n] = '\r'
			n++
		}
		p[n] = '\n'
		n, c.cr, c.next = n+1, false, c.next[i+1:]
	}
	return n
}

// lineEnd gives out one byte of the line end that comes next. After a CR that was put before
// it, the LF, still waiting, is not bare any more.
func (c *CRLFReader) lineEnd(p []byte) int {
	if !c.cr {
		p[0], c.cr = '\r', true
		return 1
	}
	p[0], c.cr, c.next = '\n', false, c.next[1:]
	return 1
}

// Physical is the number of bytes read from below so far.
func (c *CRLFReader) Physical() int64 { return c.count.physical }

// Virtual is the size with CRLF line ends of what was read from below so far; at the
// end it is the size of all that was given out.
func (c *CRLFReader) Virtual() int64 { return c.count.virtual }

// Clear overwrites the buffer, which held text, and ends the reader.
func (c *CRLFReader) Clear() {
	if c.buf != nil {
		clear(c.buf[:c.used])
		crlfBuffers.Put(c.buf)
	}
	c.buf, c.next, c.err = nil, nil, io.ErrClosedPipe
}
