package compress

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

const testLimit = 16 << 20

var readable = []Method{None, Gzip, Bzip2, LZ4, Zstd, XZ, Deflate}
var writable = []Method{None, Gzip, Bzip2, LZ4, Zstd}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Method
	}{
		{"", None},
		{"\x1f", None},
		{"\x1f\x8b", Gzip},
		{"\x1f\x8b\x00anything", Gzip},
		{"BZh", None},
		{"BZh0", None},
		{"BZh1", Bzip2},
		{"BZh9xyz", Bzip2},
		{"BZh:", None},
		{"\xfd7zXZ", None},
		{"\xfd7zXZ\x00", XZ},
		{"Dovecot-LZ4\r\x2a\x9b", None},
		{"Dovecot-LZ4\r\x2a\x9b\xc5", LZ4},
		{"Dovecot-LZ4\n\x2a\x9b\xc5", None},
		{"\x28\xb5\x2f", None},
		{"\x28\xb5\x2f\xfd", Zstd},
		{"From: a@b\n", None},
	} {
		if got := Detect([]byte(tt.in)); got != tt.want {
			t.Errorf("Detect(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseMethod(t *testing.T) {
	for _, name := range []string{"", "gz", "bz2", "lz4", "zstd"} {
		if m, err := ParseMethod(name); string(m) != name || err != nil {
			t.Errorf("ParseMethod(%q) = %q, %v", name, m, err)
		}
	}
	for _, name := range []string{"xz", "deflate", "GZ", "gzip", "snappy"} {
		if m, err := ParseMethod(name); m != None || !errors.Is(err, ErrMethod) {
			t.Errorf("ParseMethod(%q) = %q, %v; want an error wrapping ErrMethod", name, m, err)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		m   Method
		n   int
		err error
	}{
		{Gzip, -2, ErrLevel}, {Gzip, -1, nil}, {Gzip, 0, nil}, {Gzip, 9, nil}, {Gzip, 10, ErrLevel},
		{Bzip2, 0, ErrLevel}, {Bzip2, 1, nil}, {Bzip2, 9, nil}, {Bzip2, 10, ErrLevel},
		{LZ4, 0, ErrLevel}, {LZ4, 1, nil}, {LZ4, 9, nil}, {LZ4, 10, ErrLevel},
		{Zstd, -131073, ErrLevel}, {Zstd, -131072, nil}, {Zstd, -5, nil}, {Zstd, 0, nil}, {Zstd, 22, nil}, {Zstd, 23, ErrLevel},
		{None, 1, ErrMethod}, {XZ, 1, ErrMethod},
	} {
		l, err := NewLevel(tt.m, tt.n)
		if !errors.Is(err, tt.err) {
			t.Errorf("NewLevel(%q, %d): %v, want %v", tt.m, tt.n, err, tt.err)
		}
		if err != nil {
			continue
		}
		if got := roundTrip(t, tt.m, l, []byte("a message\n")); string(got) != "a message\n" {
			t.Errorf("%s level %d: read back %q", tt.m, tt.n, got)
		}
	}
	if l, _ := NewLevel(Gzip, -1); l != Default || l.String() != "default" {
		t.Errorf("gz -1 is %v, want the default", l)
	}
	twelve, _ := NewLevel(Zstd, 12)
	if _, err := NewWriter(io.Discard, Bzip2, twelve); !errors.Is(err, ErrLevel) {
		t.Errorf("bz2 at zstd's level 12: %v, want %v", err, ErrLevel)
	}
}

func TestMethodsThatCannotBeUsed(t *testing.T) {
	for _, m := range []Method{XZ, Deflate, "snappy"} {
		if _, err := NewWriter(io.Discard, m, Default); !errors.Is(err, ErrMethod) {
			t.Errorf("NewWriter(%q): %v, want %v", m, err, ErrMethod)
		}
	}
	if _, err := NewReader(strings.NewReader(""), "snappy", 1); !errors.Is(err, ErrMethod) {
		t.Errorf("NewReader(snappy): %v, want %v", err, ErrMethod)
	}
}

// TestDovecotsFiles reads what Dovecot wrote.
func TestDovecotsFiles(t *testing.T) {
	small := readFile(t, "testdata/small.eml")
	want := map[string][32]byte{"small": sha256.Sum256(small)}
	sum, _ := hex.DecodeString("7c5c8e740e9938cb37f39d2280b80e443bc59df7d7a86982970270bf782062d9")
	want["large"] = [32]byte(sum)
	files := vectors(t)
	for _, f := range files {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		size := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		in := readFile(t, f)
		if got := Detect(in); got != m && m != Deflate {
			t.Errorf("%s: detected as %q", f, got)
		}
		got, err := decode(m, in, testLimit)
		if err != nil || sha256.Sum256(got) != want[size] {
			t.Errorf("%s: %d bytes, %v; want those that were saved", f, len(got), err)
		}
		z, _ := NewReader(bytes.NewReader(in), m, testLimit)
		if err := iotest.TestReader(z, got); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if v, w := z.Verified(), m == Gzip || m == Bzip2 || m == XZ; v != w {
			t.Errorf("%s: Verified = %v, want %v", f, v, w)
		}
		slow, err := io.ReadAll(mustReader(t, iotest.OneByteReader(bytes.NewReader(in)), m, testLimit))
		if err != nil || !bytes.Equal(slow, got) {
			t.Errorf("%s, read byte by byte: %d bytes, %v", f, len(slow), err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	texts := map[string][]byte{
		"empty":      {},
		"one byte":   {'x'},
		"14 bytes":   []byte("0123456789abcd"),
		"15 bytes":   []byte("0123456789abcde"),
		"270 random": random(270),
		"chunk-1":    random(lz4ChunkLen - 1),
		"chunk":      random(lz4ChunkLen),
		"chunk+1":    random(lz4ChunkLen + 1),
		"text":       bytes.Repeat([]byte("a line of text\n"), 20_000),
		"base64":     []byte(base64.StdEncoding.EncodeToString(random(200_000))),
	}
	for _, m := range writable {
		for name, text := range texts {
			for _, step := range []int{1 << 20, lz4ChunkLen, 4097, 7} {
				if step == 7 && len(text) > 1000 {
					continue
				}
				var out bytes.Buffer
				w, err := NewWriter(&out, m, Default)
				if err != nil {
					t.Fatal(err)
				}
				for rest := text; len(rest) > 0; {
					n := min(step, len(rest))
					if k, err := w.Write(rest[:n]); k != n || err != nil {
						t.Fatalf("%s, %s: Write = %d, %v", m, name, k, err)
					}
					rest = rest[n:]
				}
				if err := w.Close(); err != nil {
					t.Fatalf("%s, %s: Close: %v", m, name, err)
				}
				if got := Detect(out.Bytes()); got != m && m != None {
					t.Errorf("%s, %s: written text is detected as %q", m, name, got)
				}
				got, err := decode(m, out.Bytes(), int64(len(text)))
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s, %s in steps of %d: read back %d of %d bytes, %v", m, name, step, len(got), len(text), err)
				}
			}
		}
	}
}

// TestBase64Shrinks keeps encoders out that store what most of a mail store is.
func TestBase64Shrinks(t *testing.T) {
	text := []byte(base64.StdEncoding.EncodeToString(random(300_000)))
	for _, m := range []Method{Gzip, Bzip2, Zstd} {
		levels := []Level{Default}
		for n := 1; n <= 9; n++ {
			l, err := NewLevel(m, n)
			if err != nil {
				t.Fatal(err)
			}
			levels = append(levels, l)
		}
		for _, l := range levels {
			if ratio := float64(len(text)) / float64(len(encode(t, m, l, text))); ratio < 1.27 {
				t.Errorf("%s level %s: ratio %.2f, want at least 1.27", m, l, ratio)
			}
		}
	}
}

func TestWriterStaysOutOfTheLayerBelow(t *testing.T) {
	for _, m := range writable {
		var below closer
		w, err := NewWriter(&below, m, Default)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "text")
		if err := w.Close(); err != nil || below.closed {
			t.Errorf("%s: Close = %v, closed the writer below: %v", m, err, below.closed)
		}
		if m == None {
			continue
		}
		n := below.Len()
		if err := w.Close(); err != nil || below.Len() != n {
			t.Errorf("%s: second Close = %v and wrote %d bytes", m, err, below.Len()-n)
		}
		if _, err := w.Write([]byte("x")); err == nil {
			t.Errorf("%s: Write after Close did not fail", m)
		}
	}
}

type closer struct {
	bytes.Buffer
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestWriteError(t *testing.T) {
	full := errors.New("disk full")
	for _, m := range writable {
		for room := 0; room < 60; room += 20 {
			w, err := NewWriter(&fullDisk{room, full}, m, Default)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write(random(300_000))
			err = errors.Join(err, w.Close())
			if !errors.Is(err, full) {
				t.Errorf("%s with room for %d bytes: %v, want %v", m, room, err, full)
			}
		}
		// An encoder that failed goes back to the pool and must work again.
		if got := roundTrip(t, m, Default, []byte("next")); string(got) != "next" {
			t.Errorf("%s after an error: %q", m, got)
		}
	}
}

type fullDisk struct {
	room int
	err  error
}

func (f *fullDisk) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return f.room, f.err
	}
	f.room -= len(p)
	return len(p), nil
}

func TestTruncated(t *testing.T) {
	for _, f := range vectors(t) {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		in := readFile(t, f)
		if len(in) > 2000 {
			continue
		}
		whole, _ := decode(m, in, testLimit)
		for n := range len(in) {
			got, err := decode(m, in[:n], testLimit)
			if m == LZ4 && n == 19 {
				if err != nil || len(got) != 0 {
					t.Errorf("%s cut after its header: %d bytes, %v; want an empty text", f, len(got), err)
				}
				continue
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s cut to %d bytes: %v, want %v", f, n, err, io.ErrUnexpectedEOF)
			}
			if !bytes.HasPrefix(whole, got) {
				t.Errorf("%s cut to %d bytes gave other text", f, n)
			}
		}
	}
}

// TestDamaged flips bits. Where the format has a checksum nothing may get through.
func TestDamaged(t *testing.T) {
	for _, f := range vectors(t) {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		in := readFile(t, f)
		if len(in) > 2000 {
			continue
		}
		whole, _ := decode(m, in, testLimit)
		for i := range in {
			bad := bytes.Clone(in)
			bad[i] ^= 1 << (i % 8)
			got, err := decode(m, bad, testLimit)
			typed(t, err)
			harmless := bytes.Equal(got, whole) // a gz header's time, for example
			if err == nil && !harmless && (m == Gzip || m == Bzip2 || m == XZ) {
				t.Errorf("%s with byte %d changed gave %d bytes of other text", f, i, len(got))
			}
		}
	}
}

// typed fails unless an error of reading is one that a caller can tell.
func typed(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("untyped error: %v", err)
	}
}

func TestGarbageAfterTheEnd(t *testing.T) {
	for _, f := range vectors(t) {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		in := append(readFile(t, f), "garbage that is no stream"...)
		if _, err := decode(m, in, testLimit); err == nil {
			t.Errorf("%s with garbage behind it was read", f)
		} else {
			typed(t, err)
		}
	}
}

func TestSeveralStreams(t *testing.T) {
	small := readFile(t, "testdata/small.eml")
	for _, m := range []Method{Gzip, Bzip2, XZ, Zstd} {
		in := readFile(t, "testdata/small."+string(m))
		got, err := decode(m, append(bytes.Clone(in), in...), testLimit)
		if err != nil || !bytes.Equal(got, append(bytes.Clone(small), small...)) {
			t.Errorf("%s twice: %d bytes, %v", m, len(got), err)
		}
	}
	xz := readFile(t, "testdata/small.xz")
	padded := append(append(bytes.Clone(xz), 0, 0, 0, 0, 0, 0, 0, 0), xz...)
	if got, err := decode(XZ, padded, testLimit); err != nil || len(got) != 2*len(small) {
		t.Errorf("xz with stream padding: %d bytes, %v", len(got), err)
	}
}

func TestLimit(t *testing.T) {
	for _, f := range vectors(t) {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		in := readFile(t, f)
		whole, _ := decode(m, in, testLimit)
		size := int64(len(whole))
		if got, err := decode(m, in, size); err != nil || int64(len(got)) != size {
			t.Errorf("%s, limit = size: %d bytes, %v", f, len(got), err)
		}
		for _, limit := range []int64{0, 1, size / 2, size - 1} {
			got, err := decode(m, in, limit)
			if !errors.Is(err, ErrTooLarge) || int64(len(got)) != limit {
				t.Errorf("%s, limit %d of %d: %d bytes, %v; want %v", f, limit, size, len(got), err, ErrTooLarge)
			}
		}
	}
}

// TestBomb reads a few KiB that stand for much more, with a limit far below.
func TestBomb(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, m := range []Method{Gzip, Bzip2, LZ4, Zstd} {
		bomb := encode(t, m, Default, zeros)
		z := mustReader(t, bytes.NewReader(bomb), m, 1<<20)
		n, err := io.Copy(io.Discard, z)
		if n != 1<<20 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d bytes of %d came out of %d, %v", m, n, len(zeros), len(bomb), err)
		}
		if _, again := z.Read(make([]byte, 1)); !errors.Is(again, ErrTooLarge) {
			t.Errorf("%s: the error went away: %v", m, again)
		}
	}
}

func TestSourceErrorIsPassedOn(t *testing.T) {
	for _, f := range vectors(t) {
		m := Method(strings.TrimPrefix(filepath.Ext(f), "."))
		in := readFile(t, f)
		for _, n := range []int{0, 1, len(in) / 2} {
			r := io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(os.ErrPermission))
			_, err := io.ReadAll(mustReader(t, r, m, testLimit))
			if !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, error after %d bytes: %v, want %v", f, n, err, os.ErrPermission)
			}
		}
	}
}

