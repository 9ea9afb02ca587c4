package thread

// subjects merges threads of the same subject: step 5 of REFERENCES.
type subjects struct {
	*References
	roots []int32
	table map[string]int32 // the root that stands for a subject
}

// add notes the next root: (B).
func (s *subjects) add(n int32) {
	s.roots = append(s.roots, n)
	cur := &s.nodes[n]
	if cur.Subject == "" {
		return
	}
	t, ok := s.table[cur.Subject]
	if ok {
		tab := &s.nodes[t]
		if tab.Number == 0 || cur.Number != 0 && (!tab.Reply || cur.Reply) {
			return
		}
	}
	s.table[cur.Subject] = n
}

// merge puts roots below the one that stands for their subject: (C). Afterwards the
// parents are right; the lists of children are not made yet.
func (s *subjects) merge() {
	into := map[int32]int32{} // dummies that were merged
	for _, n := range s.roots {
		cur := &s.nodes[n]
		t, ok := s.table[cur.Subject]
		if !ok || t == n || cur.parent != none {
			continue
		}
		tab := &s.nodes[t]
		switch {
		case cur.Number == 0: // then the table's is one too: see (B)
			into[n] = t
		case tab.Number == 0, cur.Reply && !tab.Reply:
			cur.parent = t
		default:
			d := s.References.add(Message{Subject: cur.Subject, Reply: cur.Reply})
			s.nodes[n].parent, s.nodes[t].parent = d, d
			s.table[s.nodes[d].Subject] = d
		}
	}
	if len(into) == 0 {
		return
	}
	for i := range s.nodes {
		if t, ok := into[s.nodes[i].parent]; ok {
			s.nodes[i].parent = t
		}
	}
}
