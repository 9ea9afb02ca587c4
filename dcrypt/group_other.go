package dcrypt

import (
	"crypto/elliptic"
	"math/big"

	"github.com/cloudflare/circl/dh/x448"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// The coefficients of the brainpool curves (RFC 5639 section 3), which
// elliptic.CurveParams has no place for. They are needed to expand a point.
const (
	brainpoolP256A = "7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9"
	brainpoolP256B = "26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6"
	brainpoolP384A = "7bc382c63d8c150c3c72080ace05afa0c2bea28e4fb22787139165efba91f90f8aa5814a503ad4eb04a8c7dd22ce2826"
	brainpoolP384B = "04a8c7dd22ce28268b39b55416f0447c2fb77de107dcd2a62e880ea53eeb62d57cb4390295dbc9943ab78696fa504c11"
	brainpoolP512A = "7830a3318b603b89e2327145ac234cc594cbdd8d3df91610a83441caea9863bc2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a72bf2c7b9e7c1ac4d77fc94ca"
	brainpoolP512B = "3df91610a83441caea9863bc2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a72bf2c7b9e7c1ac4d77fc94cadc083e67984050b75ebae5dd2809bd638016f723"
)

func appendPoint(x, y *big.Int, size int) []byte {
	b := make([]byte, 1+2*size)
	b[0] = 4
	x.FillBytes(b[1 : 1+size])
	y.FillBytes(b[1+size:])
	return b
}

// x448Group is RFC 7748's X448, by circl.
type x448Group struct{}

type x448Agreement struct{ scalar x448.Key }

func (x448Group) private(scalar []byte) (agreement, []byte, error) {
	a := &x448Agreement{}
	var pub x448.Key
	if copy(a.scalar[:], scalar) != x448.Size {
		return nil, nil, errScalar
	}
	x448.KeyGen(&pub, &a.scalar)
	return a, pub[:], nil
}

func (x448Group) decode(b []byte) ([]byte, error) { return append([]byte(nil), b...), nil }

func (a *x448Agreement) shared(point []byte) ([]byte, error) {
	var s, pub x448.Key
	copy(pub[:], point)
	if !x448.Shared(&s, &a.scalar, &pub) {
		return nil, errPoint // low order: the result would be zero
	}
	return s[:], nil
}

func (a *x448Agreement) clear() { clear(a.scalar[:]) }

// secp256k1Group is by decred. Its multiplication is not constant time.
type secp256k1Group struct{}

type secp256k1Agreement struct{ key secp256k1.PrivateKey }

func (secp256k1Group) private(scalar []byte) (agreement, []byte, error) {
	a := &secp256k1Agreement{}
	if a.key.Key.SetByteSlice(scalar) || a.key.Key.IsZero() {
		return nil, nil, errScalar
	}
	return a, a.key.PubKey().SerializeUncompressed(), nil
}

func (secp256k1Group) decode(b []byte) ([]byte, error) {
	p, err := secp256k1.ParsePubKey(b)
	if err != nil {
		return nil, errPoint
	}
	return p.SerializeUncompressed(), nil
}

func (a *secp256k1Agreement) shared(point []byte) ([]byte, error) {
	p, err := secp256k1.ParsePubKey(point)
	if err != nil {
		return nil, errPoint
	}
	return secp256k1.GenerateSharedSecret(&a.key, p), nil
}

func (a *secp256k1Agreement) clear() { a.key.Zero() }

// affineGroup works on the elliptic.Curve interface: secp224r1, constant time, by the
// standard library, and the brainpool curves, not constant time.
type affineGroup struct {
	info  *curveInfo
	curve elliptic.Curve
	a, b  string // hex; empty for secp224r1, which the standard library expands itself
}

type affineAgreement struct {
	group  affineGroup
	scalar []byte
}

func (g affineGroup) private(scalar []byte) (agreement, []byte, error) {
	d := new(big.Int).SetBytes(scalar)
	if d.Sign() == 0 || d.Cmp(g.curve.Params().N) >= 0 || len(scalar) != g.info.scalar {
		return nil, nil, errScalar
	}
	//lint:ignore SA1019 crypto/ecdh has neither secp224r1 nor the brainpool curves
	x, y := g.curve.ScalarBaseMult(scalar)
	a := &affineAgreement{group: g, scalar: append([]byte(nil), scalar...)}
	return a, appendPoint(x, y, g.info.scalar), nil
}

func (g affineGroup) decode(b []byte) ([]byte, error) {
	var x, y *big.Int
	switch {
	case b[0] == 4:
		x, y = new(big.Int).SetBytes(b[1:1+g.info.scalar]), new(big.Int).SetBytes(b[1+g.info.scalar:])
	case g.a == "":
		x, y = elliptic.UnmarshalCompressed(g.curve, b)
	default:
		x, y = g.expand(b)
	}
	if x == nil || y == nil {
		return nil, errPoint
	}
	p := g.curve.Params().P
	//lint:ignore SA1019 crypto/ecdh has neither secp224r1 nor the brainpool curves
	if x.Cmp(p) >= 0 || y.Cmp(p) >= 0 || !g.curve.IsOnCurve(x, y) {
		return nil, errPoint
	}
	return appendPoint(x, y, g.info.scalar), nil
}

// expand solves y^2 = x^3 + ax + b for the root whose lowest bit is that of the first
// octet. It returns nil where there is none.
func (g affineGroup) expand(compressed []byte) (x, y *big.Int) {
	p := g.curve.Params().P
	a, _ := new(big.Int).SetString(g.a, 16)
	b, _ := new(big.Int).SetString(g.b, 16)
	x = new(big.Int).SetBytes(compressed[1:])
	if x.Cmp(p) >= 0 {
		return nil, nil
	}
	y = new(big.Int).Mul(x, x)
	y.Add(y, a).Mul(y, x).Add(y, b).Mod(y, p)
	if y.ModSqrt(y, p) == nil {
		return nil, nil
	}
	if byte(y.Bit(0)) != compressed[0]&1 {
		y.Sub(p, y)
	}
	return x, y
}

func (a *affineAgreement) shared(point []byte) ([]byte, error) {
	n := a.group.info.scalar
	x, y := new(big.Int).SetBytes(point[1:1+n]), new(big.Int).SetBytes(point[1+n:])
	//lint:ignore SA1019 crypto/ecdh has neither secp224r1 nor the brainpool curves
	sx, sy := a.group.curve.ScalarMult(x, y, a.scalar)
	if sx.Sign() == 0 && sy.Sign() == 0 {
		return nil, errPoint
	}
	return sx.FillBytes(make([]byte, n)), nil
}

func (a *affineAgreement) clear() { clear(a.scalar) }
