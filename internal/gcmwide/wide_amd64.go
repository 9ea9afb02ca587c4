//go:build !purego

package gcmwide

import (
	"crypto/fips140"

	"golang.org/x/sys/cpu"
)

//go:generate go run gen.go

// available says that the processor has the instructions, and the system keeps their registers.
var available = cpu.X86.HasAES && cpu.X86.HasAVX && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ &&
	cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VAES && cpu.X86.HasAVX512VPCLMULQDQ

// Available reports whether New can make keys.
func Available() bool { return available && !fips140.Enabled() }

// crypt encrypts turns of src into dst and hashes as many octets of another place, which lies
// before dst, or is src. It does not change the counter.
//
//go:noescape
func crypt(k *Key, counter, state *[16]byte, dst, src, hashed *byte, turns int)

// ctr encrypts n octets of src into dst. It does not change the counter.
//
//go:noescape
func ctr(k *Key, counter *[16]byte, dst, src *byte, n int)

// ghash adds n octets and zeros up to a whole block to the state.
//
//go:noescape
func ghash(k *Key, state *[16]byte, b *byte, n int)

// powers fills k.powers, given the first power divided by x.
//
//go:noescape
func powers(k *Key, h *[2]uint64)

// multiply sets z to z times y, lower half first. y is divided by x.
//
//go:noescape
func multiply(z, y *[2]uint64)

// subWord is FIPS 197's SubWord.
func subWord(w uint32) uint32
