package imapd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// A refused literal's octets must never run as commands.
func TestNoSmuggling(t *testing.T) {
	body := "X: y\r\nz CREATE smuggled\r\n"
	for _, tt := range []struct {
		name, before, command string
		closed                bool
	}{
		{"append too big", "", "a APPEND INBOX {%d+}\r\n%s\r\n", false},
		{"append nowhere", "", "a APPEND nowhere {%d+}\r\n%s\r\n", false},
		{"append bad flags", "", "a APPEND INBOX (\\Bogus) {%d+}\r\n%s\r\n", false},
		{"unknown command", "", "a FROBNICATE {%d+}\r\n%s\r\n", false},
		{"wrong state", "", "a LOGIN {%d+}\r\n%s\r\n", false},
		{"two literals", "", "a FROBNICATE {1+}\r\nx {%d+}\r\n%s\r\n", false},
		{"no tag", "", "{%d+}\r\n%s\r\n", false},
		{"within a quoted string", "", "a CREATE \"x {%d+}\r\n%s\r\n", false},
		{"within a string that ends wrong", "", "a CREATE \"x\\{%d+}\r\n%s\r\n", false},
		{"a SASL response", "", "a AUTHENTICATE PLAIN {%d+}\r\n%s\r\n", false},
		{"size beyond number64", "", "a APPEND INBOX {9999999999999999999%d+}\r\n%s\r\n", true},
		{"beyond what is drained", "", "a APPEND INBOX {9999%d+}\r\n%s\r\n", true},
		{"not a number", "", "a APPEND INBOX {1x%d+}\r\n%s\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.After.Drain = 1 << 16 })
			f.user.limit = 10
			c := f.login()
			c.raw(fmt.Sprintf(tt.command, len(body), body))
			c.raw("q NOOP\r\n")
			saw := ""
			for {
				l, err := c.r.ReadString('\n')
				saw += l
				if err != nil || strings.HasPrefix(l, "q ") {
					break
				}
			}
			if strings.Contains(saw, "z ") {
				t.Errorf("the literal ran as a command: %q", saw)
			}
			if closed := !strings.Contains(saw, "q OK"); closed != tt.closed {
				t.Errorf("closed %v, want %v: %q", closed, tt.closed, saw)
			}
			if tt.closed && !strings.Contains(saw, "* BYE") {
				t.Errorf("no BYE: %q", saw)
			}
			folders, _ := f.user.List(t.Context())
			for _, folder := range folders {
				if folder.Name == "smuggled" {
					t.Error("mailbox was made")
				}
			}
		})
	}
}

// The same before login, where the refused command may be one with a password.
func TestNoSmugglingBeforeLogin(t *testing.T) {
	body := "z ID NIL\r\nz ID NIL\r\n"
	for _, command := range []string{
		"a LOGIN {%d+}\r\n%s x\r\n", "a LOGIN alice {%d+}\r\n%s\r\n", "a AUTHENTICATE PLAIN {%d+}\r\n%s\r\n",
		"a AUTHENTICATE FOO {%d+}\r\n%s\r\n", "a SELECT {%d+}\r\n%s\r\n", "a LOGIN ( {%d+}\r\n%s\r\n",
	} {
		f := newFixture(t, func(o *Options) { o.RequireTLS = true; o.Before.Literals = 10 })
		f.listen(false, true)
		c := f.dial()
		c.line()
		c.raw(fmt.Sprintf(command, len(body), body) + "q NOOP\r\n")
		if saw := strings.Join(c.until("q "), "\n"); strings.Contains(saw, "z ") {
			t.Errorf("%q: the literal ran as a command: %q", command, saw)
		}
	}
	f := newFixture(t)
	c := f.dial()
	c.line()
	c.script("C: a AUTHENTICATE PLAIN\nS* +")
	c.raw(fmt.Sprintf("b {%d+}\r\n%s\r\nq NOOP\r\n", len(body), body))
	if saw := strings.Join(c.until("q "), "\n"); strings.Contains(saw, "z ") {
		t.Errorf("AUTHENTICATE: the literal ran as a command: %q", saw)
	}
	c = f.login()
	c.script("C: a IDLE\nS: + idling")
	c.raw(fmt.Sprintf("b APPEND INBOX {%d+}\r\n%s\r\nq NOOP\r\n", len(body), body))
	if saw := strings.Join(c.until("q "), "\n"); strings.Contains(saw, "z ") {
		t.Errorf("IDLE: the literal ran as a command: %q", saw)
	}
}

