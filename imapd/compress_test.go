package imapd

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailcrypt/internal/deflate"
)

// compressing puts a client's side of COMPRESS above its connection: every line is flushed.
func (c *client) compressing() {
	w, _ := flate.NewWriter(c.nc, 6)
	c.nc = &deflated{c.nc, w}
	c.r = bufio.NewReader(flate.NewReader(c.r))
}

type deflated struct {
	net.Conn
	w *flate.Writer
}

func (d *deflated) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil {
		err = d.w.Flush()
	}
	return n, err
}

// tearing sends the end of each flush only when the server has had time to go on.
type tearing struct {
	net.Conn
	rest []byte
}

func (c *tearing) Write(p []byte) (int, error) {
	if n, err := c.Conn.Write(c.rest); err != nil {
		return n, err
	}
	keep := min(len(p), 4) // 00 00 ff ff
	c.rest = bytes.Clone(p[len(p)-keep:])
	_, err := c.Conn.Write(p[:len(p)-keep])
	return len(p), err
}

// The end of a flush comes when the server idles already: it is no command, and must not
// keep the session from telling what changes.
func TestCompressFlushWhileIdle(t *testing.T) {
	f := newFixture(t)
	c := f.dial()
	c.line()
	c.script(`
		C: 1 LOGIN alice secret
		S~ 1 OK .*
		C: 2 COMPRESS DEFLATE
		S: 2 OK Begin compression.
	`)
	torn := &tearing{Conn: c.nc}
	c.nc = torn
	c.compressing()
	c.script(`
		C: 3 SELECT INBOX
		S* 3 OK
		C: 4 IDLE
		S: + idling
	`)
	if _, err := torn.Conn.Write(torn.rest); err != nil {
		t.Fatal(err)
	}
	torn.rest = nil
	for n := range 5 {
		f.add("INBOX", simple)
		c.script(fmt.Sprintf(`
			S: * %[1]d EXISTS
			S: * %[1]d RECENT
		`, n+1))
	}
	c.script(`
		C: DONE
		S: 4 OK Idle completed.
	`)
}

func TestCompress(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	c := f.dial()
	c.line()
	c.script(`
		C: 0 COMPRESS DEFLATE
		S: 0 BAD Please log in first.
		C: 1 LOGIN alice secret
		S~ 1 OK \[CAPABILITY .* COMPRESS=DEFLATE .*
		C: 2 COMPRESS
		S~ 2 BAD .*
		C: 3 COMPRESS LZ4
		S: 3 NO [CANNOT] Unknown compression mechanism.
		C: 4 COMPRESS DEFLATE
		S: 4 OK Begin compression.
	`)
	c.compressing()
	c.script(`
		C: 5 COMPRESS DEFLATE
		S: 5 NO [COMPRESSIONACTIVE] COMPRESSION=DEFLATE already enabled.
		C: 6 SELECT INBOX
		S* 6 OK
		C: 7 APPEND INBOX {8}
		S: + OK
	`)
	c.raw("A: b\r\n\r\n\r\n")
	c.script(`
		S: * 2 EXISTS
		S* 7 OK
		C: 8 IDLE
		S: + idling
	`)
	f.add("INBOX", simple)
	c.script(`
		S: * 3 EXISTS
		S* * 3 RECENT
		C: DONE
		S: 8 OK Idle completed.
	`)
	// What came before the OK was compressed too, and commands may follow one another.
	c.raw("9 NOOP\r\n10 FETCH 1 (RFC822.SIZE)\r\n11 NOOP\r\n")
	c.until("11 OK")
	f.metrics.check(t, "compressed", &f.metrics.compressed, 1)
	c.script(`
		C: 12 LOGOUT
		S* 12 OK
	`)
	if !c.eof() {
		t.Error("still open")
	}
}

// check waits for a count.
func (m *fakeMetrics) check(t *testing.T, what string, n *int, want int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		got := *n
		m.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d, want %d", what, got, want)
		}
	}
}

// What is sent behind the command without waiting for its answer is compressed.
func TestCompressPipelined(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	var b bytes.Buffer
	b.WriteString("a COMPRESS DEFLATE\r\n")
	w, _ := flate.NewWriter(&b, 6)
	io.WriteString(w, "b NOOP\r\nc ID NIL\r\n")
	w.Flush()
	c.raw(b.String())
	if l := c.line(); l != "a OK Begin compression." {
		t.Fatal(l)
	}
	c.r = bufio.NewReader(flate.NewReader(c.r))
	c.script(`
		S: b OK Noop completed.
		S* c OK
	`)
}

func TestCompressHostile(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, 9)
	io.WriteString(w, "b APPEND INBOX {70000000+}\r\n")
	for range 45 {
		w.Write(make([]byte, 1_000_000))
	}
	w.Flush()
	for name, tt := range map[string]struct{ input, want string }{
		"not compressed": {"b NOOP\r\n", "* BYE Invalid compressed data."},
		"a bomb":         {bomb.String(), "* BYE Compressed data grow too much."},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c := f.login()
			c.send("a COMPRESS DEFLATE")
			c.line()
			io.WriteString(c.nc, tt.input)
			c.r = bufio.NewReader(flate.NewReader(c.r))
			if l := c.line(); l != tt.want {
				t.Errorf("%q", l)
			}
			f.metrics.check(t, "compressed", &f.metrics.compressed, 0)
		})
	}
}

