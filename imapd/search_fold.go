package imapd

import (
	"bytes"
	"io"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Text is compared as by i;unicode-casemap (RFC 5051): decomposed, and in title case.

// foldString folds a whole text.
func foldString(s string) string {
	return string(fold(nil, norm.NFKD.Bytes([]byte(s))))
}

// fold appends decomposed text in title case.
func fold(dst, text []byte) []byte {
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			text = text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, unicode.ToTitle(r))
		text = text[n:]
	}
	return dst
}

// A finder looks for one text in a stream, in linear time (Knuth, Morris, Pratt).
type finder struct {
	needle string
	fail   []int // length of the longest border of each prefix
	at     int   // how much of the needle the stream ends in
	found  bool
}

// newFinder prepares the table of borders.
func newFinder(needle string) *finder {
	f := &finder{needle: needle, fail: make([]int, len(needle)+1)}
	for i, k := 1, 0; i < len(needle); i++ {
		for k > 0 && needle[i] != needle[k] {
			k = f.fail[k]
		}
		if needle[i] == needle[k] {
			k++
		}
		f.fail[i+1] = k
	}
	return f
}

// reset forgets the stream so far, and what was found.
func (f *finder) reset() { f.at, f.found = 0, len(f.needle) == 0 }

// cut ends one text, so that nothing is found across its end.
func (f *finder) cut() { f.at = 0 }

// write takes the next piece of the stream. The work is linear in its length, whatever the
// needle repeats.
func (f *finder) write(p []byte) {
	if f.found {
		return
	}
	for _, c := range p {
		for f.at > 0 && f.needle[f.at] != c {
			f.at = f.fail[f.at]
		}
		if f.needle[f.at] == c {
			if f.at++; f.at == len(f.needle) {
				f.found = true
				return
			}
		}
	}
}

// A lineFeeder gives many short texts to finders. Its buffers serve all of them: a hostile
// message has a header field for every four octets.
type lineFeeder struct{ plain, folded []byte }

// feed gives one whole text to finders, folded.
func (l *lineFeeder) feed(text string, finders []*finder) {
	l.add(text, finders)
	for _, f := range finders {
		f.cut()
	}
}

// add gives the beginning of a text, or a piece from its middle.
func (l *lineFeeder) add(text string, finders []*finder) {
	l.plain = norm.NFKD.AppendString(l.plain[:0], text)
	l.folded = fold(l.folded[:0], l.plain)
	for _, f := range finders {
		f.write(l.folded)
	}
}

// wipe overwrites what the buffers hold.
func (l *lineFeeder) wipe() {
	clear(l.plain[:cap(l.plain)])
	clear(l.folded[:cap(l.folded)])
	*l = lineFeeder{}
}

// feed gives a text to finders, folded.
func feed(r io.Reader, finders []*finder) error {
	in := norm.NFKD.Reader(r)
	buf := make([]byte, 8<<10)
	var folded []byte
	held := 0 // octets at the start of buf that begin a character
	defer func() { clear(buf); clear(folded[:cap(folded)]) }()
	for {
		n, err := in.Read(buf[held:])
		n += held
		whole := n
		if err == nil {
			whole = lastWhole(buf[:n])
		}
		folded = fold(folded[:0], buf[:whole])
		open := false
		for _, f := range finders {
			f.write(folded)
			open = open || !f.found
		}
		held = copy(buf, buf[whole:n])
		switch {
		case err == io.EOF || !open:
			for _, f := range finders {
				f.cut()
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// lastWhole is the length of b without the beginning of a character at its end.
func lastWhole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// contains reports whether a text that was not folded holds a folded needle.
func contains(text string, needle string) bool {
	return needle == "" || bytes.Contains(fold(nil, norm.NFKD.Bytes([]byte(text))), []byte(needle))
}
