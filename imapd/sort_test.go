package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// sortMail makes a message of fields; the body is the last argument.
func sortMail(fields ...string) string {
	return strings.Join(fields[:len(fields)-1], "\n") + "\n\n" + fields[len(fields)-1] + "\n"
}

// sortFixture has five messages.
func sortFixture(t *testing.T) *fixture {
	f := newFixture(t)
	f.add("INBOX", sortMail("Date: 3 Jan 2024 00:00:00 +0000", "Subject: Re: beta", "From: Zoe <c@example.org>", "To: b@x", "Message-ID: <1@x>", "one"))
	f.add("INBOX", sortMail("Date: 2 Jan 2024 00:00:00 +0000", "Subject: alpha", "From: =?utf-8?q?=C3=84nne?= <b@example.org>", "Cc: z@x", "Message-ID: <2@x>", "one two three"))
	f.add("INBOX", sortMail("Date: 1 Jan 2024 00:00:00 +0000", "Subject: Beta", "From: a@example.org", "To: A@x", "References: <2@x>", "Message-ID: <3@x>", "two"))
	f.add("INBOX", sortMail("Subject: gamma", "From: Bob <B@example.org>", "In-Reply-To: <3@x> <1@x>", "Cc: y@x", "three"))
	f.add("INBOX", sortMail("Date: 1 Jan 2024 01:30:00 +0200", "X: y", ""), `\Flagged`)
	return f
}

func TestSort(t *testing.T) {
	c := sortFixture(t).selected("INBOX")
	for _, tt := range []struct{ args, want string }{
		{"(ARRIVAL) US-ASCII ALL", " 1 2 3 4 5"},
		{"(REVERSE ARRIVAL) US-ASCII ALL", " 1 2 3 4 5"}, // all the same
		{"(DATE) UTF-8 ALL", " 5 3 2 1 4"},
		{"(REVERSE DATE) UTF-8 ALL", " 4 1 2 3 5"},
		{"(SUBJECT) UTF-8 ALL", " 5 2 1 3 4"},
		{"(SUBJECT DATE) UTF-8 ALL", " 5 2 3 1 4"},
		{"(REVERSE SUBJECT DATE) UTF-8 ALL", " 4 3 1 2 5"},
		{"(REVERSE SUBJECT REVERSE DATE) UTF-8 ALL", " 4 1 3 2 5"},
		{"(FROM) UTF-8 ALL", " 5 3 2 4 1"},
		{"(TO) UTF-8 ALL", " 2 4 5 3 1"},
		{"(CC) UTF-8 ALL", " 1 3 5 4 2"},
		{"(SIZE) UTF-8 ALL", " 5 4 1 3 2"},
		{"(DISPLAYFROM) UTF-8 ALL", " 5 3 2 4 1"},
		{"(DISPLAYTO) UTF-8 ALL", " 2 4 5 3 1"},
		{"(SUBJECT SUBJECT) UTF-8 FLAGGED", " 5"},
		{"(SUBJECT) UTF-8 SEEN", ""},
		{"(DATE) UTF-8 BODY two", " 3 2"},
		{"(DATE) ISO-8859-1 FROM \"\xe4nne\"", " 2"},
	} {
		c.send("a SORT " + tt.args)
		got := c.until("a ")
		if len(got) != 2 || got[0] != "* SORT"+tt.want {
			t.Errorf("SORT %s: %q, want %q", tt.args, got, tt.want)
		}
	}
	c.script(`
C: a UID SORT RETURN () (DATE) UTF-8 ALL
S: * ESEARCH (TAG "a") UID ALL 5,3,2,1,4
S: a OK Sort completed.
C: b SORT RETURN (MIN MAX COUNT PARTIAL -1:-2) (REVERSE DATE) UTF-8 1:4
S: * ESEARCH (TAG "b") MIN 4 MAX 3 PARTIAL (-1:-2 2:3) COUNT 4
S: b OK Sort completed.
C: c SORT RETURN (SAVE MAX) (DATE) UTF-8 1:4
S: * ESEARCH (TAG "c") MAX 4
S: c OK Sort completed.
C: d SORT RETURN (SAVE) (DATE) UTF-8 1:4
S: d OK Sort completed.
C: e UID SORT (SUBJECT) UTF-8 $
S: * SORT 2 1 3 4
S: e OK Sort completed.
C: f SORT () UTF-8 ALL
S~ f BAD .*
C: g SORT (REVERSE) UTF-8 ALL
S~ g BAD .*
C: h SORT (REVERSE REVERSE DATE) UTF-8 ALL
S~ h BAD .*
C: i SORT (COLOUR) UTF-8 ALL
S~ i BAD .*
C: j SORT (DATE) ALL
S~ j (BAD|NO) .*
C: k SORT (DATE) X-NONE ALL
S~ k NO \[BADCHARSET .*
C: l SORT (DATE) UTF-8
S~ l BAD .*
C: m ENABLE IMAP4rev2
S* m OK
C: n SORT (DATE) UTF-8 1
S: * SORT 1
S: n OK Sort completed.
`)
}

