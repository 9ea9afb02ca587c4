package dcrypt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// errReaderAt fails every read.
type errReaderAt struct{ err error }

func (r errReaderAt) ReadAt([]byte, int64) (int, error) { return 0, r.err }

func TestFlipEveryByte(t *testing.T) {
	k := testKeys()[Prime256v1]
	keys := KeyList{k}
	plain := []byte(samplePlain)
	bare := suite(t, "aes-256-cbc", "sha256")
	bare.Integrity = None
	for name, b := range map[string][]byte{
		"gcm":               encrypt(t, k.Public(), WriterOptions{}, plain, 100),
		"chacha20-poly1305": encrypt(t, k.Public(), WriterOptions{Cipher: "chacha20-poly1305"}, plain, 100),
		"cbc and hmac":      encrypt(t, k.Public(), WriterOptions{Cipher: "aes-256-cbc"}, plain, 100),
		"version 1":         encrypt(t, k.Public(), WriterOptions{Version: 1}, plain, 100),
		"bare cbc":          craft(t, bare, plain, k.Public()),
	} {
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		guarded := h.Integrity != None
		// Without integrity nothing can tell where the body really begins.
		length := func(at int) bool { return h.Version == 1 && at/2 == 5 || h.Version == 2 && at >= 14 && at < 18 }
		for at := range b {
			for _, bit := range []byte{1, 0x10, 0x80} {
				bad := bytes.Clone(b)
				bad[at] ^= bit
				got, err := readStream(bad, keys)
				switch {
				case err != nil && !typed(err):
					t.Fatalf("%s, bit %#x at %d: untyped error %v", name, bit, at, err)
				case err == nil && guarded && !bytes.Equal(got, plain):
					t.Fatalf("%s, bit %#x at %d: other plaintext released", name, bit, at)
				case err == nil && guarded && int64(at) >= h.Size:
					t.Fatalf("%s, bit %#x at %d: damaged body accepted", name, bit, at)
				case err != nil && len(got) > 0:
					t.Fatalf("%s, bit %#x at %d: plaintext beside an error", name, bit, at)
				case !guarded && err == nil && int64(at) < h.Size && !length(at) && !bytes.Equal(got, plain):
					t.Fatalf("%s, bit %#x at %d: header damage changed the text unnoticed", name, bit, at)
				}
			}
		}
		for n := range b {
			got, err := readStream(b[:n], keys)
			if n < MagicLen || guarded || int64(n) < h.Size {
				if err == nil || !typed(err) || len(got) > 0 {
					t.Fatalf("%s cut to %d: %q, %v", name, n, got, err)
				}
			}
		}
	}
}

