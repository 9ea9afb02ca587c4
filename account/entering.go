package account

import (
	"context"
	"sync"
)

// logins counts the logins under way: between the check of the password and the opening of
// the keys.
type logins struct {
	mu   sync.Mutex
	open map[string]map[chan struct{}]struct{} // by user; each is closed when its login has ended
}

// Entering says that a password of a user is about to be checked. The caller calls entered
// once it was wrong, or Login has returned. user is whatever names the user alike here and in
// AwaitEntered.
func (r *Registry) Entering(user string) (entered func()) {
	done := make(chan struct{})
	l := &r.entering
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[string]map[chan struct{}]struct{}{}
	}
	if l.open[user] == nil {
		l.open[user] = map[chan struct{}]struct{}{}
	}
	l.open[user][done] = struct{}{}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(done)
		if delete(l.open[user], done); len(l.open[user]) == 0 {
			delete(l.open, user)
		}
	})
}

// AwaitEntered waits until the logins of a user that are under way have ended, but for those
// that begin from now on, or until ctx ends. Between the change of a login password and that of
// the seals, it lets those in whose password was right when it was checked.
func (r *Registry) AwaitEntered(ctx context.Context, user string) {
	l := &r.entering
	l.mu.Lock()
	var wait []chan struct{}
	for done := range l.open[user] {
		wait = append(wait, done)
	}
	l.mu.Unlock()
	for _, done := range wait {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}
