package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// fetchModifiers are CHANGEDSINCE and VANISHED (RFC 7162 sections 3.1.4.1 and 3.2.6), and
// PARTIAL (RFC 9394 section 3.3).
type fetchModifiers struct {
	partial  *partialRange
	given    bool // CHANGEDSINCE
	since    mailbox.ModSeq
	vanished bool
}

// fetchModifiers reads the list after the items, if there is one.
func (s *session) fetchModifiers(c *call) (m fetchModifiers, err error) {
	d := s.dec
	if d.AtEnd() {
		return m, nil
	}
	if err := d.SP(); err != nil {
		return m, err
	}
	err = d.List(func() error {
		name, err := d.Keyword()
		if err != nil {
			return err
		}
		switch {
		case name == "CHANGEDSINCE" && !m.given:
			if err := d.SP(); err != nil {
				return err
			}
			m.given = true
			m.since, err = modSeqArg(d)
			return err
		case name == "PARTIAL" && c.uid && m.partial == nil:
			if err := d.SP(); err != nil {
				return err
			}
			m.partial, err = readPartial(d)
			return err
		case name == "VANISHED" && c.uid && !m.vanished:
			m.vanished = true
			return nil
		}
		return bad("Unknown or repeated FETCH modifier.")
	})
	switch {
	case err != nil:
	case m.vanished && !s.qresync:
		err = bad("QRESYNC not enabled.")
	case m.vanished && !m.given:
		err = bad("VANISHED needs CHANGEDSINCE.")
	}
	return m, err
}

// addItem adds MODSEQ, which CHANGEDSINCE asks for too.
func (m *fetchModifiers) addItem(items []fetchItem) []fetchItem {
	if slices.ContainsFunc(items, isModSeq) {
		return items
	}
	return append(items, simpleItems["MODSEQ"][0])
}

// isModSeq is for finding MODSEQ among items.
func isModSeq(i fetchItem) bool { return i.kind == itemModSeq }

// uidRange resolves a set of UIDs of which many may be gone. "*" is the last UID that was
// given: with that of the last message there is, 1:* would leave out what was expunged
// after it.
func (s *session) uidRange(set imapwire.Set) []imapwire.Range {
	if set.Saved {
		return uidRanges(s.box.saved)
	}
	v := s.box.view
	return set.Resolve(max(uint32(v.UIDNext), 1) - 1)
}
