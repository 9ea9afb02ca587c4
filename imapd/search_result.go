package imapd

import (
	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// searchReturn are the result options of SEARCH and SORT (RFC 4731, RFC 5182, RFC 5267,
// RFC 9394).
type searchReturn struct {
	given                      bool
	min, max, count, all, save bool
	partial                    *partialRange
}

// returnOptions reads RETURN, its list and a space, if they come next.
func (s *session) returnOptions(r *searchReturn) error {
	if !s.dec.TryWord("RETURN") {
		return nil
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	r.given = true
	if err := s.dec.List(func() error { return s.returnOption(r) }); err != nil {
		return err
	}
	if r.all && r.partial != nil {
		return bad("PARTIAL and ALL exclude each other.") // RFC 9394 section 3.1
	}
	if !r.min && !r.max && !r.count && !r.save && r.partial == nil {
		r.all = true // an empty list means ALL
	}
	return s.dec.SP()
}

// returnOption reads one option of the list.
func (s *session) returnOption(r *searchReturn) (err error) {
	o, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	switch o {
	case "MIN":
		r.min = true
	case "MAX":
		r.max = true
	case "COUNT":
		r.count = true
	case "ALL":
		r.all = true
	case "SAVE":
		r.save = true
	case "PARTIAL":
		if r.partial != nil {
			return bad("PARTIAL can be used only once.")
		}
		if err := s.dec.SP(); err != nil {
			return err
		}
		r.partial, err = readPartial(s.dec)
	default:
		return bad("Unknown SEARCH result option.")
	}
	return err
}

// wanted says how many results from the beginning and how many from the end of n messages
// at most are needed for an answer.
func (r *searchReturn) wanted(n int) (first, last int) {
	if !r.given || r.all || r.count || !r.min && !r.max && r.partial == nil {
		return n, 0
	}
	if r.min {
		first = 1
	}
	if r.max {
		last = 1
	}
	if p := r.partial; p != nil && p.fromEnd {
		last = max(last, int(min(p.high, uint32(n))))
	} else if p != nil {
		first = max(first, int(min(p.high, uint32(n))))
	}
	return first, last
}

// kept picks what of a result "$" stands for: RFC 5182 section 2.4 and, with PARTIAL, RFC
// 9394 section 3.2. They may come twice.
func (r *searchReturn) kept(result []int) []int {
	if r.all || r.count || !r.min && !r.max && r.partial == nil || len(result) == 0 {
		return result
	}
	var some []int
	if r.min {
		some = append(some, result[0])
	}
	if r.partial != nil {
		some = append(some, r.partial.of(result)...)
	}
	if r.max {
		some = append(some, result[len(result)-1])
	}
	return some
}

// writeResult sends what SEARCH or SORT has found, in the order of the result: as ESEARCH
// where options were given, or for a SEARCH of a client that speaks IMAP4rev2.
func (s *session) writeResult(c *call, name string, ret *searchReturn, result []int) {
	number := func(i int) uint32 {
		if c.uid {
			return uint32(s.box.view.At(i).UID)
		}
		return uint32(i + 1)
	}
	if !ret.given && (!s.rev2 || name != "SEARCH") {
		s.enc.Raw("* ").Raw(name)
		for _, i := range result {
			s.enc.SP().Number(int64(number(i)))
		}
		if n := s.resultModSeq(c, ret, result); n > 0 {
			s.enc.Raw(" (MODSEQ ").Raw(formatModSeq(n)).Raw(")")
		}
		s.enc.CRLF()
		return
	}
	all := ret.all || !ret.given
	modseq := s.resultModSeq(c, ret, result)
	if !ret.min && !ret.max && !ret.count && !all && ret.partial == nil && modseq == 0 {
		return // SAVE alone has no response (RFC 5182 section 2.1)
	}
	set := func(some []int) {
		numbers := make([]uint32, len(some))
		for k, i := range some {
			numbers[k] = number(i)
		}
		s.enc.Set(numbers)
	}
	s.enc.Raw("* ESEARCH (TAG ").String(c.tag).Raw(")")
	if c.uid {
		s.enc.Raw(" UID")
	}
	if n := len(result); n > 0 {
		if ret.min {
			s.enc.Raw(" MIN ").Number(int64(number(result[0])))
		}
		if ret.max {
			s.enc.Raw(" MAX ").Number(int64(number(result[n-1])))
		}
		if all {
			s.enc.Raw(" ALL ")
			set(result)
		}
	}
	if p := ret.partial; p != nil {
		s.enc.Raw(" PARTIAL (").Raw(p.text).SP()
		if some := p.of(result); len(some) > 0 {
			set(some)
		} else {
			s.enc.NIL()
		}
		s.enc.Raw(")")
	}
	if ret.count {
		s.enc.Raw(" COUNT ").Number(int64(len(result)))
	}
	if modseq > 0 {
		s.enc.Raw(" MODSEQ ").Raw(formatModSeq(modseq))
	}
	s.enc.CRLF()
}

// resultModSeq is the highest modseq of what a result names, where the command searched by
// modseq: RFC 7162 sections 3.1.6, 3.1.9 and 3.1.10, and with options RFC 4731 section 3.2. 0 is none.
func (s *session) resultModSeq(c *call, ret *searchReturn, result []int) (highest mailbox.ModSeq) {
	if !c.modseq {
		return 0
	}
	for _, i := range ret.kept(result) {
		highest = max(highest, s.box.view.At(i).ModSeq)
	}
	return highest
}

// A partialRange is the argument of PARTIAL (RFC 9394 section 4): places in a result,
// counted from 1, from its beginning or its end.
type partialRange struct {
	text      string // as it was given
	low, high uint32
	fromEnd   bool
}

// readPartial reads a partial-range.
func readPartial(d *imapwire.Decoder) (*partialRange, error) {
	p := &partialRange{fromEnd: d.Try('-')}
	var err error
	if p.low, err = d.NZNumber(); err != nil {
		return nil, bad("Invalid PARTIAL range.")
	}
	first := p.low
	if !d.Try(':') || d.Try('-') != p.fromEnd {
		return nil, bad("Invalid PARTIAL range.")
	}
	if p.high, err = d.NZNumber(); err != nil {
		return nil, bad("Invalid PARTIAL range.")
	}
	sign := ""
	if p.fromEnd {
		sign = "-"
	}
	p.text = sign + itoa(int64(first)) + ":" + sign + itoa(int64(p.high))
	if p.low > p.high {
		p.low, p.high = p.high, p.low
	}
	return p, nil
}

// of picks the part of a result, in its order.
func (p *partialRange) of(result []int) []int {
	n := uint32(len(result))
	if p.low > n {
		return nil
	}
	high := min(p.high, n)
	if p.fromEnd {
		return result[n-high : n-p.low+1]
	}
	return result[p.low-1 : high]
}
