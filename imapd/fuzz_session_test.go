package imapd

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/metadata"
	"mailcrypt/quota"
)

// hostileMail tries to forge responses by what it holds.
const hostileMail = "Subject: =?utf-8?q?x=0D=0A*_BYE_forged?= \"\\ {3}\r\n" +
	"From: \"a\\\"b)\" <\"x y\"@h>, =?utf-8?b?AAo=?= <a@b>, group: c@d;\r\nTo: undisclosed:;\r\nX-Evil: \x00\x01\xff)\r\n" +
	"References: <a@b> <c@d> <a@b>\r\nMessage-ID: <c@d>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=\"b\"; name*0*=utf-8''%0d%0a; name*1=\"x\\\"\"\r\n\r\n--b\r\n" +
	"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: text/html\r\n\r\n<style>x</style><p>hello\r\n--b\r\n" +
	"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a\r\n b\"\r\n\r\nAAEC/w==\r\n--b--\r\n"

// An attack is a client that sends whatever it likes and reads strictly.
type attack struct {
	t     testing.TB
	f     *fixture
	nc    net.Conn
	w     io.Writer
	flush func() error
	in    *strictReader
	n     int      // commands sent
	sent  []string // and what was answered
	ended bool     // there was a BYE
	known bool     // logged in
}

func (a *attack) dial() {
	nc, err := net.Dial("tcp", a.f.addr)
	if err != nil {
		a.t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	a.nc, a.w, a.flush, a.ended, a.known = nc, nc, func() error { return nil }, false, false
	a.in = &strictReader{r: bufio.NewReader(nc), messages: -1}
	if p := a.response(); p == nil || p.name != "OK" {
		a.fail("no greeting: %+v", p)
	}
}

func (a *attack) fail(format string, args ...any) {
	a.t.Helper()
	a.t.Errorf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(a.sent[max(0, len(a.sent)-200):], "\n"))
	runtime.Goexit() // Fatal is for the test's own goroutine
}

// write sends, and notes what was sent.
func (a *attack) write(s string) {
	if len(s) < 500 {
		a.sent = append(a.sent, strconv.Quote(s))
	} else {
		a.sent = append(a.sent, fmt.Sprintf("%q... (%d)", s[:100], len(s)))
	}
	io.WriteString(a.w, s) // what goes wrong shows in what is read
	a.flush()
}

// response reads one; nil at the end of the connection, of which there was a BYE.
func (a *attack) response() *response {
	p, err := a.in.next()
	var timeout net.Error
	switch {
	case err == nil:
		if p.tag == "*" && p.name == "BYE" {
			a.ended = true
		}
		a.sent = append(a.sent, fmt.Sprintf("\t%.300q", p.text))
		return p
	case errors.As(err, &timeout) && timeout.Timeout():
		a.fail("no answer: %v", err)
	case !a.ended:
		a.fail("reading: %v", err)
	}
	return nil
}

var announces = regexp.MustCompile(`\{(\d{1,18})\}$`)

// command sends one command and reads up to its tagged answer, which it returns; nil where
// the connection has ended with BYE.
func (a *attack) command(pieces []piece) *response {
	a.n++
	tag := fmt.Sprintf("t%d", a.n)
	name := strings.ToUpper(pieces[0].text)
	line := tag + " "
	for _, p := range pieces {
		if line += p.text; p.literal == nil {
			break
		}
		a.write(line + "\r\n")
		if p.sync {
			if answer := a.until(tag, line, name, true); answer == nil || answer.tag != "+" {
				return answer
			}
		}
		a.write(string(p.literal))
		line = ""
	}
	a.write(line + "\r\n")
	return a.until(tag, line, name, false)
}

