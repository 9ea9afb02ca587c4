package imapd

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/internal/deflate"
)

// maxBad is how many bad commands in a row end a connection, as in Dovecot. Before login it
// is fewer: what talks another protocol there shall not come to a line that is a command.
const (
	maxBad       = 20
	maxBadBefore = 10
)

type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selectedState
	loggedOut

	anyState  = notAuthenticated | authenticated | selectedState
	userState = authenticated | selectedState
)

// A session is one connection. Only its own goroutine uses it, but for conn.
type session struct {
	srv  *Server
	conn *conn
	dec  *imapwire.Decoder
	enc  *imapwire.Encoder
	log  *slog.Logger
	ctx  context.Context

	remote net.Addr
	ip     netip.Addr // invalid where there is none
	addr   string     // ip in text, or what stands for it
	local  bool       // the client is on this host
	tls    bool
	// proxyTLS says that a proxy which may say so says that its client speaks TLS.
	proxyTLS bool

	number uint64 // unique in the server
	public public // what Server.Sessions tells

	// Under Server.mu.
	network string        // what MaxPerAddress counts
	place   *list.Element // in Server.logins
	entered string        // the user that is counted
	evicted bool          // does not count any more

	state     state
	bad       int // bad commands in a row
	authFails int
	after     func() error // run once the tagged reply is flushed
	anonymous *slog.Logger // log before login

	zip        *deflate.Reader // of a connection that is compressed, or was
	compressed bool

	perUser
}

// perUser is what a session knows of the user who has logged in, and what that user has
// asked for. UNAUTHENTICATE forgets it (RFC 8437 section 4.1).
type perUser struct {
	login     login
	box       *selected     // the selected mailbox
	notify    *notification // what NOTIFY asked for; nil without
	rev2      bool          // ENABLE IMAP4rev2
	condstore bool          // a CONDSTORE enabling command was given
	qresync   bool          // ENABLE QRESYNC
}

// A proxied connection comes through a proxy: haproxy.Conn. Its RemoteAddr is the client's.
type proxied interface {
	Hop() net.Addr   // the proxy's address
	ClientTLS() bool // the client speaks TLS with the proxy, and that counts
}

// newSession prepares a session; run does the work.
func newSession(s *Server, nc net.Conn) *session {
	c := newConn(nc, &s.opts.Timeouts)
	ss := &session{srv: s, conn: c, number: s.ids.Add(1), remote: nc.RemoteAddr(), state: notAuthenticated}
	ss.ip, ss.addr, ss.local = address(ss.remote)
	if p, ok := nc.(proxied); ok {
		// Who is on the proxy's host is not on ours, whatever the proxy says.
		_, _, hop := address(p.Hop())
		ss.local, ss.proxyTLS = ss.local && hop, p.ClientTLS()
	}
	ss.network = ss.addr
	if ss.ip.IsValid() {
		ss.network = network(ss.ip)
	}
	ss.log = s.opts.Logger.With("remote", ss.addr)
	ss.anonymous = ss.log
	ss.dec = imapwire.NewDecoder(c, s.opts.Before)
	ss.enc = imapwire.NewEncoder(c)
	ss.dec.Continue = func() error {
		ss.enc.Raw("+ OK\r\n")
		return ss.enc.Flush()
	}
	return ss
}

// address returns the address without a port, in text too, and whether it is on this host: a
// loopback address, a unix socket, or a pipe.
func address(a net.Addr) (ip netip.Addr, text string, local bool) {
	if t, ok := a.(*net.TCPAddr); ok {
		ip = t.AddrPort().Addr().Unmap().WithZone("")
	} else if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		ip = ap.Addr().Unmap().WithZone("")
	}
	if ip.IsValid() {
		return ip, ip.String(), ip.IsLoopback()
	}
	return ip, a.Network(), a.Network() == "unix" || a.Network() == "pipe"
}

// run is the life of a session.
func (s *session) run(implicitTLS bool) {
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(s.srv.ctx)
	defer s.conn.abort()
	defer s.close()
	defer s.dec.Reset(nil)
	defer func() {
		if s.compressed {
			s.srv.opts.Metrics.Compressed(-1)
		}
	}()
	defer cancel()
	defer s.recovered()

	s.conn.wait(true)
	if implicitTLS {
		if err := s.startTLS(); err != nil {
			s.log.Info("TLS handshake", "err", err)
			return
		}
	}
	s.enc.Raw("* OK ")
	s.writeCapabilityCode()
	s.enc.Text(s.srv.opts.Name + " ready.").CRLF()
	if s.enc.Flush() != nil {
		return
	}
	for s.state != loggedOut {
		err := s.await()
		if err == nil {
			err = s.dec.Next()
		}
		s.conn.wait(false)
		if err == nil {
			err = s.command()
		}
		if err != nil {
			s.farewell(err)
			return
		}
	}
	if s.dec.Buffered() > 0 { // otherwise LOGOUT was all that the client had to say
		s.hangUp()
	}
}

