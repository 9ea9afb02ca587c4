//go:build !purego

package p521

import (
	"math/bits"
	"sync"
)

// wideRows is how many rows a table needs for eight lanes to be worth while.
const wideRows = 2

// A wideSum is eight sums of points as an accumulator is one. Where an addition meets a point that is the sum's
// or its negative, which its formulas do not hold for, z becomes zero and stays so; it is no other time.
type wideSum struct{ x, y, z wide } // tight

// wideWork is what a multiplication keeps in memory: more than a new goroutine's stack has room for. What is no
// element comes last, for vectors that do not cross cache lines.
type wideWork struct {
	sum, rotated wideSum
	x, y         wide // what is added
	t            [9]wide

	at, negative [lanes]uint64 // digits
	empty        uint64        // which lanes of sum have none, bit by bit
}

var works = sync.Pool{New: func() any { return new(wideWork) }}

// mulWide is Mul by eight lanes, each of which serves every eighth row. It returns nil where it meets a sum
// that its formulas do not hold for, which scalars do with negligible chance, and without the instructions.
func (t *Table) mulWide(k *Scalar) *Point {
	if !hasWide {
		return nil
	}
	w := works.Get().(*wideWork)
	w.start(w.pick(t, k, 0, t.span-1))
	first := lanes
	for at := t.span - 1; ; at-- {
		for ; first < len(t.rows); first += lanes {
			w.add(w.pick(t, k, first, at))
		}
		if at == 0 {
			break
		}
		for range window {
			w.double()
		}
		first = 0
	}
	for n := lanes / 2; n > 0; n /= 2 {
		w.fold(n)
	}
	sum := accumulator{x: w.sum.x.lane(0), y: w.sum.y.lane(0), z: w.sum.z.lane(0)}
	*w = wideWork{}
	works.Put(w)
	wipe()
	if sum.z.zero() == 1 {
		return nil
	}
	return sum.affine()
}

// pick sets x and y to the points that eight rows have for their digits at a place of their parts, and
// returns the lanes that have one; the others are of no meaning.
func (w *wideWork) pick(t *Table, k *Scalar, first, at int) (some uint64) {
	var rows [lanes]*row
	for lane := range lanes {
		r := first + lane
		rows[lane] = &t.rows[min(r, len(t.rows)-1)]
		if i := r*t.span + at; r < len(t.rows) && i < digits {
			var size uint64
			size, w.negative[lane] = k.digit(i)
			w.at[lane] = (size - 1) % entries
			some |= nonzero(size) << lane
		}
	}
	pickWide(&w.x, &w.y, &rows, &w.at, &w.negative)
	return some
}

// start makes the sums of points x, y in some lanes.
func (w *wideWork) start(some uint64) {
	w.sum = wideSum{w.x, w.y, wideOne}
	w.empty = (1<<lanes - 1) &^ some
}

// double doubles the sums (dbl-2001-b of the Explicit-Formulas Database, for a = -3, but z = 2yz).
func (w *wideWork) double() {
	s := &w.sum
	delta, gamma, beta, alpha := &w.t[0], &w.t[1], &w.t[2], &w.t[3]
	less, more, twice := &w.t[4], &w.t[5], &w.t[6]
	squareWide(delta, &s.z)
	squareWide(gamma, &s.y)
	doubleStart(less, more, twice, &s.x, &s.y, delta)
	mulWide(beta, &s.x, gamma)
	mulWide(alpha, less, more)
	mulWide(&s.z, &s.z, twice)
	squareWide(less, alpha)
	doubleX(&s.x, more, less, beta) // x = alpha^2 - 8 beta
	mulWide(more, more, alpha)
	squareWide(gamma, gamma)
	doubleY(&s.y, more, gamma) // y = alpha (4 beta - x) - 8 gamma^2
}

