package imapd

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// A selected is the mailbox that a session has selected.
type selected struct {
	box      box
	name     string // the present one: this session may have renamed it
	readOnly bool
	// view is what the client knows: its message numbers are indices into it, plus 1.
	view *mailbox.View
	// recent are messages that this session was the first to see (RFC 3501 section
	// 2.3.2), and with EXAMINE those that nobody had claimed when they were announced.
	recent   map[mailbox.UID]struct{}
	recents  int               // RECENT as last sent, -1 before
	keywords map[string]string // announced by FLAGS: as spelled, by lower case
	saved    []mailbox.UID     // the search result "$"
	synced   time.Time         // when the store was last looked at
	reader   reader            // the message that was read last
	modseqs  modSeqs
	stop     func() // ends the watch for NOTIFY; nil without
}

// unwatch ends the watch over the mailbox.
func (m *selected) unwatch() {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
}

// A silence holds changes that the client knows or does not want to know of.
type silence struct {
	uids   []mailbox.UID // sorted
	change mailbox.FlagChange
}

// covers reports whether the change alone explains the difference.
func (q *silence) covers(before, after *mailbox.Message) bool {
	if q == nil {
		return false
	}
	if _, ok := slices.BinarySearch(q.uids, before.UID); !ok {
		return false
	}
	return withoutRecent(q.change.Apply(before.Flags)).Equal(withoutRecent(after.Flags))
}

// withoutRecent leaves out the one flag that differs by session.
func withoutRecent(f mailbox.Flags) mailbox.Flags {
	f.System &^= mailbox.Recent
	return f
}

// syncEvery is how often commands that do not ask for it look for what other programs
// changed in the store.
const syncEvery = time.Second

// announce tells the client what changed in the selected mailbox since the last time,
// as far as the command c allows. The error is errGone or one of the connection.
func (s *session) announce(c *call) error {
	m := s.box
	if m == nil {
		return nil
	}
	next := m.box.View()
	if now := time.Now(); c.fresh || c.command.expunge && now.Sub(m.synced) >= syncEvery {
		synced, err := m.box.Sync(s.ctx)
		switch {
		case err == nil:
			next, m.synced = synced, now
		case errors.Is(err, mailbox.ErrNotFound):
			return errGone
		default:
			s.logFailure(c, err)
		}
	}
	return s.announceUpTo(c, next)
}

// announceUpTo is announce with a view that the store has shown.
func (s *session) announceUpTo(c *call, next *mailbox.View) error {
	m := s.box
	if next.UIDValidity != m.view.UIDValidity || next.GUID != m.view.GUID {
		return errGone
	}
	if next == m.view {
		return nil
	}
	if s.condstore {
		if err := s.showModSeqs(); err != nil {
			// A change that is told without its modseq could be undone by a crash, and
			// the client would never hear of that. It waits.
			s.logFailure(c, err)
			return nil
		}
	}
	expunge := c.command.expunge && !c.numbers && (s.wants(messageExpunge) || c.removes())
	return s.announceView(next, expunge, c.uid || s.condstore, c.silent)
}

// announceView makes next the announced view, except for expunged messages where
// EXPUNGE may not be sent now and what the client does not want to hear of.
func (s *session) announceView(next *mailbox.View, expunge, withUID bool, quiet *silence) error {
	m := s.box
	old := m.view
	var gone []mailbox.UID
	var numbers []int // of gone
	var replaced []*mailbox.Message
	added, held, lost, fewerRecent := 0, false, false, false
	last := mailbox.UID(0)
	if n := old.Len(); n > 0 {
		last = old.At(n - 1).UID
	}
	for ch := range next.Diff(old) {
		switch ch.Kind {
		case mailbox.Expunged:
			if !expunge {
				held = true
				continue
			}
			gone, numbers = append(gone, ch.Old.UID), append(numbers, ch.Index+1)
			fewerRecent = fewerRecent || s.isRecent(ch.Old)
			delete(m.recent, ch.Old.UID)
			m.reader.forget(ch.Old.UID)
		case mailbox.Changed:
			replaced = append(replaced, ch.New)
			s.tellChange(old, ch, withUID, quiet)
		case mailbox.Added:
			// A message number cannot be inserted. Such a message waits for the next SELECT.
			if ch.New.UID <= last || !s.wants(messageNew) {
				lost = true
				continue
			}
			s.announceKeywords(ch.New.Flags.Keywords)
			replaced = append(replaced, ch.New)
			added++
		}
	}
	// As Dovecot: flags, then what is gone, then what is new.
	s.tellGone(gone, numbers)
	if held || lost {
		m.view = old.Remove(next.HighestModSeq, gone...).Replace(replaced...)
	} else {
		m.view = next
	}
	if added > 0 {
		s.claimRecent()
		s.enc.Raw("* ").Number(int64(m.view.Len())).Raw(" EXISTS").CRLF()
	}
	if added > 0 || fewerRecent {
		s.writeRecent()
	}
	if err := s.fetchNew(added); err != nil {
		return err
	}
	m.modseqs.advance(next.HighestModSeq, len(gone) > 0, held, lost)
	return nil
}

// tellChange tells of a message whose flags or modseq have changed.
func (s *session) tellChange(old *mailbox.View, ch mailbox.Change, withUID bool, quiet *silence) {
	own := quiet.covers(ch.Old, ch.New)
	known := own || withoutRecent(ch.Old.Flags).Equal(withoutRecent(ch.New.Flags))
	if known && (!s.modSeqsOn() || ch.Old.ModSeq == ch.New.ModSeq) {
		return
	}
	i, _ := old.Find(ch.Old.UID) // the client still counts what is gone
	switch {
	case own:
		s.writeModSeq(i, ch.New)
	case s.wants(flagChange):
		s.writeFlags(i, ch.New, withUID)
	default:
		s.box.modseqs.missed = true
	}
}

// tellGone sends VANISHED, or EXPUNGE from the end on, so that no number changes before it
// was said.
func (s *session) tellGone(uids []mailbox.UID, numbers []int) {
	if s.vanishing() {
		s.writeVanished(" ", uidRanges(uids))
		return
	}
	for _, n := range slices.Backward(numbers) {
		s.enc.Raw("* ").Number(int64(n)).Raw(" EXPUNGE").CRLF()
	}
}

// claimRecent makes new messages \Recent in this session and in no other. EXAMINE leaves
// them to the next session, and shows them as \Recent until its own end.
func (s *session) claimRecent() {
	if s.rev2 {
		return
	}
	if s.box.readOnly {
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
	for _, msg := range s.box.view.All() {
		for _, k := range msg.Flags.Keywords {
			s.knowKeyword(k)
		}
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

// closeBox leaves the selected mailbox without expunging.
func (s *session) closeBox() {
	if s.box == nil {
		return
	}
	s.box.reader.drop()
	s.box.unwatch()
	if err := s.box.box.Close(); err != nil {
		s.log.Error("closing a mailbox", "err", err)
	}
	s.box = nil
	s.state = authenticated
}
