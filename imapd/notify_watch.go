package imapd

import (
	"errors"
	"maps"
	"slices"

	"mailcrypt/mailbox"
)

// notifyCall is the command on whose behalf the client is told of the selected mailbox while
// it waits.
var notifyCall = command{name: "NOTIFY"}

// beginNotify watches what a NOTIFY asks for and makes it the session's. The error is
// errOverflow where that is too much; what was asked for before stays then.
func (s *session) beginNotify(n *notification) error {
	old := s.notify
	s.notify = n
	if err := s.watchAll(); err != nil {
		s.release(n)
		s.notify = old
		return err
	}
	s.release(old)
	return nil
}

// watchAll begins to watch names and mailboxes.
func (s *session) watchAll() error {
	n := s.notify
	n.boxes = map[string]*notedBox{}
	if len(n.groups) == 0 {
		return nil
	}
	n.stop = s.login.Watch(func() {
		n.names.Store(true)
		s.conn.wake()
	})
	all, _, err := s.folders(s.ctx)
	if err != nil {
		return err
	}
	n.folders = s.noteFolders(all)
	return s.watchBoxes(all)
}

// watchBoxes watches the mailboxes whose messages the client wants to hear of, and no others.
func (s *session) watchBoxes(all []*listed) error {
	n := s.notify
	wanted := map[string]notifyEvents{}
	for _, f := range all {
		if e := n.eventsOf(f.name, f.subscribed, s.login.Separator()) & messageEvents; e != 0 && f.exists && f.selectable {
			wanted[f.name] = e
		}
	}
	if len(wanted) > maxNoted {
		return errOverflow
	}
	for name, b := range n.boxes {
		// A name may stand for another mailbox by now.
		if wanted[name] != b.events || b.box.View().GUID != n.folders[name].guid {
			s.closeNoted(b)
			delete(n.boxes, name)
		}
	}
	for name, e := range wanted {
		if n.boxes[name] != nil {
			continue
		}
		if err := s.watchBox(name, e); err != nil && !errors.Is(err, mailbox.ErrNotFound) {
			// The others are watched all the same.
			s.log.Error("watching a mailbox", "err", err)
		}
	}
	return nil
}

// watchBox begins to watch one mailbox.
func (s *session) watchBox(name string, e notifyEvents) error {
	b, err := s.login.Open(s.ctx, name, true)
	if err != nil {
		return err
	}
	noted := &notedBox{box: b, events: e}
	noted.stop = b.Watch(func() {
		noted.dirty.Store(true)
		s.conn.wake()
	})
	v, err := b.Sync(s.ctx)
	if err != nil {
		s.closeNoted(noted)
		return err
	}
	noted.told = summarize(v)
	s.notify.boxes[name] = noted
	return nil
}

// noteFolders is the state of names as it is now. GUIDs tell a rename from a new mailbox.
func (s *session) noteFolders(all []*listed) map[string]notedFolder {
	now := make(map[string]notedFolder, len(all))
	for _, f := range all {
		noted := notedFolder{exists: f.exists, subscribed: f.subscribed}
		if f.exists && f.selectable && s.notify.eventsOf(f.name, f.subscribed, s.login.Separator()) != 0 {
			// Where there is none to be had, a rename looks like another mailbox.
			noted.guid, _ = s.login.GUID(s.ctx, f.name)
		}
		now[f.name] = noted
	}
	return now
}

// notified tells what has happened while the client waits. woken says that there is a
// reason to look.
func (s *session) notified(woken bool) error {
	if s.notify == nil {
		return nil
	}
	if err := s.notifySelected(woken); err != nil {
		return err
	}
	s.notifyOthers()
	return s.enc.Flush()
}

// notifySelected tells of the selected mailbox.
func (s *session) notifySelected(woken bool) error {
	n, m := s.notify, s.box
	if m == nil || n.selected == 0 {
		return nil
	}
	if m.stop == nil {
		m.stop = m.box.Watch(s.conn.wake)
	}
	same := m.box.View() == m.view
	if same && !woken {
		return nil
	}
	cmd := notifyCall
	cmd.expunge = n.immediate
	cmd.fresh = same // it may be gone
	return s.announceNow(&call{command: &cmd})
}

