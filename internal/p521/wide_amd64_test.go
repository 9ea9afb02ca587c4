//go:build !purego

package p521

import (
	"crypto/ecdh"
	crand "crypto/rand"
	"math/big"
	"math/rand/v2"
	"testing"
)

// value is the number that a lane's limbs of any size stand for.
func (e *wide) value(lane int) *big.Int {
	v := new(big.Int)
	for i := len(e) - 1; i >= 0; i-- {
		v.Lsh(v, wideBits).Add(v, new(big.Int).SetUint64(e[i][lane]))
	}
	return v.Mod(v, modulus)
}

// randomWide has limbs below a bound, often at their extremes. All of a lane are at the bound at times.
func randomWide(rnd *rand.Rand, bound uint64) *wide {
	e := new(wide)
	for lane := range lanes {
		all := rnd.IntN(8) == 0
		for i := range e {
			switch n := rnd.IntN(4); {
			case all || n == 0:
				e[i][lane] = bound - 1
			case n == 1:
				e[i][lane] = uint64(rnd.IntN(3))
			default:
				e[i][lane] = rnd.Uint64N(bound)
			}
		}
	}
	return e
}

const wideTight = 1<<48 + 1<<23

func randomWideTight(rnd *rand.Rand) *wide {
	e := randomWide(rnd, wideTight)
	for lane := range lanes {
		e[10][lane] = min(e[10][lane], 1<<41+1<<23-1)
	}
	return e
}

// check compares all lanes with what they should be.
func (e *wide) check(t *testing.T, what string, tight bool, want func(lane int) *big.Int) {
	t.Helper()
	for lane := range lanes {
		w := want(lane)
		if e.value(lane).Cmp(w.Mod(w, modulus)) != 0 {
			t.Fatalf("%s in lane %d is %x, want %x", what, lane, e.value(lane), w)
		}
		for i := range e {
			if limb := e[i][lane]; tight && (limb >= wideTight || i == 10 && limb >= 1<<41+1<<23) {
				t.Fatalf("%s: limb %d of lane %d is %#x", what, i, lane, limb)
			}
		}
	}
}

// sumOf is the sum of lanes' values, each times a factor.
func sumOf(terms ...any) func(lane int) *big.Int {
	return func(lane int) *big.Int {
		total := new(big.Int)
		for i := 0; i < len(terms); i += 2 {
			total.Add(total, new(big.Int).Mul(big.NewInt(int64(terms[i].(int))), terms[i+1].(*wide).value(lane)))
		}
		return total
	}
}

func needWide(t testing.TB) {
	if !hasWide {
		t.Skip("the processor has no AVX-512 IFMA")
	}
}

