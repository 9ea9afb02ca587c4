package main

import (
	"io"
	"unicode/utf8"
)

// A cleanWriter keeps mail from steering the terminal: control characters, and what is no
// UTF-8, become ?. Line ends and tabs stay. Call end after the last Write.
type cleanWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character, whose end comes with the next Write
}

// Write implements io.Writer.
func (c *cleanWriter) Write(p []byte) (int, error) {
	text := append(c.rest, p...)
	whole := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= n
			}
			break
		}
	}
	if whole > 0 && whole == len(text) && text[whole-1] == '\r' {
		whole-- // perhaps half a line end
	}
	c.rest = append([]byte(nil), text[whole:]...)
	if err := c.write(text[:whole]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes what never became a character.
func (c *cleanWriter) end() error {
	rest := c.rest
	c.rest = nil
	return c.write(rest)
}

func (c *cleanWriter) write(text []byte) error {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch next := text[n:]; {
		case r == '\n' || r == '\t':
			out = append(out, byte(r))
		case r == '\r' && len(next) > 0 && next[0] == '\n': // half a line end
			out = append(out, '\r')
		default:
			out = append(out, clean(string(text[:n]))...)
		}
		text = text[n:]
	}
	_, err := c.w.Write(out)
	clear(out)
	return err
}
