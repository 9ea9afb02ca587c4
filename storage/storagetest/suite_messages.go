package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

func (s *suite) saveAndRead() {
	b := s.inbox()
	if v := s.sync(b); v.Len() != 0 || v.UIDNext != 1 || v.UIDValidity == 0 {
		s.Errorf("empty INBOX: %d messages, UIDNEXT %d, UIDVALIDITY %d", v.Len(), v.UIDNext, v.UIDValidity)
	}
	texts := map[mailbox.UID][]byte{}
	last := mailbox.UID(0)
	for n := range 20 {
		uid := s.save(b, text(n*300), mailbox.SaveInfo{})
		if uid <= last {
			s.Errorf("UID %d after %d", uid, last)
		}
		last, texts[uid] = uid, text(n*300)
	}
	v := s.sync(b)
	if v.Len() != len(texts) {
		s.Errorf("%d messages, want %d", v.Len(), len(texts))
	}
	for _, m := range v.All() {
		want := texts[m.UID]
		s.wantText(b, m.UID, want)
		st := s.stat(b, m.UID)
		if st.Sizes != sizesOf(want) {
			s.Errorf("uid %d: sizes %+v, want %+v", m.UID, st.Sizes, sizesOf(want))
		}
		if st.GUID == "" {
			s.Errorf("uid %d has no GUID", m.UID)
		}
	}
	if _, err := b.Open(s.ctx, last+1); !errors.Is(err, mailbox.ErrNotFound) {
		s.Errorf("Open of a UID that is not there: %v, want %v", err, mailbox.ErrNotFound)
	}
	if _, err := b.Stat(s.ctx, last+1); !errors.Is(err, mailbox.ErrNotFound) {
		s.Errorf("Stat of a UID that is not there: %v, want %v", err, mailbox.ErrNotFound)
	}
}

func (s *suite) saveInfo() {
	b := s.inbox()
	received := time.Date(2004, 2, 29, 23, 59, 58, 0, time.FixedZone("", 3600))
	info := mailbox.SaveInfo{
		Received: received,
		Flags:    mailbox.Flags{System: mailbox.Seen | mailbox.Draft | mailbox.Recent, Keywords: []string{"$Forwarded", "work"}},
		GUID:     "0123456789abcdef0123456789abcdef",
	}
	before := time.Now()
	uid := s.save(b, text(1), info)
	plain := s.save(b, text(2), mailbox.SaveInfo{})
	for range 2 {
		s.sync(b)
		m := s.stat(b, uid)
		want := mailbox.Flags{System: mailbox.Seen | mailbox.Draft, Keywords: info.Flags.Keywords}
		m.Flags.System &^= mailbox.Recent
		if !m.Flags.Equal(want) {
			s.Errorf("flags %v, want %v", m.Flags.Names(), want.Names())
		}
		if second(m.Received) != second(received) {
			s.Errorf("received %v, want %v", m.Received, received)
		}
		if m.GUID != info.GUID {
			s.Errorf("GUID %q, want the one that was given, %q", m.GUID, info.GUID)
		}
		if m.Saved.Before(before.Add(-2*time.Second)) || m.Saved.After(time.Now().Add(2*time.Second)) {
			s.Errorf("saved at %v, and it is %v", m.Saved, time.Now())
		}
		p := s.stat(b, plain)
		if p.Received.Before(before.Add(-2*time.Second)) || p.Received.After(time.Now().Add(2*time.Second)) {
			s.Errorf("received %v where no time was given, and it is %v", p.Received, time.Now())
		}
		if p.Flags.System&^mailbox.Recent != 0 || len(p.Flags.Keywords) != 0 {
			s.Errorf("flags %v where none were given", p.Flags.Names())
		}
		s.restart()
		b = s.inbox()
	}
}

func (s *suite) emptyMessage() {
	b := s.inbox()
	uid := s.save(b, nil, mailbox.SaveInfo{})
	s.restart()
	b = s.inbox()
	s.sync(b)
	s.wantText(b, uid, nil)
	if m := s.stat(b, uid); m.Sizes != (mailbox.Sizes{}) {
		s.Errorf("sizes %+v of an empty message", m.Sizes)
	}
}

