package p521

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

var modulus = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 521), big.NewInt(1))

// value is the number that limbs of any size stand for.
func (e *element) value() *big.Int {
	v := new(big.Int)
	for i := len(e) - 1; i >= 0; i-- {
		v.Lsh(v, 58).Add(v, new(big.Int).SetUint64(e[i]))
	}
	return v.Mod(v, modulus)
}

// random has limbs up to a bound, often at their extremes.
func random(rnd *rand.Rand, bound uint64) (e element) {
	for i := range e {
		switch rnd.IntN(4) {
		case 0:
			e[i] = bound
		case 1:
			e[i] = uint64(rnd.IntN(3))
		default:
			e[i] = rnd.Uint64N(bound + 1)
		}
	}
	return e
}

const (
	tightest = 1<<58 + 1<<13 - 1
	loosest  = 1<<61 + 1<<60 - 1
)

func (e *element) wantTight(t *testing.T, what string) {
	t.Helper()
	for i, limb := range e {
		if limb > tightest || i == 8 && limb > 1<<57+1<<13 {
			t.Fatalf("%s: limb %d is %#x", what, i, limb)
		}
	}
}

func randomTight(rnd *rand.Rand) element {
	e := random(rnd, tightest)
	e[8] = min(e[8], 1<<57+1<<6)
	return e
}

func TestArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a, b := random(rnd, loosest), random(rnd, loosest)
		var e element
		want := new(big.Int)
		check := func(what string) {
			t.Helper()
			if e.value().Cmp(want.Mod(want, modulus)) != 0 {
				t.Fatalf("%s of %x and %x is %x", what, a, b, e)
			}
		}
		e.mul(&a, &b)
		want.Mul(a.value(), b.value())
		check("product")
		e.wantTight(t, "product")
		mulPortable(&e, &a, &b)
		check("portable product")
		e.wantTight(t, "portable product")
		e.square(&a)
		want.Mul(a.value(), a.value())
		check("square")
		e.wantTight(t, "square")
		squarePortable(&e, &a)
		check("portable square")
		e.wantTight(t, "portable square")
		e = a
		e.mul(&e, &e)
		check("product in place")
		e = a
		mulPortable(&e, &e, &e)
		check("portable product in place")
		e = a
		e.carry()
		want.Set(a.value())
		check("carry")
		e.wantTight(t, "carry")

		a, b = randomTight(rnd), randomTight(rnd)
		var b3 element
		b3.times(3, &b)
		e.sub(&a, &b3)
		want.Sub(a.value(), b3.value())
		check("difference")
		e.subEight(&a, &b)
		want.Sub(a.value(), new(big.Int).Lsh(b.value(), 3))
		check("a less eight of b")
		e.wantTight(t, "a less eight of b")
		e.subFromFour(&a, &b)
		want.Sub(new(big.Int).Lsh(a.value(), 2), b.value())
		check("four of a less b")
		e.threeSums(&a, &b)
		want.Mul(want.Add(a.value(), b.value()), big.NewInt(3))
		check("three sums")
		c := randomTight(rnd)
		e.subBoth(&a, &b, &c)
		want.Sub(want.Sub(a.value(), b.value()), c.value())
		check("a less b and another")
		e.wantTight(t, "a less b and another")
		e.add(&a, &b)
		want.Add(a.value(), b.value())
		check("sum")
	}
}

