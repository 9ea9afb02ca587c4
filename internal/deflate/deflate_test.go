package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// texts are things that a connection carries.
func texts() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "* %d FETCH (UID %d FLAGS (\\Seen) RFC822.SIZE %d)\r\n", i, i*3, i*717%100_000)
	}
	return map[string][]byte{
		"a command": []byte("a1 NOOP\r\n"), "lines": []byte(lines.String()), "noise": noise,
		"zeros": make([]byte, 300_000), "far": slicesOf(noise[:32768], 5),
	}
}

func slicesOf(p []byte, n int) []byte { return bytes.Repeat(p, n) }

func TestReadsWhatOthersWrite(t *testing.T) {
	for name, text := range texts() {
		for level := -2; level <= 9; level++ {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			for rest := text; len(rest) > 0; {
				n := min(len(rest), 10_007)
				w.Write(rest[:n])
				w.Flush()
				rest = rest[n:]
			}
			w.Close()
			for _, raw := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.OneByteReader(bytes.NewReader(b.Bytes()))} {
				got, err := io.ReadAll(NewReader(raw))
				if err != nil || !bytes.Equal(got, text) {
					t.Fatalf("%s at level %d: %d octets of %d, %v", name, level, len(got), len(text), err)
				}
			}
		}
	}
}

func TestOthersReadWhatIsWritten(t *testing.T) {
	for name, text := range texts() {
		var b bytes.Buffer
		w := NewWriter(&b)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 32<<10)
			if k, err := w.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(flate.NewReader(&b), got); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// pieces gives one piece at a time, and an error where a reader asks for more than there is.
type pieces struct{ left [][]byte }

var errBlocked = errors.New("would wait")

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, errBlocked
	}
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; len(p.left[0]) == 0 {
		p.left = p.left[1:]
	}
	return n, nil
}

// halting fails before every octet, as a connection that is interrupted.
type halting struct {
	r    io.Reader
	fail bool
}

func (h *halting) Read(p []byte) (int, error) {
	if h.fail = !h.fail; h.fail {
		return 0, errBlocked
	}
	return h.r.Read(p[:1])
}

func TestInterrupted(t *testing.T) {
	for name, text := range texts() {
		for _, level := range []int{0, 1, 6} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			w.Write(text)
			w.Close()
			z := NewReader(&halting{r: &b})
			got := make([]byte, 0, len(text)+1)
			for {
				n, err := z.Read(got[len(got):cap(got)])
				got = got[:len(got)+n]
				if err == io.EOF {
					break
				}
				if err != nil && err != errBlocked {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, text) {
				t.Errorf("%s at level %d: %d octets of %d", name, level, len(got), len(text))
			}
		}
	}
}

// TestFlushes: what zlib has flushed is there without waiting for more, whichever way it
// was flushed. The vectors are zlib's, through Python's zlib.compressobj(level, 8, -15),
// for "a NOOP\r\n" and, with the same object, "b NOOP\r\n".
func TestFlushes(t *testing.T) {
	for name, parts := range map[string][]string{
		"sync":    {"4a54f0f3f70fe0e502000000ffff", "4a82d200000000ffff"},
		"partial": {"4a54f0f3f70fe0e50208", "a024280d10"},
		"full":    {"4a54f0f3f70fe0e502000000ffff", "4a52f0f3f70fe0e502000000ffff"},
		"stored":  {"000800f7ff61204e4f4f500d0a000000ffff", "000800f7ff62204e4f4f500d0a000000ffff"},
	} {
		t.Run(name, func(t *testing.T) {
			src := &pieces{}
			z := NewReader(src)
			for i, want := range []string{"a NOOP\r\n", "b NOOP\r\n"} {
				raw, _ := hex.DecodeString(parts[i])
				src.left = append(src.left, raw)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(z, got); err != nil || string(got) != want {
					t.Fatalf("part %d: %q, %v", i, got, err)
				}
			}
		})
	}
}

