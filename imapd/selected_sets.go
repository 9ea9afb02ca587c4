package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// indices returns the messages that a set names, as ascending indices into the
// announced view.
func (s *session) indices(set imapwire.Set, uid bool) ([]int, error) {
	v := s.box.view
	var out []int
	switch {
	case set.Saved:
		for _, u := range s.box.saved {
			if i, ok := v.Find(u); ok {
				out = append(out, i)
			}
		}
	case uid:
		last := uint32(0)
		if n := v.Len(); n > 0 {
			last = uint32(v.At(n - 1).UID)
		}
		for _, r := range set.Resolve(last) {
			i, _ := v.Find(mailbox.UID(r.Start))
			for ; i < v.Len() && uint32(v.At(i).UID) <= r.Stop; i++ {
				out = append(out, i)
			}
		}
	default:
		// RFC 9051 section 9, seq-number: "*" is an error too if the mailbox is empty.
		if v.Len() == 0 {
			return nil, bad("No messages in mailbox.")
		}
		if err := s.checkNumbers(set); err != nil {
			return nil, err
		}
		for _, r := range set.Resolve(uint32(v.Len())) {
			out = slices.Grow(out, int(r.Stop-r.Start)+1)
			for i := int(r.Start) - 1; i < int(r.Stop); i++ {
				out = append(out, i)
			}
		}
	}
	return out, nil
}

// checkNumbers fails where a set names a message number that does not exist. "*" of an
// empty mailbox names nothing in a search, and so does 1:*, which clients send without
// looking.
func (s *session) checkNumbers(set imapwire.Set) error {
	n := uint32(s.box.view.Len())
	for _, r := range set.Ranges {
		if max(r.Start, r.Stop) > max(n, 1) || n == 0 && r.Start != imapwire.Star && r.Stop != imapwire.Star {
			return bad("Invalid message set.")
		}
	}
	return nil
}

// uidsAt returns the UIDs of messages of the announced view.
func (s *session) uidsAt(indices []int) []mailbox.UID {
	uids := make([]mailbox.UID, len(indices))
	for k, i := range indices {
		uids[k] = s.box.view.At(i).UID
	}
	return uids
}
