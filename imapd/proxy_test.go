package imapd

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"mailcrypt/internal/haproxy"
)

// proxied serves connections through proxies on loopback.
func (f *fixture) proxied(implicitTLS, trustTLS bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = l.Addr().String()
	go f.srv.Serve(haproxy.Listen(l, haproxy.Options{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, TrustTLS: trustTLS}), implicitTLS)
}

func TestProxy(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TLSConfig, o.RequireTLS, o.MaxPerAddress = certificate(t), true, 1 })
	f.proxied(false, false)
	c := f.dial()
	c.send("PROXY TCP4 192.0.2.7 192.0.2.1 1234 143")
	c.script(`S~ \* OK \[CAPABILITY .* STARTTLS LOGINDISABLED\] .*`)
	second := f.dial()
	second.send("PROXY TCP4 192.0.2.7 192.0.2.1 1234 143")
	second.script(`S: * BYE [UNAVAILABLE] Too many connections from your address.`)
	c.script("C: a STARTTLS\nS* a OK")
	c.startTLS(&tls.Config{InsecureSkipVerify: true})
	c.script("C: b LOGIN alice secret\nS* b OK\nC: c LOGOUT\nS* c OK")

	f.proxied(true, false)
	c = f.dial()
	c.send("PROXY TCP4 192.0.2.8 192.0.2.1 1234 993")
	c.startTLS(&tls.Config{InsecureSkipVerify: true})
	c.script("S* * OK\nC: a LOGIN alice secret\nS* a OK")
}

// TestProxyTLS: what a proxy says of its client's TLS counts only where that is wanted.
func TestProxyTLS(t *testing.T) {
	const header = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x1e\xc0\x00\x02\x07\xc0\x00\x02\x01\x04\xd2\x00\x8f" + "\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3"
	for trust, want := range map[bool]string{true: `.* AUTH=PLAIN .*`, false: `.* LOGINDISABLED\] .*`} {
		f := newFixture(t, func(o *Options) { o.RequireTLS = true })
		f.proxied(false, trust)
		c := f.dial()
		c.raw(header)
		c.script("S~ " + want)
	}
}
