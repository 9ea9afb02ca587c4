// Package haproxy accepts connections that begin with a header of the PROXY protocol,
// versions 1 and 2, by which a proxy before us says who its client is. What comes first on
// the wire is the header, then TLS, where the listener has it, then the service's protocol.
//
// Only trusted networks may speak it, and they must: who could send a header could be
// anybody. Dovecot: haproxy, haproxy_trusted_networks and haproxy_timeout.
package haproxy

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Reasons for which a connection is refused, for Options.Refused.
const (
	Untrusted = "haproxy_untrusted" // not from a trusted network
	Header    = "haproxy_header"    // no header, not one that can be used, or too late
)

// maxHeaders is how many headers are waited for at once.
const maxHeaders = 1000

// Options are those of a listener.
type Options struct {
	Trusted []netip.Prefix // where proxies are; a unix socket is trusted by its directory
	Timeout time.Duration  // to send the header; 3 s
	// TrustTLS believes a proxy that says that its client speaks TLS.
	TrustTLS bool
	Log      *slog.Logger        // nil is silent
	Refused  func(reason string) // called concurrently; may be nil
}

// A Conn is a connection whose RemoteAddr is what the proxy says. CloseWrite works where it
// does below.
type Conn struct {
	net.Conn
	remote    net.Addr
	rest      []byte // read with the header
	clientTLS bool
}

// RemoteAddr is the client's address, or the proxy's where the proxy itself is the client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Hop is the address that the connection comes from: the proxy's.
func (c *Conn) Hop() net.Addr { return c.Conn.RemoteAddr() }

// ClientTLS reports whether the client speaks TLS with the proxy, and that counts.
func (c *Conn) ClientTLS() bool { return c.clientTLS }

// Read reads what follows the header.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite ends what is sent.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A listener hands out connections whose header has been read. It reads many at once, so
// that a slow proxy holds up no other.
type listener struct {
	net.Listener
	o     Options
	ready chan net.Conn
	slots chan struct{}
	err   error         // of the listener below
	ended chan struct{} // closed with err
}

// Listen returns a listener of connections through proxies that l accepts. Closing it closes
// l, but not what was accepted.
func Listen(l net.Listener, o Options) net.Listener {
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	p := &listener{Listener: l, o: o, ready: make(chan net.Conn), slots: make(chan struct{}, maxHeaders), ended: make(chan struct{})}
	go p.run()
	return p
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ended:
		return nil, l.err
	}
}

func (l *listener) run() {
	for pause := time.Duration(0); ; {
		l.slots <- struct{}{}
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			pause = 0
			go func() {
				defer func() { <-l.slots }()
				l.serve(c)
			}()
			continue
		case errors.Is(err, net.ErrClosed):
			l.err = err
			close(l.ended)
			return
		}
		<-l.slots
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.o.Log.Error("accepting a connection of a proxy", "err", err)
		time.Sleep(pause)
	}
}

// serve reads a header and hands the connection out.
func (l *listener) serve(c net.Conn) {
	hop := c.RemoteAddr()
	if !l.trusts(hop) {
		l.refuse(c, Untrusted, errors.New("the address is in none of haproxy_trusted_networks"))
		return
	}
	c.SetReadDeadline(time.Now().Add(l.o.Timeout))
	conn, err := l.read(c)
	if err != nil {
		l.refuse(c, Header, err)
		return
	}
	c.SetReadDeadline(time.Time{})
	select {
	case l.ready <- conn:
	case <-l.ended:
		c.Close()
	}
}

func (l *listener) refuse(c net.Conn, reason string, err error) {
	c.Close()
	l.o.Refused(reason)
	l.o.Log.Warn("refused a connection to an address for proxies", "from", c.RemoteAddr().String(), "err", err)
}

func (l *listener) trusts(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return a.Network() == "unix"
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range l.o.Trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// read reads the header.
func (l *listener) read(c net.Conn) (*Conn, error) {
	in := bufio.NewReader(&whole{c: c})
	h, err := proxyproto.Read(in)
	if err != nil {
		return nil, err
	}
	conn := &Conn{Conn: c, remote: c.RemoteAddr()}
	if n := in.Buffered(); n > 0 {
		rest, _ := in.Peek(n)
		conn.rest = bytes.Clone(rest)
	}
	// LOCAL, a health check say, and what has no address: the proxy is the client.
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return conn, nil
	}
	tcp, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil, errors.New("the header's address is not one of TCP")
	}
	conn.remote = tcp
	if l.o.TrustTLS {
		if tlvs, err := h.TLVs(); err == nil {
			ssl, ok := tlvparse.FindSSL(tlvs)
			conn.clientTLS = ok && ssl.ClientSSL()
		}
	}
	return conn, nil
}

// whole reads a header of version 1 whole: the parser wants it in one piece, which TCP does
// not promise.
type whole struct {
	c    net.Conn
	done bool
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.c.Read(p)
	if w.done {
		return n, err
	}
	for err == nil && n < 107 && n < len(p) && bytes.HasPrefix([]byte("PROXY "), p[:min(n, 6)]) && bytes.IndexByte(p[:n], '\n') < 0 {
		var k int
		k, err = w.c.Read(p[n:])
		n += k
	}
	w.done = true
	if n > 0 {
		err = nil
	}
	return n, err
}
