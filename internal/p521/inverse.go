package p521

// Inverses are by the division steps of Bernstein and Yang ("Fast constant-time gcd computation and modular
// inversion", 2019), in Wuille's form whose delta begins at 1/2. A batch of steps looks at the lowest bits
// alone; its matrix is then applied to the whole numbers at once.
const (
	halfSteps  = 30
	batchSteps = 2 * halfSteps
	mask60     = 1<<batchSteps - 1
	topSigned  = 521 - 8*batchSteps // bits of the modulus in the highest limb
	// batches are enough for all numbers: (45907*521 + 26313) / 19929 = 1201 steps are, and invert does not rely on it.
	batches = 21
)

// A signed is a number in two's complement: limbs of 60 bits, the lowest first, and a highest with the sign.
type signed [9]uint64

// A matrix is what a batch does to two numbers, times 2^60: u and v are the first row. The sizes of a row's
// entries add up to 2^60 at most.
type matrix struct{ u, v, q, r uint64 } // in two's complement

// invert sets e to 1/a. The inverse of zero is zero. It takes the same time for all numbers.
func (e *element) invert(a *element) {
	if !e.divisionSteps(a) {
		e.power(a) // never
	}
}

// divisionSteps is invert, or reports that the steps were too few and leaves e alone.
func (e *element) divisionSteps(a *element) bool {
	// f = d*a and g = x*a modulo the modulus, always.
	f := signed{mask60, mask60, mask60, mask60, mask60, mask60, mask60, mask60, 1<<topSigned - 1}
	g := a.signed()
	var d signed
	x := signed{1}
	zeta := int64(-1) // -(delta + 1/2)
	var m matrix
	for range batches {
		zeta = m.steps(zeta, f[0], g[0])
		m.apply(&f, &g)
		outD, outX := m.apply(&d, &x)
		d.addTop(outD)
		x.addTop(outX)
	}
	var left uint64
	for _, limb := range g {
		left |= limb
	}
	if left != 0 {
		return false
	}
	d.negate(negative(f[8])) // f is 1 or -1
	e.setSigned(&d)
	return true
}

// steps sets m to what a batch does to numbers that end in f, which is odd, and g, and returns the next zeta.
func (m *matrix) steps(zeta int64, f, g uint64) int64 {
	zeta, f, g, uv, qr := half(zeta, f, g)
	u, v := entries32(uv)
	q, r := entries32(qr)
	zeta, _, _, uv, qr = half(zeta, f, g)
	u2, v2 := entries32(uv)
	q2, r2 := entries32(qr)
	*m = matrix{u2*u + v2*q, u2*v + v2*r, q2*u + r2*q, q2*v + r2*r}
	return zeta
}

// half takes half of a batch's steps. It returns the lowest bits of f and g, as many as are left, and the rows of
// its matrix: as entries are of 2^30 at most, a word holds the sum of one and 2^32 times the other.
func half(zeta int64, f, g uint64) (_ int64, _, _, uv, qr uint64) {
	uv, qr = 1, 1<<32
	for range halfSteps {
		// Where g is odd, f is added or, while delta is above zero, taken away; in that case the next f is g.
		odd, above := -(g & 1), uint64(zeta>>63)
		swap := odd & above
		zeta = zeta ^ int64(swap) - 1
		sum := g + (f^above-above)&odd
		qr += (uv ^ above - above) & odd
		f ^= (f ^ g) & swap
		uv += qr & swap
		g = sum >> 1
		uv <<= 1
	}
	return zeta, f, g, uv, qr
}

// entries32 are the two numbers of a row.
func entries32(row uint64) (low, high uint64) {
	low = uint64(int64(int32(row)))
	return low, uint64(int64(row-low) >> 32)
}

// apply applies the batch to two numbers, and returns the 60 bits that come out at the end of each.
//
// For f and g these are zeros, and both stay between minus and plus the modulus. For d and x, which are modulo the
// modulus, they have to be put back.
func (m *matrix) apply(f, g *signed) (outF, outG uint64) {
	u, v, q, r := m.u, m.v, m.q, m.r
	var fhi, flo, ghi, glo uint64
	nu, nv, nq, nr := negative(u), negative(v), negative(q), negative(r)
	for i := range 9 {
		a, b := f[i], g[i]
		fhi, flo = mac(fhi, flo, u, a)
		fhi, flo = mac(fhi, flo, v, b)
		ghi, glo = mac(ghi, glo, q, a)
		ghi, glo = mac(ghi, glo, r, b)
		// These products are of numbers without signs.
		fhi -= nu&a + nv&b
		ghi -= nq&a + nr&b
		if i == 8 { // the only limb that has one
			na, nb := negative(a), negative(b)
			fhi -= na&u + nb&v
			ghi -= na&q + nb&r
		}
		if i == 0 {
			outF, outG = flo&mask60, glo&mask60
		} else {
			f[i-1], g[i-1] = flo&mask60, glo&mask60
		}
		fhi, flo = uint64(int64(fhi)>>batchSteps), fhi<<(64-batchSteps)|flo>>batchSteps
		ghi, glo = uint64(int64(ghi)>>batchSteps), ghi<<(64-batchSteps)|glo>>batchSteps
	}
	f[8], g[8] = flo, glo
	return outF, outG
}

// addTop adds n, of 60 bits, times 2^461, which is 2^-60 and begins at bit 41 of limb 7. What came out at the end
// comes back like this. It makes a number larger by the modulus each time, for which the highest limb has room.
func (s *signed) addTop(n uint64) {
	s[7] += n << topSigned & mask60
	s[8] += n>>(batchSteps-topSigned) + s[7]>>batchSteps
	s[7] &= mask60
}

// negative is all ones where x is below zero.
func negative(x uint64) uint64 { return uint64(int64(x) >> 63) }

// negate changes the sign where the mask is all ones.
func (s *signed) negate(mask uint64) {
	carry := mask & 1
	for i := range 8 {
		s[i] = (s[i]^mask)&mask60 + carry
		carry = s[i] >> batchSteps
		s[i] &= mask60
	}
	s[8] = s[8] ^ mask + carry
}

// signed is a tight element as a number.
func (e *element) signed() (s signed) {
	words := e.words()
	s[0] = words[0] & mask60
	for i := 1; i < 9; i++ {
		s[i] = (words[i]<<(4*i) | words[i-1]>>(64-4*i)) & mask60
	}
	return s
}

// setSigned sets e to a number between minus and plus 32 times the modulus.
func (e *element) setSigned(s *signed) {
	n := *s
	// 32 times the modulus keeps it above zero, and one more does so when what is above 2^521 has come back.
	n[8] += 32 << topSigned
	carry := int64(n[8]>>topSigned) - 33
	n[8] = n[8]&(1<<topSigned-1) + 1<<topSigned
	for i := range 8 {
		limb := int64(n[i]) + carry
		n[i], carry = uint64(limb)&mask60, limb>>batchSteps
	}
	n[8] += uint64(carry)
	var words [9]uint64
	for i := range 8 {
		words[i] = n[i]>>(4*i) | n[i+1]<<(60-4*i)
	}
	words[8] = n[8] >> 32
	e.setWords(&words)
	e.carry()
}
