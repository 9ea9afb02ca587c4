package main

import (
	"strings"
	"testing"
)

// TestCleanWriter writes mail in pieces of every size: the terminal sees the same.
func TestCleanWriter(t *testing.T) {
	const in = "Subject: Käse €\t𝄞\r\n\x1b[2Jred\x07 \u009b31m \u202eright\xff\xe2\x82 \rover\r\nend\xf0\x9f"
	want := "Subject: Käse €\t𝄞\r\n?[2Jred? ?31m ?right??" + "? ?over\r\nend??"
	for size := 1; size <= len(in); size++ {
		var out strings.Builder
		w := &cleanWriter{w: &out}
		for rest := in; rest != ""; {
			n := min(size, len(rest))
			if m, err := w.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
}
