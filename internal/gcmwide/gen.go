//go:build ignore

// Gen writes wide_amd64.s, or the file that it is told. The loop that encrypts is two lists of instructions, AES and GHASH,
// that know nothing of each other; they are woven together so that a processor which looks only
// so far ahead finds work of both.
//
// Registers (zN, its lower parts yN and xN):
//
//	z0-z7   counter blocks on their way to being key stream, four each
//	z8-z10  sums of products: weight 1, weight 2^128, weight 2^64
//	z11     four blocks of what is hashed
//	z12     the state of GHASH, in its lowest lane
//	z13 z14 free
//	z15     the next four counters
//	z16-z28 the round keys, each four times, but for the 14th, for which there is no room
//	z29     four powers of H
//	z30     the last round key
//	z31     the shuffle that turns the octets of four blocks around
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
)

// wide is how many registers of four blocks one turn of the loops works on.
const wide = 8

type list []string

func (l *list) add(format string, args ...any) { *l = append(*l, fmt.Sprintf("\t"+format, args...)) }

// product multiplies the four blocks in z11 by four powers in a register, lane by lane, and adds
// the three parts of the products to the sums, or begins the sums.
func (l *list) product(powers string, first bool) {
	if first {
		l.add("VPCLMULQDQ $0x00, %s, Z11, Z8", powers)
		l.add("VPCLMULQDQ $0x11, %s, Z11, Z9", powers)
		l.add("VPCLMULQDQ $0x01, %s, Z11, Z10", powers)
		l.add("VPCLMULQDQ $0x10, %s, Z11, Z13", powers)
		l.add("VPXORQ Z13, Z10, Z10")
		return
	}
	l.add("VPCLMULQDQ $0x00, %s, Z11, Z13", powers)
	l.add("VPCLMULQDQ $0x11, %s, Z11, Z14", powers)
	l.add("VPXORQ Z13, Z8, Z8")
	l.add("VPXORQ Z14, Z9, Z9")
	l.add("VPCLMULQDQ $0x01, %s, Z11, Z13", powers)
	l.add("VPCLMULQDQ $0x10, %s, Z11, Z14", powers)
	l.add("VPTERNLOGQ $0x96, Z13, Z14, Z10")
}

// reduce brings the sums down to 128 bits a lane, in z9. The field's polynomial is, in this order
// of bits, p = 2^128 + c*2^64 + 1 with c = 0xc2<<56. Adding n*p for the lowest quadword n of the
// sums makes it zero, and is the same as adding n*c*2^64 and n*2^128. Done twice, 128 bits are
// left above. z8 = low, z10 = middle, z9 = high; swapping the quadwords of a sum lets both
// its parts be added where they belong at once.
func (l *list) reduce() {
	l.add("VPCLMULQDQ $0x00, polynomial<>(SB), Z8, Z13")
	l.add("VPSHUFD $0x4e, Z8, Z8")
	l.add("VPTERNLOGQ $0x96, Z13, Z8, Z10")
	l.add("VPCLMULQDQ $0x00, polynomial<>(SB), Z10, Z13")
	l.add("VPSHUFD $0x4e, Z10, Z10")
	l.add("VPTERNLOGQ $0x96, Z13, Z10, Z9")
}

// fold adds the four lanes of z9: the state.
func (l *list) fold() {
	l.add("VEXTRACTI64X4 $1, Z9, Y13")
	l.add("VPXORQ Y13, Y9, Y9")
	l.add("VEXTRACTI64X2 $1, Y9, X13")
	l.add("VPXORQ X13, X9, X12")
}

// hash adds a turn's blocks at the pointer to the state. The first ones, which wait for the state
// of the turn before, come last.
func hash(pointer string) (l list) {
	for i := range wide {
		j := (i + 1) % wide
		l.add("VMOVDQU64 %d(%s), Z11", 64*j, pointer)
		l.add("VPSHUFB Z31, Z11, Z11")
		if j == 0 {
			l.add("VPXORQ Z12, Z11, Z11")
		}
		l.add("VMOVDQU64 Key_powers+%d(AX), Z29", 64*j)
		l.product("Z29", i == 0)
	}
	l.reduce()
	l.fold()
	return l
}

