package imapd

import (
	"errors"
	"slices"
	"time"

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
		switch err := s.showModSeqs(); {
		case errors.Is(err, mailbox.ErrNotFound):
			return errGone
		case err != nil:
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