func TestHostileBeforeLogin(t *testing.T) {
	for _, tt := range []struct{ name, send, want string }{
		{"long line", strings.Repeat("a", 8<<20), `\* BYE Command line too long\.`},
		{"parentheses", "a LOGIN " + strings.Repeat("(", 60000) + "\r\n", `a BAD .*`},
		{"ID nested", "a ID ((\r\n", `a BAD .*`},
		{"literal 2^32", "a LOGIN {4294967295}\r\n", `a BAD Literal too large\.`},
		{"literal negative", "a LOGIN {-1}\r\n", `a BAD Invalid literal size\.`},
		{"literal letters", "a LOGIN {1x}\r\n", `a BAD Invalid literal size\.`},
		{"literal empty", "a LOGIN {}\r\n", `a BAD .*`},
		{"many literals", "a LOGIN {40000+}\r\n" + strings.Repeat("x", 40000) + " {40000+}\r\n" + strings.Repeat("x", 40000) + "\r\n", `a BAD Literal too large\.`},
		{"NUL in a line", "a NO\x00OP\r\n", `a BAD .*`},
		{"NUL in a string", "a LOGIN \"a\x00\" b\r\n", `a BAD .*`},
		{"bad UTF-8 user", "a LOGIN \"\xff\xfe\" b\r\n", `a NO \[AUTHENTICATIONFAILED\].*`},
		{"long user", "a LOGIN " + strings.Repeat("u", 2000) + " b\r\n", `a NO \[AUTHENTICATIONFAILED\].*`},
		{"path user", "a LOGIN ../../etc b\r\n", `a NO \[AUTHENTICATIONFAILED\].*`},
		{"variable user", "a LOGIN \"%{user}\" b\r\n", `a NO \[AUTHENTICATIONFAILED\].*`},
		{"long SASL", "a AUTHENTICATE PLAIN " + strings.Repeat("A", 60000) + "\r\n", `a BAD Invalid response\.`},
		{"SASL of 256 kB", "a AUTHENTICATE PLAIN " + strings.Repeat("A", 256<<10) + "\r\n", `\* BYE .*`},
		{"bad tag", "+ NOOP\r\n", `\* BAD Invalid tag\.`},
		{"no command", "a\r\n", `a BAD Missing command\.`},
		{"empty line", "\r\n", `\* BAD Invalid tag\.`},
		{"HTTP", "GET / HTTP/1.0\r\n", `GET BAD .*`},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", `\* BAD Invalid tag\.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			c := f.dial()
			c.line()
			go io.WriteString(c.nc, tt.send)
			c.script("S~ " + tt.want)
		})
	}
}

