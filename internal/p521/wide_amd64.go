//go:build !purego

package p521

import "golang.org/x/sys/cpu"

// hasWide says that the processor has the instructions, and the system keeps their registers.
var hasWide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512IFMA

const (
	lanes     = 8
	wideLimbs = 11
	wideBits  = 48
	mask48    = 1<<wideBits - 1
)

// A wide is eight numbers modulo 2^521-1, one in each lane: limbs of 48 bits and one of 41, the lowest first.
//
// A tight one has limbs of less than t = 2^48 + 2^23, the highest less than 2^41 + 2^23: products and what is
// carried is tight. Factors are not: mulWide takes a of limbs below m*t and b below n*t where m and n are at most
// 15, m*n at most 30, and squareWide one of limbs below 5t.
//
// For that no column overflows. The low halves of products are below 2^52, the high ones below 30*t*t/2^52, which
// is less than 31*2^44. Most is in column 0, which has one low half; ten low ones of column 11 times 2^7; and eleven
// high ones of column 10 times 2^11: less than 2^52 + 10*2^59 + 11*31*2^55, which is less than 2^64. The others have
// at most ten high halves times 2^11 and ten times 2^4, nine low ones times 2^7, eleven low ones and a carry of
// 2^16. What is carried out of the highest, which has no low halves times 2^7 and one high half times 2^11, is below
// 2^23.
type wide [wideLimbs][lanes]uint64

// mulWide sets e to a times b, either of which it may be.
//
//go:noescape
func mulWide(e, a, b *wide)

// squareWide sets e to a times a, which it may be.
//
//go:noescape
func squareWide(e, a *wide)

// subWide sets e to a - b, without carrying, for a tight b.
//
//go:noescape
func subWide(e, a, b *wide)

// doubleStart sets less to x - delta, more to 3*(x + delta), and twice to 2y, all of tight ones, without carrying.
//
//go:noescape
func doubleStart(less, more, twice, x, y, delta *wide)

// doubleX sets x to aa - 8*beta, carried, and left to 4*beta - x, without carrying.
//
//go:noescape
func doubleX(x, left, aa, beta *wide)

// doubleY sets y to a - 8b, carried.
//
//go:noescape
func doubleY(y, a, b *wide)

// addX sets x to rr - hhh - 2v, carried, and left to v - x, without carrying.
//
//go:noescape
func addX(x, left, rr, hhh, v *wide)

// addY sets y to a - b, carried.
//
//go:noescape
func addY(y, a, b *wide)

// chooseWide sets the lanes of e to those of a whose bit is set.
//
//go:noescape
func chooseWide(e, a *wide, lanes uint64)

// takeWide sets each lane of e to the lane of a that from says, modulo 8.
//
//go:noescape
func takeWide(e, a *wide, from *[lanes]uint64)

// pickWide sets x and y, tight, to the coordinates of the entry of a place, 0 to 15, in each lane's row, y to minus
// that where the lane of negative is all ones. All of the rows is read, whatever the places.
//
//go:noescape
func pickWide(x, y *wide, rows *[lanes]*row, at, negative *[lanes]uint64)

// wipe clears the vector registers.
//
//go:noescape
func wipe()
