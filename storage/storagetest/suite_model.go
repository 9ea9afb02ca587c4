package storagetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// model changes two mailboxes at random, compares them with what they must hold, and has
// clients that must always find out, as QRESYNC has it, what has changed since they last
// asked.
func (s *suite) model() {
	s.must(s.h.Create(s.ctx, "Other"), "Create")
	m := &model{suite: s, r: rand.New(rand.NewPCG(rand.Uint64(), 1)), boxes: []*modelBox{{name: mailbox.Inbox}, {name: "Other"}}}
	for _, b := range m.boxes {
		b.want = map[mailbox.UID]modelMessage{}
		b.clients = []*modelClient{{}, {}}
	}
	m.open()
	for m.step = range 250 {
		m.change()
		if s.Failed() {
			s.Fatalf("at step %d", m.step)
		}
	}
}

type model struct {
	*suite
	r     *rand.Rand
	boxes []*modelBox
	step  int
}

type modelBox struct {
	storage.Backend
	name    string
	want    map[mailbox.UID]modelMessage
	told    mailbox.ModSeq // the highest
	clients []*modelClient
}

type modelMessage struct {
	text  string
	flags mailbox.Flags
}

type modelClient struct {
	since   mailbox.ModSeq
	picture map[mailbox.UID]mailbox.Flags
}

func (m *model) open() {
	for _, b := range m.boxes {
		b.Backend = m.box(b.name)
	}
}

func (m *model) text() []byte {
	return fmt.Appendf(nil, "Subject: %d\n\n%d\n", m.step, m.r.Uint64())
}

func (m *model) flags() mailbox.Flags {
	f := mailbox.Flags{System: mailbox.SystemFlags(m.r.IntN(32))}
	for _, k := range []string{"a", "b", "c"} {
		if m.r.IntN(3) == 0 {
			f.Keywords = append(f.Keywords, k)
		}
	}
	return f
}

// some are UIDs of a mailbox, and one that it has not.
func (m *model) some(b *modelBox) []mailbox.UID {
	uids := []mailbox.UID{1 << 20}
	for _, uid := range slices.Sorted(maps.Keys(b.want)) {
		if m.r.IntN(4) == 0 {
			uids = append(uids, uid)
		}
	}
	return uids
}

func (m *model) change() {
	b := m.boxes[m.r.IntN(2)]
	switch m.r.IntN(9) {
	case 0, 1:
		text, flags := m.text(), m.flags()
		uid := m.save(b, text, mailbox.SaveInfo{Flags: flags})
		b.want[uid] = modelMessage{string(text), flags}
	case 2:
		m.group(b)
	case 3, 4:
		m.store(b)
	case 5:
		uids := m.some(b)
		m.must(b.Expunge(m.ctx, uids), "Expunge")
		for _, uid := range uids {
			delete(b.want, uid)
		}
	case 6:
		m.link(b, m.boxes[m.r.IntN(2)])
	case 7:
		if m.r.IntN(4) == 0 {
			m.restart()
			m.open()
		}
	default:
		m.look(b)
	}
}

func (m *model) group(b *modelBox) {
	g, ok := b.Backend.(storage.GroupCommitter)
	if !ok {
		return
	}
	var pending []mailbox.Pending
	var sizes []mailbox.Sizes
	var saved []modelMessage
	for range m.r.IntN(4) {
		text, flags := m.text(), m.flags()
		pending, sizes = append(pending, m.begin(b, text, mailbox.SaveInfo{Flags: flags})), append(sizes, sizesOf(text))
		saved = append(saved, modelMessage{string(text), flags})
	}
	uids, err := g.CommitAll(m.ctx, pending, sizes)
	m.must(err, "CommitAll")
	for i, uid := range uids {
		b.want[uid] = saved[i]
	}
}

