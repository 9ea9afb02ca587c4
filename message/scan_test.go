package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// checkPart checks what holds for every part of any mail, and that the structure and
// all sections can be made of it.
func checkPart(t testing.TB, mail []byte, p *Part, from, to int64, l Limits) (parts int) {
	if p.HeaderStart < from || p.BodyStart < p.HeaderStart || p.End < p.BodyStart || p.End > to {
		t.Fatalf("part %d..%d..%d is not within %d..%d", p.HeaderStart, p.BodyStart, p.End, from, to)
	}
	if n := int64(bytes.Count(mail[p.BodyStart:p.End], lf)); n != p.Lines {
		t.Fatalf("part at %d has %d lines, counted %d", p.HeaderStart, n, p.Lines)
	}
	if n := int64(bytes.Count(mail[p.HeaderStart:p.BodyStart], lf)); n != p.HeaderLines {
		t.Fatalf("header at %d has %d lines, counted %d", p.HeaderStart, n, p.HeaderLines)
	}
	if p.Message != nil && len(p.Children) > 0 || p.IsMultipart() && p.Message != nil {
		t.Fatalf("part at %d is both a multipart and a message", p.HeaderStart)
	}
	if len(p.Params) > l.Params || len(p.DispositionParams) > l.Params {
		t.Fatalf("part at %d has %d and %d parameters", p.HeaderStart, len(p.Params), len(p.DispositionParams))
	}
	if e := p.Envelope; e != nil {
		for _, list := range [][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
			if len(list) > l.Addresses {
				t.Fatalf("%d addresses in a list", len(list))
			}
		}
	}
	parts = 1
	at := p.BodyStart
	for _, c := range p.Children {
		parts += checkPart(t, mail, c, at, p.End, l)
		at = c.End
	}
	if p.Message != nil {
		if p.Message.Envelope == nil || p.Message.HeaderStart != p.BodyStart {
			t.Fatalf("message inside the part at %d: %+v", p.HeaderStart, p.Message)
		}
		parts += checkPart(t, mail, p.Message, p.BodyStart, p.End, l)
	}
	return parts
}

// A countingReader checks that a reader is read once and in order, and counts.
type countingReader struct {
	t    testing.TB
	r    io.ReaderAt
	next int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	if off != c.next {
		c.t.Fatalf("read at %d after %d", off, c.next)
	}
	n, err := c.r.ReadAt(p, off)
	c.next = off + int64(n)
	return n, err
}

func scanAndCheck(t testing.TB, mail []byte, l Limits) *Part {
	r := &countingReader{t: t, r: bytes.NewReader(mail)}
	top, err := Scan(r, int64(len(mail)), l)
	if err != nil {
		t.Fatal(err)
	}
	if r.next != int64(len(mail)) {
		t.Fatalf("read %d bytes of %d", r.next, len(mail))
	}
	l = l.withDefaults()
	if top.HeaderStart != 0 || top.End != int64(len(mail)) {
		t.Fatalf("top part is %d..%d of %d", top.HeaderStart, top.End, len(mail))
	}
	if n := checkPart(t, mail, top, 0, int64(len(mail)), l); n > l.Parts+1 {
		t.Fatalf("%d parts", n)
	}
	for _, b := range [][]byte{AppendEnvelope(nil, top.Envelope), AppendBodyStructure(nil, top, true), AppendBodyStructure(nil, top, false)} {
		if n := listLen(b); n != len(b) {
			t.Fatalf("not one list: %q", b)
		}
	}
	return top
}

func TestInvariants(t *testing.T) {
	for _, glob := range []string{handwritten, vectors} {
		for _, m := range loadMails(t, glob) {
			scanAndCheck(t, m.text, Limits{})
			scanAndCheck(t, m.text, Limits{Depth: 3, Parts: 5, HeaderBytes: 100, AllHeaders: 300, Params: 2, Addresses: 2, Memory: 500})
			e := ParseEnvelope(m.text)
			if got, want := AppendEnvelope(nil, e), AppendEnvelope(nil, mustScan(t, m.text).Envelope); !bytes.Equal(got, want) {
				t.Errorf("%s: ParseEnvelope gives %s, Scan %s", m.name, got, want)
			}
		}
	}
}