func (s *suite) largeMessage() {
	b := s.inbox()
	large := make([]byte, 9<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(large)
	uid := s.save(b, large, mailbox.SaveInfo{})
	s.sync(b)
	st, err := b.Open(s.ctx, uid)
	s.must(err, "Open")
	if st.Size() != int64(len(large)) {
		s.Errorf("Size = %d, want %d", st.Size(), len(large))
	}
	if m := st.Message(); m.UID != uid || m.Sizes.Stored != int64(len(large)) {
		s.Errorf("Message is of uid %d with %d bytes", m.UID, m.Sizes.Stored)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			piece := make([]byte, 100_000)
			for off := int64(g) * 1000; off < st.Size(); off += 1_000_003 {
				n, err := st.ReadAt(piece, off)
				want := large[off:min(off+int64(len(piece)), int64(len(large)))]
				if n != len(want) || !bytes.Equal(piece[:n], want) || err != nil && err != io.EOF {
					s.Errorf("ReadAt(%d) = %d, %v; want %d bytes of the message", off, n, err, len(want))
				}
			}
		})
	}
	wg.Wait()
	if n, err := st.ReadAt(make([]byte, 1), st.Size()); n != 0 || err != io.EOF {
		s.Errorf("ReadAt the end = %d, %v; want 0, EOF", n, err)
	}
	s.must(st.Close(), "Close")
}

func (s *suite) withoutNeedUID() {
	b := s.inbox()
	s.sync(b)
	for n := range 3 {
		uid, err := save(s.ctx, b, text(n), mailbox.SaveInfo{Flags: mailbox.Flags{System: mailbox.Flagged}})
		s.must(err, "saving")
		v := s.sync(b)
		if v.Len() != n+1 {
			s.Fatalf("%d messages after Sync, want %d", v.Len(), n+1)
		}
		m := v.At(n)
		if uid != 0 && uid != m.UID {
			s.Errorf("Commit gave UID %d, the message has %d", uid, m.UID)
		}
		if m.Flags.System&^mailbox.Recent != mailbox.Flagged {
			s.Errorf("flags %v", m.Flags.Names())
		}
		s.wantText(b, m.UID, text(n))
	}
}

func (s *suite) abort() {
	b := s.inbox()
	uid := s.save(b, text(1), mailbox.SaveInfo{})
	canary := NewCanary()
	p, err := b.Create(s.ctx, mailbox.SaveInfo{NeedUID: true})
	s.must(err, "Create")
	_, err = p.Write(canary.Message())
	s.must(err, "Write")
	if v := s.sync(b); v.Len() != 1 {
		s.Errorf("%d messages while the second is being saved, want 1", v.Len())
	}
	s.must(p.Abort(), "Abort")
	_ = p.Abort() // more often does no harm
	s.wantUIDs(s.sync(b), uid)

	done, err := b.Create(s.ctx, mailbox.SaveInfo{NeedUID: true})
	s.must(err, "Create")
	_, err = done.Write(text(2))
	s.must(err, "Write")
	second, err := done.Commit(sizesOf(text(2)))
	s.must(err, "Commit")
	s.must(done.Abort(), "Abort after Commit")
	s.restart()
	b = s.inbox()
	s.wantUIDs(s.sync(b), uid, second)
	s.wantText(b, second, text(2))
	if s.factory.Root != "" {
		canary.Check(s, s.factory.Root)
	}
}

func (s *suite) expunge() {
	b := s.inbox()
	var all []mailbox.UID
	for n := range 6 {
		all = append(all, s.save(b, text(n), mailbox.SaveInfo{}))
	}
	s.must(b.Expunge(s.ctx, []mailbox.UID{all[4], all[1], all[1], all[5] + 100}), "Expunge")
	s.wantUIDs(b.View(), all[0], all[2], all[3], all[5])
	s.wantUIDs(s.sync(b), all[0], all[2], all[3], all[5])
	for _, uid := range []mailbox.UID{all[1], all[4]} {
		_, err := b.Open(s.ctx, uid)
		s.wantErr(err, mailbox.ErrNotFound, "Open of an expunged message")
	}
	s.must(b.Expunge(s.ctx, nil), "Expunge of nothing")
	s.must(b.Expunge(s.ctx, []mailbox.UID{all[1]}), "Expunge of what is gone")
	s.restart()
	b = s.inbox()
	s.wantUIDs(s.sync(b), all[0], all[2], all[3], all[5])
	s.wantText(b, all[2], text(2))
}

func (s *suite) uidsNeverReused() {
	b := s.inbox()
	validity := s.sync(b).UIDValidity
	highest := mailbox.UID(0)
	for range 4 {
		uid := s.save(b, text(3), mailbox.SaveInfo{})
		if uid <= highest {
			s.Errorf("UID %d was given after %d", uid, highest)
		}
		highest = uid
		s.must(b.Expunge(s.ctx, []mailbox.UID{uid}), "Expunge")
		s.restart()
		b = s.inbox()
		v := s.sync(b)
		if v.UIDNext <= highest || v.UIDValidity != validity {
			s.Errorf("UIDNEXT %d, UIDVALIDITY %d; want above %d, and %d", v.UIDNext, v.UIDValidity, highest, validity)
		}
	}
}