func TestHeaderRejections(t *testing.T) {
	k := testKeys()[Prime256v1]
	good := encrypt(t, k.Public(), WriterOptions{}, []byte(samplePlain), 100)
	v1 := encrypt(t, k.Public(), WriterOptions{Version: 1}, []byte(samplePlain), 100)
	h, err := ReadHeader(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	// Offsets in the default header with a key on P-256.
	const (
		offFlags, offH, offCipher, offDigest, offRounds, offK = 10, 14, 18, 29, 40, 44
		offN, offType, offID, offR                            = 48, 49, 50, 82
		offE                                                  = offR + 4 + 65
		offHash                                               = offE + 4 + 64
	)
	be32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], v); return b }
	}
	set := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	var format *FormatError
	var unsupported *UnsupportedError
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   any
	}{
		{"version 0", set(9, 0), &unsupported},
		{"version 3", set(9, 3), &unsupported},
		{"header length 0", be32(offH, 0), &format},
		{"header length 17", be32(offH, 17), &format},
		{"header length beyond the object", be32(offH, uint32(len(good)+1)), ErrTruncated},
		{"header length 2^32-1", be32(offH, 1<<32-1), ErrTruncated},
		{"header length one short", be32(offH, uint32(h.Size-1)), &format},
		{"no OID", set(offCipher, 5), &format},
		{"OID in long form", set(offCipher+1, 0x89), &format},
		{"cipher unknown", set(offCipher+10, 0x7f), &unsupported},
		{"cipher ccm", set(offCipher+10, 47), &unsupported},
		{"digest unknown", set(offDigest+10, 0x7f), &unsupported},
		{"rounds 0", be32(offRounds, 0), &format},
		{"rounds 100001", be32(offRounds, 100_001), &format},
		{"rounds 2^32-1", be32(offRounds, 1<<32-1), &format},
		{"no recipient", set(offN, 0), &format},
		{"255 recipients", set(offN, 255), &unsupported},
		{"key type 0", set(offType, 0), &unsupported},
		{"key type 3", set(offType, 3), &unsupported},
		{"key type RSA", set(offType, 1), &format},
		{"foreign key", set(offID, 0xff, 0xee), ErrNoKey},
		{"R runs past", be32(offR, 1<<32-1), &format},
		{"R empty", func(b []byte) []byte {
			b = append(b[:offR+4], b[offR+4+65:]...)
			return be32(offH, uint32(h.Size)-65)(be32(offR, 0)(b))
		}, &format},
		{"R off the curve", set(offR+4+64, good[offR+4+64]^1), &format},
		{"R hybrid", set(offR+4, 6), &format},
		{"R all zero", set(offR+4, make([]byte, 65)...), &format},
		{"R of zeros", set(offR+5, make([]byte, 64)...), &format},
		{"E runs past", be32(offE, 200), &format},
		{"hash runs past", be32(offHash, 33), &format},
		{"hash cut", be32(offHash, 16), &format},
		{"hash empty", be32(offHash, 0), &format},
		{"AEAD and HMAC", set(offFlags+3, flagAEAD|flagHMAC), &format},
		{"HMAC with gcm", set(offFlags+3, flagHMAC), &format},
		{"NONE with gcm", set(offFlags+3, flagNone), &format},
		{"same cipher, but not", set(offFlags+3, flagAEAD|flagSameAlg), &format},
		{"padding in E", set(offE+4+63, good[offE+4+63]^1), &format},
		{"tag cut", func(b []byte) []byte { return b[:len(b)-1] }, ErrAuth},
		{"trailing octet", func(b []byte) []byte { return append(b, 0) }, ErrAuth},
		{"two messages joined", func(b []byte) []byte { return append(b, good...) }, ErrAuth},
		{"no body", func(b []byte) []byte { return b[:h.Size+15] }, ErrTruncated},
		{"magic alone", func(b []byte) []byte { return b[:MagicLen] }, ErrTruncated},
		{"version alone", func(b []byte) []byte { return b[:MagicLen+1] }, ErrTruncated},
		{"no stream", func([]byte) []byte { return []byte("From: x") }, &format},
		{"nothing", func([]byte) []byte { return nil }, &format},

		// What Dovecot accepts.
		{"K 0", be32(offK, 0), nil},
		{"K 2^32-1", be32(offK, 1<<32-1), nil},
		{"unknown flag", set(offFlags, 0x80), nil},
		{"NONE beside AEAD", set(offFlags+3, flagAEAD|flagNone), nil},
		{"padded header", func(b []byte) []byte {
			b = append(b[:h.Size:h.Size], append(make([]byte, 9000), b[h.Size:]...)...)
			return be32(offH, uint32(h.Size)+9000)(b)
		}, nil},
		// The tag says enough about the key data.
		{"hash wrong", set(offHash+4, good[offHash+4]^1), nil},

		{"v1: key data beyond the object", func([]byte) []byte { return set(10, 0xff, 0xff)(bytes.Clone(v1)) }, ErrTruncated},
		{"v1: field empty", func([]byte) []byte { return set(12, 0, 0)(bytes.Clone(v1)) }, &format},
		{"v1: field runs past", func([]byte) []byte { return set(12, 0xff, 0)(bytes.Clone(v1)) }, &format},
		{"v1: hash wrong", func([]byte) []byte { b := bytes.Clone(v1); b[12+2+65+34+2] ^= 1; return b }, &format},
		{"v1: no body", func([]byte) []byte { return bytes.Clone(v1[:12+169]) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.change(bytes.Clone(good))
			got, err := readStream(b, KeyList{k})
			switch want := tt.want.(type) {
			case nil:
				if err != nil {
					t.Errorf("%v, want success", err)
				}
			case error:
				if !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			default:
				if !errors.As(err, want) {
					t.Errorf("%v, want %T", err, want)
				}
			}
			if err != nil && len(got) > 0 {
				t.Error("plaintext beside an error")
			}
		})
	}
}

