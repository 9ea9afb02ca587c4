package maildir

import (
	"context"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// maxRounds is how often something is tried that other programs can thwart.
const maxRounds = 10

// sync looks for changes and returns the newest view.
func (b *box) sync(ctx context.Context, force bool) (*mailbox.View, error) {
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	if err := b.syncLocked(ctx, force); err != nil {
		return nil, err
	}
	return b.view, nil
}

// syncLocked reads what has changed, gives UIDs to new files, and publishes. op is held.
func (b *box) syncLocked(ctx context.Context, force bool) error {
	for i := range b.arrived {
		if b.arrived[i].Swap(false) {
			// It may have come in the middle of a change of ours, and then the time of the
			// directory counts as ours.
			b.dirs[i].scanned = false
		}
	}
	for range maxRounds {
		if err := ctx.Err(); err != nil {
			return b.wrap("syncing", err)
		}
		// The list first: a record's file is in place before the record is.
		if err := b.readControl(false); err != nil {
			return err
		}
		b.load()
		if err := b.scan(force || b.unseen); err != nil {
			return err
		}
		todo := b.unnumbered()
		if len(todo) == 0 && len(b.doubles) == 0 && len(b.odd) == 0 && !b.rewriteDue() {
			break
		}
		again, err := b.number(ctx, todo)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			// What has a UID can be served all the same.
			b.h.log.Warn("maildir: giving UIDs", "mailbox", b.f().key, "error", err)
			break
		}
		if !again {
			break
		}
		force = true
	}
	b.publish()
	return nil
}

// lookAgain publishes what other programs changed, for who holds the uidlist's lock: files
// without UID wait for the next sync. op is held.
func (b *box) lookAgain() error {
	if err := b.readControl(false); err != nil {
		return err
	}
	b.load()
	if err := b.scan(b.unseen); err != nil {
		return err
	}
	b.publish()
	return nil
}

// unnumbered returns the files that need a UID, in the order of arrival: they have none, or
// theirs is of a message that clients were told is gone.
func (b *box) unnumbered() []*entry {
	var todo []*entry
	for _, e := range b.found {
		if b.needsUID(e) {
			todo = append(todo, e)
		}
	}
	sortArrivals(todo)
	return todo
}

// sortArrivals puts entries into the order in which they get UIDs.
func sortArrivals(list []*entry) {
	type keyed struct {
		arrival
		e *entry
	}
	keys := make([]keyed, len(list))
	for i, e := range list {
		keys[i] = keyed{arrivalOf(e.base), e}
	}
	slices.SortFunc(keys, func(a, b keyed) int { return a.compare(b.arrival) })
	for i := range keys {
		list[i] = keys[i].e
	}
}

func (b *box) needsUID(e *entry) bool {
	return e.present && (!e.listed() || e.msg == nil && e.uid < b.known)
}

// rewriteDue reports whether the uidlist has to be written anew: what is wrong with it was
// noted in reading, or fewer than three quarters of the records have a file.
func (b *box) rewriteDue() bool {
	if b.list.rewrite != "" {
		return true
	}
	if b.list.total < 100 || len(b.found) == 0 {
		return false
	}
	gone := b.list.total - len(b.byUID)
	for _, e := range b.byUID {
		if !e.present && !e.unseen {
			gone++
		}
	}
	if 4*gone > b.list.total {
		b.list.rewrite = "many records without file"
		return true
	}
	return false
}

// number gives UIDs to files, under the uidlist's lock, and settles what only the lock can
// settle. again says that files were not where they had been seen.
func (b *box) number(ctx context.Context, todo []*entry) (again bool, err error) {
	l, err := b.lockList(ctx, b.h.lockWait)
	if err != nil {
		return false, b.wrap("locking", err)
	}
	defer func() {
		// A lost lock means that our work may have met another's: look again.
		if uerr := l.Unlock(); uerr != nil {
			again = true
			b.h.log.Warn("maildir: unlocking", "mailbox", b.f().key, "error", uerr)
		}
	}()
	if err := b.readControl(true); err != nil {
		return false, err
	}
	if b.unseen { // another program has given UIDs meanwhile, perhaps to the same files
		return true, nil
	}
	if b.settleDoubles() || b.renameOdd() {
		return true, nil
	}
	todo = slices.DeleteFunc(todo, func(e *entry) bool { return !b.needsUID(e) })
	here := todo[:0]
	for i, e := range todo {
		if i%10_000 == 9_999 {
			if err := l.Touch(); err != nil {
				return false, b.wrap("locking", err)
			}
		}
		var st unix.Stat_t
		if unix.Lstat(b.path(e), &st) == nil {
			if e.saved == 0 { // before anybody renames it, which changes the ctime
				b.mu.Lock()
				e.saved = st.Ctim.Nano()
				b.mu.Unlock()
			}
			here = append(here, e)
		} else {
			again = true
		}
	}
	if err := b.giveUIDs(l, here); err != nil {
		return false, err
	}
	return again, nil
}