// until reads up to the tagged answer, or a request to go on where that is wanted. What is
// asked for out of turn is given.
func (a *attack) until(tag, line, name string, literal bool) *response {
	for asked := 0; ; {
		p := a.response()
		switch {
		case p == nil:
			return nil
		case p.tag == "+" && literal:
			return p
		case p.tag == "+":
			if asked++; asked > 10 {
				a.fail("asked again and again")
			}
			if m := announces.FindStringSubmatch(line); m != nil && asked == 1 {
				if n, _ := strconv.Atoi(m[1]); n < 1<<20 {
					a.write(strings.Repeat("x", n) + "\r\n")
					continue
				}
			}
			switch {
			case strings.HasPrefix(name, "IDLE"):
				a.write("DONE\r\n")
			case strings.HasPrefix(name, "AUTHENTICATE LOGIN"):
				a.write([]string{"YWxpY2U=\r\n", "c2VjcmV0\r\n"}[(asked-1)%2])
			case a.n%3 > 0:
				a.write("AGFsaWNlAHNlY3JldA==\r\n")
			case a.n%2 == 1:
				a.write("x {6+}\r\nz NOOP\r\n")
			default:
				a.write("*\r\n")
			}
		case p.tag == tag:
			a.after(p, name)
			return p
		case p.tag != "*":
			a.fail("answer to %q: %q", p.tag, p.text)
		default:
			if strings.Contains(p.text, "forged") && p.name != "FETCH" {
				a.fail("forged: %q", p.text)
			}
		}
	}
}

// after follows what the answer means for the connection.
func (a *attack) after(p *response, name string) {
	name = strings.TrimSpace(name)
	verb, _, _ := strings.Cut(name, " ")
	if p.name != "OK" {
		return
	}
	switch verb {
	case "CLOSE", "UNSELECT", "DELETE":
		a.in.messages = -1
	case "LOGIN", "AUTHENTICATE":
		a.known = true
	case "UNAUTHENTICATE":
		a.known = false
		*a.in = strictReader{r: bufio.NewReader(a.nc), messages: -1}
		a.w, a.flush = a.nc, func() error { return nil }
	case "COMPRESS":
		z, _ := flate.NewWriter(a.nc, 1+a.n%9)
		a.w, a.flush = z, z.Flush
		a.in.r = bufio.NewReader(flate.NewReader(a.in.r))
	case "STARTTLS":
		t := tls.Client(a.nc, &tls.Config{InsecureSkipVerify: true})
		if err := t.Handshake(); err != nil {
			a.fail("STARTTLS: %v", err)
		}
		t.SetDeadline(time.Now().Add(20 * time.Second))
		*a = attack{t: a.t, f: a.f, nc: t, w: t, flush: func() error { return nil }, n: a.n, sent: a.sent,
			in: &strictReader{r: bufio.NewReader(t), messages: -1}}
	case "LOGOUT":
		if !a.ended {
			a.fail("LOGOUT without BYE")
		}
	}
}

func (a *attack) say(line string) *response { return a.command([]piece{{text: line}}) }

var testCertificate = sync.OnceValue(func() *tls.Config { return certificate(new(testing.T)) })

// panicLog passes on what is logged of a panic, and of commands that fail.
type panicLog struct{ t testing.TB }

func (l panicLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l panicLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l panicLog) WithGroup(string) slog.Handler                    { return l }
func (l panicLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "command failed" {
		r.Attrs(func(a slog.Attr) bool {
			l.t.Logf("command failed: %s: %s", a.Key, a.Value)
			return true
		})
	}
	if strings.HasPrefix(r.Message, "panic") {
		r.Attrs(func(a slog.Attr) bool {
			l.t.Errorf("%s: %s", a.Key, a.Value)
			return true
		})
	}
	return nil
}

// hostileFixture has mail and names that a client must survive to be shown.
func hostileFixture(t testing.TB) *fixture {
	f := newFixture(t, func(o *Options) {
		o.Logger = slog.New(panicLog{t: t})
		o.Timeouts.Notice = time.Millisecond
		o.TLSConfig = testCertificate()
	})
	f.user.limit = 1 << 20
	f.user.special = map[string]string{"work": `\Sent`}
	f.user.quota = &quotaState{root: "User \"quota\"", limits: quota.Limits{Bytes: 1 << 30, Messages: 1000}}
	dict, err := attrdict.Open("file:~/attributes", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dict.Close() })
	f.user.annotations = metadata.New(dict, metadata.Limits{Value: 4096, Mailbox: 20})
	for _, name := range []string{"work", "a/b"} {
		if err := f.user.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	f.add("INBOX", simple)
	f.add("INBOX", multipart, `\Seen`, "k1")
	f.add("INBOX", hostileMail, "bad(key", "k2\r\n* BYE forged")
	f.add("INBOX", "", `\Deleted`)
	f.add("work", hostileMail)
	f.user.unreadable[5] = errors.New("no key")
	f.add("INBOX", simple)
	return f
}

