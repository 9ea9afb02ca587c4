package imapd

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"mailcrypt/imapd/imapurl"
	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// catenate puts a message together from text that the client sends and from pieces of
// messages that are here, in streams (RFC 4469 section 5, RFC 6855 section 4):
//
//	cat-list = "(" cat-part *(SP cat-part) ")"
//	cat-part = "TEXT" SP literal / "URL" SP astring / "UTF8" SP "(" literal8 ")"
func (v *saving) catenate(into io.Writer) error {
	d := v.dec
	if err := d.Expect('('); err != nil {
		return err
	}
	size := int64(0)
	for {
		n, err := v.catenatePart(into, size)
		if err != nil {
			return err
		}
		size += n
		if d.Try(')') {
			break
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
	if size == 0 {
		return no("CANNOT", "Can't save a zero byte message.")
	}
	return nil
}

// catenatePart adds one part to a message of before octets and returns its own number.
func (v *saving) catenatePart(into io.Writer, before int64) (int64, error) {
	d := v.dec
	var l *imapwire.Literal
	var err error
	utf8 := false
	switch {
	case d.TryWord("TEXT"):
		if err := d.SP(); err != nil {
			return 0, err
		}
		l, err = d.Literal()
	case d.TryWord("UTF8"):
		utf8 = true
		l, err = v.utf8Literal()
	case d.TryWord("URL"):
		if err := d.SP(); err != nil {
			return 0, err
		}
		url, err := d.AString()
		if err != nil {
			return 0, err
		}
		return v.copyURL(into, string(url), before)
	default:
		return 0, bad("Unknown CATENATE part.")
	}
	if err != nil {
		return 0, err
	}
	if l.Size > 0 { // an empty text adds nothing, and is no mistake
		if err := v.acceptable(l.Size, before); err != nil {
			return 0, err
		}
	}
	return l.Size, v.copyLiteral(into, l, utf8)
}

// copyURL adds the piece of a message that a URL names.
func (v *saving) copyURL(into io.Writer, url string, before int64) (int64, error) {
	if len(url) > imapurl.MaxLen {
		return 0, bad("URL too long.") // which the answer would have to repeat
	}
	piece, err := v.findURL(url)
	if err != nil {
		return 0, v.urlError(url, err)
	}
	if piece.size == 0 {
		return 0, nil
	}
	if err := v.acceptable(piece.size, before); err != nil {
		return 0, err
	}
	if piece.src == nil {
		_, err := into.Write(piece.mem)
		return piece.size, err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer func() {
		clear(*buf)
		copyBuffers.Put(buf)
	}()
	for left := piece.size; left > 0; {
		if err := v.ctx.Err(); err != nil { // a short command can mean much copying
			return 0, err
		}
		n, err := piece.src.Read((*buf)[:min(int64(len(*buf)), left)])
		if n > 0 {
			if _, err := into.Write((*buf)[:n]); err != nil {
				return 0, err
			}
			left -= int64(n)
		}
		if err != nil && !(err == io.EOF && left == 0) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, v.urlError(url, err)
		}
	}
	return piece.size, nil
}

// errNoPart reports a section that the message does not have.
var errNoPart = errors.New("imapd: no such part")

// findURL resolves a URL and opens the message.
func (v *saving) findURL(url string) (*fetchValue, error) {
	base := ""
	if v.box != nil {
		base = v.box.name
	}
	part, err := imapurl.Parse(url, base)
	if err != nil {
		return nil, err
	}
	item := &fetchItem{kind: itemSection, partial: part.Partial, offset: part.Offset, count: part.Count}
	if part.Partial && part.Count == 0 {
		item.count = 1<<63 - 1
	}
	if part.Section != "" {
		if err := item.parseSection(part.Section); err != nil {
			return nil, err
		}
	}
	if err := v.source.open(v.session, mailbox.CanonicalName(part.Mailbox, v.login.Separator())); err != nil {
		return nil, err
	}
	if have := v.source.box.View().UIDValidity; part.UIDValidity != 0 && part.UIDValidity != have {
		return nil, mailbox.ErrNotFound
	}
	if _, err := v.source.reader.open(v.ctx, mailbox.UID(part.UID)); err != nil {
		return nil, err
	}
	piece := &fetchValue{item: item}
	found, err := v.source.reader.section(piece)
	if err == nil && !found {
		err = errNoPart
	}
	return piece, err
}

// parseSection reads a section-spec that stands alone.
func (i *fetchItem) parseSection(spec string) error {
	d := imapwire.NewDecoder(strings.NewReader("["+spec+"]\r\n"), imapwire.Limits{})
	d.Continue = func() error { return bad("Invalid section.") }
	if err := d.Next(); err != nil {
		return err
	}
	if err := i.readSection(d); err != nil {
		return err
	}
	return d.End()
}

// urlError is the answer where a URL does not lead to octets (RFC 4469 section 4). What
// is wrong with this server, not with the URL, stays what it is.
func (v *saving) urlError(url string, err error) error {
	var read unreadable
	why := ""
	switch {
	case errors.Is(err, imapurl.ErrURL):
		why = strings.TrimPrefix(err.Error(), imapurl.ErrURL.Error()+": ")
		why = "Invalid URL: " + why + "."
	case errors.As(err, &read):
		v.countUnreadable(err)
		why = "Message cannot be read: " + read.Reason() + "."
	case errors.Is(err, errNoPart), syntaxOnly(err):
		why = "There is no such part."
	case errors.Is(err, mailbox.ErrNotFound), errors.Is(err, mailbox.ErrName), errors.Is(err, mailbox.ErrNotSelectable):
		why = "There is no such message."
	default:
		return err
	}
	return no("BADURL "+urlText(url), why)
}

// urlText is a URL as a response code may hold it (RFC 4469 section 5, erratum 2002).
func urlText(url string) string {
	var out strings.Builder
	for i := range len(url) {
		if c := url[i]; c < ' ' || c >= 0x7f || c == ']' {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// A urlSource is the mailbox that URLs were read from last, with the message that was.
// Parts of one message are mostly named one after the other.
type urlSource struct {
	name   string
	box    box // nil: none yet
	reader reader
}

// open makes a mailbox the source.
func (u *urlSource) open(s *session, name string) error {
	if u.box != nil && u.name == name {
		return nil
	}
	if err := u.close(); err != nil {
		return err
	}
	b, err := s.login.Open(s.ctx, name, true)
	if err != nil {
		return err
	}
	u.name, u.box, u.reader = name, b, reader{box: b}
	_, err = b.Sync(s.ctx) // what has just come is there
	return err
}

// close lets go of mailbox and message.
func (u *urlSource) close() error {
	if u.box == nil {
		return nil
	}
	u.reader.drop()
	b := u.box
	u.box = nil
	return b.Close()
}