func TestWideProducts(t *testing.T) {
	needWide(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	bounds := [][2]uint64{{1, 1}, {3, 10}, {10, 3}, {15, 2}, {2, 15}, {5, 6}, {6, 5}, {3, 6}}
	for i := range 3000 {
		bound := bounds[i%len(bounds)]
		a, b, e := randomWide(rnd, bound[0]*wideTight), randomWide(rnd, bound[1]*wideTight), new(wide)
		product := func(lane int) *big.Int { return new(big.Int).Mul(a.value(lane), b.value(lane)) }
		mulWide(e, a, b)
		e.check(t, "product", true, product)
		*e = *a
		mulWide(e, e, b)
		e.check(t, "product in place of the first", true, product)
		*e = *b
		mulWide(e, a, e)
		e.check(t, "product in place of the second", true, product)
		a = randomWide(rnd, uint64(1+i%5)*wideTight)
		b = a
		squareWide(e, a)
		e.check(t, "square", true, product)
		*e = *a
		squareWide(e, e)
		e.check(t, "square in place", true, product)
	}
}

func TestWideSums(t *testing.T) {
	needWide(t)
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 3000 {
		a, b, c := randomWideTight(rnd), randomWideTight(rnd), randomWideTight(rnd)
		var d, e, f wide
		subWide(&d, a, b)
		d.check(t, "difference", false, sumOf(1, a, -1, b))
		doubleStart(&d, &e, &f, a, c, b)
		d.check(t, "x - delta", false, sumOf(1, a, -1, b))
		e.check(t, "3(x + delta)", false, sumOf(3, a, 3, b))
		f.check(t, "2y", false, sumOf(2, c))
		doubleX(&d, &e, a, b)
		d.check(t, "aa - 8 beta", true, sumOf(1, a, -8, b))
		e.check(t, "4 beta - x", false, sumOf(-1, a, 12, b))
		doubleY(&d, a, b)
		d.check(t, "a - 8b", true, sumOf(1, a, -8, b))
		addX(&d, &e, a, b, c)
		d.check(t, "rr - hhh - 2v", true, sumOf(1, a, -1, b, -2, c))
		e.check(t, "v - x", false, sumOf(-1, a, 1, b, 3, c))
		addY(&d, a, b)
		d.check(t, "a - b", true, sumOf(1, a, -1, b))
	}
}

func TestWideChoice(t *testing.T) {
	needWide(t)
	rnd := rand.New(rand.NewPCG(13, 14))
	for mask := range uint64(256) {
		a, b := randomWideTight(rnd), randomWideTight(rnd)
		d := *a
		chooseWide(&d, b, mask)
		for i := range d {
			for lane := range lanes {
				want := a[i][lane]
				if mask>>lane&1 == 1 {
					want = b[i][lane]
				}
				if d[i][lane] != want {
					t.Fatalf("choice %08b: limb %d of lane %d", mask, i, lane)
				}
			}
		}
	}
}

// Each lane takes what pick takes, and an element comes out of a lane as it went in.
func TestWidePick(t *testing.T) {
	needWide(t)
	table := Generator()
	rnd := rand.New(rand.NewPCG(15, 16))
	for range 500 {
		var rows [lanes]*row
		var at, negative [lanes]uint64
		for lane := range lanes {
			rows[lane] = &table.rows[rnd.IntN(len(table.rows))]
			at[lane], negative[lane] = rnd.Uint64N(entries), -rnd.Uint64N(2)
		}
		var x, y wide
		pickWide(&x, &y, &rows, &at, &negative)
		for lane := range lanes {
			want, _ := rows[lane].pick(at[lane]+1, negative[lane])
			if x.lane(lane) != want.x || y.lane(lane) != want.y {
				t.Fatalf("lane %d: entry %d", lane, at[lane])
			}
		}
		e := randomWideTight(rnd)
		for lane := range lanes {
			out := e.lane(lane)
			out.wantTight(t, "a lane's element")
			if out.value().Cmp(e.value(lane)) != 0 {
				t.Fatalf("lane %d is %x", lane, out)
			}
		}
	}
}

// Both ways of multiplying agree, for tables of all shapes.
func TestWideAsNarrow(t *testing.T) {
	needWide(t)
	tables := []*Table{Generator()}
	p := randomPoint(t)
	for _, rows := range []int{1, 2, 7, 8, 9, 15, 21, 35, 105} {
		tables = append(tables, NewTable(p, rows))
	}
	scalars := hard()
	for range 30 {
		scalars = append(scalars, randomScalar(t))
	}
	for i, b := range scalars {
		k, err := NewScalar(b)
		if err != nil {
			t.Fatal(err)
		}
		for j, table := range tables {
			if j > 0 && (i+j)%5 > 0 {
				continue
			}
			got, want := table.mulWide(k), table.mulNarrow(k)
			if got == nil {
				if i >= len(scalars)-30 {
					t.Errorf("%x by %d rows is not multiplied", b, len(table.rows))
				}
				got = table.Mul(k)
			}
			if *got != *want {
				t.Errorf("%x by %d rows is %x, want %x", b, len(table.rows), got.Bytes(), want.Bytes())
			}
		}
	}
}

// No table of NewTable makes sums meet what is added often; these, whose rows are of one point, do.
func TestWideExceptions(t *testing.T) {
	needWide(t)
	p := randomPoint(t)
	same := NewTable(p, 1).rows[0]
	opposite := same
	for i := range entries {
		for j := range 8 {
			opposite[8+j][i] = ^same[8+j][i]
		}
		opposite[16][i] = same[16][i] ^ (1<<9-1)<<32
	}
	one := func(table *Table) (k *Scalar) { // all digits are 1, but where there is no point
		k = new(Scalar)
		for r := range table.rows {
			if table.rows[r] == (row{}) {
				continue
			}
			for at := range table.span {
				if i := window * (r*table.span + at); i < 8*Size {
					k.b[i/8] |= 1 << (i % 8)
				}
			}
		}
		return k
	}
	tables := map[string]*Table{
		"lanes that are the same":     {span: 1, rows: []row{same, same}},
		"lanes four apart":            {span: 13, rows: []row{same, same, same, same, same, same, same, same}},
		"a point and the sum":         {span: 1, rows: []row{0: same, 8: same}},
		"a point and minus the sum":   {span: 2, rows: []row{0: same, 8: opposite, 9: same}},
		"a point and minus the lanes": {span: 2, rows: []row{same, opposite, same}},
	}
	for name, table := range tables {
		k := one(table)
		if got := table.mulWide(k); got != nil {
			t.Errorf("%s: multiplied, %x", name, got.Bytes())
		}
		if got, want := table.Mul(k), table.mulNarrow(k); *got != *want {
			t.Errorf("%s: %x, want %x", name, got.Bytes(), want.Bytes())
		}
	}
}

func randomPoint(t testing.TB) *Point {
	key, err := ecdh.P521().GenerateKey(crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Decode(key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkWideField(b *testing.B) {
	needWide(b)
	rnd := rand.New(rand.NewPCG(11, 12))
	w := new(wideWork)
	x, y := &w.x, &w.y
	*x, *y = *randomWideTight(rnd), *randomWideTight(rnd)
	b.Run("mul", func(b *testing.B) {
		for range b.N {
			mulWide(x, x, y)
		}
	})
	b.Run("square", func(b *testing.B) {
		for range b.N {
			squareWide(x, x)
		}
	})
	b.Run("doubleX", func(b *testing.B) {
		for range b.N {
			doubleX(x, y, x, y)
		}
	})
}
