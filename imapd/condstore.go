package imapd

import (
	"errors"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// CONDSTORE of RFC 7162: what a session keeps of modseqs so that a client which remembers the
// highest one it was told can come back to it and has missed nothing.
//
//   - A modseq is told only once the store has made it durable: showModSeqs.
//   - A HIGHESTMODSEQ covers only what the client was told. While an EXPUNGE is held back, or
//     a message waits whose UID is below others, the announced view is above that value, so
//     the value is kept apart: modSeqs.told.
//   - A client also learns from the MODSEQ of FETCH responses. Where one went above told in
//     a command, the command ends in a HIGHESTMODSEQ that takes it back (RFC 7162 section 6).

// errNoModSeqs answers commands that need modseqs where SELECT said NOMODSEQ (RFC 7162
// section 3.1.2.2).
var errNoModSeqs = bad("No mod-sequences for this mailbox.")

// modSeqs is what a session knows of the modseqs of its selected mailbox.
type modSeqs struct {
	none bool // NOMODSEQ
	// told is the highest value of which every change, up to it, was told.
	told mailbox.ModSeq
	// shown is the highest value in a FETCH response since the last tagged reply.
	shown mailbox.ModSeq
	// raised says that told rose by something that has no MODSEQ of its own, or that a
	// HIGHESTMODSEQ of this command is out of date; lost that messages wait for the next SELECT.
	raised, lost, coded bool
	// missed says that flags changed of which the client does not want to hear (NOTIFY). Its
	// announced view has them all the same, so that told stays for good.
	missed bool
	// synced is a view that the store has made durable.
	synced *mailbox.View
}

// modSeqsOn reports whether FETCH responses carry MODSEQ.
func (s *session) modSeqsOn() bool { return s.condstore && !s.box.modseqs.none }

// vanishing reports whether expunges are told by VANISHED (RFC 7162 section 3.2.10).
func (s *session) vanishing() bool { return s.qresync && !s.box.modseqs.none }

// showModSeqs makes durable what the newest view says; before that, and where it fails,
// no modseq may be told.
func (s *session) showModSeqs() error {
	m := s.box
	if m.modseqs.none {
		return nil
	}
	v := m.box.View()
	if m.modseqs.synced == v {
		return nil
	}
	if err := m.box.SyncModSeqs(s.ctx); err != nil {
		return err
	}
	m.modseqs.synced = v
	return nil
}

// openModSeqs sends HIGHESTMODSEQ or NOMODSEQ for SELECT.
func (s *session) openModSeqs() {
	m := s.box
	m.modseqs.told = m.view.HighestModSeq
	if err := s.showModSeqs(); err != nil {
		if !errors.Is(err, mailbox.ErrNoModSeqs) {
			s.log.Error("storing modseqs", "err", err)
		}
		m.modseqs.none = true
		s.writeStatus("*", &status{"OK", "NOMODSEQ", "No permanent mod-sequences."})
		return
	}
	s.writeHighest()
}

// writeHighest sends HIGHESTMODSEQ untagged.
func (s *session) writeHighest() {
	s.writeStatus("*", &status{"OK", s.highestCode(), "Highest."})
}

// highestCode is the response code HIGHESTMODSEQ.
func (s *session) highestCode() string {
	return "HIGHESTMODSEQ " + formatModSeq(s.box.modseqs.told)
}

// formatModSeq prints a modseq.
func formatModSeq(n mailbox.ModSeq) string { return itoa(int64(n)) }

// enableCondstore is what every CONDSTORE enabling command does (RFC 7162 section 3.1): the first
// one with a mailbox selected tells HIGHESTMODSEQ.
func (s *session) enableCondstore() error {
	if s.condstore {
		return nil
	}
	if s.box != nil && !s.box.modseqs.none {
		if err := s.showModSeqs(); err != nil {
			return err
		}
		s.writeHighest()
	}
	s.condstore = true
	return nil
}

// needModSeqs is enableCondstore for a command that cannot do without modseqs of the
// selected mailbox.
func (s *session) needModSeqs() error {
	if s.box.modseqs.none {
		return errNoModSeqs
	}
	if err := s.enableCondstore(); err != nil {
		return err
	}
	return s.showModSeqs()
}

// modSeqItem writes MODSEQ of a FETCH response.
func (s *session) modSeqItem(n mailbox.ModSeq) {
	s.box.modseqs.shown = max(s.box.modseqs.shown, n)
	s.enc.Raw("MODSEQ (").Raw(formatModSeq(n)).Raw(")")
}

// writeModSeq sends a FETCH response for flags that the client has set itself, whose modseq
// UNCHANGEDSINCE needs.
func (s *session) writeModSeq(i int, msg *mailbox.Message) {
	s.announceKeywords(msg.Flags.Keywords)
	s.enc.Raw("* ").Number(int64(i + 1)).Raw(" FETCH (UID ").Number(int64(msg.UID)).SP()
	s.modSeqItem(msg.ModSeq)
	s.enc.Raw(")").CRLF()
}

// advance notes that next was announced. Held back are expunges that may not be told now;
// lost are messages that cannot be told before the next SELECT.
func (q *modSeqs) advance(next mailbox.ModSeq, vanished, held, lost bool) {
	q.lost = lost
	if !held && !lost && !q.missed && next > q.told {
		q.told = next
		q.raised = q.raised || next > q.shown || q.coded
	}
	q.raised = q.raised || vanished
}

// highest decides whether HIGHESTMODSEQ is to be sent now. Dovecot sends it to clients with
// QRESYNC: where what they were told has no MODSEQ, and where one they saw is too high.
func (s *session) highest() bool {
	if s.box == nil {
		return false
	}
	q := &s.box.modseqs
	tooHigh := q.shown > q.told
	send := s.modSeqsOn() && (s.qresync && (q.raised || tooHigh) || tooHigh && (q.lost || q.missed))
	q.shown, q.raised = 0, false
	return send
}

// announceNow is announce where there is no tagged reply to come.
func (s *session) announceNow(c *call) error {
	if err := s.announce(c); err != nil {
		return err
	}
	if s.highest() {
		s.writeHighest()
		s.box.modseqs.coded = true
	}
	return nil
}

// endModSeqs puts HIGHESTMODSEQ into the tagged reply, or before it where that has another
// code or is no OK.
func (s *session) endModSeqs(st *status) *status {
	send := s.highest()
	if s.box != nil {
		s.box.modseqs.coded = false
	}
	if !send {
		return st
	}
	if st.kind == "OK" && st.code == "" {
		return &status{st.kind, s.highestCode(), st.text}
	}
	s.writeHighest()
	return st
}

// modSeqArg reads a mod-sequence-valzer, a number of 63 bits. Where the grammar wants a
// positive one, 0 is taken too, as Dovecot does: it means everything.
func modSeqArg(d *imapwire.Decoder) (mailbox.ModSeq, error) {
	n, err := d.Number64()
	if err != nil {
		return 0, bad("Invalid mod-sequence.")
	}
	return mailbox.ModSeq(n), nil
}