func TestReadAfterClose(t *testing.T) {
	for _, m := range readable {
		z := mustReader(t, strings.NewReader("x"), m, 1)
		for range 2 {
			if err := z.Close(); err != nil {
				t.Errorf("%q: Close: %v", m, err)
			}
		}
		if _, err := z.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q: Read after Close: %v", m, err)
		}
	}
}

func vectors(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, m := range readable[1:] {
		f, err := filepath.Glob("testdata/*." + string(m))
		if err != nil || len(f) != 2 {
			t.Fatalf("testdata/*.%s: %d files, %v; want 2", m, len(f), err)
		}
		files = append(files, f...)
	}
	return files
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustReader(t testing.TB, r io.Reader, m Method, limit int64) *Reader {
	t.Helper()
	z, err := NewReader(r, m, limit)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func decode(m Method, in []byte, limit int64) ([]byte, error) {
	z, err := NewReader(bytes.NewReader(in), m, limit)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(z)
}

func encode(t testing.TB, m Method, l Level, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, m, l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func roundTrip(t testing.TB, m Method, l Level, text []byte) []byte {
	t.Helper()
	got, err := decode(m, encode(t, m, l, text), testLimit)
	if err != nil {
		t.Fatalf("%s level %s: %v", m, l, err)
	}
	return got
}

// random returns bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func FuzzDetectAndRead(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(readFile(f, v), 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		const limit = 1 << 20
		methods := []Method{Detect(in), Deflate}
		if short := Detect(in[:min(len(in), MaxMagic)]); short != methods[0] {
			t.Fatalf("%d bytes are %q, their first %d %q", len(in), methods[0], MaxMagic, short)
		}
		for _, m := range methods {
			got, err := decode(m, in, limit)
			typed(t, err)
			if len(got) > limit {
				t.Fatalf("%q: %d bytes came out", m, len(got))
			}
			z := mustReader(t, bytes.NewReader(in), m, limit)
			again, err2 := io.ReadAll(&stepReader{z, max(1, step%1000)})
			z.Close()
			if !bytes.Equal(got, again) || (err == nil) != (err2 == nil) {
				t.Fatalf("%q in steps: %d bytes, %v; at once: %d bytes, %v", m, len(again), err2, len(got), err)
			}
		}
	})
}

