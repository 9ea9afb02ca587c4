package gcmstream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// reference seals with the standard library.
func reference(t testing.TB, key, nonce, text, aad []byte) (ciphertext, tag []byte) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	sealed := aead.Seal(nil, nonce, text, aad)
	return sealed[:len(text)], sealed[len(text):]
}

// makers are New's two ways; the second is the same where there is no other.
var makers = []func(key, nonce []byte) (*GCM, error){newStandard, New}

// eachWay runs a test with the standard library and with gcmwide.
func eachWay(t *testing.T, key, nonce []byte, test func(t *testing.T, g *GCM)) {
	for i, name := range []string{"standard", "best"} {
		t.Run(name, func(t *testing.T) {
			g, err := makers[i](key, nonce)
			if err != nil {
				t.Fatal(err)
			}
			test(t, g)
		})
	}
}

// checkMessage seals and verifies text in pieces that end at cuts.
func checkMessage(t testing.TB, key, nonce, text, aad []byte, cuts []int) {
	t.Helper()
	for _, make := range makers {
		g, err := make(key, nonce)
		if err != nil {
			t.Fatal(err)
		}
		checkWay(t, g, key, nonce, text, aad, cuts)
	}
}

func checkWay(t testing.TB, g *GCM, key, nonce, text, aad []byte, cuts []int) {
	t.Helper()
	want, tag := reference(t, key, nonce, text, aad)
	sealer, verifier := g.NewSealer(aad), g.NewVerifier(aad)
	got := bytes.Clone(text)
	from := 0
	for _, to := range append(cuts, len(text)) {
		if err := sealer.Seal(got[from:to]); err != nil {
			t.Fatal(err)
		}
		if err := verifier.Update(got[from:to]); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d octets, %d of AAD, cuts %v: ciphertext differs", len(text), len(aad), cuts)
	}
	if sum := sealer.Sum(); !bytes.Equal(sum[:], tag) {
		t.Fatalf("%d octets, %d of AAD, cuts %v: tag %x, want %x", len(text), len(aad), cuts, sum, tag)
	}
	if !verifier.Verify(tag) {
		t.Fatalf("%d octets, %d of AAD, cuts %v: the right tag is refused", len(text), len(aad), cuts)
	}
}

func fill(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 7})
	r.Read(b)
	return b
}

func TestAllSmallSizes(t *testing.T) {
	for _, keyLen := range []int{16, 24, 32} {
		key, nonce := fill(1, keyLen), fill(2, NonceSize)
		for _, aadLen := range []int{0, 1, 15, 16, 17, 32, 40} {
			for n := range 100 {
				text := fill(uint64(n), n)
				checkMessage(t, key, nonce, text, fill(3, aadLen), nil)
				if n > 0 { // in steps of one octet
					steps := make([]int, 0, n)
					for i := 1; i < n; i++ {
						steps = append(steps, i)
					}
					checkMessage(t, key, nonce, text, fill(3, aadLen), steps)
				}
			}
		}
	}
}

func TestRandomCuts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		key := fill(rapid.Uint64().Draw(rt, "key"), rapid.SampledFrom([]int{16, 24, 32}).Draw(rt, "key length"))
		nonce := fill(rapid.Uint64().Draw(rt, "nonce"), NonceSize)
		aad := fill(4, rapid.IntRange(0, 70).Draw(rt, "aad"))
		text := fill(5, rapid.IntRange(0, 300_000).Draw(rt, "size"))
		var cuts []int
		for at := 0; ; {
			at += rapid.SampledFrom([]int{0, 1, 15, 16, 17, 31, 32, 33, 48, 1000, 4096, 65536, 65537}).Draw(rt, "step")
			if at > len(text) || len(cuts) > 40 {
				break
			}
			cuts = append(cuts, at)
		}
		checkMessage(t, key, nonce, text, aad, cuts)
	})
}

func TestXORKeyStreamAt(t *testing.T) {
	key, nonce, text := fill(1, 32), fill(2, NonceSize), fill(3, 5000)
	ciphertext, _ := reference(t, key, nonce, text, nil)
	eachWay(t, key, nonce, func(t *testing.T, g *GCM) { testXORKeyStreamAt(t, g, text, ciphertext) })
}

