package imapd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage/storagetest"
)

func TestMultiAppend(t *testing.T) {
	f := newFixture(t)
	f.user.limit = 1000
	c := f.selected("INBOX")
	c.script(`
C: a APPEND INBOX (\Seen) {10}
S: + OK
C: A: 1
C: 
C: hi (\Flagged k) " 1-Jan-2020 00:00:00 +0100" {10}
S: + OK
C: A: 2
C: 
C: ho UTF8 (~{10}
S: + OK
C: A: 3
C: 
C: hu)
S* * OK [PERMANENTFLAGS
S: * 3 EXISTS
S: * 3 RECENT
S: a OK [APPENDUID 2 1:3] Append completed.
C: b FETCH 1:3 (FLAGS BODY.PEEK[HEADER.FIELDS (A)])
S: * 1 FETCH (FLAGS (\Seen \Recent) BODY[HEADER.FIELDS (A)] {8}
S: A: 1
S: 
S: )
S: * 2 FETCH (FLAGS (\Flagged \Recent k) BODY[HEADER.FIELDS (A)] {8}
S: A: 2
S: 
S: )
S: * 3 FETCH (FLAGS (\Recent) BODY[HEADER.FIELDS (A)] {8}
S: A: 3
S: 
S: )
S: b OK Fetch completed.
C: c APPEND INBOX {3+}
C: a:b {0}
S: c NO [CANNOT] Can't save a zero byte message.
C: d APPEND INBOX {3+}
C: a:b {1001}
S: d NO [TOOBIG] Message is too large.
C: e APPEND INBOX {3+}
C: a:b (\Seen) x
S: e BAD Expected a literal.
C: f APPEND INBOX {3+}
C: a:b (\Seen) "1" {3+}
C: c:d
S: f BAD Invalid date and time.
C: g APPEND INBOX {3+}
C: a:b 
S: g BAD Expected a literal.
C: h APPEND nowhere {3+}
C: a:b {3+}
C: c:d
S: h NO [TRYCREATE] Mailbox doesn't exist.
C: i NOOP
S: i OK Noop completed.
C: j CAPABILITY
S~ \* CAPABILITY .* MULTIAPPEND .*
S: j OK Capability completed.
`)
	// The second message cannot be saved, and takes the first along.
	c.raw("k APPEND INBOX {3+}\r\na:b {3+}\r\na\x00b {3+}\r\nc:d\r\n")
	c.script(`S: k NO [CANNOT] Message contains NUL; use a binary literal.`)
	c.raw("m APPEND INBOX {3+}\r\na:b {12+}\r\n\x1f\x8b\x08 123456789\r\n")
	c.script(`
S: m NO [CANNOT] Message looks like an encrypted or compressed file.
C: n STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 3)
S: n OK Status completed.`)
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.user.committed != 3 {
		t.Errorf("%d messages committed, want 3", f.user.committed)
	}
}

// A thousand messages in one command, without waiting for any of them.
func TestMultiAppendMany(t *testing.T) {
	f := newFixture(t)
	c := f.selected("INBOX")
	c.nc.SetDeadline(time.Now().Add(30 * time.Second))
	go func() {
		io.WriteString(c.nc, "a APPEND INBOX")
		for i := range 1000 {
			fmt.Fprintf(c.nc, " {10+}\r\nA: %05d\r\n", i)
		}
		io.WriteString(c.nc, "\r\n")
	}()
	c.script(`
S: * 1000 EXISTS
S: * 1000 RECENT
S: a OK [APPENDUID 2 1:1000] Append completed.`)
}

// A client that goes away in the middle leaves nothing.
func TestMultiAppendCut(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.raw("a APPEND INBOX {3+}\r\na:b {3+}\r\nc:d {9+}\r\ne:f")
	c.nc.Close()
	wait(t, func() bool {
		f.user.mu.Lock()
		defer f.user.mu.Unlock()
		return f.user.aborted == 3
	})
	f.login().script(`
C: b STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S: b OK Status completed.`)
}

