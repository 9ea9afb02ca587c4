package lmtpd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// TestTraceAsDovecot compares with the fields of a message that Dovecot 2.3.19.1 took
// for one recipient.
func TestTraceAsDovecot(t *testing.T) {
	want, err := os.ReadFile("testdata/dovecot-trace.txt")
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
	when, err := time.Parse(time.RFC1123Z, "Sun, 22 Nov 2026 01:02:49 +0000")
	if err != nil {
		t.Fatal(err)
	}
	s := &session{srv: NewServer(Options{Users: &fakeUsers{}, Hostname: "host.example"})}
	a, b := net.Pipe()
	defer b.Close()
	s.wire = newWire(s.srv, tcpConn{a})
	r := &recipient{address: "carl@x", id: "76cGITY/AmsnXAAAg+zDdQ"}
	got := s.trace(&transaction{helo: "client.example"}, r, when)
	if string(got) != strings.ReplaceAll(string(want), "\n", "\r\n") {
		t.Errorf("trace fields\n%swant\n%s", got, want)
	}
}

// tcpConn is a pipe that says it is a TCP connection.
type tcpConn struct{ net.Conn }

func (tcpConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func TestTraceNoInjection(t *testing.T) {
	_, users, dial := serve(t, "unix", Options{})
	c := dial()
	c.want("220 ")
	c.do("LHLO (comment)\tx", "250-")
	c.do(`MAIL FROM:<"a b"@x>`, "250 ")
	c.do(`RCPT TO:<"to\"q"@x>`, "250 ")
	c.do("DATA", "354 ")
	c.send("x\r\n.\r\n")
	c.want("250 ")
	m := users.messages(`to"q`)
	if len(m) != 1 {
		t.Fatalf("saved %d", len(m))
	}
	for _, want := range []string{"Return-Path: <\"a b\"@x>\r\n", "Delivered-To: \"to\\\"q\"@x\r\n", "Received: from unknown\r\n\tby "} {
		if !strings.Contains(m[0], want) {
			t.Errorf("no %q in %q", want, m[0])
		}
	}
}

// TestClient delivers with go-smtp's own client, pipelined data and all.
func TestClient(t *testing.T) {
	_, users, dial := serve(t, "unix", Options{MaxMessageSize: 1 << 20})
	c := smtp.NewClientLMTP(dial().Conn)
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := c.Mail("a@example.com", &smtp.MailOptions{Size: 1000}); err != nil {
			t.Fatal(err)
		}
		for _, r := range []string{"alice@x", "nocommit@x", "bob@x"} {
			if err := c.Rcpt(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Subject: %d\r\n\r\n.dot\r\n", i)
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "nocommit@x") {
			t.Fatalf("closing: %v, want an error for nocommit", err)
		}
		for _, u := range []string{"alice", "bob"} {
			if m := users.messages(u); len(m) != i+1 || body(t, m[i]) != fmt.Sprintf("Subject: %d\r\n\r\n.dot\r\n", i) {
				t.Errorf("%s has %q", u, m)
			}
		}
	}
	if err := c.Mail("a@example.com", &smtp.MailOptions{Size: 2 << 20}); err == nil {
		t.Error("a message too large was taken at MAIL")
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}
