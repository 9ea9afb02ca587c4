package acceptance

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxMemory is what the daemon may ever have had in memory during these tests, in KiB.
const maxMemory = 300 << 10

// hostileLimit is the largest message that the daemon of these tests takes.
const hostileLimit = 24 << 20

// A probe is what a hostile or broken client sends, and what may come back. After it the
// connection must answer a NOOP or be closed.
type probe struct {
	name, send string
	want       string // a regular expression that the answer matches
	not        string // and one that it does not
}

// hostileDaemon is a daemon with three users: u has Maildir++, f nested directories, and
// nobody has logged in as late, who has no keys therefore.
func hostileDaemon(t *testing.T) *daemon {
	t.Helper()
	const opts = "mail_crypt_save_version=2 mail_crypt_private_password=sesame"
	s := setup{
		dir: scratch(t),
		users: "u:{PLAIN}pass::::::" + opts + "\n" +
			"f:{PLAIN}pass::::::userdb_mail=maildir:~/Maildir:LAYOUT=fs " + opts + "\n" +
			"late:{PLAIN}pass::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nseal_rounds = 100\nprivate_password = \"%{password}\"\n",
	}
	d := s.configure(t)
	b, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), `message_size_limit = "100M"`, fmt.Sprintf(`message_size_limit = "%dM"`, hostileLimit>>20), 1)
	text = strings.Replace(text, "[lmtp]\nlisten = [", fmt.Sprintf("[lmtp]\nlisten = [%q, ", "unix:"+d.socket()), 1)
	text = strings.Replace(text, "[imap]\n", "[imap]\nmail_max_userip_connections = 100\n", 1)
	writeFile(t, d.config, text)
	d.start(t)
	c := login(t, d.imap, "u", "pass")
	if a := c.appendMail("INBOX", `(\Seen)`, mail("first", 3000)); !a.ok() {
		t.Fatal(a.tagged)
	}
	c.close()
	return d
}

func (d *daemon) socket() string { return filepath.Join(d.dir, "lmtp.sock") }

// memory is the most that the daemon ever had in memory, in KiB.
func (d *daemon) memory(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatal("no VmHWM in /proc/PID/status")
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// unharmed checks what no client may bring about, and that the daemon serves on.
func (d *daemon) unharmed(t *testing.T) {
	t.Helper()
	if kb := d.memory(t); kb > maxMemory {
		t.Errorf("the daemon has needed %d MB", kb>>10)
	} else {
		t.Logf("most memory: %d MB", kb>>10)
	}
	for _, line := range strings.Split(d.log.String(), "\n") {
		if strings.Contains(line, "panic") || strings.Contains(line, "level=ERROR") {
			t.Errorf("in the log: %s", line)
		}
	}
	ok := map[string]bool{"u": true, "f": true, "late": true, "state": true, "users": true, "mailcryptd.toml": true,
		"cert.pem": true, "key.pem": true, "lmtp.sock": true}
	entries, _ := os.ReadDir(d.dir)
	for _, e := range entries {
		if !ok[e.Name()] {
			t.Errorf("%s was made outside of the users' homes", e.Name())
		}
	}
	d.noLeftovers(t)
	c := login(t, d.imap, "u", "pass")
	defer c.close()
	if f := c.fetchAll("INBOX")[1]; !bytes.Equal(f.body, mail("first", 3000)) {
		t.Error("the first message is not what it was")
	}
}

// noLeftovers wants every tmp directory empty but for locks that are not held, once what was
// cut off has been noticed.
func (d *daemon) noLeftovers(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left []string
		filepath.WalkDir(d.dir, func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && filepath.Base(filepath.Dir(p)) == "tmp" && !strings.HasSuffix(p, ".lock") {
				left = append(left, p)
			}
			return nil
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("left in tmp directories: %q", left)
			return
		}
	}
}