func (s *suite) reopen() {
	b := s.inbox()
	guid := b.GUID()
	var all []mailbox.UID
	guids := map[mailbox.UID]string{}
	for n := range 10 {
		uid := s.save(b, text(n), mailbox.SaveInfo{Flags: mailbox.Flags{System: mailbox.SystemFlags(n) & 0x1f}})
		all = append(all, uid)
	}
	v := s.sync(b)
	for _, m := range v.All() {
		guids[m.UID] = s.stat(b, m.UID).GUID
	}
	s.restart()
	b = s.inbox()
	after := s.sync(b)
	if b.GUID() != guid || after.GUID != guid {
		s.Errorf("GUID of the mailbox is %s and in the view %s, was %s", b.GUID(), after.GUID, guid)
	}
	if after.UIDValidity != v.UIDValidity || after.UIDNext < v.UIDNext || after.HighestModSeq < v.HighestModSeq {
		s.Errorf("UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ are %d, %d, %d; were %d, %d, %d", after.UIDValidity,
			after.UIDNext, after.HighestModSeq, v.UIDValidity, v.UIDNext, v.HighestModSeq)
	}
	s.wantUIDs(after, all...)
	for n, uid := range all {
		m := s.stat(b, uid)
		if m.Flags.System&^mailbox.Recent != mailbox.SystemFlags(n)&0x1f || m.GUID != guids[uid] {
			s.Errorf("uid %d: flags %v, GUID %s; was %v, %s", uid, m.Flags.Names(), m.GUID, mailbox.SystemFlags(n), guids[uid])
		}
		s.wantText(b, uid, text(n))
	}
}

func (s *suite) openWhileExpunged() {
	b := s.inbox()
	large := bytes.Repeat(text(4000), 100)
	uid := s.save(b, large, mailbox.SaveInfo{})
	s.sync(b)
	st, err := b.Open(s.ctx, uid)
	s.must(err, "Open")
	s.must(b.Expunge(s.ctx, []mailbox.UID{uid}), "Expunge")
	got, err := readStored(st)
	if err != nil || !bytes.Equal(got, large) {
		s.Errorf("message that was expunged while open: %d of %d bytes, %v", len(got), len(large), err)
	}
	s.must(st.Close(), "Close")
	_, err = b.Open(s.ctx, uid)
	s.wantErr(err, mailbox.ErrNotFound, "Open after that")
}

func (s *suite) viewsDoNotChange() {
	b := s.inbox()
	for n := range 5 {
		s.save(b, text(n), mailbox.SaveInfo{})
	}
	old := s.sync(b)
	was := uids(old)
	s.must(setFlags(s.ctx, b, was[:2], mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Seen}}), "SetFlags")
	s.must(b.Expunge(s.ctx, was[3:]), "Expunge")
	s.save(b, text(9), mailbox.SaveInfo{})
	s.sync(b)
	s.wantUIDs(old, was...)
	if old.At(0).Flags.System&mailbox.Seen != 0 {
		s.Error("a view that was taken before shows a flag that was set later")
	}
}

func (s *suite) changed() {
	b := s.inbox()
	uid := s.save(b, text(1), mailbox.SaveInfo{})
	s.sync(b)
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"a new message", func() error { _, err := save(s.ctx, b, text(2), mailbox.SaveInfo{}); return err }},
		{"a flag", func() error {
			return setFlags(s.ctx, b, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Flagged}})
		}},
		{"an expunge", func() error { return b.Expunge(s.ctx, []mailbox.UID{uid}) }},
	} {
		told := make(chan struct{}, 1)
		stop := b.Watch(func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
		s.must(change.do(), change.name)
		s.sync(b)
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			s.Fatalf("nobody is told of %s", change.name)
		}
		stop()
	}
}

