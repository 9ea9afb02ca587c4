package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// searchReturn are the result options of RFC 4731 and RFC 5182.
type searchReturn struct {
	given                      bool
	min, max, count, all, save bool
}

// search is SEARCH and UID SEARCH.
func (s *session) search(c *call) (err error) {
	d := s.dec
	var ret searchReturn
	defer func() {
		if ret.save && err != nil && !syntaxOnly(err) {
			s.box.saved = nil // RFC 5182 section 2.1
		}
	}()
	p := &searchParser{d: d}
	if err := d.SP(); err != nil {
		return err
	}
	if d.TryWord("RETURN") {
		if err := d.SP(); err != nil {
			return err
		}
		if err := s.searchReturn(&ret); err != nil {
			return err
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
	if d.TryWord("CHARSET") {
		if err := d.SP(); err != nil {
			return err
		}
		name, err := d.AString()
		if err != nil {
			return err
		}
		var known bool
		if p.charset, known = charsetFor(string(name)); !known {
			return no("BADCHARSET (UTF-8 US-ASCII)", "Unknown charset.")
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
	program, err := p.all()
	if err != nil {
		return err
	}
	if err := s.resolveSets(program); err != nil {
		return err
	}
	sortKeys(program)
	return s.runSearch(c, &ret, program)
}

// searchReturn reads the list after RETURN.
func (s *session) searchReturn(r *searchReturn) error {
	r.given = true
	err := s.dec.List(func() error {
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
		default:
			return bad("Unknown SEARCH result option.")
		}
		return nil
	})
	if !r.min && !r.max && !r.count && !r.save {
		r.all = true // an empty list means ALL
	}
	return err
}

// resolveSets turns the sets of a program into ranges of the announced view.
func (s *session) resolveSets(k *searchKey) error {
	if k.kind == keySet || k.kind == keyUIDSet {
		byUID := k.kind == keyUIDSet
		if k.set.Saved {
			k.kind, k.ranges = keyUIDSet, nil
			for _, u := range s.box.saved {
				k.ranges = append(k.ranges, imapwire.Range{Start: uint32(u), Stop: uint32(u)})
			}
			return nil
		}
		last := uint32(s.box.view.Len())
		if byUID {
			if last > 0 {
				last = uint32(s.box.view.At(int(last) - 1).UID)
			}
		} else if err := s.checkNumbers(k.set); err != nil {
			return err
		}
		k.ranges = k.set.Resolve(last)
	}
	for _, sub := range k.sub {
		if err := s.resolveSets(sub); err != nil {
			return err
		}
	}
	return nil
}

// sortKeys puts cheap keys first wherever the order does not matter.
func sortKeys(k *searchKey) {
	for _, sub := range k.sub {
		sortKeys(sub)
	}
	if k.kind == keyAnd || k.kind == keyOr {
		slices.SortStableFunc(k.sub, func(a, b *searchKey) int { return a.cost() - b.cost() })
	}
}

// runSearch looks at each message once. Those that cannot be read are named in an untagged
// NO after the result: the client has what could be found, and knows what is missing.
func (s *session) runSearch(c *call, ret *searchReturn, program *searchKey) error {
	m := newMatcher(s, program)
	var numbers []uint32
	var uids []mailbox.UID
	var unread failures
	notice := s.newNotice()
	for i := range s.box.view.Len() {
		if err := notice.give(); err != nil {
			return err
		}
		t := m.match(i)
		if t == trueTruth {
			uid := s.box.view.At(i).UID
			uids = append(uids, uid)
			if c.uid {
				numbers = append(numbers, uint32(uid))
			} else {
				numbers = append(numbers, uint32(i+1))
			}
		}
		if t == unknown && !s.note(&unread, m.msg.UID, m.err) {
			return m.err
		}
		if i&0xff == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
	}
	s.box.reader.rest(false)
	if ret.save {
		s.save(ret, uids)
	}
	s.writeSearch(c, ret, numbers)
	if len(unread.list) > 0 {
		s.writeStatus("*", &status{"NO", "UNAVAILABLE", s.report(&unread)})
	}
	return nil
}

// save keeps the result as "$" (RFC 5182 section 2.4: with MIN or MAX, only those).
func (s *session) save(ret *searchReturn, uids []mailbox.UID) {
	if (ret.min || ret.max) && !ret.all && !ret.count && len(uids) > 0 {
		var ends []mailbox.UID
		if ret.min {
			ends = append(ends, uids[0])
		}
		if ret.max && (!ret.min || len(uids) > 1) {
			ends = append(ends, uids[len(uids)-1])
		}
		uids = ends
	}
	s.box.saved = uids
}

// writeSearch sends SEARCH, or ESEARCH where options were given or the client speaks
// IMAP4rev2.
func (s *session) writeSearch(c *call, ret *searchReturn, numbers []uint32) {
	if !ret.given && !s.rev2 {
		s.enc.Raw("* SEARCH")
		for _, n := range numbers {
			s.enc.SP().Number(int64(n))
		}
		s.enc.CRLF()
		return
	}
	if !ret.given {
		ret.all = true
	}
	if !ret.min && !ret.max && !ret.count && !ret.all {
		return // SAVE alone has no response (RFC 5182 section 2.1)
	}
	s.enc.Raw("* ESEARCH (TAG ").String(c.tag).Raw(")")
	if c.uid {
		s.enc.Raw(" UID")
	}
	if len(numbers) > 0 {
		if ret.min {
			s.enc.Raw(" MIN ").Number(int64(numbers[0]))
		}
		if ret.max {
			s.enc.Raw(" MAX ").Number(int64(numbers[len(numbers)-1]))
		}
	}
	if ret.all && len(numbers) > 0 {
		s.enc.Raw(" ALL ").Set(numbers)
	}
	if ret.count {
		s.enc.Raw(" COUNT ").Number(int64(len(numbers)))
	}
	s.enc.CRLF()
}
