package gcmwide

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
)

// newKey makes a key, or ends the test where there is nothing to test: then New must say so.
func newKey(t testing.TB, key []byte) *Key {
	t.Helper()
	k, err := New(key)
	if !Available() {
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("New where the instructions are missing: %v", err)
		}
		t.Skip("this processor has no VAES with AVX-512, or the build does not use it")
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func standard(t testing.TB, key []byte) (cipher.Block, cipher.AEAD) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return block, a
}

func fill(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 11}).Read(b)
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExpand has the examples of FIPS 197 appendices A (last round keys) and C (ciphertexts).
func TestExpand(t *testing.T) {
	for _, tt := range []struct{ key, last string }{
		{"2b7e151628aed2a6abf7158809cf4f3c", "d014f9a8c9ee2589e13f0cc8b6630ca6"},
		{"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "e98ba06f448c773c8ecc720401002202"},
		{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "fe4890d1e6188d0b046df344706c631e"},
	} {
		k := newKey(t, unhex(t, tt.key))
		if got := hex.EncodeToString(k.schedule[k.rounds*BlockSize:][:BlockSize]); got != tt.last {
			t.Errorf("last round key of %s is %s, want %s", tt.key, got, tt.last)
		}
	}
	for n, want := range map[int]string{
		16: "69c4e0d86a7b0430d8cdb78070b4c55a",
		24: "dda97ca4864cdfe06eaf70a0ec0d7191",
		32: "8ea2b7ca516745bfeafc49904b496089",
	} {
		key := make([]byte, n)
		for i := range key {
			key[i] = byte(i)
		}
		b := Block(unhex(t, "00112233445566778899aabbccddeeff"))
		newKey(t, key).EncryptBlock(&b)
		if got := hex.EncodeToString(b[:]); got != want {
			t.Errorf("AES-%d: %s, want %s", 8*n, got, want)
		}
	}
}

// check compares one message with crypto/cipher.
func check(t testing.TB, k *Key, std cipher.AEAD, nonce, text, aad []byte) {
	t.Helper()
	want := std.Seal(nil, nonce, text, aad)
	if got := k.Seal([]byte("head"), nonce, text, aad); string(got[:4]) != "head" || !bytes.Equal(got[4:], want) {
		t.Fatalf("Seal of %d octets, %d of AAD: another result than crypto/cipher's", len(text), len(aad))
	}
	if got, err := k.Open([]byte("head"), nonce, want, aad); err != nil || string(got[:4]) != "head" || !bytes.Equal(got[4:], text) {
		t.Fatalf("Open of %d octets, %d of AAD: another result than crypto/cipher's (%v)", len(text), len(aad), err)
	}
	b := append(make([]byte, 0, len(want)), text...) // in place
	if got := k.Seal(b[:0], nonce, b, aad); !bytes.Equal(got, want) {
		t.Fatalf("Seal of %d octets in place, %d of AAD: another result than crypto/cipher's", len(text), len(aad))
	}
	b = b[:len(want)]
	if got, err := k.Open(b[:0], nonce, b, aad); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("Open of %d octets in place, %d of AAD: another result than crypto/cipher's (%v)", len(text), len(aad), err)
	}
	b = append(b[:0], want...)
	b[(len(text)*7+3)%len(b)] ^= 1 << (len(text) % 8)
	if _, err := k.Open(b[:0], nonce, b, aad); !errors.Is(err, ErrOpen) || !bytes.Equal(b[:len(text)], make([]byte, len(text))) {
		t.Fatalf("Open of %d octets with a bit changed: %v", len(text), err)
	}
}

func TestLengths(t *testing.T) {
	for _, keyLen := range []int{16, 24, 32} {
		key := fill(uint64(keyLen), keyLen)
		k := newKey(t, key)
		_, std := standard(t, key)
		text := fill(7, 3<<20)
		for n := 0; n <= 5000; n++ {
			check(t, k, std, fill(uint64(n), nonceSize), text[n:2*n], text[:n%70])
		}
		for _, n := range []int{1 << 16, 1<<16 + 1, most - 1, most, most + 1, most + 512, 2*most + 1537, 3 << 20} {
			check(t, k, std, fill(uint64(n), nonceSize), text[:n], text[:20])
			check(t, k, std, fill(uint64(n), nonceSize), text[:20], text[:n])
		}
	}
}

// TestAgainstStandard draws keys, nonces, additional data and lengths.
func TestAgainstStandard(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		key := fill(r.Uint64(), 16+8*r.IntN(3))
		k := newKey(t, key)
		_, std := standard(t, key)
		check(t, k, std, fill(r.Uint64(), nonceSize), fill(uint64(i), r.IntN(20_000)), fill(r.Uint64(), r.IntN(2000)))
	}
}