// wait gives something that happens elsewhere the time it needs.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("it does not happen")
		}
	}
}

const mixed = "From: a@example.org\nSubject: source\nContent-Type: multipart/mixed; boundary=x\n\n" +
	"--x\nContent-Type: text/plain\n\nfirst part\n--x\nContent-Type: application/pdf\n\nPDF DATA\n--x--\n"

func TestCatenate(t *testing.T) {
	f := newFixture(t)
	f.user.limit = 1000
	f.add("INBOX", simple)
	f.add("INBOX", mixed)
	f.user.Memory.Create(t.Context(), "Entwürfe alt")
	c := f.selected("INBOX")
	c.script(`
C: a APPEND "Entw&APw-rfe alt" (\Draft) CATENATE (TEXT {6}
S: + OK
C: X: y
C:  URL "/INBOX;UIDVALIDITY=2/;UID=2/;SECTION=1.MIME" URL /INBOX/;uid=2/;section=2 TEXT {0+}
C:  URL ;UID=2/;PARTIAL=0.5 TEXT {5+}
C: end!!)
S: a OK [APPENDUID 3 1] Append completed.
C: b SELECT "Entw&APw-rfe alt"
S* b OK
C: c FETCH 1 (FLAGS BODY.PEEK[])
S: * 1 FETCH (FLAGS (\Draft \Recent) BODY[] {52}
S: X: y
S: Content-Type: text/plain
S: 
S: PDF DATAFrom:end!!)
S: c OK Fetch completed.
C: d APPEND INBOX CATENATE (URL "/Entw%C3%BCrfe%20alt/;UID=1/;SECTION=HEADER.FIELDS%20(X)") {3+}
C: a:b CATENATE (UTF8 (~{3+}
C: c:d) URL ";UID=1/;PARTIAL=2")
S: d OK [APPENDUID 2 3:5] Append completed.
C: e SELECT INBOX
S* e OK
C: f FETCH 3,5 BODY.PEEK[]
S: * 3 FETCH (BODY[] {8}
S: X: y
S: 
S: )
S: * 5 FETCH (BODY[] {53}
S: c:d y
S: Content-Type: text/plain
S: 
S: PDF DATAFrom:end!!)
S: f OK Fetch completed.
`)
}

