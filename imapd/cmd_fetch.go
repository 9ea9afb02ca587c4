package imapd

import (
	"errors"
	"slices"

	"mailcrypt/mailbox"
)

// fetch is FETCH and UID FETCH.
func (s *session) fetch(c *call) error {
	set, err := s.setArg()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	items, err := fetchItems(s.dec)
	if err != nil {
		return err
	}
	mod, err := s.fetchModifiers(c)
	if err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	indices, err := s.indices(set, c.uid)
	if err != nil {
		return err
	}
	if mod.partial != nil {
		// The place of a message is that in the set, whatever CHANGEDSINCE leaves of it: the
		// order of the modifiers does not matter (RFC 9394 section 3.4).
		indices = mod.partial.of(indices)
	}
	if mod.given {
		items = mod.addItem(items)
		indices = slices.DeleteFunc(indices, func(i int) bool { return s.box.view.At(i).ModSeq <= mod.since })
	}
	if slices.ContainsFunc(items, isModSeq) {
		if err := s.needModSeqs(); err != nil {
			return err
		}
	}
	if mod.vanished {
		s.writeVanished(" (EARLIER) ", s.vanishedSince(mod.since, s.uidRange(set), 0))
	}
	if c.uid && items[0].kind != itemUID {
		items = slices.DeleteFunc(items, func(i fetchItem) bool { return i.kind == itemUID })
		items = slices.Insert(items, 0, simpleItems["UID"][0])
	}
	// As Dovecot has it: what is short comes before bodies, in the order of the command.
	slices.SortStableFunc(items, func(a, b fetchItem) int { return a.place() - b.place() })
	f := &fetching{session: s, items: items}
	flags := false
	for _, i := range items {
		flags = flags || i.kind == itemFlags
		f.text = f.text || i.needsText()
		f.seen = f.seen || i.seen && !s.box.readOnly
		f.pieces = f.pieces || i.partial
	}
	f.recallable = recallable(items)
	if !s.condstore && (flags || f.seen) {
		s.adoptFlags(indices)
	}
	err = f.messages(indices)
	s.box.reader.rest(f.pieces)
	return errors.Join(err, f.finish(c))
}

// adoptFlags takes what other sessions have changed of messages into the announced view: the
// client is about to be told their flags. With CONDSTORE it would have to be told modseqs as
// well, which announce does.
func (s *session) adoptFlags(indices []int) {
	old, now := s.box.view, s.box.box.View()
	if now == old || now.UIDValidity != old.UIDValidity || now.GUID != old.GUID {
		return
	}
	var changed []*mailbox.Message
	for ch := range now.Diff(old) {
		if ch.Kind != mailbox.Changed {
			continue
		}
		i, _ := old.Find(ch.Old.UID)
		if _, told := slices.BinarySearch(indices, i); told {
			changed = append(changed, ch.New)
		}
	}
	if len(changed) > 0 {
		s.box.view = old.Replace(changed...)
	}
}

// fetching is a FETCH under way.
type fetching struct {
	*session
	items  []fetchItem
	text   bool // some item needs plaintext
	seen   bool // some item sets \Seen
	pieces bool // some item is partial

	recallable bool   // the cache may answer what needs plaintext
	recalled   []byte // what it has answered for the message at hand

	values   []fetchValue
	scratch  []byte        // numbers and dates of the message at hand
	held     int           // octets of header fields in values
	marked   []mailbox.UID // to become \Seen
	unread   failures
	gone     bool
	encoding bool // some part has an encoding that BINARY cannot remove
}

// messages answers for one message after the other.
func (f *fetching) messages(indices []int) error {
	defer f.readAhead(f.plan(indices))()
	for _, i := range indices {
		if err := f.message(i); err != nil || f.enc.Err() != nil {
			return err
		}
	}
	return nil
}

