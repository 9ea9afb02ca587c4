package p521

// A Table is multiples of a point, to multiply it by scalars. It does not change, so any number of
// goroutines may use it.
//
// A scalar has 105 digits of 5 bits. Where the table has several rows, each serves the digits of a part of
// the scalar: all parts go through the doublings together (Brickell, Gordon, McCurley and Wilson, 1992).
type Table struct {
	rows []row // row r has 1 to 16 times 2^(5*span*r) times the point
	span int   // digits of a part
}

// A row has a word of all its points together, so that an instruction may choose among them: eight words of
// X, eight of Y, and one with the 9 bits above those of X and, 32 bits higher, of Y.
type row [rowWords][entries]uint64

const rowWords = 17

// set puts a point at its place in the row.
func (r *row) set(i int, p *Point) {
	x, y := p.x.words(), p.y.words()
	for j := range 8 {
		r[j][i], r[j+8][i] = x[j], y[j]
	}
	r[16][i] = x[8] | y[8]<<32
}

// NewTable makes a table of a number of rows, from 1 to 105, of 2.1 KiB each. One row takes 520 doublings to
// multiply; the more rows, the fewer. Making a table of many takes as long as multiplying some two times.
func NewTable(p *Point, rows int) *Table {
	t := &Table{span: (digits + rows - 1) / rows}
	t.rows = make([]row, (digits+t.span-1)/t.span)
	bases := make([]accumulator, len(t.rows)-1)
	base := accumulator{x: p.x, y: p.y, z: element{1}}
	for r := range bases {
		for range window * t.span {
			base.double()
		}
		bases[r] = base
	}
	all := make([]accumulator, 0, len(t.rows)*entries)
	for _, base := range append([]Point{*p}, normalize(bases)...) {
		sum := accumulator{x: base.x, y: base.y, z: element{1}}
		all = append(all, sum)
		for range entries - 1 {
			sum.add(&base, ^uint64(0))
			all = append(all, sum)
		}
	}
	for i, p := range normalize(all) {
		t.rows[i/entries].set(i%entries, &p)
	}
	return t
}

// Mul returns the scalar times the table's point.
func (t *Table) Mul(k *Scalar) *Point {
	if len(t.rows) >= wideRows {
		if p := t.mulWide(k); p != nil {
			return p
		}
	}
	return t.mulNarrow(k)
}

// mulNarrow is Mul for every processor and all scalars.
func (t *Table) mulNarrow(k *Scalar) *Point {
	sum := accumulator{empty: ^uint64(0)}
	for at := t.span - 1; at >= 0; at-- {
		if at < t.span-1 {
			for range window {
				sum.double()
			}
		}
		for r := range t.rows {
			if i := r*t.span + at; i < digits {
				p, some := t.rows[r].pick(k.digit(i))
				sum.add(&p, some)
			}
		}
	}
	return sum.affine()
}

// pick returns a multiple of the row's point by a digit, and a mask that is zero where the digit is.
func (r *row) pick(size, negative uint64) (p Point, some uint64) {
	var masks [entries]uint64
	for i := range masks {
		masks[i] = nonzero(uint64(i+1)^size) - 1
	}
	var x, y [9]uint64
	for i := range 8 {
		x[i], y[i] = choice(&r[i], &masks), choice(&r[i+8], &masks)^negative
	}
	top := choice(&r[16], &masks)
	x[8], y[8] = top&(1<<9-1), (top>>32^negative)&(1<<9-1)
	p.x.setWords(&x)
	p.y.setWords(&y) // the modulus is all ones: what is below zero is the other bits
	return p, -nonzero(size)
}

// choice is the word whose mask is all ones; the others are zero.
func choice(w, m *[entries]uint64) uint64 {
	return w[0]&m[0] | w[1]&m[1] | w[2]&m[2] | w[3]&m[3] | w[4]&m[4] | w[5]&m[5] | w[6]&m[6] | w[7]&m[7] |
		w[8]&m[8] | w[9]&m[9] | w[10]&m[10] | w[11]&m[11] | w[12]&m[12] | w[13]&m[13] | w[14]&m[14] | w[15]&m[15]
}

// normalize turns points that are not infinite into affine ones with one inversion.
func normalize(all []accumulator) []Point {
	if len(all) == 0 {
		return nil
	}
	before := make([]element, len(all)) // the product of all Z before
	product := element{1}
	for i := range all {
		before[i] = product
		product.mul(&product, &all[i].z)
	}
	var inverse, one element
	inverse.invert(&product)
	points := make([]Point, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		one.mul(&inverse, &before[i])
		inverse.mul(&inverse, &all[i].z)
		points[i] = all[i].scale(&one)
	}
	return points
}
