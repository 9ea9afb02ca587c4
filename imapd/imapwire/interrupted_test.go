package imapwire

import (
	"fmt"
	"io"
	"testing"
)

// interrupting gives out one octet at a time, and is interrupted before each.
type interrupting struct {
	text string
	told bool
}

func (r *interrupting) Read(p []byte) (int, error) {
	if r.told = !r.told; r.told {
		return 0, fmt.Errorf("woken: %w", ErrInterrupted)
	}
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], r.text)
	r.text = r.text[n:]
	return n, nil
}

// TestInterruptedLine: an interruption in the middle of a line costs neither the line nor the
// stream behind it.
func TestInterruptedLine(t *testing.T) {
	d := NewDecoder(&interrupting{text: "a NOOP\r\nDONE\r\n"}, Limits{Line: 100})
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if word, err := d.Tag(); err != nil || word != "a" {
		t.Fatalf("%q, %v", word, err)
	}
	if line, err := d.RawLine(); err != nil || string(line) != "DONE" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := d.Next(); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}
