package dovecotindex

import (
	"slices"
	"sort"
)

// minBudget is the memory in bytes that records and headers may take however small the
// files are; beyond, they may take budgetFactor times the size of the files.
const (
	minBudget    = 64 << 20
	budgetFactor = 64
)

// A state is an index while logs are applied to it. Records are kept by columns, in the
// order of their UIDs. An expunged record stays until there are many: dropping each at once
// would cost the length of the index every time.
type state struct {
	hdr   baseHeader
	uids  []uint32
	flags []uint8
	dead  []bool // nil while all records live
	gone  int    // how many are dead

	exts     []*extension
	byName   map[string]int
	keywords keywords
	current  current // the extension that the log speaks of

	modseq   uint64 // counter at the place in the log
	tail     int    // offset in the log up to which the mail is synced
	tracking bool   // modseqs of messages are followed

	budget int // bytes that columns and headers may take
	row    int // bytes a record takes in the columns that exist
	fixed  int // bytes of extension headers

	hint int // index behind the record found last
}

func newState(filesSize int64) *state {
	return &state{
		hdr:    newBaseHeader(),
		byName: map[string]int{},
		budget: int(max(minBudget, min(filesSize, 1<<40)*budgetFactor)),
	}
}

// afford reports whether n records of row bytes fit.
func (s *state) afford(n, row int) error {
	if row > 0 && n > (s.budget-s.fixed)/row || s.fixed > s.budget {
		return ErrTooLarge
	}
	return nil
}

// add appends a message.
func (s *state) add(uid uint32, flags uint8) error {
	if next := s.hdr.get(hdrNextUID); uid < next {
		return unfit("message with UID %d where the next is %d", uid, next)
	}
	if uid == 1<<32-1 {
		return unfit("message with the last possible UID")
	}
	if err := s.afford(len(s.uids)+1, s.row); err != nil {
		return err
	}
	s.hdr.set(hdrNextUID, uid+1)
	s.uids = append(s.uids, uid)
	s.flags = append(s.flags, flags)
	if s.dead != nil {
		s.dead = append(s.dead, false)
	}
	for _, x := range s.exts {
		x.push()
	}
	s.touch(len(s.uids) - 1)
	return nil
}

// find returns the place of a living message.
func (s *state) find(uid uint32) (int, bool) {
	i := s.hint // updates mostly come in the order of UIDs
	if i >= len(s.uids) || s.uids[i] != uid {
		var ok bool
		if i, ok = slices.BinarySearch(s.uids, uid); !ok {
			return 0, false
		}
	}
	s.hint = i + 1
	return i, !s.isDead(i)
}

// span returns the places of the messages in a range of UIDs, dead ones among them.
func (s *state) span(first, last uint32) (from, to int) {
	from = sort.Search(len(s.uids), func(i int) bool { return s.uids[i] >= first })
	to = from + sort.Search(len(s.uids)-from, func(i int) bool { return s.uids[from+i] > last })
	return from, to
}

func (s *state) isDead(i int) bool { return s.dead != nil && s.dead[i] }

// expunge removes the record at i.
func (s *state) expunge(i int) {
	if s.isDead(i) {
		return
	}
	if s.dead == nil {
		s.dead = make([]bool, len(s.uids))
	}
	s.dead[i] = true
	s.gone++
}

// compact drops expunged records where they are many, or where there must be none.
func (s *state) compact(all bool) {
	if s.gone == 0 || !all && s.gone < max(1024, len(s.uids)/2) {
		return
	}
	live := func(i int) bool { return !s.dead[i] }
	for _, x := range s.exts {
		x.keep(len(s.uids), live)
	}
	k := 0
	for i := range s.uids {
		if live(i) {
			s.uids[k], s.flags[k] = s.uids[i], s.flags[i]
			k++
		}
	}
	s.uids, s.flags = s.uids[:k], s.flags[:k]
	s.dead, s.gone, s.hint = nil, 0, 0
}

// setFlags changes the flags of a range of UIDs. Flags of the backend alone are no change
// that a client sees.
func (s *state) setFlags(first, last uint32, add, remove uint8, internal bool) {
	from, to := s.span(first, last)
	for i := from; i < to; i++ {
		s.flags[i] = s.flags[i]&^remove | add
		if !internal {
			s.touch(i)
		}
	}
}
