package imapwire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestEncoder(t *testing.T) {
	for _, tt := range []struct {
		name string
		utf8 bool
		do   func(*Encoder)
		want string
	}{
		{"quoted", false, func(e *Encoder) { e.String(`a "b" \c`) }, `"a \"b\" \\c"`},
		{"8-bit", false, func(e *Encoder) { e.String("ä") }, "{2}\r\nä"},
		{"8-bit UTF-8", true, func(e *Encoder) { e.String("ä") }, `"ä"`},
		{"not UTF-8", true, func(e *Encoder) { e.String("\xff") }, "{1}\r\n\xff"},
		{"line end", true, func(e *Encoder) { e.String("a\r\nb") }, "{4}\r\na\r\nb"},
		{"NUL", false, func(e *Encoder) { e.String("a\x00b") }, "{3}\r\na\x80b"},
		{"long", false, func(e *Encoder) { e.String(strings.Repeat("x", 1025)) }, "{1025}\r\n" + strings.Repeat("x", 1025)},
		{"mailbox", false, func(e *Encoder) { e.Mailbox("Entwürfe") }, `Entw&APw-rfe`},
		{"mailbox with space", false, func(e *Encoder) { e.Mailbox("a b") }, `"a b"`},
		{"mailbox NIL", false, func(e *Encoder) { e.Mailbox("nil") }, `"nil"`},
		{"mailbox UTF-8", true, func(e *Encoder) { e.Mailbox("Entwürfe") }, `"Entwürfe"`},
		{"text", false, func(e *Encoder) { e.Text("a\r\nb\x00ü") }, "a  b ?"},
		{"set", false, func(e *Encoder) { e.Set([]uint32{1, 2, 4}) }, "1:2,4"},
		{"number", false, func(e *Encoder) { e.Number(-5).SP().NIL().CRLF() }, "-5 NIL\r\n"},
	} {
		var out bytes.Buffer
		e := NewEncoder(&out)
		e.UTF8 = tt.utf8
		tt.do(e)
		if err := e.Flush(); err != nil || out.String() != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, out.String(), err, tt.want)
		}
	}
}

type countingWriter struct {
	bytes.Buffer
	writes int
	fail   bool
}

var errWrite = errors.New("write failed")

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.fail {
		return 0, errWrite
	}
	return w.Buffer.Write(p)
}

func TestEncoderGathers(t *testing.T) {
	w := &countingWriter{}
	e := NewEncoder(w)
	for range 100 {
		e.Raw("* 1 EXISTS").CRLF()
	}
	if w.writes != 0 {
		t.Errorf("%d writes before Flush", w.writes)
	}
	e.Flush()
	if w.writes != 1 || w.Len() != 1200 {
		t.Errorf("%d writes of %d octets", w.writes, w.Len())
	}
	if e.buf != nil {
		t.Error("a flushed Encoder holds a buffer")
	}
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	w.Reset()
	e.Write(big)
	e.Flush()
	if !bytes.Equal(w.Bytes(), big) {
		t.Error("large literal changed")
	}
	w.fail = true
	e.Raw("x")
	if err := e.Flush(); !errors.Is(err, errWrite) || !errors.Is(e.Err(), errWrite) {
		t.Errorf("error: %v, %v", err, e.Err())
	}
}
