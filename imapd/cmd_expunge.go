package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// expunge is EXPUNGE and, with a set, UID EXPUNGE (RFC 4315).
func (s *session) expunge(c *call) error {
	var among []mailbox.UID
	if c.uid {
		set, err := s.setArg()
		if err != nil {
			return err
		}
		if err := s.dec.End(); err != nil {
			return err
		}
		indices, err := s.indices(set, true)
		if err != nil {
			return err
		}
		among = s.uidsAt(indices)
		if len(among) == 0 {
			return nil
		}
	} else if err := s.dec.End(); err != nil {
		return err
	}
	if s.box.readOnly {
		return mailbox.ErrReadOnly
	}
	return s.expungeDeleted(among)
}

// expungeDeleted removes messages with \Deleted; where among is not nil, only those.
// Messages that the client does not know of yet stay.
func (s *session) expungeDeleted(among []mailbox.UID) error {
	now := s.box.box.View()
	var uids []mailbox.UID
	for _, msg := range s.box.view.All() {
		if among != nil {
			if _, ok := slices.BinarySearch(among, msg.UID); !ok {
				continue
			}
		}
		// The flag of this moment counts: another session may have taken it away.
		if m := now.Get(msg.UID); m != nil && m.Flags.System&mailbox.Deleted != 0 {
			uids = append(uids, msg.UID)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	return s.box.box.Expunge(s.ctx, uids)
}

// setArg reads a space and a sequence-set.
func (s *session) setArg() (imapwire.Set, error) {
	if err := s.dec.SP(); err != nil {
		return imapwire.Set{}, err
	}
	return s.dec.Set()
}
