package mailbox

import "sync/atomic"

// Counts are numbers of messages of a View.
type Counts struct{ Unseen, Recent, Deleted int }

// A summary is what SELECT and STATUS ask of a chunk. It is made when it is first asked for, and
// shared by all views that share the chunk: asking costs as much as has changed.
type summary struct {
	Counts
	firstUnseen int      // within the chunk; -1: there is none
	keywords    []string // each once, in the order of the messages
}

// A lazySummary belongs to one chunk as it is published.
type lazySummary struct{ p atomic.Pointer[summary] }

func (c *chunk) summary() *summary {
	if s := c.sum.p.Load(); s != nil {
		return s
	}
	s := &summary{firstUnseen: -1}
	var known map[string]bool
	for i, m := range c.msgs {
		if m.Flags.System&Seen == 0 {
			if s.Unseen++; s.firstUnseen < 0 {
				s.firstUnseen = i
			}
		}
		if m.Flags.System&Recent != 0 {
			s.Recent++
		}
		if m.Flags.System&Deleted != 0 {
			s.Deleted++
		}
		for _, k := range m.Flags.Keywords {
			if !known[k] {
				if known == nil {
					known = map[string]bool{}
				}
				known[k] = true
				s.keywords = append(s.keywords, k)
			}
		}
	}
	c.sum.p.Store(s)
	return s
}

// Counts counts messages by their flags.
func (v *View) Counts() (n Counts) {
	for i := range v.chunks {
		s := v.chunks[i].summary()
		n.Unseen, n.Recent, n.Deleted = n.Unseen+s.Unseen, n.Recent+s.Recent, n.Deleted+s.Deleted
	}
	return n
}

// FirstUnseen returns the index of the first message without Seen; -1 where all have it.
func (v *View) FirstUnseen() int {
	for i := range v.chunks {
		if s := v.chunks[i].summary(); s.firstUnseen >= 0 {
			return v.chunks[i].first + s.firstUnseen
		}
	}
	return -1
}

// Keywords returns the keywords that messages have, each as it is written, once, in the order of
// the messages.
func (v *View) Keywords() []string {
	var list []string
	known := map[string]bool{}
	for i := range v.chunks {
		for _, k := range v.chunks[i].summary().keywords {
			if !known[k] {
				known[k] = true
				list = append(list, k)
			}
		}
	}
	return list
}
