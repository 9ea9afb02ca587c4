package dcrypt

import "mailcrypt/internal/p521"

// combRows makes a table of 32 KiB for a public key that is used again and again: two for each of the eight lanes
// that p521 has on processors with AVX-512 IFMA, less one. Half as many take half as long again there, twice as
// many save a tenth.
const combRows = 15

// p521Group is secp521r1 by our own arithmetic, several times as fast as crypto/ecdh's, which serves
// where crypto/fips140 is enabled.
type p521Group struct{}

type p521Agreement struct{ scalar *p521.Scalar }

func (p521Group) private(scalar []byte) (agreement, []byte, error) {
	k, err := p521.NewScalar(scalar)
	if err != nil {
		return nil, nil, errScalar
	}
	return &p521Agreement{k}, p521.Generator().Mul(k).Bytes(), nil
}

// agreement implements agreer.
func (p521Group) agreement(scalar []byte) (agreement, error) {
	k, err := p521.NewScalar(scalar)
	if err != nil {
		return nil, errScalar
	}
	return &p521Agreement{k}, nil
}

func (p521Group) decode(b []byte) ([]byte, error) {
	p, err := p521.Decode(b)
	if err != nil {
		return nil, errPoint
	}
	return p.Bytes(), nil
}

func (a *p521Agreement) shared(point []byte) ([]byte, error) {
	p, err := p521.Decode(point)
	if err != nil {
		return nil, errPoint
	}
	return p.Mul(a.scalar).X(), nil
}

func (a *p521Agreement) clear() { a.scalar.Clear() }

// p521Comb is a public key's table.
type p521Comb struct{ table *p521.Table }

func newP521Comb(point []byte) comb {
	p, err := p521.Decode(point)
	if err != nil {
		return nil
	}
	return p521Comb{p521.NewTable(p, combRows)}
}

func (c p521Comb) x(scalar []byte) ([]byte, error) {
	k, err := p521.NewScalar(scalar)
	if err != nil {
		return nil, errScalar
	}
	defer k.Clear()
	return c.table.Mul(k).X(), nil
}