// add adds the points x, y in some lanes (madd of the Explicit-Formulas Database, 1998-cmo-2 for z2 = 1).
func (w *wideWork) add(some uint64) {
	s := &w.sum
	zz, h, r := &w.t[0], &w.t[1], &w.t[2]
	x, y, z := &w.t[6], &w.t[7], &w.t[8]
	squareWide(zz, &s.z)
	mulWide(h, &w.x, zz)
	mulWide(r, &s.z, zz)
	mulWide(r, r, &w.y)
	subWide(h, h, &s.x)
	subWide(r, r, &s.y)
	w.meet(x, y, h, r, &s.x, &s.y)
	mulWide(z, h, &s.z)
	sums, firsts := some&^w.empty, some&w.empty
	chooseWide(&s.x, x, sums)
	chooseWide(&s.y, y, sums)
	chooseWide(&s.z, z, sums)
	chooseWide(&s.x, &w.x, firsts)
	chooseWide(&s.y, &w.y, firsts)
	chooseWide(&s.z, &wideOne, firsts)
	w.empty &^= some
}

// meet sets x and y to those of a sum of points, given those of one and what the other's differ by, h and r, all
// with z taken in: limbs of h and r are below three times those of tight ones.
func (w *wideWork) meet(x, y, h, r, x1, y1 *wide) {
	hh, hhh, v := &w.t[3], &w.t[4], &w.t[5]
	squareWide(hh, h)
	mulWide(hhh, hh, h)
	mulWide(v, hh, x1)
	squareWide(hh, r)
	addX(x, v, hh, hhh, v) // x = r^2 - h^3 - 2v
	mulWide(v, v, r)
	mulWide(hhh, hhh, y1)
	addY(y, v, hhh) // y = r (v - x) - y h^3
}

// fold adds to the sum of each lane that of the lane n above.
func (w *wideWork) fold(n int) {
	s, o := &w.sum, &w.rotated
	var from [lanes]uint64
	for lane := range from {
		from[lane] = uint64(lane + n)
	}
	takeWide(&o.x, &s.x, &from)
	takeWide(&o.y, &s.y, &from)
	takeWide(&o.z, &s.z, &from)
	empty := uint64(bits.RotateLeft8(uint8(w.empty), -n)) // of those above
	zz, h, r := &w.t[0], &w.t[1], &w.t[2]
	x, y, z := &w.t[6], &w.t[7], &w.t[8]
	x1, y1 := &w.x, &w.y
	squareWide(zz, &o.z)
	mulWide(x1, &s.x, zz)
	mulWide(y1, &o.z, zz)
	mulWide(y1, y1, &s.y)
	squareWide(zz, &s.z)
	mulWide(h, &o.x, zz)
	mulWide(r, &s.z, zz)
	mulWide(r, r, &o.y)
	subWide(h, h, x1)
	subWide(r, r, y1)
	w.meet(x, y, h, r, x1, y1)
	mulWide(z, h, &s.z)
	mulWide(z, z, &o.z)
	sums, firsts := ^(w.empty | empty), w.empty
	chooseWide(&s.x, x, sums)
	chooseWide(&s.y, y, sums)
	chooseWide(&s.z, z, sums)
	chooseWide(&s.x, &o.x, firsts)
	chooseWide(&s.y, &o.y, firsts)
	chooseWide(&s.z, &o.z, firsts)
	w.empty &= empty
}

// lane is the number of one lane, of tight limbs.
func (e *wide) lane(lane int) (one element) {
	// Its value is below 2^521 + 2^505, and 58 bits at a time are tight limbs, the highest but for a bit.
	var words [9]uint64
	var carry, limb uint64
	at := 0
	for i := range e {
		limb = e[i][lane] + carry
		carry = 0
		if i < wideLimbs-1 {
			carry, limb = limb>>wideBits, limb&mask48
		}
		words[at/64] |= limb << (at % 64)
		if at%64 > 0 && at/64 < 8 {
			words[at/64+1] |= limb >> (64 - at%64)
		}
		at += wideBits
	}
	one.setWords(&words)
	one.carry()
	return one
}

// wideOne is 1 in all lanes.
var wideOne = wide{{1, 1, 1, 1, 1, 1, 1, 1}}
