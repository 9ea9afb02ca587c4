package imapd

import (
	"errors"
	"slices"
)

const (
	// maxNotifyNames bounds the groups and names of a NOTIFY.
	maxNotifyNames = 1000
	// maxNoted bounds the mailboxes that one session watches.
	maxNoted = 1000
)

// errOverflow is the answer to a client that wants more than is watched for one session.
var errOverflow = no("NOTIFICATIONOVERFLOW", "Too many mailboxes to watch.")

// notifyCommand is NOTIFY (RFC 5465): what the client wants to hear without asking.
func (s *session) notifyCommand(c *call) error {
	d := s.dec
	if err := d.SP(); err != nil {
		return err
	}
	word, err := d.Keyword()
	if err != nil {
		return err
	}
	p := notifyParser{s: s, n: &notification{}}
	switch word {
	case "NONE":
	case "SET":
		if err := p.groups(); err != nil {
			return err
		}
	default:
		return bad("Expected SET or NONE.")
	}
	if err := d.End(); err != nil {
		return err
	}
	if p.unsupported {
		return no(supportedEvents, "Some of the events are not supported.")
	}
	if slices.ContainsFunc(p.n.items, isModSeq) {
		if err := s.enableCondstore(); err != nil {
			return err
		}
	}
	// What has happened up to now is told by the old rules.
	if err := s.announce(c); err != nil {
		return err
	}
	if err := s.beginNotify(p.n); err != nil {
		return err
	}
	if p.status {
		s.tellAll()
	}
	return nil
}

// A notifyParser reads the arguments of NOTIFY SET (RFC 5465 section 8).
type notifyParser struct {
	s           *session
	n           *notification
	status      bool
	hasSelected bool
	unsupported bool
	names       int
}

// groups reads "[STATUS] (filter events) ...".
func (p *notifyParser) groups() error {
	d := p.s.dec
	if err := d.SP(); err != nil {
		return err
	}
	if p.status = d.TryWord("STATUS"); p.status {
		if err := d.SP(); err != nil {
			return err
		}
	}
	for {
		if err := p.group(); err != nil {
			return err
		}
		if !d.Try(' ') {
			return nil
		}
	}
}

// group reads one event group.
func (p *notifyParser) group() error {
	d := p.s.dec
	if err := d.Expect('('); err != nil {
		return err
	}
	if p.names++; p.names > maxNotifyNames { // a group is looked through as a name is
		return errOverflow
	}
	g := eventGroup{}
	var err error
	if g.filter, err = d.Keyword(); err != nil {
		return err
	}
	if err := d.SP(); err != nil {
		return err
	}
	switch g.filter {
	case "SELECTED", "SELECTED-DELAYED":
		return p.selected(g.filter == "SELECTED")
	case "PERSONAL", "INBOXES", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		if err := p.mailboxes(&g); err != nil {
			return err
		}
		if err := d.SP(); err != nil {
			return err
		}
	default:
		return bad("Unknown mailbox filter.")
	}
	if g.events, _, err = p.events(false); err != nil {
		return err
	}
	p.n.groups = append(p.n.groups, g)
	return d.Expect(')')
}

// selected reads the events of the selected mailbox, which may be named once.
func (p *notifyParser) selected(immediate bool) (err error) {
	if p.hasSelected {
		return bad("The selected mailbox stands twice.")
	}
	p.hasSelected = true
	p.n.immediate = immediate
	if p.n.selected, p.n.items, err = p.events(true); err != nil {
		return err
	}
	if p.n.selected&^messageEvents != 0 {
		return bad("Only events of messages can be had of the selected mailbox.")
	}
	return p.s.dec.Expect(')')
}

// mailboxes reads one name or a list of them.
func (p *notifyParser) mailboxes(g *eventGroup) error {
	one := func() error {
		var name string
		if err := p.s.mailboxName(&name)(); err != nil {
			return err
		}
		if p.names++; p.names > maxNotifyNames {
			return errOverflow
		}
		// A name that cannot be one is that of no mailbox.
		if p.s.decodeName(&name) == nil {
			g.names = append(g.names, name)
		}
		return nil
	}
	if p.s.dec.Peek() != '(' {
		return one()
	}
	before := p.names
	err := p.s.dec.List(one)
	if err == nil && p.names == before {
		err = bad("Empty list of mailboxes.")
	}
	return err
}

// events reads NONE or a list of events. In the list of the selected mailbox MessageNew may
// have FETCH items of its own.
func (p *notifyParser) events(selected bool) (all notifyEvents, items []fetchItem, err error) {
	d := p.s.dec
	if d.TryWord("NONE") {
		return 0, nil, nil
	}
	if err := d.Expect('('); err != nil {
		return 0, nil, err
	}
	for {
		name, err := d.Keyword()
		if err != nil {
			return 0, nil, err
		}
		e, known := notifyEventNames[name]
		if !known && !slices.Contains(unsupportedEventNames, name) {
			return 0, nil, bad("Unknown event.")
		}
		p.unsupported = p.unsupported || !known
		all |= e
		more := d.Try(' ')
		if more && selected && e == messageNew && d.Peek() == '(' {
			if items, err = p.newItems(); err != nil {
				return 0, nil, err
			}
			more = d.Try(' ')
		}
		if !more {
			break
		}
	}
	// RFC 5465 section 5: numbers of messages mean something only to who hears of both.
	if both := all & (messageNew | messageExpunge); both != 0 && both != messageNew|messageExpunge {
		return 0, nil, bad("MessageNew and MessageExpunge go together.")
	}
	if all&flagChange != 0 && all&messageNew == 0 {
		return 0, nil, bad("FlagChange needs MessageNew and MessageExpunge.")
	}
	return all, items, d.Expect(')')
}

// newItems reads what is to be FETCHed of new messages. That never sets \Seen.
func (p *notifyParser) newItems() ([]fetchItem, error) {
	items, err := fetchItems(p.s.dec)
	for i := range items {
		items[i].seen = false
	}
	return items, err
}

// fetchNew sends what NOTIFY asked for of the last n messages.
func (s *session) fetchNew(n int) error {
	if s.notify == nil || len(s.notify.items) == 0 {
		return nil
	}
	f := &fetching{session: s, items: s.notify.items}
	if s.box.modseqs.none {
		f.items = slices.DeleteFunc(slices.Clone(f.items), isModSeq)
	}
	for _, i := range f.items {
		f.text = f.text || i.needsText()
	}
	for i := s.box.view.Len() - n; i < s.box.view.Len(); i++ {
		if err := f.message(i); err != nil {
			return err
		}
	}
	s.box.reader.rest(false)
	err := f.finish(&call{})
	if answer := (*status)(nil); errors.As(err, &answer) {
		s.writeStatus("*", answer)
		return nil
	}
	return err
}
