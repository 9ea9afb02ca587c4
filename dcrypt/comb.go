package dcrypt

import (
	"crypto/fips140"
	"sync"
	"sync/atomic"

	"filippo.io/nistec"
)

// Agreeing with one public key again and again, as deliveries do, is multiplying one point by many
// scalars. A table of that point makes it some three times faster on the large NIST curves, or ten times for
// secp521r1 where p521 has eight lanes. For secp384r1, whose arithmetic in crypto/ecdh is portable code, it is a
// comb of 5 teeth in two halves (Lim and Lee, 1994).
const (
	combTeeth  = 5
	combHalves = 2
	// combUses is how often a key is used before it gets a table, which costs about as much
	// as agreeing twice.
	combUses = 3
)

// A comb multiplies a point.
type comb interface {
	// x returns the X coordinate of scalar times the point, in fixed width. The scalar is
	// big-endian and within 1 to n-1. It takes the same time for every scalar.
	x(scalar []byte) ([]byte, error)
}

// newComb returns the table of a point that was checked; nil for a curve that needs none, and where
// crypto/fips140 leaves the arithmetic to the standard library.
func newComb(info *curveInfo, point []byte) comb {
	if fips140.Enabled() {
		return nil
	}
	switch info.curve {
	case Secp521r1:
		return newP521Comb(point)
	case Secp384r1:
		return newP384Comb(point)
	}
	return nil
}

const (
	p384Spacing = (384 + combTeeth - 1) / combTeeth           // bits from tooth to tooth
	p384Half    = (p384Spacing + combHalves - 1) / combHalves // of it, rounded up
)

// p384Comb has sums of teeth, which are 2^(i*p384Spacing) times the point, and those again for the other half.
// The additions of nistec are complete and take the same time whatever they add.
type p384Comb [combHalves][1 << combTeeth]*nistec.P384Point

func newP384Comb(point []byte) comb {
	base, err := nistec.NewP384Point().SetBytes(point)
	if err != nil {
		return nil
	}
	var teeth [combTeeth]*nistec.P384Point
	for i := range teeth {
		teeth[i] = nistec.NewP384Point().Set(base)
		for range p384Spacing {
			base.Double(base)
		}
	}
	c := new(p384Comb)
	for k := range 1 << combTeeth {
		c[0][k] = nistec.NewP384Point()
		for i, t := range teeth {
			if k>>i&1 == 1 {
				c[0][k].Add(c[0][k], t)
			}
		}
		c[1][k] = nistec.NewP384Point().Set(c[0][k])
		for range p384Half {
			c[1][k].Double(c[1][k])
		}
	}
	return c
}

func (c *p384Comb) x(scalar []byte) ([]byte, error) {
	sum, pick := nistec.NewP384Point(), nistec.NewP384Point()
	for j := p384Half - 1; j >= 0; j-- {
		sum.Double(sum)
		for h := range combHalves {
			at := h*p384Half + j
			if at >= p384Spacing {
				continue // of the place, not of the scalar
			}
			index := 0
			for i := range combTeeth {
				index |= bitOf(scalar, i*p384Spacing+at) << i
			}
			pick.Set(c[h][0])
			for k := 1; k < 1<<combTeeth; k++ {
				pick.Select(c[h][k], pick, equal(k, index))
			}
			sum.Add(sum, pick)
		}
	}
	return sum.BytesX()
}

// bitOf is a bit of a big-endian number, counted from its end; 0 beyond it.
func bitOf(b []byte, i int) int {
	if i >= 8*len(b) {
		return 0
	}
	return int(b[len(b)-1-i/8]>>(i%8)) & 1
}

// equal is 1 where two small numbers are the same, else 0, in constant time.
func equal(a, b int) int { return int((uint32(a^b) - 1) >> 31) }

// A hotKey is what a public key that is used again and again has beside it.
type hotKey struct {
	uses atomic.Int32
	once sync.Once
	comb comb
}

// table returns the key's comb once it is worth having.
func (k *PublicKey) table() comb {
	if k.hot.uses.Add(1) <= combUses {
		return nil
	}
	k.hot.uses.Store(combUses)
	k.hot.once.Do(func() { k.hot.comb = newComb(k.info, k.point) })
	return k.hot.comb
}
