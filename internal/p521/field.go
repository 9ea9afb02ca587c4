package p521

import "encoding/binary"

// Size is the octets of a coordinate and of a scalar.
const Size = 66

const (
	mask58 = 1<<58 - 1
	mask57 = 1<<57 - 1
)

// An element is a number modulo 2^521-1: eight limbs of 58 bits and one of 57, the lowest first.
//
// Limbs may be larger than that for a while. A tight element has limbs of less than 2^58 + 2^13: mul, square
// and carry make these. A loose one has limbs of less than 2^61 + 2^60: a sum of some tight ones, or a
// difference by sub. mul and square take loose ones: nine of their products, doubled, are below 2^128.
type element [9]uint64

// The following are written out: they are as many as the products, and a loop takes three times as long.

// add sets e to a + b, without carrying.
func (e *element) add(a, b *element) {
	*e = element{
		a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4],
		a[5] + b[5], a[6] + b[6], a[7] + b[7], a[8] + b[8],
	}
}

// times sets e to n times a, without carrying.
func (e *element) times(n uint64, a *element) {
	*e = element{n * a[0], n * a[1], n * a[2], n * a[3], n * a[4], n * a[5], n * a[6], n * a[7], n * a[8]}
}

// sub sets e to a - b, without carrying: b has limbs of less than 2^59 + 2^15, as a sum of two or three
// tight elements has.
func (e *element) sub(a, b *element) {
	const m, top = 4 * mask58, 4 * mask57 // four times the modulus keeps all limbs above zero
	*e = element{
		a[0] + m - b[0], a[1] + m - b[1], a[2] + m - b[2], a[3] + m - b[3], a[4] + m - b[4],
		a[5] + m - b[5], a[6] + m - b[6], a[7] + m - b[7], a[8] + top - b[8],
	}
}

// subBoth sets e to a - b - c, tight, for tight ones.
func (e *element) subBoth(a, b, c *element) {
	const m, top = 4 * mask58, 4 * mask57
	*e = element{
		a[0] + m - b[0] - c[0], a[1] + m - b[1] - c[1], a[2] + m - b[2] - c[2],
		a[3] + m - b[3] - c[3], a[4] + m - b[4] - c[4], a[5] + m - b[5] - c[5],
		a[6] + m - b[6] - c[6], a[7] + m - b[7] - c[7], a[8] + top - b[8] - c[8],
	}
	e.carry()
}

// subEight sets e to a - 8b, tight, for tight ones.
func (e *element) subEight(a, b *element) {
	const m, top = 16 * mask58, 16 * mask57
	*e = element{
		a[0] + m - 8*b[0], a[1] + m - 8*b[1], a[2] + m - 8*b[2],
		a[3] + m - 8*b[3], a[4] + m - 8*b[4], a[5] + m - 8*b[5],
		a[6] + m - 8*b[6], a[7] + m - 8*b[7], a[8] + top - 8*b[8],
	}
	e.carry()
}

// subFromFour sets e to 4a - b, without carrying, for tight ones.
func (e *element) subFromFour(a, b *element) {
	const m, top = 4 * mask58, 4 * mask57
	*e = element{
		4*a[0] + m - b[0], 4*a[1] + m - b[1], 4*a[2] + m - b[2],
		4*a[3] + m - b[3], 4*a[4] + m - b[4], 4*a[5] + m - b[5],
		4*a[6] + m - b[6], 4*a[7] + m - b[7], 4*a[8] + top - b[8],
	}
}

// threeSums sets e to three times a + b, without carrying.
func (e *element) threeSums(a, b *element) {
	*e = element{
		3 * (a[0] + b[0]), 3 * (a[1] + b[1]), 3 * (a[2] + b[2]),
		3 * (a[3] + b[3]), 3 * (a[4] + b[4]), 3 * (a[5] + b[5]),
		3 * (a[6] + b[6]), 3 * (a[7] + b[7]), 3 * (a[8] + b[8]),
	}
}

// carry makes an element of any limbs tight.
func (e *element) carry() {
	c0, c1, c2, c3, c4 := e[0]>>58, e[1]>>58, e[2]>>58, e[3]>>58, e[4]>>58
	c5, c6, c7, c8 := e[5]>>58, e[6]>>58, e[7]>>58, e[8]>>57
	e[0], e[1], e[2] = e[0]&mask58+c8, e[1]&mask58+c0, e[2]&mask58+c1
	e[3], e[4], e[5] = e[3]&mask58+c2, e[4]&mask58+c3, e[5]&mask58+c4
	e[6], e[7], e[8] = e[6]&mask58+c5, e[7]&mask58+c6, e[8]&mask57+c7
}

