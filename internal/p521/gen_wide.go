//go:build ignore

// The part of gen.go that writes wide_amd64.s: arithmetic of eight elements at once, one in each lane of
// the registers.

package main

import "strconv"

const (
	wideLimbs = 11
	wideBits  = 48 // of a limb, but for the highest
	topBits   = 521 - (wideLimbs-1)*wideBits
	wrapBits  = wideLimbs*wideBits - 521 // 2^528 is worth as much as 2^7
	highBits  = 52 - wideBits            // what VPMADD52HUQ gives begins at 2^52
)

// Registers of the products:
//
//	z0-z10   a
//	z11-z21  b, or a doubled
//	z22 z23  sums of the products' low halves in column k, and in column k+11, which comes back as 2^7 of column k
//	z24 z25  those of their high halves, which begin 52 bits higher: 4 bits into the next column
//	z26      the high halves of the column before
//	z27      the sum of the column, then its carry
//	z28      48 ones
//	z29      the lowest limb
//	z30      free
//	z31      column 10
const (
	low, lowWrapped, high, highWrapped = 22, 23, 24, 25
	before, sum, ones, lowest, free    = 26, 27, 28, 29, 30
	last                               = 31
)

// loadWide loads all limbs.
func (w *writer) loadWide(pointer string, to int) {
	for i := range wideLimbs {
		w.line("VMOVDQU64 %d(%s), Z%d", 64*i, pointer, to+i)
	}
}

func (w *writer) broadcast(n uint64, to int) {
	w.line("MOVQ $%#x, AX", n)
	w.line("VPBROADCASTQ AX, Z%d", to)
}

// columns sums the products of columns k and k+11, pairs of registers.
func (w *writer) columns(k int, products func(column int) [][2]int) {
	list, wrapped := products(k), products(k+wideLimbs)
	w.line("VPXORQ Z%d, Z%d, Z%d", low, low, low)
	w.line("VPXORQ Z%d, Z%d, Z%d", high, high, high)
	if len(wrapped) > 0 {
		w.line("VPXORQ Z%d, Z%d, Z%d", lowWrapped, lowWrapped, lowWrapped)
		w.line("VPXORQ Z%d, Z%d, Z%d", highWrapped, highWrapped, highWrapped)
	}
	for i := range max(len(list), len(wrapped)) {
		if i < len(list) {
			w.line("VPMADD52LUQ Z%d, Z%d, Z%d", list[i][0], list[i][1], low)
			w.line("VPMADD52HUQ Z%d, Z%d, Z%d", list[i][0], list[i][1], high)
		}
		if i < len(wrapped) {
			w.line("VPMADD52LUQ Z%d, Z%d, Z%d", wrapped[i][0], wrapped[i][1], lowWrapped)
			w.line("VPMADD52HUQ Z%d, Z%d, Z%d", wrapped[i][0], wrapped[i][1], highWrapped)
		}
	}
}

// product writes all columns to the pointer's limbs. What the columns stay below is in wide.go.
func (w *writer) product(to string, products func(column int) [][2]int) {
	w.broadcast(1<<wideBits-1, ones)
	// The high halves of column 10 are column 11, which wraps to the lowest.
	w.columns(wideLimbs-1, products)
	w.line("VMOVDQA64 Z%d, Z%d", low, last)
	w.line("VPSLLQ $%d, Z%d, Z%d", wrapBits, high, before)
	for k := range wideLimbs {
		if k == wideLimbs-1 {
			low := last
			w.line("VPSLLQ $%d, Z%d, Z%d", highBits, before, before)
			w.line("VPADDQ Z%d, Z%d, Z%d", before, low, low)
			w.line("VPADDQ Z%d, Z%d, Z%d", low, sum, sum)
			break
		}
		w.columns(k, products)
		w.line("VPSLLQ $%d, Z%d, Z%d", wrapBits, lowWrapped, lowWrapped)
		w.line("VPADDQ Z%d, Z%d, Z%d", lowWrapped, low, low)
		w.line("VPSLLQ $%d, Z%d, Z%d", highBits, before, before)
		w.line("VPADDQ Z%d, Z%d, Z%d", before, low, low)
		if k > 0 {
			w.line("VPADDQ Z%d, Z%d, Z%d", low, sum, sum)
		} else {
			w.line("VMOVDQA64 Z%d, Z%d", low, sum)
		}
		w.line("VPSLLQ $%d, Z%d, Z%d", wrapBits, highWrapped, highWrapped)
		w.line("VPADDQ Z%d, Z%d, Z%d", highWrapped, high, before)
		if k == 0 {
			w.line("VPANDQ Z%d, Z%d, Z%d", ones, sum, lowest)
		} else {
			w.line("VPANDQ Z%d, Z%d, Z%d", ones, sum, free)
			w.line("VMOVDQU64 Z%d, %d(%s)", free, 64*k, to)
		}
		w.line("VPSRLQ $%d, Z%d, Z%d", wideBits, sum, sum)
	}
	w.line("VPSRLQ $%d, Z%d, Z%d", wideBits-topBits, ones, free)
	w.line("VPANDQ Z%d, Z%d, Z%d", free, sum, free)
	w.line("VMOVDQU64 Z%d, %d(%s)", free, 64*(wideLimbs-1), to)
	w.line("VPSRLQ $%d, Z%d, Z%d", topBits, sum, sum)
	w.line("VPADDQ Z%d, Z%d, Z%d", lowest, sum, sum)
	w.line("VMOVDQU64 Z%d, (%s)", sum, to)
	w.line("VZEROUPPER")
	w.line("RET")
}

