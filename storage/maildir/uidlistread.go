package maildir

import (
	"io"

	"mailcrypt/mailbox"
)

// A UIDList is what a dovecot-uidlist says, for people who look into one.
type UIDList struct {
	Version     int // 0 where there is no header that can be read
	UIDValidity uint32
	UIDNext     mailbox.UID
	GUID        mailbox.GUID
	Messages    int
	First, Last mailbox.UID // 0 where there are no messages
	Torn        bool        // an incomplete line is at the end
	Damage      error       // the first line that is not well-formed
}

// ReadUIDList reads a dovecot-uidlist. Damage is part of the answer; the error is that of
// reading only.
func ReadUIDList(r io.Reader) (UIDList, error) {
	p, err := parseUIDList(r)
	if err != nil {
		return UIDList{}, err
	}
	l := UIDList{Version: p.version, UIDValidity: p.validity, UIDNext: p.next, GUID: p.guid, Messages: len(p.records), Torn: p.torn, Damage: p.damage}
	if len(p.records) > 0 {
		l.First, l.Last = p.records[0].uid, p.records[len(p.records)-1].uid
	}
	return l, nil
}
