package imapd

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"mailcrypt/message"
)

// An encodingError reports a part whose encoding BINARY cannot remove.
type encodingError struct{}

func (*encodingError) Error() string { return "imapd: content transfer encoding unknown or invalid" }

// binaryValue prepares BINARY and BINARY.SIZE (RFC 3516): a part with its transfer
// encoding removed. A literal begins with its size, so a part is decoded once to count it;
// the count and the place of the last decoder are kept for clients that fetch in pieces.
func (s *session) binaryValue(v *fetchValue) error {
	r := &s.box.reader
	root, err := r.structure()
	if err != nil {
		return err
	}
	start, end, encoding := int64(0), r.msg.Size(), ""
	if len(v.item.path) > 0 {
		p, found := root.Find(v.item.path)
		if !found {
			v.literal = v.item.kind == itemBinary
			v.text = []byte("0")
			return nil
		}
		start, end = p.BodyStart, p.End
		if !p.IsMultipart() && p.Message == nil {
			encoding = p.Encoding
		}
	}
	open := func() (io.Reader, error) {
		decoded, known := message.TransferDecode(io.NewSectionReader(r.msg, start, end-start), encoding)
		if !known {
			return nil, &encodingError{}
		}
		return decoded, nil
	}
	if r.part == nil || r.part.start != start || r.part.end != end || r.part.encoding != encoding {
		counted, err := open()
		if err != nil {
			return err
		}
		var count nulCounter
		if _, err := io.Copy(&count, counted); err != nil {
			if errors.Is(err, message.ErrEncoding) {
				return &encodingError{}
			}
			return err
		}
		r.part = &decodedPart{start: start, end: end, encoding: encoding, size: count.n, nul: count.nul}
	}
	part := r.part
	if v.item.kind == itemBinarySize {
		v.text = []byte(itoa(part.size))
		return nil
	}
	from, to := v.item.clip(part.size)
	// Dovecot marks what it has decoded as binary whether or not there is a NUL in it.
	v.literal, v.binary, v.nul, v.size = true, true, part.nul || decodes(encoding), to-from
	v.src = &partReader{part: part, open: open, at: from}
	return nil
}

// A decodedPart is what is known of a part without its transfer encoding, and a decoder
// that stands somewhere in it.
type decodedPart struct {
	start, end int64 // of the encoded part in the message
	encoding   string
	size       int64
	nul        bool
	decoder    io.Reader // nil: none is open
	at         int64     // where the decoder stands
}

// A partReader reads a decodedPart from a place on. Readers of one part take turns with
// the decoder: one that finds it behind its own place goes forward with it, and one that
// finds it ahead begins again.
type partReader struct {
	part *decodedPart
	open func() (io.Reader, error)
	at   int64
}

// Read forgets the decoder after any error.
func (r *partReader) Read(p []byte) (n int, err error) {
	d := r.part
	if d.decoder == nil || d.at > r.at {
		d.decoder, d.at = nil, 0
		if d.decoder, err = r.open(); err != nil {
			d.decoder = nil
			return 0, err
		}
	}
	if d.at < r.at {
		var skipped int64
		skipped, err = io.CopyN(io.Discard, d.decoder, r.at-d.at)
		d.at += skipped
	}
	if err == nil {
		n, err = d.decoder.Read(p)
		d.at += int64(n)
		r.at += int64(n)
	}
	if err != nil {
		d.decoder = nil
	}
	return n, err
}

// decodes reports whether an encoding changes octets.
func decodes(encoding string) bool {
	return strings.EqualFold(encoding, "base64") || strings.EqualFold(encoding, "quoted-printable")
}

// A nulCounter counts octets and looks for NUL.
type nulCounter struct {
	n   int64
	nul bool
}

func (c *nulCounter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.nul = c.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}
