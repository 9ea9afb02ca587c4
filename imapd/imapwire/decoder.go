// Package imapwire is the lexical layer of an IMAP server (RFC 9051 section 9): it
// takes commands apart and puts responses together. It knows no command, mailbox or
// session.
//
//	command      = tag SP words CRLF
//	word         = atom / number / quoted / literal / "(" *word ")"
//	literal      = ["~"] "{" number64 ["+"] "}" CRLF *OCTET
//
// A Decoder holds one line at a time. The octets of a literal follow the line that
// announces it; small ones are read into memory under a limit, large ones are handed
// out as a stream. A literal with "+" is sent without being asked for (RFC 7888), so
// a refused one still arrives: Skip reads and drops it, or reports a FatalError, and
// its octets are never taken for commands.
package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Limits bound what one command may make a Decoder hold or read. A zero field means
// the smaller default of its kind, that of a connection before login.
type Limits struct {
	Line     int   // octets of all lines of a command together, literals left out; 64 KiB
	Literals int64 // octets of all literals of a command that are held in memory; 64 KiB
	Depth    int   // nested parentheses; 50
	Drain    int64 // octets of refused literals that Skip reads; beyond, FatalError; 64 KiB
}

// A SyntaxError reports a command that does not follow the grammar. The Reason never
// quotes the command.
type SyntaxError struct{ Reason string }

func (e *SyntaxError) Error() string { return "imapwire: " + e.Reason }

// A FatalError reports input after which the place of the next command is unknown or
// too far away: say BYE and close.
type FatalError struct{ Reason string }

func (e *FatalError) Error() string { return "imapwire: " + e.Reason }

// syntaxf makes a SyntaxError.
func syntaxf(format string, args ...any) error {
	return &SyntaxError{fmt.Sprintf(format, args...)}
}

// readBuffer is how much is read at once of a client that sends. One that waits costs
// smallBuffer: what comes first wakes, and the rest follows into a large one.
const (
	readBuffer  = 4096
	smallBuffer = 16
	keptLine    = 1024
)

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// A Decoder reads commands. It is not safe for concurrent use.
type Decoder struct {
	// Continue sends a continuation request ("+ ...") and flushes it. It is called
	// before a synchronising literal is read.
	Continue func() error
	// Frugal gives the read buffer back while the client says nothing.
	Frugal bool

	r      io.Reader
	limits Limits

	small  [smallBuffer]byte
	large  *[readBuffer]byte // nil while the client says nothing
	rd, wr int               // of large, or of small where that is nil: not consumed yet

	line  []byte // the current line without its line end
	pos   int    // next octet of line
	used  int    // octets of lines of this command
	held  int64  // octets of literals held for this command
	depth int
	open  *Literal // a literal of which octets are still on the wire
	err   error    // what made further reading impossible
}

// NewDecoder returns a Decoder that reads from r.
func NewDecoder(r io.Reader, l Limits) *Decoder {
	d := &Decoder{r: r}
	d.SetLimits(l)
	return d
}

// SetLimits changes the limits; those of a login differ from those before.
func (d *Decoder) SetLimits(l Limits) {
	if l.Line <= 0 {
		l.Line = 64 << 10
	}
	if l.Literals <= 0 {
		l.Literals = 64 << 10
	}
	if l.Depth <= 0 {
		l.Depth = 50
	}
	if l.Drain <= 0 {
		l.Drain = 64 << 10
	}
	d.limits = l
}

// Err returns the error after which no command can be read: one of the stream, or a
// FatalError. A SyntaxError is not one.
func (d *Decoder) Err() error { return d.err }

// Reset makes the Decoder read from r and forgets everything that was read ahead.
// STARTTLS needs that: what came in the clear must not count after the handshake.
func (d *Decoder) Reset(r io.Reader) {
	d.Wipe()
	d.rd, d.wr = 0, 0
	d.release()
	d.r, d.open, d.err = r, nil, nil
}

// Layer makes the Decoder read from r, which reads from where the Decoder has read until
// now, and returns what was read ahead of it. The caller gives r that.
func (d *Decoder) Layer(r io.Reader) (ahead []byte) {
	ahead = bytes.Clone(d.buffer()[d.rd:d.wr])
	d.rd, d.wr = 0, 0
	d.release()
	d.r = r
	return ahead
}

// buffer is where input is read to.
func (d *Decoder) buffer() []byte {
	if d.large == nil {
		return d.small[:]
	}
	return d.large[:]
}

// release gives the large buffer back, overwritten.
func (d *Decoder) release() {
	clear(d.buffer())
	if d.large != nil {
		readBuffers.Put(d.large)
		d.large = nil
	}
}

// Buffered is the number of octets that were read ahead.
func (d *Decoder) Buffered() int { return d.wr - d.rd }

// Next reads the first line of the next command. The error is io.EOF where the
// stream ends between two commands.
func (d *Decoder) Next() error {
	d.used, d.held, d.depth, d.open = 0, 0, 0, nil
	if cap(d.line) > keptLine {
		d.line = nil // one long command must not cost memory for the rest of the session
	}
	return d.readLine()
}

