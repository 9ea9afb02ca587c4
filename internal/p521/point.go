package p521

import (
	"encoding/hex"
	"errors"
	"sync"
)

// ErrPoint is what Decode returns for octets that are no point of the curve.
var ErrPoint = errors.New("p521: not a point of the curve")

// A Point is one of the curve, never the point at infinity. It does not change, so any number
// of goroutines may use it.
type Point struct{ x, y element } // tight, of one form

// Decode reads a point: 04 X Y, or 02 or 03 and X (SEC 1 section 2.3.4). All points that it takes
// are in the group of prime order n, for the curve's cofactor is 1.
func Decode(b []byte) (*Point, error) {
	p := new(Point)
	if len(b) < 1+Size || !p.x.setBytes(b[1:1+Size]) {
		return nil, ErrPoint
	}
	right := p.x.rightSide()
	switch {
	case b[0] == 4 && len(b) == 1+2*Size:
		var left element
		if !p.y.setBytes(b[1+Size:]) {
			return nil, ErrPoint
		}
		left.square(&p.y)
		left.sub(&left, &right)
		left.carry()
		if left.zero() == 0 {
			return nil, ErrPoint
		}
	case (b[0] == 2 || b[0] == 3) && len(b) == 1+Size:
		if !p.y.root(&right) {
			return nil, ErrPoint
		}
		p.y.canonical()
		if byte(p.y[0]&1) != b[0]&1 {
			p.y.sub(new(element), &p.y)
			p.y.carry()
			p.y.canonical()
		}
		if byte(p.y[0]&1) != b[0]&1 {
			return nil, ErrPoint // zero has no odd root; the curve has no such point
		}
	default:
		return nil, ErrPoint
	}
	return p, nil
}

// rightSide is x^3 - 3x + b, tight.
func (x *element) rightSide() element {
	var r, triple element
	r.square(x)
	r.mul(&r, x)
	triple.times(3, x)
	r.sub(&r, &triple)
	r.add(&r, curveB())
	r.carry()
	return r
}

// Bytes is the point as 04 X Y.
func (p *Point) Bytes() []byte {
	b := append(make([]byte, 0, 1+2*Size), 4)
	return p.y.bytes(p.x.bytes(b))
}

// X is the X coordinate, of Size octets: what ECDH agrees on (SEC 1 section 3.3.1).
func (p *Point) X() []byte { return p.x.bytes(make([]byte, 0, Size)) }

// Mul returns the scalar times the point. For one that is multiplied often a table is faster.
func (p *Point) Mul(k *Scalar) *Point { return NewTable(p, 1).Mul(k) }

var curveB = sync.OnceValue(func() *element {
	e := fromHex("0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00")
	return &e
})

// Generator is the table of the curve's base point, of 120 KiB, which is made at its first use.
var Generator = sync.OnceValue(func() *Table {
	return NewTable(&Point{
		x: fromHex("00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66"),
		y: fromHex("011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"),
	}, 53)
})

func fromHex(s string) (e element) {
	if !e.setBytes(decodeHex(s)) {
		panic("p521: a constant is not in range")
	}
	return e
}

// decodeHex reads a constant of Size octets.
func decodeHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != Size {
		panic("p521: a constant is not of its size")
	}
	return b
}
