package lmtpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A countedListener counts the writes to the connections that it accepts.
type countedListener struct {
	net.Listener
	writes atomic.Int32
}

type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, &l.writes}, err
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// The answers to commands that came together are sent together, each in its place; no answer
// waits for a command that has not come, whole, and none is lost at the end.
func TestPipelinedAnswers(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &countedListener{Listener: inner}
	s := NewServer(Options{Users: &fakeUsers{saved: map[string][]string{}}, Hostname: "mx.example"})
	go s.Serve(l)
	defer s.Shutdown(context.Background())
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	// exchange sends, and wants answers of those beginnings in so many writes.
	exchange := func(send string, writes int32, want ...string) {
		t.Helper()
		before := l.writes.Load()
		io.WriteString(c, send)
		for _, w := range want {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", send, err)
			}
			if !strings.HasPrefix(line, w) {
				t.Errorf("%q: answered by %q, want %q", send, line, w)
			}
		}
		if n := l.writes.Load() - before; n != writes {
			t.Errorf("%q: answered in %d writes, want %d", send, n, writes)
		}
	}
	exchange("LHLO x\r\nNOOP\r\n", 2, "250-", "250-8BITMIME", "250-CHUNKING", "250-ENHANCEDSTATUSCODES", "250-PIPELINING", "250-SMTPUTF8", "250-LIMITS", "250 SIZE", "250 2.0.0")
	exchange("MAIL FROM:<s@x>\r\nRCPT TO:<a>\r\nRCPT TO:<nobody>\r\nRCPT TO:<b>\r\nDATA\r\n", 1,
		"250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354 ")
	exchange("x\r\n.\r\n", 2, "250 2.0.0 <a>", "250 2.0.0 <b>")
	exchange("MAIL FROM:<s@x>\r\nRCPT TO:<a", 1, "250 2.1.0")
	exchange(">\r\n", 1, "250 2.1.5")
	exchange("RSET\r\n", 1, "250 2.0.0")
	exchange("MAIL FROM:<s@x>\r\nRCPT TO:<a>\r\nBDAT 3 LAST\r\nabcQUIT\r\n", 3, "250 2.1.0", "250 2.1.5", "250 2.0.0 <a>", "221 ")
}
