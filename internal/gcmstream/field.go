package gcmstream

import "encoding/binary"

// element is a member of GF(2^128) in GCM's bit order: hi holds the first eight
// octets of the block, and the first bit of an octet is the lowest power of x.
type element struct{ hi, lo uint64 }

func loadElement(b []byte) element {
	return element{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (e element) store(b []byte) {
	binary.BigEndian.PutUint64(b, e.hi)
	binary.BigEndian.PutUint64(b[8:], e.lo)
}

func (e element) xor(f element) element { return element{e.hi ^ f.hi, e.lo ^ f.lo} }

// mul multiplies by NIST SP 800-38D algorithm 1, in constant time: no branch and no
// table index depends on either factor.
func (e element) mul(f element) element {
	var z element
	for _, word := range [2]uint64{e.hi, e.lo} {
		for range 64 {
			take := -(word >> 63)
			z.hi ^= f.hi & take
			z.lo ^= f.lo & take
			carry := -(f.lo & 1)
			f.lo = f.lo>>1 | f.hi<<63
			f.hi = f.hi>>1 ^ carry&(0xe1<<56)
			word <<= 1
		}
	}
	return z
}

// lengths is the block of two bit counts that closes a GHASH.
func lengths(aad, text uint64) element { return element{aad * 8, text * 8} }
