package p521

import (
	"errors"
	"math/bits"
	"sync"
)

// ErrScalar is what NewScalar returns for a number that is no private value.
var ErrScalar = errors.New("p521: a scalar must be from 1 to n-1")

// order is n, the number of points, big-endian.
var order = sync.OnceValue(func() []byte {
	return decodeHex("01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409")
})

const (
	window  = 5                              // bits of a digit
	digits  = (8*Size - 7 + window) / window // 105: of 521 bits, and one for what the last carries
	entries = 1 << (window - 1)              // multiples in a table, for digits have signs
)

// A Scalar is a private value, from 1 to n-1.
type Scalar struct{ b [Size + 1]byte } // little-endian, with an octet to read beyond the last

// NewScalar reads a big-endian number of Size octets. For one that is zero, n or more it returns
// ErrScalar; it takes the same time for all others.
func NewScalar(b []byte) (*Scalar, error) {
	if len(b) != Size {
		return nil, ErrScalar
	}
	n := order()
	var k Scalar
	var any, borrow uint64
	for i := range Size {
		at := Size - 1 - i
		k.b[i] = b[at]
		any |= uint64(b[at])
		_, borrow = bits.Sub64(uint64(b[at]), uint64(n[at]), borrow)
	}
	if any == 0 || borrow == 0 {
		k.Clear()
		return nil, ErrScalar
	}
	return &k, nil
}

// Clear overwrites the scalar, which is of no use then.
func (k *Scalar) Clear() { clear(k.b[:]) }

// digit is the i-th digit, from the lowest, of the number written in digits from -16 to 16 (Booth):
// its size, and a mask of all ones where it is below zero.
func (k *Scalar) digit(i int) (size, negative uint64) {
	// The window's bits and the highest of the one below.
	var w uint64
	if i == 0 {
		w = uint64(k.b[0]) << 1
	} else {
		at := window*i - 1
		w = (uint64(k.b[at/8]) | uint64(k.b[at/8+1])<<8) >> (at % 8)
	}
	w &= 1<<(window+1) - 1
	negative = -(w >> window)
	size = (w ^ negative) & (1<<(window+1) - 1)
	return size>>1 + size&1, negative
}
