package storagetest

import (
	"context"
	"fmt"
	"slices"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

func (s *suite) flags() {
	b := s.inbox()
	one := s.save(b, text(1), mailbox.SaveInfo{})
	two := s.save(b, text(2), mailbox.SaveInfo{Flags: mailbox.Flags{System: mailbox.Seen}})
	s.sync(b)
	both := []mailbox.UID{two, one, two + 50}
	for _, step := range []struct {
		op       mailbox.FlagOp
		flags    mailbox.SystemFlags
		one, two mailbox.SystemFlags
	}{
		{mailbox.AddFlags, mailbox.Flagged, mailbox.Flagged, mailbox.Flagged | mailbox.Seen},
		{mailbox.AddFlags, mailbox.Flagged, mailbox.Flagged, mailbox.Flagged | mailbox.Seen},
		{mailbox.RemoveFlags, mailbox.Seen | mailbox.Draft, mailbox.Flagged, mailbox.Flagged},
		{mailbox.ReplaceFlags, mailbox.Answered | mailbox.Deleted, mailbox.Answered | mailbox.Deleted, mailbox.Answered | mailbox.Deleted},
		{mailbox.AddFlags, mailbox.Draft | mailbox.Seen | mailbox.Flagged, 0x1f, 0x1f},
		{mailbox.ReplaceFlags, 0, 0, 0},
	} {
		err := setFlags(s.ctx, b, both, mailbox.FlagChange{Op: step.op, Flags: mailbox.Flags{System: step.flags}})
		s.must(err, "SetFlags")
		for _, v := range []*mailbox.View{b.View(), s.sync(b)} {
			s.wantUIDs(v, one, two)
			for uid, want := range map[mailbox.UID]mailbox.SystemFlags{one: step.one, two: step.two} {
				if got := v.Get(uid).Flags.System &^ mailbox.Recent; got != want {
					s.Errorf("uid %d after operation %d with %#x: %#x, want %#x", uid, step.op, step.flags, got, want)
				}
			}
		}
		s.wantText(b, one, text(1))
	}
	s.must(setFlags(s.ctx, b, []mailbox.UID{one}, mailbox.FlagChange{Flags: mailbox.Flags{System: mailbox.Flagged | mailbox.Seen}}), "SetFlags")
	guid := s.stat(b, one).GUID
	s.restart()
	b = s.inbox()
	v := s.sync(b)
	if got := v.Get(one).Flags.System &^ mailbox.Recent; got != mailbox.Flagged|mailbox.Seen {
		s.Errorf("flags after opening again: %#x", got)
	}
	if got := s.stat(b, one).GUID; got != guid {
		s.Errorf("the GUID is %s, was %s", got, guid)
	}
}

func (s *suite) keywords() {
	b := s.inbox()
	uid := s.save(b, text(1), mailbox.SaveInfo{Flags: mailbox.Flags{Keywords: []string{"$Junk"}}})
	s.sync(b)
	want := []string{"$Junk"}
	set := func(op mailbox.FlagOp, k ...string) {
		s.Helper()
		s.must(setFlags(s.ctx, b, []mailbox.UID{uid}, mailbox.FlagChange{Op: op, Flags: mailbox.Flags{Keywords: k}}), "SetFlags")
		if got := b.View().Get(uid).Flags; !got.Equal(mailbox.Flags{System: got.System, Keywords: want}) {
			s.Errorf("keywords %q, want %q", got.Keywords, want)
		}
	}
	want = []string{"$Junk", "later"}
	set(mailbox.AddFlags, "later")
	set(mailbox.AddFlags, "LATER", "$junk") // the same, without regard to case
	want = []string{"later"}
	set(mailbox.RemoveFlags, "$JUNK", "unknown")
	// More than a Maildir has letters for: the store may refuse, but not lose any.
	for n := range 40 {
		k := fmt.Sprintf("key-%02d", n)
		err := setFlags(s.ctx, b, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{Keywords: []string{k}}})
		if err != nil {
			s.wantErr(err, mailbox.ErrLimit, "many keywords")
			if n < 20 {
				s.Errorf("keyword number %d is refused", n+2)
			}
			break
		}
		want = append(want, k)
	}
	slices.Sort(want)
	s.restart()
	b = s.inbox()
	if got := s.sync(b).Get(uid).Flags; !got.Equal(mailbox.Flags{System: got.System, Keywords: want}) {
		s.Errorf("keywords after opening again %q, want %q", got.Keywords, want)
	}
	want = nil
	set(mailbox.ReplaceFlags)
}

