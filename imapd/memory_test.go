package imapd

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// heapDuring is the most that the heap grows while fn runs, garbage that waits for the
// collector included, in MiB.
func heapDuring(fn func()) int {
	runtime.GC()
	debug.FreeOSMemory()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, most := read(), uint64(0)
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			most = max(most, read())
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-stopped
	return int(max(most, before)-before) >> 20
}

// bigMails are messages that are hard to show or to search.
var bigMails = map[string]func() string{
	"header of 10 MiB": func() string {
		return "X: " + strings.Repeat(strings.Repeat("y", 70)+"\r\n ", 10<<20/73) + "\r\n\r\nbody"
	},
	"100,000 header lines": func() string { return strings.Repeat("From: a@b\r\nTo: c@d\r\n", 50_000) + "\r\nbody" },
	"a million parts": func() string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n\r\n", 1_000_000) + "--b--\r\n"
	},
	"nested parts": func() string {
		var b strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	},
	"nested messages": func() string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50_000) },
	"addresses":       func() string { return "To: " + strings.Repeat("a@b,", 500_000) + "\r\n\r\n" },
	"parameters": func() string {
		return "Content-Type: text/plain" + strings.Repeat("; name*1*=%41", 200_000) + "\r\n\r\n"
	},
	"comments": func() string {
		return "From: " + strings.Repeat("(", 1_000_000) + "\r\nDate: " + strings.Repeat("(", 100_000) + "\r\n\r\n"
	},
	"HTML": func() string { return "Content-Type: text/html\r\n\r\n" + strings.Repeat("<div><!--", 500_000) },
	"HTML tags": func() string {
		return "Content-Type: text/html\r\n\r\n" + strings.Repeat("<b <", 500_000) + strings.Repeat("&", 500_000)
	},
	"words":      func() string { return "Subject: " + strings.Repeat("=?utf-8?b?QUFB?= ", 100_000) + "\r\n\r\n" },
	"references": func() string { return "References: " + strings.Repeat("<a@b>\r\n ", 100_000) + "\r\n\r\n" },
}