// TestCounter begins where the counter is about to wrap: only its own word does.
func TestCounter(t *testing.T) {
	for _, keyLen := range []int{16, 24, 32} {
		key := fill(9, keyLen)
		k := newKey(t, key)
		block, _ := standard(t, key)
		for _, start := range []uint32{0, 1, 0xfffffffe, 0xffffffff, 0xffffffe0, 0xffffff00, 0x00ffffff, 0x0000ffff, 0x7fffffff} {
			for _, n := range []int{1, 16, 64, 100, 512, 1024, 1537, 9000} {
				src := fill(uint64(n), n)
				want := make([]byte, (n+15)/16*16)
				for i := 0; i < len(want); i += 16 {
					b := Counter(key, start+uint32(i/16))
					block.Encrypt(want[i:], b[:])
				}
				for i := range src {
					want[i] ^= src[i]
				}
				counter, state := Counter(key, start), Block{}
				got := make([]byte, n)
				k.XORKeyStream(&counter, got, src)
				if !bytes.Equal(got, want[:n]) || counter != Counter(key, start+uint32(n/16)) {
					t.Fatalf("XORKeyStream of %d octets from counter %#x differs", n, start)
				}
				counter = Counter(key, start)
				k.Encrypt(&counter, &state, got, src)
				if !bytes.Equal(got, want[:n]) || counter != Counter(key, start+uint32(n/16)) {
					t.Fatalf("Encrypt of %d octets from counter %#x differs", n, start)
				}
				counter, back := Counter(key, start), Block{}
				k.Decrypt(&counter, &back, got, got)
				if !bytes.Equal(got, src) || counter != Counter(key, start+uint32(n/16)) || back != state {
					t.Fatalf("Decrypt of %d octets from counter %#x differs", n, start)
				}
			}
		}
	}
}

// TestVectors has test cases 2, 4 and 16 of the GCM specification that NIST's SP 800-38D refers to.
func TestVectors(t *testing.T) {
	for _, tt := range []struct{ key, nonce, text, aad, want string }{
		{"00000000000000000000000000000000", "000000000000000000000000", "00000000000000000000000000000000", "",
			"0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
		{"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
		{"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
	} {
		k := newKey(t, unhex(t, tt.key))
		if got := hex.EncodeToString(k.Seal(nil, unhex(t, tt.nonce), unhex(t, tt.text), unhex(t, tt.aad))); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

// TestPower puts the hash of a text together from those of its parts.
func TestPower(t *testing.T) {
	k := newKey(t, fill(1, 32))
	text := fill(2, 5000)
	for _, n := range []int{0, 1, 15, 16, 17, 100, 511, 512, 513, 5000} {
		for at := 0; at <= n; at += 16 {
			var whole, first, second Block
			k.Hash(&whole, text[:n])
			k.Hash(&first, text[:at])
			k.Hash(&second, text[at:n])
			p := k.Power((n - at + 15) / 16)
			p.Multiply(&first)
			for i := range first {
				first[i] ^= second[i]
			}
			if first != whole {
				t.Fatalf("hash of %d octets from %d and the rest differs", n, at)
			}
		}
	}
}

// TestTampering changes each bit of a short message.
func TestTampering(t *testing.T) {
	k := newKey(t, fill(1, 32))
	nonce, text, aad := fill(2, nonceSize), fill(3, 77), fill(4, 20)
	sealed := k.Seal(nil, nonce, text, aad)
	refused := func(what string, i int, nonce, sealed, aad []byte) {
		t.Helper()
		out := bytes.Repeat([]byte{'x'}, len(text))
		if got, err := k.Open(out[:0], nonce, sealed, aad); !errors.Is(err, ErrOpen) || got != nil {
			t.Fatalf("%s, bit %d: %v", what, i, err)
		}
		if n := len(sealed) - tagSize; n > 0 && !bytes.Equal(out[:n], make([]byte, n)) {
			t.Fatalf("%s, bit %d: text is left", what, i)
		}
	}
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i/8] ^= 1 << (i % 8)
		return b
	}
	for i := range 8 * len(sealed) {
		refused("message", i, nonce, flip(sealed, i), aad)
	}
	for i := range 8 * len(nonce) {
		refused("nonce", i, flip(nonce, i), sealed, aad)
	}
	for i := range 8 * len(aad) {
		refused("additional data", i, nonce, sealed, flip(aad, i))
	}
	for n := range sealed {
		refused("length", n, nonce, sealed[:n], aad)
	}
}

func TestMisuse(t *testing.T) {
	k := newKey(t, fill(1, 32))
	nonce, b := make([]byte, nonceSize), make([]byte, 100)
	for name, fn := range map[string]func(){
		"nonce of Seal":                  func() { k.Seal(nil, b[:16], b, nil) },
		"nonce of Open":                  func() { _, _ = k.Open(nil, nil, b, nil) },
		"Seal over its text":             func() { k.Seal(b[1:1], nonce, b[:50], nil) },
		"Open over its text":             func() { _, _ = k.Open(b[:0], nonce, b[1:], nil) },
		"Seal over its additional data":  func() { k.Seal(b[:0], nonce, b[:10], b[20:30]) },
		"Open over its additional data ": func() { _, _ = k.Open(b[:0], nonce, b[:60], b[40:]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			fn()
		}()
	}
	if _, err := New(make([]byte, 31)); err == nil {
		t.Error("a key of 31 octets was accepted")
	}
}

func FuzzAgainstStandard(f *testing.F) {
	f.Add([]byte("key"), []byte("text"), []byte("aad"), uint16(0))
	f.Add([]byte{}, []byte{}, []byte{}, uint16(1023))
	f.Add(fill(1, 32), fill(2, 700), fill(3, 600), uint16(4096))
	f.Fuzz(func(t *testing.T, seed, text, aad []byte, more uint16) {
		material := make([]byte, 32+nonceSize)
		copy(material, seed)
		key := material[:16+8*(len(seed)%3)]
		_, std := standard(t, key)
		check(t, newKey(t, key), std, material[32:], append(text, make([]byte, more)...), aad)
	})
}
