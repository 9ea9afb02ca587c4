package p521

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
	"testing"
)

func n() *big.Int { return elliptic.P521().Params().N }

func scalarOf(v *big.Int) []byte { return v.FillBytes(make([]byte, Size)) }

// hard are scalars whose digits or sums are at an extreme.
func hard() [][]byte {
	var list [][]byte
	add := func(v *big.Int) {
		if v.Sign() > 0 && v.Cmp(n()) < 0 {
			list = append(list, scalarOf(v))
		}
	}
	for i := int64(1); i <= 40; i++ {
		add(big.NewInt(i))
		add(new(big.Int).Sub(n(), big.NewInt(i)))
		add(new(big.Int).Rsh(n(), uint(i)))
	}
	for i := uint(0); i < 521; i += 3 {
		p := new(big.Int).Lsh(big.NewInt(1), i)
		add(p)
		add(new(big.Int).Sub(p, big.NewInt(1)))
		add(new(big.Int).Sub(n(), p))
	}
	for _, fill := range []byte{0x84, 0x42, 0x21, 0x10, 0x08, 0xff, 0x55, 0xaa} {
		b := bytes.Repeat([]byte{fill}, Size)
		b[0] = 0
		add(new(big.Int).SetBytes(b))
	}
	return list
}

func randomScalar(t testing.TB) []byte {
	k, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k.Bytes()
}

