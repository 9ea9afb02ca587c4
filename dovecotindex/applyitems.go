package dovecotindex

import "bytes"

// The lists within records.

// checkRanges looks over items that begin with a first and a last UID: ascending, apart,
// at least one. (Dovecot: log_view_is_uid_range_valid.)
func checkRanges(b []byte, size int) error {
	if len(b) == 0 || len(b)%size != 0 {
		return malformed("ranges of UIDs in %d bytes", len(b))
	}
	var prev uint32
	for ; len(b) > 0; b = b[size:] {
		first, last := le.Uint32(b), le.Uint32(b[4:])
		if first == 0 || first > last || first <= prev {
			return malformed("bad range of UIDs %d to %d", first, last)
		}
		prev = last
	}
	return nil
}

// eachRange calls fn for every item of a list that checkRanges likes.
func eachRange(b []byte, size int, fn func(first, last uint32, item []byte) error) error {
	if err := checkRanges(b, size); err != nil {
		return err
	}
	for ; len(b) > 0; b = b[size:] {
		if err := fn(le.Uint32(b), le.Uint32(b[4:]), b[:size]); err != nil {
			return err
		}
	}
	return nil
}

// eachUpdate calls fn for every piece of a header that is to be replaced: its offset and
// size, of 16 or 32 bits each, its bytes, padding.
func eachUpdate(b []byte, wide bool, fn func(off uint32, data []byte) error) error {
	fields := 4
	if wide {
		fields = 8
	}
	for len(b) > 0 {
		if len(b) < fields {
			return unfit("header update that ends too early")
		}
		off, n := uint32(le.Uint16(b)), uint64(le.Uint16(b[2:]))
		if wide {
			off, n = le.Uint32(b), uint64(le.Uint32(b[4:]))
		}
		if n > uint64(len(b)-fields) {
			return unfit("header update of %d bytes beyond its end", n)
		}
		end := fields + int(n)
		if err := fn(off, b[fields:end]); err != nil {
			return err
		}
		b = b[min(align4(end), len(b)):]
	}
	return nil
}

// checkAttributes looks over the names of attributes that were set or unset. Their values
// are elsewhere, and so nothing is applied; but a damaged record is the end of a log.
func checkAttributes(b []byte) error {
	i := 0
	for i+2 < len(b) && b[i] != 0 {
		if b[i] != '+' && b[i] != '-' || b[i+1] != 'p' && b[i+1] != 's' || b[i+2] == 0 {
			return malformed("attribute update with a bad key")
		}
		n := bytes.IndexByte(b[i+2:], 0)
		if n < 0 {
			return malformed("attribute update that does not end")
		}
		i += 2 + n + 1
	}
	if i == 0 || i < len(b) && b[i] != 0 {
		return malformed("attribute update that does not end")
	}
	return nil
}