func testXORKeyStreamAt(t *testing.T, g *GCM, text, ciphertext []byte) {
	for off := 0; off < 200; off++ {
		for _, n := range []int{0, 1, 15, 16, 17, 100, 4000} {
			b := bytes.Clone(ciphertext[off : off+n])
			if err := g.XORKeyStreamAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, text[off:off+n]) {
				t.Fatalf("%d octets at %d differ", n, off)
			}
		}
	}
	for _, off := range []int64{-1, MaxSize, 1 << 62} {
		if err := g.XORKeyStreamAt(make([]byte, 1), off); !errors.Is(err, ErrTooLong) {
			t.Errorf("at %d: %v, want ErrTooLong", off, err)
		}
	}
	if err := g.XORKeyStreamAt(make([]byte, 1), MaxSize-1); err != nil {
		t.Errorf("last octet: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	key, nonce, aad, text := fill(1, 32), fill(2, NonceSize), fill(3, 16), fill(4, 333)
	ciphertext, tag := reference(t, key, nonce, text, aad)
	eachWay(t, key, nonce, func(t *testing.T, g *GCM) { testVerifyRefuses(t, g, ciphertext, tag, aad) })
}

func testVerifyRefuses(t *testing.T, g *GCM, ciphertext, tag, aad []byte) {
	verify := func(aad, ciphertext, tag []byte) bool {
		v := g.NewVerifier(aad)
		before := bytes.Clone(ciphertext)
		if err := v.Update(ciphertext); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, ciphertext) {
			t.Fatal("Update did not restore its argument")
		}
		return v.Verify(tag)
	}
	if !verify(aad, ciphertext, tag) {
		t.Fatal("intact message refused")
	}
	for i := range ciphertext {
		bad := bytes.Clone(ciphertext)
		bad[i] ^= 1
		if verify(aad, bad, tag) {
			t.Fatalf("flipped bit at %d accepted", i)
		}
	}
	for i := range tag {
		bad := bytes.Clone(tag)
		bad[i] ^= 0x80
		if verify(aad, ciphertext, bad) || verify(aad, ciphertext, tag[:i]) {
			t.Fatalf("tag changed or cut at %d accepted", i)
		}
	}
	if verify(aad[:15], ciphertext, tag) || verify(nil, ciphertext, tag) || verify(aad, ciphertext[:332], tag) {
		t.Fatal("other AAD or a shorter message accepted")
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(make([]byte, 32), make([]byte, 16)); err == nil {
		t.Error("a nonce of 16 octets was accepted")
	}
	if _, err := New(make([]byte, 31), make([]byte, 12)); err == nil {
		t.Error("a key of 31 octets was accepted")
	}
}

func TestTooLong(t *testing.T) {
	eachWay(t, make([]byte, 32), make([]byte, 12), testTooLong)
}

func testTooLong(t *testing.T, g *GCM) {
	s := g.NewSealer(nil)
	s.verify.text = MaxSize - 1
	if err := s.Seal(make([]byte, 2)); !errors.Is(err, ErrTooLong) {
		t.Errorf("Seal past the limit: %v, want ErrTooLong", err)
	}
	if err := s.Seal(make([]byte, 1)); err != nil {
		t.Errorf("Seal up to the limit: %v", err)
	}
}

func FuzzChain(f *testing.F) {
	f.Add([]byte("some text of more than two blocks, I hope so"), []byte("aad"), uint16(17))
	f.Add([]byte{}, []byte("only additional data"), uint16(0))
	f.Fuzz(func(t *testing.T, text, aad []byte, cut uint16) {
		at := int(cut) % (len(text) + 1)
		checkMessage(t, fill(1, 32), fill(2, NonceSize), text, aad, []int{at})
	})
}

func BenchmarkStream(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 16 << 20} {
		text := make([]byte, size)
		g, err := New(make([]byte, 32), make([]byte, 12))
		if err != nil {
			b.Fatal(err)
		}
		piece := min(size, 64<<10)
		b.Run(fmt.Sprintf("seal/%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				s := g.NewSealer(nil)
				for at := 0; at < size; at += piece {
					_ = s.Seal(text[at : at+piece])
				}
				s.Sum()
			}
		})
		b.Run(fmt.Sprintf("verify/%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				v := g.NewVerifier(nil)
				for at := 0; at < size; at += piece {
					_ = v.Update(text[at : at+piece])
				}
				v.Sum()
			}
		})
	}
}
