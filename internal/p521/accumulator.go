package p521

// An accumulator is a sum of points in Jacobian coordinates: x/z^2 and y/z^3, all tight. While empty is
// all ones it is the point at infinity, whatever the coordinates; else empty is zero.
type accumulator struct {
	x, y, z element
	empty   uint64
}

// double doubles the sum (dbl-2001-b of the Explicit-Formulas Database, for a = -3).
func (s *accumulator) double() {
	var alpha, beta, gamma, delta, t, u element
	delta.square(&s.z)
	gamma.square(&s.y)
	beta.mul(&s.x, &gamma)
	t.sub(&s.x, &delta)
	u.threeSums(&s.x, &delta)
	alpha.mul(&t, &u)

	// z = (y+z)^2 - gamma - delta
	t.add(&s.y, &s.z)
	t.square(&t)
	s.z.subBoth(&t, &gamma, &delta)

	// x = alpha^2 - 8 beta
	t.square(&alpha)
	s.x.subEight(&t, &beta)

	// y = alpha (4 beta - x) - 8 gamma^2
	u.subFromFour(&beta, &s.x)
	t.mul(&alpha, &u)
	u.square(&gamma)
	s.y.subEight(&t, &u)
}

// add adds p where the mask is all ones, and nothing where it is zero (madd-2007-bl).
//
// The formulas do not hold for adding a point to itself or to its negative. Sums meet that for few
// scalars of all, so whether they do may be seen in the time it takes.
func (s *accumulator) add(p *Point, mask uint64) {
	var zz, h, hh, i, j, r, v, t, u element
	zz.square(&s.z)
	t.mul(&p.x, &zz)
	h.sub(&t, &s.x)
	h.carry()
	t.mul(&s.z, &zz)
	t.mul(&p.y, &t)
	r.sub(&t, &s.y)
	r.carry()
	if h.zero()&^s.empty&mask == 1 {
		s.addSame(r.zero() == 1)
		return
	}
	hh.square(&h)
	i.times(4, &hh)
	j.mul(&h, &i)
	r.times(2, &r)
	v.mul(&s.x, &i)

	var sum accumulator
	// x = r^2 - j - 2v
	t.square(&r)
	u.times(2, &v)
	u.add(&u, &j)
	sum.x.sub(&t, &u)
	sum.x.carry()
	// y = r (v - x) - 2 y j
	t.sub(&v, &sum.x)
	t.mul(&r, &t)
	u.mul(&s.y, &j)
	u.times(2, &u)
	sum.y.sub(&t, &u)
	sum.y.carry()
	// z = (z+h)^2 - zz - hh
	t.add(&s.z, &h)
	t.square(&t)
	sum.z.subBoth(&t, &zz, &hh)

	one := element{1}
	sum.x.choose(&p.x, s.empty)
	sum.y.choose(&p.y, s.empty)
	sum.z.choose(&one, s.empty)
	s.x.choose(&sum.x, mask)
	s.y.choose(&sum.y, mask)
	s.z.choose(&sum.z, mask)
	s.empty &^= mask
}

// addSame adds the point that the sum is, or its negative.
func (s *accumulator) addSame(same bool) {
	if same {
		s.double()
		return
	}
	*s = accumulator{empty: ^uint64(0)}
}

// affine is the sum, which is not infinite.
func (s *accumulator) affine() *Point {
	var inverse element
	inverse.invert(&s.z)
	p := s.scale(&inverse)
	return &p
}

// scale is the sum as a point, for 1/z.
func (s *accumulator) scale(inverse *element) (p Point) {
	var square element
	square.square(inverse)
	p.x.mul(&s.x, &square)
	square.mul(&square, inverse)
	p.y.mul(&s.y, &square)
	p.x.canonical()
	p.y.canonical()
	return p
}
