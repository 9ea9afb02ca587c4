package maildir

import (
	"errors"
	"maps"
	"slices"

	"mailcrypt/mailbox"
)

// Watch calls fn after each change of the View and once the mailbox is gone, until stop is
// called. While anybody watches, so are the directories, for what other programs change.
func (m *Mailbox) Watch(fn func()) (stop func()) {
	b := m.b
	id := &fn
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[id] = struct{}{}
	switch {
	case b.gone:
		go fn()
	case b.watch == nil && !b.closed:
		b.watchDirs()
	}
	return func() {
		b.mu.Lock()
		delete(b.waiting, id)
		var idle *watch
		if len(b.waiting) == 0 {
			idle, b.watch = b.watch, nil
		}
		b.mu.Unlock()
		if idle != nil {
			b.h.watcher.remove(idle)
		}
	}
}

// watchDirs has other programs' changes looked for. b.mu is held.
func (b *box) watchDirs() {
	b.watch = b.h.watcher.add([]string{b.dirPath(newDir), b.dirPath(curDir)}, b.kick, nil)
}

// unwatch ends that, and reports whether it went on.
func (b *box) unwatch() bool {
	b.mu.Lock()
	w := b.watch
	b.watch = nil
	b.mu.Unlock()
	if w != nil {
		b.h.watcher.remove(w)
	}
	return w != nil
}

// watched reports whether somebody waits for changes.
func (b *box) watched() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.watch != nil
}

// wake tells everyone who watches. b.mu is not held.
func (b *box) wake() {
	b.mu.RLock()
	waiting := slices.Collect(maps.Keys(b.waiting))
	b.mu.RUnlock()
	for _, fn := range waiting {
		(*fn)()
	}
}

// kick syncs in the background, once for all calls meanwhile.
func (b *box) kick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.gone {
		return
	}
	if b.kicked {
		b.again = true
		return
	}
	b.kicked = true
	go func() {
		for {
			if _, err := b.sync(b.ctx, false); errors.Is(err, mailbox.ErrNotFound) {
				b.wake() // who waits shall look, and find that it is gone
			}
			b.mu.Lock()
			again := b.again && !b.closed && !b.gone
			b.again = false
			b.kicked = again
			b.mu.Unlock()
			if !again {
				return
			}
		}
	}()
}
