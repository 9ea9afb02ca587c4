// Package imapurl reads the IMAP URLs that a client may put into CATENATE: references to
// a message of the same server, or to a piece of one (RFC 5092, RFC 4469).
//
//	part      = [path] "/" ";UID=" nz-number ["/;SECTION=" section] ["/;PARTIAL=" range]
//	path      = "/" mailbox [";UIDVALIDITY=" nz-number]    ; from the server's root
//	          / mailbox [";UIDVALIDITY=" nz-number]        ; below the base mailbox
//	range     = offset ["." nz-number]
//
// Mailbox names are UTF-8, and all that is not a plain URL character is percent-encoded.
// A reference that names no mailbox, such as ";UID=7", is one to the base mailbox, and
// "." and ".." are resolved as RFC 3986 section 5.2 has it. URLs with a server's name,
// with a search, or with an authorisation (RFC 4467) are not read: what they name is not
// known to be on this server.
package imapurl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLen is the longest URL that is read, in bytes.
const MaxLen = 8 << 10

// ErrURL is wrapped by every error of Parse, whose text is safe to show to a client: it
// does not repeat the URL.
var ErrURL = errors.New("invalid IMAP URL")

// A Part is a message, or a piece of one, that a URL names.
type Part struct {
	Mailbox     string // UTF-8, with the server's hierarchy separator
	UIDValidity uint32 // 0 where the URL has none
	UID         uint32
	Section     string // a section-spec of RFC 9051; "" for the whole message
	Partial     bool   // only Count octets from Offset
	Offset      int64
	Count       int64 // 0: all that follow
}

// Parse reads a URL. base is the mailbox that relative references start from, "" where
// there is none.
func Parse(url, base string) (Part, error) {
	switch {
	case len(url) > MaxLen:
		return Part{}, fail("it is too long")
	case url == "":
		return Part{}, fail("it is empty")
	case strings.IndexFunc(url, notURL) >= 0:
		return Part{}, fail("a character must be encoded")
	case strings.HasPrefix(url, "//") || hasScheme(url):
		return Part{}, fail("it must be relative to this server")
	}
	path, rooted := strings.CutPrefix(url, "/")
	segments := strings.Split(path, "/")
	if !rooted {
		if base == "" {
			return Part{}, fail("it is relative to a mailbox, and none is selected")
		}
		segments = append(strings.Split(encode(base), "/"), segments...)
	}
	return parseSegments(removeDots(segments))
}

// fail makes an error.
func fail(why string) error { return fmt.Errorf("%w: %s", ErrURL, why) }

// notURL reports whether a character may not stand in the path of a URL (RFC 5092 section
// 11, bchar, and the ";" of its parameters). "?" begins a search.
func notURL(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"#<>?[\\]^`{|}", r)
}

// hasScheme reports whether a reference is not a relative one (RFC 3986 section 4.2).
func hasScheme(url string) bool {
	colon := strings.IndexByte(url, ':')
	return colon >= 0 && !strings.ContainsAny(url[:colon], "/;")
}

// removeDots resolves "." and ".." (RFC 3986 section 5.2.4).
func removeDots(segments []string) []string {
	kept := segments[:0:0]
	for _, s := range segments {
		switch s {
		case ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, s)
		}
	}
	return kept
}

// parseSegments takes the pieces of a path from the root.
func parseSegments(segments []string) (p Part, err error) {
	n := 0
	for n < len(segments) && !strings.Contains(segments[n], ";") {
		n++
	}
	name := segments[:n]
	segments = segments[n:]
	if len(segments) > 0 {
		if last, number, ok := cutFold(segments[0], ";UIDVALIDITY="); ok {
			if p.UIDValidity, err = nonZero(number); err != nil {
				return Part{}, err
			}
			name = append(name[:len(name):len(name)], last)
			segments = segments[1:]
		}
	}
	if p.Mailbox, err = decode(strings.Join(name, "/")); err != nil {
		return Part{}, err
	}
	if p.Mailbox == "" {
		return Part{}, fail("it names no mailbox")
	}
	if len(segments) == 0 {
		return Part{}, fail("it names no message")
	}
	before, number, ok := cutFold(segments[0], ";UID=")
	if !ok || before != "" {
		return Part{}, fail("it names no message")
	}
	if p.UID, err = nonZero(number); err != nil {
		return Part{}, err
	}
	return p, p.parsePiece(segments[1:])
}

