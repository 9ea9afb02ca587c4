package message

import (
	"bytes"
	"strings"
)

// maxName is the longest field name that is taken for one.
const maxName = 1000

// What keeping a value costs beside its bytes, for Limits.Memory.
const (
	costString  = 32
	costAddress = 160
)

// fields takes the header fields of one part.
type fields struct {
	s *scanner
	p *Part
	// mime says that the Content-* fields count: always in a part of a multipart,
	// elsewhere only with MIME-Version or Content-Type.
	mime     bool
	typed    bool // Content-Type was seen; only the first counts
	boundary *string
	rfc822   bool
}

// matters reports whether a line, of which b is the beginning, is of a field that
// this package looks at.
func matters(b []byte) bool {
	n := bytes.IndexAny(b, ": \t\x00\r\n")
	if n < 0 || n > len("Content-Transfer-Encoding") {
		return false
	}
	switch strings.ToLower(string(b[:n])) {
	case "date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc",
		"in-reply-to", "message-id", "mime-version",
		"content-type", "content-transfer-encoding", "content-id",
		"content-description", "content-md5", "content-disposition",
		"content-language", "content-location":
		return true
	}
	return false
}

// splitField divides a whole field, line end included, into its name in lower case
// and its value. ok is false for a line without a colon.
func splitField(line []byte) (name string, value []byte, ok bool) {
	line = trimLineEnd(line)
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return "", nil, false
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 && i < colon {
		return "", nil, false
	}
	n := bytes.TrimRight(line[:colon], " \t")
	if len(n) > maxName {
		return "", nil, false
	}
	n, _, _ = bytes.Cut(n, []byte{0})
	return strings.ToLower(string(n)), trimStart(line[colon+1:]), true
}

// trimStart takes off the space before a value. If its first line is nothing else,
// only one character of it goes, as in Dovecot.
func trimStart(v []byte) []byte {
	rest := bytes.TrimLeft(v, " \t")
	if len(rest) < len(v) && (len(rest) == 0 || lineEndAt(rest) > 0) {
		return v[1:]
	}
	return rest
}

func trimLineEnd(b []byte) []byte {
	if t := bytes.TrimSuffix(b, lf); len(t) < len(b) {
		return bytes.TrimSuffix(t, cr)
	}
	return b
}

// field takes one whole field.
func (f *fields) field(line []byte) {
	name, value, ok := splitField(line)
	if !ok {
		return
	}
	switch {
	case name == "mime-version":
		f.mime = true
	case strings.HasPrefix(name, "content-"):
		f.content(name[len("content-"):], value)
	case f.p.Envelope != nil:
		f.s.memory -= f.p.Envelope.field(name, value, f.s.l.Addresses, f.s.memory)
	}
}

func (f *fields) content(name string, value []byte) {
	p := f.p
	switch name {
	case "type":
		if !f.typed {
			f.typed, f.mime = true, true
			f.contentType(value)
		}
	case "transfer-encoding":
		if p.Encoding == "" {
			l := lexer{b: value}
			l.space()
			if tok, st := l.token(nil); st != bad && len(tok) > 0 && l.space() == end {
				p.Encoding = f.keep(string(tok))
			}
		}
	case "id":
		f.text(&p.ID, value)
	case "description":
		f.text(&p.Description, value)
	case "md5":
		f.text(&p.MD5, value)
	case "location":
		f.text(&p.Location, value)
	case "disposition":
		// A later field counts as long as none had parameters.
		if p.DispositionParams == nil {
			l := lexer{b: value}
			l.space()
			if tok, st := l.token(nil); st != bad {
				p.Disposition = str(f.keep(string(tok)))
				p.DispositionParams = f.params(&l)
			}
		}
	case "language":
		if p.Language == nil {
			f.language(value)
		}
	}
}

func (f *fields) contentType(value []byte) {
	l := lexer{b: value}
	l.space()
	typ, sub, ok := l.contentType()
	f.p.Type, f.p.Subtype = f.keep(typ), f.keep(sub)
	if !ok {
		if f.p.IsMultipart() {
			f.makeOpaque()
		}
		return
	}
	f.p.Params = f.params(&l)
	if !f.p.IsMultipart() {
		return
	}
	for _, a := range f.p.Params {
		if strings.EqualFold(a[0], "boundary") {
			f.boundary = str(a[1][:min(len(a[1]), maxBoundary)])
			break
		}
	}
}

func (f *fields) params(l *lexer) [][2]string {
	list, cut := l.params(f.s.l.Params)
	for i, a := range list {
		if f.s.memory -= int64(len(a[0]) + len(a[1]) + 2*costString); f.s.memory < 0 {
			list, cut = list[:i:i], true
			break
		}
	}
	f.p.Cut = f.p.Cut || cut
	return list
}

// language reads a list of language tags.
func (f *fields) language(value []byte) {
	l := lexer{b: value}
	l.space()
	for len(f.p.Language) < f.s.l.Params {
		tag, st := l.atom(nil)
		if st == bad {
			return
		}
		f.p.Language = append(f.p.Language, f.keep(string(tag)))
		if !l.at(',') {
			return
		}
		l.b = l.b[1:]
		l.space()
	}
}

// text sets a field that has no grammar, the first time that it comes.
func (f *fields) text(dst **string, value []byte) {
	if *dst == nil {
		*dst = str(f.keep(unfold(value)))
	}
}

// keep returns s if there is memory left for it.
func (f *fields) keep(s string) string {
	if f.s.memory -= int64(len(s) + costString); f.s.memory < 0 {
		f.p.Cut = true
		return ""
	}
	return s
}

// openBoundary is called at the blank line: from here on the boundary of a multipart
// ends what is before it. Without the blank line it does not.
func (f *fields) openBoundary() {
	if f.boundary == nil || !f.mime {
		return
	}
	if len(f.s.open) >= f.s.l.Depth {
		f.makeOpaque()
		return
	}
	f.s.bounds = append(f.s.bounds, boundary{*f.boundary, f.p})
}

// makeOpaque turns a part that would have parts inside into one that has not.
func (f *fields) makeOpaque() {
	f.p.Type, f.p.Subtype, f.p.Cut = "application", "octet-stream", true
}

// end completes the part when its header has ended.
func (f *fields) end(inDigest bool) {
	p := f.p
	if !f.mime {
		*p = Part{HeaderStart: p.HeaderStart, BodyStart: p.BodyStart, End: p.End,
			HeaderLines: p.HeaderLines, Lines: p.Lines, Envelope: p.Envelope, Cut: p.Cut}
		f.typed = false
	}
	if !f.typed {
		p.Type, p.Subtype = "text", "plain"
		if inDigest {
			p.Type, p.Subtype = "message", "rfc822"
		}
	}
	f.rfc822 = strings.EqualFold(p.Type, "message") && strings.EqualFold(p.Subtype, "rfc822")
}

// unfold returns a value without its line ends: none where white space follows, else
// a space. NULs become U+FFFD.
func unfold(v []byte) string {
	if !bytes.ContainsAny(v, "\r\n\x00") {
		return string(v)
	}
	var b strings.Builder
	for i, c := range v {
		switch c {
		case 0:
			b.WriteString(nulText)
		case '\r', '\n':
			if i+1 < len(v) && strings.IndexByte(" \t\r\n", v[i+1]) < 0 {
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