func TestCatenateRefuses(t *testing.T) {
	f := newFixture(t)
	f.user.limit = 1000
	f.add("INBOX", mixed)
	f.add("INBOX", simple)
	f.user.unreadable[2] = errors.New("no key")
	c := f.login()
	c.script(`
C: a APPEND INBOX CATENATE (URL ;UID=1)
S: a NO [BADURL ;UID=1] Invalid URL: it is relative to a mailbox, and none is selected.
C: b APPEND INBOX CATENATE (URL "/INBOX/;UID=9")
S: b NO [BADURL /INBOX/;UID=9] There is no such message.
C: c APPEND INBOX CATENATE (URL "/INBOX;UIDVALIDITY=7/;UID=1")
S: c NO [BADURL /INBOX;UIDVALIDITY=7/;UID=1] There is no such message.
C: d APPEND INBOX CATENATE (URL "/nowhere/;UID=1")
S: d NO [BADURL /nowhere/;UID=1] There is no such message.
C: e APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=3")
S: e NO [BADURL /INBOX/;UID=1/;SECTION=3] There is no such part.
C: f APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3%7D)")
S: f NO [BADURL /INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3%7D)] There is no such part.
C: g APPEND INBOX CATENATE (URL "imap://example.org/INBOX/;UID=1")
S: g NO [BADURL imap://example.org/INBOX/;UID=1] Invalid URL: it must be relative to this server.
C: h APPEND INBOX CATENATE (TEXT {3+}
C: a:b URL "/INBOX/;UID=2" TEXT {3+}
C: c:d)
S: h NO [BADURL /INBOX/;UID=2] Message cannot be read: no private key for it.
C: i APPEND INBOX CATENATE (URL {7+}
C: /x]
C: /y)
S: i NO [BADURL /x%5D%0D%0A/y] Invalid URL: a character must be encoded.
C: j APPEND INBOX CATENATE ()
S: j BAD Unknown CATENATE part.
C: k APPEND INBOX CATENATE (FOO x)
S: k BAD Unknown CATENATE part.
C: l APPEND INBOX CATENATE (TEXT {0})
S: l BAD Expected a literal.
C: m APPEND INBOX CATENATE (TEXT {0+}
C: )
S: m NO [CANNOT] Can't save a zero byte message.
C: n APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;PARTIAL=100000")
S: n NO [CANNOT] Can't save a zero byte message.
C: o APPEND INBOX CATENATE (TEXT {900+}
C: ` + strings.Repeat("x", 898) + `
C:  URL "/INBOX/;UID=1")
S: o NO [TOOBIG] Message is too large.
C: p APPEND INBOX CATENATE (URL "/INBOX/;UID=1" TEXT {900}
S: p NO [TOOBIG] Message is too large.
C: q APPEND INBOX {3+}
C: a:b CATENATE (URL "/INBOX/;UID=9") {3+}
C: c:d
S: q NO [BADURL /INBOX/;UID=9] There is no such message.
C: r APPEND nowhere CATENATE (URL "/INBOX/;UID=1")
S: r NO [TRYCREATE] Mailbox doesn't exist.
C: s STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 2)
S: s OK Status completed.
`)
	// One that fails while it is being read.
	f.user.mu.Lock()
	f.user.unreadable = map[mailbox.UID]error{}
	f.user.failRead[2] = true
	f.user.mu.Unlock()
	f.add("INBOX", mixed+strings.Repeat("more\n", 100))
	f.user.mu.Lock()
	f.user.failRead[3] = true
	f.user.mu.Unlock()
	c.script(`
C: t APPEND INBOX CATENATE (URL "/INBOX/;UID=3/;PARTIAL=90.200")
S~ t NO \[BADURL /INBOX/;UID=3/;PARTIAL=90.200\] Message cannot be read: .*
C: u STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 3)
S: u OK Status completed.
`)
}

// A fault of the store at any step of an APPEND of three leaves none of them.
func TestMultiAppendFaults(t *testing.T) {
	for n := int64(1); ; n++ {
		f := newFixture(t)
		fail, steps := storagetest.FailAt(n, errors.New("disk"))
		f.user.faults = fail
		c := f.login()
		c.raw("a APPEND INBOX {3+}\r\na:b CATENATE (TEXT {3+}\r\nc:d) {3+}\r\ne:f\r\n")
		got := c.line()
		f.user.mu.Lock()
		f.user.faults = nil
		f.user.mu.Unlock()
		want := "* STATUS INBOX (MESSAGES 0)"
		if steps() < n {
			want = "* STATUS INBOX (MESSAGES 3)"
		}
		if ok := strings.HasPrefix(got, "a OK"); ok != (steps() < n) {
			t.Errorf("fault at step %d of %d: %s", n, steps(), got)
		}
		c.send("b STATUS INBOX (MESSAGES)")
		if got := c.line(); got != want {
			t.Errorf("fault at step %d: %s", n, got)
		}
		if steps() < n {
			if n < 8 {
				t.Errorf("only %d steps", n-1)
			}
			break
		}
	}
}

// Years have four digits, whatever a file says.
func TestDateTime(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*3600)),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(1<<60, 0), time.Unix(-1<<60, 0), {},
	} {
		if got := string(new(fetching).dateTime(at)); len(got) != len(`" 3-Feb-2024 04:05:06 +0000"`) {
			t.Errorf("%v: %s", at, got)
		}
	}
}