func (m *model) store(b *modelBox) {
	change := mailbox.FlagChange{Op: mailbox.FlagOp(m.r.IntN(3)), Flags: m.flags()}
	v := m.sync(b)
	if m.r.IntN(2) == 0 && v.Len() > 0 {
		since := v.At(m.r.IntN(v.Len())).ModSeq
		change.UnchangedSince = &since
	}
	uids := m.some(b)
	modified, err := b.SetFlags(m.ctx, uids, change)
	m.must(err, "SetFlags")
	for _, uid := range uids {
		was, ok := b.want[uid]
		if !ok {
			continue
		}
		refused := change.Refused(v.Get(uid))
		if refused != slices.Contains(modified, uid) {
			m.Errorf("uid %d: refused %v, and must be %v", uid, !refused, refused)
		}
		if !refused {
			was.flags = change.Apply(was.flags)
			b.want[uid] = was
		}
	}
}

// link copies a message as COPY does, with its date and GUID.
func (m *model) link(b, to *modelBox) {
	linker, ok := to.Backend.(storage.Linker)
	uids := slices.Sorted(maps.Keys(b.want))
	if !ok || len(uids) == 0 {
		return
	}
	uid := uids[m.r.IntN(len(uids))]
	m.sync(b)
	msg := m.stat(b, uid)
	info := mailbox.SaveInfo{NeedUID: true, Received: msg.Received, GUID: msg.GUID, Flags: m.flags()}
	made, err := linker.Link(m.ctx, b.Backend, uid, info)
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	m.must(err, "Link")
	to.want[made] = modelMessage{b.want[uid].text, info.Flags}
	m.sync(to)
	copied := m.stat(to, made)
	if copied.GUID != msg.GUID || second(copied.Received) != second(msg.Received) || copied.Saved.Before(time.Now().Add(-time.Minute)) {
		m.Errorf("the copy %+v of %+v", copied, msg)
	}
}

// look compares a mailbox with the model, and has a client ask.
func (m *model) look(b *modelBox) {
	v := m.sync(b)
	m.wantUIDs(v, append([]mailbox.UID{}, slices.Sorted(maps.Keys(b.want))...)...)
	for _, msg := range v.All() {
		want := b.want[msg.UID]
		flags := msg.Flags
		flags.System &^= mailbox.Recent
		if norm := (mailbox.FlagChange{Flags: want.flags}).Apply(mailbox.Flags{}); !flags.Equal(norm) {
			m.Errorf("%s: uid %d has flags %v, want %v", b.name, msg.UID, flags.Names(), norm.Names())
		}
		if m.r.IntN(20) == 0 {
			m.wantText(b, msg.UID, []byte(want.text))
		}
	}
	if m.r.IntN(2) == 0 {
		m.ask(b, b.clients[m.r.IntN(len(b.clients))], v)
	}
}

func (m *model) ask(b *modelBox, c *modelClient, v *mailbox.View) {
	m.must(b.SyncModSeqs(m.ctx), "SyncModSeqs")
	if v.HighestModSeq < b.told {
		m.Errorf("%s: HIGHESTMODSEQ %d after %d", b.name, v.HighestModSeq, b.told)
	}
	b.told = v.HighestModSeq
	gone, complete, err := b.Expunged(m.ctx, c.since)
	m.must(err, "Expunged")
	for uid := range c.picture {
		if complete && slices.Contains(gone, uid) || !complete && v.Get(uid) == nil {
			delete(c.picture, uid)
		}
	}
	if c.picture == nil {
		c.picture = map[mailbox.UID]mailbox.Flags{}
	}
	for _, msg := range v.All() {
		if msg.ModSeq > c.since {
			c.picture[msg.UID] = msg.Flags
		}
	}
	for _, uid := range gone {
		if v.Get(uid) != nil {
			m.Errorf("%s: uid %d is there and expunged", b.name, uid)
		}
	}
	if len(c.picture) != v.Len() {
		m.Errorf("%s: a client has %d messages, there are %d", b.name, len(c.picture), v.Len())
	}
	for _, msg := range v.All() {
		have, ok := c.picture[msg.UID]
		is := msg.Flags
		have.System &^= mailbox.Recent
		is.System &^= mailbox.Recent
		if !ok || !have.Equal(is) {
			m.Errorf("%s: a client has uid %d with %v, and it is %v", b.name, msg.UID, have.Names(), is.Names())
		}
	}
	c.since = v.HighestModSeq
}