// text begins a function and loads its arguments.
func (w *writer) text(declaration, name string, arguments ...string) {
	w.WriteString("\n// func " + declaration + "\n")
	w.WriteString("TEXT ·" + name + "(SB), NOSPLIT, $0-" + strconv.Itoa(8*len(arguments)) + "\n")
	registers := []string{"DI", "SI", "BX", "CX", "DX", "R8"}
	for i, a := range arguments {
		w.line("MOVQ %s+%d(FP), %s", a, 8*i, registers[i])
	}
}

func (w *writer) mulWide() {
	w.text("mulWide(e, a, b *wide)", "mulWide", "e", "a", "b")
	w.loadWide("SI", 0)
	w.loadWide("BX", wideLimbs)
	w.product("DI", func(column int) (list [][2]int) {
		for i := range wideLimbs {
			if j := column - i; 0 <= j && j < wideLimbs {
				list = append(list, [2]int{i, wideLimbs + j})
			}
		}
		return list
	})
}

func (w *writer) squareWide() {
	w.text("squareWide(e, a *wide)", "squareWide", "e", "a")
	w.loadWide("SI", 0)
	for i := range wideLimbs {
		w.line("VPADDQ Z%d, Z%d, Z%d", i, i, wideLimbs+i)
	}
	w.product("DI", func(column int) (list [][2]int) {
		for i := range wideLimbs {
			switch j := column - i; {
			case j == i:
				list = append(list, [2]int{i, i})
			case i < j && j < wideLimbs:
				list = append(list, [2]int{i, wideLimbs + j})
			}
		}
		return list
	})
}

// Registers of sums and differences: z0-z10 the result, z11-z13 operands, z12 and z13 also limbs of a multiple of
// the modulus, z14 and z15 those of another, z16-z26 carries, z28 48 ones, z29 41.
const other, multiple, carries, onesTop = 12, 14, 16, 29

// modulus loads a multiple of a limb of the modulus, and of its highest.
func (w *writer) modulus(times uint64, to int) {
	w.broadcast(times*(1<<wideBits-1), to)
	w.broadcast(times*(1<<topBits-1), to+1)
}

// limb is the register of modulus that is for a limb.
func limb(register, i int) int {
	if i == wideLimbs-1 {
		return register + 1
	}
	return register
}

// carryWide makes z0-z10 tight, and writes them.
func (w *writer) carryWide(to string) {
	w.broadcast(1<<wideBits-1, ones)
	w.line("VPSRLQ $%d, Z%d, Z%d", wideBits-topBits, ones, onesTop)
	for i := range wideLimbs {
		shift := wideBits
		if i == wideLimbs-1 {
			shift = topBits
		}
		w.line("VPSRLQ $%d, Z%d, Z%d", shift, i, carries+i)
		w.line("VPANDQ Z%d, Z%d, Z%d", limb(ones, i), i, i)
	}
	for i := range wideLimbs {
		w.line("VPADDQ Z%d, Z%d, Z%d", carries+(i+wideLimbs-1)%wideLimbs, i, i)
		w.line("VMOVDQU64 Z%d, %d(%s)", i, 64*i, to)
	}
}

