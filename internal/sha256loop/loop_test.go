package sha256loop

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

// check compares with the standard library.
func check(t *testing.T, password, salt []byte, rounds, size int) {
	t.Helper()
	want, err := pbkdf2.Key(sha256.New, string(password), salt, rounds, size)
	if err != nil {
		t.Fatal(err)
	}
	if got := PBKDF2(password, salt, rounds, size); !bytes.Equal(got, want) {
		t.Errorf("PBKDF2(%d octets, salt %d, %d rounds, %d) = %x, want %x", len(password), len(salt), rounds, size, got, want)
	}
	if got := Generic(sha256.New, password, salt, rounds, size); !bytes.Equal(got, want) {
		t.Errorf("Generic(%d octets, salt %d, %d rounds, %d) = %x, want %x", len(password), len(salt), rounds, size, got, want)
	}
}

func fill(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 3}).Read(b)
	return b
}

func TestPBKDF2(t *testing.T) {
	for _, password := range []int{0, 1, 32, 63, 64, 65, 66, 200} {
		for _, size := range []int{1, 31, 32, 33, 48, 64, 65, 96, 97, 130} {
			for _, rounds := range []int{1, 2, 3, 17} {
				check(t, fill(1, password), fill(2, 133), rounds, size)
			}
		}
	}
	for _, rounds := range []int{maxRun, maxRun + 1, maxRun + 2, 2048, 2*maxRun + 1} {
		check(t, fill(3, 66), fill(4, 8), rounds, 48)
	}
}

func TestChain(t *testing.T) {
	for _, n := range []uint32{0, 1, 2, 255, 256, 257, maxRun - 1, maxRun, maxRun + 1, 2048} {
		got := [sha256.Size]byte(fill(uint64(n), sha256.Size))
		want := got
		Chain(&got, n)
		chainGeneric(&want, 1, n)
		if got != want {
			t.Errorf("Chain of %d = %x, want %x", n, got, want)
		}
	}
}

// TestChainCounts goes where the numbers need all their octets.
func TestChainCounts(t *testing.T) {
	if !accelerated {
		t.Log("this processor has no SHA extensions: there is one way only")
		return
	}
	sum := [sha256.Size]byte(fill(5, sha256.Size))
	state := words(sum[:])
	chain(&state, 0xfffffff0, 16)
	chainGeneric(&sum, 0xfffffff0, 16)
	if state != words(sum[:]) {
		t.Errorf("chain up to the greatest number: %x, want %x", state, words(sum[:]))
	}
}

func FuzzPBKDF2(f *testing.F) {
	f.Add([]byte("password"), []byte("salt"), uint16(2), uint16(48))
	f.Fuzz(func(t *testing.T, password, salt []byte, rounds, size uint16) {
		check(t, password, salt, int(rounds)%100+1, int(size)%300+1)
	})
}

func BenchmarkPBKDF2(b *testing.B) {
	secret, salt := fill(1, 66), fill(2, 133)
	for _, size := range []int{32, 48} {
		b.Run(fmt.Sprintf("2048/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				PBKDF2(secret, salt, 2048, size)
			}
		})
		b.Run(fmt.Sprintf("generic/2048/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Generic(sha256.New, secret, salt, 2048, size)
			}
		})
	}
}

func BenchmarkChain(b *testing.B) {
	var sum [sha256.Size]byte
	b.Run("2048", func(b *testing.B) {
		for b.Loop() {
			Chain(&sum, 2048)
		}
	})
	b.Run("generic/2048", func(b *testing.B) {
		for b.Loop() {
			chainGeneric(&sum, 1, 2048)
		}
	})
}
