package dcrypt

import (
	"sync"
	"sync/atomic"

	"filippo.io/nistec"
)

// Agreeing with one public key again and again, as deliveries do, is multiplying one point by many
// scalars. A table of that point makes it some three times faster on the large NIST curves, whose
// arithmetic in crypto/ecdh is portable code: a comb of 5 teeth in two halves (Lim and Lee, 1994).
const (
	combTeeth  = 5
	combHalves = 2
	// combUses is how often a key is used before it gets a table, which costs about as much
	// as agreeing twice.
	combUses = 3
)

// A curvePoint is a point of package nistec, whose additions are complete and take the same
// time whatever they add.
type curvePoint[P any] interface {
	Set(P) P
	Add(P, P) P
	Double(P) P
	Select(P, P, int) P
	SetBytes([]byte) (P, error)
	BytesX() ([]byte, error)
}

// A comb multiplies a point.
type comb interface {
	// x returns the X coordinate of scalar times the point, in fixed width. The scalar is
	// big-endian and within 1 to n-1. It takes the same time for every scalar.
	x(scalar []byte) ([]byte, error)
}

// newComb returns the table of a point that was checked; nil for a curve that needs none.
func newComb(info *curveInfo, point []byte) comb {
	switch info.curve {
	case Secp521r1:
		return makeComb(nistec.NewP521Point, point, 521)
	case Secp384r1:
		return makeComb(nistec.NewP384Point, point, 384)
	}
	return nil
}

type combOf[P curvePoint[P]] struct {
	identity func() P
	spacing  int // bits from tooth to tooth
	half     int // bits of a half of that, rounded up
	table    [combHalves][1 << combTeeth]P
}

func makeComb[P curvePoint[P]](identity func() P, point []byte, bits int) comb {
	base, err := identity().SetBytes(point)
	if err != nil {
		return nil
	}
	c := &combOf[P]{identity: identity, spacing: (bits + combTeeth - 1) / combTeeth}
	c.half = (c.spacing + combHalves - 1) / combHalves
	teeth := make([]P, combTeeth) // 2^(i*spacing) times the point
	for i := range teeth {
		teeth[i] = identity().Set(base)
		for range c.spacing {
			base.Double(base)
		}
	}
	for k := range 1 << combTeeth {
		c.table[0][k] = identity()
		for i, t := range teeth {
			if k>>i&1 == 1 {
				c.table[0][k].Add(c.table[0][k], t)
			}
		}
		c.table[1][k] = identity().Set(c.table[0][k])
		for range c.half {
			c.table[1][k].Double(c.table[1][k])
		}
	}
	return c
}

func (c *combOf[P]) x(scalar []byte) ([]byte, error) {
	sum, pick := c.identity(), c.identity()
	for j := c.half - 1; j >= 0; j-- {
		sum.Double(sum)
		for h := range combHalves {
			at := h*c.half + j
			if at >= c.spacing {
				continue // of the place, not of the scalar
			}
			index := 0
			for i := range combTeeth {
				index |= bitOf(scalar, i*c.spacing+at) << i
			}
			pick.Set(c.table[h][0])
			for k := 1; k < 1<<combTeeth; k++ {
				pick.Select(c.table[h][k], pick, equal(k, index))
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