func (s *suite) modSeq() {
	b := s.inbox()
	one := s.save(b, text(1), mailbox.SaveInfo{})
	two := s.save(b, text(2), mailbox.SaveInfo{})
	v := s.sync(b)
	check := func(what string, grown bool) {
		s.Helper()
		n := s.sync(b)
		if grown && n.HighestModSeq <= v.HighestModSeq || n.HighestModSeq < v.HighestModSeq {
			s.Errorf("HIGHESTMODSEQ after %s is %d, was %d", what, n.HighestModSeq, v.HighestModSeq)
		}
		for _, m := range n.All() {
			if m.ModSeq == 0 || m.ModSeq > n.HighestModSeq {
				s.Errorf("uid %d has modseq %d with HIGHESTMODSEQ %d", m.UID, m.ModSeq, n.HighestModSeq)
			}
		}
		v = n
	}
	check("saving", false)
	was := v.Get(two).ModSeq
	highest := v.HighestModSeq
	s.must(setFlags(s.ctx, b, []mailbox.UID{one}, mailbox.FlagChange{Flags: mailbox.Flags{System: mailbox.Seen}}), "SetFlags")
	check("a flag", true)
	if v.Get(one).ModSeq <= highest || v.Get(two).ModSeq != was {
		s.Errorf("modseqs %d and %d; want the first above %d, the second still %d", v.Get(one).ModSeq, v.Get(two).ModSeq, highest, was)
	}
	s.save(b, text(3), mailbox.SaveInfo{})
	check("a new message", true)
	s.must(b.Expunge(s.ctx, []mailbox.UID{one}), "Expunge")
	check("an expunge", true)
	s.restart()
	b = s.inbox()
	check("opening again", false)
}

// condstore is SetFlags with a condition, and what Expunged tells.
func (s *suite) condstore() {
	b := s.inbox()
	one := s.save(b, text(1), mailbox.SaveInfo{})
	two := s.save(b, text(2), mailbox.SaveInfo{})
	first := s.sync(b).HighestModSeq
	seen := mailbox.Flags{System: mailbox.Seen}
	s.must(setFlags(s.ctx, b, []mailbox.UID{one}, mailbox.FlagChange{Flags: seen}), "SetFlags")
	flagged := mailbox.FlagChange{Flags: mailbox.Flags{System: mailbox.Flagged}, UnchangedSince: &first}
	modified, err := b.SetFlags(s.ctx, []mailbox.UID{two, one, two + 50}, flagged)
	s.must(err, "SetFlags")
	if !slices.Equal(modified, []mailbox.UID{one}) {
		s.Errorf("refused %v, want %d alone", modified, one)
	}
	v := s.sync(b)
	if got := v.Get(one).Flags.System &^ mailbox.Recent; got != mailbox.Seen {
		s.Errorf("refused change made the flags %v", got)
	}
	if got := v.Get(two).Flags.System &^ mailbox.Recent; got != mailbox.Flagged {
		s.Errorf("allowed change made the flags %v", got)
	}
	s.must(b.SyncModSeqs(s.ctx), "SyncModSeqs")

	before := v.HighestModSeq
	s.must(b.Expunge(s.ctx, []mailbox.UID{one}), "Expunge")
	v = s.sync(b)
	for _, tt := range []struct {
		since mailbox.ModSeq
		want  []mailbox.UID
	}{{before, []mailbox.UID{one}}, {v.HighestModSeq, nil}} {
		switch gone, complete, err := b.Expunged(s.ctx, tt.since); {
		case err != nil:
			s.Errorf("Expunged: %v", err)
		case complete && !slices.Equal(gone, tt.want):
			s.Errorf("expunged since %d: %v, want %v", tt.since, gone, tt.want)
		}
	}
}

// setFlags is an unconditional SetFlags.
func setFlags(ctx context.Context, b storage.Backend, uids []mailbox.UID, change mailbox.FlagChange) error {
	modified, err := b.SetFlags(ctx, uids, change)
	if err == nil && len(modified) > 0 {
		err = fmt.Errorf("SetFlags without a condition refused %v", modified)
	}
	return err
}