// A witness is a client that works all the time, and must not notice anything.
type witness struct {
	rounds atomic.Int64
	stop   chan struct{}
	done   sync.WaitGroup
}

func (d *daemon) witness(t *testing.T) *witness {
	w := &witness{stop: make(chan struct{})}
	c := login(t, d.imap, "u", "pass")
	want := mail("first", 3000)
	c.do("EXAMINE INBOX")
	w.done.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			a, err := c.try("UID FETCH 1 (BODY.PEEK[])")
			if err != nil || !a.ok() || !bytes.Equal(a.fetches()[1].body, want) {
				t.Errorf("another session is disturbed: %v %s", err, a.tagged)
				return
			}
			w.rounds.Add(1)
		}
	})
	t.Cleanup(func() {
		close(w.stop)
		w.done.Wait()
		if w.rounds.Load() == 0 {
			t.Error("the other session never got an answer")
		}
	})
	return w
}

// dialProbe connects, with TLS or without, and reads the greeting.
func dialProbe(t *testing.T, d *daemon, withTLS bool) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if withTLS {
		c, err = tls.Dial("tcp", d.imaps, &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", d.imap)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// talk sends everything, then a NOOP, and returns what came back before its answer or the
// end of the connection.
func talk(c net.Conn, r *bufio.Reader, send string) (string, error) {
	go func() { io.WriteString(c, send+"\r\nzz NOOP\r\n") }() // the server may hang up in the middle
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		if all.Len() < 1<<20 {
			all.WriteString(line)
		}
		if strings.HasPrefix(line, "zz ") || strings.HasPrefix(line, "* BYE") {
			return all.String(), nil
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			return all.String(), err
		}
		if err != nil {
			return all.String(), nil
		}
	}
}

func (p *probe) check(t *testing.T, got string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v after %q", p.name, err, tail(got, 500))
	}
	if !regexp.MustCompile(`(?s)` + p.want).MatchString(got) {
		t.Errorf("%s: answer %q; want %q", p.name, tail(got, 500), p.want)
	}
	if p.not != "" && regexp.MustCompile(`(?s)`+p.not).MatchString(got) {
		t.Errorf("%s: answer %q has %q", p.name, tail(got, 500), p.not)
	}
}

// runProbes gives each probe a connection of its own, many at a time: most of them wait
// for the answer to a wrong password.
func runProbes(t *testing.T, probes []probe, connect func(*testing.T) (net.Conn, *bufio.Reader)) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 40)
	for _, p := range probes {
		slots <- struct{}{}
		c, r := connect(t)
		wg.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			got, err := talk(c, r, p.send)
			p.check(t, got, err)
		})
	}
	wg.Wait()
}

var manyLiterals = "a LOGIN " + strings.Repeat("{1000+}\r\n"+strings.Repeat("x", 1000)+" ", 500)

