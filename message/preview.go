package message

import (
	"io"
	"strings"
	"unicode"
)

const (
	// previewPart is how much of a part is read for a preview, encoded as it stands, and
	// previewAll how much of all of them: much HTML begins with style sheets.
	previewPart = 64 << 10
	previewAll  = 256 << 10
)

// Preview returns the beginning of what a person reads in a message, as plain UTF-8 of
// at most length characters in one line, and "" where there is no text (RFC 8970). root is
// Scan's of the text r. Work and memory are bounded, whatever the message; the error is one
// of reading r.
//
// As in Dovecot (lib-mail/message-snippet.c) it is of the first text part that has any; an
// enclosed message counts where there is no other. Runs of white space are one space. Lines
// that begin with ">" are left out, and stand for the text, behind one ">", where there is
// nothing else.
func Preview(r io.ReaderAt, root *Part, length int) (string, error) {
	p := previewer{r: r, left: previewAll, length: length}
	within := []*Part{root}
	for len(within) > 0 && !p.done() {
		if err := p.look(within[0]); err != nil {
			return "", err
		}
		within, p.enclosed = append(p.enclosed, within[1:]...), nil
	}
	if own := p.own.String(); own != "" {
		return own, nil
	}
	if quoted := p.quoted.String(); quoted != "" {
		return ">" + quoted, nil
	}
	return "", nil
}

// A previewer looks for text in one part after another.
type previewer struct {
	r           io.ReaderAt
	left        int64 // bytes that may still be read
	length      int
	own, quoted line
	enclosed    []*Part // messages that were found within the last part
}

// done reports whether no further part is to be looked at.
func (p *previewer) done() bool {
	return !p.own.empty() || !p.quoted.empty() || p.left <= 0
}

// look takes the text of a part, or of the first part within that has any, and notes the
// messages that it passes by.
func (p *previewer) look(part *Part) error {
	if part.Message != nil {
		p.enclosed = append(p.enclosed, part.Message)
		return nil
	}
	for _, c := range part.Children {
		if err := p.look(c); err != nil || p.done() {
			return err
		}
	}
	isHTML := strings.EqualFold(part.Subtype, "html") && part.IsText() ||
		strings.EqualFold(part.Type, "application") && strings.EqualFold(part.Subtype, "xhtml+xml")
	if len(part.Children) > 0 || !isHTML && !part.IsText() && part.Type != "" {
		return nil
	}
	size := min(part.End-part.BodyStart, previewPart, p.left)
	p.left -= size
	charset, _ := Param(part.Params, "charset")
	text, err := io.ReadAll(DecodeText(io.NewSectionReader(p.r, part.BodyStart, size), part.Encoding, charset))
	if err != nil {
		return err
	}
	if isHTML {
		text = htmlText(text)
	}
	p.take(string(text))
	return nil
}

// take adds text, line by line, until there is enough.
func (p *previewer) take(text string) {
	p.own.room, p.quoted.room = p.length, p.length-1
	for l := range strings.Lines(text) {
		if rest, quote := strings.CutPrefix(l, ">"); quote {
			p.quoted.add(rest)
		} else if p.own.add(l); p.own.room <= 0 {
			return
		}
	}
}

// A line gathers words up to a length, with one space between them.
type line struct {
	strings.Builder
	room  int  // characters
	space bool // a space comes before the next character
}

func (l *line) empty() bool { return l.Len() == 0 }

// add takes more text. NUL and other controls are left out, and so are marks of byte
// order, wherever they stand.
func (l *line) add(text string) {
	for _, r := range text {
		switch {
		case r == ' ' || r >= '\t' && r <= '\r':
			l.space = !l.empty()
			continue
		case unicode.IsControl(r) || r == '\ufeff':
			continue
		case l.room <= 0:
			return
		case l.space && l.room == 1: // no space at the end
			l.room = 0
			return
		case l.space:
			l.WriteByte(' ')
			l.room--
			l.space = false
		}
		l.WriteRune(r)
		l.room--
	}
}
