package mailbox

import (
	"iter"
	"sort"
)

// chunkLen is the most messages of one chunk. A changed message costs a copy of its
// chunk and of the chunk list, so some hundreds balance both for 100,000 messages.
const chunkLen = 256

// A View is an immutable list of a mailbox's messages in the order of their UIDs.
// Changing it makes a new View that shares what did not change, so a session may
// keep the one that it has announced to its client for as long as it likes. All
// methods may be called concurrently; what they return must not be modified.
type View struct {
	chunks []chunk
	length int

	GUID        GUID
	UIDValidity uint32
	UIDNext     UID
	// HighestModSeq is above or equal to every message's and only ever grows.
	HighestModSeq ModSeq
}

type chunk struct {
	first int // index of its first message
	msgs  []*Message
	sum   *lazySummary // of msgs
}

// NewView makes a View of messages that are sorted by UID. It keeps the pointers.
func NewView(header View, msgs []*Message) *View {
	v := &View{GUID: header.GUID, UIDValidity: header.UIDValidity, UIDNext: header.UIDNext,
		HighestModSeq: header.HighestModSeq, length: len(msgs)}
	for i := 0; i < len(msgs); i += chunkLen {
		v.chunks = append(v.chunks, chunk{i, msgs[i:min(i+chunkLen, len(msgs)):min(i+chunkLen, len(msgs))], &lazySummary{}})
	}
	return v
}

// Len is the number of messages.
func (v *View) Len() int { return v.length }

// At returns the message at an index: 0 is the IMAP sequence number 1. It panics
// when i is out of range.
func (v *View) At(i int) *Message {
	c := &v.chunks[v.chunkOf(i)]
	return c.msgs[i-c.first]
}

// chunkOf is the number of the chunk that has an index. No chunk is longer than chunkLen; where
// nothing was removed all but the last are as long.
func (v *View) chunkOf(i int) int {
	n := i / chunkLen
	if c := &v.chunks[n]; c.first <= i && i < c.first+len(c.msgs) {
		return n
	}
	return n + sort.Search(len(v.chunks)-n, func(k int) bool { return v.chunks[n+k].first > i }) - 1
}

// Find returns the index of the first message with a UID of at least uid, and
// whether it is that very UID. The index is Len() where there is none.
func (v *View) Find(uid UID) (int, bool) {
	n := sort.Search(len(v.chunks), func(n int) bool {
		m := v.chunks[n].msgs
		return m[len(m)-1].UID >= uid
	})
	if n == len(v.chunks) {
		return v.length, false
	}
	c := v.chunks[n]
	i := sort.Search(len(c.msgs), func(i int) bool { return c.msgs[i].UID >= uid })
	return c.first + i, c.msgs[i].UID == uid
}

// Get returns the message with a UID, or nil.
func (v *View) Get(uid UID) *Message {
	if i, ok := v.Find(uid); ok {
		return v.At(i)
	}
	return nil
}

// All yields every message with its index.
func (v *View) All() iter.Seq2[int, *Message] {
	return func(yield func(int, *Message) bool) {
		for _, c := range v.chunks {
			for i, m := range c.msgs {
				if !yield(c.first+i, m) {
					return
				}
			}
		}
	}
}

// Replace returns a View in which each of msgs takes the place of the message with
// its UID, and messages with UIDs above all others are added at the end. msgs are
// sorted by UID; a UID that is neither there nor above all others panics. The
// header is that of v with UIDNext and HighestModSeq raised to what msgs need.
func (v *View) Replace(msgs ...*Message) *View {
	n := *v
	n.chunks = append([]chunk(nil), v.chunks...)
	copied := -1 // the chunk whose array this call has made
	find := n.Finder()
	for _, m := range msgs {
		n.HighestModSeq = max(n.HighestModSeq, m.ModSeq)
		n.UIDNext = max(n.UIDNext, m.UID+1)
		i, ok := find.Find(m.UID)
		if !ok {
			if i != n.length {
				panic("mailbox: internal error: message inserted below the last UID")
			}
			copied = n.push(m, copied)
			continue
		}
		at := n.chunkOf(i)
		c := n.chunks[at]
		if at != copied {
			c.msgs, c.sum = append([]*Message(nil), c.msgs...), &lazySummary{}
			n.chunks[at] = c
			copied = at
		}
		c.msgs[i-c.first] = m
	}
	return &n
}