// Each way to ask for each hard message, and what hard commands there are, stay within a bound
// of memory, and a second session is answered meanwhile. MEMORY_SESSIONS is how many do it at
// once, for the figures of docs/operations.md.
func TestMemoryOfCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const bound = 256 // MiB
	sessions, _ := strconv.Atoi(os.Getenv("MEMORY_SESSIONS"))
	sessions = max(sessions, 1)
	f := newFixture(t, func(o *Options) { o.After.Line = 1 << 20 })
	n := 0
	for _, text := range bigMails {
		f.add("INBOX", text())
		n++
	}
	for range 1000 {
		f.add("INBOX", simple)
	}
	long := func(item string) string { return strings.Repeat(item, (1<<20-200)/len(item)) }
	var fields, partial, lists strings.Builder
	for i := range 30 {
		fmt.Fprintf(&fields, " BODY.PEEK[HEADER.FIELDS (X A%d)]", i)
		fmt.Fprintf(&partial, " BODY.PEEK[HEADER.FIELDS (X)]<%d.9>", i)
		fmt.Fprintf(&lists, " BODY.PEEK[HEADER.FIELDS.NOT (A%d)]<0.9>", i)
	}
	for _, tt := range []struct{ name, send string }{
		{"structures", fmt.Sprintf("FETCH 1:%d (ENVELOPE BODY BODYSTRUCTURE)", n)},
		{"previews", fmt.Sprintf("FETCH 1:%d PREVIEW", n)},
		{"fields", fmt.Sprintf("FETCH 1:%d (UID%s)", n, fields.String())},
		{"pieces of fields", fmt.Sprintf("FETCH 1:%d (UID%s)", n, partial.String())},
		{"pieces of other fields", fmt.Sprintf("FETCH 1:%d (UID%s)", n, lists.String())},
		{"sections", fmt.Sprintf("FETCH 1:%d (BODY[1.1.1.1] BODY[2.MIME] BINARY.SIZE[1] BODY[1.HEADER])", n)},
		{"threads", "THREAD REFERENCES UTF-8 ALL"},
		{"sorting", "SORT (SUBJECT FROM TO CC DISPLAYFROM DISPLAYTO DATE SIZE) UTF-8 ALL"},
		{"texts", "SEARCH" + strings.Repeat(" TEXT "+strings.Repeat("x", 100_000), 10)},
		{"header texts", "SEARCH" + strings.Repeat(" FROM x", 200)},
		{"many keys", "SEARCH " + long("ALL ") + "ALL"},
		{"many saved results", "SEARCH " + long("$ ") + "$"},
		{"parentheses", "SEARCH " + long("(")},
		{"a long set", "UID FETCH " + long("1,3,") + "9 UID"},
		{"a long set of numbers", "SEARCH " + long("1,3,") + "9"},
		{"flags", "STORE 1 FLAGS (" + long("a ") + "a)"},
		{"header names", "FETCH 1 BODY.PEEK[HEADER.FIELDS (" + long("a ") + "a)]"},
		{"QRESYNC", "SELECT INBOX (QRESYNC (1 1 " + long("1,3,") + "9))"},
		{"a list of words", "ENABLE " + long("a ") + "a"},
		{"patterns", `LIST "" (` + long("* ") + "*)"},
		{"STATUS items", "STATUS INBOX (" + long("MESSAGES ") + "MESSAGES)"},
		{"SORT criteria", "SORT (" + long("SIZE ") + "SIZE) UTF-8 ALL"},
		{"annotations", "GETMETADATA (DEPTH infinity) INBOX (" + long("/private ") + "/private)"},
		{"new annotations", "SETMETADATA INBOX (" + long("/private/a NIL ") + "/private/a NIL)"},
		{"NOTIFY groups", "NOTIFY SET " + long("(PERSONAL NONE) ") + "(PERSONAL NONE)"},
		{"NOTIFY names", "NOTIFY SET (MAILBOXES (" + long("a ") + "a) (MailboxName))"},
		{"ID", "ID (" + long("a NIL ") + ")"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := f.selected("INBOX")
			other.nc.SetDeadline(time.Now().Add(5 * time.Minute))
			var all sync.WaitGroup
			var clients []*client
			for range sessions {
				c := f.selected("INBOX")
				defer c.nc.Close()
				c.nc.SetDeadline(time.Now().Add(5 * time.Minute))
				c.script("C: s ENABLE QRESYNC\nS* s OK\nC: s SEARCH RETURN (SAVE) ALL\nS* s OK")
				clients = append(clients, c)
			}
			used := heapDuring(func() {
				for _, c := range clients {
					all.Go(func() { c.hard(tt.send) })
				}
				other.script("C: b NOOP\nS* b OK")
				all.Wait()
			})
			t.Logf("%d MiB", used)
			if used > bound*sessions {
				t.Errorf("%d MiB of memory", used)
			}
			other.nc.Close()
		})
	}
}

// hard sends a command and reads its answer, however long, away.
func (c *client) hard(command string) {
	io.WriteString(c.nc, "a "+command+"\r\n")
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case strings.HasPrefix(string(line), "a "):
			c.t.Logf("%.60q", line)
			return
		case err != nil && len(line) == 0:
			c.t.Error(err)
			return
		}
	}
}

// A hundred connections that have not logged in hold as much as they can.
func TestMemoryBeforeLogin(t *testing.T) {
	const connections, bound = 100, 64 // MiB
	literal := strings.Repeat("x", 60<<10)
	for _, tt := range []struct{ name, send string }{
		{"a line without an end", strings.Repeat("a", 64<<10)},
		{"literals", fmt.Sprintf("a LOGIN {%d+}\r\n%s {4000+}\r\n", len(literal), literal)},
		{"a quoted string", "a LOGIN \"" + literal},
		{"lists", "a ID (" + strings.Repeat("NIL NIL ", 8000)},
		{"base64", "a AUTHENTICATE PLAIN " + literal},
		{"base64 asked for", "a AUTHENTICATE PLAIN\r\n" + literal},
		{"lines", strings.Repeat("a NOOP\r\n", 2_000)},
		{"half a literal", "a LOGIN {65000}\r\nx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			used := heapDuring(func() {
				var all sync.WaitGroup
				for range connections {
					c := f.dial()
					all.Add(1)
					go func(nc net.Conn) {
						defer all.Done()
						nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
						io.WriteString(nc, tt.send) // nobody reads the answers
					}(c.nc)
				}
				all.Wait()
				time.Sleep(100 * time.Millisecond)
			})
			t.Logf("%d MiB", used)
			if used > bound {
				t.Errorf("%d MiB of memory", used)
			}
			c := f.login()
			c.script("C: z NOOP\nS* z OK")
		})
	}
}
