package imapd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// remoteListener makes every client seem to come from another host.
type remoteListener struct{ net.Listener }
type remoteConn struct{ *net.TCPConn }

func (l remoteListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{c.(*net.TCPConn)}, nil
}

func (c remoteConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}
}

// listen serves another listener of the fixture's server.
func (f *fixture) listen(implicitTLS, remote bool) {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = l.Addr().String()
	if remote {
		l = remoteListener{l}
	}
	go f.srv.Serve(l, implicitTLS)
}

func TestStartTLS(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TLSConfig = certificate(t); o.RequireTLS = true })
	f.dial().script(`
S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE STARTTLS AUTH=PLAIN AUTH=LOGIN] mailcryptd ready.
C: a LOGIN alice secret
S~ a OK .*`) // the same host
	f.listen(false, true)
	c := f.dial()
	c.script(`
S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE STARTTLS LOGINDISABLED] mailcryptd ready.
C: a LOGIN alice secret
S: a NO [PRIVACYREQUIRED] Plaintext authentication is not allowed without TLS.
C: b AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
S: b NO [PRIVACYREQUIRED] Plaintext authentication is not allowed without TLS.
`)
	// What is sent in the clear behind STARTTLS must have no effect.
	c.raw("c STARTTLS\r\nd NOOP\r\n")
	c.script(`S: c OK Begin TLS negotiation now.`)
	c.startTLS(&tls.Config{InsecureSkipVerify: true})
	c.script(`
C: e CAPABILITY
S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN AUTH=LOGIN
S: e OK Capability completed.
C: f STARTTLS
S: f BAD TLS is already active.
C: g LOGIN alice secret
S~ g OK .*
C: h LOGOUT
S: * BYE Logging out.
S: h OK Logout completed.`)
}

func TestImplicitTLS(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TLSConfig = certificate(t); o.RequireTLS = true })
	f.listen(true, true)
	c := f.dial()
	c.startTLS(&tls.Config{InsecureSkipVerify: true})
	c.script("S* * OK\nC: a LOGIN alice secret\nS~ a OK .*")
}

func TestHandshakeTimeout(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TLSConfig = certificate(t); o.Timeouts.Handshake = 20 * time.Millisecond })
	f.listen(true, false)
	if c := f.dial(); !c.eof() {
		t.Error("a silent client was not cut off")
	}
}

func TestLoginTimeout(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Login = 30 * time.Millisecond })
	c := f.dial()
	c.line()
	c.raw("a NO") // beginning a command earns no time
	c.script(`S: * BYE Disconnected for inactivity.`)
}

func TestIdleTimeout(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Idle = 30 * time.Millisecond })
	c := f.login()
	c.script(`S: * BYE Disconnected for inactivity.`)
}

func TestShutdown(t *testing.T) {
	f := newFixture(t)
	waiting, idling, writing := f.login(), f.selected("INBOX"), f.login()
	idling.script("C: a IDLE\nS: + idling")
	writing.script("C: a APPEND INBOX {20}\nS: + OK") // in the middle of a command
	done := make(chan error)
	go func() { done <- f.srv.Shutdown(context.Background()) }()
	waiting.script(`S: * BYE [UNAVAILABLE] Server is shutting down.`)
	idling.script(`S: * BYE [UNAVAILABLE] Server is shutting down.`)
	writing.raw("A: b\r\n\r\n0123456789\r\n\r\n")
	writing.script("S~ a OK \\[APPENDUID 2 1\\] .*\nS: * BYE [UNAVAILABLE] Server is shutting down.")
	for _, c := range []*client{waiting, idling, writing} {
		c.nc.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := f.srv.Serve(nopListener{}, false); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

func TestShutdownCutsOff(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.script("C: a APPEND INBOX {20}\nS: + OK")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := f.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if f.user.aborted != 1 || f.user.committed != 0 {
		t.Errorf("aborted %d, committed %d", f.user.aborted, f.user.committed)
	}
}

func TestIdle(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	c, other := f.selected("INBOX"), f.selected("INBOX")
	c.script("C: a IDLE\nS: + idling")
	f.add("INBOX", simple)
	c.script("S: * 2 EXISTS\nS~ \\* [12] RECENT")
	other.script("C: a STORE 1 +FLAGS.SILENT (\\Seen)\nS* a OK")
	c.script("S~ \\* 1 FETCH \\(FLAGS \\(\\\\Seen.*\\)\\)")
	other.script("C: b STORE 1 +FLAGS.SILENT (\\Deleted)\nS* b OK\nC: c EXPUNGE\nS* c OK")
	c.script("S* * 1 EXPUNGE\nC: dOnE\nS* a OK Idle completed.")
	c.script("C: b IDLE\nS: + idling\nC: nonsense\nS: b BAD Expected DONE.\nC: c NOOP\nS: c OK Noop completed.")
}

func TestCopyMove(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple, `\Flagged`)
	}
	f.user.Create(t.Context(), "Sent")
	f.selected("INBOX").script(`
C: a COPY 1,3 Sent
S: a OK [COPYUID 3 1,3 1:2] Copy completed.
C: b UID COPY 2 nowhere
S: b NO [TRYCREATE] Mailbox doesn't exist.
C: c UID COPY 77 Sent
S: c OK No messages found.
C: d MOVE 2:3 Sent
S: * OK [COPYUID 3 2:3 3:4] Moved UIDs.
S: * 3 EXPUNGE
S: * 2 EXPUNGE
S: * 1 RECENT
S: d OK Move completed.
C: e UID MOVE 1 Sent
S: * OK [COPYUID 3 1 5] Moved UIDs.
S: * 1 EXPUNGE
S: * 0 RECENT
S: e OK Move completed.
C: f STATUS Sent (MESSAGES)
S: * STATUS Sent (MESSAGES 5)
S: f OK Status completed.
C: g FETCH 1:* FLAGS
S: g BAD No messages in mailbox.
C: h UID FETCH 1:* FLAGS
S: h OK Fetch completed.
`)
}

