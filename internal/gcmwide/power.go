package gcmwide

import "encoding/binary"

// A Power is H^n of one key: what a state is multiplied by when n blocks follow it whose own
// state, from zero, is known.
type Power struct{ p [2]uint64 } // divided by x; the lower half first

// Power computes H^n; n is at least 0.
func (k *Key) Power(n int) (p Power) {
	last := turn - BlockSize // where H is
	e := [2]uint64{binary.LittleEndian.Uint64(k.powers[last:]), binary.LittleEndian.Uint64(k.powers[last+8:])}
	one := Block{1 << 7} // the first bit is the constant term
	p.p = double(&one)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			multiply(&p.p, &e)
		}
		multiply(&e, &e)
	}
	return p
}

// Multiply multiplies a state by the power.
func (p *Power) Multiply(state *Block) {
	z := [2]uint64{binary.BigEndian.Uint64(state[8:]), binary.BigEndian.Uint64(state[:])}
	multiply(&z, &p.p)
	binary.BigEndian.PutUint64(state[:], z[1])
	binary.BigEndian.PutUint64(state[8:], z[0])
}