// keyStream is a turn's counter blocks and the rounds that all keys have.
func keyStream(n int) (l list) {
	for j := range n {
		l.add("VPSHUFB Z31, Z15, Z%d", j)
		l.add("VPADDD four<>(SB), Z15, Z15")
		l.add("VPXORQ Z16, Z%d, Z%d", j, j)
	}
	for round := 1; round < 10; round++ {
		l.round(round, n)
	}
	return l
}

func (l *list) round(round, n int) {
	key := 16 + round
	if round == 13 {
		key = 13
		l.add("VBROADCASTI32X4 Key_schedule+%d(AX), Z13", 16*round)
	}
	for j := range n {
		l.add("VAESENC Z%d, Z%d, Z%d", key, j, j)
	}
}

// lastRounds are those that only longer keys have, and the last.
func lastRounds(label string, n int) (l list) {
	l.add("CMPQ DX, $12")
	l.add("JLT %sLast", label)
	l.round(10, n)
	l.round(11, n)
	l.add("JEQ %sLast", label)
	l.round(12, n)
	l.round(13, n)
	l = append(l, label+"Last:")
	for j := range n {
		l.add("VAESENCLAST Z30, Z%d, Z%d", j, j)
	}
	return l
}

// keys loads what encryption needs: AX is the key, BX the counter block.
func keys() (l list) {
	l.add("MOVQ Key_rounds(AX), DX")
	for i := range 13 {
		l.add("VBROADCASTI32X4 Key_schedule+%d(AX), Z%d", 16*i, 16+i)
	}
	l.add("MOVQ DX, CX")
	l.add("SHLQ $4, CX")
	l.add("VBROADCASTI32X4 Key_schedule(AX)(CX*1), Z30")
	l.add("VBROADCASTI32X4 reverse<>(SB), Z31")
	l.add("VBROADCASTI32X4 (BX), Z15")
	l.add("VPSHUFB Z31, Z15, Z15")
	l.add("VPADDD upward<>(SB), Z15, Z15")
	return l
}

// wipe leaves nothing in the registers.
func wipe() (l list) {
	l.add("VZEROALL")
	for i := 16; i < 32; i++ {
		l.add("VPXORQ X%d, X%d, X%d", i, i, i)
	}
	l.add("RET")
	return l
}

// loadState and storeState turn the state around.
func loadState() (l list) {
	l.add("VMOVDQU64 (DI), X12")
	l.add("VPSHUFB X31, X12, X12")
	return l
}

func storeState() (l list) {
	l.add("VPSHUFB X31, X12, X12")
	l.add("VMOVDQU64 X12, (DI)")
	return l
}

// weave spreads the instructions of b evenly among those of a.
func weave(a, b list) (l list) {
	taken := 0
	for i, line := range a {
		l = append(l, line)
		upTo := (i + 1) * len(b) / len(a)
		l = append(l, b[taken:upTo]...)
		taken = upTo
	}
	return l
}

type writer struct{ strings.Builder }

func (w *writer) text(header string, lists ...list) {
	w.WriteString("\n" + header + "\n")
	for _, l := range lists {
		w.WriteString(strings.Join(l, "\n") + "\n")
	}
}

func lines(l ...string) list {
	for i, s := range l {
		if !strings.HasSuffix(s, ":") {
			l[i] = "\t" + s
		}
	}
	return l
}