func TestEnd(t *testing.T) {
	const text, after = "a UNAUTHENTICATE\r\n", "b LOGIN alice secret\r\n"
	for name, finish := range map[string]func(*flate.Writer) error{"flushed": (*flate.Writer).Flush, "finished": (*flate.Writer).Close} {
		for level := -2; level <= 9; level++ {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			io.WriteString(w, text)
			finish(w)
			b.WriteString(after)
			for _, raw := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.OneByteReader(bytes.NewReader(b.Bytes()))} {
				z := NewReader(raw)
				got := make([]byte, len(text))
				if _, err := io.ReadFull(z, got); err != nil || string(got) != text {
					t.Fatalf("%q, %v", got, err)
				}
				z.End()
				rest, err := io.ReadAll(z)
				if err != nil || string(rest) != after {
					t.Errorf("%s at level %d: %q follows, %v", name, level, rest, err)
				}
			}
		}
	}
	// A stored block that zlib has flushed needs no further one.
	z := NewReader(strings.NewReader("\x00\x03\x00\xfc\xffa\r\nb"))
	io.ReadFull(z, make([]byte, 3))
	z.End()
	if rest, err := io.ReadAll(z); string(rest) != "b" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	// After what follows another stream may begin.
	var again bytes.Buffer
	second := NewWriter(&again)
	io.WriteString(second, text)
	first := again.String()
	login := strings.Repeat("b", 5000)
	z = NewReader(strings.NewReader(first + login + first))
	io.ReadFull(z, make([]byte, len(text)))
	z.End()
	for n := len(login); n > 0; {
		k, err := z.Read(make([]byte, n))
		if n -= k; err != nil {
			t.Fatal(err)
		}
	}
	z.Begin(nil)
	if rest, err := io.ReadAll(z); string(rest) != text || err != io.ErrUnexpectedEOF && err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	// What is compressed still is not taken for what follows.
	var b bytes.Buffer
	w := NewWriter(&b)
	io.WriteString(w, text+after)
	z = NewReader(&b)
	io.ReadFull(z, make([]byte, len(text)))
	z.End()
	if rest, err := io.ReadAll(z); !errors.Is(err, ErrCorrupt) || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestBomb(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	zeros := make([]byte, 1<<20)
	for range 100 {
		w.Write(zeros)
	}
	w.Close()
	z := NewReader(bytes.NewReader(b.Bytes()))
	n, err := io.Copy(io.Discard, z)
	if !errors.Is(err, ErrRatio) || n < freeOut {
		t.Errorf("%d octets, %v", n, err)
	}
	if cap(z.hist) > maxHist {
		t.Errorf("a window of %d", cap(z.hist))
	}
	if _, err := z.Read(make([]byte, 1)); !errors.Is(err, ErrRatio) {
		t.Errorf("then %v", err)
	}
}

func TestBadInput(t *testing.T) {
	for _, raw := range []string{"\x07", "\x01\x01\x00\x00\x00", "\x05\x00\xff\xff\xff\xff", "\x03\xff\xff\xff", "\x4b\x04\x13\x00"} {
		if _, err := io.ReadAll(NewReader(strings.NewReader(raw))); !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%x: %v", raw, err)
		}
	}
	if _, err := io.ReadAll(NewReader(strings.NewReader("\x4a\x54"))); err != io.ErrUnexpectedEOF {
		t.Errorf("a stream that is cut: %v", err)
	}
}

// TestIdleReader: a connection that has sent commands and waits holds little.
func TestIdleReader(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for i := range 5 {
		fmt.Fprintf(w, "a%d UID FETCH 1:* (FLAGS)\r\n", i)
	}
	src := &pieces{left: [][]byte{b.Bytes()}}
	z := NewReader(src)
	if _, err := io.ReadAll(z); err != errBlocked {
		t.Fatal(err)
	}
	if z.in != nil || z.literals != nil || cap(z.hist) > 512 {
		t.Errorf("input %d, tables %v, window %d", cap(z.in), z.literals != nil, cap(z.hist))
	}
}

func FuzzReader(f *testing.F) {
	for _, text := range texts() {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 6)
		w.Write(text[:min(len(text), 2000)])
		w.Close()
		f.Add(b.Bytes(), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8) {
		if len(raw) > 20_000 {
			return
		}
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), freeOut))
		z := NewReader(&chunked{raw, int(step)%7 + 1})
		got, err := io.ReadAll(io.LimitReader(z, freeOut))
		if err == nil && wantErr == io.ErrUnexpectedEOF {
			wantErr = nil // a connection may end after a flush
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, the Go library says %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d octets, the Go library makes %d others", len(got), len(want))
		}
		if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
			t.Fatal("other octets before an error")
		}
	})
}

type chunked struct {
	p    []byte
	step int
}

func (c *chunked) Read(b []byte) (int, error) {
	if len(c.p) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.step)], c.p)
	c.p = c.p[n:]
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	for name, text := range texts() {
		b.Run(name, func(b *testing.B) {
			var c bytes.Buffer
			NewWriter(&c).Write(text)
			b.SetBytes(int64(len(text)))
			for range b.N {
				io.Copy(io.Discard, io.LimitReader(NewReader(bytes.NewReader(c.Bytes())), int64(len(text))))
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	text := texts()["lines"]
	for _, n := range []int{40, 32 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			w := NewWriter(io.Discard)
			for range b.N {
				w.Write(text[:n])
			}
		})
	}
}