// play lets a session and a second one run what data makes of the grammar.
func play(t testing.TB, f *fixture, data []byte) {
	m := newMaker(data)
	inbox, err := f.user.Open(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	validity := strconv.FormatUint(uint64(inbox.View().UIDValidity), 10)
	inbox.Close()
	m.rules["validity"] = []string{validity, validity, validity, "0", "4294967295"}
	a, b := &attack{t: t, f: f}, &attack{t: t, f: f}
	b.dial()
	b.say("LOGIN alice secret")
	b.say("SELECT INBOX")
	defer func() {
		if a.nc != nil { // nothing to play
			a.nc.Close()
		}
		b.nc.Close()
	}()
	for !m.done() {
		a.dial()
		for a.n < 200 && !m.done() {
			// Mostly where there is something to be done.
			if !a.known && m.n(4) > 0 {
				a.say([]string{"LOGIN alice secret", "AUTHENTICATE LOGIN", "AUTHENTICATE PLAIN"}[m.n(3)])
			} else if a.known && a.in.messages <= 0 && m.n(4) > 0 {
				b.command([]piece{{text: fmt.Sprintf("APPEND INBOX ~{%d+}", len(hostileMail)), literal: []byte(hostileMail)}, {}})
				a.say([]string{"SELECT INBOX", "SELECT INBOX", "SELECT work", "EXAMINE INBOX", "SELECT INBOX (QRESYNC (" + validity + " 1 1:3 (1 1)))"}[m.n(5)])
			} else {
				a.command(m.command())
			}
			if a.ended {
				break
			}
			if m.n(4) == 0 {
				b.witness(m.n(9))
			}
		}
		if a.n >= 200 {
			break
		}
		a.nc.Close()
	}
	b.witness(0)
}

// witness does something harmless that must succeed.
func (a *attack) witness(k int) {
	if k == 8 {
		a.command([]piece{{text: fmt.Sprintf("APPEND INBOX {%d+}", len(multipart)), literal: []byte(multipart)}, {}})
		k = 0
	}
	line := []string{"NOOP", "STATUS INBOX (MESSAGES)", "FETCH 1:* (UID FLAGS)", "UID STORE 1:* +FLAGS (\\Seen k1)", "UID COPY 1:* INBOX",
		"UID SEARCH ALL", "UID STORE 2 +FLAGS \\Deleted", "EXPUNGE"}[k]
	answer := a.say(line)
	if a.ended {
		// Only where its mailbox was taken away.
		a.nc.Close()
		a.dial()
		a.say("LOGIN alice secret")
		a.say("SELECT INBOX")
		answer = a.say("NOOP")
	}
	if answer == nil || answer.name == "BAD" && !strings.Contains(answer.text, "No messages") && !strings.Contains(answer.text, "No mailbox selected") {
		a.fail("witness: %s: %+v", line, answer)
	}
}

// FuzzSession plays what the octets make of the grammar: each command gets one tagged answer,
// in order, or the connection ends with BYE; no response is malformed; the other session is
// served; nothing is left.
func FuzzSession(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomOctets(seed, 300))
	}
	f.Fuzz(func(t *testing.T, data []byte) { playAlone(t, data[:min(len(data), 2000)]) })
}

func randomOctets(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// playAlone plays against a server of its own and looks for goroutines that stay.
func playAlone(t *testing.T, data []byte) {
	before := runtime.NumGoroutine()
	f := hostileFixture(t)
	play(t, f, data)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := f.srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

// TestRandomSessions plays new sessions at each run. SESSIONS is how many.
func TestRandomSessions(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SESSIONS"))
	first := rand.Uint64()
	if s := os.Getenv("SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
	}
	for k := range uint64(max(n, 30)) {
		t.Run(fmt.Sprintf("SEED=%d", first+k), func(t *testing.T) { playAlone(t, randomOctets(first+k, 1500)) })
		if t.Failed() {
			return
		}
	}
}