// TestWindow moves mails so that everything falls on the window's edge once.
func TestWindow(t *testing.T) {
	for _, m := range loadMails(t, handwritten) {
		if len(m.text) > 1000 {
			continue
		}
		want := AppendBodyStructure(nil, mustScan(t, m.text), true)
		for shift := range len(m.text) + 4 {
			pad := windowSize - len(m.text) - 2 + shift
			prefix := "X-Pad: " + strings.Repeat("x", pad-len("X-Pad: \r\n")) + "\r\n"
			moved := append([]byte(prefix), m.text...)
			if len(m.text) > 0 && (m.text[0] == ' ' || m.text[0] == '\t') {
				break // would be a fold of the padding
			}
			got := AppendBodyStructure(nil, scanAndCheck(t, moved, Limits{}), true)
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: moved by %d: %s, want %s", m.name, len(prefix), got, want)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	nest := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	}
	depth := func(p *Part) (n int) {
		for p != nil {
			n++
			switch {
			case p.Message != nil:
				p = p.Message
			case len(p.Children) > 0:
				p = p.Children[0]
			default:
				return n
			}
		}
		return n
	}
	if n := depth(scanAndCheck(t, []byte(nest(500)+"\r\ndeep\r\n"), Limits{})); n != 100 {
		t.Errorf("multiparts nest %d deep, want 100", n)
	}
	if n := depth(scanAndCheck(t, []byte(strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 500)), Limits{})); n != 100 {
		t.Errorf("messages nest %d deep, want 100", n)
	}
	many := "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n\r\n", 30000)
	top := scanAndCheck(t, []byte(many), Limits{})
	if n := len(top.Children); n != 9999 || !top.Children[n-1].Cut {
		t.Errorf("%d children, last cut %v", n, top.Children[n-1].Cut)
	}
	top = scanAndCheck(t, []byte("To: "+strings.Repeat("a@b, ", 50000)+"\r\n\r\n"), Limits{})
	if n := len(top.Envelope.To); n != 10000 {
		t.Errorf("%d addresses", n)
	}
	top = scanAndCheck(t, []byte(strings.Repeat("To: g: a@b, c@d;\r\n", 50000)+"\r\n"), Limits{})
	if n := len(top.Envelope.To); n != 10000 {
		t.Errorf("%d addresses of many fields", n)
	}
	top = scanAndCheck(t, []byte("Content-Type: a/b"+strings.Repeat("; p*1*=q", 5000)+"\r\n\r\n"), Limits{})
	if n := len(top.Params); n > 100 || !top.Cut {
		t.Errorf("%d parameters, cut %v", n, top.Cut)
	}
	// A field that goes beyond the bound is ignored, the body still found.
	top = scanAndCheck(t, []byte("To: a@b\r\nSubject: "+strings.Repeat("x", 2000)+"\r\nCc: c@d\r\n\r\nbody"), Limits{HeaderBytes: 1000})
	if top.Envelope.Subject != nil || len(top.Envelope.To) != 1 || top.End-top.BodyStart != 4 {
		t.Errorf("with a long header: %+v", top.Envelope)
	}
	part := "--x\r\nX: " + strings.Repeat("x", 100) + "\r\n\r\nbody\r\n"
	top = scanAndCheck(t, []byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n"+strings.Repeat(part, 100)), Limits{AllHeaders: 1000})
	if n := len(top.Children); n < 5 || n > 12 || !top.Children[n-1].Cut {
		t.Errorf("%d children within the bound of all headers", n)
	}
}

func TestScanReadError(t *testing.T) {
	failed := errors.New("disk")
	_, err := Scan(failingReader{failed}, 100, Limits{})
	if !errors.Is(err, failed) {
		t.Errorf("error %v, want %v", err, failed)
	}
	_, err = Scan(strings.NewReader("Subject: x\r\n"), 100, Limits{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reader shorter than its size: error %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestFind(t *testing.T) {
	text, _ := mailNamed(t, "rfc822-in-multipart")
	top := mustScan(t, text)
	for _, tt := range []struct {
		path []int
		want string // body, "" for none
	}{
		{[]int{1}, "text"},
		{[]int{2, 1}, "in 1"},
		{[]int{2, 2}, "in 2"},
		{[]int{2, 3}, ""},
		{[]int{0}, ""},
		{[]int{-1}, ""},
		{[]int{1, 1}, "text"}, // as Dovecot
		{[]int{1, 1, 1}, ""},
		{[]int{3}, ""},
		{[]int{1 << 40}, ""},
	} {
		p, ok := top.Find(tt.path)
		got := ""
		if ok {
			got = string(text[p.BodyStart:p.End])
		}
		if got != tt.want {
			t.Errorf("Find(%v) is %q, want %q", tt.path, got, tt.want)
		}
	}
	if p, ok := top.Find(nil); p != top || !ok {
		t.Error("Find(nil) is not the top part")
	}
}

func mailNamed(t testing.TB, name string) ([]byte, bool) {
	for _, m := range loadMails(t, handwritten) {
		if m.name == name {
			return m.text, true
		}
	}
	t.Fatalf("no mail %s", name)
	return nil, false
}

func FuzzScan(f *testing.F) {
	for _, m := range loadMails(f, handwritten) {
		if len(m.text) < 3000 {
			f.Add(m.text)
		}
	}
	f.Fuzz(func(t *testing.T, mail []byte) {
		scanAndCheck(t, mail, Limits{})
		scanAndCheck(t, mail, Limits{Depth: 2, Parts: 3, HeaderBytes: 64, AllHeaders: 128, Params: 1, Addresses: 1, Memory: 100})
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, m := range loadMails(f, handwritten) {
		if len(m.text) < 3000 {
			f.Add(m.text)
		}
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		e := ParseEnvelope(header)
		b := AppendEnvelope(nil, e)
		if listLen(b) != len(b) {
			t.Fatalf("not one list: %q", b)
		}
		all := HeaderFields(header, nil, true)
		if !bytes.HasPrefix(header, all) && !bytes.Equal(header, all) {
			t.Fatalf("all fields of %q are %q", header, all)
		}
	})
}

// hostile are kinds of mail that take more than linear time in one program or other.
var hostile = map[string]func(n int) string{
	"comments":       func(n int) string { return "To: " + strings.Repeat("(", n) + "\r\n\r\n" },
	"escaped":        func(n int) string { return "To: (" + strings.Repeat(`\`, n) + "\r\n\r\n" },
	"addresses":      func(n int) string { return "To: " + strings.Repeat("a@b,", n/4) + "\r\n\r\n" },
	"address-fields": func(n int) string { return strings.Repeat("To: a@b\r\n", n/9) + "\r\n" },
	"quotes":         func(n int) string { return "To: " + strings.Repeat(`"a" `, n/4) + "\r\n\r\n" },
	"open-quotes":    func(n int) string { return "To: " + strings.Repeat(`a, "b, `, n/7) + "\r\n\r\n" },
	"groups":         func(n int) string { return "To: " + strings.Repeat("a:", n/2) + "\r\n\r\n" },
	"routes":         func(n int) string { return "To: " + strings.Repeat("<@a,", n/4) + "\r\n\r\n" },
	"commas":         func(n int) string { return "To: " + strings.Repeat(",", n) + "\r\n\r\n" },
	"comment-commas": func(n int) string { return "To: " + strings.Repeat("a (b),", n/6) + "\r\n\r\n" },
	"folds":          func(n int) string { return "Subject: x\r\n" + strings.Repeat(" \r\n", n/3) + "\r\n" },
	"params": func(n int) string {
		return "Content-Type: a/b" + strings.Repeat(";a*1=b", n/6) + "\r\n\r\n"
	},
	"semicolons": func(n int) string { return "Content-Type: a/b" + strings.Repeat(";", n) + "\r\n\r\n" },
	"fields":     func(n int) string { return strings.Repeat("a:b\r\n", n/5) + "\r\n" },
	"boundaries": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=" + strings.Repeat("-", 79) + "\r\n\r\n" + strings.Repeat("-", n)
	},
	"dashes": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--\r\n", n/4)
	},
	"parts": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n", n/5)
	},
	"nested": func(n int) string {
		return strings.Repeat("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n", n/50)
	},
	"messages": func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32) },
	"deep-dashes": func(n int) string {
		var b strings.Builder
		for i := range 98 {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s%02d\"\r\n\r\n--%[1]s%02[2]d\r\n", strings.Repeat("b", 70), i)
		}
		return b.String() + "\r\n" + strings.Repeat("--"+strings.Repeat("b", 70)+"xx\r\n", n/76)
	},
	"language": func(n int) string {
		return "MIME-Version: 1\r\nContent-Language: " + strings.Repeat("a,", n/2) + "\r\n\r\n"
	},
}

func TestHostile(t *testing.T) {
	for name, mail := range hostile {
		t.Run(name, func(t *testing.T) { scanAndCheck(t, []byte(mail(1<<19)), Limits{}) })
	}
}

func BenchmarkScan(b *testing.B) {
	for name, mail := range hostile {
		for _, n := range []int{1 << 18, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, n>>10), func(b *testing.B) {
				benchmarkScan(b, []byte(mail(n)))
			})
		}
	}
	b.Run("body/16MiB", func(b *testing.B) {
		benchmarkScan(b, []byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n"+
			strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 16<<20/78)))
	})
}

func benchmarkScan(b *testing.B, mail []byte) {
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(bytes.NewReader(mail), int64(len(mail)), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
