package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
)

// An aheadBox gives out messages whose text is their UID.
type aheadBox struct {
	box
	read  func(ctx context.Context, uid mailbox.UID) error // before each
	known func(uid mailbox.UID) bool

	mu    sync.Mutex
	count map[mailbox.UID]int // of reads
	open  atomic.Int64
}

type aheadContent struct {
	bytesContent
	box *aheadBox
}

func (c aheadContent) Close() error {
	c.box.open.Add(-1)
	return nil
}

func (b *aheadBox) Read(ctx context.Context, uid mailbox.UID) (content, error) {
	b.mu.Lock()
	if b.count == nil {
		b.count = map[mailbox.UID]int{}
	}
	b.count[uid]++
	b.mu.Unlock()
	if b.read != nil {
		if err := b.read(ctx, uid); err != nil {
			return nil, err
		}
	}
	b.open.Add(1)
	return aheadContent{bytesContent{bytes.NewReader(fmt.Append(nil, uid))}, b}, nil
}

func (b *aheadBox) Recall(dst []byte, _ sealedcache.Field, uid mailbox.UID) ([]byte, bool) {
	return dst, b.known != nil && b.known(uid)
}

// An aheadTest is a readAhead over n messages of a size, with what it leaves being checked.
type aheadTest struct {
	*testing.T
	*readAhead
	box    *aheadBox
	panics atomic.Int64
}

func newAheadTest(t *testing.T, b *aheadBox, n int, size int64) *aheadTest {
	a := &aheadTest{T: t, box: b}
	list := make([]*mailbox.Message, n)
	for i := range list {
		list[i] = &mailbox.Message{UID: mailbox.UID(10 * (i + 1)), Sizes: mailbox.Sizes{Virtual: size, Stored: size}}
	}
	a.readAhead = &readAhead{limits: newAheadLimits(), box: b, plan: readPlan{n: n, at: func(k int) *mailbox.Message { return list[k] }},
		guard: func() {
			if recover() != nil {
				a.panics.Add(1)
			}
		}}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	t.Cleanup(func() {
		a.close()
		if n := b.open.Load(); n != 0 {
			t.Errorf("%d messages are still open", n)
		}
		if n := a.limits.octets.Load(); n != 0 {
			t.Errorf("%d octets are still reserved", n)
		}
		if n := len(a.limits.readers); n != 0 {
			t.Errorf("%d readers are still at work", n)
		}
	})
	return a
}

// want asks for a message as a session does. It returns whether that was read ahead.
func (a *aheadTest) want(uid mailbox.UID) (ahead bool) {
	a.Helper()
	msg, err, ok := a.take(a.Context(), uid)
	if !ok {
		msg, err = a.box.Read(a.Context(), uid)
	}
	if err != nil {
		a.Fatalf("uid %d: %v", uid, err)
	}
	text := make([]byte, msg.Size())
	if _, err := msg.ReadAt(text, 0); err != nil || string(text) != fmt.Sprint(uid) {
		a.Errorf("uid %d has text %q, %v", uid, text, err)
	}
	msg.Close()
	return ok
}

func TestReadAheadInOrder(t *testing.T) {
	b := &aheadBox{}
	a := newAheadTest(t, b, 500, 4000)
	ahead := 0
	for uid := mailbox.UID(10); uid <= 5000; uid += 10 {
		if a.want(uid) {
			ahead++
		}
		for uid == 10 && a.queued(20) == nil {
			runtime.Gosched() // the session could do all of it before a reader has begun
		}
	}
	if ahead == 0 {
		t.Error("nothing was read ahead")
	}
	for uid, n := range b.count {
		if n != 1 {
			t.Errorf("uid %d was read %d times", uid, n)
		}
	}
}

// TestReadAheadLeavesOut: messages that the session never asks for are closed, and those that
// are not in the plan are read by the session.
func TestReadAheadLeavesOut(t *testing.T) {
	b := &aheadBox{known: func(uid mailbox.UID) bool { return uid%50 == 0 }}
	a := newAheadTest(t, b, 500, 4000)
	all := a.plan.at
	a.plan.at = func(k int) *mailbox.Message {
		if k%7 == 3 {
			return nil
		}
		return all(k)
	}
	a.plan.fields = []sealedcache.Field{sealedcache.Envelope}
	for uid := mailbox.UID(10); uid <= 4000; uid += 30 {
		a.want(uid)
	}
	a.want(4004)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count[50] != 0 {
		t.Error("a message that the cache knows was read")
	}
}

