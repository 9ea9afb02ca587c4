package lmtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDelivery(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			_, users, dial := serve(t, network, Options{RecipientDelimiter: "+"})
			c := dial().ready("alice+news@example.com", "bob")
			c.do("DATA", "354 ")
			c.send("Subject: x\r\n\r\nbody\r\n..dot\r\n.\r\n")
			c.want("250 2.0.0 <alice+news@example.com> ")
			got := c.want("250 2.0.0 <bob> ")
			if !regexp.MustCompile(`^250 2\.0\.0 <bob> [\w-]{22}:R2 Saved\r\n$`).MatchString(got) {
				t.Errorf("reply %q", got)
			}
			c.do("QUIT", "221 ")
			c.closed()

			from := `client\.example`
			if network == "tcp" {
				from += ` \(\[127\.0\.0\.1\]\)`
			}
			want := regexp.MustCompile(`^Return-Path: <sender@example\.com>\r\n` +
				`Delivered-To: alice\+news@example\.com\r\n` +
				`Received: from ` + from + `\r\n\tby mx\.example with LMTP\r\n\tid [\w-]{22}\r\n` +
				`\t\(envelope-from <sender@example\.com>\)\r\n\tfor <alice\+news@example\.com>; ` +
				`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n` +
				`Subject: x\r\n\r\nbody\r\n\.dot\r\n$`)
			if m := users.messages("alice"); len(m) != 1 || !want.MatchString(m[0]) {
				t.Errorf("alice has %q", m)
			}
			if m := users.messages("bob"); len(m) != 1 || body(t, m[0]) != "Subject: x\r\n\r\nbody\r\n.dot\r\n" {
				t.Errorf("bob has %q", m)
			}
		})
	}
}

// TestExact sends what must come out as it went in.
func TestExact(t *testing.T) {
	_, users, dial := serve(t, "tcp", Options{})
	c := dial().ready("a@x")
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	for i, text := range []string{
		"",
		"\r\n",
		"x\r\n",
		all.String() + "\r\n",
		"NUL \x00 and 8-bit \xff\r\n",
		strings.Repeat("long line ", 1<<20) + "\r\n",
		strings.Repeat(".\r\r\n", 3) + "\r\n",
		"a\n.\nb\r.\rc\n.\r\nd\r\r\n",
		"..\r\n.x\r\n...\r\n",
		".\rX\r\n",
		strings.Repeat("x\r\n", 70000),
	} {
		if i > 0 {
			c.mail("a@x")
		}
		c.do("DATA", "354 ")
		stuffed := strings.ReplaceAll(text, "\r\n.", "\r\n..")
		if strings.HasPrefix(text, ".") {
			stuffed = "." + stuffed
		}
		c.send(stuffed + ".\r\n")
		c.want("250 ")
		if got := body(t, users.messages("a")[2*i]); got != text {
			t.Errorf("DATA %.40q came out as %.40q, %d and %d bytes", text, got, len(text), len(got))
		}
		c.mail("a@x")
		c.send(fmt.Sprintf("BDAT %d\r\n%s", len(text)/2, text[:len(text)/2]))
		c.want("250 ")
		c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text)-len(text)/2, text[len(text)/2:]))
		c.want("250 ")
		if got := body(t, users.messages("a")[2*i+1]); got != text {
			t.Errorf("BDAT %.40q came out as %.40q, %d and %d bytes", text, got, len(text), len(got))
		}
	}
}

// TestSmuggling sends what some servers take for the end of the data.
func TestSmuggling(t *testing.T) {
	for _, before := range []string{"\n", "\r", "\r\n", "\x00\r\n\x00", "\r\n "} {
		for _, after := range []string{"\n", "\r", "\r\n", "\r\x00\n", "\r\r\n", " \r\n"} {
			if before == "\r\n" && after == "\r\n" {
				continue
			}
			_, users, dial := serve(t, "tcp", Options{})
			c := dial().ready("victim@x")
			c.do("DATA", "354 ")
			false_ := "text" + before + "." + after
			smuggled := "MAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nevil\r\n"
			c.send(false_ + smuggled + ".\r\n")
			c.want("250 2.0.0 <victim@x> ")
			c.do("NOOP", "250 ")
			if n := users.total(); n != 1 {
				t.Errorf("%q: %d messages saved", false_, n)
			}
			want := false_ + smuggled
			if before == "\r\n" {
				want = "text\r\n" + after + smuggled // the dot is taken for stuffing
			}
			if got := body(t, users.messages("victim")[0]); got != want {
				t.Errorf("%q came out as %q, want %q", false_, got, want)
			}
		}
	}
}

