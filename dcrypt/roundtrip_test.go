package dcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/chacha20poly1305"
)

func fill(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// testKeys has one key of every curve, made once.
var testKeys = sync.OnceValue(func() map[Curve]*PrivateKey {
	keys := make(map[Curve]*PrivateKey)
	for _, c := range curves {
		k, err := generateKey(c.curve)
		if err != nil {
			panic(err)
		}
		keys[c.curve] = k
	}
	return keys
})

// encrypt writes plain in one Write, or in several.
func encrypt(t testing.TB, to *PublicKey, o WriterOptions, plain []byte, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, to, o)
	if err != nil {
		t.Fatal(err)
	}
	for p := range slices.Chunk(plain, max(step, 1)) {
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// craft builds a stream that no Writer makes: without integrity, with several
// recipients, or with recipients wrapped by the body's cipher.
func craft(t testing.TB, h *Header, plain []byte, to ...*PublicKey) []byte {
	t.Helper()
	if h.Rounds == 0 {
		h.Rounds = 3
	}
	same := h.SameCipher
	h.Version, h.SameCipher = 2, false
	_, kd, err := h.seal(to[0])
	if err != nil {
		t.Fatal(err)
	}
	h.Recipients, h.SameCipher = nil, same
	for _, pub := range to {
		h.Recipients = append(h.Recipients, craftRecipient(t, h, pub, kd))
	}
	out, err := h.marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(h, kd)
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.seal(slices.Concat(plain, make([]byte, tailRoom))[:len(plain)], true)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, body...)
}

func craftRecipient(t testing.TB, h *Header, pub *PublicKey, kd []byte) Recipient {
	t.Helper()
	r := Recipient{ID: pub.id}
	ephemeral, secret, err := pub.agreeEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	r.ephemeral = ephemeral
	c, key := h.wrapKey(secret, ephemeral)
	iv := key[c.keySize:]
	if !c.aead() {
		if r.wrapped, err = c.seal(key[:c.keySize], iv[:c.ivSize()], kd); err != nil {
			t.Fatal(err)
		}
		return r
	}
	var a cipher.AEAD
	if c.mode == modeChaCha {
		a, err = chacha20poly1305.New(key[:c.keySize])
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(key[:c.keySize]); err == nil {
			a, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	r.wrapped = a.Seal(nil, iv[:12], kd, iv[12:])
	return r
}

func suite(t testing.TB, cipher, digest string) *Header {
	t.Helper()
	h := &Header{Version: 2}
	if err := h.chooseSuite(cipher, digest); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRoundTrips(t *testing.T) {
	k := testKeys()[Prime256v1]
	for _, c := range ciphers {
		if c.oid == nil {
			continue
		}
		for _, d := range digests {
			for _, n := range []int{1, 15, 16, 17, 63, 64, 65, 4097, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
				if n > 100 && d.name != "sha256" {
					continue
				}
				o := WriterOptions{Cipher: c.name, Digest: d.name}
				plain := fill(1, n)
				b := encrypt(t, k.Public(), o, plain, max(n/3, 1))
				if got, err := readStream(b, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%s-%s, %d octets: %v", c.name, d.name, n, err)
				}
				h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
				if err != nil || h.Cipher != c.name || h.Digest != d.name || h.Rounds != 1 || len(h.Recipients) != 1 ||
					h.Recipients[0].ID != k.ID() || (h.Integrity == AEAD) != c.aead() {
					t.Fatalf("header = %+v, %v", h, err)
				}
			}
		}
	}
}

func TestRoundTripCurves(t *testing.T) {
	for curve, k := range testKeys() {
		for _, o := range []WriterOptions{{}, {Rounds: 2048}, {Version: 1}, {Cipher: "aes-128-cbc", Digest: "sha1"}} {
			plain := []byte("Subject: hi\n\nhello\n")
			b := encrypt(t, k.Public(), o, plain, len(plain))
			if got, err := readStream(b, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s %+v: %v", curve, o, err)
			}
			for other, wrong := range testKeys() {
				if other != curve {
					if _, err := readStream(b, wrongFinder{wrong}); !errors.Is(err, ErrKeyID) {
						t.Errorf("%s opened with a key on %s: %v", curve, other, err)
					}
				}
			}
		}
	}
}

// wrongFinder gives out one key, whatever is asked for.
type wrongFinder struct{ k *PrivateKey }

func (f wrongFinder) PrivateKey(KeyID) (*PrivateKey, error) { return f.k, nil }

func TestWriteSteps(t *testing.T) {
	k := testKeys()[Prime256v1]
	plain := fill(2, 2*chunkSize+100)
	for _, cipher := range []string{"aes-256-gcm", "chacha20-poly1305", "aes-256-cbc", "aes-256-cfb"} {
		for _, step := range []int{7, chunkSize - 1, chunkSize, chunkSize + 1, len(plain)} {
			b := encrypt(t, k.Public(), WriterOptions{Cipher: cipher}, plain, step)
			if got, err := readStream(b, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s in steps of %d: %v", cipher, step, err)
			}
		}
	}
}

func TestEmptyMessageIsAnEmptyFile(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, testKeys()[Prime256v1].Public(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(nil); n != 0 || err != nil {
		t.Errorf("Write(nil) = %d, %v", n, err)
	}
	if err := w.Close(); err != nil || out.Len() != 0 {
		t.Errorf("Close: %v, %d octets written", err, out.Len())
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestWriterErrors(t *testing.T) {
	k := testKeys()[Prime256v1].Public()
	for _, o := range []WriterOptions{
		{Version: 3}, {Cipher: "aes-256-ctr"}, {Cipher: "aes-256-ccm"}, {Digest: "sha224"},
		{Version: 1, Cipher: "aes-256-gcm"}, {Version: 1, Digest: "sha512"},
	} {
		var u *UnsupportedError
		if _, err := NewWriter(io.Discard, k, o); !errors.As(err, &u) {
			t.Errorf("%+v: %v, want UnsupportedError", o, err)
		}
	}
	for _, rounds := range []int{-1, maxRounds + 1} {
		if _, err := NewWriter(io.Discard, k, WriterOptions{Rounds: rounds}); err == nil {
			t.Errorf("%d rounds accepted", rounds)
		}
	}
	boom := errors.New("disk full")
	w, err := NewWriter(iotest.TruncateWriter(io.Discard, 0), k, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.w = failingWriter{boom}
	if _, err := w.Write(make([]byte, 3*chunkSize)); !errors.Is(err, boom) {
		t.Errorf("Write = %v, want %v", err, boom)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, boom) {
		t.Errorf("second Write = %v, want %v", err, boom)
	}
	if err := w.Close(); !errors.Is(err, boom) {
		t.Errorf("Close = %v, want %v", err, boom)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// smallBody is what these tests have as the bound of small streams.
const smallBody = 1 << 20

// large builds a stream above smallBody in every mode, also without integrity.
func large(t *testing.T) map[string][]byte {
	k := testKeys()[Prime256v1].Public()
	plain := largePlain()
	streams := map[string][]byte{"version 1": encrypt(t, k, WriterOptions{Version: 1}, plain, len(plain))}
	for _, c := range []string{"aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", "aes-256-cbc", "aes-192-cfb"} {
		streams[c] = encrypt(t, k, WriterOptions{Cipher: c}, plain, len(plain))
	}
	for _, c := range []string{"aes-256-cbc", "aes-256-cfb"} {
		h := suite(t, c, "sha256")
		h.Integrity = None
		streams[c+" bare"] = craft(t, h, plain, k)
	}
	return streams
}

var largePlain = sync.OnceValue(func() []byte { return fill(3, smallBody+3*chunkSize+1234) })

func TestLargeRandomAccess(t *testing.T) {
	keys := KeyList{testKeys()[Prime256v1]}
	plain := largePlain()
	for name, b := range large(t) {
		t.Run(name, func(t *testing.T) {
			r, err := open(bytes.NewReader(b), int64(len(b)), keys, smallBody)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if r.Size() != int64(len(plain)) || r.large == nil {
				t.Fatalf("Size = %d, want %d, in chunks", r.Size(), len(plain))
			}
			if err := iotest.TestReader(io.NewSectionReader(r, 0, 3000), plain[:3000]); err != nil {
				t.Error(err)
			}
			var wg sync.WaitGroup
			for g := range 3 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(1, uint64(g)))
					for range 60 {
						off := rng.IntN(len(plain))
						p := make([]byte, 1+rng.IntN(2*chunkSize))
						n, err := r.ReadAt(p, int64(off))
						if want := plain[off:min(off+len(p), len(plain))]; !bytes.Equal(p[:n], want) ||
							(err != nil) != (n < len(p)) || err != nil && err != io.EOF {
							t.Errorf("ReadAt(%d, %d) = %d, %v", len(p), off, n, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestLargeDamage(t *testing.T) {
	keys := KeyList{testKeys()[Prime256v1]}
	for name, b := range large(t) {
		if name == "version 1" || strings.HasSuffix(name, "bare") {
			continue
		}
		for _, at := range []int{700, 100_000, len(b) / 2, len(b) - 40, len(b) - 1} {
			bad := bytes.Clone(b)
			bad[at] ^= 1
			if _, err := open(bytes.NewReader(bad), int64(len(bad)), keys, smallBody); !errors.Is(err, ErrAuth) {
				t.Errorf("%s, bit at %d: %v, want ErrAuth", name, at, err)
			}
		}
		if _, err := open(bytes.NewReader(b), int64(len(b)-1), keys, smallBody); !errors.Is(err, ErrAuth) {
			t.Errorf("%s, last octet missing: %v", name, err)
		}
		if _, err := open(bytes.NewReader(b[:len(b)-100]), int64(len(b)), keys, smallBody); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s, file shorter than said: %v", name, err)
		}
	}
}

// TestChangeAfterOpen writes to the file between the two passes.
func TestChangeAfterOpen(t *testing.T) {
	plain := largePlain()
	for name, b := range large(t) {
		if name == "version 1" || strings.HasSuffix(name, "bare") {
			continue
		}
		r, err := open(bytes.NewReader(b), int64(len(b)), KeyList{testKeys()[Prime256v1]}, smallBody)
		if err != nil {
			t.Fatal(err)
		}
		b[5*chunkSize+700] ^= 1
		p := make([]byte, 2*chunkSize)
		if _, err := r.ReadAt(p, 0); err != nil || !bytes.Equal(p, plain[:len(p)]) {
			t.Errorf("%s: unchanged part: %v", name, err)
		}
		clear(p)
		n, err := r.ReadAt(p, 4*chunkSize)
		if !errors.Is(err, ErrAuth) || !bytes.Equal(p[:n], plain[4*chunkSize:4*chunkSize+n]) {
			t.Errorf("%s: changed part: %d octets, %v; want ErrAuth", name, n, err)
		}
		if !bytes.Equal(p[n:], make([]byte, len(p)-n)) {
			t.Errorf("%s: octets released beyond the error", name)
		}
		if n, err = r.ReadAt(p, 5*chunkSize); n != 0 || !errors.Is(err, ErrAuth) {
			t.Errorf("%s: asked again: %d octets, %v", name, n, err)
		}
	}
}

// TestMemoryIsBounded counts all that is allocated while a stream passes that is too large to be
// in memory.
func TestMemoryIsBounded(t *testing.T) {
	k := testKeys()[Prime256v1]
	const size = 34 << 20
	for _, c := range []string{"aes-256-gcm", "chacha20-poly1305", "aes-256-cbc"} {
		stream := encrypt(t, k.Public(), WriterOptions{Cipher: c}, make([]byte, size), size)
		var before, after runtime.MemStats
		buf := make([]byte, chunkSize)
		runtime.ReadMemStats(&before)
		r, err := Open(bytes.NewReader(stream), int64(len(stream)), KeyList{k})
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < r.Size(); off += chunkSize {
			if _, err := r.ReadAt(buf, off); err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		w, err := NewWriter(io.Discard, k.Public(), WriterOptions{Cipher: c})
		if err != nil {
			t.Fatal(err)
		}
		for range size / chunkSize {
			if _, err := w.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%s: %d octets allocated for a message of %d", c, got, size)
		}
	}
}

func TestReaderLimits(t *testing.T) {
	k := testKeys()[X25519]
	b := encrypt(t, k.Public(), WriterOptions{}, []byte("hello"), 5)
	r, err := Open(bytes.NewReader(b), int64(len(b)), KeyList{k})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	for _, tt := range []struct {
		off  int64
		n    int
		want error
	}{{0, 5, io.EOF}, {4, 1, io.EOF}, {5, 0, io.EOF}, {1 << 40, 0, io.EOF}} {
		if n, err := r.ReadAt(p, tt.off); n != tt.n || err != tt.want {
			t.Errorf("ReadAt at %d = %d, %v", tt.off, n, err)
		}
	}
	if n, err := r.ReadAt(p, -1); n != 0 || err == nil || err == io.EOF {
		t.Errorf("ReadAt at -1 = %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt after Close: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCraftedStreams(t *testing.T) {
	a, b := testKeys()[Prime256v1], testKeys()[Secp384r1]
	plain := []byte("Subject: hi\n\nhello\n")
	crafted := map[string][]byte{}
	for _, c := range []string{"aes-256-gcm", "aes-128-gcm", "chacha20-poly1305", "aes-256-cbc", "aes-128-cbc", "aes-256-cfb"} {
		h := suite(t, c, "sha512")
		h.SameCipher = true
		crafted["same cipher "+c] = craft(t, h, plain, a.Public())
		h = suite(t, c, "sha256")
		crafted["ours second "+c] = craft(t, h, plain, b.Public(), a.Public())
		crafted["twice "+c] = craft(t, h, plain, a.Public(), a.Public())
		if !h.cipher.aead() {
			h = suite(t, c, "sha384")
			h.Integrity, h.SameCipher = None, true
			crafted["bare same cipher "+c] = craft(t, h, plain, a.Public())
			h.SameCipher = false
			crafted["bare "+c] = craft(t, h, plain, a.Public())
		}
	}
	crafted["no text"] = craft(t, suite(t, "aes-256-gcm", "sha256"), nil, a.Public())
	for name, stream := range crafted {
		want := plain
		if name == "no text" {
			want = nil
		}
		if got, err := readStream(stream, KeyList{a}); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestConcurrentWriters(t *testing.T) {
	k := testKeys()[Prime256v1]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			plain := fill(byte(i), 70_000+i)
			b := encrypt(t, k.Public(), WriterOptions{}, plain, 1000)
			if got, err := readStream(b, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// TestFreshKeys checks that no two streams share an ephemeral key or key data.
func TestFreshKeys(t *testing.T) {
	k := testKeys()[Prime256v1]
	seen := map[string]bool{}
	for range 20 {
		b := encrypt(t, k.Public(), WriterOptions{}, []byte("same"), 4)
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		kd, _, err := h.findKeyData(KeyList{k})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]byte{h.Recipients[0].ephemeral, kd[:32], kd[32:44], kd[44:]} {
			if seen[fmt.Sprintf("%x", part)] {
				t.Fatal("value used twice")
			}
			seen[fmt.Sprintf("%x", part)] = true
		}
		if !bytes.Equal(h.keyDataHash(kd), h.hash) {
			t.Fatal("key-data hash is wrong; Dovecot checks it")
		}
	}
}
