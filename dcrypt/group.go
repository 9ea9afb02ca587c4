package dcrypt

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/brainpool"
)

// A group is the arithmetic of one curve. Points are uncompressed (04 || X || Y), or
// raw for X25519 and X448; scalars have the curve's fixed width.
type group interface {
	// private takes a scalar and returns what agrees on secrets with it, and the public
	// point. It refuses a scalar outside 1..n-1. It does not keep the slice.
	private(scalar []byte) (agreement, []byte, error)
	// decode checks an encoded point, compressed or not, and returns the point.
	decode(b []byte) ([]byte, error)
}

// An agreement is a private scalar that is ready for ECDH.
type agreement interface {
	// shared returns the secret in fixed width, leading zeros kept. The point is one
	// that decode returned.
	shared(point []byte) ([]byte, error)
	// clear wipes what can be wiped.
	clear()
}

// Reasons for refusing points and scalars. They stay inside this package, which turns
// them into a FormatError or ErrPassword.
var (
	errPoint  = errors.New("dcrypt: not a valid point of the curve")
	errScalar = errors.New("dcrypt: private value is out of range")
)

func (c *curveInfo) group() group {
	switch c.curve {
	case Prime256v1:
		return nistGroup{c, ecdh.P256(), elliptic.P256()}
	case Secp384r1:
		return nistGroup{c, ecdh.P384(), elliptic.P384()}
	case Secp521r1:
		if fips140.Enabled() {
			return nistGroup{c, ecdh.P521(), elliptic.P521()}
		}
		return p521Group{}
	case X25519:
		return nistGroup{c, ecdh.X25519(), nil}
	case X448:
		return x448Group{}
	case Secp256k1:
		return secp256k1Group{}
	case Secp224r1:
		return affineGroup{info: c, curve: elliptic.P224()}
	case BrainpoolP256r1:
		return affineGroup{c, brainpool.P256r1(), brainpoolP256A, brainpoolP256B}
	case BrainpoolP384r1:
		return affineGroup{c, brainpool.P384r1(), brainpoolP384A, brainpoolP384B}
	case BrainpoolP512r1:
		return affineGroup{c, brainpool.P512r1(), brainpoolP512A, brainpoolP512B}
	}
	panic("dcrypt: internal error: curve without arithmetic: " + string(c.curve))
}

// generate makes a new scalar by rejection, and its point.
func (c *curveInfo) generate() (scalar []byte, _ agreement, point []byte, err error) {
	g := c.group()
	// The chance to be rejected is under a half (brainpoolP384r1 is the worst).
	for range 256 {
		scalar = make([]byte, c.scalar)
		_, _ = rand.Read(scalar) // never fails
		if c.curve == Secp521r1 {
			scalar[0] &= 1 // 521 bits in 66 octets
		}
		var a agreement
		if a, point, err = g.private(scalar); err == nil {
			return scalar, a, point, nil
		}
		clear(scalar)
	}
	return nil, nil, nil, fmt.Errorf("dcrypt: generating a key on %s: %w", c.curve, err)
}

// decodePoint is decode with the checks that hold on every curve.
func (c *curveInfo) decodePoint(b []byte) ([]byte, error) {
	if c.raw {
		if len(b) != c.scalar {
			return nil, errPoint
		}
		return c.group().decode(b)
	}
	// The hybrid forms 06 and 07 and the single octet of infinity are refused here.
	compressed := len(b) == 1+c.scalar && (b[0] == 2 || b[0] == 3)
	if !compressed && (len(b) != 1+2*c.scalar || b[0] != 4) {
		return nil, errPoint
	}
	return c.group().decode(b)
}

// compress returns the point as it stands in a key: X and the sign of Y, or raw.
func (c *curveInfo) compress(point []byte) []byte {
	if c.raw {
		return append([]byte(nil), point...)
	}
	return append([]byte{2 | point[len(point)-1]&1}, point[1:1+c.scalar]...)
}

// nistGroup has constant-time curves of crypto/ecdh. It refuses compressed
// points, which Dovecot's keys have; crypto/elliptic expands those.
type nistGroup struct {
	info  *curveInfo
	curve ecdh.Curve
	ell   elliptic.Curve // nil for X25519
}

type nistAgreement struct{ key *ecdh.PrivateKey }

func (g nistGroup) private(scalar []byte) (agreement, []byte, error) {
	k, err := g.curve.NewPrivateKey(scalar)
	if err != nil {
		return nil, nil, errScalar
	}
	return &nistAgreement{k}, k.PublicKey().Bytes(), nil
}

func (g nistGroup) decode(b []byte) ([]byte, error) {
	if !g.info.raw && b[0] != 4 {
		x, y := elliptic.UnmarshalCompressed(g.ell, b)
		if x == nil {
			return nil, errPoint
		}
		return appendPoint(x, y, g.info.scalar), nil
	}
	if _, err := g.curve.NewPublicKey(b); err != nil {
		return nil, errPoint
	}
	return append([]byte(nil), b...), nil
}

func (a *nistAgreement) shared(point []byte) ([]byte, error) {
	pub, err := a.key.Curve().NewPublicKey(point)
	if err != nil {
		return nil, errPoint
	}
	// X25519 returns an error for the all-zero result of a low-order point.
	s, err := a.key.ECDH(pub)
	if err != nil {
		return nil, errPoint
	}
	return s, nil
}

// clear drops the key: crypto/ecdh gives no way to overwrite it.
func (a *nistAgreement) clear() { a.key = nil }