// message answers for one message. Everything that can fail is done before the first
// octet of the response, but for reading a literal's contents.
func (f *fetching) message(index int) error {
	msg := f.box.view.At(index)
	if f.recallable && f.remembered(msg) {
		f.see(msg)
		return f.write(index)
	}
	f.values, f.scratch, f.held = f.values[:0], f.scratch[:0], 0
	var readErr error
	if f.text {
		_, readErr = f.box.reader.open(f.ctx, msg.UID)
	}
	noted := false
	for k := range f.items {
		item := &f.items[k]
		if readErr != nil && (item.needsText() || item.kind == itemLazyPreview) {
			continue
		}
		f.values = append(f.values, fetchValue{item: item, msg: msg})
		last := len(f.values) - 1
		err := f.value(&f.values[last])
		if err == nil {
			if f.recallable && item.needsText() {
				f.learn(&f.values[last])
			}
			f.hold(&f.values[last])
			continue
		}
		f.values = f.values[:last]
		var cte *encodingError
		switch {
		case errors.As(err, &cte):
			f.encoding = true
		case errors.Is(err, mailbox.ErrNotFound):
			f.gone = true
			return nil
		case noted:
		default:
			if noted = true; !f.note(&f.unread, msg.UID, err) {
				return err
			}
		}
	}
	switch {
	case errors.Is(readErr, mailbox.ErrNotFound):
		f.gone = true
		return nil
	case readErr != nil && !noted:
		noted = true
		if !f.note(&f.unread, msg.UID, readErr) {
			return readErr
		}
	}
	if !noted {
		f.see(msg)
	}
	return f.write(index)
}

// see notes that a message is to become \Seen, where the items say so.
func (f *fetching) see(msg *mailbox.Message) {
	if !f.seen || msg.Flags.System&mailbox.Seen != 0 {
		return
	}
	f.marked = append(f.marked, msg.UID)
	// To a client that keeps modseqs, announce tells UID, MODSEQ and FLAGS together when
	// the flag is set (RFC 7162 section 3.2.4): flags that are told before, without their
	// modseq, could be undone by a crash, and the client would not hear of that.
	if !f.modSeqsOn() {
		f.showSeen(msg)
	}
}

// maxHeld is how much of a message's header fields is held until the response is written.
const maxHeld = 1 << 20

// hold drops what is too much to be held: fields of a large header, asked for in many ways.
// They are found once more when they are written.
func (f *fetching) hold(v *fetchValue) {
	if f.held+len(v.mem) > maxHeld {
		v.mem, v.dropped = nil, true
		return
	}
	f.held += len(v.mem)
}

// showSeen puts the flags as they will be into the response.
func (f *fetching) showSeen(msg *mailbox.Message) {
	flags := msg.Flags
	flags.System |= mailbox.Seen
	for k := range f.values {
		if f.values[k].item.kind == itemFlags {
			f.values[k].flags = flags
			return
		}
	}
	item := &simpleItems["FLAGS"][0]
	at := slices.IndexFunc(f.values, func(v fetchValue) bool { return v.item.place() > item.place() })
	if at < 0 {
		at = len(f.values)
	}
	f.values = slices.Insert(f.values, at, fetchValue{item: item, msg: msg, flags: flags})
}

// write sends the response of one message.
func (f *fetching) write(index int) error {
	if len(f.values) == 0 {
		return nil
	}
	for _, v := range f.values {
		if v.item.kind == itemFlags {
			f.announceKeywords(v.flags.Keywords)
		}
	}
	f.enc.Raw("* ").Number(int64(index + 1)).Raw(" FETCH (")
	for k := range f.values {
		if k > 0 {
			f.enc.SP()
		}
		if err := f.values[k].write(f.session); err != nil {
			return &brokenError{err}
		}
	}
	f.enc.Raw(")").CRLF()
	return nil
}

// finish sets \Seen and says what went wrong.
func (f *fetching) finish(c *call) error {
	if len(f.marked) > 0 {
		change := mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Seen}}
		if _, err := f.box.box.SetFlags(f.ctx, f.marked, change); err != nil {
			// The client was told otherwise.
			for _, uid := range f.marked {
				if i, ok := f.box.view.Find(uid); ok && !f.modSeqsOn() {
					f.writeFlags(i, f.box.view.At(i), c.uid)
				}
			}
			return err
		}
		if !f.modSeqsOn() {
			c.silent = &silence{f.marked, change}
		}
	}
	switch {
	case len(f.unread.list) > 0:
		return no("UNAVAILABLE", f.report(&f.unread))
	case f.encoding:
		return no("UNKNOWN-CTE", "Unknown or invalid content transfer encoding.")
	case f.gone:
		return ok("EXPUNGEISSUED", "Some of the messages no longer exist.") // RFC 2180 section 4.1.2

	}
	return nil
}