func TestUnauthenticate(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	c := f.dial()
	c.line()
	c.script(`
		C: 0 UNAUTHENTICATE
		S: 0 BAD Please log in first.
		C: 1 LOGIN alice secret
		S~ 1 OK \[CAPABILITY .* UNAUTHENTICATE.*
		C: 2 ENABLE IMAP4rev2
		S: * ENABLED IMAP4rev2
		S* 2 OK
		C: 3 SELECT INBOX
		S* 3 OK
		C: 4 UNAUTHENTICATE now
		S~ 4 BAD .*
		C: 5 UNAUTHENTICATE
		S: 5 OK Unauthenticate completed.
		C: 6 FETCH 1 FLAGS
		S: 6 BAD Please log in first.
		C: 7 CAPABILITY
		S~ \* CAPABILITY .* AUTH=PLAIN .*
		S* 7 OK
		C: 8 LOGIN alice secret
		S* 8 OK
		C: 9 NOOP
		S: 9 OK Noop completed.
		C: 10 SELECT INBOX
		S~ \* FLAGS .*
		S~ \* OK \[PERMANENTFLAGS .*
		S: * 1 EXISTS
		S: * 1 RECENT
		S* 10 OK
	`)
	// Before login a line is short again.
	c.script(`
		C: 11 UNAUTHENTICATE
		S* 11 OK
	`)
	c.send("12 LOGIN alice " + strings.Repeat("x", 70<<10))
	if l := c.line(); l != "* BYE Command line too long." {
		t.Errorf("%q", l)
	}
}

// A client may go on without waiting (RFC 8437 section 3).
func TestUnauthenticatePipelined(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.raw("a UNAUTHENTICATE\r\nb AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\nc NAMESPACE\r\n")
	c.script(`
		S* a OK
		S* b OK
		S* c OK
	`)
}

// UNAUTHENTICATE ends compression both ways, TLS stays (RFC 8437 sections 3 and 4.1).
func TestUnauthenticateCompressed(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TLSConfig, o.RequireTLS = certificate(t), true })
	c := f.dial()
	c.script(`
		S* * OK
		C: a STARTTLS
		S* a OK
	`)
	c.startTLS(&tls.Config{InsecureSkipVerify: true})
	c.script(`
		C: b LOGIN alice secret
		S* b OK
		C: c COMPRESS DEFLATE
		S: c OK Begin compression.
	`)
	plain, r := c.nc, c.r
	c.compressing()
	c.send("d UNAUTHENTICATE")
	if l := c.line(); l != "d OK Unauthenticate completed." {
		t.Fatal(l)
	}
	c.nc, c.r = plain, r
	c.script(`
		C: e CAPABILITY
		S~ \* CAPABILITY .* AUTH=PLAIN .*
		S: e OK Capability completed.
		C: f LOGIN alice secret
		S* f OK
		C: g COMPRESS DEFLATE
		S: g OK Begin compression.
	`)
	f.metrics.check(t, "compressed", &f.metrics.compressed, 1)
	f.metrics.check(t, "handshakes", &f.metrics.handshakes, 1)
}

func TestNoUnauthenticate(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.NoUnauthenticate = true })
	c := f.login()
	c.script(`
		C: a UNAUTHENTICATE
		S: a BAD Unknown command.
		C: b CAPABILITY
		S~ \* CAPABILITY IMAP4rev1( [^U ]\S*| U[^N]\S*| UNSELECT)*
		S* b OK
	`)
}

// The end of a flush may come late. It is no command, and IDLE goes on.
func TestCompressLateFlush(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timeouts.Progress = 50 * time.Millisecond })
	f.add("INBOX", simple)
	c := f.selected("INBOX")
	c.script("C: a COMPRESS DEFLATE\nS* a OK")
	plain := c.nc
	c.compressing()
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	io.WriteString(w, "b IDLE\r\n")
	w.Flush()
	plain.Write(b.Bytes()[:b.Len()-4])
	c.script(`S: + idling`)
	plain.Write(b.Bytes()[b.Len()-4:])
	time.Sleep(100 * time.Millisecond) // longer than a command may take
	f.add("INBOX", simple)
	c.script(`S: * 2 EXISTS`)
}

// A connection may be compressed again for each of its users.
func TestCompressAgain(t *testing.T) {
	f := newFixture(t)
	c := f.dial()
	c.line()
	for range 5 {
		c.script(`
			C: a LOGIN alice secret
			S* a OK
			C: b COMPRESS DEFLATE
			S: b OK Begin compression.
		`)
		plain, r := c.nc, c.r
		c.compressing()
		c.script(`
			C: c LIST "" *
			S* c OK
			C: d UNAUTHENTICATE
			S: d OK Unauthenticate completed.
		`)
		c.nc, c.r = plain, r
	}
	f.metrics.check(t, "compressed", &f.metrics.compressed, 0)
}

// TestCompressDovecot: Dovecot's zlib reads what is compressed here, the other way round too,
// and Dovecot answers COMPRESS as we do.
func TestCompressDovecot(t *testing.T) {
	var large strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&large, "line %d of a long message\r\n", i*i)
	}
	text := simple + large.String()
	p := dovecot(t, []string{text}, "protocol imap {\n mail_plugins = zlib imap_zlib\n}\n")
	p.command("SELECT INBOX")
	if _, kind := p.command("COMPRESS LZ77"); kind != "NO" {
		t.Errorf("an unknown mechanism: %s", kind)
	}
	if _, kind := p.command("COMPRESS DEFLATE"); kind != "OK" {
		t.Skip("Dovecot has no imap_zlib here")
	}
	p.w, p.r = deflate.NewWriter(p.w), bufio.NewReader(deflate.NewReader(p.r))
	if _, kind := p.command("COMPRESS DEFLATE"); kind != "NO" {
		t.Errorf("compressing twice: %s", kind)
	}
	for range 3 {
		got, kind := p.command("FETCH 1 BODY.PEEK[]")
		if kind != "OK" || !strings.Contains(strings.Join(got, ""), large.String()) {
			t.Errorf("%s, %d octets", kind, len(strings.Join(got, "")))
		}
	}
}
