package deflate

// fastBits is how many bits the first look-up of a code takes.
const fastBits = 9

// A table decodes one Huffman code. Codes of up to fastBits bits are found at once, longer
// ones bit by bit in the canonical order (RFC 1951 section 3.2.2).
type table struct {
	fast    [1 << fastBits]uint16 // symbol<<4 | length; 0 where the code is longer
	count   [16]uint16            // codes of each length
	symbols [288]uint16           // in the order of their codes
}

// build makes the table of code lengths. It fails where there are more codes than fit, or
// fewer, but for a single code, which is allowed for distances (section 3.2.7), and none.
func (t *table) build(lengths []uint8) bool {
	*t = table{}
	for _, n := range lengths {
		t.count[n]++
	}
	t.count[0] = 0
	left, used := 1, 0
	var offset, code [17]int
	for n := 1; n <= 15; n++ {
		left = left<<1 - int(t.count[n])
		if left < 0 {
			return false
		}
		used += int(t.count[n])
		offset[n+1] = offset[n] + int(t.count[n])
		code[n+1] = (code[n] + int(t.count[n])) << 1
	}
	if left > 0 && (used > 1 || used == 1 && t.count[1] != 1) {
		return false
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		t.symbols[offset[n]] = uint16(symbol)
		offset[n]++
		c := code[n]
		code[n]++
		if n > fastBits {
			continue
		}
		for i := reverse(c, int(n)); i < len(t.fast); i += 1 << n {
			t.fast[i] = uint16(symbol)<<4 | uint16(n)
		}
	}
	return true
}

// reverse turns a code round: codes begin with their highest bit, octets with their lowest.
func reverse(code, bits int) (r int) {
	for range bits {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}

// decode finds the symbol at the beginning of n bits and its length. short says that it
// takes more bits than there are; a length of 0 without it is no code at all.
func (t *table) decode(bits uint64, n uint) (symbol int, length uint, short bool) {
	if e := t.fast[bits&(1<<fastBits-1)]; e != 0 && uint(e&15) <= n {
		return int(e >> 4), uint(e & 15), false
	}
	code, first, index := 0, 0, 0
	for length = 1; length <= 15; length++ {
		if length > n {
			return 0, 0, true
		}
		code |= int(bits & 1)
		bits >>= 1
		count := int(t.count[length])
		if code-count < first {
			return int(t.symbols[index+code-first]), length, false
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0, false
}

// The fixed codes of section 3.2.6. They are never written to.
var fixedLiterals, fixedDistances = fixedTables()

func fixedTables() (*table, *table) {
	var l [288]uint8
	for i := range l {
		switch {
		case i < 144, i >= 280:
			l[i] = 8
		case i < 256:
			l[i] = 9
		default:
			l[i] = 7
		}
	}
	var d [32]uint8 // 30 and 31 take part in the code and never occur
	for i := range d {
		d[i] = 5
	}
	literals, distances := &table{}, &table{}
	literals.build(l[:])
	distances.build(d[:])
	return literals, distances
}

// Lengths and distances (section 3.2.5): the base of each symbol and its extra bits.
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31,
		35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
		4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193,
		257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8,
		9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)