// giveUIDs numbers entries in their order and writes the records, all or none. The lock is
// held.
func (b *box) giveUIDs(l *durable.Dotlock, added []*entry) error {
	if len(added) == 0 {
		if b.list.rewrite != "" {
			return b.writeWhole(l)
		}
		return nil
	}
	if int64(b.head.next)+int64(len(added)) > maxUID {
		return b.wrap("giving UIDs in", mailbox.ErrLimit)
	}
	b.mu.Lock()
	was := b.head.next
	old := b.byUID
	b.byUID = slices.Clip(b.byUID)
	for _, e := range added {
		if e.listed() {
			// The old record has to go, or the name would be there twice.
			b.h.log.Info("maildir: expunged message reappeared, giving a new UID", "mailbox", b.f().key, "uid", e.uid)
			b.list.rewrite = "message reappeared"
			b.byUID = slices.DeleteFunc(slices.Clone(b.byUID), func(o *entry) bool { return o == e })
			b.unlist(e)
		}
		e.uid = b.head.next
		b.head.next++
		b.byUID = append(b.byUID, e)
		b.touch(e)
	}
	b.mu.Unlock()
	err := b.appendList(l, added)
	if err != nil {
		b.mu.Lock()
		for _, e := range added {
			e.uid = 0
		}
		b.byUID = slices.DeleteFunc(slices.Clone(old), func(e *entry) bool { return !e.listed() })
		// The numbers may be on disk after all.
		b.head.next = max(was, b.head.next)
		b.mu.Unlock()
	}
	return err
}

// settleDoubles looks, under the lock, at base names that were found twice. Two names of
// one file lose one of them; two files get different names, so that both are messages
// (Dovecot: maildir_fix_duplicate).
func (b *box) settleDoubles() (changed bool) {
	doubles := b.doubles
	b.doubles = nil
	for _, d := range doubles {
		other := filepath.Join(b.f().dir, dirNames[dirOf(&entry{inNew: d.inNew})], d.e.base+d.suffix)
		mine := b.path(d.e)
		var s1, s2 unix.Stat_t
		if mine == other || unix.Lstat(mine, &s1) != nil || unix.Lstat(other, &s2) != nil {
			continue // it was renamed while we looked
		}
		var err error
		if s1.Dev == s2.Dev && s1.Ino == s2.Ino {
			err = b.h.faults.Remove(other)
		} else {
			err = b.h.renameNew(other, filepath.Join(b.dirPath(newDir), b.h.unique.next()))
		}
		if err != nil {
			b.h.log.Warn("maildir: two files of one name", "mailbox", b.f().key, "error", err)
			continue
		}
		changed = true
	}
	return changed
}

// renameOdd gives names to files whose base name is empty, as Dovecot does.
func (b *box) renameOdd() (changed bool) {
	odd := b.odd
	b.odd = nil
	for _, name := range odd {
		err := b.h.renameNew(filepath.Join(b.f().dir, name), filepath.Join(b.dirPath(newDir), b.h.unique.next()))
		changed = changed || err == nil
	}
	return changed
}

// renameNew renames a file to a name that must not be taken.
func (h *Hierarchy) renameNew(from, to string) error { return h.faults.RenameNew(from, to) }

// publish makes a new view of what was touched, and records it in the index.
func (b *box) publish() {
	if !b.loaded {
		return
	}
	p := publication{b: b}
	b.mu.Lock()
	rest := b.found[:0]
	for _, e := range b.found {
		p.look(e)
		if e.touched = b.needsUID(e); e.touched {
			rest = append(rest, e) // for the next sync
		}
	}
	clear(b.found[len(rest):])
	if b.found = rest; cap(b.found) > 4096 && len(rest) == 0 {
		b.found = nil
	}
	view := p.view()
	changed := p.changed() || b.fresh
	// First the index: what a view shows is known to who asks the index to sync, or what
	// was expunged.
	if len(p.records) > 0 || len(p.gone) > 0 || p.next {
		b.idx.Put(b.head.validity, view.UIDNext, p.records, p.gone)
	}
	b.view, b.fresh = view, false
	b.known = view.UIDNext
	b.mu.Unlock()
	if changed {
		b.wake()
	}
	b.remember()
}

// A publication gathers what a new view needs.
type publication struct {
	b       *box
	modseq  mailbox.ModSeq
	msgs    []*mailbox.Message // changed and added
	gone    []mailbox.UID
	records []index.Record
	next    bool // UIDNEXT has grown
}

func (p *publication) changed() bool { return p.modseq != 0 }

// seq returns the modseq of this publication.
func (p *publication) seq() mailbox.ModSeq {
	if p.modseq == 0 {
		p.modseq = p.b.idx.NextModSeq()
	}
	return p.modseq
}

