package sha256loop

import (
	"crypto/fips140"
	"crypto/sha256"
	"encoding/binary"
)

// Chain replaces sum by SHA-256(sum || be32(i)) for i from 1 to n.
func Chain(sum *[sha256.Size]byte, n uint32) {
	if !accelerated || fips140.Enabled() {
		chainGeneric(sum, 1, n)
		return
	}
	state := words(sum[:])
	for i := uint32(1); i <= n; {
		run := min(n-i+1, maxRun)
		chain(&state, i, run)
		if i += run; i == 0 {
			break // n is the greatest number there is
		}
	}
	for i, w := range state {
		binary.BigEndian.PutUint32(sum[4*i:], w)
	}
	clear(state[:])
}

func chainGeneric(sum *[sha256.Size]byte, from, n uint32) {
	var b [sha256.Size + 4]byte
	copy(b[:], sum[:])
	for i := range n {
		binary.BigEndian.PutUint32(b[sha256.Size:], from+i)
		next := sha256.Sum256(b[:])
		copy(b[:], next[:])
	}
	copy(sum[:], b[:])
	clear(b[:])
}