func TestThread(t *testing.T) {
	c := sortFixture(t).selected("INBOX")
	c.script(`
C: a THREAD REFERENCES UTF-8 ALL
S: * THREAD (5)(2 3 4)(1)
S: a OK Thread completed.
C: b UID THREAD REFS UTF-8 ALL
S: * THREAD (5)(1)(2 3 4)
S: b OK Thread completed.
C: c THREAD ORDEREDSUBJECT UTF-8 ALL
S: * THREAD (5)(3 1)(2)(4)
S: c OK Thread completed.
C: d THREAD REFERENCES UTF-8 1:3
S: * THREAD (2 3)(1)
S: d OK Thread completed.
C: e THREAD REFERENCES UTF-8 SEEN
S: * THREAD
S: e OK Thread completed.
C: f THREAD JWZ UTF-8 ALL
S~ f BAD .*
C: g THREAD REFERENCES X-NONE ALL
S~ g NO \[BADCHARSET .*
C: h THREAD REFERENCES UTF-8
S~ h BAD .*
`)
}

// TestSortUnreadable: what cannot be read stays in the result and is named.
func TestSortUnreadable(t *testing.T) {
	f := sortFixture(t)
	f.user.unreadable[3] = errors.New("no key")
	f.selected("INBOX").script(`
C: a SORT (REVERSE SUBJECT) UTF-8 ALL
S: * SORT 4 1 2 3 5
S~ \* NO \[UNAVAILABLE\] .* UID 3 .*
S: a OK Sort completed.
C: b SORT (REVERSE ARRIVAL SIZE) UTF-8 ALL
S: * SORT 5 4 1 3 2
S: b OK Sort completed.
C: c UID THREAD ORDEREDSUBJECT UTF-8 ALL
S: * THREAD (5 3)(2)(1)(4)
S~ \* NO \[UNAVAILABLE\] .* UID 3 .*
S: c OK Thread completed.
C: d SORT (DATE) UTF-8 NOT BODY nothing
S: * SORT 5 2 1 4
S~ \* NO \[UNAVAILABLE\] .* UID 3 .*
S: d OK Sort completed.
`)
}

// TestSortReads: criteria that the store knows read nothing; others read each header once, where
// nothing was kept before.
func TestSortReads(t *testing.T) {
	f := sortFixture(t)
	f.user.learned = nil
	c := f.selected("INBOX")
	for _, tt := range []struct {
		command string
		opened  int
	}{
		{"SORT (ARRIVAL REVERSE SIZE) UTF-8 ALL", 0},
		{"SORT (SUBJECT DATE FROM) UTF-8 ALL", 5},
		{"SORT (SUBJECT) UTF-8 BODY e FROM example", 4 + 1},
		{"SORT (SUBJECT) UTF-8 FLAGGED", 1},
		{"THREAD REFERENCES UTF-8 ALL", 5},
	} {
		f.user.mu.Lock()
		f.user.opened = 0
		f.user.mu.Unlock()
		c.send("a " + tt.command)
		c.until("a ")
		f.user.mu.Lock()
		if f.user.opened != tt.opened {
			t.Errorf("%s: %d messages were opened, want %d", tt.command, f.user.opened, tt.opened)
		}
		f.user.mu.Unlock()
	}
}