func TestHostileAfterLogin(t *testing.T) {
	long := make([]string, 50000)
	for i := range long {
		long[i] = fmt.Sprint(i*2 + 1)
	}
	for _, tt := range []struct{ name, send, want string }{
		{"set 0", "FETCH 0 UID", `a BAD Invalid message set\.`},
		{"set open", "FETCH 1: UID", `a BAD Invalid message set\.`},
		{"set 2^32", "UID FETCH 4294967296 UID", `a BAD Invalid message set\.`},
		{"set 2^64+1", "UID FETCH 18446744073709551617 UID", `a BAD Invalid message set\.`},
		{"set leading zero", "UID FETCH 01 UID", `a BAD Invalid message set\.`},
		{"set comma", "FETCH 1,,2 UID", `a BAD Invalid message set\.`},
		{"long set", "UID FETCH " + strings.Join(long, ",") + " UID", `\* 1 FETCH \(UID 1\)`},
		{"search nested", "SEARCH " + strings.Repeat("(", 20000) + "ALL" + strings.Repeat(")", 20000), `a BAD Nested too deep\.`},
		{"search NOT", "SEARCH " + strings.Repeat("NOT ", 20000) + "ALL", `a BAD Nested too deep\.`},
		{"search OR", "SEARCH " + strings.Repeat("OR ALL ", 20000) + "ALL", `a BAD Nested too deep\.`},
		{"section depth", "FETCH 1 BODY[" + strings.Repeat("1.", 2000) + "1]", `a BAD Section too deep\.`},
		{"many header names", "FETCH 1 BODY.PEEK[HEADER.FIELDS (" + strings.Repeat("x ", 4999) + "x)]", `\* 1 FETCH \(BODY\[HEADER.FIELDS .* \{2\}`},
		{"partial huge", "FETCH 1 BODY.PEEK[]<4294967295.1>", `\* 1 FETCH \(BODY\[\]<4294967295> \{0\}`},
		{"append 2^63", "APPEND INBOX {9223372036854775808}", `a BAD Invalid literal size\.`},
		{"append 9999999999", "APPEND INBOX {9999999999}", `a NO \[TOOBIG\].*`},
		{"append {}", "APPEND INBOX {}", `a BAD .*`},
		{"list wildcards", `LIST "" ` + strings.Repeat("*%", 60), `\* LIST .*`},
		{"list long pattern", `LIST "" ` + strings.Repeat("a", 5000), `a BAD .*`},
		{"create bad mUTF-7", "CREATE &", `a NO \[CANNOT\].*`},
		{"create needless mUTF-7", "CREATE &AGE-", `a NO \[CANNOT\].*`},
		{"create half surrogate", "CREATE &2D0-", `a NO \[CANNOT\].*`},
		{"create short shift", "CREATE &AAA", `a NO \[CANNOT\].*`},
		{"create bad UTF-8", "CREATE \"\xc3\"", `a NO \[CANNOT\].*`},
		{"create ..", "CREATE ../x", `a NO \[CANNOT\].*`},
		{"create /x", "CREATE /x", `a NO \[CANNOT\].*`},
		{"create ~", "CREATE ~r/x", `a NO \[CANNOT\].*`},
		{"create a//b", "CREATE a//b", `a NO \[CANNOT\].*`},
		{"create long", "CREATE " + strings.Repeat("a", 5000), `a NO \[LIMIT\].*`},
		{"rename to ..", "RENAME INBOX ..", `a NO \[CANNOT\].*`},
		{"charset", "SEARCH CHARSET X-NONE TEXT x", `a NO \[BADCHARSET .*`},
		{"search texts", "SEARCH " + strings.Repeat("TEXT x ", 300) + "ALL", `a NO \[LIMIT\].*`},
		{"date", "SEARCH SINCE 31-Feb-2024", `a BAD Invalid date\.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.user.limit = 100000
			f.add("INBOX", simple)
			c := f.selected("INBOX")
			c.send("a " + tt.send)
			c.script("S~ " + tt.want)
			c.script("C: z NOOP\nS* z OK")
		})
	}
}

func TestTooManyBad(t *testing.T) {
	f := newFixture(t)
	for name, tt := range map[string]struct {
		c    *client
		most int
	}{"before login": {f.dial(), maxBadBefore}, "after login": {f.login(), maxBad}} {
		t.Run(name, func(t *testing.T) {
			c := tt.c
			if tt.most == maxBadBefore {
				c.line()
			}
			for range tt.most {
				c.send("x")
			}
			for range tt.most {
				if got := c.line(); got != "x BAD Missing command." {
					t.Fatalf("got %q", got)
				}
			}
			c.script(`S: * BYE Too many invalid commands.`)
			if !c.eof() {
				t.Error("still open")
			}
		})
	}
}

func TestTooManyLogins(t *testing.T) {
	f := newFixture(t)
	c := f.dial()
	c.line()
	for range maxAuthFails {
		c.script("C: a LOGIN alice x\nS: a NO [AUTHENTICATIONFAILED] Authentication failed.")
	}
	c.script(`S: * BYE Too many failed logins.`)
}

func TestCutAppend(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.raw("a APPEND INBOX {100+}\r\nSubject: half")
	c.nc.Close()
	deadline := time.Now().Add(5 * time.Second)
	for {
		f.user.mu.Lock()
		aborted, committed := f.user.aborted, f.user.committed
		f.user.mu.Unlock()
		if committed > 0 {
			t.Fatal("half a message was committed")
		}
		if aborted == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not aborted")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPipelining(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	go func() {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, "p%d NOOP\r\n", i)
		}
		io.WriteString(c.nc, b.String())
	}()
	for i := range 5000 {
		if got, want := c.line(), fmt.Sprintf("p%d OK Noop completed.", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// A message without a key costs itself only.
func TestUnreadable(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple)
	}
	f.user.unreadable[2] = errors.New("dcrypt: secret detail")
	c := f.selected("INBOX")
	c.script(`
C: a FETCH 1:3 (UID RFC822.SIZE FLAGS BODY[TEXT]<0.5>)
S: * 1 FETCH (UID 1 RFC822.SIZE 160 FLAGS (\Seen \Recent) BODY[TEXT]<0> {5}
S: First)
S: * 2 FETCH (UID 2 RFC822.SIZE 160 FLAGS (\Recent))
S: * 3 FETCH (UID 3 RFC822.SIZE 160 FLAGS (\Seen \Recent) BODY[TEXT]<0> {5}
S: First)
S: a NO [UNAVAILABLE] Cannot read or decrypt UID 2 (no private key for it).
C: b FETCH 1:3 FLAGS
S: * 1 FETCH (FLAGS (\Seen \Recent))
S: * 2 FETCH (FLAGS (\Recent))
S: * 3 FETCH (FLAGS (\Seen \Recent))
S: b OK Fetch completed.
C: c SEARCH TEXT hello
S: * SEARCH 1 3
S: * NO [UNAVAILABLE] Cannot read or decrypt UID 2 (no private key for it).
S: c OK Search completed.
C: d SEARCH NOT TEXT hello
S: * SEARCH
S: * NO [UNAVAILABLE] Cannot read or decrypt UID 2 (no private key for it).
S: d OK Search completed.
C: e SEARCH OR UID 2 TEXT hello
S: * SEARCH 1 2 3
S: e OK Search completed.
C: f COPY 2 INBOX
S: f NO [UNAVAILABLE] Message cannot be read: no private key for it.
C: g STATUS INBOX (SIZE)
S: * STATUS INBOX (SIZE 480)
S: g OK Status completed.
`)
	if f.metrics.lost == 0 {
		t.Error("not counted")
	}
}

// An error in the middle of a literal ends the connection: nothing may be made up.
func TestReadFailsInLiteral(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.user.failRead[1] = true
	c := f.selected("INBOX")
	c.send("a FETCH 1 BODY.PEEK[]")
	all, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(all); strings.Contains(got, "a OK") || strings.Contains(got, "a NO") || strings.Contains(got, "Second line") {
		t.Errorf("got %q", got)
	}
}

// A mailbox that is replaced under a session ends it.
type goneBox struct{ box }

func (goneBox) View() *mailbox.View { return mailbox.NewView(mailbox.View{UIDValidity: 99}, nil) }

func TestGone(t *testing.T) {
	s := &session{srv: newServer(Options{}, nil), perUser: perUser{box: &selected{view: &mailbox.View{UIDValidity: 1}, box: goneBox{}}}}
	s.enc = imapwire.NewEncoder(io.Discard)
	err := s.announce(&call{command: &command{}})
	if !errors.Is(err, errGone) {
		t.Errorf("announce: %v", err)
	}
}
