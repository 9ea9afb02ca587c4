package imapd

import (
	"slices"
	"strings"
	"sync/atomic"

	"mailcrypt/mailbox"
)

// notifyEvents are kinds of events of RFC 5465 section 5.
type notifyEvents uint8

const (
	messageNew notifyEvents = 1 << iota
	messageExpunge
	flagChange
	mailboxName
	subscriptionChange

	messageEvents = messageNew | messageExpunge | flagChange
)

// notifyEventNames has the events that are supported, by their names in capitals.
var notifyEventNames = map[string]notifyEvents{
	"MESSAGENEW": messageNew, "MESSAGEEXPUNGE": messageExpunge, "FLAGCHANGE": flagChange,
	"MAILBOXNAME": mailboxName, "SUBSCRIPTIONCHANGE": subscriptionChange,
}

// supportedEvents is the answer to a client that wants others: there are no annotations, and
// metadata of others is not watched.
const supportedEvents = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"

// unsupportedEventNames are those of RFC 5465 that there are beside them.
var unsupportedEventNames = []string{"ANNOTATIONCHANGE", "MAILBOXMETADATACHANGE", "SERVERMETADATACHANGE"}

// An eventGroup is what a client wants to hear of some mailboxes, other than the selected one.
type eventGroup struct {
	filter string   // PERSONAL, INBOXES, SUBSCRIBED, SUBTREE or MAILBOXES
	names  []string // of the last two
	events notifyEvents
}

// matches reports whether the group is about a mailbox.
func (g *eventGroup) matches(name string, subscribed bool, separator byte) bool {
	switch g.filter {
	case "SUBSCRIBED":
		return subscribed
	case "MAILBOXES":
		return slices.Contains(g.names, name)
	case "SUBTREE":
		return slices.ContainsFunc(g.names, func(top string) bool {
			return name == top || mailbox.IsBelow(name, top, separator)
		})
	}
	// Any folder may be delivered to, so that INBOXES is PERSONAL, as in Dovecot.
	return true
}

// A notification is what a NOTIFY asked for, and what the client knows by it.
type notification struct {
	selected  notifyEvents // of the selected mailbox
	immediate bool         // EXPUNGE at any time: SELECTED, not SELECTED-DELAYED
	items     []fetchItem  // FETCHed of each new message
	groups    []eventGroup

	folders map[string]notedFolder
	boxes   map[string]*notedBox
	names   atomic.Bool // names or subscriptions have changed
	stop    func()      // ends the watch over them; nil without
}

// A notedFolder is what the client knows of a name.
type notedFolder struct {
	exists, subscribed bool
	guid               mailbox.GUID // to tell a rename; zero where nobody asks
}

// A notedBox is a mailbox that is not selected, whose messages the client wants to hear of.
type notedBox struct {
	box    box
	stop   func()
	events notifyEvents
	told   boxSummary
	dirty  atomic.Bool
}

// A boxSummary is what STATUS told of a mailbox.
type boxSummary struct {
	validity         uint32
	messages, unseen int
	next             mailbox.UID
	modseq           mailbox.ModSeq
}

// summarize counts.
func summarize(v *mailbox.View) boxSummary {
	return boxSummary{validity: v.UIDValidity, messages: v.Len(), next: v.UIDNext, modseq: v.HighestModSeq, unseen: v.Counts().Unseen}
}

// eventsOf joins what all groups want of a mailbox.
func (n *notification) eventsOf(name string, subscribed bool, separator byte) notifyEvents {
	var all notifyEvents
	for i := range n.groups {
		if g := &n.groups[i]; g.matches(name, subscribed, separator) {
			all |= g.events
		}
	}
	return all
}

// wants reports whether the client wants to hear of changes in the selected mailbox. Without
// NOTIFY it does (RFC 5465 section 3.1).
func (s *session) wants(e notifyEvents) bool { return s.notify == nil || s.notify.selected&e != 0 }

// release ends what a NOTIFY watches, but for the selected mailbox; n may be nil.
func (s *session) release(n *notification) {
	if n == nil {
		return
	}
	if n.stop != nil {
		n.stop()
	}
	for _, b := range n.boxes {
		s.closeNoted(b)
	}
}

// endNotify forgets a NOTIFY, as if there had been none.
func (s *session) endNotify() {
	s.release(s.notify)
	s.notify = nil
}

// closeNoted ends the watch over a mailbox.
func (s *session) closeNoted(b *notedBox) {
	b.stop()
	if err := b.box.Close(); err != nil {
		s.log.Error("closing a mailbox", "err", err)
	}
}

// removes reports whether a command takes messages away itself: then the client is told,
// whatever it wants to hear of others.
func (c *command) removes() bool {
	name := strings.TrimPrefix(c.name, "UID ")
	return name == "EXPUNGE" || name == "MOVE" || name == "REPLACE"
}
