package p521

import "math/bits"

// mul sets e to a times b, either of which it may be.
func (e *element) mul(a, b *element) { mul(e, a, b) }

// square sets e to a times a, which it may be.
func (e *element) square(a *element) { square(e, a) }

// mulPortable is mul for every processor.
func mulPortable(e, a, b *element) {
	// b[i] is twice[i+8]; below that are those doubled that come back from above 2^522, as 2.
	var twice [17]uint64
	for i := range 8 {
		twice[i] = 2 * b[i+1]
		twice[i+8] = b[i]
	}
	twice[16] = b[8]
	left := *a
	var hi, lo uint64
	for k := range left {
		right := (*[9]uint64)(twice[k : k+9])
		h, l := bits.Mul64(left[0], right[8])
		h, l = mac(h, l, left[1], right[7])
		h, l = mac(h, l, left[2], right[6])
		h, l = mac(h, l, left[3], right[5])
		h, l = mac(h, l, left[4], right[4])
		h, l = mac(h, l, left[5], right[3])
		h, l = mac(h, l, left[6], right[2])
		h, l = mac(h, l, left[7], right[1])
		h, l = mac(h, l, left[8], right[0])
		e[k], hi, lo = split(h, l, hi, lo)
	}
	e.wrap(hi, lo)
}

// squarePortable is square for every processor.
func squarePortable(e, a *element) {
	x := *a
	var hi, lo uint64
	for k := range x {
		// Pairs around the middle of k, and around that of k+9, doubled.
		var h, l uint64
		for i := 0; 2*i < k; i++ {
			h, l = mac(h, l, 2*x[i], x[k-i])
		}
		for i := 8; 2*i > k+9; i-- {
			h, l = mac(h, l, 4*x[i], x[k+9-i])
		}
		if k%2 == 0 {
			h, l = mac(h, l, x[k/2], x[k/2])
		} else {
			h, l = mac(h, l, 2*x[(k+9)/2], x[(k+9)/2])
		}
		e[k], hi, lo = split(h, l, hi, lo)
	}
	e.wrap(hi, lo)
}

// mac adds a*b to a number of 128 bits.
func mac(hi, lo, a, b uint64) (uint64, uint64) {
	h, l := bits.Mul64(a, b)
	lo, c := bits.Add64(lo, l, 0)
	hi, _ = bits.Add64(hi, h, c)
	return hi, lo
}

// split adds the carry to a column of 128 bits, and splits that into a limb of 58 bits and the next carry.
func split(h, l, carryHi, carryLo uint64) (limb, hi, lo uint64) {
	l, c := bits.Add64(l, carryLo, 0)
	h, _ = bits.Add64(h, carryHi, c)
	return l & mask58, h >> 58, h<<6 | l>>58
}

// wrap adds what is above 2^521, which is worth as much as 1, where it belongs: the carry, which begins at
// 2^522, and the highest bit of the last limb.
func (e *element) wrap(hi, lo uint64) {
	hi, lo = hi<<1|lo>>63, lo<<1|e[8]>>57
	e[8] &= mask57
	l, c := bits.Add64(e[0], lo, 0)
	e[0] = l & mask58
	e[1] += (hi+c)<<6 | l>>58
}