// await waits for the next command to begin.
func (s *session) await() error {
	s.conn.wait(true)
	for woken := false; ; woken = true {
		if err := s.notified(woken); err != nil {
			return err
		}
		if err := s.input(); !errors.Is(err, errWoken) {
			return err
		}
	}
}

// input waits for what the client says; errWoken where there is something to tell first. From
// the first octet on nothing wakes, be it that a line was read ahead in part: a client may send
// the end of IDLE together with its beginning.
func (s *session) input() error {
	err := s.dec.Wait()
	if err == nil {
		s.conn.begin()
	}
	return err
}

// recovered keeps a panic from taking other users' sessions along. The value of a
// panic may hold mail, so only errors of the runtime are logged in words.
func (s *session) recovered() {
	r := recover()
	if r == nil {
		return
	}
	s.srv.opts.Metrics.Panic()
	what := fmt.Sprintf("%T", r)
	if e, ok := r.(runtime.Error); ok {
		what = e.Error()
	}
	s.log.Error("panic in a session", "panic", what, "stack", string(debug.Stack()))
}

// farewell says why the connection ends, where the client can still hear it.
func (s *session) farewell(err error) {
	var fatal *imapwire.FatalError
	switch {
	case errors.As(err, &fatal):
		s.bye("", fatal.Reason)
	case errors.Is(err, errTooManyLogins):
		s.bye("", "Too many failed logins.")
	case errors.Is(err, errTooManyBad):
		s.bye("", "Too many invalid commands.")
	case errors.Is(err, deflate.ErrCorrupt):
		s.bye("", "Invalid compressed data.")
	case errors.Is(err, deflate.ErrRatio):
		s.bye("", "Compressed data grow too much.")
	case errors.Is(err, errGone):
		s.bye("", "The selected mailbox was deleted or replaced.")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.conn.wasKicked():
		s.bye("UNAVAILABLE", "Disconnected by the administrator.")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.conn.interrupted():
		s.bye("UNAVAILABLE", "Server is shutting down.")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.conn.wasEvicted():
		s.bye("", "Connection queue full.")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.enc.Err() == nil:
		s.bye("", "Disconnected for inactivity.")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Info("connection lost", "err", err)
	}
}

// bye says BYE and hangs up.
func (s *session) bye(code, text string) {
	s.writeStatus("*", &status{"BYE", code, text})
	s.enc.Flush()
	s.hangUp()
}

// hangUp closes so that the last words arrive: closing a TCP connection with unread
// input makes the kernel reset it, which may drop what was sent.
func (s *session) hangUp() {
	type halfCloser interface{ CloseWrite() error }
	if h, ok := s.conn.nc.(halfCloser); ok && h.CloseWrite() == nil {
		s.conn.nc.SetReadDeadline(time.Now().Add(time.Second))
		io.CopyN(io.Discard, s.conn.nc, 256<<10)
	}
}

// close releases the mailbox and the login, with the keys that it unlocked.
func (s *session) close() {
	s.endNotify()
	s.closeBox()
	if s.login != nil {
		if err := s.login.Close(); err != nil {
			s.log.Error("closing the account", "err", err)
		}
		s.login = nil
		s.srv.exit(s)
	}
}

// startTLS makes the connection one of TLS. Nothing that was said before counts
// after it.
func (s *session) startTLS() error {
	tc := tls.Server(s.conn.nc, s.srv.opts.TLSConfig)
	// Of the server's context: the session's would keep what it needs for children.
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.srv.opts.Timeouts.Handshake)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	s.conn.replace(tc)
	s.tls = true
	s.publish("")
	s.srv.opts.Metrics.TLS(tls.VersionName(tc.ConnectionState().Version))
	s.dec.Reset(s.conn)
	s.enc.Reset(s.conn)
	s.zip = nil // what it has read ahead of a COMPRESS before UNAUTHENTICATE
	return nil
}

// secure reports whether a password may be sent over the connection.
func (s *session) secure() bool { return s.tls || s.proxyTLS || s.local || !s.srv.opts.RequireTLS }
