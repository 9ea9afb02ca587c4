package lmtpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errCut reports a connection that ended within a message.
var errCut = errors.New("lmtpd: connection ended within the message")

// A dataReader reads the text after DATA up to CRLF "." CRLF (RFC 5321 section
// 4.5.2), the dots that were added taken off. All else stays as it is: bare CR and
// LF are text, and a dot after one of them is no end of data.
type dataReader struct {
	r      *bufio.Reader
	before func() // called before a read may block
	state  dataState
	held   []byte // text that was held back until what follows was known
}

type dataState int

const (
	lineStart dataState = iota // after CRLF, or at the beginning
	dot                        // "." at the start of a line
	dotCR                      // "." CR there
	inLine
	afterCR // a CR in a line
	ended
)

func (d *dataReader) Read(p []byte) (n int, err error) {
	d.before()
	for n < len(p) && d.state != ended {
		if len(d.held) > 0 {
			c := copy(p[n:], d.held)
			d.held = d.held[c:]
			n += c
			continue
		}
		// Do not wait for more while there is something to hand out.
		if n > 0 && d.r.Buffered() == 0 {
			return n, nil
		}
		if d.state == inLine {
			// All up to a line that begins with a dot is text.
			run, _ := d.r.Peek(min(d.r.Buffered(), len(p)-n))
			if i := dotLine(run); i >= 0 {
				run = run[:i]
			}
			if len(run) > 0 {
				n += copy(p[n:], run)
				d.state = stateBehind(run)
				d.r.Discard(len(run))
				continue
			}
		}
		c, err := d.r.ReadByte()
		if err != nil {
			if err == io.EOF {
				err = errCut
			}
			return n, err
		}
		switch d.state {
		case lineStart:
			if c == '.' {
				d.state = dot
				continue // the first dot of a line is never text
			}
		case dot:
			if c == '\r' {
				d.state = dotCR
				continue
			}
		case dotCR:
			if c == '\n' {
				d.state = ended
				continue
			}
			d.held = append(d.held[:0], c)
			c, d.state = '\r', stateAfter(c)
			p[n] = c
			n++
			continue
		case afterCR:
			if c == '\n' {
				d.state = lineStart
				p[n] = c
				n++
				continue
			}
		}
		d.state = stateAfter(c)
		p[n] = c
		n++
	}
	if d.state == ended && n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// dotLine returns where in text a line begins with a dot, -1 if none does. It goes by the dots,
// for most of what is large, as base64, has none.
func dotLine(text []byte) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], '.')
		if i < 0 {
			return -1
		}
		if at += i; at >= 2 && text[at-1] == '\n' && text[at-2] == '\r' {
			return at
		}
	}
}

// stateBehind is where text leads that begins in a line.
func stateBehind(text []byte) dataState {
	switch {
	case bytes.HasSuffix(text, []byte("\r\n")):
		return lineStart
	case text[len(text)-1] == '\r':
		return afterCR
	}
	return inLine
}

// stateAfter is where a text byte leads that does not end a line.
func stateAfter(c byte) dataState {
	if c == '\r' {
		return afterCR
	}
	return inLine
}
