package difftest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// patience is how long an answer may take before a script has failed.
const patience = 20 * time.Second

// quiet ends a "wait". Dovecot gathers changes for half a second before it tells a client in IDLE.
const quiet = 800 * time.Millisecond

// A talk is one connection.
type talk struct {
	w     io.WriteCloser
	in    chan string // whole responses; closed at the end of the connection
	end   func()
	tags  int
	idle  string // the tag of IDLE
	ended bool
}

// newTalk reads responses in the background.
func newTalk(w io.WriteCloser, r io.Reader, end func()) *talk {
	t := &talk{w: w, in: make(chan string, 100), end: end}
	go func() {
		defer close(t.in)
		for br := bufio.NewReader(r); ; {
			resp, err := readResponse(br)
			if err != nil {
				return
			}
			t.in <- resp
		}
	}()
	return t
}

var literalEnd = regexp.MustCompile(`\{([0-9]+)\}\r\n$`)

// readResponse reads a response with its literals.
func readResponse(r *bufio.Reader) (string, error) {
	all := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		all += line
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return all, nil
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return "", err
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		all += string(b)
	}
}

// next returns the next response; ok is false after d or at the connection's end.
func (t *talk) next(d time.Duration) (resp string, ok bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case resp, ok = <-t.in:
		if !ok {
			t.ended = true
		}
		return resp, ok
	case <-timer.C:
		return "", false
	}
}

// close hangs up.
func (t *talk) close() {
	t.w.Close()
	for range t.in { // until the other end has closed as well
	}
	t.end()
}

// What a transcript says where no response came.
const (
	hungUp  = "(connection closed)"
	noReply = "(no answer)"
)

// until gathers responses up to one that is last.
func (t *talk) until(got []string, last func(string) bool) []string {
	for {
		r, ok := t.next(patience)
		switch {
		case !ok && t.ended:
			return append(got, hungUp)
		case !ok:
			return append(got, noReply)
		}
		got = append(got, r)
		if last(r) {
			return got
		}
	}
}

func tagged(tag string) func(string) bool {
	return func(r string) bool { return strings.HasPrefix(r, tag+" ") }
}

// command sends the pieces of a command and returns the responses. Tags begin with "tag".
func (t *talk) command(pieces []piece) (got []string) {
	if t.idle != "" {
		// DONE, or what should have been it.
		tag := t.idle
		t.idle = ""
		if _, err := t.w.Write(pieces[0]); err != nil {
			return append(t.drained(), hungUp)
		}
		return t.until(nil, tagged(tag))
	}
	t.tags++
	tag := "tag" + strconv.Itoa(t.tags)
	idle := len(pieces) == 1 && strings.EqualFold(strings.TrimSpace(string(pieces[0])), "IDLE")
	for i, p := range pieces {
		if i == 0 {
			p = append(piece(tag+" "), p...)
		}
		if _, err := t.w.Write(p); err != nil {
			return append(append(got, t.drained()...), hungUp)
		}
		final := i == len(pieces)-1
		got = t.until(got, func(r string) bool {
			return tagged(tag)(r) || (!final || idle) && strings.HasPrefix(r, "+")
		})
		if last := got[len(got)-1]; !strings.HasPrefix(last, "+") {
			return got
		}
	}
	t.idle = tag
	return got
}

// drained is what came before the connection broke.
func (t *talk) drained() (got []string) {
	for {
		r, ok := t.next(patience)
		if !ok {
			return got
		}
		got = append(got, r)
	}
}

// raw sends bytes and a NOOP, and returns what comes before the reply of the latter.
func (t *talk) raw(b string) []string {
	if _, err := io.WriteString(t.w, b+"sentinel NOOP\r\n"); err != nil {
		return append(t.drained(), hungUp)
	}
	return t.until(nil, tagged("sentinel"))
}

// wait returns what comes unasked.
func (t *talk) wait() (got []string) {
	for {
		d := quiet
		if len(got) == 0 {
			d = 3 * time.Second
		}
		r, ok := t.next(d)
		if !ok {
			return got
		}
		got = append(got, r)
	}
}

// A dialer opens sessions of one server.
type dialer func() (*talk, error)

// dialTheirs starts Dovecot's imap process, logged in.
func (p *place) dialTheirs() (*talk, error) {
	cmd := exec.Command(p.world.doveadm, "-c", p.world.conf(p.config), "exec", "imap")
	if strings.Contains(configs[p.config].dovecot, "imap") { // slower, but it reads settings of imap
		cmd = exec.Command(p.world.imap, "-c", p.world.conf(p.config))
	}
	cmd.Env = append(os.Environ(), "USER=mail", "HOME="+p.theirs, "TZ=UTC")
	cmd.Dir = p.theirs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait closes one of cmd's though it may not have been read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	log, err := os.OpenFile(filepath.Join(p.world.dir, "dovecot.err"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	err = cmd.Start()
	w.Close()
	log.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	killer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	t := newTalk(in, r, func() {
		killer.Stop()
		cmd.Wait()
		r.Close()
	})
	if hello, ok := t.next(patience); !ok || !strings.HasPrefix(hello, "* PREAUTH ") {
		t.close()
		return nil, fmt.Errorf("Dovecot did not start: %q", hello)
	}
	return t, nil
}

// dialOurs connects and logs in.
func (p *place) dialOurs() (*talk, error) {
	nc, err := net.Dial("tcp", p.world.addr)
	if err != nil {
		return nil, err
	}
	t := newTalk(nc, nc, func() {})
	io.WriteString(nc, "login LOGIN "+p.user+" secret\r\n")
	got := t.until(nil, tagged("login"))
	if last := got[len(got)-1]; !strings.HasPrefix(last, "login OK ") {
		t.close()
		return nil, fmt.Errorf("login: %q", got)
	}
	return t, nil
}