// panicUser panics while a command runs.
type panicUser struct{ login }

func (panicUser) Subscriptions(context.Context) ([]string, error) { panic("mail text") }

func TestPanic(t *testing.T) {
	f := newFixture(t)
	inner := f.srv.login
	f.srv.login = func(ctx context.Context, u string, p []byte, a net.Addr) (login, error) {
		l, err := inner(ctx, u, p, a)
		return panicUser{l}, err
	}
	c := f.login()
	c.send(`a LSUB "" *`)
	if !c.eof() {
		t.Error("the connection is still open")
	}
	f.metrics.mu.Lock()
	if f.metrics.panics != 1 {
		t.Errorf("%d panics counted", f.metrics.panics)
	}
	f.metrics.panics = 0
	f.metrics.mu.Unlock()
	f.dial().line() // others are served
}

// A message that appears below the last UID cannot be told: numbers cannot be
// inserted.
func TestMisplacedMessage(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	left, _ := net.Pipe()
	s := newSession(f.srv, left)
	var out strings.Builder
	s.enc.Reset(&out)
	v := mailbox.NewView(mailbox.View{UIDValidity: 1}, []*mailbox.Message{{UID: 2}, {UID: 4}})
	b, _ := f.user.Open(t.Context(), "INBOX", true)
	s.box = &selected{box: b, view: v, readOnly: true, keywords: map[string]string{}}
	next := mailbox.NewView(mailbox.View{UIDValidity: 1}, []*mailbox.Message{{UID: 2}, {UID: 3}, {UID: 4}, {UID: 5}})
	s.announceView(next, true, false, nil)
	s.enc.Flush()
	if got := out.String(); got != "* 3 EXISTS\r\n" {
		t.Errorf("announced %q", got)
	}
	if s.box.view.Len() != 3 {
		t.Errorf("%d messages announced", s.box.view.Len())
	}
}

// Keywords come from files that others write: one with a line end must not forge a
// response.
func TestHostileKeyword(t *testing.T) {
	f := newFixture(t)
	left, _ := net.Pipe()
	s := newSession(f.srv, left)
	var out strings.Builder
	s.enc.Reset(&out)
	msg := &mailbox.Message{UID: 1, Flags: mailbox.Flags{Keywords: []string{"a\r\n* BYE", "b c", "good"}}}
	s.box = &selected{view: mailbox.NewView(mailbox.View{}, []*mailbox.Message{msg}), readOnly: true, keywords: map[string]string{}}
	s.writeFlags(0, msg, false)
	s.enc.Flush()
	if got := out.String(); strings.Contains(got, "BYE") || !strings.HasSuffix(got, "* 1 FETCH (FLAGS (good))\r\n") {
		t.Errorf("wrote %q", got)
	}
}

func BenchmarkFetchFlags(b *testing.B) {
	f := newFixture(b)
	msgs := make([]*mailbox.Message, 10000)
	for i := range msgs {
		msgs[i] = &mailbox.Message{UID: mailbox.UID(i + 1), Flags: mailbox.Flags{System: mailbox.Seen}}
	}
	left, _ := net.Pipe()
	s := newSession(f.srv, left)
	s.ctx = b.Context()
	s.enc.Reset(io.Discard)
	s.box = &selected{view: mailbox.NewView(mailbox.View{}, msgs), keywords: map[string]string{}}
	for b.Loop() {
		fetching := &fetching{session: s, items: simpleItems["FLAGS"]}
		for i := range msgs {
			if err := fetching.message(i); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A client that asks and does not read is cut off; others are served meanwhile.
func TestSlowReader(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Write = 50 * time.Millisecond })
	f.add("INBOX", "Subject: large\n\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", 300_000))
	slow := f.selected("INBOX")
	slow.send("a FETCH 1 BODY.PEEK[]")
	other := f.selected("INBOX")
	other.script("C: a LOGOUT\nS* a OK")
	other.nc.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		f.srv.mu.Lock()
		open := len(f.srv.sessions)
		f.srv.mu.Unlock()
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still connected")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
