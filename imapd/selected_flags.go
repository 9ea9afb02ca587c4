package imapd

import (
	"maps"
	"slices"
	"strings"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// claimRecent makes new messages \Recent in this session and in no other. EXAMINE leaves
// them to the next session, and shows them as \Recent until its own end.
func (s *session) claimRecent() {
	if s.rev2 {
		return
	}
	if s.box.readOnly {
		if s.box.view.Counts().Recent == 0 {
			return
		}
		for _, msg := range s.box.view.All() {
			if msg.Flags.System&mailbox.Recent != 0 {
				s.box.recent[msg.UID] = struct{}{}
			}
		}
		return
	}
	uids, err := s.box.box.ClaimRecent(s.ctx)
	if err != nil {
		s.log.Error("claiming recent messages", "err", err)
	}
	for _, uid := range uids {
		s.box.recent[uid] = struct{}{}
	}
}

// writeRecent writes RECENT if the number has changed; IMAP4rev2 does not have it.
func (s *session) writeRecent() {
	if s.rev2 {
		return
	}
	n := 0
	for uid := range s.box.recent {
		if _, ok := s.box.view.Find(uid); ok {
			n++
		}
	}
	if n != s.box.recents {
		s.box.recents = n
		s.enc.Raw("* ").Number(int64(n)).Raw(" RECENT").CRLF()
	}
}

// isRecent reports whether this client is shown \Recent.
func (s *session) isRecent(msg *mailbox.Message) bool {
	if s.rev2 {
		return false
	}
	_, ok := s.box.recent[msg.UID]
	return ok
}

// writeFlags sends a FETCH response with the flags of the message at index i.
func (s *session) writeFlags(i int, msg *mailbox.Message, withUID bool) {
	s.announceKeywords(msg.Flags.Keywords)
	s.enc.Raw("* ").Number(int64(i + 1)).Raw(" FETCH (")
	if withUID {
		s.enc.Raw("UID ").Number(int64(msg.UID)).SP()
	}
	if s.modSeqsOn() {
		s.modSeqItem(msg.ModSeq)
		s.enc.SP()
	}
	s.flagsItem(msg, msg.Flags)
	s.enc.Raw(")").CRLF()
}

// flagsItem writes FLAGS and the list.
func (s *session) flagsItem(msg *mailbox.Message, f mailbox.Flags) {
	f.System &^= mailbox.Recent
	if s.isRecent(msg) {
		f.System |= mailbox.Recent
	}
	s.enc.Raw("FLAGS (")
	first := true
	write := func(name string) {
		if !first {
			s.enc.SP()
		}
		first = false
		s.enc.Raw(name)
	}
	for i, name := range systemFlagNames {
		if f.System&(1<<i) != 0 {
			write(name)
		}
	}
	for _, k := range f.Keywords {
		if isKeyword(k) {
			write(k)
		}
	}
	s.enc.Raw(")")
}

// systemFlagNames are in the order of mailbox.SystemFlags' bits.
var systemFlagNames = [...]string{`\Answered`, `\Flagged`, `\Deleted`, `\Seen`, `\Draft`, `\Recent`}

// isKeyword reports whether a stored keyword can be sent: stores are files that
// others write too, and a line end in a keyword would forge a response.
func isKeyword(k string) bool {
	for i := range len(k) {
		if !imapwire.IsAtomChar(k[i]) {
			return false
		}
	}
	return k != ""
}

// announceKeywords sends FLAGS again where a keyword is used that was not in it.
func (s *session) announceKeywords(used []string) {
	fresh := false
	for _, k := range used {
		fresh = s.knowKeyword(k) || fresh
	}
	if fresh {
		s.writeFlagsResponse()
	}
}

// knowKeyword notes a keyword for FLAGS; it is false for one that was known.
func (s *session) knowKeyword(k string) bool {
	if !isKeyword(k) {
		return false
	}
	l := strings.ToLower(k)
	if _, ok := s.box.keywords[l]; ok {
		return false
	}
	s.box.keywords[l] = k
	return true
}

// writeFlagsResponse sends FLAGS and PERMANENTFLAGS.
func (s *session) writeFlagsResponse() {
	for _, k := range s.box.view.Keywords() {
		s.knowKeyword(k)
	}
	names := `\Answered \Flagged \Deleted \Seen \Draft`
	for _, k := range slices.Sorted(maps.Values(s.box.keywords)) {
		names += " " + k
	}
	s.enc.Raw("* FLAGS (").Raw(names).Raw(")").CRLF()
	if s.box.readOnly {
		s.enc.Raw("* OK [PERMANENTFLAGS ()] Read-only mailbox.").CRLF()
	} else {
		s.enc.Raw("* OK [PERMANENTFLAGS (").Raw(names).Raw(` \*)] Flags permitted.`).CRLF()
	}
}