func (w *writer) end() {
	w.line("VZEROUPPER")
	w.line("RET")
}

// differences writes the kernels of sums: what each computes is said where it is declared.
func (w *writer) differences() {
	w.text("subWide(e, a, b *wide)", "subWide", "e", "a", "b")
	w.modulus(2, multiple)
	for i := range wideLimbs {
		w.line("VPADDQ %d(SI), Z%d, Z%d", 64*i, limb(multiple, i), i)
		w.line("VPSUBQ %d(BX), Z%d, Z%d", 64*i, i, i)
		w.line("VMOVDQU64 Z%d, %d(DI)", i, 64*i)
	}
	w.end()

	w.text("doubleStart(less, more, twice, x, y, delta *wide)", "doubleStart", "less", "more", "twice", "x", "y", "delta")
	w.modulus(2, multiple)
	for i := range wideLimbs {
		w.line("VMOVDQU64 %d(CX), Z11", 64*i)
		w.line("VMOVDQU64 %d(R8), Z12", 64*i)
		w.line("VMOVDQU64 %d(DX), Z13", 64*i)
		w.line("VPADDQ Z11, Z12, Z0")
		w.line("VPADDQ Z0, Z0, Z1")
		w.line("VPADDQ Z0, Z1, Z1")
		w.line("VMOVDQU64 Z1, %d(SI)", 64*i)
		w.line("VPADDQ Z%d, Z11, Z11", limb(multiple, i))
		w.line("VPSUBQ Z12, Z11, Z11")
		w.line("VMOVDQU64 Z11, %d(DI)", 64*i)
		w.line("VPADDQ Z13, Z13, Z13")
		w.line("VMOVDQU64 Z13, %d(BX)", 64*i)
	}
	w.end()

	w.text("addX(x, left, rr, hhh, v *wide)", "addX", "x", "left", "rr", "hhh", "v")
	w.modulus(4, multiple)
	w.modulus(2, other)
	for i := range wideLimbs {
		w.line("VPADDQ %d(BX), Z%d, Z%d", 64*i, limb(multiple, i), i)
		w.line("VPSUBQ %d(CX), Z%d, Z%d", 64*i, i, i)
		w.line("VMOVDQU64 %d(DX), Z11", 64*i)
		w.line("VPSUBQ Z11, Z%d, Z%d", i, i)
		w.line("VPSUBQ Z11, Z%d, Z%d", i, i)
	}
	w.carryWide("DI")
	for i := range wideLimbs {
		w.line("VPADDQ %d(DX), Z%d, Z11", 64*i, limb(other, i))
		w.line("VPSUBQ Z%d, Z11, Z11", i)
		w.line("VMOVDQU64 Z11, %d(SI)", 64*i)
	}
	w.end()

	w.text("doubleX(x, left, aa, beta *wide)", "doubleX", "x", "left", "aa", "beta")
	w.modulus(16, multiple)
	w.modulus(2, other)
	for i := range wideLimbs {
		w.line("VPADDQ %d(BX), Z%d, Z%d", 64*i, limb(multiple, i), i)
		w.line("VPSLLQ $3, %d(CX), Z11", 64*i)
		w.line("VPSUBQ Z11, Z%d, Z%d", i, i)
	}
	w.carryWide("DI")
	for i := range wideLimbs {
		w.line("VPSLLQ $2, %d(CX), Z11", 64*i)
		w.line("VPADDQ Z11, Z%d, Z11", limb(other, i))
		w.line("VPSUBQ Z%d, Z11, Z11", i)
		w.line("VMOVDQU64 Z11, %d(SI)", 64*i)
	}
	w.end()

	w.text("addY(y, a, b *wide)", "addY", "y", "a", "b")
	w.modulus(2, multiple)
	for i := range wideLimbs {
		w.line("VPADDQ %d(SI), Z%d, Z%d", 64*i, limb(multiple, i), i)
		w.line("VPSUBQ %d(BX), Z%d, Z%d", 64*i, i, i)
	}
	w.carryWide("DI")
	w.end()

	w.text("doubleY(y, a, b *wide)", "doubleY", "y", "a", "b")
	w.modulus(16, multiple)
	for i := range wideLimbs {
		w.line("VPADDQ %d(SI), Z%d, Z%d", 64*i, limb(multiple, i), i)
		w.line("VPSLLQ $3, %d(BX), Z11", 64*i)
		w.line("VPSUBQ Z11, Z%d, Z%d", i, i)
	}
	w.carryWide("DI")
	w.end()
}

