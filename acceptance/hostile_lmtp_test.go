package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// lmtpProbes are what a broken relay or another process of the host can send after the
// greeting. The answers are joined, one reply code a line; none may follow that want does
// not name. Each ends in QUIT.
var lmtpProbes = []struct {
	name, send string
	want       string // of the reply codes
	stored     int    // messages for u that this must add
}{
	{"order", "RCPT TO:<u>\nDATA\nMAIL FROM:<a@b>\nLHLO x\nRCPT TO:<u>\nDATA\n", `(503 ?|502 ?){2}50[23] 250 50[23] 50[23] 221`, 0},
	{"EHLO and HELO", "EHLO x\nHELO x\nNOOP\n", `500 500 250 221|50\d 50\d 250 221`, 0},
	{"MAIL in a transaction", "LHLO x\nMAIL FROM:<a@b>\nMAIL FROM:<c@d>\n", `250 250 503 221`, 0},
	{"no recipient", "LHLO x\nMAIL FROM:<a@b>\nDATA\n", `250 250 50[234] 221`, 0},
	{"empty recipients", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<>\nRCPT TO:<\"\">\nRCPT TO:<\"\"@b>\nRCPT TO:<@>\nRCPT TO:\nRCPT\nRCPT TO:u\n", `250 250 (5\d\d ){7}221`, 0},
	{"paths as recipients", "LHLO x\nMAIL FROM:<>\nRCPT TO:<../u>\nRCPT TO:</etc/passwd>\nRCPT TO:<..>\nRCPT TO:<%{password}>\nRCPT TO:<%u>\nRCPT TO:<u:x>\nRCPT TO:<\"u\\\n", `250 250 (5\d\d ){7}221`, 0},
	{"long recipient", "LHLO x\nMAIL FROM:<>\nRCPT TO:<" + strings.Repeat("u", 2500) + ">\nRCPT TO:<" + strings.Repeat("u", 60_000) + ">\nRCPT TO:<u>\n", `250 250 5\d\d 500 250 221`, 0},
	{"8 MB line", "LHLO " + strings.Repeat("x", 8<<20) + "\n", `(500 )?(500|421|)`, 0},
	{"8 MB RCPT", "LHLO x\nMAIL FROM:<>\nRCPT TO:<" + strings.Repeat("x", 8<<20) + ">\n", `250 250 (500|421|)`, 0},
	{"NUL in a command", "LHLO x\nMAIL FROM:<a\x00b@c>\nRCPT TO:<u\x00>\nNO\x00OP\n", `250 (250|5\d\d) (250|5\d\d) 5\d\d 221`, 0},
	{"unknown commands", strings.Repeat("XXXX\n", 5), `5\d\d( 5\d\d){2,5}( 421| 221)?`, 0},
	{"HTTP", "GET / HTTP/1.1\nHost: x\n\n", `(5\d\d ){2,}.*`, 0},
	{"VRFY and EXPN", "LHLO x\nVRFY u\nEXPN u\nHELP\nXCLIENT ADDR=1.2.3.4\n", `250 252 5\d\d (5\d\d|214) 5\d\d 221|250 5\d\d 5\d\d (5\d\d|214) 5\d\d 221`, 0},
	{"SIZE over the limit", fmt.Sprintf("LHLO x\nMAIL FROM:<a@b> SIZE=%d\nMAIL FROM:<a@b> SIZE=99999999999999999999\nMAIL FROM:<a@b> SIZE=-1\nMAIL FROM:<a@b> SIZE=x\n", hostileLimit+1), `250 552 552 5\d\d 5\d\d 221`, 0},
	{"unknown parameters", "LHLO x\nMAIL FROM:<a@b> X=1\nMAIL FROM:<a@b> BODY=9BIT\nMAIL FROM:<a@b>\nRCPT TO:<u> X=1\n", `250 5\d\d 5\d\d 250 5\d\d 221`, 0},
	{"8 bit unannounced", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nDATA\nSubject: \xff\xe4\x00\n\n\xff\x00\n.\n", `250 250 250 354 250 221`, 1},
	{"the same recipient twice", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nRCPT TO:<u>\nDATA\nSubject: x\n\n.\n", `250 250 250 250 354 250 250 221`, 2},
	{"one unknown", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nRCPT TO:<nobody>\nRCPT TO:<f>\nDATA\nSubject: x\n\n.\n", `250 250 250 550 250 354 250 250 221`, 1},
	{"one without keys", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<late>\nRCPT TO:<u>\nDATA\nSubject: x\n\n.\n", `250 250 (250 250 354 451 250|451 250 354 250) 221`, 1},
	{"only one without keys", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<late>\nDATA\nSubject: x\n\n.\n", `250 250 (250 354 451|451 50[234] .*) 221`, 0},
	{"RSET", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nRSET\nDATA\nMAIL FROM:<a@b>\nRSET\n", `250 250 250 250 50[234] 250 250 221`, 0},
	{"empty message", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nDATA\n.\n", `250 250 250 354 250 221`, 1},
	{"two messages", strings.Repeat("LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nDATA\nSubject: x\n\n.\n", 2), `(250 250 250 354 250 ){2}221`, 2},
	{"BDAT", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nBDAT 8\nSubject:BDAT 5 LAST\nx\n\n\n", `250 250 250 250 250 .*`, 1},
	{"BDAT of nonsense", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nBDAT -1\n", `250 250 250 5\d\d.*`, 0},
	{"BDAT of 2^64", "LHLO x\nMAIL FROM:<a@b>\nRCPT TO:<u>\nBDAT 18446744073709551616 LAST\nQUIT\n", `250 250 250 5\d\d.*`, 0},
	{"BDAT without recipients", "LHLO x\nMAIL FROM:<a@b>\nBDAT 6 LAST\nRSET\r\nNOOP\n", `250 250 5\d\d.*`, 0},
}

// smuggled are ends of data that are none (SMTP smuggling, 2023): what follows them is
// text of the message.
var smuggled = []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\n\n.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n"}

// TestHostileLMTP talks to both kinds of listener.
func TestHostileLMTP(t *testing.T) {
	t.Parallel()
	d := hostileDaemon(t)
	d.witness(t)
	for _, network := range []string{"tcp", "unix"} {
		address := d.lmtp
		if network == "unix" {
			address = d.socket()
		}
		dial := func(t *testing.T) net.Conn {
			t.Helper()
			c, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(60 * time.Second))
			return c
		}
		t.Run(network, func(t *testing.T) {
			for _, p := range lmtpProbes {
				t.Run(p.name, func(t *testing.T) {
					before := d.delivered(t)
					codes, all := lmtpTalk(dial(t), strings.ReplaceAll(p.send, "\n", "\r\n"))
					if !regexp.MustCompile(`^220 (` + p.want + `)$`).MatchString(codes) {
						t.Errorf("answers %s; want 220 %s: %q", codes, p.want, tail(all, 1000))
					}
					if n := d.delivered(t) - before; n != p.stored {
						t.Errorf("%d messages were stored, want %d", n, p.stored)
					}
				})
			}
			t.Run("false ends of data", func(t *testing.T) { smuggle(t, d, dial) })
			t.Run("cut off", func(t *testing.T) { cutDeliveries(t, d, dial) })
			t.Run("too large", func(t *testing.T) { tooLarge(t, d, dial) })
			t.Run("5,000 recipients", func(t *testing.T) {
				codes, _ := lmtpTalk(dial(t), "LHLO x\r\nMAIL FROM:<a@b>\r\n"+strings.Repeat("RCPT TO:<u>\r\n", 5000))
				if n := strings.Count(codes, "452 "); !strings.HasPrefix(codes, "220 250 250 250 ") || n < 4000 {
					t.Errorf("%d recipients were refused: %s", n, tail(codes, 200))
				}
			})
			t.Run("100,000 header fields", func(t *testing.T) {
				m := []byte(strings.Repeat("X-A: b\r\n", 100_000) + "\r\nbody\r\n")
				codes, _ := lmtpTalk(dial(t), "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u>\r\nDATA\r\n"+string(m)+".\r\n")
				if !regexp.MustCompile(`^220 250 250 250 354 (250|5\d\d) 221 ?$`).MatchString(codes) {
					t.Errorf("answers %s", codes)
				}
			})
		})
	}
	t.Run("200 connections", func(t *testing.T) {
		for i := range 200 {
			c, err := net.Dial("tcp", d.lmtp)
			if err != nil {
				t.Fatal(i, err)
			}
			defer c.Close()
			io.WriteString(c, "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u>\r\nDATA\r\nhalf a li")
		}
		replies, err := deliverLMTP(d.lmtp, "a@b", []string{"u"}, mail("in between", 1000))
		if err != nil || !strings.HasPrefix(replies[0], "250") {
			t.Error(replies, err)
		}
	})
	d.noLeftovers(t)
	d.unharmed(t)
}

// delivered is how many messages lie in the INBOX of u.
func (d *daemon) delivered(t *testing.T) int {
	t.Helper()
	n := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(d.dir, "u/Maildir", sub))
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

// lmtpTalk sends everything and QUIT, and returns the reply codes, and all the text.
func lmtpTalk(c net.Conn, send string) (codes, all string) {
	defer c.Close()
	go func() { io.WriteString(c, send+"QUIT\r\n") }()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		all += line
		if len(line) > 3 && line[3] != '-' {
			codes += line[:3] + " "
		}
		if err != nil {
			return strings.TrimSpace(codes), all
		}
	}
}

// smuggle puts a second transaction behind each false end of data. One message must come
// of it, which has all the text.
func smuggle(t *testing.T, d *daemon, dial func(*testing.T) net.Conn) {
	for _, end := range smuggled {
		before := d.delivered(t)
		codes, all := lmtpTalk(dial(t), "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u>\r\nDATA\r\nSubject: outer\r\n\r\ntext"+end+
			"MAIL FROM:<evil@b>\r\nRCPT TO:<u>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n")
		if codes != "220 250 250 250 354 250 221" && !regexp.MustCompile(`^220 250 250 250 354 5\d\d( 221)?$`).MatchString(codes) {
			t.Errorf("%q: answers %s: %s", end, codes, tail(all, 500))
		}
		if n := d.delivered(t) - before; n > 1 || strings.Contains(codes, "354 250") && n != 1 {
			t.Errorf("%q ends the data: %d messages", end, n)
		}
	}
}

// cutDeliveries leaves in the middle of DATA and of BDAT: nothing is stored, nor left.
func cutDeliveries(t *testing.T, d *daemon, dial func(*testing.T) net.Conn) {
	before := d.delivered(t)
	m := mail("cut", 300_000)
	var wg sync.WaitGroup
	for i := range 12 {
		c := dial(t)
		wg.Go(func() {
			defer c.Close()
			io.WriteString(c, "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u>\r\nRCPT TO:<f>\r\n")
			switch part := m[:len(m)*(i/3)/4]; i % 3 {
			case 0:
				fmt.Fprintf(c, "DATA\r\n%s\r\n.\r", part)
			case 1:
				fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(m), part)
			case 2: // a whole chunk, but not the last
				fmt.Fprintf(c, "BDAT %d\r\n%s", len(part), part)
			}
			if h, ok := c.(interface{ CloseWrite() error }); ok {
				h.CloseWrite()
			}
			io.Copy(io.Discard, c)
		})
	}
	wg.Wait()
	d.noLeftovers(t)
	if n := d.delivered(t) - before; n != 0 {
		t.Errorf("%d messages of cut deliveries were stored", n)
	}
}

// tooLarge sends more than the limit without announcing it: a permanent refusal for each
// recipient once all is there, and the connection goes on.
func tooLarge(t *testing.T, d *daemon, dial func(*testing.T) net.Conn) {
	before := d.delivered(t)
	line := append(bytes.Repeat([]byte{'x'}, 998), "\r\n"...)
	m := bytes.Repeat(line, hostileLimit/len(line)+2)
	codes, all := lmtpTalk(dial(t), "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u>\r\nRCPT TO:<f>\r\nDATA\r\n"+string(m)+".\r\nNOOP\r\n")
	if codes != "220 250 250 250 250 354 552 552 250 221" {
		t.Errorf("answers %s: %s", codes, tail(all, 500))
	}
	if n := d.delivered(t) - before; n != 0 {
		t.Errorf("%d messages above the limit were stored", n)
	}
}
