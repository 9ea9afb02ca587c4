package lmtpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// modelData is what a message text means, by RFC 5321 section 4.5.2: the text up to
// CRLF "." CRLF, of lines that end in CRLF and begin with a dot without that dot.
func modelData(in string) (text, rest string, ok bool) {
	end := strings.Index("\r\n"+in, "\r\n.\r\n")
	if end < 0 {
		return "", "", false
	}
	text = in[:end]
	rest = in[end+3:]
	text = strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n")[2:]
	return text, rest, true
}

func newDataReader(r *bufio.Reader) *dataReader { return &dataReader{r: r, before: func() {}} }

func FuzzLMTPData(f *testing.F) {
	for _, s := range []string{
		"", ".\r\n", "x\r\n.\r\n", "x\r\n.\r\nrest", "\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r\r\n.\r\n",
		".\rX\r\n.\r\n", "..\r\n.\r\n", ".\r\r\n.\r\n", "a\r\n.b\r\n..c\r\n.\r\n", "\x00\xff\r\n.\r\nMAIL", ".", ".\r",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		want, rest, ok := modelData(in)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r },
			"bytes": iotest.OneByteReader,
			"half":  iotest.HalfReader,
			"eof":   iotest.DataErrReader,
		} {
			br := bufio.NewReaderSize(wrap(strings.NewReader(in)), 16)
			got, err := io.ReadAll(newDataReader(br))
			if !ok {
				if !errors.Is(err, errCut) {
					t.Fatalf("%s: %q: error %v, want %v", name, in, err, errCut)
				}
				continue
			}
			if err != nil || string(got) != want {
				t.Fatalf("%s: %q is %q, %v; want %q", name, in, got, err, want)
			}
			if left, _ := io.ReadAll(br); string(left) != rest {
				t.Fatalf("%s: %q leaves %q, want %q", name, in, left, rest)
			}
		}
	})
}

func TestAddHost(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"RCPT TO:<alice>", "RCPT TO:<alice@.>"},
		{"RCPT TO:<a@b>", "RCPT TO:<a@b>"},
		{"MAIL FROM:<> SIZE=1", "MAIL FROM:<> SIZE=1"},
		{`RCPT TO:<"a@b">`, `RCPT TO:<"a@b"@.>`},
		{`RCPT TO:<"a\">@b"> X=<y>`, `RCPT TO:<"a\">@b"@.> X=<y>`},
		{"RCPT TO:<alice", "RCPT TO:<alice"},
		{"RCPT TO:alice", "RCPT TO:alice"},
		{`RCPT TO:<"a`, `RCPT TO:<"a`},
	} {
		if got := addHost(tt.in); got != tt.want {
			t.Errorf("addHost(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestQuoteLocal(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a@b", "a@b"}, {"a", "a"}, {"a b@c", `"a b"@c`}, {`a"\@c`, `"a\"\\"@c`}, {"a@b@c", `"a@b"@c`},
	} {
		if got := quoteLocal(tt.in); got != tt.want {
			t.Errorf("quoteLocal(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func BenchmarkDataReader(b *testing.B) {
	text := strings.Repeat("a line of text that is as long as most are in mail\r\n", 20000)
	in := []byte(text + ".\r\n")
	br := bufio.NewReaderSize(nil, bufferSize)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		br.Reset(bytes.NewReader(in))
		io.Copy(io.Discard, newDataReader(br))
	}
}
