package acceptance

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An imapConn is a client that sees the bytes: nothing between it and the server hides a
// fault.
type imapConn struct {
	t   testing.TB
	c   net.Conn
	r   *bufio.Reader
	tag int
}

// An untagged response: its text, with each literal replaced by its {n}, and the literals.
type untagged struct {
	line     string
	literals [][]byte
}

// An answer is what came back for one command.
type answer struct {
	untagged []untagged
	tagged   string // "OK …"
}

func (a answer) ok() bool { return strings.HasPrefix(a.tagged, "OK") }

func dialIMAP(t testing.TB, address string) *imapConn {
	t.Helper()
	c, err := tryIMAP(t, address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryIMAP(t testing.TB, address string) (*imapConn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	i := &imapConn{t: t, c: c, r: bufio.NewReaderSize(c, 64<<10)}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := i.r.ReadString('\n'); err != nil {
		return nil, err
	}
	return i, nil
}

// login connects and logs in.
func login(t testing.TB, address, user, password string) *imapConn {
	t.Helper()
	i := dialIMAP(t, address)
	if a := i.do("LOGIN %s %s", quote(user), quote(password)); !a.ok() {
		t.Fatalf("LOGIN %s: %s", user, a.tagged)
	}
	return i
}

// close logs out and waits until the server has ended the session.
func (i *imapConn) close() {
	i.try("LOGOUT")
	io.Copy(io.Discard, i.r)
	i.c.Close()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// readOne reads one response with its literals.
func (i *imapConn) readOne() (untagged, error) {
	var u untagged
	for {
		line, err := i.r.ReadString('\n')
		if err != nil {
			return u, err
		}
		m := literalEnd.FindStringSubmatch(line)
		u.line += strings.TrimSuffix(line, "\r\n")
		if m == nil {
			return u, nil
		}
		n, _ := strconv.Atoi(m[1])
		b := make([]byte, n)
		if _, err := io.ReadFull(i.r, b); err != nil {
			return u, err
		}
		u.literals = append(u.literals, b)
	}
}

// do sends a command and reads its whole answer; a lost connection fails the test.
func (i *imapConn) do(format string, args ...any) answer {
	i.t.Helper()
	a, err := i.try(format, args...)
	if err != nil {
		i.t.Fatalf("%s: %v", format, err)
	}
	return a
}

func (i *imapConn) try(format string, args ...any) (answer, error) {
	i.c.SetDeadline(time.Now().Add(120 * time.Second))
	i.tag++
	if _, err := fmt.Fprintf(i.c, "a%d %s\r\n", i.tag, fmt.Sprintf(format, args...)); err != nil {
		return answer{}, err
	}
	return i.finish()
}

func (i *imapConn) finish() (answer, error) {
	var a answer
	prefix := fmt.Sprintf("a%d ", i.tag)
	for {
		u, err := i.readOne()
		if err != nil {
			return a, err
		}
		if rest, ok := strings.CutPrefix(u.line, prefix); ok {
			a.tagged = rest
			return a, nil
		}
		a.untagged = append(a.untagged, u)
	}
}

// appendMail appends a message by a synchronising literal.
func (i *imapConn) appendMail(mailbox, flags string, message []byte) answer {
	i.t.Helper()
	a, err := i.tryAppend(mailbox, flags, message)
	if err != nil {
		i.t.Fatalf("APPEND %s: %v", mailbox, err)
	}
	return a
}

func (i *imapConn) tryAppend(mailbox, flags string, message []byte) (answer, error) {
	i.c.SetDeadline(time.Now().Add(120 * time.Second))
	i.tag++
	if flags != "" {
		flags += " "
	}
	fmt.Fprintf(i.c, "a%d APPEND %s %s{%d}\r\n", i.tag, quote(mailbox), flags, len(message))
	for {
		line, err := i.r.ReadString('\n')
		if err != nil {
			return answer{}, err
		}
		if strings.HasPrefix(line, "+") {
			break
		}
		if rest, ok := strings.CutPrefix(line, fmt.Sprintf("a%d ", i.tag)); ok {
			return answer{tagged: strings.TrimSpace(rest)}, nil
		}
	}
	if _, err := i.c.Write(append(message[:len(message):len(message)], "\r\n"...)); err != nil {
		return answer{}, err
	}
	return i.finish()
}

// A fetched message is one FETCH response, taken apart.
type fetched struct {
	uid      int
	flags    []string
	date     string
	size     int
	body     []byte // nil where it was left out
	haveBody bool
}

var (
	fetchLine = regexp.MustCompile(`^\* \d+ FETCH \((.*)\)$`)
	uidItem   = regexp.MustCompile(`\bUID (\d+)`)
	flagsItem = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	dateItem  = regexp.MustCompile(`INTERNALDATE "([^"]*)"`)
	sizeItem  = regexp.MustCompile(`RFC822\.SIZE (\d+)`)
	bodyItem  = regexp.MustCompile(`BODY\[\] (\{\d+\}|NIL|"")`)
)

// fetches takes the FETCH responses of an answer apart, by UID.
func (a answer) fetches() map[int]fetched {
	m := map[int]fetched{}
	for _, u := range a.untagged {
		l := fetchLine.FindStringSubmatch(u.line)
		if l == nil {
			continue
		}
		var f fetched
		if x := uidItem.FindStringSubmatch(l[1]); x != nil {
			f.uid, _ = strconv.Atoi(x[1])
		}
		if x := flagsItem.FindStringSubmatch(l[1]); x != nil {
			f.flags = strings.Fields(x[1])
		}
		if x := dateItem.FindStringSubmatch(l[1]); x != nil {
			f.date = x[1]
		}
		if x := sizeItem.FindStringSubmatch(l[1]); x != nil {
			f.size, _ = strconv.Atoi(x[1])
		}
		if x := bodyItem.FindStringSubmatch(l[1]); x != nil {
			f.haveBody = true
			f.body = []byte{}
			if len(u.literals) > 0 {
				f.body = u.literals[len(u.literals)-1]
			}
		}
		old := m[f.uid]
		if old.haveBody && !f.haveBody {
			f.body, f.haveBody = old.body, true
		}
		m[f.uid] = f
	}
	return m
}

func sha(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// fetchAll reads every message of a mailbox.
func (i *imapConn) fetchAll(mailbox string) map[int]fetched {
	i.t.Helper()
	if a := i.do("EXAMINE %s", quote(mailbox)); !a.ok() {
		i.t.Fatalf("EXAMINE %s: %s", mailbox, a.tagged)
	}
	a := i.do("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
	if !a.ok() {
		i.t.Fatalf("FETCH in %s: %s", mailbox, a.tagged)
	}
	return a.fetches()
}

// deliverLMTP sends one message and returns the reply for each recipient.
func deliverLMTP(address, from string, to []string, message []byte) ([]string, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(120 * time.Second))
	r := bufio.NewReader(c)
	reply := func() (string, error) {
		var all string
		for {
			line, err := r.ReadString('\n')
			all += line
			if err != nil || len(line) < 4 || line[3] != '-' {
				return strings.TrimSpace(all), err
			}
		}
	}
	if _, err := reply(); err != nil {
		return nil, err
	}
	send := func(s string) (string, error) {
		if _, err := io.WriteString(c, s+"\r\n"); err != nil {
			return "", err
		}
		return reply()
	}
	if _, err := send("LHLO test"); err != nil {
		return nil, err
	}
	if _, err := send("MAIL FROM:<" + from + ">"); err != nil {
		return nil, err
	}
	replies := make([]string, len(to))
	var accepted []int
	for n, rcpt := range to {
		if replies[n], err = send("RCPT TO:<" + rcpt + ">"); err != nil {
			return nil, err
		}
		if strings.HasPrefix(replies[n], "2") {
			accepted = append(accepted, n)
		}
	}
	if len(accepted) == 0 {
		return replies, nil
	}
	if s, err := send("DATA"); err != nil || !strings.HasPrefix(s, "354") {
		return nil, fmt.Errorf("DATA: %s %v", s, err)
	}
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), message...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, "\r\n"...)
	}
	if _, err := c.Write(append(stuffed, ".\r\n"...)); err != nil {
		return nil, err
	}
	for _, n := range accepted {
		if replies[n], err = reply(); err != nil {
			return replies, err
		}
	}
	return replies, nil
}