type stepReader struct {
	r    io.Reader
	step int
}

func (s *stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(s.step, len(p))]) }

func BenchmarkWriter(b *testing.B) {
	benchmark(b, func(b *testing.B, m Method, text []byte) {
		for b.Loop() {
			w, err := NewWriter(io.Discard, m, Default)
			if err != nil {
				b.Fatal(err)
			}
			w.Write(text)
			w.Close()
		}
	})
}

func BenchmarkReader(b *testing.B) {
	benchmark(b, func(b *testing.B, m Method, text []byte) {
		in := encode(b, m, Default, text)
		for b.Loop() {
			z := mustReader(b, bytes.NewReader(in), m, testLimit)
			if n, err := io.Copy(io.Discard, z); err != nil || n != int64(len(text)) {
				b.Fatal(n, err)
			}
			z.Close()
		}
	})
}

func benchmark(b *testing.B, run func(*testing.B, Method, []byte)) {
	text := readFile(b, "testdata/small.eml")
	random := []byte(base64.StdEncoding.EncodeToString(random(48 << 10)))
	for _, m := range writable[1:] {
		for _, size := range []int{3 << 10, 64 << 10, 1 << 20} {
			for name, unit := range map[string][]byte{"text": text, "base64": random} {
				b.Run(fmt.Sprintf("%s/%s/%dKiB", m, name, size>>10), func(b *testing.B) {
					in := bytes.Repeat(unit, size/len(unit)+1)[:size]
					b.SetBytes(int64(size))
					b.ReportAllocs()
					run(b, m, in)
				})
			}
		}
	}
}
