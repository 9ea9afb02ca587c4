package gcmstream

import (
	"bytes"
	"errors"
	"testing"
)

func TestInverse(t *testing.T) {
	one := element{hi: 1 << 63}
	for i := range 50 {
		e := loadElement(fill(uint64(i), 16))
		if e.mul(one) != e {
			t.Fatal("one is not one")
		}
		if got := e.mul(e.inverse()); got != one {
			t.Errorf("e/e = %x", got)
		}
		if e.pow(5) != e.mul(e).mul(e).mul(e).mul(e) || e.pow(0) != one || e.pow(1) != e {
			t.Error("powers are wrong")
		}
	}
}

// TestPieces verifies and opens messages of many sizes in pieces, in any order.
func TestPieces(t *testing.T) {
	for _, keyLen := range []int{16, 24, 32} {
		key, nonce, aad := fill(1, keyLen), fill(2, NonceSize), fill(3, 16)
		eachWay(t, key, nonce, func(t *testing.T, g *GCM) { testPieces(t, g, key, nonce, aad) })
	}
}

func testPieces(t *testing.T, g *GCM, key, nonce, aad []byte) {
	for _, size := range []int{0, 1, 15, 16, 17, 31, 32, 100, 1000, 4096, 65536, 200_001} {
		for _, piece := range []int{16, 32, 48, 4096, 65536} {
			if size/piece > 200 {
				continue
			}
			p, err := g.Pieces(piece)
			if err != nil {
				t.Fatal(err)
			}
			text := fill(uint64(size), size)
			ciphertext, tag := reference(t, key, nonce, text, aad)
			v := g.NewVerifier(aad)
			var marks []Mark
			for at := 0; at < size; at += piece {
				b := ciphertext[at:min(at+piece, size)]
				marks = append(marks, p.Mark(b))
				if err := v.Add(marks[len(marks)-1], len(b)); err != nil {
					t.Fatal(err)
				}
			}
			if !v.Verify(tag) {
				t.Fatalf("%d octets in pieces of %d: the right tag is refused", size, piece)
			}
			for i := len(marks) - 1; i >= 0; i-- {
				at := i * piece
				want := text[at:min(at+piece, size)]
				b := append(bytes.Clone(ciphertext[at:at+len(want)]), fill(9, TagSize)...)
				if err := p.Open(b, int64(at), marks[i]); err != nil || !bytes.Equal(b[:len(want)], want) {
					t.Fatalf("%d octets, piece %d of %d: %v", size, i, piece, err)
				}
				b = bytes.Clone(ciphertext[at : at+len(want)])
				if m, err := p.Decrypt(b, int64(at)); err != nil || m != marks[i] || !bytes.Equal(b, want) {
					t.Fatalf("%d octets, piece %d of %d decrypted at once: %v", size, i, piece, err)
				}
			}
		}
	}
}

func TestPiecesRefuse(t *testing.T) {
	key, nonce := fill(1, 32), fill(2, NonceSize)
	ciphertext, _ := reference(t, key, nonce, fill(4, 333), nil)
	eachWay(t, key, nonce, func(t *testing.T, g *GCM) { testPiecesRefuse(t, g, ciphertext) })
}

func testPiecesRefuse(t *testing.T, g *GCM, ciphertext []byte) {
	p, err := g.Pieces(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	m := p.Mark(ciphertext)
	room := make([]byte, TagSize)
	for i := range ciphertext {
		bad := append(bytes.Clone(ciphertext), room...)
		bad[i] ^= 1
		if err := p.Open(bad, 0, m); !errors.Is(err, ErrPiece) || !bytes.Equal(bad, make([]byte, len(bad))) {
			t.Fatalf("bit at %d: %v", i, err)
		}
	}
	if err := p.Open(append(bytes.Clone(ciphertext[:332]), room...), 0, m); !errors.Is(err, ErrPiece) {
		t.Errorf("a shorter piece: %v", err)
	}
	if err := p.Open(append(bytes.Clone(ciphertext), room...), 0, p.Mark(ciphertext[:332])); !errors.Is(err, ErrPiece) {
		t.Errorf("another mark: %v", err)
	}
	for _, off := range []int64{-16, 1, MaxSize, 1 << 62} {
		if err := p.Open(append(bytes.Clone(ciphertext), room...), off, m); !errors.Is(err, ErrTooLong) {
			t.Errorf("at %d: %v", off, err)
		}
		if _, err := p.Decrypt(bytes.Clone(ciphertext), off); !errors.Is(err, ErrTooLong) {
			t.Errorf("decrypting at %d: %v", off, err)
		}
	}
	v := g.NewVerifier(nil)
	v.text = MaxSize
	if err := v.Add(m, 1); !errors.Is(err, ErrTooLong) {
		t.Errorf("Add past the limit: %v", err)
	}
}

// TestPiecesFar opens a piece where the counter needs all its octets.
func TestPiecesFar(t *testing.T) {
	eachWay(t, fill(1, 32), fill(2, NonceSize), testPiecesFar)
}

func testPiecesFar(t *testing.T, g *GCM) {
	p, err := g.Pieces(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{255 * 16, 256 * 16, 1 << 24, 1 << 32, MaxSize - 4096 - MaxSize%16} {
		text := fill(uint64(off), 4000)
		b := append(bytes.Clone(text), make([]byte, TagSize)...)
		standard, err := newStandard(fill(1, 32), fill(2, NonceSize))
		if err != nil {
			t.Fatal(err)
		}
		if err := standard.XORKeyStreamAt(b[:4000], off); err != nil {
			t.Fatal(err)
		}
		if err := p.Open(b, off, p.Mark(b[:4000])); err != nil || !bytes.Equal(b[:4000], text) {
			t.Errorf("at %d: %v", off, err)
		}
	}
}

func BenchmarkPieces(b *testing.B) {
	g, err := New(make([]byte, 32), make([]byte, 12))
	if err != nil {
		b.Fatal(err)
	}
	p, err := g.Pieces(64 << 10)
	if err != nil {
		b.Fatal(err)
	}
	sealed := make([]byte, 64<<10)
	_ = g.XORKeyStreamAt(sealed, 0)
	m := p.Mark(sealed)
	b.Run("mark/64KiB", func(b *testing.B) {
		b.SetBytes(64 << 10)
		for b.Loop() {
			p.Mark(sealed)
		}
	})
	b.Run("open/64KiB", func(b *testing.B) {
		b.SetBytes(64 << 10)
		buf := make([]byte, 64<<10+TagSize)
		for b.Loop() {
			copy(buf, sealed)
			if p.Open(buf, 0, m) != nil {
				b.Fatal("piece does not open")
			}
		}
	})
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			_, _ = g.Pieces(64 << 10)
		}
	})
}
