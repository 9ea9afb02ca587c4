package dovecotindex

// parseSnapshot reads a dovecot.index into s, which is new, and returns the place in the
// log up to which it is the state. The error says that nothing of the file can be used.
func (s *state) parseSnapshot(name string, b []byte) *CorruptError {
	bad := func(at int, err error) *CorruptError { return &CorruptError{name, int64(at), err.Error()} }
	count, size, err := s.parseBase(b)
	if err != nil {
		return bad(0, err)
	}
	at := align8(int(le.Uint16(b[hdrBaseSize:])))
	end := int(le.Uint32(b[hdrSize:]))
	var offsets []int
	for at < end {
		n, off, err := s.parseExtension(b[at:end], size)
		if err != nil {
			return bad(at, err)
		}
		offsets = append(offsets, off)
		at += n
	}
	if err := s.parseRecords(b[end:], count, size, offsets); err != nil {
		return bad(end, err)
	}
	if x := s.lookup(extKeywords); x != nil {
		if err := s.parseKeywords(x); err != nil {
			return bad(baseHeaderSize, err)
		}
	}
	x := s.lookup(extModseq)
	s.tracking = x != nil && x.size == 8
	return nil
}

// parseBase checks the base header and returns the number and the size of records. Counts of
// messages that have flags are not believed anyhow, and not looked at.
func (s *state) parseBase(b []byte) (count, size int, err error) {
	if len(b) < baseHeaderSize {
		return 0, 0, unfit("file is shorter than the header of an index")
	}
	h := baseHeader(b)
	base, end := uint32(le.Uint16(b[hdrBaseSize:])), h.get(hdrSize)
	switch {
	case b[hdrMajor] != indexMajor:
		return 0, 0, unfit("index of unknown version %d", b[hdrMajor])
	case b[hdrCompat] != compatLittle:
		return 0, 0, unfit("index of a big-endian machine")
	case h.get(hdrFlags)&flagMarkedBroken != 0 || h.get(hdrIndexID) == 0:
		return 0, 0, unfit("index that was marked as damaged")
	case base < baseHeaderSize || end < base || uint64(end) > uint64(len(b)):
		return 0, 0, unfit("bad sizes of headers: %d and %d", base, end)
	case h.get(hdrRecordSize) < minRecordSize || h.get(hdrRecordSize) > maxRow+1:
		return 0, 0, unfit("records of %d bytes", h.get(hdrRecordSize))
	case h.get(hdrNextUID) == 0:
		return 0, 0, unfit("next UID is 0")
	}
	n, row := uint64(h.get(hdrMessages)), uint64(h.get(hdrRecordSize))
	if n > uint64(len(b)-int(end))/row {
		return 0, 0, unfit("%d records do not fit into the file", n)
	}
	s.hdr = append(baseHeader(nil), b[:base]...)
	return int(n), int(row), nil
}

// parseExtension reads one extension's header and returns its length with padding and where
// the extension's data are in a record.
func (s *state) parseExtension(b []byte, row int) (n, offset int, err error) {
	const fixed = 16
	if len(b) <= fixed {
		return 0, 0, unfit("extension that ends too early")
	}
	u := intro{hdrSize: le.Uint32(b), resetID: le.Uint32(b[4:]), recordSize: le.Uint16(b[10:]), align: le.Uint16(b[12:])}
	offset = int(le.Uint16(b[8:]))
	nameEnd := fixed + int(le.Uint16(b[14:]))
	begin := align8(nameEnd)
	if begin > len(b) || u.hdrSize > maxExtHeader || align8(int(u.hdrSize)) > len(b)-begin {
		return 0, 0, unfit("extension with a header of %d bytes that does not fit", u.hdrSize)
	}
	name := string(b[fixed:nameEnd])
	if err := u.check(name); err != nil {
		return 0, 0, err
	}
	if u.recordSize != 0 && (offset < minRecordSize || offset+int(u.recordSize) > row) {
		return 0, 0, unfit("extension %q at %d of a record of %d bytes", name, offset, row)
	}
	if s.lookup(name) != nil {
		return 0, 0, unfit("extension %q twice", name)
	}
	x, err := s.register(name, u.resetID, int(u.hdrSize), int(u.recordSize), int(u.align))
	if err != nil {
		return 0, 0, err
	}
	copy(x.header, b[begin:])
	return begin + len(x.header), offset, nil
}

// parseRecords takes rows apart into columns.
func (s *state) parseRecords(b []byte, count, row int, offsets []int) error {
	s.uids, s.flags = make([]uint32, count), make([]uint8, count)
	next := s.hdr.get(hdrNextUID)
	var prev uint32
	for i := range count {
		rec := b[i*row : (i+1)*row]
		uid := le.Uint32(rec)
		if uid <= prev || uid >= next {
			return unfit("record %d has UID %d after %d, with %d the next to be given", i+1, uid, prev, next)
		}
		s.uids[i], s.flags[i], prev = uid, rec[4], uid
	}
	for k, x := range s.exts {
		if x.size == 0 {
			continue
		}
		for i := range count {
			data := b[i*row+offsets[k]:][:x.size]
			if x.b == nil && isZero(data) {
				continue
			}
			rec, err := s.writable(x, i)
			if err != nil {
				return err
			}
			copy(rec, data)
		}
	}
	return nil
}
