package dovecotindex

import "bytes"

// apply brings a record of a log into the state. Errors are *errRecord or ErrTooLarge.
func (s *state) apply(r record) error {
	kind := r.kind()
	if kind&0x1 != 0 && kind != typeExpunge || kind&0x2000 != 0 && kind != typeExpungeGUID {
		return malformed("expunge without its guard")
	}
	if len(r.data) == 0 {
		return malformed("record of type %#x without content", kind)
	}
	switch kind {
	case typeAppend:
		return s.applyAppend(r.data)
	case typeExpunge:
		return s.applyExpunge(r)
	case typeExpungeGUID:
		return s.applyExpungeGUID(r)
	case typeFlagUpdate:
		return eachRange(r.data, 12, func(first, last uint32, item []byte) error {
			s.setFlags(first, last, item[8], item[9], internalFlags(item))
			return nil
		})
	case typeHeaderUpdate:
		return eachUpdate(r.data, false, func(off uint32, data []byte) error { return s.hdr.update(int(off), data) })
	case typeExtIntro:
		return s.applyIntros(r.data)
	case typeExtReset:
		return s.applyReset(r.data)
	case typeExtHeader, typeExtHeader32:
		return eachUpdate(r.data, kind == typeExtHeader32, s.setHeader)
	case typeExtRecord:
		return s.applyExtRecords(r.data)
	case typeIncrement:
		return s.applyIncrements(r.data)
	case typeKeywordUpdate:
		return s.applyKeyword(r.data)
	case typeKeywordReset:
		return eachRange(r.data, 8, func(first, last uint32, _ []byte) error {
			s.clearKeywords(first, last)
			return nil
		})
	case typeModseqUpdate:
		return s.applyModseqs(r.data)
	case typeAttribute:
		return checkAttributes(r.data)
	case typeDeleted, typeUndeleted, typeBoundary:
		return nil // seen by scan
	}
	return unfit("record of unknown type %#x", kind)
}

func (s *state) applyAppend(b []byte) error {
	if len(b)%8 != 0 {
		return malformed("append of %d bytes", len(b))
	}
	for ; len(b) > 0; b = b[8:] {
		if err := s.add(le.Uint32(b), b[4]); err != nil {
			return err
		}
	}
	return nil
}

// applyExpunge removes ranges of UIDs, unless the record is only a wish.
func (s *state) applyExpunge(r record) error {
	err := eachRange(r.data, 8, func(first, last uint32, _ []byte) error {
		if r.external() {
			from, to := s.span(first, last)
			for i := from; i < to; i++ {
				s.expunge(i)
			}
		}
		return nil
	})
	s.compact(false)
	return err
}

// applyExpungeGUID removes messages by UID. Their GUIDs are not compared: the record says
// what has happened. (Dovecot: mail-index-sync-update.c.)
func (s *state) applyExpungeGUID(r record) error {
	const size = 20
	if len(r.data)%size != 0 {
		return malformed("expunge of %d bytes", len(r.data))
	}
	for b := r.data; len(b) > 0; b = b[size:] {
		uid := le.Uint32(b)
		if uid == 0 {
			return malformed("expunge of UID 0")
		}
		if !r.external() {
			continue
		}
		if i, ok := s.find(uid); ok {
			s.expunge(i)
		}
	}
	s.compact(false)
	return nil
}

func (s *state) applyIntros(b []byte) error {
	for len(b) >= introSize { // less is padding
		u := intro{
			id: le.Uint32(b), resetID: le.Uint32(b[4:]), hdrSize: le.Uint32(b[8:]),
			recordSize: le.Uint16(b[12:]), align: le.Uint16(b[14:]), noShrink: b[16]&1 != 0,
		}
		n := introSize + int(le.Uint16(b[18:]))
		if n > len(b) {
			return malformed("introduction with a name beyond its end")
		}
		name, _, _ := bytes.Cut(b[introSize:n], []byte{0})
		u.name = string(name)
		if err := s.introduce(&u); err != nil {
			return err
		}
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

func (s *state) applyReset(b []byte) error {
	var rec [8]byte // old versions have the id alone
	if copy(rec[:], b) < 4 {
		return unfit("reset of an extension without an id")
	}
	return s.resetExtension(le.Uint32(rec[:]), rec[4] != 0)
}

func (s *state) applyExtRecords(b []byte) error {
	ok, err := s.ready()
	if !ok {
		return err
	}
	size := 4 + s.current.recordSize
	for ; len(b) > 0; b = b[align4(size):] {
		if len(b) < align4(size) {
			return unfit("records of extension %q end within one", s.current.ext.name)
		}
		if err := s.setRecord(le.Uint32(b), b[4:size]); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) applyIncrements(b []byte) error {
	ok, err := s.ready()
	if !ok {
		return err
	}
	for ; len(b) >= 8; b = b[8:] {
		if err := s.increment(le.Uint32(b), int32(le.Uint32(b[4:]))); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) applyKeyword(b []byte) error {
	if len(b) < 4 {
		return malformed("keyword update of %d bytes", len(b))
	}
	n := int(le.Uint16(b[2:]))
	begin := align4(4 + n)
	if n == 0 || begin > len(b) {
		return malformed("keyword update with a name of %d bytes", n)
	}
	name, _, _ := bytes.Cut(b[4:4+n], []byte{0})
	if err := checkRanges(b[begin:], 8); err != nil {
		return err
	}
	if len(name) == 0 {
		return unfit("keyword without a name")
	}
	if b[0] > 1 {
		return unfit("keyword update of kind %d", b[0])
	}
	k, x, err := s.keyword(string(name))
	if err != nil {
		return err
	}
	return eachRange(b[begin:], 8, func(first, last uint32, _ []byte) error {
		return s.setKeyword(x, k, b[0] == 1, first, last)
	})
}

func (s *state) applyModseqs(b []byte) error {
	for ; len(b) >= 12; b = b[12:] {
		if err := s.setModseq(le.Uint32(b), le.Uint64(b[4:])); err != nil {
			return err
		}
	}
	return nil
}