func (w *writer) crypt() {
	var out list
	for j := range wide {
		out.add("VPXORQ %d(SI), Z%d, Z%d", 64*j, j, j)
	}
	for j := range wide {
		out.add("VMOVDQU64 Z%d, %d(R8)", j, 64*j)
	}
	w.text(`// func crypt(k *Key, counter, state *[16]byte, dst, src, hashed *byte, turns int)
TEXT ·crypt(SB), NOSPLIT, $0-56`,
		lines("MOVQ k+0(FP), AX", "MOVQ counter+8(FP), BX", "MOVQ state+16(FP), DI",
			"MOVQ dst+24(FP), R8", "MOVQ src+32(FP), SI", "MOVQ hashed+40(FP), R9", "MOVQ turns+48(FP), R10"),
		keys(), loadState(),
		lines("TESTQ R10, R10", "JLE cryptDone", "cryptTurn:"),
		// What is hashed may be what dst overwrites, so all of it is loaded before that.
		weave(keyStream(wide), hash("R9")), lastRounds("crypt", wide), out,
		lines(fmt.Sprintf("ADDQ $%d, SI", 64*wide), fmt.Sprintf("ADDQ $%d, R8", 64*wide), fmt.Sprintf("ADDQ $%d, R9", 64*wide),
			"DECQ R10", "JNZ cryptTurn", "cryptDone:"),
		storeState(), wipe())
}

// mask makes K1 select the CX lowest octets of 64, where there are fewer.
func mask(label string) list {
	return lines("MOVQ $-1, R11", "CMPQ CX, $64", "JGE "+label+"Whole", "SHLQ CX, R11", "NOTQ R11", label+"Whole:", "KMOVQ R11, K1")
}

func (w *writer) ctr() {
	w.text(`// func ctr(k *Key, counter *[16]byte, dst, src *byte, n int)
TEXT ·ctr(SB), NOSPLIT, $0-40`,
		lines("MOVQ k+0(FP), AX", "MOVQ counter+8(FP), BX", "MOVQ dst+16(FP), R8", "MOVQ src+24(FP), SI"),
		keys(),
		lines("MOVQ n+32(FP), CX", "TESTQ CX, CX", "JLE ctrDone", "ctrTurn:"),
		mask("ctr"), keyStream(1), lastRounds("ctr", 1),
		lines("VMOVDQU8.Z (SI), K1, Z1", "VPXORQ Z1, Z0, Z0", "VMOVDQU8 Z0, K1, (R8)",
			"ADDQ $64, SI", "ADDQ $64, R8", "SUBQ $64, CX", "JG ctrTurn", "ctrDone:"),
		wipe())
}

func (w *writer) ghash() {
	var block list
	block.add("VMOVDQU64 (R12), Z29")
	block.product("Z29", false)
	var end list
	end.reduce()
	end.fold()
	w.text(`// func ghash(k *Key, state *[16]byte, b *byte, n int)
TEXT ·ghash(SB), NOSPLIT, $0-32`,
		lines("MOVQ k+0(FP), AX", "MOVQ state+8(FP), DI", "MOVQ b+16(FP), SI", "MOVQ n+24(FP), CX",
			"VBROADCASTI32X4 reverse<>(SB), Z31"),
		loadState(),
		lines(fmt.Sprintf("CMPQ CX, $%d", 64*wide), "JLT ghashRest", "ghashTurn:"),
		hash("SI"),
		lines(fmt.Sprintf("ADDQ $%d, SI", 64*wide), fmt.Sprintf("SUBQ $%d, CX", 64*wide), fmt.Sprintf("CMPQ CX, $%d", 64*wide), "JGE ghashTurn",
			"ghashRest:", "TESTQ CX, CX", "JLE ghashDone",
			// The first of n blocks wants the n-th power of H: they are stored from the highest down.
			"MOVQ CX, DX", "ADDQ $15, DX", "ANDQ $-16, DX",
			fmt.Sprintf("LEAQ Key_powers+%d(AX), R12", 64*wide), "SUBQ DX, R12",
			"VPXORQ Z8, Z8, Z8", "VPXORQ Z9, Z9, Z9", "VPXORQ Z10, Z10, Z10", "ghashFour:"),
		mask("ghash"),
		lines("VMOVDQU8.Z (SI), K1, Z11", "VPSHUFB Z31, Z11, Z11", "VPXORQ Z12, Z11, Z11", "VPXORQ X12, X12, X12"),
		block,
		lines("ADDQ $64, SI", "ADDQ $64, R12", "SUBQ $64, CX", "JG ghashFour"),
		end,
		lines("ghashDone:"),
		storeState(), wipe())
}

