package message

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// DecodeText returns the text of a part as UTF-8, for searching: encoding is its
// Content-Transfer-Encoding and charset its character set, each "" where missing.
// What cannot be decoded is skipped or replaced; only reading r can fail.
func DecodeText(r io.Reader, encoding, charset string) io.Reader {
	dec, ok := transferDecode(r, encoding, true)
	if !ok {
		dec = r // better a match in the encoded form than none
	}
	return utf8Reader(dec, charset)
}

// TransferDecode removes a content transfer encoding exactly, for BINARY. It returns
// false where the encoding is unknown (RFC 3516: UNKNOWN-CTE); bytes that it does
// not allow are an error wrapping [ErrEncoding] from Read.
func TransferDecode(r io.Reader, encoding string) (io.Reader, bool) {
	return transferDecode(r, encoding, false)
}

func transferDecode(r io.Reader, encoding string, lenient bool) (io.Reader, bool) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return &decoder{src: bufio.NewReader(r), step: (&base64Step{lenient: lenient}).next}, true
	case "quoted-printable":
		return &decoder{src: bufio.NewReader(r), step: (&qpStep{lenient: lenient}).next}, true
	}
	return nil, false
}

// A decoder turns one step after another into a reader. A step reads some of src and
// appends what it decoded.
type decoder struct {
	src  *bufio.Reader
	step func(dst []byte, src *bufio.Reader) ([]byte, error)
	out  []byte // decoded, of which the first off bytes were read
	off  int
	err  error
}

func (d *decoder) Read(p []byte) (int, error) {
	for d.off == len(d.out) {
		if d.err != nil {
			return 0, d.err
		}
		d.out, d.off = d.out[:0], 0
		for len(d.out) < 2048 && d.err == nil {
			d.out, d.err = d.step(d.out, d.src)
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	n := copy(p, d.out[d.off:])
	d.off += n
	return n, nil
}

// base64Step decodes one quantum of four characters a step.
type base64Step struct {
	lenient bool
	ended   bool // padding was seen
}

func (b *base64Step) next(dst []byte, src *bufio.Reader) ([]byte, error) {
	var q [4]byte
	n, pad := 0, 0
	for n < 4 {
		c, err := src.ReadByte()
		if err == io.EOF {
			if n > 0 && !b.lenient {
				return dst, fmt.Errorf("%w: base64 ends within a group", ErrEncoding)
			}
			if n-pad > 1 {
				dst, _ = appendQuantum(dst, q[:n-pad])
			}
			return dst, err
		}
		if err != nil {
			return dst, err
		}
		switch {
		case c == '\r' || c == '\n' || c == ' ' || c == '\t':
			continue
		case b.ended && !b.lenient:
			return dst, fmt.Errorf("%w: base64 goes on after its padding", ErrEncoding)
		case c == '=' && n >= 2:
			pad++
		case pad > 0 || !isBase64(c):
			if !b.lenient {
				return dst, fmt.Errorf("%w: not a base64 character", ErrEncoding)
			}
			if pad == 0 || !isBase64(c) {
				continue
			}
			// A new text begins within the padding of the one before.
			dst, _ = appendQuantum(dst, q[:n-pad])
			n, pad = 0, 0
		}
		q[n] = c
		n++
	}
	b.ended = pad > 0
	out, err := appendQuantum(dst, q[:4-pad])
	if err != nil && !b.lenient {
		return dst, fmt.Errorf("%w: base64", ErrEncoding)
	}
	return out, nil
}

func appendQuantum(dst, q []byte) ([]byte, error) {
	return base64.RawStdEncoding.AppendDecode(dst, q)
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// maxPadding bounds the white space that is held back because it may end a line.
const maxPadding = 64 << 10

// qpStep decodes one character, escape or line end a step (RFC 2045 section 6.7).
type qpStep struct {
	lenient bool
	space   []byte // white space that counts only if the line goes on
}

func (q *qpStep) next(dst []byte, src *bufio.Reader) ([]byte, error) {
	c, err := src.ReadByte()
	if err != nil {
		return dst, err
	}
	switch c {
	case ' ', '\t':
		if len(q.space) < maxPadding {
			q.space = append(q.space, c)
			return dst, nil
		}
	case '\r':
		if p, _ := src.Peek(1); len(p) == 1 && p[0] == '\n' {
			q.space = q.space[:0]
			return append(dst, c), nil
		}
	case '\n':
		q.space = q.space[:0]
		return append(dst, c), nil
	}
	dst = append(dst, q.space...)
	q.space = q.space[:0]
	if c != '=' {
		return append(dst, c), nil
	}
	return q.escape(dst, src)
}

// escape decodes what follows an equals sign: two digits, or the end of the line.
func (q *qpStep) escape(dst []byte, src *bufio.Reader) ([]byte, error) {
	p, err := src.Peek(2)
	if len(p) == 2 && isHex(p[0]) && isHex(p[1]) {
		dst = append(dst, unhex(p[0])<<4|unhex(p[1]))
		_, err = src.Discard(2)
		return dst, err
	}
	if err != nil && err != io.EOF {
		return dst, err
	}
	// A soft line break, perhaps with white space that a relay put in.
	n := 0
	for {
		p, err := src.Peek(n + 1)
		if len(p) <= n {
			if err != io.EOF && err != bufio.ErrBufferFull {
				return dst, err
			}
			if err == io.EOF {
				_, err = src.Discard(n)
				return dst, err
			}
			break
		}
		c := p[n]
		n++
		if c == '\n' {
			_, err = src.Discard(n)
			return dst, err
		}
		if c != ' ' && c != '\t' && c != '\r' {
			break
		}
	}
	if !q.lenient {
		return dst, fmt.Errorf("%w: quoted-printable escape", ErrEncoding)
	}
	return append(dst, '='), nil
}
