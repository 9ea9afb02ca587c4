package dcrypt

import (
	"bytes"
	"crypto/elliptic"
	"crypto/fips140"
	"testing"
)

// TestComb: the table gives what crypto/ecdh gives, also for the scalars at the ends.
func TestComb(t *testing.T) {
	for _, curve := range []Curve{Secp384r1, Secp521r1} {
		k, err := GenerateKey(curve)
		if err != nil {
			t.Fatal(err)
		}
		info, point := k.pub.info, k.pub.point
		c := newComb(info, point)
		if c == nil && fips140.Enabled() {
			return
		}
		if c == nil {
			t.Fatalf("%s: no table", curve)
		}
		check := func(scalar []byte) {
			t.Helper()
			agree, _, err := info.group().private(scalar)
			if err != nil {
				return // not a scalar
			}
			want, err := agree.shared(point)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.x(scalar); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: scalar %x: %x, want %x: %v", curve, scalar, got, want, err)
			}
		}
		for i := range 8 * info.scalar { // each bit of the comb alone
			b := make([]byte, info.scalar)
			b[i/8] = 1 << (i % 8)
			check(b)
		}
		params := map[Curve]elliptic.Curve{Secp384r1: elliptic.P384(), Secp521r1: elliptic.P521()}[curve].Params()
		order := params.N.FillBytes(make([]byte, info.scalar))
		for d := byte(1); d < 4; d++ {
			b := bytes.Clone(order)
			b[len(b)-1] -= d
			check(b)
		}
		for range 50 {
			scalar, _, _, err := info.generate()
			if err != nil {
				t.Fatal(err)
			}
			check(scalar)
		}
	}
	k, err := GenerateKey(Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	if newComb(k.pub.info, k.pub.point) != nil {
		t.Error("a table where crypto/ecdh is fast")
	}
}

// TestHotKey: messages to one key are read whether or not it has a table already.
func TestHotKey(t *testing.T) {
	k, err := GenerateKey(Secp521r1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * combUses {
		enc, secret, err := k.Public().Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Decapsulate(enc); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("use %d: %v", i, err)
		}
	}
	if (k.Public().hot.comb == nil) != fips140.Enabled() {
		t.Error("a table was made or not, against the rule")
	}
}

func BenchmarkAgree(b *testing.B) {
	for _, curve := range []Curve{Prime256v1, Secp384r1, Secp521r1} {
		for _, hot := range []bool{false, true} {
			name := string(curve) + "/first"
			if hot {
				name = string(curve) + "/again"
			}
			b.Run(name, func(b *testing.B) {
				k := testKeys()[curve].Public()
				for b.Loop() {
					if !hot {
						k.hot.uses.Store(0)
					} else if k.hot.uses.Load() < combUses {
						k.hot.uses.Store(combUses)
					}
					if _, _, err := k.Encapsulate(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