// choose takes lanes of another element.
func (w *writer) choose() {
	w.text("chooseWide(e, a *wide, lanes uint64)", "chooseWide", "e", "a", "lanes")
	w.line("KMOVB BX, K1")
	for i := range wideLimbs {
		w.line("VMOVDQU64 %d(SI), Z%d", 64*i, i)
		w.line("VMOVDQU64 %d(DI), Z%d", 64*i, wideLimbs+i)
		w.line("VMOVDQA64 Z%d, K1, Z%d", i, wideLimbs+i)
		w.line("VMOVDQU64 Z%d, %d(DI)", wideLimbs+i, 64*i)
	}
	w.end()
}

// take permutes the lanes.
func (w *writer) take() {
	w.text("takeWide(e, a *wide, from *[lanes]uint64)", "takeWide", "e", "a", "from")
	w.line("VMOVDQU64 (BX), Z%d", wideLimbs)
	for i := range wideLimbs {
		w.line("VPERMQ %d(SI), Z%d, Z%d", 64*i, wideLimbs, i)
		w.line("VMOVDQU64 Z%d, %d(DI)", i, 64*i)
	}
	w.end()
}

// pick takes an entry of a row for each lane: z0-z16 the words, z17 which, z18 and z19 what a lane's row has.
// All of every row is read.
func (w *writer) pick() {
	w.text("pickWide(x, y *wide, rows *[lanes]*row, at, negative *[lanes]uint64)", "pickWide", "x", "y", "rows", "at", "negative")
	w.line("VMOVDQU64 (CX), Z17")
	for word := range rowWords {
		w.line("VPXORQ Z%d, Z%d, Z%d", word, word, word)
	}
	w.line("MOVQ $1, AX")
	for lane := range 8 {
		w.line("MOVQ %d(BX), R9", 8*lane)
		w.line("KMOVB AX, K1")
		w.line("ADDQ AX, AX")
		for word := range rowWords {
			w.line("VMOVDQU64 %d(R9), Z18", 128*word)
			w.line("VPERMT2Q %d(R9), Z17, Z18", 128*word+64)
			w.line("VMOVDQA64 Z18, K1, Z%d", word)
		}
	}
	// The highest words hold 9 bits of X, and 32 bits above those of Y.
	w.broadcast(1<<9-1, 20)
	w.line("VPSRLQ $32, Z16, Z17")
	w.line("VPANDQ Z20, Z16, Z16")
	w.broadcast(1<<wideBits-1, ones)
	w.limbs("DI", [9]int{0, 1, 2, 3, 4, 5, 6, 7, 16})
	w.line("VMOVDQU64 (DX), Z21")
	for word := range 8 {
		w.line("VPXORQ Z21, Z%d, Z%d", 8+word, 8+word)
	}
	w.line("VPANDQ Z20, Z21, Z21")
	w.line("VPXORQ Z21, Z17, Z17")
	w.limbs("SI", [9]int{8, 9, 10, 11, 12, 13, 14, 15, 17})
	w.end()
}

const rowWords = 17

// limbs cuts words of 64 bits into limbs.
func (w *writer) limbs(to string, words [9]int) {
	for i := range wideLimbs {
		word, shift := wideBits*i/64, wideBits*i%64
		w.line("VPSRLQ $%d, Z%d, Z18", shift, words[word])
		if 64-shift < wideBits {
			w.line("VPSLLQ $%d, Z%d, Z19", 64-shift, words[word+1])
			w.line("VPORQ Z19, Z18, Z18")
		}
		w.line("VPANDQ Z%d, Z18, Z18", ones)
		w.line("VMOVDQU64 Z18, %d(%s)", 64*i, to)
	}
}

// wipe clears all registers.
func (w *writer) wipe() {
	w.text("wipe()", "wipe")
	for i := range 32 {
		w.line("VPXORQ Z%d, Z%d, Z%d", i, i, i)
	}
	w.line("KXORQ K1, K1, K1")
	w.end()
}

func (w *writer) wide() {
	w.mulWide()
	w.squareWide()
	w.differences()
	w.choose()
	w.take()
	w.pick()
	w.wipe()
}
