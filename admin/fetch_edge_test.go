package admin

import (
	"strings"
	"testing"
)

// FuzzEdge finds the end of a header in a text that comes in pieces: wherever they are cut, it
// is the first empty line.
func FuzzEdge(f *testing.F) {
	for _, text := range []string{
		"", "\r\n", "\n", "Subject: x\r\n\r\nbody\r\n\r\nmore", "Subject: x\n\nbody", "no header at all", "a\r\n\r\r\n\r\nb", "\r\n\r\n", "a: b\r\n \r\n\r\nc", "a\r",
	} {
		f.Add(text, 3)
	}
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			size = 1
		}
		want := len(text)
		for at := 0; at < len(text); {
			line := text[at:]
			if i := strings.IndexByte(line, '\n'); i >= 0 {
				line = line[:i+1]
			}
			at += len(line)
			if line == "\n" || line == "\r\n" {
				want = at
				break
			}
		}
		var e edge
		got := 0
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			got += e.find(rest[:n])
			rest = rest[n:]
		}
		if got != want || e.found != (want < len(text) || strings.HasSuffix(text, "\n\n") || strings.HasSuffix(text, "\n\r\n") || text == "\n" || text == "\r\n") {
			t.Errorf("%q in pieces of %d: header of %d (end found: %v), want %d", text, size, got, e.found, want)
		}
	})
}