func TestCanonical(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	p := element{mask58, mask58, mask58, mask58, mask58, mask58, mask58, mask58, mask57}
	list := []element{{}, {1}, p}
	for _, add := range []uint64{1, 2, 1 << 12} {
		e := p
		e[0] += add
		list = append(list, e)
		e = p
		e[1] += add
		e[8] += add
		list = append(list, e)
	}
	for range 5000 {
		list = append(list, randomTight(rnd))
	}
	for _, e := range list {
		want := e.value()
		if (e.zero() == 1) != (want.Sign() == 0) {
			t.Errorf("%x: zero is %d", e, e.zero())
		}
		b := e.bytes(nil)
		if len(b) != Size || new(big.Int).SetBytes(b).Cmp(want) != 0 {
			t.Errorf("%x: octets are %x", e, b)
		}
		var back element
		if !back.setBytes(b) || back.value().Cmp(want) != 0 {
			t.Errorf("%x: does not come back", e)
		}
	}
	for _, add := range []int64{0, 1, 5} {
		b := new(big.Int).Add(modulus, big.NewInt(add)).FillBytes(make([]byte, Size))
		var e element
		if e.setBytes(b) {
			t.Errorf("the modulus and %d is taken for an element", add)
		}
	}
}

func TestInverseAndRoot(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	roots := 0
	for range 60 {
		a := randomTight(rnd)
		var e element
		e.invert(&a)
		if want := new(big.Int).ModInverse(a.value(), modulus); e.value().Cmp(want) != 0 {
			t.Fatalf("1/%x is %x", a, e)
		}
		want := new(big.Int).ModSqrt(a.value(), modulus)
		if e.root(&a) != (want != nil) {
			t.Fatalf("%x: whether there is a root", a)
		}
		if want != nil {
			roots++
			var back element
			back.square(&e)
			if back.value().Cmp(a.value()) != 0 {
				t.Fatalf("%x: root %x", a, e)
			}
		}
	}
	if roots == 0 || roots == 60 {
		t.Errorf("%d of 60 have roots", roots)
	}
	var zero element
	if zero.invert(&zero); zero.zero() != 1 {
		t.Error("1/0")
	}
	if zero.power(&zero); zero.zero() != 1 {
		t.Error("1/0 by Fermat")
	}
}

// Both inverses agree, for numbers near powers of two and near what their limbs begin with too.
func TestInverses(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 18))
	var list []element
	for i := range uint(521) {
		for _, add := range []int64{-1, 0, 1} {
			v := new(big.Int).Lsh(big.NewInt(1), i)
			v.Add(v, big.NewInt(add))
			for _, v := range []*big.Int{v, new(big.Int).Sub(modulus, v)} {
				var e element
				e.setBytes(v.FillBytes(make([]byte, Size)))
				list = append(list, e)
			}
		}
	}
	for range 2000 {
		list = append(list, randomTight(rnd))
	}
	for _, a := range list {
		var e, want, one element
		if !e.divisionSteps(&a) {
			t.Fatalf("%x takes more steps", a)
		}
		e.wantTight(t, "inverse")
		want.power(&a)
		want.canonical()
		if one = e; a.zero() == 0 {
			one.mul(&e, &a)
			if one.canonical(); one != (element{1}) {
				t.Fatalf("%x: times its inverse is %x", a, one)
			}
		}
		if e.canonical(); e != want {
			t.Fatalf("1/%x is %x, want %x", a, e, want)
		}
	}
}

// Numbers come back from two's complement, however many moduli are added.
func TestSigned(t *testing.T) {
	for _, small := range []int64{0, 1, 2, 20, 33, 64} {
		for times := int64(-31); times <= 31; times++ {
			for _, sign := range []int64{-1, 1} {
				v := new(big.Int).Mul(modulus, big.NewInt(times))
				v.Add(v, big.NewInt(sign*small))
				var s signed
				rest := new(big.Int).Set(v)
				for i := range 8 {
					s[i] = new(big.Int).And(rest, big.NewInt(mask60)).Uint64()
					rest.Rsh(rest, 60)
				}
				s[8] = uint64(rest.Int64())
				var e element
				e.setSigned(&s)
				e.wantTight(t, "number")
				if want := v.Mod(v, modulus); e.value().Cmp(want) != 0 {
					t.Fatalf("%d times the modulus and %d is %x", times, sign*small, e)
				}
			}
		}
	}
}