func (s *suite) recent() {
	b := s.inbox()
	first := s.save(b, text(1), mailbox.SaveInfo{})
	second := s.save(b, text(2), mailbox.SaveInfo{})
	s.sync(b)
	var mu sync.Mutex
	var claimed []mailbox.UID
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got, err := b.ClaimRecent(s.ctx)
			mu.Lock()
			defer mu.Unlock()
			claimed = append(claimed, got...)
			if err != nil {
				s.Errorf("ClaimRecent: %v", err)
			}
		})
	}
	wg.Wait()
	slices.Sort(claimed)
	if !slices.Equal(claimed, []mailbox.UID{first, second}) {
		s.Errorf("claimed by four at once: %v, want %v once each", claimed, []mailbox.UID{first, second})
	}
	third := s.save(b, text(3), mailbox.SaveInfo{})
	s.sync(b)
	if got, err := b.ClaimRecent(s.ctx); err != nil || !slices.Equal(got, []mailbox.UID{third}) {
		s.Errorf("ClaimRecent = %v, %v; want %d", got, err, third)
	}
	if got, err := b.ClaimRecent(s.ctx); err != nil || len(got) != 0 {
		s.Errorf("ClaimRecent again = %v, %v", got, err)
	}
	s.restart()
	b = s.inbox()
	s.sync(b)
	if got, err := b.ClaimRecent(s.ctx); err != nil || len(got) != 0 {
		s.Errorf("ClaimRecent after opening again = %v, %v", got, err)
	}
}

func (s *suite) recordSizes() {
	b := s.inbox()
	p, err := b.Create(s.ctx, mailbox.SaveInfo{NeedUID: true})
	s.must(err, "Create")
	_, err = p.Write(text(1000))
	s.must(err, "Write")
	uid, err := p.Commit(mailbox.UnknownSizes)
	s.must(err, "Commit with unknown sizes")
	s.sync(b)
	guid := s.stat(b, uid).GUID
	s.must(b.RecordSizes(s.ctx, uid, sizesOf(text(1000))), "RecordSizes")
	m := s.stat(b, uid)
	if got := m.Sizes; got != sizesOf(text(1000)) && got.Physical != mailbox.Unknown {
		s.Errorf("sizes %+v, want %+v", got, sizesOf(text(1000)))
	}
	if m.GUID != guid {
		s.Errorf("GUID became %s, was %s", m.GUID, guid)
	}
	s.wantText(b, uid, text(1000))
}

func (s *suite) cancelled() {
	b := s.inbox()
	uid := s.save(b, text(1), mailbox.SaveInfo{})
	s.sync(b)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	// Either is right, but nothing may be half done.
	_, err := save(ctx, b, text(2), mailbox.SaveInfo{NeedUID: true})
	v := s.sync(b)
	if want := 1; err != nil && v.Len() != want {
		s.Errorf("%d messages after a save that failed, want %d", v.Len(), want)
	}
	s.wantText(b, uid, text(1))
}

func (s *suite) link() {
	from := s.inbox()
	s.must(s.h.Create(s.ctx, "Other"), "Create")
	to := s.box("Other")
	linker, ok := to.(storage.Linker)
	if !ok {
		s.Skip("cannot link")
	}
	uid := s.save(from, text(700), mailbox.SaveInfo{})
	s.sync(from)
	received := time.Date(2010, 5, 6, 7, 8, 9, 0, time.UTC)
	info := mailbox.SaveInfo{NeedUID: true, Received: received, GUID: s.stat(from, uid).GUID,
		Flags: mailbox.Flags{System: mailbox.Answered, Keywords: []string{"linked"}}}
	linked, err := linker.Link(s.ctx, from, uid, info)
	if errors.Is(err, errors.ErrUnsupported) {
		s.Skip("cannot link within one hierarchy")
	}
	s.must(err, "Link")
	s.must(setFlags(s.ctx, from, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Draft}}), "SetFlags")
	s.must(from.Expunge(s.ctx, []mailbox.UID{uid}), "Expunge")
	s.restart()
	to = s.box("Other")
	s.wantUIDs(s.sync(to), linked)
	m := s.stat(to, linked)
	m.Flags.System &^= mailbox.Recent
	if !m.Flags.Equal(info.Flags) || m.GUID != info.GUID {
		s.Errorf("linked message has flags %v, GUID %s; want %v, %s", m.Flags.Names(), m.GUID, info.Flags.Names(), info.GUID)
	}
	s.wantText(to, linked, text(700))
	_, err = to.(storage.Linker).Link(s.ctx, s.inbox(), uid, info)
	s.wantErr(err, mailbox.ErrNotFound, "Link of an expunged message")
}

// canary checks that what is not the message, such as an index, says nothing about it:
// the stored bytes are turned beyond recognition, as encryption does.
func (s *suite) canary() {
	if s.factory.Root == "" {
		s.Skip("no files")
	}
	b := s.inbox()
	c := NewCanary()
	stored := c.Message()
	for i := range stored {
		stored[i] ^= 0xa5
	}
	uid := s.save(b, stored, mailbox.SaveInfo{})
	s.sync(b)
	s.wantText(b, uid, stored)
	s.must(setFlags(s.ctx, b, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Seen}}), "SetFlags")
	s.restart()
	if c.Check(s, s.factory.Root) == 0 {
		s.Error("no files below the root")
	}
}
