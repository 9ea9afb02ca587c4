// Package thread arranges messages into threads (RFC 5256 section 3): by their
// references, with REFERENCES and REFS, or by their subjects, with ORDEREDSUBJECT. It
// knows no mail and no protocol but the form of the answer.
//
//	thread = "(" members [SP nested] ")"
//	nested = 2*thread                ; more than one reply
//
// Mail is hostile: nothing recurses, time is all but linear in the number of messages
// and references, and memory is bounded by what Add was given and by maxMissing.
package thread

import (
	"cmp"
	"slices"
	"strconv"
)

// A Message is what threading needs to know of one.
type Message struct {
	Number  uint32 // what the answer calls it: a message number or UID, not 0
	Date    int64  // the sent date, in seconds since 1970 UTC (RFC 5256 section 2.2)
	Subject string // the base subject, in a form that compares by octets
	Reply   bool   // its subject is that of a reply or a forward
}

// none is the index of no node.
const none = -1

// A node is a message, or a dummy (number 0) for one that is only referred to.
type node struct {
	Message
	parent      int32
	first, last int32 // children
	next        int32 // sibling
	// children says that something was linked below the node, maybe no longer.
	children bool
}

// newNode is a node on its own.
func newNode(m Message) node {
	return node{Message: m, parent: none, first: none, last: none, next: none}
}

// A Forest is messages in threads.
type Forest struct {
	nodes []node
	roots []int32
}

// adopt appends a child to the children of a node.
func (f *Forest) adopt(parent, child int32) {
	p := &f.nodes[parent]
	if p.first == none {
		p.first = child
	} else {
		f.nodes[p.last].next = child
	}
	p.last = child
}

// Append appends the threads as THREAD sends them (RFC 5256 section 5, thread-list), nothing
// for an empty Forest.
func (f *Forest) Append(dst []byte) []byte {
	w := writer{Forest: f, dst: dst}
	for _, r := range f.roots {
		w.thread(r)
		for len(w.open) > 0 {
			top := len(w.open) - 1
			n := w.open[top]
			if n == none {
				w.open = w.open[:top]
				w.dst = append(w.dst, ')')
				continue
			}
			w.open[top] = f.nodes[n].next
			w.thread(n)
		}
	}
	return w.dst
}

// A writer walks a Forest with a stack of its own.
type writer struct {
	*Forest
	dst  []byte
	open []int32 // of each open parenthesis, the next of the threads nested in it
}

// thread writes one thread down to where it branches, which it leaves open, or to its end.
func (w *writer) thread(n int32) {
	w.dst = append(w.dst, '(')
	for {
		nd := &w.nodes[n]
		if nd.Number != 0 {
			w.dst = strconv.AppendUint(w.dst, uint64(nd.Number), 10)
		}
		if nd.first == none {
			w.dst = append(w.dst, ')')
			return
		}
		if nd.Number != 0 {
			w.dst = append(w.dst, ' ')
		}
		if nd.first != nd.last {
			w.open = append(w.open, nd.first)
			return
		}
		n = nd.first
	}
}

// byDate is the order of siblings: by sent date, then as they stand in the mailbox (RFC
// 5256 section 2.2).
func byDate(nodes []node) func(a, b int32) int {
	return func(a, b int32) int {
		if c := cmp.Compare(nodes[a].Date, nodes[b].Date); c != 0 {
			return c
		}
		return cmp.Compare(nodes[a].Number, nodes[b].Number)
	}
}

// OrderedSubject threads messages by their base subjects (ORDEREDSUBJECT): the first of each
// subject is the parent of all others.
func OrderedSubject(messages []Message) *Forest {
	f := &Forest{nodes: make([]node, len(messages))}
	order := make([]int32, len(messages))
	for i, m := range messages {
		f.nodes[i] = newNode(m)
		order[i] = int32(i)
	}
	older := byDate(f.nodes)
	slices.SortFunc(order, func(a, b int32) int {
		if c := cmp.Compare(f.nodes[a].Subject, f.nodes[b].Subject); c != 0 {
			return c
		}
		return older(a, b)
	})
	for k, i := range order {
		if k == 0 || f.nodes[i].Subject != f.nodes[order[k-1]].Subject {
			f.roots = append(f.roots, i)
		} else {
			f.adopt(f.roots[len(f.roots)-1], i)
		}
	}
	slices.SortFunc(f.roots, older)
	return f
}
