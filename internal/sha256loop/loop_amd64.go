//go:build !purego

package sha256loop

import "encoding/binary"

// accelerated says that the processor has SHA, SSSE3 and SSE4.1 (CPUID leaves 1 and 7).
var accelerated = func() bool {
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return false
	}
	_, _, features, _ := cpuid(1, 0)
	_, extended, _, _ := cpuid(7, 0)
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	return features&ssse3 != 0 && features&sse41 != 0 && extended&sha != 0
}()

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

// iterate does rounds of PBKDF2 for both blocks.
//
//go:noescape
func iterate(l *lanes, rounds int)

// chain does Chain's steps from i to i+n-1; n is above 0.
//
//go:noescape
func chain(state *[8]uint32, i, n uint32)

// compressWords is SHA-256's compression function of a block as words.
//
//go:noescape
func compressWords(state *[8]uint32, block *[16]uint32)

func compress(state *[8]uint32, block *[blockSize]byte) {
	var w [16]uint32
	for i := range w {
		w[i] = binary.BigEndian.Uint32(block[4*i:])
	}
	compressWords(state, &w)
	clear(w[:])
}
