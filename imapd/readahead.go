package imapd

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
)

// How much is read ahead: so many messages and octets for one command, none larger than
// aheadLargest, and aheadTotal octets for all sessions of a server.
const (
	aheadMessages = 32
	aheadOctets   = 8 << 20
	aheadLargest  = 4<<20 + 4<<10
	aheadTotal    = 64 << 20
)

// aheadLimits are what the sessions of a server share. There are as many readers as
// processors: who gets none reads for itself, as it would with nothing to share.
type aheadLimits struct {
	readers chan struct{}
	octets  atomic.Int64
}

func newAheadLimits() *aheadLimits {
	return &aheadLimits{readers: make(chan struct{}, min(runtime.GOMAXPROCS(0), runtime.NumCPU()))}
}

// reserve takes n octets of what all sessions may hold. They are given back by release.
func (l *aheadLimits) reserve(n int64) bool {
	if l.octets.Add(n) > aheadTotal {
		l.octets.Add(-n)
		return false
	}
	return true
}

func (l *aheadLimits) release(n int64) { l.octets.Add(-n) }

// A readPlan is what a command will read, in ascending order.
type readPlan struct {
	n int
	// at is the k-th message, or nil where its text will not be wanted. It is called from
	// other goroutines than the session's, one at a time.
	at func(k int) *mailbox.Message
	// fields are what the cache has to know of a message so that it need not be read.
	fields []sealedcache.Field
}

// A readAhead opens the messages that a command is going to ask for while the session works
// on those before them and writes: decrypting and sending then use a processor each. What
// becomes of each message, error or not, is told when the session asks for it.
type readAhead struct {
	limits *aheadLimits
	box    box
	plan   readPlan
	ctx    context.Context // of the command; close ends it
	cancel context.CancelFunc
	guard  func() // deferred by readers, against panics
	ended  sync.WaitGroup

	mu      sync.Mutex
	next    int      // of the plan, to be begun
	queue   []*early // begun and not asked for yet, in the order of the plan
	held    int64    // octets of the queue
	readers int
}

// An early is a message that is read ahead. Its fields are the reader's until ready.
type early struct {
	uid     mailbox.UID
	size    int64
	ready   chan struct{}
	msg     content
	err     error
	known   bool // the cache has it: it was not read
	dropped bool // nobody will ask for it; under mu
}

// readAhead begins to read ahead once the session asks for the first message of the plan.
// The function that it returns ends that, and must be called.
func (s *session) readAhead(p readPlan) (end func()) {
	if p.n < 2 {
		return func() {}
	}
	a := &readAhead{limits: s.srv.ahead, box: s.box.box, plan: p, guard: s.recovered}
	a.ctx, a.cancel = context.WithCancel(s.ctx)
	r := &s.box.reader
	r.ahead = a
	return func() {
		r.ahead = nil
		a.close()
	}
}

// take waits for a message. It returns false where that was not read ahead: then the caller
// reads it. Messages before it will not be asked for any more.
func (a *readAhead) take(ctx context.Context, uid mailbox.UID) (_ content, err error, ok bool) {
	e := a.find(uid)
	if e == nil {
		return nil, nil, false
	}
	select {
	case <-e.ready:
		return e.msg, e.err, !e.known
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		e.drop()
		return nil, ctx.Err(), true
	}
}

// find takes a message out of the queue, and sees to it that the queue is filled.
func (a *readAhead) find(uid mailbox.UID) (found *early) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for found == nil && len(a.queue) > 0 && a.queue[0].uid <= uid {
		e := a.queue[0]
		a.queue = a.queue[1:]
		a.held -= e.size
		a.limits.release(e.size)
		if e.uid == uid {
			found = e
		} else {
			e.drop()
		}
	}
	for ; a.next < a.plan.n; a.next++ {
		if m := a.plan.at(a.next); m != nil && m.UID > uid {
			break
		}
	}
	// Half a queue is left to be filled, so that a reader has more to do than to be woken.
	if len(a.queue) > aheadMessages/2 || a.held > aheadOctets/2 {
		return found
	}
	for want := min(cap(a.limits.readers), a.plan.n-a.next); a.readers < want; a.readers++ {
		select {
		case a.limits.readers <- struct{}{}:
			a.ended.Go(a.read)
			continue
		default:
		}
		break
	}
	return found
}

// read is the work of one reader: it ends when there is nothing to read or no room.
func (a *readAhead) read() {
	defer func() { <-a.limits.readers }()
	var scratch []byte
	defer func() { clear(scratch[:cap(scratch)]) }()
	for {
		e := a.begin()
		if e == nil {
			return
		}
		scratch = a.open(e, scratch)
		a.mu.Lock()
		close(e.ready)
		if e.dropped {
			e.free()
		}
		a.mu.Unlock()
	}
}

// begin puts the next message into the queue, where there is room; else it counts the reader
// out, in the same step: find looks for readers after it has made room.
func (a *readAhead) begin() *early {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ; a.next < a.plan.n && a.ctx.Err() == nil; a.next++ {
		m := a.plan.at(a.next)
		if m == nil {
			continue
		}
		size := max(m.Sizes.Virtual, m.Sizes.Stored, 4<<10)
		if m.Sizes.Virtual == mailbox.Unknown {
			size = max(size, 1<<20)
		}
		if size > aheadLargest {
			continue
		}
		if len(a.queue) >= aheadMessages || a.held+size > aheadOctets || !a.limits.reserve(size) {
			break
		}
		a.next++
		a.held += size
		e := &early{uid: m.UID, size: size, ready: make(chan struct{}), err: errPanicked}
		a.queue = append(a.queue, e)
		return e
	}
	a.readers--
	return nil
}

// open reads one message, unless the cache knows what is wanted of it.
func (a *readAhead) open(e *early, scratch []byte) []byte {
	defer a.guard()
	known := len(a.plan.fields) > 0
	for _, f := range a.plan.fields {
		if !known {
			break
		}
		scratch, known = a.box.Recall(scratch[:0], f, e.uid)
	}
	if known {
		e.known, e.err = true, nil
		return scratch
	}
	e.msg, e.err = a.box.Read(a.ctx, e.uid)
	return scratch
}

// drop gives up a message. mu is held.
func (e *early) drop() {
	e.dropped = true
	select {
	case <-e.ready:
		e.free()
	default: // the reader does that
	}
}

func (e *early) free() {
	if e.msg != nil {
		e.msg.Close()
		e.msg = nil
	}
}

// close ends the readers and closes what they have read.
func (a *readAhead) close() {
	a.cancel()
	a.mu.Lock()
	a.next = a.plan.n
	for _, e := range a.queue {
		a.limits.release(e.size)
		e.drop()
	}
	a.queue, a.held = nil, 0
	a.mu.Unlock()
	a.ended.Wait()
}

// plan is what a FETCH will read.
func (f *fetching) plan(indices []int) readPlan {
	if !f.text || !slices.IsSorted(indices) {
		return readPlan{}
	}
	view := f.box.view
	p := readPlan{n: len(indices), at: func(k int) *mailbox.Message { return view.At(indices[k]) }}
	for k := range f.items {
		if field := f.items[k].recalled(); f.recallable && field != 0 && !slices.Contains(p.fields, field) {
			p.fields = append(p.fields, field)
		}
	}
	return p
}
