package durable

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// queues orders the goroutines of this process that want the same dotlock: a process that
// polls against itself is slow and unfair, and its own pid in a lock file says nothing
// about which of its goroutines wrote it. This is the one piece of state of the package,
// since "this process" is what it is about.
var queues = struct {
	sync.Mutex
	m map[queueKey]*queue
}{m: map[queueKey]*queue{}}

// A queueKey names a file by its directory's identity, so that two spellings of one path
// meet in one queue.
type queueKey struct {
	dev, ino uint64
	name     string
}

// A queue is a semaphore of one. Goroutines blocked on a channel are served in order.
type queue struct {
	turn  chan struct{}
	users int
}

func keyOf(path string) (queueKey, error) {
	var st unix.Stat_t
	dir := filepath.Dir(path)
	if err := unix.Stat(dir, &st); err != nil {
		return queueKey{}, fmt.Errorf("durable: locking in %s: %w", dir, err)
	}
	return queueKey{uint64(st.Dev), st.Ino, filepath.Base(path)}, nil
}

// enter waits for this process's turn at key. The returned function leaves the queue and
// may be called more than once.
func enter(ctx context.Context, key queueKey) (leave func(), err error) {
	queues.Lock()
	q := queues.m[key]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		queues.m[key] = q
	}
	q.users++
	queues.Unlock()
	drop := func() {
		queues.Lock()
		defer queues.Unlock()
		if q.users--; q.users == 0 {
			delete(queues.m, key)
		}
	}
	select { // a free lock is taken even when there is no time to wait
	case q.turn <- struct{}{}:
	default:
		select {
		case q.turn <- struct{}{}:
		case <-ctx.Done():
			drop()
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(func() {
		<-q.turn
		drop()
	}), nil
}
