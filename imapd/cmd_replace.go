package imapd

import (
	"context"
	"errors"

	"mailcrypt/mailbox"
)

// replace is REPLACE and UID REPLACE (RFC 8508): the new message is saved, and only then
// the old one removed, whatever its flags. Where that fails the new one is taken back, as long
// as the old one is there.
//
//	replace = "REPLACE" SP seq-number SP mailbox SP append-message
func (s *session) replace(c *call) error {
	old, err := s.replacedUID(c.uid)
	if err != nil {
		return err
	}
	if s.box.readOnly {
		return mailbox.ErrReadOnly
	}
	v := &saving{session: s}
	defer v.end()
	if err := v.readName(); err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	if err := v.message(); err != nil {
		return err
	}
	if err := s.dec.End(); err != nil { // one message alone: RFC 8508 section 4.7
		return err
	}
	// It may have gone while the new one came.
	if s.box.box.View().Get(old) == nil {
		return no("EXPUNGEISSUED", "The message no longer exists.")
	}
	uids, err := v.commit()
	if err != nil {
		return err
	}
	both := s.box.box.View()
	if err := s.box.box.Expunge(s.ctx, []mailbox.UID{old}); err != nil {
		return errors.Join(err, s.takeBack(v.target, uids, old))
	}
	// RFC 8508 section 4.3: the new UID is told before the old message goes.
	s.writeStatus("*", &status{"OK", v.appendUID(uids), "Replacement message ready."})
	return s.announceUpTo(c, both) // EXISTS, before EXPUNGE
}

// takeBack removes the new message where the old one could not be. An Expunge may fail behind
// the removal, in a sync or with the lock: the new message is then the only one, and stays.
func (s *session) takeBack(target box, uids []mailbox.UID, old mailbox.UID) error {
	ctx := context.WithoutCancel(s.ctx)
	switch _, err := s.box.box.Stat(ctx, old); {
	case errors.Is(err, mailbox.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return target.Expunge(ctx, uids)
}

// replacedUID reads the number of the message to be replaced. Other commands on UIDs pass
// over one that does not exist; here that would lose the client's message, so it is a NO.
func (s *session) replacedUID(uid bool) (mailbox.UID, error) {
	if err := s.dec.SP(); err != nil {
		return 0, err
	}
	view := s.box.view
	if s.dec.Try('*') {
		if view.Len() == 0 {
			return 0, bad("Invalid message number.")
		}
		return view.At(view.Len() - 1).UID, nil
	}
	n, err := s.dec.NZNumber()
	switch {
	case err != nil:
		return 0, err
	case uid:
		if view.Get(mailbox.UID(n)) == nil {
			return 0, no("", "No such message.")
		}
		return mailbox.UID(n), nil
	case int64(n) > int64(view.Len()):
		return 0, bad("Invalid message number.")
	}
	return view.At(int(n) - 1).UID, nil
}
