package deflate

import "io"

// header begins a block.
func (z *Reader) header() error {
	if z.final {
		z.bits, z.nbits, z.edge = 0, 0, true // with the rest of the last octet
		if z.ending {
			return nil
		}
		return io.EOF
	}
	if z.ending && z.nbits == 0 {
		// A client that has flushed into a stored block need not say so. What it says
		// next, if that is no block, begins with a letter or a digit.
		if err := z.more(); err != nil {
			return err
		}
		if z.input()[z.r] > 1 {
			z.edge = true
			return nil
		}
	}
	if err := z.need(3); err != nil {
		return err
	}
	z.edge = false
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.nbits & 7)
		z.block = storedHead
	case 1:
		z.literals, z.offsets, z.block = fixedLiterals, fixedDistances, coded
	case 2:
		z.block = dynamicHead
	default:
		return ErrCorrupt
	}
	return nil
}

// storedHead reads the length of a stored block (RFC 1951 section 3.2.4).
func (z *Reader) storedHead() error {
	if err := z.need(32); err != nil {
		return err
	}
	n, not := z.take(16), z.take(16)
	if n != not^0xffff {
		return ErrCorrupt
	}
	z.stored, z.block = n, stored
	if n == 0 {
		z.block, z.edge = between, true
	}
	return nil
}

// dynamicHead reads the codes of a block. Where it has to give up because the connection
// was interrupted, it begins anew.
func (z *Reader) dynamicHead() error {
	bits, nbits := z.bits, z.nbits
	z.keep = true
	err := z.dynamic()
	z.keep = false
	if err != nil {
		z.bits, z.nbits = bits, nbits
		z.again, z.taken = z.taken, nil
		return err
	}
	z.block, z.again, z.taken = coded, nil, nil
	return nil
}

// dynamic reads the codes of a block (RFC 1951 section 3.2.7).
func (z *Reader) dynamic() error {
	if err := z.need(14); err != nil {
		return err
	}
	literals, offsets, codes := z.take(5)+257, z.take(5)+1, z.take(4)+4
	if literals > 286 || offsets > 30 {
		return ErrCorrupt
	}
	var lengths [286 + 30]uint8
	for _, i := range codeOrder[:codes] {
		if err := z.need(3); err != nil {
			return err
		}
		lengths[i] = uint8(z.take(3))
	}
	t := &table{}
	if !t.build(lengths[:len(codeOrder)]) {
		return ErrCorrupt
	}
	lengths = [286 + 30]uint8{}
	for i := 0; i < literals+offsets; {
		symbol, n, err := z.code(t, 0)
		if err != nil {
			return err
		}
		z.take(n)
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		again, err := z.repeat(symbol)
		if err != nil {
			return err
		}
		value := uint8(0)
		if symbol == 16 && i > 0 {
			value = lengths[i-1]
		}
		if symbol == 16 && i == 0 || i+again > literals+offsets {
			return ErrCorrupt
		}
		for range again {
			lengths[i] = value
			i++
		}
	}
	z.literals, z.offsets = t, &table{}
	if lengths[256] == 0 || !z.literals.build(lengths[:literals]) || !z.offsets.build(lengths[literals:literals+offsets]) {
		return ErrCorrupt
	}
	return nil
}

// repeat reads how often a code length stands again.
func (z *Reader) repeat(symbol int) (again int, err error) {
	base, bits := 3, uint(2)
	switch symbol {
	case 17:
		base, bits = 3, 3
	case 18:
		base, bits = 11, 7
	}
	if err := z.need(bits); err != nil {
		return 0, err
	}
	return base + z.take(bits), nil
}

// copyStored copies what there is of a stored block.
func (z *Reader) copyStored() error {
	if err := z.more(); err != nil {
		return err
	}
	n := min(z.stored, z.w-z.r, maxHist-len(z.hist))
	z.grow(n)
	z.hist = append(z.hist, z.input()[z.r:z.r+n]...)
	z.r += n
	if z.stored -= n; z.stored == 0 {
		z.block = between
	}
	return nil
}

// code finds the symbol that begins at a bit and consumes nothing. It asks for one octet at
// a time, so that no more is taken than belongs to the stream.
func (z *Reader) code(t *table, at uint) (symbol int, length uint, err error) {
	for {
		symbol, length, short := t.decode(z.bits>>at, z.nbits-at)
		switch {
		case short:
			if err := z.need(z.nbits + 1); err != nil {
				return 0, 0, err
			}
		case length == 0:
			return 0, 0, ErrCorrupt
		default:
			return symbol, length, nil
		}
	}
}

// symbol adds one literal or match. It consumes all of it or, where it has to wait, nothing.
func (z *Reader) symbol() error {
	symbol, n, err := z.code(z.literals, 0)
	if err != nil {
		return err
	}
	switch {
	case symbol < 256:
		z.take(n)
		z.grow(1)
		z.hist = append(z.hist, byte(symbol))
		return nil
	case symbol == 256:
		z.take(n)
		z.block = between
		return nil
	case symbol-257 >= len(lengthBase):
		return ErrCorrupt
	}
	length := int(lengthBase[symbol-257])
	if n, err = z.extra(&length, n, lengthExtra[symbol-257]); err != nil {
		return err
	}
	symbol, k, err := z.code(z.offsets, n)
	if err != nil {
		return err
	}
	if symbol >= len(distanceBase) {
		return ErrCorrupt
	}
	distance := int(distanceBase[symbol])
	if n, err = z.extra(&distance, n+k, distanceExtra[symbol]); err != nil {
		return err
	}
	if distance > len(z.hist) {
		return ErrCorrupt
	}
	z.take(n)
	z.grow(length)
	for range length { // it may run into what it makes
		z.hist = append(z.hist, z.hist[len(z.hist)-distance])
	}
	return nil
}

// extra adds the extra bits that begin at a bit and returns where they end.
func (z *Reader) extra(value *int, at uint, bits uint8) (uint, error) {
	end := at + uint(bits)
	if err := z.need(end); err != nil {
		return 0, err
	}
	*value += int(z.bits >> at & (1<<bits - 1))
	return end, nil
}

// grow makes room for n octets. A client sends little: its window is as large as that.
func (z *Reader) grow(n int) {
	if need := len(z.hist) + n; need > cap(z.hist) {
		hist := make([]byte, len(z.hist), min(max(2*cap(z.hist), need, 512), maxHist))
		copy(hist, z.hist)
		z.hist = hist
	}
}