// parsePiece takes what may follow the UID.
func (p *Part) parsePiece(segments []string) (err error) {
	if len(segments) > 0 {
		if before, section, ok := cutFold(segments[0], ";SECTION="); ok && before == "" {
			n := 1
			for n < len(segments) && !strings.HasPrefix(segments[n], ";") { // enc-section may hold "/"
				section += "/" + segments[n]
				n++
			}
			if p.Section, err = decode(section); err != nil {
				return err
			}
			if p.Section == "" || strings.Contains(section, ";") {
				return fail("its section")
			}
			segments = segments[n:]
		}
	}
	if len(segments) > 0 {
		if before, number, ok := cutFold(segments[0], ";PARTIAL="); ok && before == "" {
			if err := p.parseRange(number); err != nil {
				return err
			}
			segments = segments[1:]
		}
	}
	if len(segments) > 0 {
		return fail("unknown parameters")
	}
	return nil
}

// parseRange reads number ["." nz-number].
func (p *Part) parseRange(s string) (err error) {
	offset, count, bounded := strings.Cut(s, ".")
	if p.Offset, err = number(offset, 63); err != nil {
		return err
	}
	p.Partial = true
	if bounded {
		if p.Count, err = number(count, 63); err == nil && p.Count == 0 {
			err = fail("a range of nothing")
		}
	}
	return err
}

// cutFold is strings.Cut without regard to the case of ASCII letters; sep is in capitals.
func cutFold(s, sep string) (before, after string, found bool) {
	at := strings.IndexByte(s, ';')
	if at < 0 || len(s)-at < len(sep) || !strings.EqualFold(s[at:at+len(sep)], sep) {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}

func nonZero(s string) (uint32, error) {
	n, err := number(s, 32)
	if err == nil && n == 0 {
		err = fail("a number is zero")
	}
	return uint32(n), err
}

// number reads digits and nothing else.
func number(s string, bits int) (int64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil || s[0] == '+' {
		return 0, fail("a number")
	}
	return int64(n), nil
}

// decode removes percent-encoding. What it finds must be text.
func decode(s string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", fail("its encoding")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", fail("its encoding")
			}
			c = byte(n)
			i += 2
		}
		if c < ' ' || c == 0x7f {
			return "", fail("a control character")
		}
		out.WriteByte(c)
	}
	if !utf8.ValidString(out.String()) {
		return "", fail("it is not UTF-8")
	}
	return out.String(), nil
}

// encode is the opposite of decode; "/" stays.
func encode(s string) string {
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if c == '%' || c == ';' || c == '&' || c >= 0x7f || notURL(rune(c)) {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// String is the URL from the server's root; Parse reads it.
func (p Part) String() string {
	url := "/" + encodeName(p.Mailbox)
	if p.UIDValidity != 0 {
		url += ";UIDVALIDITY=" + strconv.FormatUint(uint64(p.UIDValidity), 10)
	}
	url += "/;UID=" + strconv.FormatUint(uint64(p.UID), 10)
	if p.Section != "" {
		url += "/;SECTION=" + strings.ReplaceAll(encode(p.Section), "/", "%2F")
	}
	if p.Partial {
		url += "/;PARTIAL=" + strconv.FormatInt(p.Offset, 10)
		if p.Count > 0 {
			url += "." + strconv.FormatInt(p.Count, 10)
		}
	}
	return url
}

// encodeName encodes a name so that it is a plain path: a level of dots, or an empty one
// at the beginning, would be something else.
func encodeName(name string) string {
	levels := strings.Split(encode(name), "/")
	for _, l := range levels {
		if l == "" || l == "." || l == ".." {
			return strings.ReplaceAll(strings.ReplaceAll(encode(name), "/", "%2F"), ".", "%2E")
		}
	}
	return strings.Join(levels, "/")
}
