package durable

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever asks gets a time that began after they asked, and those who wait share one.
func TestShared(t *testing.T) {
	var s Shared
	var begun atomic.Int32
	hold, held := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		first <- s.Do(func() error {
			begun.Add(1)
			close(held)
			<-hold
			return nil
		})
	}()
	<-held
	fault := errors.New("fault")
	var wg sync.WaitGroup
	const others = 20
	var failed atomic.Int32
	for range others {
		wg.Go(func() {
			if s.Do(func() error { begun.Add(1); return fault }) == fault {
				failed.Add(1)
			}
		})
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("begun %d times while the first is under way", n)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Errorf("the first has the others' error: %v", err)
	}
	wg.Wait()
	if failed.Load() != others {
		t.Errorf("%d of %d know that theirs failed", failed.Load(), others)
	}
	if n := begun.Load(); n < 2 || n > 1+others {
		t.Errorf("begun %d times for 1 and %d", n, others)
	}
}

// What is counted before Do is seen by the call that counts for it.
func TestSharedOrder(t *testing.T) {
	var s Shared
	var asked, seen atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				mine := asked.Add(1)
				if err := s.Do(func() error { seen.Store(asked.Load()); return nil }); err != nil || seen.Load() < mine {
					t.Errorf("asked as number %d, done up to %d, %v", mine, seen.Load(), err)
				}
			}
		})
	}
	wg.Wait()
}

// A panic is nobody's success, and ends nothing for those who come later.
func TestSharedPanic(t *testing.T) {
	var s Shared
	held, hold := make(chan struct{}), make(chan struct{})
	go func() {
		defer func() { recover() }()
		s.Do(func() error { close(held); <-hold; panic("fn") })
	}()
	<-held
	done := make(chan error)
	go func() { done <- s.Do(func() error { return nil }) }()
	close(hold)
	if err := <-done; err != nil && err != errRound {
		t.Error(err)
	}
	if err := s.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}
