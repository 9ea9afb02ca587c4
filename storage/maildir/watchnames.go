package maildir

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A nameWatch tells of changes of names and subscriptions. What others do in the tree is
// compared here, once for all who wait, so that they are woken for a reason only.
type nameWatch struct {
	mu      sync.Mutex
	waiting map[*func()]struct{}
	watch   *watch // while anybody waits
	last    string // names and subscriptions as last seen
	looking bool   // a look is under way
	again   bool   // and another is to follow
}

// Watch calls fn after the names of mailboxes or the subscriptions have changed, until stop
// is called. fn must not block. Changes by other programs are noticed too: in Maildir++ at
// once, in the fs layout, whose levels are many directories, within some seconds.
func (h *Hierarchy) Watch(fn func()) (stop func()) {
	n := &h.watching
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[*func()]struct{}{}
	}
	n.waiting[&fn] = struct{}{}
	if n.watch == nil {
		n.last = h.nameState()
		n.watch = h.watchTree()
	}
	return func() {
		n.mu.Lock()
		delete(n.waiting, &fn)
		var idle *watch
		if len(n.waiting) == 0 {
			idle, n.watch = n.watch, nil
		}
		n.mu.Unlock()
		if idle != nil {
			h.watcher.remove(idle)
		}
	}
}

// watchTree asks for events of what names are made of.
func (h *Hierarchy) watchTree() *watch {
	if h.loc.Layout == FS {
		return h.watcher.addPolled(h.namesChanged)
	}
	dirs := []string{h.loc.Root}
	if c := h.control.Path; c != h.loc.Root {
		dirs = append(dirs, c)
	}
	subscriptions := filepath.Base(h.control.SubscriptionsPath())
	// The root is INBOX too, and its lists change all the time.
	return h.watcher.add(dirs, h.namesChanged, func(base string) bool {
		return strings.HasPrefix(base, ".") || base == subscriptions
	})
}

// namesChanged looks, behind the caller, whether there is anything to tell; once for all
// calls meanwhile.
func (h *Hierarchy) namesChanged() {
	n := &h.watching
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case len(n.waiting) == 0:
	case n.looking:
		n.again = true
	default:
		n.looking = true
		go h.lookAtNames()
	}
}

// lookAtNames wakes those who wait if something has changed.
func (h *Hierarchy) lookAtNames() {
	n := &h.watching
	for more := true; more; {
		state := h.nameState()
		n.mu.Lock()
		var wake []*func()
		if state != n.last {
			n.last = state
			wake = slices.Collect(maps.Keys(n.waiting))
		}
		more, n.again = n.again, false
		n.looking = more
		n.mu.Unlock()
		for _, fn := range wake {
			(*fn)()
		}
	}
}

// nameState is names and subscriptions in a form to compare. What cannot be read now is
// empty, and a change when it can be.
func (h *Hierarchy) nameState() string {
	ctx := context.Background()
	folders, err := h.List(ctx)
	if err != nil {
		return ""
	}
	subscribed, err := h.Subscriptions(ctx)
	if err != nil {
		return ""
	}
	lines := make([]string, 0, len(folders)+len(subscribed))
	for _, f := range folders {
		kind := "L"
		if f.Selectable {
			kind = "M"
		}
		lines = append(lines, kind+f.Name)
	}
	for _, name := range subscribed {
		lines = append(lines, "S"+name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