func TestReadAheadErrors(t *testing.T) {
	bad, gone := errors.New("damaged"), fmt.Errorf("uid: %w", mailbox.ErrNotFound)
	b := &aheadBox{read: func(_ context.Context, uid mailbox.UID) error {
		switch uid {
		case 30:
			return bad
		case 40:
			return gone
		case 50:
			panic("a bug")
		}
		return nil
	}}
	a := newAheadTest(t, b, 10, 4000)
	a.want(10)
	a.want(20)
	for a.queued(50) == nil {
		runtime.Gosched() // until a reader has come to it
	}
	for _, tt := range []struct {
		uid  mailbox.UID
		want error
	}{{30, bad}, {40, mailbox.ErrNotFound}, {50, errPanicked}} {
		if _, err, ok := a.take(t.Context(), tt.uid); !ok || !errors.Is(err, tt.want) {
			t.Errorf("uid %d: %v, %v, want %v", tt.uid, err, ok, tt.want)
		}
	}
	a.want(60)
	if a.panics.Load() != 1 {
		t.Errorf("%d panics were caught", a.panics.Load())
	}
}

// queued is what is read ahead of a message, if anything.
func (a *readAhead) queued(uid mailbox.UID) *early {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.queue {
		if e.uid == uid {
			return e
		}
	}
	return nil
}

// TestReadAheadCancelled: the end of the session ends a wait, and closing waits for readers.
func TestReadAheadCancelled(t *testing.T) {
	begun := make(chan struct{}, 100)
	b := &aheadBox{read: func(ctx context.Context, uid mailbox.UID) error {
		if uid > 10 {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	a := newAheadTest(t, b, 10, 4000)
	a.want(10)
	<-begun
	for a.queued(20) == nil {
		<-begun
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err, ok := a.take(ctx, 20); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("take = %v, %v", err, ok)
	}
}

// TestReadAheadIsBounded: by octets, by the size of one message, and by what others hold.
func TestReadAheadIsBounded(t *testing.T) {
	a := newAheadTest(t, &aheadBox{}, 100, aheadLargest+1)
	for uid := mailbox.UID(10); uid <= 100; uid += 10 {
		if a.want(uid) {
			t.Errorf("uid %d is too large to be read ahead", uid)
		}
	}
	a = newAheadTest(t, &aheadBox{}, 100, 3<<20)
	for uid := mailbox.UID(10); uid <= 1000; uid += 10 {
		a.want(uid)
		a.mu.Lock()
		if a.held > aheadOctets {
			t.Errorf("%d octets are held", a.held)
		}
		a.mu.Unlock()
	}
	a = newAheadTest(t, &aheadBox{}, 100, 4000)
	a.limits.octets.Store(aheadTotal)
	for uid := mailbox.UID(10); uid <= 1000; uid += 10 {
		if a.want(uid) {
			t.Errorf("uid %d was read ahead though others hold all there is", uid)
		}
	}
	a.limits.octets.Store(0)
	a = newAheadTest(t, &aheadBox{}, 100, 4000)
	for range cap(a.limits.readers) {
		a.limits.readers <- struct{}{}
	}
	for uid := mailbox.UID(10); uid <= 1000; uid += 10 {
		if a.want(uid) {
			t.Errorf("uid %d was read ahead though there is no reader", uid)
		}
	}
	for range cap(a.limits.readers) {
		<-a.limits.readers
	}
}

// TestFetchAhead: bad messages among many cost none of the others.
func TestFetchAhead(t *testing.T) {
	f := newFixture(t)
	const count = 100
	for i := range count {
		f.add("INBOX", fmt.Sprintf("Subject: number %03d\r\n\r\nbody %03d\r\n", i+1, i+1))
	}
	f.user.unreadable[7], f.user.unreadable[50] = errors.New("no key"), errors.New("no key")
	c := f.selected("INBOX")
	for _, tt := range []struct{ item, shows string }{
		{"BODY.PEEK[]", "body %03d"}, {"ENVELOPE", "number %03d"}, {"BODY.PEEK[TEXT]<0.8>", "body %03d"},
	} {
		c.send("a FETCH 1:* " + tt.item)
		answer := c.until("a ")
		last := answer[len(answer)-1]
		if !strings.HasPrefix(last, "a NO [UNAVAILABLE]") || !strings.Contains(last, "UID 7,50 ") {
			t.Errorf("%s ends with %q", tt.item, last)
		}
		text := strings.Join(answer, "\n")
		if n := strings.Count(text, " FETCH ("); n != count-2 {
			t.Errorf("%s: %d responses", tt.item, n)
		}
		at := 0
		for i := range count {
			if i == 6 || i == 49 {
				continue
			}
			for _, part := range []string{fmt.Sprintf("* %d FETCH (", i+1), fmt.Sprintf(tt.shows, i+1)} {
				k := strings.Index(text[at:], part)
				if k < 0 {
					t.Fatalf("%s: %q is missing, or out of order", tt.item, part)
				}
				at += k
			}
		}
	}
	c.script(`
C: b SEARCH BODY "body 09"
S: * SEARCH 90 91 92 93 94 95 96 97 98 99
S: * NO [UNAVAILABLE] Cannot read or decrypt UID 7,50 (no private key for it).
S: b OK Search completed.
`)
}
