package thread

import (
	"crypto/sha256"
	"slices"
)

const (
	// maxReferences is how many references of a message count: the last ones, which
	// are the nearest.
	maxReferences = 1000
	// maxMissing is how many messages that are referred to but not there are kept track
	// of. Beyond, references to further ones are passed over.
	maxMissing = 1 << 20
	// firstSteps and stepsEach bound the search for loops: at the beginning, and more for
	// each message and reference. A mailbox of real mail needs a small part.
	firstSteps, stepsEach = 1 << 20, 100
)

// A key stands for a message identifier: a part of its SHA-256. So what is kept of an
// identifier is short, however long it is, and its text is not kept.
type key [16]byte

// References threads messages by their references (RFC 5256 section 3, REFERENCES). The
// zero value is not usable; see NewReferences. It is not safe for concurrent use.
type References struct {
	Forest
	ids     map[key]int32
	missing int
	steps   int // that the search for loops may still take
}

// NewReferences returns an empty References.
func NewReferences() *References {
	return &References{ids: map[key]int32{}, steps: firstSteps}
}

// Add adds the next message in the order of the mailbox: step 1. id is its identifier, ""
// without a valid one; references are those of its References field, or else the first of
// In-Reply-To. Both are normalised. Nothing of references is kept.
func (r *References) Add(m Message, id string, references []string) {
	self := r.message(m, id)
	last := int32(none)
	for _, ref := range references[max(0, len(references)-maxReferences):] {
		n := r.reference(ref)
		if n == none {
			continue
		}
		if last != none && r.nodes[n].parent == none {
			r.link(last, n) // (A): a link that is there is not changed
		}
		last = n
	}
	// (B): a parent from a truncated field of another message gives way.
	r.steps += stepsEach
	if last != r.nodes[self].parent {
		r.nodes[self].parent = none
	}
	if last != none && r.nodes[self].parent == none {
		r.link(last, self)
	}
}

// message finds or makes the node of a message. Of messages with the same identifier
// only the first has it.
func (r *References) message(m Message, id string) int32 {
	var k key
	if id != "" {
		k = keyOf(id)
		n, ok := r.ids[k]
		if ok && r.nodes[n].Number == 0 {
			r.nodes[n].Message = m
			r.missing--
			return n
		}
		if ok {
			id = ""
		}
	}
	n := r.add(m)
	if id != "" {
		r.ids[k] = n
	}
	return n
}

// reference finds or makes the node of a reference, none where that would be too many.
func (r *References) reference(id string) int32 {
	r.steps += stepsEach
	k := keyOf(id)
	if n, ok := r.ids[k]; ok {
		return n
	}
	if r.missing >= maxMissing {
		return none
	}
	r.missing++
	n := r.add(Message{})
	r.ids[k] = n
	return n
}

// add appends a node.
func (r *References) add(m Message) int32 {
	r.nodes = append(r.nodes, newNode(m))
	return int32(len(r.nodes) - 1)
}

// keyOf hashes an identifier.
func keyOf(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:len(key{})])
}

// link makes child, which has no parent, a child of parent, unless that would make a
// loop. Where the search for one gets too long, there is no link.
func (r *References) link(parent, child int32) {
	if parent == child {
		return
	}
	if r.nodes[child].children { // else nothing can be below it
		for n := parent; n != none; n = r.nodes[n].parent {
			if r.steps--; n == child || r.steps < 0 {
				return
			}
		}
	}
	r.nodes[child].parent = parent
	r.nodes[parent].children = true
}

// Threads returns the threads of REFERENCES: steps 2 to 6. References is used up.
func (r *References) Threads() *Forest {
	r.prune()
	order := r.order()
	s := subjects{References: r, table: map[string]int32{}}
	for _, n := range r.rootsOf(order) {
		s.add(n)
	}
	s.merge()
	r.roots = r.rootsOf(order)
	r.adoptAll(order)
	return &r.Forest
}

// ThreadsByNewest returns the threads of REFS: as REFERENCES, but none are merged for
// their subjects, and they stand in the order of their newest messages. References is
// used up. (draft-ietf-morg-inthread, as Dovecot has it.)
func (r *References) ThreadsByNewest() *Forest {
	r.prune()
	order := r.order()
	r.adoptAll(order)
	r.roots = r.byNewest(order)
	return &r.Forest
}

// prune gives each message its nearest ancestor that is there as parent, or else the
// highest dummy above it: steps 2 and 3, but for dummies with one child.
func (r *References) prune() {
	for i := range r.nodes {
		if r.nodes[i].Number == 0 {
			continue
		}
		top := r.nodes[i].parent
		for n := top; n != none && r.nodes[n].Number == 0; n = r.nodes[n].parent {
			top = n
		}
		if top != none {
			if p := r.nodes[top].parent; r.nodes[top].Number == 0 && p != none {
				top = p
			}
		}
		// Shorten the way for those that come after.
		for n := r.nodes[i].parent; n != none && n != top && r.nodes[n].Number == 0; {
			n, r.nodes[n].parent = r.nodes[n].parent, top
		}
		r.nodes[i].parent = top
	}
}

// order sorts the messages by date; dummies are not among them.
func (r *References) order() []int32 {
	var order []int32
	for i := range r.nodes {
		if r.nodes[i].Number != 0 {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, byDate(r.nodes))
	return order
}

// rootsOf finds the top nodes and sorts them by date, a dummy by the date of its first
// child: steps 4 and 6. A dummy with one child gives it its place: the rest of step 3.
func (r *References) rootsOf(order []int32) []int32 {
	count := make(map[int32]int)
	for _, n := range order {
		if p := r.nodes[n].parent; p != none && r.nodes[p].Number == 0 {
			count[p]++
		}
	}
	var roots []int32
	for _, n := range order {
		p := r.nodes[n].parent
		switch {
		case p == none:
			roots = append(roots, n)
		case count[p] == 1:
			r.nodes[n].parent = none
			roots = append(roots, n)
		case count[p] > 1: // its first child
			// The thread's subject is that of this child: step 5 (B) (i).
			r.nodes[p].Subject, r.nodes[p].Reply = r.nodes[n].Subject, r.nodes[n].Reply
			roots = append(roots, p)
			count[p] = -1
		}
	}
	return roots
}

// adoptAll makes the lists of children, each in the order of dates.
func (r *References) adoptAll(order []int32) {
	for _, n := range order {
		if p := r.nodes[n].parent; p != none {
			r.adopt(p, n)
		}
	}
}

// byNewest finds the top nodes and sorts them by the newest date below each.
func (r *References) byNewest(order []int32) []int32 {
	top := make([]int32, len(r.nodes)) // of each node, 1 more than its root; 0: not known
	newest := map[int32]int64{}
	var roots []int32
	for _, n := range order {
		root := n
		for top[root] == 0 && r.nodes[root].parent != none {
			root = r.nodes[root].parent
		}
		if top[root] != 0 {
			root = top[root] - 1
		}
		for m := n; m != none && top[m] == 0; m = r.nodes[m].parent {
			top[m] = root + 1
		}
		if _, ok := newest[root]; !ok {
			roots = append(roots, root)
		}
		newest[root] = r.nodes[n].Date // order is ascending
	}
	for root, date := range newest {
		r.nodes[root].Date = date
	}
	slices.Sort(roots) // for dummies of the same date: the order in which they were met
	slices.SortStableFunc(roots, byDate(r.nodes))
	return roots
}
