package message

import (
	"bytes"
	"iter"
	"strings"
)

// Find returns the part that an IMAP section number names (RFC 9051 section 6.4.5);
// an empty path is the top part. Below a message/rfc822 the numbers are those of the
// message in it, and the body of a message that is not a multipart is its number 1.
func (p *Part) Find(path []int) (*Part, bool) {
	for i, n := range path {
		inner := i+1 < len(path) // more numbers follow
		switch {
		case p.IsMultipart():
			if n < 1 || n > len(p.Children) {
				return nil, false
			}
			p = p.Children[n-1]
		case n != 1 || inner && p.Message == nil:
			return nil, false
		}
		if inner && p.Message != nil {
			p = p.Message
		}
	}
	return p, true
}

// The part specifiers of RFC 9051 section 6.4.5 that name a range of bytes.
const (
	Whole  = ""       // BODY[], or the body of a numbered part
	Header = "HEADER" // of the top message or of the one in a message/rfc822
	Text   = "TEXT"   // the body of that message
	MIME   = "MIME"   // the header of a numbered part
)

// Section returns the bytes that an IMAP section names: a path as for Find and one
// of the specifiers in capitals. ok is false where there is no such part, or it is
// not a message where the specifier wants one; clients are given an empty string then.
func (p *Part) Section(path []int, specifier string) (start, end int64, ok bool) {
	q, ok := p.Find(path)
	if !ok {
		return 0, 0, false
	}
	if len(path) == 0 {
		if specifier == MIME {
			return 0, 0, false
		}
		if specifier == Whole {
			return q.HeaderStart, q.End, true
		}
	} else if specifier == Header || specifier == Text {
		if q = q.Message; q == nil {
			return 0, 0, false
		}
	}
	switch specifier {
	case Header, MIME:
		return q.HeaderStart, q.BodyStart, true
	case Whole, Text:
		return q.BodyStart, q.End, true
	}
	return 0, 0, false
}

// IsMultipart reports whether p is a multipart, which may still have no children.
func (p *Part) IsMultipart() bool { return strings.EqualFold(p.Type, "multipart") }

// IsText reports whether p has the type text, for which BODYSTRUCTURE counts lines.
func (p *Part) IsText() bool { return strings.EqualFold(p.Type, "text") }

// HeaderFields returns those fields of a header whose names are among names, and then
// a blank line; or with not the fields whose names are not among them, and the blank
// line only if the header has it: HEADER.FIELDS and HEADER.FIELDS.NOT as Dovecot gives
// them. Order and bytes are the header's. Names compare without regard to case; a line
// without a colon has the empty name.
func HeaderFields(header []byte, names []string, not bool) []byte {
	var out []byte
	n := 0
	for f := range headerFields(header) {
		n += len(f)
		if isNamed(f, names...) != not {
			out = append(out, f...)
		}
	}
	if not {
		return append(out, header[n:]...)
	}
	if bytes.HasSuffix(out, cr) { // the header ends there: half a line end
		return append(out, '\n')
	}
	return append(out, "\r\n"...)
}

// FieldsNamed yields those fields of a header that have a name, whole, with their folded lines and
// line ends, as they lie in the header.
func FieldsNamed(header []byte, name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for f := range headerFields(header) {
			if isNamed(f, name) && !yield(f) {
				return
			}
		}
	}
}

// isNamed reports whether a whole field has one of some names, whatever their case. It is what
// splitField says, without making strings of the names that are usual.
func isNamed(field []byte, names ...string) bool {
	colon := bytes.IndexByte(field, ':')
	usual := colon >= 0 && colon <= maxName
	for i := 0; usual && i < colon; i++ {
		usual = field[i] > ' ' && field[i] < 0x7f
	}
	if usual {
		for _, n := range names {
			if equalASCII(field[:colon], n) {
				return true
			}
			usual = usual && isASCII(n)
		}
		if usual {
			return false
		}
	}
	name, _, _ := splitField(field)
	for _, n := range names {
		if name == strings.ToLower(n) {
			return true
		}
	}
	return false
}

// equalASCII compares without regard to the case of ASCII letters.
func equalASCII(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// isASCII reports whether a text has no octet above 127.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// headerFields yields each field of a header, with its folded lines and line ends. It
// stops at the blank line.
func headerFields(header []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(header) > 0 && lineEndAt(header) == 0 {
			n := 0
			for {
				i := bytes.IndexByte(header[n:], '\n')
				if i < 0 {
					n = len(header)
					break
				}
				if n += i + 1; n == len(header) || header[n] != ' ' && header[n] != '\t' {
					break
				}
			}
			if !yield(header[:n]) {
				return
			}
			header = header[n:]
		}
	}
}