// beforeLogin are probes of somebody who has no account.
var beforeLogin = []probe{
	{"8 MB line", strings.Repeat("A", 8<<20), `^\* OK .*\* BYE`, ""},
	{"8 MB command", "a LOGIN u " + strings.Repeat("A", 8<<20), `\* BYE`, ""},
	{"a million parentheses", "a ID " + strings.Repeat("(", 1e6), `\* BYE|a BAD`, ""},
	{"60,000 parentheses", "a ID " + strings.Repeat("(", 60_000), `a BAD.*zz OK`, ""},
	{"ID with 20,000 fields", "a ID (" + strings.TrimSpace(strings.Repeat("NIL ", 15_000)) + ")", `a BAD.*zz OK`, ""},
	{"literal of 4 GiB", "a LOGIN {4294967295}", `a BAD.*zz OK`, `\n\+`},
	{"literal of 2^80", "a LOGIN {1208925819614629174706176}", `a BAD.*zz OK`, `\n\+`},
	{"literal of -1", "a LOGIN {-1}", `a BAD.*zz OK`, `\n\+`},
	{"literal of 1x", "a LOGIN {1x}", `a BAD.*zz OK`, `\n\+`},
	{"literal of nothing", "a LOGIN {}", `a BAD.*zz OK`, `\n\+`},
	{"literal with a sign", "a LOGIN {+1}", `a BAD.*zz OK`, `\n\+`},
	{"unasked literal of 4 GiB", "a LOGIN {4294967295+}", `\* BYE`, `\n\+|zz `},
	{"unasked literal of nonsense", "a LOGIN {x+}", `\* BYE|a BAD`, `zz OK`},
	{"unasked literal refused", "a NOOP {18+}\r\nb LOGIN \"u\" \"pass\"", `a BAD.*zz OK`, `b (OK|NO)`},
	{"500 literals", manyLiterals, `a BAD|\* BYE`, `a OK`},
	{"NUL in a line", "a NO\x00OP\r\nb LOGIN u\x00 pass", `a BAD.*b BAD.*zz OK`, ""},
	{"NUL in a literal", "a LOGIN {3+}\r\nu\x00x pass", `a BAD.*zz OK`, ""},
	{"SELECT", "a SELECT INBOX\r\nb UID FETCH 1 ALL\r\nc IDLE\r\nd APPEND INBOX {5+}\r\nhello", `a BAD.*b BAD.*c BAD.*d BAD.*zz OK`, `\n\+`},
	{"bad tags", "+ NOOP\r\n( NOOP\r\n\r\n NOOP\r\n* NOOP\r\n\"a\" NOOP\r\na", `(\* BAD.*){5}a BAD.*zz OK`, ""},
	{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nAccept: */*\r\nA: b\r\nC: d\r\nE: f\r\nG: h\r\nI: j\r\nK: l\r\n\r\n", `BAD.*\* BYE`, `zz OK`},
	{"bad base64", "a AUTHENTICATE PLAIN !!!!", `a BAD.*zz OK`, ""},
	{"base64 with a tail", "a AUTHENTICATE PLAIN AHUAcGFzcwB=", `a (BAD|NO).*zz OK`, ""},
	{"base64 cut off", "a AUTHENTICATE PLAIN AHUAcGF", `a BAD.*zz OK`, ""},
	{"empty response", "a AUTHENTICATE PLAIN =", `a (BAD|NO).*zz OK`, ""},
	{"four parts", "a AUTHENTICATE PLAIN AHUAcGFzcwB4", `a (BAD|NO).*zz OK`, ""},
	{"one part", "a AUTHENTICATE PLAIN dQ==", `a (BAD|NO).*zz OK`, ""},
	{"for somebody else", "a AUTHENTICATE PLAIN ZgB1AHBhc3M=", `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"cancelled", "a AUTHENTICATE PLAIN\r\n*", `\+ \r\n.*a BAD.*zz OK`, ""},
	{"256 kB of response", "a AUTHENTICATE PLAIN " + strings.Repeat("AAAA", 64<<10), `\* BYE`, `a OK`},
	{"256 kB after the challenge", "a AUTHENTICATE PLAIN\r\n" + strings.Repeat("AAAA", 64<<10), `\* BYE`, `a OK`},
	{"unknown mechanism", "a AUTHENTICATE X-NONE\r\nb AUTHENTICATE", `a NO.*b BAD.*zz OK`, ""},
	{"commands that are not there", "a COMPRESS DEFLATE\r\nb XEXEC ls\r\nc UID LOGIN u pass", `a BAD.*b BAD.*c BAD.*zz OK`, ""},
	{"path as user", `a LOGIN "../u" pass`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"absolute path as user", `a LOGIN "/etc/passwd" pass`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"variable as user", `a LOGIN "%{password}" pass`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"variables as user", `a LOGIN "%u%u%u" "%w"`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"dots as user", `a LOGIN ".." pass`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"colon as user", `a LOGIN "u:{PLAIN}pass" pass`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"nobody", `a LOGIN "" ""`, `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"2,000 characters as user", "a LOGIN " + strings.Repeat("u", 2000) + " pass", `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"bad UTF-8 as user", "a LOGIN {2+}\r\n\xff\xfe pass", `a (NO \[AUTHENTICATIONFAILED\]|BAD).*zz OK`, ""},
	{"line end as user", "a LOGIN {3+}\r\nu\r\n pass", `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
	{"wrong password", "a LOGIN u wrong", `a NO \[AUTHENTICATIONFAILED\].*zz OK`, ""},
}

// TestHostileBeforeLogin is what the whole world can send.
func TestHostileBeforeLogin(t *testing.T) {
	t.Parallel()
	d := hostileDaemon(t)
	d.witness(t)
	t.Run("probes", func(t *testing.T) {
		for _, withTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("tls=%v", withTLS), func(t *testing.T) {
				t.Parallel()
				runProbes(t, beforeLogin, func(t *testing.T) (net.Conn, *bufio.Reader) {
					c := dialProbe(t, d, withTLS)
					return c, bufio.NewReader(c)
				})
			})
		}
		t.Run("TLS on the plain port", func(t *testing.T) {
			t.Parallel()
			c := dialProbe(t, d, false)
			r := bufio.NewReader(c)
			r.ReadString('\n')
			hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, bytes.Repeat([]byte{'\n', 0, 0x81}, 300)...)
			got, err := talk(c, r, string(hello))
			(&probe{want: `\* BYE|BAD`}).check(t, got, err)
		})
		t.Run("plain text on the TLS port", func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", d.imaps)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(60 * time.Second))
			io.WriteString(c, "a LOGIN u pass\r\n")
			if b, _ := io.ReadAll(c); bytes.Contains(b, []byte("OK")) {
				t.Errorf("answered in clear: %q", b)
			}
		})
		t.Run("commands before the handshake", func(t *testing.T) {
			t.Parallel()
			startTLSInjection(t, dialProbe(t, d, false))
		})
		t.Run("500 connections", func(t *testing.T) {
			t.Parallel()
			manyConnections(t, d)
		})
		t.Run("half a command", func(t *testing.T) {
			t.Parallel()
			for _, s := range []string{"a", "a LOGIN u", "a LOGIN {10}\r\n", "a LOGIN {10+}\r\nxx", "a AUTHENTICATE PLAIN\r\nAAA"} {
				c := dialProbe(t, d, false)
				io.WriteString(c, s)
				c.Close()
			}
		})
	})
	d.unharmed(t)
}

// startTLSInjection sends commands behind STARTTLS that must not run after the handshake
// (CVE-2021-33515).
func startTLSInjection(t *testing.T, c net.Conn) {
	r := bufio.NewReader(c)
	io.WriteString(c, "a STARTTLS\r\nb NOOP\r\nb LOGIN u pass\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "a OK") {
			break
		}
	}
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	r = bufio.NewReader(tc)
	io.WriteString(tc, "c CAPABILITY\r\nd LOGIN u pass\r\n")
	var all string
	for !strings.Contains(all, "\nd ") {
		line, err := r.ReadString('\n')
		if all += line; err != nil {
			t.Fatalf("%v after %q", err, all)
		}
	}
	(&probe{want: `AUTH=PLAIN.*c OK.*d OK`, not: `(?m)^b |STARTTLS|\* BYE`}).check(t, all, nil)
}

// manyConnections holds connections that say nothing while somebody else logs in.
func manyConnections(t *testing.T, d *daemon) {
	for i := range 500 {
		c, err := net.Dial("tcp", d.imap)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "a LOGIN {60000}\r\n") // asked for, never sent
		}
	}
	c := login(t, d.imap, "u", "pass")
	if a := c.do("EXAMINE INBOX"); !a.ok() {
		t.Error(a.tagged)
	}
	c.close()
}
