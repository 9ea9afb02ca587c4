package imapd

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestGoneClient closes the connection in the middle of a COPY that would never end.
func TestGoneClient(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Notice = time.Millisecond })
	f.add("INBOX", simple)
	begun, ended := make(chan struct{}), make(chan struct{})
	f.user.copying = func(ctx context.Context) {
		close(begun)
		<-ctx.Done()
		close(ended)
	}
	c := f.selected("INBOX")
	c.send("a COPY 1 INBOX")
	<-begun
	if line := c.line(); line != `* OK [INPROGRESS ("a" NIL NIL)] Still working.` {
		t.Errorf("in the middle of a COPY: %q", line)
	}
	c.nc.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("a COPY goes on without its client")
	}
}

// TestNotices gives signs of life without disturbing answers.
func TestNotices(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Notice = time.Nanosecond })
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	c := f.selected("INBOX")
	c.script(`
C: a SEARCH ALL
S: * OK [INPROGRESS ("a" 0 2)] Still working.
S: * OK [INPROGRESS ("a" 1 2)] Still working.
S: * SEARCH 1 2
S: a OK Search completed.
`)
	c.script(`
C: x]y SEARCH 1
S: * OK [INPROGRESS (NIL 0 2)] Still working.
S: * OK [INPROGRESS (NIL 1 2)] Still working.
S: * SEARCH 1
S: x]y OK Search completed.
`)
	c.send("b MOVE 1 INBOX")
	got := c.until("b ")
	for len(got) > 0 && got[0] == `* OK [INPROGRESS ("b" NIL NIL)] Still working.` {
		got = got[1:]
	}
	if len(got) < 3 || !strings.HasPrefix(got[0], "* OK [COPYUID ") || got[1] != "* 1 EXPUNGE" || !strings.HasPrefix(got[len(got)-1], "b OK") {
		t.Errorf("MOVE: %q", got)
	}
}

// TestPanicInStep answers a panic of another goroutine as an internal error.
func TestPanicInStep(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.user.copying = func(context.Context) { panic("in the fake") }
	c := f.selected("INBOX")
	c.script(`
C: a COPY 1 INBOX
S~ a NO \[SERVERBUG\] .*
C: b NOOP
S: b OK Noop completed.
`)
	f.metrics.mu.Lock()
	defer f.metrics.mu.Unlock()
	if f.metrics.panics != 1 {
		t.Errorf("%d panics were counted, want 1", f.metrics.panics)
	}
	f.metrics.panics = 0 // it was meant
}
