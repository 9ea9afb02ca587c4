package imapd

import (
	"slices"
	"strings"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

const (
	// maxKeyword is the longest keyword that is taken.
	maxKeyword = 200
	// maxKeywords is the most keywords of one command.
	maxKeywords = 100
)

// store is STORE and UID STORE, conditional where it says UNCHANGEDSINCE.
func (s *session) store(c *call) error {
	set, err := s.setArg()
	if err != nil {
		return err
	}
	change, silent, err := s.storeArgs()
	if err != nil {
		return err
	}
	indices, err := s.indices(set, c.uid)
	if err != nil {
		return err
	}
	conditional := change.UnchangedSince != nil
	if conditional {
		if err := s.needModSeqs(); err != nil {
			return err
		}
	}
	if s.box.readOnly {
		return mailbox.ErrReadOnly
	}
	if len(indices) == 0 {
		return nil
	}
	uids := s.uidsAt(indices)
	modified, err := s.changeFlags(uids, change)
	if err != nil {
		return err
	}
	if s.condstore {
		if err := s.showModSeqs(); err != nil {
			return err
		}
	}
	done := uids
	if len(modified) > 0 {
		done = slices.DeleteFunc(slices.Clone(uids), func(uid mailbox.UID) bool {
			_, refused := slices.BinarySearch(modified, uid)
			return refused
		})
	}
	now := s.box.box.View()
	c.silent = &silence{done, change}
	gone := s.answerStore(c, now, uids, silent, conditional)
	if !silent || conditional {
		// What was just written needs no repetition.
		s.adopt(now, done)
	}
	return s.storeStatus(c, modified, gone)
}

// answerStore sends a FETCH response for every message that was to change, did it or not;
// announce tells then what others changed, of messages that were refused too. A silent
// change is answered only where it was conditional, with the modseq: RFC 7162 section 3.1.3. It
// reports whether a message is gone.
func (s *session) answerStore(c *call, now *mailbox.View, uids []mailbox.UID, silent, conditional bool) (gone bool) {
	find, told := now.Finder(), s.box.view.Finder()
	for _, uid := range uids {
		msg := find.Get(uid)
		if msg == nil {
			gone = true
			continue
		}
		done := !silent || conditional
		if done && len(c.silent.uids) < len(uids) { // some were refused
			_, done = slices.BinarySearch(c.silent.uids, uid)
		}
		if !done {
			s.announceKeywords(msg.Flags.Keywords)
			continue
		}
		i, _ := told.Find(uid)
		if silent && c.silent.covers(s.box.view.At(i), msg) {
			s.writeModSeq(i, msg)
			continue
		}
		s.writeFlags(i, msg, c.uid || s.condstore)
	}
	return gone
}

// storeStatus is the end of STORE. RFC 7162 section 3.1.3 has NO where messages were refused and
// others are gone (example 11), and OK where they were only refused.
func (s *session) storeStatus(c *call, modified []mailbox.UID, gone bool) error {
	if len(modified) == 0 {
		if gone {
			return ok("EXPUNGEISSUED", "Some of the messages no longer exist.")
		}
		return nil
	}
	numbers := make([]uint32, len(modified))
	for k, uid := range modified {
		numbers[k] = uint32(uid)
		if !c.uid {
			i, _ := s.box.view.Find(uid)
			numbers[k] = uint32(i + 1)
		}
	}
	code := string(imapwire.AppendSet([]byte("MODIFIED "), numbers))
	if gone {
		return no(code, "Some of the messages no longer exist.")
	}
	return ok(code, "Conditional store failed.")
}

// adopt takes the state of messages that the client has just been told into the
// announced view.
func (s *session) adopt(now *mailbox.View, uids []mailbox.UID) {
	var told []*mailbox.Message
	find := now.Finder()
	for _, uid := range uids {
		if msg := find.Get(uid); msg != nil {
			told = append(told, msg)
		}
	}
	if len(told) > 0 {
		s.box.view = s.box.view.Replace(told...)
	}
}

// storeArgs reads what follows the set: modifiers, the item and the flags.
func (s *session) storeArgs() (change mailbox.FlagChange, silent bool, err error) {
	d := s.dec
	if err = d.SP(); err != nil {
		return
	}
	if d.Peek() == '(' {
		if change.UnchangedSince, err = storeModifiers(d); err != nil {
			return
		}
		if err = d.SP(); err != nil {
			return
		}
	}
	change.Op = mailbox.ReplaceFlags
	switch {
	case d.Try('+'):
		change.Op = mailbox.AddFlags
	case d.Try('-'):
		change.Op = mailbox.RemoveFlags
	}
	item, err := d.Keyword()
	if err != nil {
		return
	}
	silent = item == "FLAGS.SILENT"
	if item != "FLAGS" && !silent {
		err = bad("Unknown STORE item.")
		return
	}
	if err = d.SP(); err != nil {
		return
	}
	var names []string
	if d.Peek() == '(' {
		names, err = d.FlagList()
	} else {
		for {
			var f string
			if f, err = d.Flag(); err != nil {
				return
			}
			names = append(names, f)
			if !d.Try(' ') {
				break
			}
		}
	}
	if err != nil {
		return
	}
	if err = d.End(); err != nil {
		return
	}
	change.Flags, err = parseFlags(names)
	return
}

var systemFlags = []string{`\answered`, `\flagged`, `\deleted`, `\seen`, `\draft`}

// parseFlags checks flags that a client sets.
func parseFlags(names []string) (mailbox.Flags, error) {
	keywords := 0
	for _, n := range names {
		if strings.HasPrefix(n, `\`) {
			if !slices.Contains(systemFlags, strings.ToLower(n)) {
				return mailbox.Flags{}, bad("Invalid system flag.")
			}
			continue
		}
		if keywords++; keywords > maxKeywords || len(n) > maxKeyword {
			return mailbox.Flags{}, no("LIMIT", "Keyword too long or too many keywords.")
		}
	}
	return mailbox.ParseFlags(names), nil
}