// times makes z9 the product of z11 and another register, lane by lane.
func times(register string) (l list) {
	l.product(register, true)
	l.reduce()
	return l
}

func (w *writer) powers() {
	var square, combine, store list
	// z1 = H, z2 = H^2, z3 = H^3, z4 = H^4, in all lanes.
	square = append(square, lines("VMOVDQA64 Z1, Z11")...)
	for i := 2; i <= 4; i++ {
		square = append(append(square, times("Z1")...), lines(fmt.Sprintf("VMOVDQA64 Z9, Z%d", i), "VMOVDQA64 Z9, Z11")...)
	}
	// The lowest lane has the first block, which wants the highest power.
	combine.add("VINSERTI64X2 $1, X3, Y4, Y5")
	combine.add("VINSERTI64X2 $1, X1, Y2, Y6")
	combine.add("VINSERTI64X4 $1, Y6, Z5, Z11")
	for j := wide - 1; j >= 0; j-- {
		store.add("VMOVDQU64 Z11, Key_powers+%d(AX)", 64*j)
		if j > 0 {
			store = append(append(store, times("Z4")...), lines("VMOVDQA64 Z9, Z11")...)
		}
	}
	w.text(`// func powers(k *Key, h *[2]uint64)
TEXT ·powers(SB), NOSPLIT, $0-16`,
		lines("MOVQ k+0(FP), AX", "MOVQ h+8(FP), SI", "VBROADCASTI32X4 (SI), Z1"),
		square, combine, store, wipe())
}

func (w *writer) multiply() {
	w.text(`// func multiply(z, y *[2]uint64)
TEXT ·multiply(SB), NOSPLIT, $0-16`,
		lines("MOVQ z+0(FP), DI", "MOVQ y+8(FP), SI", "VMOVDQU64 (DI), X11", "VMOVDQU64 (SI), X1"),
		times("Z1"),
		lines("VMOVDQU64 X9, (DI)"), wipe())
}

// subWord applies AES's S-box to four octets, without a table that is read at secret places.
func (w *writer) subWord() {
	w.text(`// func subWord(w uint32) uint32
TEXT ·subWord(SB), NOSPLIT, $0-12`,
		lines("MOVL w+0(FP), AX", "VMOVD AX, X0", "VPSHUFD $0, X0, X0", "VAESKEYGENASSIST $0, X0, X0",
			"VMOVD X0, AX", "MOVL AX, ret+8(FP)", "VZEROALL", "RET"))
}

const head = `// Code generated by gen.go. DO NOT EDIT.

//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The octets of a block in reverse.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16
`

// constant is one of four lanes.
func (w *writer) constant(name string, lane func(i int) (low, high uint64)) {
	w.WriteString("\n")
	for i := range 4 {
		low, high := lane(i)
		fmt.Fprintf(w, "DATA %s<>+%d(SB)/8, $%#x\n", name, 16*i, low)
		fmt.Fprintf(w, "DATA %s<>+%d(SB)/8, $%#x\n", name, 16*i+8, high)
	}
	fmt.Fprintf(w, "GLOBL %s<>(SB), RODATA|NOPTR, $64\n", name)
}

func main() {
	var w writer
	w.WriteString(head)
	w.constant("upward", func(i int) (uint64, uint64) { return uint64(i), 0 })
	w.constant("four", func(int) (uint64, uint64) { return 4, 0 })
	w.constant("polynomial", func(int) (uint64, uint64) { return 0xc2 << 56, 0 })
	w.crypt()
	w.ctr()
	w.ghash()
	w.powers()
	w.multiply()
	w.subWord()
	name := "wide_amd64.s"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	if err := os.WriteFile(name, []byte(w.String()), 0o644); err != nil {
		log.Fatal(err)
	}
}