// TestSortNotices: SORT and THREAD tell how far they are, and end with their client.
func TestSortNotices(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Notice = time.Nanosecond })
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	f.selected("INBOX").script(`
C: a SORT (SUBJECT) UTF-8 ALL
S: * OK [INPROGRESS ("a" 0 2)] Still working.
S: * OK [INPROGRESS ("a" 1 2)] Still working.
S: * SORT 1 2
S: a OK Sort completed.
C: b THREAD REFERENCES UTF-8 ALL
S: * OK [INPROGRESS ("b" 0 2)] Still working.
S: * OK [INPROGRESS ("b" 1 2)] Still working.
S: * THREAD ((1)(2))
S: b OK Thread completed.
`)
}

// TestSortEnds: a client that has gone ends SORT and THREAD, and so does a shutdown.
func TestSortEnds(t *testing.T) {
	const n = 3000
	for _, tt := range []struct {
		command string
		end     func(*fixture, *client)
	}{
		{"SORT (SUBJECT) UTF-8 ALL", func(_ *fixture, c *client) { c.nc.Close() }},
		{"THREAD REFERENCES UTF-8 ALL", func(_ *fixture, c *client) { c.nc.Close() }},
		{"SORT (SUBJECT) UTF-8 ALL", shutdown},
		{"THREAD REFS UTF-8 BODY x", shutdown},
	} {
		f := newFixture(t, func(o *Options) { o.Timeouts.Notice = time.Nanosecond })
		for range n {
			f.add("INBOX", "Subject: a\n\nb\n")
		}
		c := f.selected("INBOX")
		begun := make(chan struct{})
		var once sync.Once
		f.user.reading = func() {
			once.Do(func() { close(begun) })
			time.Sleep(time.Millisecond)
		}
		go io.Copy(io.Discard, c.nc)
		c.send("a " + tt.command)
		<-begun
		tt.end(f, c)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			f.metrics.mu.Lock()
			open := f.metrics.open
			f.metrics.mu.Unlock()
			if open == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s goes on", tt.command)
			}
		}
		f.user.mu.Lock()
		if f.user.opened >= n {
			t.Errorf("%s read all messages for nobody", tt.command)
		}
		f.user.mu.Unlock()
	}
}

// shutdown ends a server without patience.
func shutdown(f *fixture, _ *client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.srv.Shutdown(ctx)
}

// TestSortLong: keys that are cut stay apart where the texts differ.
func TestSortLong(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 2000)
	for _, tail := range []string{"b", "a", "b", "a"} {
		f.add("INBOX", sortMail("Subject: "+long+tail, ""))
	}
	c := f.selected("INBOX")
	c.send("a SORT (SUBJECT) UTF-8 ALL")
	got := c.until("a ")[0]
	if got != "* SORT 1 3 2 4" && got != "* SORT 2 4 1 3" {
		t.Errorf("%s", got)
	}
	if key := shortKey(long); len(key) != maxKey {
		t.Errorf("a key of %d octets", len(key))
	}
}

func benchmarkMailbox(b *testing.B, command string) {
	const n = 10_000
	f := newFixture(b)
	for i := range n {
		refs := ""
		if i >= 2000 {
			refs = fmt.Sprintf("References: <%d@example.org> <%d@example.org>\n", i%2000, i-2000)
		}
		f.add("INBOX", fmt.Sprintf("Date: %d Jan 2024 10:00:00 +0100\nFrom: A %d <a%d@example.org>\nSubject: Re: subject %d\nMessage-ID: <%d@example.org>\n%s\nbody\n",
			i%28+1, i%100, i%100, i*7919%n, i, refs))
	}
	c := f.selected("INBOX")
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	for b.Loop() {
		c.send("a " + command)
		c.until("a ")
	}
}

func BenchmarkSort(b *testing.B)   { benchmarkMailbox(b, "SORT (SUBJECT) UTF-8 ALL") }
func BenchmarkThread(b *testing.B) { benchmarkMailbox(b, "THREAD REFERENCES UTF-8 ALL") }
