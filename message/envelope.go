package message

import "strings"

// ParseEnvelope reads the fields of a header that make an Envelope, with the default
// Limits. The result is never nil.
func ParseEnvelope(header []byte) *Envelope {
	e := new(Envelope)
	l := Limits{}.withDefaults()
	memory := l.Memory
	for f := range headerFields(header) {
		if name, value, ok := splitField(f); ok {
			memory -= e.field(name, value, l.Addresses, memory)
		}
	}
	return e
}

// field takes one field; the name is in lower case. Addresses of repeated fields join
// one list, so that a client cannot be shown less than a filter saw; of other fields
// the last counts. It returns how much memory the value takes, at most about memory.
func (e *Envelope) field(name string, value []byte, addresses int, memory int64) int64 {
	if memory <= 0 {
		return 0
	}
	var list *[]Address
	var text **string
	switch name {
	case "date":
		text = &e.Date
	case "subject":
		text = &e.Subject
	case "in-reply-to":
		text = &e.InReplyTo
	case "message-id":
		text = &e.MessageID
	case "from":
		list = &e.From
	case "sender":
		list = &e.Sender
	case "reply-to":
		list = &e.ReplyTo
	case "to":
		list = &e.To
	case "cc":
		list = &e.Cc
	case "bcc":
		list = &e.Bcc
	default:
		return 0
	}
	if text != nil {
		v := unfold(value)
		if text == &e.Subject {
			v = strings.ReplaceAll(string(value), "\x00", nulText)
		}
		*text = &v
		return int64(len(value) + costString)
	}
	n := len(*list)
	limit := int(min(int64(addresses), int64(n)+1+memory/costAddress))
	*list, _ = parseAddresses(*list, value, limit)
	return int64(len(value)) + int64(len(*list)-n)*costAddress
}