// TestEndAfterCR ends the data after a line that ends in CR CRLF.
func TestEndAfterCR(t *testing.T) {
	_, users, dial := serve(t, "tcp", Options{})
	c := dial().ready("a@x")
	c.do("DATA", "354 ")
	c.send("text\r\r\n.\r\n")
	c.want("250 ")
	if got := body(t, users.messages("a")[0]); got != "text\r\r\n" {
		t.Errorf("came out as %q", got)
	}
}

// TestCutOff ends the connection after every byte of a delivery.
func TestCutOff(t *testing.T) {
	for _, script := range []string{
		"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n",
		"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 7\r\nSubjectBDAT 3\r\n: xBDAT 4 LAST\r\n\r\n\r\n",
	} {
		_, users, dial := serve(t, "tcp", Options{})
		var wg sync.WaitGroup
		for n := range script {
			c := dial()
			c.send(script[:n])
			c.Conn.(*net.TCPConn).CloseWrite()
			wg.Go(func() {
				for {
					if _, err := c.r.ReadByte(); err != nil {
						break
					}
				}
			})
		}
		wg.Wait()
		if n := users.total(); n != 0 {
			t.Errorf("%d messages saved of %.60q", n, script)
		}
		c := dial()
		c.send(script)
		c.Conn.(*net.TCPConn).CloseWrite()
		for {
			if _, err := c.r.ReadByte(); err != nil {
				break
			}
		}
		if n := users.total(); n == 0 {
			t.Error("the whole script saved nothing")
		}
	}
}

func TestRecipientsFailAlone(t *testing.T) {
	_, users, dial := serve(t, "tcp", Options{})
	c := dial()
	c.want("220 ")
	c.do("LHLO x", "250-")
	c.do("MAIL FROM:<>", "250 ")
	c.do("RCPT TO:<nobody@x>", "550 5.1.1 ")
	c.do("RCPT TO:<deferred@x>", "451 4.3.0 ")
	c.do("RCPT TO:<panics@x>", "451 4.3.0 ")
	failing := []string{"noappend", "nowrite", "nocommit", "appendpanics", "writepanics", "commitpanics", "toolarge"}
	c.do("RCPT TO:<first@x>", "250 ")
	for _, r := range failing {
		c.do("RCPT TO:<"+r+"@x>", "250 ")
	}
	c.do("RCPT TO:<last@x>", "250 ")
	c.do("DATA", "354 ")
	c.send(strings.Repeat("text\r\n", 50000) + ".\r\n")
	c.want("250 2.0.0 <first@x> ")
	for _, r := range failing {
		if r == "toolarge" {
			c.want("552 5.3.4 <toolarge@x> ")
		} else {
			c.want("451 4.3.0 <" + r + "@x> ")
		}
	}
	c.want("250 2.0.0 <last@x> ")
	c.do("NOOP", "250 ")
	if n := users.total(); n != 2 {
		t.Errorf("%d messages saved, want 2", n)
	}
}

func TestSameRecipientTwice(t *testing.T) {
	_, users, dial := serve(t, "tcp", Options{RecipientDelimiter: "+"})
	c := dial().ready("alice@x", "alice@x", "alice+b@x")
	c.do("DATA", "354 ")
	c.send("x\r\n.\r\n")
	a, b := c.want("250 2.0.0 <alice@x> "), c.want("250 2.0.0 <alice@x> ")
	c.want("250 2.0.0 <alice+b@x> ")
	if a == b {
		t.Errorf("two copies have one ID: %q", a)
	}
	if n := len(users.messages("alice")); n != 3 {
		t.Errorf("%d copies, want 3", n)
	}
}

