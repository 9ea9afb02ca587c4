package storagetest

import (
	"context"
	"slices"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// begin writes a message and leaves the commit to the caller.
func (s *suite) begin(b storage.Backend, text []byte, info mailbox.SaveInfo) mailbox.Pending {
	s.Helper()
	info.NeedUID = true
	p, err := b.Create(s.ctx, info)
	s.must(err, "Create")
	_, err = p.Write(text)
	s.must(err, "Write")
	return p
}

// group is a Backend that shows several messages at once, all or none.
func (s *suite) group() {
	b := s.inbox()
	g, ok := b.(storage.GroupCommitter)
	if !ok {
		s.Skip("messages are shown one by one")
	}
	first := s.save(b, text(1), mailbox.SaveInfo{})
	before := s.sync(b)
	if made, err := g.CommitAll(s.ctx, nil, nil); err != nil || len(made) != 0 {
		s.Errorf("CommitAll of nothing: %v, %v", made, err)
	}

	texts := [][]byte{text(2), text(3), nil, text(5)}
	infos := []mailbox.SaveInfo{
		{Flags: mailbox.Flags{System: mailbox.Seen, Keywords: []string{"work"}}},
		{Received: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)},
		{},
		{GUID: "0123456789abcdef0123456789abcdef", Flags: mailbox.Flags{Keywords: []string{"other"}}},
	}
	var pending []mailbox.Pending
	var sizes []mailbox.Sizes
	for i := range texts {
		p := s.begin(b, texts[i], infos[i])
		if f, ok := p.(storage.Finisher); ok && i%2 == 0 {
			s.must(f.Finish(), "Finish")
		}
		pending, sizes = append(pending, p), append(sizes, sizesOf(texts[i]))
	}
	if v := s.sync(b); v.Len() != 1 {
		s.Errorf("%d messages before the commit", v.Len())
	}
	stop, lengths := s.watchLengths(b)
	made, err := g.CommitAll(s.ctx, pending, sizes)
	s.must(err, "CommitAll")
	stop()
	for n := range lengths {
		if n != 1 && n != 1+len(texts) {
			s.Errorf("a view shows %d messages", n)
		}
	}
	if len(made) != len(texts) || !slices.IsSorted(made) || made[0] <= first {
		s.Fatalf("UIDs %v after %d", made, first)
	}
	v := s.sync(b)
	s.wantUIDs(v, append([]mailbox.UID{first}, made...)...)
	if v.HighestModSeq <= before.HighestModSeq || v.UIDNext <= made[len(made)-1] {
		s.Errorf("modseq %d after %d, UIDNEXT %d", v.HighestModSeq, before.HighestModSeq, v.UIDNext)
	}
	for _, p := range pending {
		s.must(p.Abort(), "Abort after the commit")
	}
	s.restart()
	b = s.inbox()
	s.sync(b)
	for i, uid := range made {
		s.wantText(b, uid, texts[i])
		m := s.stat(b, uid)
		m.Flags.System &^= mailbox.Recent
		if want := (mailbox.FlagChange{Flags: infos[i].Flags}).Apply(mailbox.Flags{}); !m.Flags.Equal(want) {
			s.Errorf("uid %d: flags %v, want %v", uid, m.Flags.Names(), want.Names())
		}
		if r := infos[i].Received; !r.IsZero() && second(m.Received) != second(r) {
			s.Errorf("uid %d: received %v, want %v", uid, m.Received, r)
		}
		if g := infos[i].GUID; g != "" && m.GUID != g {
			s.Errorf("uid %d: GUID %q, want %q", uid, m.GUID, g)
		}
	}
}

// watchLengths gathers how long the views are that b shows until stop is called.
func (s *suite) watchLengths(b storage.Backend) (stop func(), lengths map[int]bool) {
	lengths = map[int]bool{}
	ctx, cancel := context.WithCancel(s.ctx)
	done, started := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		lengths[b.View().Len()] = true
		close(started)
		for ctx.Err() == nil {
			lengths[b.View().Len()] = true
		}
	}()
	<-started
	return func() { cancel(); <-done }, lengths
}

// groupRefused is a group of which one message has ended: nothing of it shows.
func (s *suite) groupRefused() {
	b := s.inbox()
	g, ok := b.(storage.GroupCommitter)
	if !ok {
		s.Skip("messages are shown one by one")
	}
	for ended := range 3 {
		var pending []mailbox.Pending
		for n := range 3 {
			pending = append(pending, s.begin(b, text(n), mailbox.SaveInfo{}))
		}
		s.must(pending[ended].Abort(), "Abort")
		made, err := g.CommitAll(s.ctx, pending, make([]mailbox.Sizes, 3))
		if err == nil {
			s.Errorf("a group with an aborted message was committed as %v", made)
		}
		for _, p := range pending {
			if _, err := p.Commit(mailbox.Sizes{}); err == nil {
				s.Error("a message of a refused group was committed")
			}
		}
	}
	if v := s.sync(b); v.Len() != 0 {
		s.Errorf("%d messages of refused groups", v.Len())
	}
}
