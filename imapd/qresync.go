package imapd

import (
	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// A resync is the QRESYNC parameter of SELECT (RFC 7162 section 3.2.5): what a client that comes
// back remembers.
type resync struct {
	uidValidity uint32
	modseq      mailbox.ModSeq
	known       []imapwire.Range // of UIDs, sorted
	// Numbers and UIDs of a sample of messages, in step: each range of one side may
	// stand against several of the other.
	numbers, uids []imapwire.Range
}

// selectParams are the parameters of SELECT (RFC 4466 section 2.1).
type selectParams struct {
	condstore bool
	resync    *resync
}

// selectParams reads the list of parameters.
func (s *session) selectParams() (p selectParams, err error) {
	err = s.dec.List(func() error {
		name, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		switch {
		case name == "CONDSTORE":
			p.condstore = true
			return nil
		case name == "QRESYNC" && !s.qresync:
			return bad("QRESYNC not enabled.")
		case name == "QRESYNC" && p.resync == nil:
			if err := s.dec.SP(); err != nil {
				return err
			}
			p.resync, err = readResync(s.dec)
			return err
		}
		return bad("Unknown or repeated SELECT parameter.")
	})
	return p, err
}

// readResync reads
//
//	"(" uidvalidity SP modseq [SP known-uids] [SP "(" numbers SP uids ")"] ")"
//
// A UIDVALIDITY of 0, which no mailbox has, is taken as Dovecot does.
func readResync(d *imapwire.Decoder) (*resync, error) {
	r := &resync{known: []imapwire.Range{{Start: 1, Stop: 1<<32 - 1}}}
	arg := 0
	err := d.List(func() (err error) {
		arg++
		switch {
		case arg == 1:
			r.uidValidity, err = d.Number()
		case arg == 2:
			r.modseq, err = modSeqArg(d)
		case arg == 3 && d.Peek() != '(':
			var set imapwire.Set
			if set, err = plainSet(d); err == nil {
				r.known = set.Resolve(1<<32 - 1)
			}
		case arg <= 4 && d.Peek() == '(' && r.numbers == nil:
			err = r.readSample(d)
		default:
			err = bad("Invalid QRESYNC parameters.")
		}
		return err
	})
	if err == nil && arg < 2 {
		err = bad("QRESYNC parameters missing.")
	}
	return r, err
}

// plainSet reads a set without "*" and "$".
func plainSet(d *imapwire.Decoder) (imapwire.Set, error) {
	set, err := d.Set()
	if err != nil {
		return set, err
	}
	if set.Saved {
		return set, bad("Invalid set.")
	}
	for _, r := range set.Ranges {
		if r.Start == imapwire.Star || r.Stop == imapwire.Star {
			return set, bad("Invalid set.")
		}
	}
	return set, nil
}

// readSample reads two sets that ascend and have as many members (RFC 7162 section 3.2.5.2).
func (r *resync) readSample(d *imapwire.Decoder) error {
	var sets []imapwire.Set
	err := d.List(func() error {
		set, err := plainSet(d)
		sets = append(sets, set)
		return err
	})
	if err != nil {
		return err
	}
	if len(sets) != 2 {
		return bad("Invalid QRESYNC sample.")
	}
	var size [2]uint64
	for k, set := range sets {
		last := uint32(0)
		for _, x := range set.Ranges {
			if x.Start <= last || x.Stop < x.Start {
				return bad("Invalid QRESYNC sample.")
			}
			last = x.Stop
			size[k] += uint64(x.Stop-x.Start) + 1
		}
	}
	if size[0] != size[1] {
		return bad("Invalid QRESYNC sample.")
	}
	r.numbers, r.uids = sets[0].Ranges, sets[1].Ranges
	return nil
}

// agreed returns the highest UID of the sample up to which it agrees with the view, or 0:
// there the client's messages are the mailbox's, and it has heard of every expunge. The work
// is bounded by the messages of the mailbox.
func (r *resync) agreed(v *mailbox.View) (last mailbox.UID) {
	numbers, uids := sample{ranges: r.numbers}, sample{ranges: r.uids}
	for {
		n, ok := numbers.next()
		uid, _ := uids.next()
		if !ok || int64(n) > int64(v.Len()) || uint32(v.At(int(n)-1).UID) != uid {
			return last
		}
		last = mailbox.UID(uid)
	}
}

// A sample walks the members of ranges.
type sample struct {
	ranges []imapwire.Range
	at     uint32 // members of the first range that were given
}

func (s *sample) next() (uint32, bool) {
	if len(s.ranges) == 0 {
		return 0, false
	}
	r := s.ranges[0]
	n := r.Start + s.at
	if s.at++; n == r.Stop {
		s.ranges, s.at = s.ranges[1:], 0
	}
	return n, true
}

// resync tells what changed since the client was last here: after all that SELECT says, and
// expunges before flags, whose FETCH responses have the numbers of now.
func (s *session) resync(r *resync) {
	m := s.box
	if r.uidValidity != m.view.UIDValidity || m.modseqs.none {
		return
	}
	since := r.modseq
	s.writeVanished(" (EARLIER) ", s.vanishedSince(since, r.known, r.agreed(m.view)))
	if since > m.view.HighestModSeq {
		// Nobody was told such a value, or the mailbox was restored to an older state.
		// Its changes since are not known by their modseqs.
		since = 0
	}
	for i, msg := range m.view.All() {
		if msg.ModSeq <= since || !inRanges(r.known, uint32(msg.UID)) {
			continue
		}
		s.announceKeywords(msg.Flags.Keywords)
		s.enc.Raw("* ").Number(int64(i + 1)).Raw(" FETCH (UID ").Number(int64(msg.UID)).SP()
		s.flagsItem(msg, msg.Flags)
		s.enc.SP()
		s.modSeqItem(msg.ModSeq)
		s.enc.Raw(")").CRLF()
	}
}
