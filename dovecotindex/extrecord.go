package dovecotindex

// Changes to the data of the current extension. (Dovecot: mail-index-sync-ext.c.)

// ready says whether a record for the current extension is to be applied.
func (s *state) ready() (bool, error) {
	if !s.current.introduced {
		return false, unfit("record for an extension that was not introduced")
	}
	return !s.current.ignore && s.current.ext != nil, nil
}

// resetExtension gives the current extension another reset id, also where it is ignored for
// its present one, and zeroes its data unless they are to be kept.
func (s *state) resetExtension(id uint32, preserve bool) error {
	x := s.current.ext
	if x == nil {
		return unfit("reset of an extension that was not introduced")
	}
	x.resetID = id
	if !preserve {
		s.wipe(x)
	}
	return nil
}

// setHeader changes the header of the current extension.
func (s *state) setHeader(off uint32, data []byte) error {
	ok, err := s.ready()
	if !ok {
		return err
	}
	x := s.current.ext
	if uint64(off)+uint64(len(data)) > uint64(x.hdrSize) {
		return unfit("header of extension %q: %d bytes at %d of %d", x.name, len(data), off, x.hdrSize)
	}
	copy(x.header[off:], data)
	if x.name == extModseq {
		return s.startTracking(x)
	}
	return nil
}

// setRecord changes one record; of a message that is gone it is no error.
func (s *state) setRecord(uid uint32, data []byte) error {
	x := s.current.ext
	if uid == 0 || uid >= s.hdr.get(hdrNextUID) {
		return unfit("extension %q of UID %d, which was never given", x.name, uid)
	}
	i, ok := s.find(uid)
	if !ok || x.b == nil && isZero(data) {
		return nil
	}
	rec, err := s.writable(x, i)
	if err != nil {
		return err
	}
	n := copy(rec, data)
	clear(rec[n:])
	return nil
}

// increment adds to a number of 1, 2, 4 or 8 bytes. It neither wraps nor falls below zero.
func (s *state) increment(uid uint32, diff int32) error {
	x, size := s.current.ext, s.current.recordSize
	if uid == 0 || uid >= s.hdr.get(hdrNextUID) {
		return unfit("extension %q of UID %d, which was never given", x.name, uid)
	}
	if size != 1 && size != 2 && size != 4 && size != 8 {
		return unfit("extension %q is no number: %d bytes", x.name, size)
	}
	i, ok := s.find(uid)
	if !ok {
		return nil
	}
	rec, err := s.writable(x, i)
	if err != nil {
		return err
	}
	var b [8]byte
	copy(b[:], rec[:size])
	old := le.Uint64(b[:])
	limit := ^uint64(0) >> (64 - 8*size)
	var sum uint64
	if diff >= 0 {
		if sum = old + uint64(diff); sum < old || sum > limit {
			return unfit("number of extension %q for UID %d overflows", x.name, uid)
		}
	} else {
		if sum = old - uint64(-int64(diff)); sum > old {
			return unfit("number of extension %q for UID %d falls below zero", x.name, uid)
		}
	}
	le.PutUint64(b[:], sum)
	copy(rec[:size], b[:])
	return nil
}