// notifyOthers tells of names and of mailboxes that are not selected.
func (s *session) notifyOthers() {
	n := s.notify
	if n.names.Swap(false) {
		if err := s.tellNames(); err != nil {
			s.writeStatus("*", &status{"OK", "NOTIFICATIONOVERFLOW", "Too many mailboxes to watch. NOTIFY is off."})
			s.release(n)
			s.notify = &notification{} // as after NOTIFY NONE
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.boxes)) {
		if b := n.boxes[name]; b.dirty.Swap(false) {
			s.tellBox(name, b)
		}
	}
}

// tellNames sends LIST for names that have come, gone, or changed their subscription.
func (s *session) tellNames() error {
	n := s.notify
	all, byName, err := s.folders(s.ctx)
	if err != nil {
		s.log.Error("listing for NOTIFY", "err", err)
		return nil
	}
	old := n.folders
	n.folders = s.noteFolders(all)
	gone := map[mailbox.GUID]string{} // by GUID, to find it under another name
	for name, f := range old {
		if f.exists && !n.folders[name].exists && !f.guid.IsZero() {
			gone[f.guid] = name
		}
	}
	names := map[string]bool{}
	for name := range old {
		names[name] = true
	}
	for name := range n.folders {
		names[name] = true
	}
	renamed := map[string]string{} // old names by new ones
	for name, f := range n.folders {
		if from := gone[f.guid]; from != "" && f.exists && !old[name].exists {
			renamed[name] = from
		}
	}
	moved := slices.Collect(maps.Values(renamed))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := old[name], n.folders[name]
		events := n.eventsOf(name, was.subscribed || is.subscribed, s.login.Separator())
		f := byName[name]
		if f == nil {
			f = &listed{name: name}
		}
		came, went := is.exists && !was.exists, was.exists && !is.exists
		switch {
		case events&mailboxName != 0 && (came || went && !slices.Contains(moved, name)),
			events&subscriptionChange != 0 && was.subscribed != is.subscribed:
			f.oldName = renamed[name]
			s.writeListed("LIST", f, &listArgs{returnSubscribed: true})
		}
	}
	return s.watchBoxes(all)
}

// tellBox sends STATUS of what has changed in a mailbox. The selected mailbox is told of in
// its own way.
func (s *session) tellBox(name string, b *notedBox) {
	v := b.box.View()
	was, is := b.told, summarize(v)
	b.told = is
	if s.box != nil && s.box.view.GUID == v.GUID {
		return
	}
	var items []string
	arrived, removed := is.next > was.next, is.messages-int(is.next-was.next) < was.messages
	switch {
	case is.validity != was.validity:
		items = []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
	case b.events&messageNew != 0 && (arrived || removed):
		items = []string{"MESSAGES", "UIDNEXT", "UNSEEN"}
	case b.events&flagChange != 0 && is.unseen != was.unseen:
		items = []string{"UNSEEN"}
	}
	if s.condstore && (len(items) > 0 || b.events&flagChange != 0 && is.modseq != was.modseq) {
		items = append(items, "HIGHESTMODSEQ") // RFC 5465 section 5
	}
	if len(items) > 0 {
		s.writeStatusItems(b.box, v, name, items)
	}
}

// tellAll sends STATUS of every mailbox that is watched: NOTIFY SET STATUS.
func (s *session) tellAll() {
	for _, name := range slices.Sorted(maps.Keys(s.notify.boxes)) {
		b := s.notify.boxes[name]
		v := b.box.View()
		if s.box == nil || s.box.view.GUID != v.GUID {
			items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
			if s.condstore {
				items = append(items, "HIGHESTMODSEQ")
			}
			s.writeStatusItems(b.box, v, name, items)
		}
		b.told = summarize(v)
	}
}