// look compares an entry with its message. b.mu is held.
func (p *publication) look(e *entry) {
	b := p.b
	if !e.listed() || !e.present || e.msg == nil && e.uid < b.known {
		if e.msg != nil {
			p.seq()
			p.gone = append(p.gone, e.uid)
			e.msg = nil
		}
		return
	}
	m := &mailbox.Message{UID: e.uid, Flags: b.flagsOf(e), Sizes: e.sizes(), GUID: e.guid()}
	same := e.msg != nil && withoutRecent(e.msg.Flags).Equal(m.Flags)
	if e.recent {
		m.Flags.System |= mailbox.Recent
	}
	if same {
		m.ModSeq = e.msg.ModSeq
		if e.unsaved || e.noted && !e.recent {
			p.record(e, m)
		}
		if !b.fresh && e.msg.Flags.System == m.Flags.System && e.msg.Sizes == m.Sizes && e.msg.GUID == m.GUID {
			return
		}
	} else {
		m.ModSeq = p.seq()
		p.record(e, m)
	}
	e.msg = m
	p.msgs = append(p.msgs, m)
}

// record has the index record a message. b.mu is held.
func (p *publication) record(e *entry, m *mailbox.Message) {
	e.unsaved = false
	p.records = append(p.records, e.record(m))
}

// unheard adds to what is gone the UIDs that were given since the index was last written and
// have no file now: a process that was killed may have told a client of them. b.mu is held.
func (p *publication) unheard() {
	const most = 10_000
	b := p.b
	from := b.unknown
	b.unknown = 0
	if from == 0 || from >= b.head.next {
		return
	}
	there, found := b.byUID, 0
	there = there[sort.Search(len(there), func(i int) bool { return there[i].uid >= from }):]
	for _, e := range there {
		if e.present || e.unseen {
			found++
		}
	}
	if int(b.head.next-from)-found > most {
		p.seq()
		b.idx.Forget()
		return
	}
	for uid := from; uid < b.head.next; uid++ {
		for len(there) > 0 && there[0].uid < uid {
			there = there[1:]
		}
		if len(there) > 0 && there[0].uid == uid && (there[0].present || there[0].unseen) {
			continue
		}
		p.seq()
		p.gone = append(p.gone, uid)
	}
}

func withoutRecent(f mailbox.Flags) mailbox.Flags {
	f.System &^= mailbox.Recent
	return f
}

func (p *publication) view() *mailbox.View {
	b := p.b
	if b.fresh {
		p.unheard()
	}
	slices.SortFunc(p.msgs, func(a, b *mailbox.Message) int { return int(int64(a.UID) - int64(b.UID)) })
	slices.Sort(p.gone)
	v := b.view
	p.next = b.fresh || v.UIDNext != b.head.next
	switch {
	case b.fresh:
		v = mailbox.NewView(*v, p.msgs)
	case len(p.gone) > 0:
		v = v.Remove(p.modseq, p.gone...)
	}
	if !b.fresh && len(p.msgs) > 0 {
		v = v.Replace(p.msgs...)
	}
	n := *v
	n.GUID, n.UIDValidity = b.head.guid, b.head.validity
	n.UIDNext = max(n.UIDNext, b.head.next)
	n.HighestModSeq = max(n.HighestModSeq, p.modseq)
	if n.HighestModSeq == 0 {
		n.HighestModSeq = p.seq()
	}
	if v == b.view && n.GUID == v.GUID && n.UIDValidity == v.UIDValidity && n.UIDNext == v.UIDNext && n.HighestModSeq == v.HighestModSeq {
		return v // sessions know it
	}
	return &n
}

// sizes are what is known without reading: found by reading earlier, in the name, or in
// the record.
func (e *entry) sizes() mailbox.Sizes {
	s := mailbox.Sizes{Stored: mailbox.Unknown}
	s.Physical, s.Virtual = nameSizes(e.base)
	if s.Physical < 0 {
		if v, ok := field(e.fields, 'S'); ok {
			s.Physical = parseSize(v)
		}
	}
	if s.Virtual < 0 {
		if v, ok := field(e.fields, 'W'); ok {
			s.Virtual = parseSize(v)
		}
	}
	if e.physical >= 0 {
		s.Physical = e.physical
	}
	if e.virtual >= 0 {
		s.Virtual = e.virtual
	}
	return s
}

// guid is the message's GUID: the record's, or the base name.
func (e *entry) guid() string {
	if g, ok := field(e.fields, 'G'); ok && g != "" {
		return g
	}
	return e.base
}

// record is what the index keeps of the entry. That a message in cur is recent only the
// index knows.
func (e *entry) record(m *mailbox.Message) index.Record {
	r := index.Record{UID: e.uid, ModSeq: m.ModSeq, Flags: withoutRecent(m.Flags), Physical: e.physical, Virtual: e.virtual}
	if e.noted = e.recent && !e.inNew; e.noted {
		r.Flags.System |= mailbox.Recent
	}
	if e.saved != 0 {
		r.Saved = time.Unix(0, e.saved)
	}
	return r
}
