package compress

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func zstdWith(t *testing.T, text []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, o...)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestZstdForeignFrames reads frames as other writers make them.
func TestZstdForeignFrames(t *testing.T) {
	text := random(300_000)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{
		"content size": enc.EncodeAll(text, nil),
		"no checksum":  zstdWith(t, text, zstd.WithEncoderCRC(false)),
		"padding":      zstdWith(t, text, zstd.WithEncoderPadding(4096)),
		"64 MiB":       zstdWith(t, text, zstd.WithWindowSize(64<<20)),
		"128 MiB":      zstdWith(t, text, zstd.WithWindowSize(128<<20)),
	} {
		if got, err := decode(Zstd, in, testLimit); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(text), err)
		}
	}
	big := zstdWith(t, text, zstd.WithWindowSize(256<<20))
	if _, err := decode(Zstd, big, testLimit); !errors.Is(err, ErrTooLarge) {
		t.Errorf("window of 256 MiB: %v, want %v", err, ErrTooLarge)
	}
}

// TestZstdEmpty has an empty text make a frame, not an empty file: Dovecot does.
func TestZstdEmpty(t *testing.T) {
	if in := encode(t, Zstd, Default, nil); Detect(in) != Zstd {
		t.Errorf("empty text is % x", in)
	}
}

// TestZstdWindow keeps the memory that readers of our mail need at what Dovecot's
// default level asks for.
func TestZstdWindow(t *testing.T) {
	for _, n := range []int{-5, 1, 3, 9, 22} {
		l, err := NewLevel(Zstd, n)
		if err != nil {
			t.Fatal(err)
		}
		var h zstd.Header
		if err := h.Decode(encode(t, Zstd, l, random(100_000))); err != nil {
			t.Fatal(err)
		}
		if !h.SingleSegment && h.WindowSize > zstdWindow {
			t.Errorf("level %d: window of %d bytes, want at most %d", n, h.WindowSize, zstdWindow)
		}
	}
}
