package thread

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A container is a message of the literal algorithm; mail is nil for a dummy.
type container struct {
	*mail
	parent   *container
	children []*container
}

// unlink removes c from its parent.
func (c *container) unlink() {
	if p := c.parent; p != nil {
		p.children = slices.DeleteFunc(p.children, func(x *container) bool { return x == c })
		c.parent = nil
	}
}

// put makes c a child of p.
func (c *container) put(p *container) {
	c.unlink()
	c.parent = p
	p.children = append(p.children, c)
}

// below reports whether c is p or below it.
func (c *container) below(p *container) bool {
	for ; c != nil; c = c.parent {
		if c == p {
			return true
		}
	}
	return false
}

// literal is REFERENCES step by step as RFC 5256 section 3 has it, with all its recursion.
func literal(mails []mail) string {
	table := map[string]*container{}
	find := func(id string) *container {
		if table[id] == nil {
			table[id] = &container{}
		}
		return table[id]
	}
	used := map[string]bool{}
	for i := range mails {
		m := &mails[i]
		id := m.id
		if id == "" || used[id] {
			id = fmt.Sprint("unique ", i)
		}
		used[id] = true
		c := find(id)
		c.mail = m
		var last *container
		for _, ref := range m.refs { // (1) (A)
			r := find(ref)
			if last != nil && r.parent == nil && !last.below(r) {
				r.put(last)
			}
			last = r
		}
		c.unlink() // (1) (B)
		if last != nil && !last.below(c) {
			c.put(last)
		}
	}
	root := &container{} // (2)
	for _, c := range table {
		if c.parent == nil {
			c.put(root)
		}
	}
	prune(root)
	for _, c := range root.children {
		sortSet(c.children)
	}
	sortSet(root.children)
	gather(root)
	sortAll(root) // (6)
	var b strings.Builder
	for _, c := range root.children {
		print(&b, c)
	}
	return b.String()
}

// prune is step 3.
func prune(c *container) {
	for _, x := range slices.Clone(c.children) {
		prune(x)
		if x.mail != nil {
			continue
		}
		if len(x.children) == 0 {
			x.unlink()
		} else if c.parent != nil || c.mail != nil || len(x.children) == 1 {
			for _, y := range slices.Clone(x.children) {
				y.put(c)
			}
			x.unlink()
		}
	}
}

// first is the message that a container is sorted by.
func (c *container) first() *mail {
	if c.mail != nil {
		return c.mail
	}
	return c.children[0].mail
}

// sortSet sorts siblings.
func sortSet(set []*container) {
	slices.SortFunc(set, func(a, b *container) int {
		x, y := a.first(), b.first()
		if d := cmp.Compare(x.Date, y.Date); d != 0 {
			return d
		}
		return cmp.Compare(x.Number, y.Number)
	})
}

// sortAll is step 6.
func sortAll(c *container) {
	for _, x := range c.children {
		sortAll(x)
	}
	sortSet(c.children)
}

// gather is step 5.
func gather(root *container) {
	table := map[string]*container{}
	for _, c := range root.children {
		s := c.first().Subject
		if s == "" {
			continue
		}
		t := table[s]
		if t == nil || t.mail != nil && (c.mail == nil || t.Reply && !c.Reply) {
			table[s] = c
		}
	}
	for _, c := range slices.Clone(root.children) {
		s := c.first().Subject
		t := table[s]
		if s == "" || t == c || c.parent != root {
			continue
		}
		switch {
		case t.mail == nil && c.mail == nil:
			for _, x := range slices.Clone(c.children) {
				x.put(t)
			}
			c.unlink()
		case t.mail == nil || c.Reply && !t.Reply:
			c.put(t)
		default:
			d := &container{}
			d.put(root)
			t.put(d)
			c.put(d)
			table[s] = d
		}
	}
}

// print writes a thread.
func print(b *strings.Builder, c *container) {
	b.WriteByte('(')
	for {
		if c.mail != nil {
			fmt.Fprint(b, c.Number)
			if len(c.children) > 0 {
				b.WriteByte(' ')
			}
		}
		if len(c.children) != 1 {
			break
		}
		c = c.children[0]
	}
	for _, x := range c.children {
		print(b, x)
	}
	b.WriteByte(')')
}
