package compress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"testing"
)

func lz4File(max uint32, blocks ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(lz4Magic), max)
	for _, block := range blocks {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
	}
	return b
}

func literals(text string) []byte {
	b := make([]byte, len(text)+16)
	return b[:literalBlock(b, []byte(text))]
}

func TestLZ4Reader(t *testing.T) {
	mega := bytes.Repeat([]byte("x"), 1<<20)
	for _, tt := range []struct {
		name string
		in   []byte
		want string
		err  error
	}{
		{"empty text", lz4File(65536), "", nil},
		{"one block", lz4File(65536, literals("hello")), "hello", nil},
		{"blocks of different sizes", lz4File(65536, literals("a"), literals("bc"), literals("def")), "abcdef", nil},
		{"block of the largest size", lz4File(5, literals("hello")), "hello", nil},
		{"block above the header's size", lz4File(4, literals("hello")), "", ErrCorrupt},
		{"largest chunk that is allowed", lz4File(1<<20, encodeBlock(mega)), string(mega), nil},
		{"chunk size 0", lz4File(0, literals("x")), "", ErrCorrupt},
		{"chunk size above 1 MiB", lz4File(1<<20+1, literals("x")), "", ErrCorrupt},
		{"length 0", lz4File(65536, nil), "", ErrCorrupt},
		{"empty block", lz4File(65536, []byte{0}), "", ErrCorrupt},
		{"text, then an empty block", lz4File(65536, literals("text"), []byte{0}), "text", ErrCorrupt},
		{"length above 1 MiB", append(lz4File(65536), 0, 0x10, 0, 1, 'x'), "", ErrCorrupt},
		{"length of which nothing is there", append(lz4File(65536), 0, 0x10, 0, 0), "", io.ErrUnexpectedEOF},
		{"end within a length", append(lz4File(65536, literals("text")), 0, 0, 0), "text", io.ErrUnexpectedEOF},
		{"end within a block", append(lz4File(65536, literals("text")), 0, 0, 0, 9, 1), "text", io.ErrUnexpectedEOF},
		{"no block at all", append(lz4File(65536), 0, 0, 0, 3, 0xff, 0xff, 0xff), "", ErrCorrupt},
		{"match before the beginning", append(lz4File(65536), 0, 0, 0, 4, 0x10, 'x', 9, 0), "", ErrCorrupt},
		{"other magic", append([]byte("Dovecot-LZ5"), lz4File(65536)[11:]...), "", ErrCorrupt},
		{"magic alone", []byte(lz4Magic), "", io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(LZ4, tt.in, testLimit)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %d bytes, %v; want %d, %v", len(got), err, len(tt.want), tt.err)
			}
		})
	}
}

func encodeBlock(text []byte) []byte {
	// One literal, a match of the rest at distance 1, five literals at the end.
	n := len(text) - 6 - 4
	b := []byte{0x1f, text[0], 1, 0}
	for n -= 15; n >= 255; n -= 255 {
		b = append(b, 255)
	}
	return append(append(b, byte(n), 0x50), text[len(text)-5:]...)
}

// TestLZ4Header compares with the bytes of an empty text that Dovecot wrote.
func TestLZ4Header(t *testing.T) {
	want, _ := hex.DecodeString("446f7665636f742d4c5a340d2a9bc500010000")
	if got := encode(t, LZ4, Default, nil); !bytes.Equal(got, want) {
		t.Errorf("empty text is % x, want % x", got, want)
	}
}

// TestLZ4Chunks checks what readers that are as strict as Dovecot need of us.
func TestLZ4Chunks(t *testing.T) {
	for _, text := range [][]byte{random(3 * lz4ChunkLen), bytes.Repeat([]byte("text\n"), 50_000), []byte("x")} {
		b := encode(t, LZ4, Default, text)[len(lz4Magic)+4:]
		left := len(text)
		for len(b) > 0 {
			n := int(binary.BigEndian.Uint32(b))
			if n == 0 || n > lz4MaxLen {
				t.Fatalf("block of %d bytes", n)
			}
			got, err := decode(LZ4, lz4File(lz4ChunkLen, b[4:4+n]), testLimit)
			if want := min(left, lz4ChunkLen); err != nil || len(got) != want {
				t.Fatalf("block decodes to %d bytes, %v; want %d", len(got), err, want)
			}
			left -= len(got)
			b = b[4+n:]
		}
		if left != 0 {
			t.Errorf("%d bytes are missing", left)
		}
	}
}

func TestLZ4HeaderClaimsCostNothing(t *testing.T) {
	in := append(lz4File(1<<20), 0, 0x10, 0, 0, 'x')
	n := testing.AllocsPerRun(10, func() {
		z := &lz4Reader{r: bytes.NewReader(in)}
		if _, err := z.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if cap(z.in) > 4*lz4ChunkLen || cap(z.out) > lz4ChunkLen {
			t.Errorf("buffers of %d and %d bytes for a file of %d", cap(z.in), cap(z.out), len(in))
		}
	})
	if n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzLZ4(f *testing.F) {
	f.Add(readFile(f, "testdata/small.lz4"))
	f.Add(readFile(f, "testdata/large.lz4"))
	f.Add([]byte("text that is compressed first"))
	f.Add(lz4File(65536, literals("a"), literals("bc")))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := decode(LZ4, in, 4<<20)
		typed(t, err)
		if back := roundTrip(t, LZ4, Default, in); !bytes.Equal(back, in) {
			t.Fatal("what was written is not what is read")
		}
		if err == nil && len(in) >= 19 {
			if back := roundTrip(t, LZ4, Default, got); !bytes.Equal(back, got) {
				t.Fatal("what was read is not what is read again")
			}
		}
	})
}
