package crlf

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stored says what Dovecot 2.3.19.1 stored for an input, with the S= and W= that it
// put into the Maildir name (doveadm save, mail_save_crlf = no).
var stored = []struct {
	in, out           string
	physical, virtual int64
}{
	{"", "", 0, 0},
	{"a: b\r\n\r\nx\r\ny\n", "a: b\n\nx\ny\n", 10, 14},
	{"a: b\r\n\r\nx\r\r\ny", "a: b\n\nx\r\ny", 10, 12},
	{"x\r\r\r\ny", "x\r\r\ny", 5, 5},
	{"x\r\r\r\r\ny", "x\r\r\r\ny", 6, 6},
	{"x\r", "x", 1, 1},
	{"x\r\r", "x\r", 2, 2},
	{"x\r\r\r", "x\r\r", 3, 3},
	{"x\ry\r\rz\r\r\rz", "x\ry\r\rz\r\r\rz", 10, 10},
	{"\r", "", 0, 0},
	{"\r\n", "\n", 1, 2},
	{"\r\r\n", "\r\n", 2, 2},
	{"x\n\r\n", "x\n\n", 3, 5},
	{"x\n\r", "x\n", 2, 3},
	{"x\n\r\r\r\r\r\n\r\r\n", "x\n\r\r\r\r\n\r\n", 9, 10},
}

func TestLFWriter(t *testing.T) {
	for _, tt := range stored {
		for step := 1; step <= 4; step++ {
			var out bytes.Buffer
			w := NewLFWriter(&out)
			for p := []byte(tt.in); len(p) > 0; {
				n := min(step, len(p))
				if k, err := w.Write(p[:n]); k != n || err != nil {
					t.Fatalf("Write = %d, %v; want %d, nil", k, err, n)
				}
				p = p[n:]
			}
			if out.String() != tt.out || w.Physical() != tt.physical || w.Virtual() != tt.virtual {
				t.Errorf("%q in steps of %d: stored %q, S=%d,W=%d; want %q, S=%d,W=%d",
					tt.in, step, out.String(), w.Physical(), w.Virtual(), tt.out, tt.physical, tt.virtual)
			}
		}
	}
}

func TestLFWriterLong(t *testing.T) {
	in := strings.Repeat("0123456789abcdef\r\n", 10_000)
	var out bytes.Buffer
	w := NewLFWriter(&out)
	if n, err := io.WriteString(w, in); n != len(in) || err != nil {
		t.Fatalf("Write = %d, %v; want %d, nil", n, err, len(in))
	}
	if want := strings.ReplaceAll(in, "\r\n", "\n"); out.String() != want {
		t.Errorf("stored %d bytes that differ from the %d wanted", out.Len(), len(want))
	}
	if w.Virtual() != int64(len(in)) {
		t.Errorf("Virtual = %d, want %d", w.Virtual(), len(in))
	}
}