// canonical brings a tight element to its one form below the modulus.
func (e *element) canonical() {
	// Twice, for the first carry out of the top may start another; then it is below 2^521.
	for range 2 {
		for i := range 8 {
			e[i+1] += e[i] >> 58
			e[i] &= mask58
		}
		e[0] += e[8] >> 57
		e[8] &= mask57
	}
	for i := range 8 { // e[0] may be 2^58 still
		e[i+1] += e[i] >> 58
		e[i] &= mask58
	}
	// Only the modulus itself is left to turn into zero: all its bits are set.
	all := e[8] ^ mask57
	for i := range 8 {
		all |= e[i] ^ mask58
	}
	keep := -nonzero(all)
	for i := range e {
		e[i] &= keep
	}
}

// zero is 1 where the tight element is zero, else 0.
func (e *element) zero() uint64 {
	c := *e
	c.canonical()
	var any uint64
	for _, limb := range c {
		any |= limb
	}
	return 1 - nonzero(any)
}

// nonzero is 1 for all numbers but zero.
func nonzero(x uint64) uint64 { return (x | -x) >> 63 }

// choose sets e to a where mask is all ones, and leaves it where it is zero.
func (e *element) choose(a *element, mask uint64) {
	for i := range e {
		e[i] ^= mask & (e[i] ^ a[i])
	}
}

// squares sets e to a raised to 2^n, n at least 1.
func (e *element) squares(a *element, n int) {
	e.square(a)
	for range n - 1 {
		e.square(e)
	}
}

// power sets e to 1/a by Fermat: a^(2^521-3). The inverse of zero is zero.
func (e *element) power(a *element) {
	// ones(n) is a^(2^n-1).
	var ones1, ones2, ones3, ones7, t, u element
	ones1 = *a
	t.square(&ones1)
	ones2.mul(&t, &ones1)
	t.square(&ones2)
	ones3.mul(&t, &ones1)
	t.squares(&ones3, 3)
	t.mul(&t, &ones3) // 6
	u.square(&t)
	ones7.mul(&u, &ones1)
	u.square(&ones7)
	u.mul(&u, &ones1) // 8
	for n := 8; n < 512; n *= 2 {
		t.squares(&u, n)
		u.mul(&t, &u)
	}
	t.squares(&u, 7)
	t.mul(&t, &ones7) // 519
	t.squares(&t, 2)  // 2^521-4
	e.mul(&t, a)
}

// root sets e to a square root of a, and reports whether there is one: a^(2^519), for the modulus is 3 modulo 4.
func (e *element) root(a *element) bool {
	var r, back element
	r.squares(a, 519)
	back.square(&r)
	back.sub(&back, a)
	back.carry()
	*e = r
	return back.zero() == 1
}

// words is a tight element as words of 64 bits, the lowest first; the highest has 9.
func (e *element) words() (words [9]uint64) {
	c := *e
	c.canonical()
	for i := range 9 {
		at := 58 * i
		words[at/64] |= c[i] << (at % 64)
		if at%64 > 6 {
			words[at/64+1] |= c[i] >> (64 - at%64)
		}
	}
	return words
}

// setWords sets e to what words makes; the highest limb has all of what is above the others.
func (e *element) setWords(words *[9]uint64) {
	// Limb i begins at bit 58i, which is 6i bits below word i.
	e[0] = words[0] & mask58
	for i := 1; i < 8; i++ {
		e[i] = (words[i]<<(6*i) | words[i-1]>>(64-6*i)) & mask58
	}
	e[8] = words[8]<<48 | words[7]>>16
}

// setBytes reads a big-endian number of Size octets and reports whether it is below the modulus.
func (e *element) setBytes(b []byte) bool {
	var words [9]uint64
	for i := range 8 {
		words[i] = binary.BigEndian.Uint64(b[Size-8-8*i:])
	}
	words[8] = uint64(b[0])<<8 | uint64(b[1])
	e.setWords(&words)
	canonical := *e
	canonical.canonical()
	return words[8] < 1<<9 && canonical == *e
}

// bytes appends the number, of Size octets, big-endian.
func (e *element) bytes(to []byte) []byte {
	words := e.words()
	to = append(to, byte(words[8]>>8), byte(words[8]))
	for i := 7; i >= 0; i-- {
		to = binary.BigEndian.AppendUint64(to, words[i])
	}
	return to
}
