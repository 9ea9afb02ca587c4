package haproxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxied listens on loopback, which is trusted unless the options say otherwise.
func proxied(t *testing.T, o Options) (net.Listener, func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.Trusted == nil {
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	var mu sync.Mutex
	var refused []string
	o.Refused = func(r string) {
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, r)
	}
	p := Listen(l, o)
	t.Cleanup(func() { p.Close() })
	return p, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return refused
	}
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

// version2 is a header of version 2, with the TLV by which a proxy says that its client
// speaks TLS.
func version2(t *testing.T, command proxyproto.ProtocolVersionAndCommand, tls bool) string {
	t.Helper()
	h := &proxyproto.Header{Version: 2, Command: command, TransportProtocol: proxyproto.TCPv6,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 1234},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 993}}
	if tls {
		h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_SSL, Value: []byte{1, 0, 0, 0, 0, 0x21, 0, 7, 'T', 'L', 'S', 'v', '1', '.', '3'}}})
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		trustTLS     bool
		remote       string
		tls          bool
	}{
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 993\r\n", false, "192.0.2.7:1234", false},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", false, "127.0.0.1", false},
		{"version 2", version2(t, proxyproto.PROXY, false), false, "[2001:db8::7]:1234", false},
		{"a health check", version2(t, proxyproto.LOCAL, false), false, "127.0.0.1", false},
		{"TLS that does not count", version2(t, proxyproto.PROXY, true), false, "[2001:db8::7]:1234", false},
		{"TLS that counts", version2(t, proxyproto.PROXY, true), true, "[2001:db8::7]:1234", true},
		{"no TLS", version2(t, proxyproto.PROXY, false), true, "[2001:db8::7]:1234", false},
	} {
		for _, pieces := range []int{1 << 20, 5, 1} {
			t.Run(tt.name, func(t *testing.T) {
				l, _ := proxied(t, Options{TrustTLS: tt.trustTLS})
				c := dial(t, l)
				go func() {
					for rest := tt.header + "a NOOP\r\n"; rest != ""; {
						n := min(pieces, len(rest))
						io.WriteString(c, rest[:n])
						rest = rest[n:]
						if pieces < 100 {
							time.Sleep(100 * time.Microsecond)
						}
					}
				}()
				got, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer got.Close()
				line := make([]byte, 8)
				if _, err := io.ReadFull(got, line); err != nil || string(line) != "a NOOP\r\n" {
					t.Errorf("%q, %v", line, err)
				}
				if !strings.HasPrefix(got.RemoteAddr().String(), tt.remote) {
					t.Errorf("from %v, want %s", got.RemoteAddr(), tt.remote)
				}
				p := got.(*Conn)
				if !strings.HasPrefix(p.Hop().String(), "127.0.0.1:") || p.ClientTLS() != tt.tls {
					t.Errorf("through %v, TLS %v", p.Hop(), p.ClientTLS())
				}
				if err := p.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		o     Options
		sent  string
		after string
	}{
		"no header":      {Options{}, "a LOGIN alice secret\r\n", Header},
		"half a header":  {Options{Timeout: 20 * time.Millisecond}, "PROXY TCP4 192.0.2.7", Header},
		"silence":        {Options{Timeout: 20 * time.Millisecond}, "", Header},
		"too long":       {Options{}, "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", Header},
		"a unix address": {Options{}, "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("/", 216), Header},
		"untrusted":      {Options{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "PROXY TCP4 127.0.0.1 192.0.2.1 1234 993\r\n", Untrusted},
	} {
		t.Run(name, func(t *testing.T) {
			l, refused := proxied(t, tt.o)
			c := dial(t, l)
			io.WriteString(c, tt.sent)
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("%d octets, %v", n, err)
			}
			for end := time.Now().Add(5 * time.Second); len(refused()) == 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if r := refused(); len(r) != 1 || r[0] != tt.after {
				t.Errorf("refused for %q, want %s", r, tt.after)
			}
		})
	}
}

// TestSlow: one proxy that says nothing holds up no other, and closing ends Accept.
func TestSlow(t *testing.T) {
	l, _ := proxied(t, Options{})
	for range 20 {
		dial(t, l)
	}
	io.WriteString(dial(t, l), "PROXY TCP4 192.0.2.7 192.0.2.1 1234 993\r\n")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}
