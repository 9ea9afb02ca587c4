package imapd

import (
	"slices"

	"mailcrypt/imapd/thread"
	"mailcrypt/message"
)

// maxReferences is how much of a References field is looked at: its end, where the nearest
// messages stand.
const maxReferences = 256 << 10

// thread is THREAD and UID THREAD (RFC 5256 section 3).
func (s *session) thread(c *call) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	algorithm, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"REFERENCES", "REFS", "ORDEREDSUBJECT"}, algorithm) {
		return bad("Unknown thread algorithm.")
	}
	program, err := s.searchCriteria(c, &searchParser{d: s.dec})
	if err != nil {
		return err
	}
	f := &finding{session: s, call: c, ret: &searchReturn{}, matcher: newMatcher(s, program), headers: true}
	t := &threading{finding: f}
	if algorithm != "ORDEREDSUBJECT" {
		t.references = thread.NewReferences()
	}
	f.each = t.add
	if err := f.run(); err != nil {
		return err
	}
	var forest *thread.Forest
	switch algorithm {
	case "REFERENCES":
		forest = t.references.Threads()
	case "REFS":
		forest = t.references.ThreadsByNewest()
	default:
		forest = thread.OrderedSubject(t.messages)
	}
	s.enc.Raw("* THREAD")
	if list := forest.Append(nil); len(list) > 0 {
		s.enc.SP().Write(list)
	}
	s.enc.CRLF()
	f.report()
	return nil
}

// threading gathers the messages that THREAD has found.
type threading struct {
	*finding
	references *thread.References
	messages   []thread.Message // where references is nil
}

// add takes the message that was just found. One that cannot be read is a thread of its own,
// or one of those without a subject.
func (t *threading) add(index int) error {
	h, err := t.headerKeys()
	if err != nil {
		return err
	}
	m := thread.Message{Number: uint32(index + 1)}
	if t.call.uid {
		m.Number = uint32(t.matcher.msg.UID)
	}
	if m.Date, err = t.sentDate(h.date); err != nil {
		return err
	}
	m.Subject, m.Reply = message.BaseSubject(h.subject)
	m.Subject = shortKey(m.Subject)
	if t.references == nil {
		t.messages = append(t.messages, m)
		return nil
	}
	id := ""
	for id = range message.MessageIDs(h.messageID) {
		break
	}
	t.references.Add(m, id, h.ancestors())
	return nil
}

// ancestors are the messages that a header refers to, the nearest last. In-Reply-To counts
// where there is no identifier in References, and only its first (RFC 5256 section 3).
func (h *headerKeys) ancestors() []string {
	refs := h.references[max(0, len(h.references)-maxReferences):]
	list := slices.Collect(message.MessageIDs(refs))
	if len(list) == 0 {
		for id := range message.MessageIDs(h.inReplyTo) {
			return []string{id}
		}
	}
	return list
}
