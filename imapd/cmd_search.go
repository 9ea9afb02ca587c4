package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// search is SEARCH and UID SEARCH.
func (s *session) search(c *call) (err error) {
	p := &searchParser{d: s.dec}
	var ret searchReturn
	defer func() { s.unsave(&ret, err) }()
	if err := s.dec.SP(); err != nil {
		return err
	}
	if err := s.returnOptions(&ret); err != nil {
		return err
	}
	if s.dec.TryWord("CHARSET") {
		if err := s.dec.SP(); err != nil {
			return err
		}
		if err := p.charsetArg(); err != nil {
			return err
		}
		if err := s.dec.SP(); err != nil {
			return err
		}
	}
	program, err := s.searchProgram(c, p)
	if err != nil {
		return err
	}
	f := &finding{session: s, call: c, ret: &ret, matcher: newMatcher(s, program)}
	if err := f.run(); err != nil {
		return err
	}
	f.save()
	s.writeResult(c, "SEARCH", &ret, f.found)
	f.report()
	return nil
}

// searchProgram reads the keys up to the end of the command, and notes in the call what
// they mean for its answer.
func (s *session) searchProgram(c *call, p *searchParser) (*searchKey, error) {
	program, err := p.all()
	if err != nil {
		return nil, err
	}
	if err := s.resolveSets(program, uidRanges(s.box.saved)); err != nil {
		return nil, err
	}
	sortKeys(program)
	c.numbers = program.uses(keySet)
	if program.uses(keyModSeq) {
		c.modseq = true
		if err := s.needModSeqs(); err != nil {
			return nil, err
		}
	}
	return program, nil
}

// resolveSets turns the sets of a program into ranges of the announced view. saved is "$",
// which all keys share.
func (s *session) resolveSets(k *searchKey, saved []imapwire.Range) error {
	if k.kind == keySet || k.kind == keyUIDSet {
		byUID := k.kind == keyUIDSet
		if k.set.Saved {
			k.kind, k.ranges = keyUIDSet, saved
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
		if err := s.resolveSets(sub, saved); err != nil {
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

// A finding is the part that SEARCH, SORT and THREAD have in common: each message is looked
// at once. Those that cannot be read are named in an untagged NO after the result: the
// client has what could be found, and knows what is missing.
type finding struct {
	*session
	call    *call
	ret     *searchReturn
	whole   bool // every message is needed, whatever ret asks for
	headers bool // each looks at the usual fields of headers
	matcher *matcher
	// each, where set, is called for each message that was found, while it may be open. The
	// error is about the whole command.
	each func(index int) error

	found  []int // indices into the announced view, in ascending order
	unread failures
	noted  mailbox.UID // the last message of unread, by forgive
}

// run looks for messages. Where only the first or last ones of the result are asked for, it
// begins at that end and stops when it has them.
func (f *finding) run() error {
	n := f.box.view.Len()
	defer f.matcher.fields.wipe()
	first, last := n, 0
	if !f.whole {
		first, last = f.ret.wanted(n)
	}
	if first == n {
		defer f.readAhead(f.plan())()
	}
	notice := f.newNotice(f.call.tag, n)
	at := 0
	for ; at < n && len(f.found) < first; at++ {
		if err := f.look(notice, at, at); err != nil {
			return err
		}
	}
	begun := len(f.found)
	for k := n - 1; k >= at && len(f.found)-begun < last; k-- {
		if err := f.look(notice, k, at+n-1-k); err != nil {
			return err
		}
	}
	slices.Reverse(f.found[begun:])
	f.box.reader.rest(false)
	return nil
}

// look looks at one message.
func (f *finding) look(notice *notice, index, done int) error {
	if err := notice.give(done); err != nil {
		return err
	}
	if done&0xff == 0 && f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	switch m := f.matcher; m.match(index) {
	case trueTruth:
		f.found = append(f.found, index)
		if f.each != nil {
			return f.each(index)
		}
	case unknown:
		if !f.note(&f.unread, m.msg.UID, m.err) {
			return m.err
		}
	}
	return nil
}

// report names the messages that could not be read.
func (f *finding) report() {
	if len(f.unread.list) > 0 {
		f.writeStatus("*", &status{"NO", "UNAVAILABLE", f.session.report(&f.unread)})
	}
}

// save keeps the result as "$" if RETURN asks for it.
func (f *finding) save() {
	if !f.ret.save {
		return
	}
	kept := slices.Clone(f.ret.kept(f.found))
	slices.Sort(kept)
	f.box.saved = f.uidsAt(slices.Compact(kept))
}

// unsave empties "$" where a command that was to save its result fails, unless it was not
// understood (RFC 5182 section 2.1).
func (s *session) unsave(ret *searchReturn, err error) {
	if ret.save && err != nil && !syntaxOnly(err) {
		s.box.saved = []mailbox.UID{}
	}
}