// push adds m at the end, and returns the chunk that it is in: a fresh copy, unless
// that is the chunk which the caller has copied already.
func (v *View) push(m *Message, copied int) int {
	last := len(v.chunks) - 1
	switch {
	case last < 0 || len(v.chunks[last].msgs) >= chunkLen:
		last++
		v.chunks = append(v.chunks, chunk{v.length, append(make([]*Message, 0, chunkLen), m), &lazySummary{}})
	case last == copied:
		v.chunks[last].msgs = append(v.chunks[last].msgs, m)
	default:
		// Older views share the array.
		old := v.chunks[last].msgs
		v.chunks[last].msgs = append(append(make([]*Message, 0, chunkLen), old...), m)
		v.chunks[last].sum = &lazySummary{}
	}
	v.length++
	return last
}

// Remove returns a View without the messages of these UIDs, which are sorted; UIDs
// that are not there are ignored. highest becomes the new HighestModSeq if greater.
func (v *View) Remove(highest ModSeq, uids ...UID) *View {
	n := *v
	n.HighestModSeq = max(v.HighestModSeq, highest)
	n.chunks = make([]chunk, 0, len(v.chunks))
	n.length = 0
	for _, c := range v.chunks {
		for len(uids) > 0 && uids[0] < c.msgs[0].UID {
			uids = uids[1:]
		}
		last := c.msgs[len(c.msgs)-1].UID
		if len(uids) > 0 && uids[0] <= last {
			kept := make([]*Message, 0, len(c.msgs))
			for _, m := range c.msgs {
				for len(uids) > 0 && uids[0] < m.UID {
					uids = uids[1:]
				}
				if len(uids) > 0 && uids[0] == m.UID {
					continue
				}
				kept = append(kept, m)
			}
			c.msgs, c.sum = kept, &lazySummary{}
		}
		if len(c.msgs) > 0 {
			c.first = n.length
			n.chunks = append(n.chunks, c)
			n.length += len(c.msgs)
		}
	}
	return &n
}

// ChangeKind tells what a Change is.
type ChangeKind int

const (
	Expunged ChangeKind = iota
	Changed
	Added
)

// A Change is one difference between two views.
type Change struct {
	Kind ChangeKind
	// Index is the message's place: in the older view for Expunged, in the newer one
	// otherwise.
	Index    int
	Old, New *Message // nil where there is none
}

// Diff yields what leads from old to v, in the order of UIDs. A message counts as
// changed where flags or modseq differ. Parts that both views share cost nothing.
func (v *View) Diff(old *View) iter.Seq[Change] {
	return v.compare(old, func(m, n *Message) bool { return m.ModSeq != n.ModSeq || !m.Flags.Equal(n.Flags) })
}

// Replaced is Diff, with every message that was made anew: its sizes may be known now.
func (v *View) Replaced(old *View) iter.Seq[Change] {
	return v.compare(old, func(m, n *Message) bool { return true })
}

// compare is Diff; changed tells which of two messages of one UID differ.
func (v *View) compare(old *View, changed func(m, n *Message) bool) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		var a, b cursor
		a.v, b.v = old, v
		for {
			if a.atStart() && b.atStart() && sameChunk(a.chunk(), b.chunk()) {
				a.nextChunk()
				b.nextChunk()
				continue
			}
			m, n := a.msg(), b.msg()
			switch {
			case m == nil && n == nil:
				return
			case n == nil || m != nil && m.UID < n.UID:
				if !yield(Change{Expunged, a.index(), m, nil}) {
					return
				}
				a.next()
			case m == nil || n.UID < m.UID:
				if !yield(Change{Added, b.index(), nil, n}) {
					return
				}
				b.next()
			default:
				if m != n && changed(m, n) {
					if !yield(Change{Changed, b.index(), m, n}) {
						return
					}
				}
				a.next()
				b.next()
			}
		}
	}
}

func sameChunk(a, b []*Message) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }
