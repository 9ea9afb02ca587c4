package message

import (
	"bytes"
	"html"
)

// maxEntity is the longest name between "&" and ";".
const maxEntity = 32

// htmlText returns the text of HTML in UTF-8: tags become spaces, references to
// characters are resolved, and the lines of a blockquote begin with ">". Scripts, styles
// and comments are left out. There is no HTML that is refused, and the time is linear:
// every search goes forward, and what has no end takes the rest along.
//
// It follows Dovecot's (lib-mail/mail-html2text.c), except that a "<" which begins no tag
// and an "&" which begins no reference stay, and that "--->" ends a comment.
func htmlText(src []byte) []byte {
	h := htmlReader{src: src, out: make([]byte, 0, len(src))}
	for h.at < len(src) {
		switch c := src[h.at]; {
		case c == '<' && h.beginsTag():
			h.at++
			h.markup()
		case c == '&':
			h.reference()
		default:
			h.out = append(h.out, c)
			h.at++
		}
	}
	return h.out
}

// An htmlReader stands at a place in HTML.
type htmlReader struct {
	src    []byte
	at     int
	out    []byte
	quotes int // open blockquotes
}

// beginsTag reports whether "<" is markup and not a less-than sign.
func (h *htmlReader) beginsTag() bool {
	if h.at+1 == len(h.src) {
		return true // cut off
	}
	c := h.src[h.at+1]
	return c == '/' || c == '!' || c == '?' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// markup passes over what follows a "<".
func (h *htmlReader) markup() {
	rest := h.src[h.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("!--")):
		h.at += len("!--")
		h.comment()
	case hasFold(rest, "![CDATA["):
		h.at += len("![CDATA[")
		end := bytes.Index(h.src[h.at:], []byte("]]>"))
		if end < 0 {
			end = len(h.src) - h.at
		}
		h.out = append(h.out, h.src[h.at:h.at+end]...)
		h.at = min(h.at+end+len("]]>"), len(h.src))
	case isTag(rest, "script"):
		h.skipTo("</script>")
	case isTag(rest, "style"):
		h.skipTo("</style>")
	case isTag(rest, "blockquote"):
		h.quotes++
		h.tag(false)
	case isTag(rest, "/blockquote") && h.quotes > 0:
		h.quotes--
		h.tag(true)
	default:
		h.tag(false)
	}
}

// comment passes over a comment, whose "--" and ">" may be apart.
func (h *htmlReader) comment() {
	for {
		i := bytes.Index(h.src[h.at:], []byte("--"))
		if i < 0 {
			h.at = len(h.src)
			return
		}
		h.at += i + len("--")
		for h.at < len(h.src) && (h.src[h.at] == '-' || isHTMLSpace(h.src[h.at])) {
			h.at++
		}
		if h.at < len(h.src) && h.src[h.at] == '>' {
			h.at++
			return
		}
	}
}

// skipTo passes over everything up to an end tag and over that.
func (h *htmlReader) skipTo(end string) {
	for ; h.at < len(h.src); h.at++ {
		i := bytes.IndexByte(h.src[h.at:], '<')
		if i < 0 {
			break
		}
		h.at += i
		if hasFold(h.src[h.at:], end) {
			h.at += len(end)
			h.space()
			return
		}
	}
	h.at = len(h.src)
}

// tag passes over a tag to its ">", which in quotes is no end.
func (h *htmlReader) tag(newline bool) {
	quote := byte(0)
	for ; h.at < len(h.src); h.at++ {
		switch c := h.src[h.at]; {
		case quote != 0 && c == '\\':
			h.at++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			h.at++
			if h.quotes > 0 {
				h.out = append(h.out, "\n>"...)
			} else if newline {
				h.out = append(h.out, '\n')
			}
			h.space()
			return
		}
	}
	h.at = len(h.src)
}

// space parts what a tag has parted.
func (h *htmlReader) space() {
	if n := len(h.out); n > 0 && h.out[n-1] != ' ' && h.out[n-1] != '\n' {
		h.out = append(h.out, ' ')
	}
}

// reference resolves a character reference.
func (h *htmlReader) reference() {
	rest := h.src[h.at:min(len(h.src), h.at+maxEntity+2)]
	end := bytes.IndexByte(rest, ';')
	if end > 1 && !bytes.ContainsAny(rest[:end], " \t\r\n<") {
		name := string(rest[:end+1])
		h.out = append(h.out, html.UnescapeString(name)...)
		h.at += end + 1
		return
	}
	h.out = append(h.out, '&')
	h.at++
}

// isTag reports whether a tag's name begins here, with its end.
func isTag(src []byte, name string) bool {
	return hasFold(src, name) && len(src) > len(name) && (src[len(name)] == '>' || isHTMLSpace(src[len(name)]))
}

// hasFold is bytes.HasPrefix without regard to case.
func hasFold(src []byte, prefix string) bool {
	return len(src) >= len(prefix) && bytes.EqualFold(src[:len(prefix)], []byte(prefix))
}

func isHTMLSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
