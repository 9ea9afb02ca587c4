package durable

import (
	"errors"
	"sync"
)

// A Shared does one thing, such as syncing a directory, once for all who ask for it while it
// is being done for others: for them that time began too early, so they wait for its end, and
// the next one is theirs. The zero value is ready. It may be used concurrently.
type Shared struct {
	turn sync.Mutex // held while it is done

	mu   sync.Mutex
	next *round // that has not begun; nil: nobody waits
}

// A round is one time that it is done.
type round struct {
	ended chan struct{}
	err   error
}

// errRound is the error of those whose round ended in a panic of another's fn.
var errRound = errors.New("durable: internal error: shared work did not end")

// Do has fn called once, from beginning to end, and returns its error: by this caller, or by
// one that came at the same time and means the same by fn.
func (s *Shared) Do(fn func() error) error {
	s.mu.Lock()
	r := s.next
	if r != nil {
		s.mu.Unlock()
		<-r.ended
		return r.err
	}
	r = &round{ended: make(chan struct{}), err: errRound}
	s.next = r
	s.mu.Unlock()

	s.turn.Lock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	defer close(r.ended)
	defer s.turn.Unlock()
	r.err = fn()
	return r.err
}
