package mdbox

import (
	"maps"
	"slices"
	"sync"
)

// watchers are functions that are called when something changes. The zero value has none.
type watchers struct {
	mu sync.Mutex
	fn map[*func()]struct{}
}

// add has fn called until stop is.
func (w *watchers) add(fn func()) (stop func()) {
	id := &fn
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fn == nil {
		w.fn = map[*func()]struct{}{}
	}
	w.fn[id] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.fn, id)
	}
}

// wake calls all of them.
func (w *watchers) wake() {
	w.mu.Lock()
	waiting := slices.Collect(maps.Keys(w.fn))
	w.mu.Unlock()
	for _, fn := range waiting {
		(*fn)()
	}
}

// Watch calls fn after names or subscriptions have changed, until stop is called. Nobody but
// this Hierarchy changes them.
func (h *Hierarchy) Watch(fn func()) (stop func()) { return h.watching.add(fn) }

// Watch calls fn after each change of the View and once the mailbox is gone, until stop is
// called.
func (m *Mailbox) Watch(fn func()) (stop func()) {
	b := m.b
	stop = b.watching.add(fn)
	if b.isGone() {
		go fn()
	}
	return stop
}