func TestLFWriterError(t *testing.T) {
	full := errors.New("disk full")
	w := NewLFWriter(failingWriter{full})
	for range 2 {
		if n, err := w.Write([]byte("x\r\n")); n != 0 || err != full {
			t.Errorf("Write = %d, %v; want 0, %v", n, err, full)
		}
	}
	if _, err := NewLFWriter(failingWriter{}).Write([]byte("x")); err != io.ErrShortWrite {
		t.Errorf("short write: %v, want %v", err, io.ErrShortWrite)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write(p []byte) (int, error) { return 0, f.err }

func TestCRLFReader(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"x", "x"},
		{"\n", "\r\n"},
		{"x\ny\n\n", "x\r\ny\r\n\r\n"},
		{"x\r\ny\n", "x\r\ny\r\n"},
		{"x\r\r\ny", "x\r\r\ny"},
		{"x\ry\r", "x\ry\r"},
		{strings.Repeat("line\n", 5000), strings.Repeat("line\r\n", 5000)},
		{strings.Repeat("x", 4095) + "\r\n", strings.Repeat("x", 4095) + "\r\n"},
		{strings.Repeat("x", 4096) + "\n", strings.Repeat("x", 4096) + "\r\n"},
	} {
		if err := iotest.TestReader(NewCRLFReader(strings.NewReader(tt.in)), []byte(tt.want)); err != nil {
			t.Errorf("%.20q: %v", tt.in, err)
		}
		var count Counter
		count.Write([]byte(tt.in))
		whole := make([]byte, count.Virtual())
		if n := Expand(whole, []byte(tt.in)); string(whole[:n]) != tt.want {
			t.Errorf("Expand(%.20q) = %.40q, want %.40q", tt.in, whole[:n], tt.want)
		}
		for name, r := range map[string]io.Reader{
			"one byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			"half":     iotest.HalfReader(strings.NewReader(tt.in)),
			"data err": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			c := NewCRLFReader(r)
			got, err := io.ReadAll(iotest.OneByteReader(c))
			if string(got) != tt.want || err != nil {
				t.Errorf("%.20q, %s: %.40q, %v; want %.40q", tt.in, name, got, err, tt.want)
			}
			if c.Physical() != int64(len(tt.in)) || c.Virtual() != int64(len(tt.want)) {
				t.Errorf("%.20q, %s: sizes %d, %d; want %d, %d", tt.in, name, c.Physical(), c.Virtual(), len(tt.in), len(tt.want))
			}
		}
	}
}

func TestCRLFReaderError(t *testing.T) {
	c := NewCRLFReader(io.MultiReader(strings.NewReader("x\n"), iotest.ErrReader(iotest.ErrTimeout)))
	got, err := io.ReadAll(c)
	if string(got) != "x\r\n" || err != iotest.ErrTimeout {
		t.Errorf("got %q, %v; want all bytes and then %v", got, err, iotest.ErrTimeout)
	}
	c.Clear()
	if n, err := c.Read(make([]byte, 8)); n != 0 || err != io.ErrClosedPipe {
		t.Errorf("Read after Clear = %d, %v; want 0, %v", n, err, io.ErrClosedPipe)
	}
}

// lfModel and crlfModel say the same in a plain way.
func lfModel(in string) string { return strings.ReplaceAll(in, "\r\n", "\n") }

func crlfModel(in string) string {
	var out []byte
	for i := range len(in) {
		if in[i] == '\n' && (i == 0 || in[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, in[i])
	}
	return string(out)
}

func FuzzCRLF(f *testing.F) {
	for _, tt := range stored {
		f.Add(tt.in, 1, 3)
		f.Add(tt.out, 7, 2)
	}
	f.Fuzz(func(t *testing.T, in string, writeStep, readStep int) {
		writeStep, readStep = max(1, writeStep%5000), max(1, readStep%5000)
		var lf bytes.Buffer
		w := NewLFWriter(&lf)
		for rest := in; len(rest) > 0; {
			n := min(writeStep, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		want := lfModel(in)
		if strings.HasSuffix(in, "\r") {
			want = strings.TrimSuffix(want, "\r")
		}
		if lf.String() != want || w.Physical() != int64(len(want)) {
			t.Fatalf("stored %q, S=%d; want %q", lf.String(), w.Physical(), want)
		}
		r := NewCRLFReader(&lf)
		out, err := io.ReadAll(&stepReader{r, readStep})
		if err != nil || string(out) != crlfModel(want) {
			t.Fatalf("given out %q, %v; want %q", out, err, crlfModel(want))
		}
		if w.Virtual() != int64(len(out)) || r.Virtual() != w.Virtual() || r.Physical() != w.Physical() {
			t.Fatalf("sizes while saving %d, %d, while reading %d, %d, given out %d",
				w.Physical(), w.Virtual(), r.Physical(), r.Virtual(), len(out))
		}
	})
}

type stepReader struct {
	r    io.Reader
	step int
}

func (s *stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(s.step, len(p))]) }

func BenchmarkLFWriter(b *testing.B) {
	text := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w := NewLFWriter(io.Discard)
		w.Write(text)
		w.Clear()
	}
}

func BenchmarkCRLFReader(b *testing.B) {
	text := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\n"), 1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		io.Copy(io.Discard, NewCRLFReader(bytes.NewReader(text)))
	}
}
