package dcrypt

import (
	"cmp"
	"errors"
	"sync"
	"time"
)

// aheadLife is how soon after another a stream to the same key has to be prepared for the key to
// be one that is used again and again, and how long a header that was made ahead is kept.
const aheadLife = time.Second

// A making is what a header is made of by prepare.
type making struct {
	head, kd []byte
	err      error
}

// errPrepare reports a header whose making panicked, in a goroutine of its own.
var errPrepare = errors.New("internal error: panic in making the header")

// prepare makes a header in a goroutine of its own.
func (h *Header) prepare(to *PublicKey) chan making {
	made := make(chan making, 1)
	go func() {
		m := making{err: errPrepare}
		defer func() {
			_ = recover()
			made <- m
		}()
		m.head, m.kd, m.err = h.seal(to)
	}()
	return made
}

// Prepare begins to make the header, which is most of the work of a short stream, while the
// caller does something else: what goes wrong is an error of a later Write, or of Close. It
// is called before the first Write, or not at all. Close waits for its end.
//
// Where the last stream to the same PublicKey was prepared less than a second before, Close
// begins the header of the one that may follow, which is kept for a second: a header says
// nothing about its text. It serves one Writer, and its key data die with it.
func (w *Writer) Prepare() {
	if w.made != nil || w.buf != nil || w.err != nil {
		return
	}
	var h *Header
	h, w.made, w.more = w.to.ahead.take(w.head)
	if h != nil {
		w.head = h
		return
	}
	w.made = w.head.prepare(w.to)
}

// An aheadSlot holds the header of a stream to come. It is part of a PublicKey.
type aheadSlot struct {
	mu   sync.Mutex
	used time.Time // when a Writer asked last
	next *aheadHeader
	life time.Duration // 0 is aheadLife
}

func (a *aheadSlot) lifetime() time.Duration { return cmp.Or(a.life, aheadLife) }

type aheadHeader struct {
	head  *Header
	made  chan making
	timer *time.Timer
}

// take returns the header that was made ahead for a stream like h, if there is one, and whether the
// key is in use again and again.
func (a *aheadSlot) take(h *Header) (*Header, chan making, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	more := now.Sub(a.used) < a.lifetime()
	a.used = now
	n := a.next
	if n == nil || n.head.Version != h.Version || n.head.Rounds != h.Rounds || n.head.cipher != h.cipher || n.head.digest != h.digest ||
		!n.timer.Stop() {
		return nil, nil, more
	}
	a.next = nil
	return n.head, n.made, more
}

// begin begins a header like h, unless there is one.
func (a *aheadSlot) begin(h *Header, to *PublicKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != nil {
		return
	}
	head := &Header{Version: h.Version, Rounds: h.Rounds, Cipher: h.Cipher, Digest: h.Digest, Integrity: h.Integrity, cipher: h.cipher, digest: h.digest}
	n := &aheadHeader{head: head, made: head.prepare(to)}
	n.timer = time.AfterFunc(a.lifetime(), func() { a.drop(n) })
	a.next = n
}

// drop forgets a header that nobody came for.
func (a *aheadSlot) drop(n *aheadHeader) {
	a.mu.Lock()
	if a.next == n {
		a.next = nil
	}
	a.mu.Unlock()
	m := <-n.made
	clear(m.kd)
}