// TestCommands is a table of single exchanges after LHLO; "" means that the
// connection ends.
func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		send string
		want []string
	}{
		{"EHLO x\r\n", []string{"500 5.5.1"}},
		{"HELO x\r\n", []string{"500 5.5.1"}},
		{"LHLO\r\n", []string{"501"}},
		{"RCPT TO:<a@x>\r\n", []string{"502"}},
		{"DATA\r\n", []string{"502"}},
		{"BDAT 3 LAST\r\nabcNOOP\r\n", []string{"502", "250"}},
		{"BDAT x\r\nQUIT\r\n", []string{"501", ""}},
		{"BDAT 99999999999\r\nQUIT\r\n", []string{"501", ""}},
		{"BDAT -1\r\n", []string{"501", ""}},
		{"BDAT 5 LAST x\r\nhello", []string{"501", ""}},
		{"BDAT\r\n", []string{"501", ""}},
		{"MAIL FROM:<a@x>\r\nMAIL FROM:<b@x>\r\nRSET\r\nMAIL FROM:<b@x>\r\n", []string{"250", "503", "250", "250"}},
		{"MAIL FROM:<a@x>\r\nDATA\r\n", []string{"250", "502"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<>\r\nRCPT TO:<\"\"@x>\r\nRCPT TO:<@x>\r\n", []string{"250", "501", "501", "501"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a\x01b@x>\r\n", []string{"250", "553"}},
		{"MAIL FROM:<a\rb@x>\r\n", []string{"553"}},
		{"MAIL FROM:<a@x> SIZE=2000\r\n", []string{"552 5.3.4"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<full@x>\r\nRCPT TO:<a@x>\r\n", []string{"250", "552 5.2.2 <full@x> Quota exceeded (mailbox for user is full)", "250"}},
		{"MAIL FROM:<a@x> SIZE=1\r\nRCPT TO:<full@x>\r\nRCPT TO:<a@x>\r\nDATA\r\nx\r\n.\r\n",
			[]string{"250", "250", "250", "354", "552 5.2.2 <full@x> No room.", "250 2.0.0 <a@x>"}},
		{"MAIL FROM:<a@x> SIZE=101\r\nRCPT TO:<fullfornow@x>\r\n", []string{"250", "452 4.2.2 <fullfornow@x> Later."}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<fullfornow@x>\r\nDATA\r\nx\r\n.\r\n", []string{"250", "250", "354", "452 4.2.2 <fullfornow@x> No room."}},
		{"MAIL FROM:<a@x> SIZE=99999999999999999999\r\n", []string{"552 5.3.4"}},
		{"MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME SMTPUTF8\r\n", []string{"250"}},
		{"MAIL FROM:<plain> SIZE=10\r\nRCPT TO:<\"q u@o\">\r\nDATA\r\nx\r\n.\r\n", []string{"250", "250", "354", "250 2.0.0 <q u@o> "}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:<d@x>\r\n", []string{"250", "250", "250", "250", "452"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n", []string{"250", "250", "354", "250", "250"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" + strings.Repeat("1234567\r\n", 112) + ".\r\nNOOP\r\n", []string{"250", "250", "354", "552 5.3.4 <a@x>", "250"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nBDAT 1001 LAST\r\n" + strings.Repeat("x", 1001) + "NOOP\r\n", []string{"250", "250", "552", "250"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nBDAT 0\r\nRSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nx", []string{"250", "250", "250", "250", "250", "250", "250 2.0.0 <b@x>"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabcRSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n", []string{"250", "250", "250", "250", "250", "250", "354", "250 2.0.0 <b@x>"}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabcRSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nx", []string{"250", "250", "250", "250", "250", "250", "421", ""}},
		{"MAIL FROM:<a@x>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabcLHLO y\r\nMAIL FROM:<a@x>\r\n", []string{"250", "250", "250", "250-", "250"}},
		{"NOOP " + strings.Repeat("x", 4000) + "\r\nNOOP\r\n", []string{"500 5.5.2", "250"}},
		{"RCPT TO:<" + strings.Repeat("x", 100000) + "\r\n", []string{"500", ""}},
		{"\x00\x01\xff\r\nNOOP\r\n", []string{"501", "250"}},
		{"\x16\x03\x01\r\nGET / HTTP/1.0\r\nA: b\r\nC: d\r\nE: f\r\n", []string{"501", "501", "500", "500", "500", ""}},
		{"STARTTLS\r\n", []string{"502"}},
		{"VRFY a\r\nHELP\r\n", []string{"252", "502"}},
		{"QUIT\r\nNOOP\r\n", []string{"221", ""}},
	} {
		name := tt.send[:min(len(tt.send), 60)]
		t.Run(name, func(t *testing.T) {
			_, users, dial := serve(t, "tcp", Options{MaxMessageSize: 1000, MaxRecipients: 3})
			c := dial()
			c.want("220 ")
			c.do("LHLO x", "250-")
			c.send(tt.send)
			saved := 0
			for _, want := range tt.want {
				if want == "" {
					c.closed()
					break
				}
				if got := c.want(want); strings.HasSuffix(got, "Saved\r\n") {
					saved++
				}
			}
			if n := users.total(); n != saved {
				t.Errorf("%d saved, %d acknowledged", n, saved)
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	_, _, dial := serve(t, "tcp", Options{MaxConnections: 2})
	a, b := dial(), dial()
	a.want("220 ")
	b.want("220 ")
	c := dial()
	c.want("421 4.3.2 ")
	c.closed()
	a.do("QUIT", "221 ")
	a.closed()
	for i := 0; ; i++ {
		d := dial()
		if strings.HasPrefix(d.reply(), "220 ") {
			break
		}
		if i == 100 {
			t.Fatal("no connection after one was closed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTimeouts(t *testing.T) {
	_, users, dial := serve(t, "tcp", Options{CommandTimeout: 50 * time.Millisecond, DataTimeout: 50 * time.Millisecond})
	c := dial()
	c.want("220 ")
	c.want("421 ")
	c.closed()
	c = dial().ready("a@x")
	c.do("DATA", "354 ")
	c.send("half of it\r\n")
	c.want("451 ")
	c.closed()
	if n := users.total(); n != 0 {
		t.Errorf("%d messages saved", n)
	}
}

func TestShutdown(t *testing.T) {
	users := &fakeUsers{saved: map[string][]string{}, commits: make(chan struct{})}
	s, _, dial := serve(t, "tcp", Options{Users: users})
	idle := dial()
	idle.want("220 ")
	busy := dial().ready("a@x")
	busy.do("DATA", "354 ")
	busy.send("text\r\n")
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.want("421 4.3.2 ")
	idle.closed()
	busy.send("more\r\n.\r\n")
	users.commits <- struct{}{}
	busy.want("250 ")
	busy.want("421 4.3.2 ")
	busy.closed()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := users.total(); n != 1 {
		t.Errorf("%d messages saved, want 1", n)
	}
}

func TestShutdownCuts(t *testing.T) {
	s, users, dial := serve(t, "tcp", Options{})
	c := dial().ready("a@x")
	c.do("DATA", "354 ")
	c.send("text\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown returned nil with a message on its way")
	}
	if n := users.total(); n != 0 {
		t.Errorf("%d messages saved", n)
	}
}

func TestStartTLS(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	_, users, dial := serve(t, "tcp", Options{TLSConfig: config})
	c := dial()
	c.want("220 ")
	if got := c.do("LHLO plain.example", "250-"); !strings.Contains(got, "250-STARTTLS\r\n") {
		t.Errorf("STARTTLS is not offered: %q", got)
	}
	c.do("MAIL FROM:<before@x>", "250 ")
	// What comes with STARTTLS in plaintext must not be run.
	c.send("STARTTLS\r\nRCPT TO:<injected@x>\r\nNOOP\r\n")
	c.want("220 2.0.0 ")
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c = &client{t, tc, bufio.NewReader(tc)}
	c.do("MAIL FROM:<a@x>", "503 5.5.1 ")
	c.do("RCPT TO:<a@x>", "502 ")
	if got := c.do("LHLO tls.example", "250-"); strings.Contains(got, "STARTTLS") {
		t.Errorf("STARTTLS is offered within TLS: %q", got)
	}
	c.do("STARTTLS", "502 ")
	c.mail("a@x")
	c.do("DATA", "354 ")
	c.send("x\r\r\n.\r\n")
	c.want("250 ")
	m := users.messages("a")
	if len(m) != 1 || !strings.Contains(m[0], "Received: from tls.example ([127.0.0.1])\r\n\t(using TLSv1.3 with cipher TLS_") ||
		!strings.Contains(m[0], " with LMTPS\r\n") {
		t.Errorf("saved %q", m)
	}
	c.mail("a@x")
	c.send("BDAT 10 LAST\r\nhalf")
	tc.Close() // an orderly end of TLS within a chunk
	c = dial()
	c.want("220 ")
	c.do("QUIT", "221")
	if n := users.total(); n != 1 {
		t.Errorf("%d messages saved, want 1", n)
	}
}

func TestImplicitTLS(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	s, _, _ := serve(t, "tcp", Options{TLSConfig: config, CommandTimeout: 200 * time.Millisecond})
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	tc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tc.Close()
	c := &client{t, tc, bufio.NewReader(tc)}
	c.want("220 ")
	if got := c.do("LHLO x", "250-"); strings.Contains(got, "STARTTLS") {
		t.Errorf("STARTTLS is offered within TLS: %q", got)
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(20 * time.Second))
	if n, err := silent.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a client that never begins TLS got %d bytes, %v; want the end", n, err)
	}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestLog looks for anything of the message in the log.
func TestLog(t *testing.T) {
	var log syncBuffer
	_, _, dial := serve(t, "tcp", Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c := dial()
	c.want("220 ")
	c.do("LHLO helocanary", "250-")
	c.do("MAIL FROM:<sendercanary@x>", "250 ")
	for _, r := range []string{"alice", "nowrite", "commitpanics"} {
		c.do("RCPT TO:<"+r+"@x>", "250 ")
	}
	c.do("DATA", "354 ")
	c.send("Subject: subjectcanary\r\nMessage-ID: <idcanary@x>\r\n\r\n" + strings.Repeat("bodycanary\r\n", 9000) + ".\r\n")
	c.want("250 ")
	c.want("451 ")
	c.want("451 ")
	got := log.String()
	if strings.Contains(got, "canary") {
		t.Errorf("the log has something of the message: %s", got)
	}
	for _, want := range []string{"user=alice", "result=saved", "result=deferred", "size=108052"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log has no %q: %s", want, got)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
