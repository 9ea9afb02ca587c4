package dovecotindex

import (
	"slices"
	"strings"
)

// Bounds of an extension. (Dovecot: mail-index-private.h, mail-index-map.c.)
const (
	maxExtHeader  = 16<<20 - 1
	maxExtRecord  = 32767
	maxExtName    = 64
	maxExtensions = 1024 // more could not have record data anyhow
	maxRow        = 65534
)

// An extension is data beside the base header and the records, under a name. Its number is
// its place in the order of creation.
type extension struct {
	column
	name    string
	resetID uint32
	hdrSize int
	header  []byte // hdrSize rounded up to 8; what is behind hdrSize may come back when it grows
	align   int
}

// current says which extension the records of the log concern.
type current struct {
	ext        *extension
	recordSize int
	introduced bool // there was an intro at all
	ignore     bool // it was for another reset id, or broken
}

// An intro announces records for an extension, and its sizes.
type intro struct {
	id, resetID       uint32 // id is byName where the name is given
	hdrSize           uint32
	recordSize, align uint16
	noShrink          bool
	name              string
}

// byName is the id of an intro that gives a name instead.
const byName = 1<<32 - 1

// check looks an extension's description over. (Dovecot: mail_index_map_ext_hdr_check.)
func (u *intro) check(name string) error {
	switch {
	case u.recordSize == 0 && u.hdrSize == 0:
		return unfit("extension %q without header and record data", name)
	case !validExtName(name):
		return unfit("extension with a bad name")
	case u.recordSize != 0 && (u.align == 0 || u.align > 8):
		return unfit("extension %q with alignment %d", name, u.align)
	case u.recordSize > maxExtRecord:
		return unfit("extension %q with records of %d bytes", name, u.recordSize)
	case u.hdrSize > maxExtHeader:
		return unfit("extension %q with a header of %d bytes", name, u.hdrSize)
	}
	return nil
}

func validExtName(name string) bool {
	return len(name) < maxExtName && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_ ", r))
	}) < 0
}

// introduce makes an extension the current one, made or resized as need be. (Dovecot:
// mail_index_sync_ext_intro.)
func (s *state) introduce(u *intro) error {
	s.current = current{introduced: true, ignore: true}
	var x *extension
	name := u.name
	switch {
	case u.id != byName:
		if int64(u.id) >= int64(len(s.exts)) {
			return unfit("extension %d does not exist", u.id)
		}
		x = s.exts[u.id]
		name = x.name
	case name == "":
		return unfit("extension without number and name")
	default:
		x = s.lookup(name)
	}
	if name == extKeywords {
		return unfit("keywords are no extension for others to change")
	}
	if err := u.check(name); err != nil {
		return err
	}
	if x != nil && x.resetID != u.resetID {
		s.current = current{ext: x, recordSize: int(u.recordSize), introduced: true, ignore: true}
		return nil // it was reset, and who wrote this did not know
	}
	var err error
	if x == nil {
		x, err = s.register(name, u.resetID, int(u.hdrSize), int(u.recordSize), int(u.align))
	} else {
		err = s.resize(x, int(u.hdrSize), int(u.recordSize), int(u.align), u.noShrink)
	}
	if err != nil {
		return err
	}
	s.current = current{ext: x, recordSize: int(u.recordSize), introduced: true}
	return nil
}

func (s *state) lookup(name string) *extension {
	if i, ok := s.byName[name]; ok {
		return s.exts[i]
	}
	return nil
}

// register makes an extension, all zero.
func (s *state) register(name string, resetID uint32, hdrSize, recordSize, align int) (*extension, error) {
	sum := recordSize
	for _, x := range s.exts {
		sum += x.size
	}
	if len(s.exts) >= maxExtensions || sum > maxRow {
		return nil, unfit("too many extensions")
	}
	if err := s.grow(align8(hdrSize)); err != nil {
		return nil, err
	}
	x := &extension{name: name, resetID: resetID, hdrSize: hdrSize, header: make([]byte, align8(hdrSize)), align: align}
	x.size = recordSize
	s.byName[name] = len(s.exts)
	s.exts = append(s.exts, x)
	return x, nil
}

// grow counts bytes of headers that are to be allocated.
func (s *state) grow(n int) error {
	s.fixed += n
	err := s.afford(len(s.uids), s.row)
	if err != nil {
		s.fixed -= n
	}
	return err
}

// resize adapts sizes to what an intro says. (Dovecot: sync_ext_resize.)
func (s *state) resize(x *extension, hdrSize, recordSize, align int, noShrink bool) error {
	old, padded := len(x.header), align8(hdrSize)
	if x.align == align && x.size == recordSize {
		if padded < old && noShrink || hdrSize == x.hdrSize {
			return nil
		}
	}
	switch {
	case padded > old:
		if err := s.grow(padded - old); err != nil {
			return err
		}
		x.header = append(slices.Clip(x.header), make([]byte, padded-old)...)
		x.hdrSize = hdrSize
	case padded == old:
		x.hdrSize = hdrSize
	case !noShrink:
		s.fixed -= old - padded
		x.header = slices.Clone(x.header[:padded])
		x.hdrSize = hdrSize
	}
	if align > x.align || !noShrink {
		x.align = align
	}
	if recordSize > x.size || recordSize < x.size && !noShrink {
		return s.resizeRecords(x, recordSize)
	}
	return nil
}

// resizeRecords changes the record data of an extension alone.
func (s *state) resizeRecords(x *extension, size int) error {
	if x.b != nil {
		if err := s.afford(len(s.uids), s.row-x.size+size); err != nil {
			return err
		}
		s.row += size - x.size
	}
	x.column.resize(len(s.uids), size)
	return nil
}

// writable returns the bytes of record i for changing, and makes the column exist.
func (s *state) writable(x *extension, i int) ([]byte, error) {
	if x.b == nil {
		if err := s.afford(len(s.uids), s.row+x.size); err != nil {
			return nil, err
		}
		s.row += x.size
		x.b = make([]byte, len(s.uids)*x.size, (len(s.uids)+len(s.uids)/8)*x.size)
	}
	return x.at(i), nil
}

// wipe zeroes an extension's header and records.
func (s *state) wipe(x *extension) {
	clear(x.header[:x.hdrSize])
	if x.b != nil {
		s.row -= x.size
		x.clear()
	}
}