// ErrInterrupted is what a reader's error wraps when Wait shall end without input. The
// Decoder can be used on.
var ErrInterrupted = errors.New("imapwire: interrupted")

// Wait blocks until there is input for Next or RawLine.
func (d *Decoder) Wait() error {
	if d.err != nil || d.rd < d.wr {
		return d.err
	}
	err := d.fill()
	if err == nil || errors.Is(err, ErrInterrupted) {
		return err
	}
	return d.fail(err)
}

// Wipe overwrites the current line and what was consumed of the buffer, for they
// hold a password after LOGIN and AUTHENTICATE. Skip the command first: Wipe also
// forgets what literals the line announces.
func (d *Decoder) Wipe() {
	clear(d.line[:cap(d.line)])
	d.line, d.pos = d.line[:0], 0
	clear(d.buffer()[:d.rd])
	clear(d.buffer()[d.wr:])
}

// RawLine reads one line that is no command: the answer to a continuation request.
// The slice is valid until the next call; Wipe clears it. Skip still drops a literal
// that the line announces: a client may have gone on with a command.
func (d *Decoder) RawLine() ([]byte, error) {
	d.used = 0
	if err := d.readLine(); err != nil {
		return nil, err
	}
	return d.line, nil
}

// readLine replaces the current line by the next one. Line ends are CRLF or a bare
// LF, as Dovecot has it.
func (d *Decoder) readLine() error {
	d.line, d.pos = d.line[:0], 0
	for {
		if d.rd == d.wr {
			err := d.fill()
			if errors.Is(err, ErrInterrupted) {
				continue // a line is waited for: who interrupts is heard when it has come
			}
			if err != nil {
				if err == io.EOF && (len(d.line) > 0 || d.used > 0) {
					err = io.ErrUnexpectedEOF
				}
				return d.fail(err)
			}
		}
		chunk := d.buffer()[d.rd:d.wr]
		end := bytes.IndexByte(chunk, '\n')
		if end >= 0 {
			chunk = chunk[:end+1]
		}
		if d.used += len(chunk); d.used > d.limits.Line+2 {
			return d.fail(&FatalError{"Command line too long."})
		}
		d.line = append(d.line, chunk...)
		d.rd += len(chunk)
		if end >= 0 {
			break
		}
	}
	d.line = bytes.TrimSuffix(d.line[:len(d.line)-1], []byte{'\r'})
	return nil
}

// fail keeps the first error: after it the stream stands at an unknown place.
func (d *Decoder) fail(err error) error {
	if d.err == nil {
		d.err = err
	}
	return d.err
}

// fill reads more input. A reader that keeps returning nothing is an error.
func (d *Decoder) fill() error {
	if d.err != nil {
		return d.err
	}
	// Where the last read filled the buffer there is more. Otherwise the client has sent all
	// that it had, and is likely to wait.
	switch more := d.wr == len(d.buffer()) || !d.Frugal; {
	case !more:
		d.release()
	case d.large == nil:
		d.release()
		d.large = readBuffers.Get().(*[readBuffer]byte)
	}
	d.rd, d.wr = 0, 0
	for range 100 {
		n, err := d.r.Read(d.buffer())
		if n > 0 {
			d.rd, d.wr = 0, n
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// read consumes octets of a literal.
func (d *Decoder) read(p []byte) (int, error) {
	if d.rd < d.wr {
		n := copy(p, d.buffer()[d.rd:d.wr])
		d.rd += n
		return n, nil
	}
	return d.r.Read(p)
}

// Skip consumes what is left of the current command, with the literals that arrive
// unasked. After a FatalError or an I/O error the connection is of no more use.
func (d *Decoder) Skip() error {
	drained := int64(0)
	for {
		if l := d.open; l != nil {
			if drained += l.left; drained > d.limits.Drain {
				return d.fail(&FatalError{"Literal too large."})
			}
			if _, err := io.Copy(io.Discard, l); err != nil {
				return err
			}
			d.open = nil
			if err := d.readLine(); err != nil {
				return err
			}
			continue
		}
		// The whole line counts, and not what was left of it: a quoted string that is not
		// closed takes the announcement in, and the octets come all the same. No line that
		// was understood ends like one.
		size, unasked, err := trailingLiteral(d.line)
		if err != nil {
			return d.fail(err)
		}
		d.pos = len(d.line)
		if !unasked {
			return nil
		}
		d.open = &Literal{d: d, Size: size, left: size}
	}
}

// trailingLiteral looks whether a line announces a literal that the client sends at once.
func trailingLiteral(line []byte) (size int64, unasked bool, err error) {
	if !bytes.HasSuffix(line, []byte("+}")) {
		return 0, false, nil
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false, &FatalError{"Invalid literal."}
	}
	size, ok := parseNumber(line[open+1:len(line)-2], 1<<63-1)
	if !ok {
		return 0, false, &FatalError{"Invalid literal size."}
	}
	return size, true, nil
}
