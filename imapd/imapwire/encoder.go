package imapwire

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"mailcrypt/mailbox"
)

// flushAt is how much an Encoder gathers before it writes by itself: four TLS records. Copying
// that much costs less than another write.
const flushAt = 64 << 10

// maxQuoted is the longest string that is quoted; longer ones become literals.
const maxQuoted = 1024

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, flushAt+4096)
	return &b
}}

// An Encoder gathers responses and writes them when it is full or flushed. Between
// flushes of a quiet connection it holds no buffer. Errors stick: after the first,
// everything is dropped. It is not safe for concurrent use.
type Encoder struct {
	// UTF8 allows octets above 0x7f in quoted strings, and mailbox names in UTF-8.
	UTF8 bool

	w   io.Writer
	buf *[]byte
	err error
}

// NewEncoder returns an Encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset makes the Encoder write to w. What was not flushed is dropped.
func (e *Encoder) Reset(w io.Writer) {
	e.w = w
	e.release()
}

// Err returns the first error of writing.
func (e *Encoder) Err() error { return e.err }

// Flush writes what was gathered.
func (e *Encoder) Flush() error {
	e.write()
	e.release()
	return e.err
}

// write sends what is gathered and keeps the buffer.
func (e *Encoder) write() {
	if e.buf == nil || len(*e.buf) == 0 {
		return
	}
	if e.err == nil {
		_, e.err = e.w.Write(*e.buf)
	}
	*e.buf = (*e.buf)[:0]
}

// release gives the buffer back, overwritten.
func (e *Encoder) release() {
	if e.buf == nil {
		return
	}
	clear((*e.buf)[:cap(*e.buf)]) // plaintext of mail must not wait in a pool
	*e.buf = (*e.buf)[:0]
	if cap(*e.buf) <= 2*flushAt {
		buffers.Put(e.buf)
	}
	e.buf = nil
}

// room returns the buffer with room for a small piece, writing first where it is full.
func (e *Encoder) room() *[]byte {
	if e.buf == nil {
		e.buf = buffers.Get().(*[]byte)
	}
	if len(*e.buf) >= flushAt {
		e.write()
	}
	return e.buf
}

// Write adds octets as they are: the contents of a literal. It never fails; see Err.
func (e *Encoder) Write(p []byte) (int, error) {
	n := len(p)
	if n >= flushAt {
		// Large enough to go by itself, without a copy. What waits goes with its beginning
		// rather than in a small packet of its own.
		if e.buf != nil && len(*e.buf) > 0 && len(*e.buf) < flushAt {
			k := flushAt - len(*e.buf)
			*e.buf = append(*e.buf, p[:k]...)
			p = p[k:]
		}
		e.write()
		if len(p) < flushAt {
			e.Write(p)
			return n, nil
		}
		if e.err == nil {
			_, e.err = e.w.Write(p)
		}
		return n, nil
	}
	for len(p) > 0 {
		b := e.room()
		k := min(len(p), max(flushAt-len(*b), 1))
		*b = append(*b, p[:k]...)
		p = p[k:]
	}
	return n, nil
}

// Raw adds protocol text as it is.
func (e *Encoder) Raw(s string) *Encoder {
	b := e.room()
	*b = append(*b, s...)
	return e
}

// SP adds a space.
func (e *Encoder) SP() *Encoder { return e.Raw(" ") }

// CRLF ends a response.
func (e *Encoder) CRLF() *Encoder { return e.Raw("\r\n") }

// Number adds a number.
func (e *Encoder) Number(n int64) *Encoder {
	b := e.room()
	*b = strconv.AppendInt(*b, n, 10)
	return e
}

// LiteralHeader announces a literal; exactly size octets must follow by Write.
func (e *Encoder) LiteralHeader(size int64) *Encoder {
	return e.Raw("{").Number(size).Raw("}\r\n")
}

// String adds s quoted where that is possible, else as a literal. NUL, which neither
// may hold, becomes 0x80.
func (e *Encoder) String(s string) *Encoder {
	if !e.quotable(s) {
		s = strings.ReplaceAll(s, "\x00", "\x80")
		e.LiteralHeader(int64(len(s)))
		io.WriteString(e, s)
		return e
	}
	b := e.room()
	*b = append(*b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			*b = append(*b, '\\')
		}
		*b = append(*b, s[i])
	}
	*b = append(*b, '"')
	return e
}

// quotable reports whether a quoted string can hold s (RFC 9051 section 9, QUOTED-CHAR; with
// UTF8 RFC 6855 section 3).
func (e *Encoder) quotable(s string) bool {
	if len(s) > maxQuoted {
		return false
	}
	high := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0 || c == '\r' || c == '\n':
			return false
		case c >= 0x80:
			high = true
		}
	}
	return !high || e.UTF8 && utf8.ValidString(s)
}

// NIL adds NIL.
func (e *Encoder) NIL() *Encoder { return e.Raw("NIL") }

// Mailbox adds a mailbox name, which is UTF-8: as such or in modified UTF-7, and
// quoted only where that is needed.
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.UTF8 {
		name = mailbox.EncodeUTF7(name)
	}
	for i := range len(name) {
		if !isAtom(name[i]) {
			return e.String(name)
		}
	}
	if name == "" || strings.EqualFold(name, "NIL") {
		return e.String(name)
	}
	return e.Raw(name)
}

// Set adds numbers as a set.
func (e *Encoder) Set(numbers []uint32) *Encoder {
	e.Write(AppendSet(nil, numbers))
	return e
}

// Text adds human-readable text: without line ends and control characters, and in
// ASCII unless UTF8 is set.
func (e *Encoder) Text(s string) *Encoder {
	return e.Raw(strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 || r == 0x7f:
			return ' '
		case r >= 0x80 && !e.UTF8:
			return '?'
		}
		return r
	}, s))
}