func TestLowOrderPoints(t *testing.T) {
	for _, c := range []Curve{X25519, X448} {
		k := testKeys()[c]
		n := k.pub.info.scalar
		for _, first := range []byte{0, 1} {
			point := make([]byte, n)
			point[0] = first
			if _, err := k.shared(point); !errors.Is(err, errPoint) {
				t.Errorf("%s, point %d: %v, want errPoint", c, first, err)
			}
			low := newPublic(k.pub.info, point)
			w, err := NewWriter(io.Discard, low, WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("%s: encrypted to point %d", c, first)
			}
			if err := w.Close(); err == nil {
				t.Errorf("%s: Close after a failed Write succeeded", c)
			}
		}
		for _, bad := range []int{0, n - 1, n + 1} {
			if _, err := k.shared(make([]byte, bad)); !errors.Is(err, errPoint) {
				t.Errorf("%s, %d octets: %v", c, bad, err)
			}
		}
	}
}

func TestBadPoints(t *testing.T) {
	for _, info := range curves {
		if info.raw {
			continue
		}
		k := testKeys()[info.curve]
		point := k.pub.point
		compressed := info.compress(point)
		if got, err := info.decodePoint(compressed); err != nil || !bytes.Equal(got, point) {
			t.Errorf("%s: compressed point does not expand: %v", info.curve, err)
		}
		flipped := bytes.Clone(compressed)
		flipped[0] ^= 1
		other, err := info.decodePoint(flipped)
		if err != nil || bytes.Equal(other, point) || !bytes.Equal(other[1:1+info.scalar], point[1:1+info.scalar]) {
			t.Errorf("%s: the other root: %v", info.curve, err)
		}
		off := bytes.Clone(point)
		off[len(off)-1] ^= 1
		big := bytes.Repeat([]byte{0xff}, len(point))
		big[0] = 4
		bigShort := bytes.Repeat([]byte{0xff}, len(compressed))
		bigShort[0] = 2
		hybrid := bytes.Clone(point)
		hybrid[0] = 6 | point[len(point)-1]&1
		origin := make([]byte, len(point))
		origin[0] = 4
		for name, b := range map[string][]byte{
			"nothing": nil, "infinity": {0}, "off the curve": off, "above the field": big, "x above the field": bigShort,
			"hybrid": hybrid, "origin": origin, "cut": point[:len(point)-1], "long": append(bytes.Clone(point), 0),
		} {
			if _, err := k.shared(b); !errors.Is(err, errPoint) {
				t.Errorf("%s, %s: %v, want errPoint", info.curve, name, err)
			}
		}
	}
}

func TestAgreementIsSymmetric(t *testing.T) {
	for _, info := range curves {
		a, err := generateKey(info.curve)
		if err != nil {
			t.Fatal(err)
		}
		b := testKeys()[info.curve]
		s1, err1 := a.shared(b.pub.point)
		s2, err2 := b.shared(info.compress(a.pub.point))
		if err1 != nil || err2 != nil || !bytes.Equal(s1, s2) || len(s1) != info.scalar {
			t.Errorf("%s: %d and %d octets, %v, %v", info.curve, len(s1), len(s2), err1, err2)
		}
	}
}

func TestReadErrorsPassThrough(t *testing.T) {
	boom := errors.New("input/output error")
	for _, size := range []int64{100, smallStream, smallStream + 1, largestStream, largestStream + 1} {
		if _, err := Open(errReaderAt{boom}, size, nil); !errors.Is(err, boom) {
			t.Errorf("size %d: %v, want %v", size, err, boom)
		}
	}
	k := testKeys()[Prime256v1]
	b := encrypt(t, k.Public(), WriterOptions{}, []byte("x"), 1)
	if _, err := Open(bytes.NewReader(b), int64(len(b)), finderError{boom}); !errors.Is(err, boom) || errors.Is(err, ErrNoKey) {
		t.Errorf("finder's error: %v", err)
	}
	if _, err := Open(bytes.NewReader(b), -1, nil); err == nil || !typed(err) {
		t.Errorf("negative size: %v", err)
	}
	if _, err := Open(bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("no finder: %v", err)
	}
}

type finderError struct{ err error }

func (f finderError) PrivateKey(KeyID) (*PrivateKey, error) { return nil, f.err }
