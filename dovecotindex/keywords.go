package dovecotindex

import "strings"

// extKeywords is the extension that Dovecot makes by itself for keywords: its header has
// their names, its records a bit for each. In a log it is made, and numbered, by the first
// keyword that is set, without being introduced.
const extKeywords = "keywords"

// keywords are the names of an index in the order of their bits. They are never removed.
type keywords struct {
	names []string
	index map[string]int // by lower-case name
}

func (k *keywords) find(name string) (int, bool) {
	i, ok := k.index[strings.ToLower(name)]
	return i, ok
}

func (k *keywords) add(name string) int {
	if k.index == nil {
		k.index = map[string]int{}
	}
	k.names = append(k.names, name)
	low := strings.ToLower(name)
	if _, ok := k.index[low]; !ok {
		k.index[low] = len(k.names) - 1
	}
	return len(k.names) - 1
}

// keyword returns the number of a keyword, which is made where it is new, be it to remove
// it from messages.
func (s *state) keyword(name string) (int, *extension, error) {
	x := s.lookup(extKeywords)
	n, ok := s.keywords.find(name)
	if ok && x != nil && n/8 < x.size {
		return n, x, nil
	}
	if x == nil {
		var err error
		if x, err = s.register(extKeywords, 0, 0, 1, 1); err != nil {
			return 0, nil, err
		}
	}
	if !ok {
		if err := s.grow(len(name) + 64); err != nil {
			return 0, nil, err
		}
		n = s.keywords.add(name)
	}
	if n/8 >= x.size {
		if n/8 >= maxExtRecord {
			return 0, nil, unfit("too many keywords")
		}
		// Twice as much as needed, so that growing stays cheap however many follow.
		if err := s.resizeRecords(x, min(2*(n/8+1), maxExtRecord)); err != nil {
			return 0, nil, err
		}
	}
	return n, x, nil
}

// setKeyword adds a keyword to a range of UIDs, or removes it.
func (s *state) setKeyword(x *extension, n int, remove bool, first, last uint32) error {
	from, to := s.span(first, last)
	for i := from; i < to; i++ {
		s.touch(i)
		if remove && x.b == nil {
			continue
		}
		rec, err := s.writable(x, i)
		if err != nil {
			return err
		}
		if bit := byte(1) << (n % 8); remove {
			rec[n/8] &^= bit
		} else {
			rec[n/8] |= bit
		}
	}
	return nil
}

// clearKeywords removes all keywords of a range of UIDs.
func (s *state) clearKeywords(first, last uint32) {
	x := s.lookup(extKeywords)
	if x == nil {
		return
	}
	from, to := s.span(first, last)
	for i := from; i < to; i++ {
		s.touch(i)
		clear(x.at(i))
	}
}

// parseKeywords reads the header of the extension as a snapshot has it: the number of
// keywords, for each four unused bytes and where its name begins behind the table, names
// that end with NUL.
func (s *state) parseKeywords(x *extension) error {
	h := x.header[:x.hdrSize]
	if len(h) < 4 {
		return unfit("header of keywords is too short")
	}
	count := le.Uint32(h)
	if uint64(count) > uint64(len(h)-4)/8 {
		return unfit("%d keywords do not fit into their header", count)
	}
	names := h[4+8*count:]
	for i := range count {
		off := le.Uint32(h[4+8*i+4:])
		if uint64(off) >= uint64(len(names)) {
			return unfit("name of keyword %d outside the header", i)
		}
		name, _, ok := strings.Cut(string(names[off:min(len(names), int(off)+maxKeyword)]), "\x00")
		if !ok || name == "" {
			return unfit("keyword %d without a proper name", i)
		}
		s.keywords.add(name)
	}
	return nil
}

// maxKeyword is the longest name of a keyword, as the 16 bits of a log record's field allow.
const maxKeyword = 1 << 16
