package dcrypt

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// sharers is by how many goroutines a stream is read and hashed: memory is no faster than for some.
const sharers = 4

// shareFrom is how many pieces a goroutine must have to be worth its start.
const shareFrom = 8

// share does work 0 to n-1, in several goroutines if there is enough. Each calls start, then work
// as often as it comes to its turn, and end at last. After an error, which share returns, nothing
// more is begun.
func share(n int64, start func() (work func(i int64) error, end func())) error {
	var next atomic.Int64
	var failed atomic.Bool
	one := func() error {
		work, end := start()
		defer end()
		for !failed.Load() {
			i := next.Add(1) - 1
			if i >= n {
				break
			}
			if err := work(i); err != nil {
				failed.Store(true)
				return err
			}
		}
		return nil
	}
	var others sync.WaitGroup
	errs := make([]error, min(int64(sharers), int64(runtime.GOMAXPROCS(0)), n/shareFrom+1))
	for k := range errs[1:] {
		others.Go(func() { errs[k+1] = one() })
	}
	errs[0] = one()
	others.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
