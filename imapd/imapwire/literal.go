package imapwire

import (
	"io"
)

// A Literal is a counted run of octets within a command. The command's parsing goes
// on when all of them were read; Decoder.Skip reads what is left.
type Literal struct {
	Size    int64
	NonSync bool // {n+}: the octets come without being asked for
	Binary  bool // ~{n}: the octets may contain NUL (RFC 3516)

	d        *Decoder
	left     int64
	accepted bool
}

// Literal reads the announcement of a literal, which ends the current line. Nothing
// is asked for before Accept: a caller that returns an error instead refuses it.
func (d *Decoder) Literal() (*Literal, error) {
	l := &Literal{d: d}
	rest := d.line[d.pos:]
	if len(rest) > 0 && rest[0] == '~' {
		l.Binary = true
		rest = rest[1:]
	}
	if len(rest) < 3 || rest[0] != '{' || rest[len(rest)-1] != '}' {
		return nil, syntaxf("Expected a literal.")
	}
	digits := rest[1 : len(rest)-1]
	if digits[len(digits)-1] == '+' {
		l.NonSync = true
		digits = digits[:len(digits)-1]
	}
	size, ok := parseNumber(digits, 1<<63-1)
	if !ok {
		return nil, syntaxf("Invalid literal size.")
	}
	l.Size, l.left = size, size
	return l, nil
}

// Accept asks the client for the octets where it waits for that, and makes Read
// possible.
func (l *Literal) Accept() error {
	if !l.NonSync {
		if err := l.d.Continue(); err != nil {
			return err
		}
	}
	l.accepted = true
	l.d.pos = len(l.d.line)
	l.d.open = l
	return nil
}

// Read reads octets; io.EOF after the last one. An early end of the stream is
// io.ErrUnexpectedEOF.
func (l *Literal) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.d.read(p)
	l.left -= int64(n)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		l.d.fail(err)
	}
	return 0, err
}

// Close goes on with the line after the literal, all of which must have been read.
func (l *Literal) Close() error {
	if !l.accepted || l.left > 0 {
		return syntaxf("Literal not read.")
	}
	l.d.open = nil
	return l.d.readLine()
}

// literalBytes reads a whole literal into memory.
func (d *Decoder) literalBytes() ([]byte, error) {
	l, err := d.Literal()
	if err != nil {
		return nil, err
	}
	// The announced size counts before anything is allocated or asked for.
	if l.Size > d.limits.Literals-d.held {
		return nil, syntaxf("Literal too large.")
	}
	d.held += l.Size
	if err := l.Accept(); err != nil {
		return nil, err
	}
	b := make([]byte, l.Size)
	if _, err := io.ReadFull(l, b); err != nil {
		clear(b)
		return nil, err
	}
	if err := l.Close(); err != nil {
		clear(b)
		return nil, err
	}
	if !l.Binary {
		for _, c := range b {
			if c == 0 {
				clear(b)
				return nil, syntaxf("NUL in a literal.")
			}
		}
	}
	return b, nil
}
