package imapd

import (
	"slices"
	"strings"

	"mailcrypt/mailbox"
)

const (
	// maxKeyword is the longest keyword that is taken.
	maxKeyword = 200
	// maxKeywords is the most keywords of one command.
	maxKeywords = 100
)

// store is STORE and UID STORE.
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
	if s.box.readOnly {
		return mailbox.ErrReadOnly
	}
	if len(indices) == 0 {
		return nil
	}
	uids := s.uidsAt(indices)
	if _, err := s.box.box.SetFlags(s.ctx, uids, change); err != nil {
		return err
	}
	now := s.box.box.View()
	gone := false
	c.silent = &silence{uids, change}
	for k, i := range indices {
		msg := now.Get(uids[k])
		if msg == nil {
			gone = true
			continue
		}
		if silent {
			s.announceKeywords(msg.Flags.Keywords)
		} else {
			// Every message of the set is answered, changed or not; announce tells then
			// what others changed.
			s.writeFlags(i, msg, c.uid)
		}
	}
	if !silent {
		// What was just written needs no repetition.
		s.adopt(now, uids)
	}
	if gone {
		return ok("EXPUNGEISSUED", "Some of the messages no longer exist.")
	}
	return nil
}

// adopt takes the state of messages that the client has just been told into the
// announced view.
func (s *session) adopt(now *mailbox.View, uids []mailbox.UID) {
	var told []*mailbox.Message
	for _, uid := range uids {
		if msg := now.Get(uid); msg != nil {
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