func TestAsCryptoECDH(t *testing.T) {
	base, err := ecdh.P521().NewPrivateKey(randomScalar(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Decode(base.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	tables := map[int]*Table{}
	for _, rows := range []int{1, 2, 5, 7, 15, 53, 104, 105} {
		tables[rows] = NewTable(p, rows)
	}
	scalars := hard()
	for range 30 {
		scalars = append(scalars, randomScalar(t))
	}
	for i, b := range scalars {
		key, err := ecdh.P521().NewPrivateKey(b)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewScalar(b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if got := Generator().Mul(k).Bytes(); !bytes.Equal(got, key.PublicKey().Bytes()) {
			t.Errorf("%x times the generator is %x", b, got)
		}
		want, err := key.ECDH(base.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Mul(k).X(); !bytes.Equal(got, want) {
			t.Errorf("%x times a point is %x", b, got)
		}
		if i%7 == 0 {
			for rows, table := range tables {
				if got := table.Mul(k).X(); !bytes.Equal(got, want) {
					t.Errorf("%x times a point, by %d rows, is %x", b, rows, got)
				}
			}
		}
	}
}

// A sum meets the point that is added, or its negative, for few scalars: here they are made.
func TestExceptions(t *testing.T) {
	one, _ := NewScalar(scalarOf(big.NewInt(1)))
	g := Generator().Mul(one)
	negative := *g
	negative.y.sub(new(element), &g.y)
	negative.y.carry()
	negative.y.canonical()
	all := ^uint64(0)
	want := func(s *accumulator, times int64, what string) {
		t.Helper()
		key, err := ecdh.P521().NewPrivateKey(scalarOf(big.NewInt(times)))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.affine().Bytes(); !bytes.Equal(got, key.PublicKey().Bytes()) {
			t.Errorf("%s is %x", what, got)
		}
	}
	s := &accumulator{empty: all}
	s.add(g, 0)
	if s.empty != all {
		t.Error("nothing and nothing is something")
	}
	s.add(g, all)
	want(s, 1, "nothing and G")
	s.add(g, all)
	want(s, 2, "G and G")
	s.add(g, 0)
	want(s, 2, "2G and nothing")
	s.add(g, all)
	want(s, 3, "2G and G")
	s.add(&negative, all)
	want(s, 2, "3G less G")
	s.add(&negative, all)
	want(s, 1, "2G less G")
	s.add(&negative, all)
	if s.empty != all {
		t.Error("G less G is something")
	}
	s.add(&negative, all)
	s.double()
	s.add(g, all)
	s.add(g, all)
	if s.empty != all {
		t.Error("-2G and G and G is something")
	}
}

func TestDecode(t *testing.T) {
	curve := elliptic.P521()
	for range 20 {
		key, _ := ecdh.P521().NewPrivateKey(randomScalar(t))
		whole := key.PublicKey().Bytes()
		x, y := new(big.Int).SetBytes(whole[1:1+Size]), new(big.Int).SetBytes(whole[1+Size:])
		for _, b := range [][]byte{whole, elliptic.MarshalCompressed(curve, x, y)} {
			p, err := Decode(b)
			if err != nil || !bytes.Equal(p.Bytes(), whole) {
				t.Fatalf("%x: %v", b, err)
			}
		}
	}
	key, _ := ecdh.P521().NewPrivateKey(randomScalar(t))
	whole := key.PublicKey().Bytes()
	bad := [][]byte{nil, {0}, {4}, whole[:len(whole)-1], append(bytes.Clone(whole), 0), whole[:1+Size]}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		bad = append(bad, b)
	}
	p := scalarOf(modulus)
	bad = append(bad, append([]byte{2}, p...), append(append([]byte{4}, p...), whole[1+Size:]...))
	for _, b := range bad {
		if _, err := Decode(b); err == nil {
			t.Errorf("%x is taken for a point", b)
		}
	}
}

func TestScalars(t *testing.T) {
	for _, v := range []*big.Int{new(big.Int), n(), new(big.Int).Add(n(), big.NewInt(1)), modulus, new(big.Int).Lsh(big.NewInt(1), 527)} {
		if _, err := NewScalar(scalarOf(v)); err == nil {
			t.Errorf("%x is taken for a scalar", v)
		}
	}
	for _, size := range []int{0, Size - 1, Size + 1} {
		if _, err := NewScalar(make([]byte, size)); err == nil {
			t.Errorf("%d octets are taken for a scalar", size)
		}
	}
}

// FuzzMul compares with crypto/ecdh.
func FuzzMul(f *testing.F) {
	for i, b := range hard() {
		if i%40 == 0 {
			f.Add(b, b)
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		k, err := NewScalar(a)
		key, wantErr := ecdh.P521().NewPrivateKey(a)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("scalar %x: %v, want %v", a, err, wantErr)
		}
		if err != nil {
			return
		}
		if got := Generator().Mul(k).Bytes(); !bytes.Equal(got, key.PublicKey().Bytes()) {
			t.Errorf("%x times the generator is %x", a, got)
		}
		p, err := Decode(b)
		public, wantErr := ecdh.P521().NewPublicKey(b)
		if wantErr != nil && len(b) == 1+Size {
			if x, y := elliptic.UnmarshalCompressed(elliptic.P521(), b); x != nil {
				whole := append(append([]byte{4}, scalarOf(x)...), scalarOf(y)...)
				public, wantErr = ecdh.P521().NewPublicKey(whole)
			}
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("point %x: %v, want %v", b, err, wantErr)
		}
		if err != nil {
			p, public = Generator().Mul(k), key.PublicKey()
		}
		want, err := key.ECDH(public)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Mul(k).X(); !bytes.Equal(got, want) {
			t.Errorf("%x times %x is %x, want %x", a, b, got, want)
		}
	})
}

func BenchmarkMul(b *testing.B) {
	k, _ := NewScalar(randomScalar(b))
	p := Generator().Mul(k)
	table := NewTable(p, 15)
	key, _ := ecdh.P521().NewPrivateKey(randomScalar(b))
	public := key.PublicKey()
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"point", func() { p.Mul(k) }},
		{"table", func() { table.Mul(k) }},
		{"generator", func() { Generator().Mul(k) }},
		{"decompress", func() { _, _ = Decode(append([]byte{2}, p.X()...)) }},
		{"make-table", func() { NewTable(p, 15) }},
		{"crypto-ecdh", func() { _, _ = key.ECDH(public) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.do()
			}
		})
	}
}

func BenchmarkField(b *testing.B) {
	x, y := element{1, 2, 3, 4, 5, 6, 7, 8, 9}, element{9, 8, 7, 6, 5, 4, 3, 2, 1}
	b.Run("mul", func(b *testing.B) {
		for range b.N {
			x.mul(&x, &y)
		}
	})
	b.Run("invert", func(b *testing.B) {
		for range b.N {
			x.invert(&x)
		}
	})
	b.Run("square", func(b *testing.B) {
		for range b.N {
			x.square(&x)
		}
	})
}
