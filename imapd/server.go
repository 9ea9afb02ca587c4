// Package imapd serves IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) over accounts.
//
// A session holds the mailbox.View that it has announced to its client. At the end of
// a command the newest View is compared with it, and what differs is sent: EXPUNGE
// (not during FETCH, STORE and SEARCH), EXISTS, RECENT and FETCH. Bodies are sent by
// byte ranges of the verified plaintext, never put together from parsed parts, so what
// a client gets is what was delivered.
//
// A message that cannot be read (no key, damaged) costs that message alone: FETCH
// answers all else and ends in NO [UNAVAILABLE]. Errors are found before a response
// has begun; where reading fails in the middle of a literal the connection is closed,
// for a literal cannot be taken back.
package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/internal/throttle"
)

// loopback is where the clients are that this host vouches for.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("imapd: server closed")

// Options configure a Server. The zero value of a field means its default.
type Options struct {
	// Authenticator checks logins. It must be set.
	Authenticator Authenticator
	// TLSConfig makes STARTTLS and implicit TLS possible.
	TLSConfig *tls.Config
	// RequireTLS refuses passwords over a connection without TLS, unless it comes
	// from the same host (Dovecot: disable_plaintext_auth).
	RequireTLS bool
	Logger     *slog.Logger // nil is silent
	Metrics    Metrics      // nil counts nothing
	// Name and Version are told to clients that ask (ID); "mailcryptd" and none.
	Name, Version string
	// MaxConnections bounds open connections, MaxPerAddress those from one address or
	// IPv6 network of /64 (loopback and TrustedNetworks are exempt), MaxLogins those that
	// have not logged in. One too many gets BYE, but where there are connections before
	// login, the oldest of them goes instead. 0 is no bound.
	MaxConnections, MaxPerAddress, MaxLogins int
	// MaxPerUser bounds the connections of a user, MaxPerUserAddress those of a user from
	// one address (Dovecot: mail_max_userip_connections); 0 is no bound. One too many is
	// refused at login.
	MaxPerUser, MaxPerUserAddress int
	// TrustedNetworks are addresses behind each of which are many users, such as webmail
	// servers: MaxPerAddress does not hold for them, and what one user fails there slows no
	// other.
	TrustedNetworks []netip.Prefix
	// MaxDelay is the longest time for which a login waits because others have failed;
	// 15 s, negative is none. See Timeouts.AuthDelay for the time that a failure takes.
	MaxDelay time.Duration

	// MasterSeparator stands between a user and the master user who logs in for that user,
	// as in alice*admin; "" is none (Dovecot: auth_master_user_separator). It needs a
	// MasterAuthenticator, and so does the authorization identity of SASL PLAIN.
	MasterSeparator string
	// NoUnauthenticate turns the command UNAUTHENTICATE off (RFC 8437 section 8).
	NoUnauthenticate bool

	Before imapwire.Limits // of a connection before login; see imapwire.Limits
	After  imapwire.Limits // after login; 1 MiB lines, 1 MiB literals, 64 MiB drained

	Timeouts Timeouts
}

// Timeouts are the patience of a Server. A zero field means its default.
type Timeouts struct {
	Handshake time.Duration // a TLS handshake; 30 s
	Login     time.Duration // one command before login, from the end of the one before; 60 s
	PreLogin  time.Duration // everything before login; 5 min
	Idle      time.Duration // between two commands after login; 30 min
	Progress  time.Duration // between two pieces of a command or literal; 60 s
	Write     time.Duration // one write to a client that does not read; 60 s
	Notice    time.Duration // between two signs of life in a long COPY, MOVE or SEARCH; 15 s
	AuthDelay time.Duration // from the check of a wrong password to its answer; 2 s
}

// setDefaults fills what was not given.
func (t *Timeouts) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Handshake, 30 * time.Second}, {&t.Login, time.Minute}, {&t.PreLogin, 5 * time.Minute},
		{&t.Idle, 30 * time.Minute}, {&t.Progress, time.Minute}, {&t.Write, time.Minute}, {&t.Notice, 15 * time.Second},
		{&t.AuthDelay, 2 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}

// Metrics counts what a Server does. Methods are called concurrently.
type Metrics interface {
	Connection(delta int)                                   // +1 opened, -1 closed
	Refused(reason string)                                  // a connection, or a login beyond a limit
	Login(ok bool)                                          // an answered LOGIN or AUTHENTICATE
	LoginDelay(d time.Duration)                             // a login waits because others have failed
	Command(name string, result string, took time.Duration) // result is OK, NO or BAD
	Unreadable(kind string)                                 // a message could not be read
	Compressed(delta int)                                   // +1 COMPRESS, -1 its end
	TLS(version string)                                     // a handshake has succeeded
	Panic()                                                 // a connection ended in a panic
}

type noMetrics struct{}

func (noMetrics) Connection(int)                        {}
func (noMetrics) Refused(string)                        {}
func (noMetrics) Login(bool)                            {}
func (noMetrics) LoginDelay(time.Duration)              {}
func (noMetrics) Command(string, string, time.Duration) {}
func (noMetrics) Unreadable(string)                     {}
func (noMetrics) Compressed(int)                        {}
func (noMetrics) TLS(string)                            {}
func (noMetrics) Panic()                                {}

// A Server serves IMAP connections. All methods may be called concurrently.
type Server struct {
	opts     Options
	login    authenticate
	loginAs  authenticateAs           // nil: there are no master users
	userKey  func(name string) string // nil: the name itself
	commands map[string]*command
	ctx      context.Context // of all sessions
	cancel   context.CancelFunc
	throttle *throttle.Throttle
	stopping chan struct{} // closed by Shutdown
	ids      atomic.Uint64 // of sessions

	mu        sync.Mutex
	closing   bool
	ahead     *aheadLimits // not under mu
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	done      sync.WaitGroup
	limits
}

// newServer is NewServer over any way to log in, which tests need.
func newServer(o Options, auth authenticate) *Server {
	o.Timeouts.setDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	if o.Name == "" {
		o.Name = "mailcryptd"
	}
	if o.After.Line <= 0 {
		o.After.Line = 1 << 20
	}
	if o.After.Literals <= 0 {
		o.After.Literals = 1 << 20
	}
	if o.After.Drain <= 0 {
		o.After.Drain = 64 << 20
	}
	s := &Server{opts: o, login: auth, commands: commandTable(), ahead: newAheadLimits(),
		listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{}, stopping: make(chan struct{}),
		limits: limits{perAddr: map[string]int{}, perUser: map[string]int{}, perPlace: map[[2]string]int{}}}
	s.throttle = throttle.New(throttle.Options{Max: o.MaxDelay, Exempt: append(slices.Clone(loopback), o.TrustedNetworks...)})
	if o.NoUnauthenticate {
		delete(s.commands, "UNAUTHENTICATE")
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections until the listener fails or Shutdown is called, which
// makes the error ErrServerClosed. implicitTLS begins each connection with a
// handshake (port 993). The listener is closed on return.
func (s *Server) Serve(l net.Listener, implicitTLS bool) error {
	defer l.Close()
	if implicitTLS && s.opts.TLSConfig == nil {
		return errors.New("imapd: implicit TLS without a TLS configuration")
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()

	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.start(nc, implicitTLS)
			continue
		}
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		switch {
		case closing:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("imapd: accepting: %w", err)
		}
		// Out of descriptors, most likely: wait for some to be closed.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.opts.Logger.Error("accepting a connection", "err", err)
		time.Sleep(pause)
	}
}

// start runs a session in a goroutine of its own.
func (s *Server) start(nc net.Conn, implicitTLS bool) {
	ss := newSession(s, nc)
	if refusal, reason := s.admit(ss); refusal != "" {
		s.opts.Metrics.Refused(reason)
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		if !implicitTLS {
			nc.Write([]byte("* BYE [UNAVAILABLE] " + refusal + "\r\n"))
		}
		nc.Close()
		return
	}
	s.opts.Metrics.Connection(1)
	go func() {
		defer s.done.Done()
		defer s.opts.Metrics.Connection(-1)
		defer s.leave(ss)
		ss.run(implicitTLS)
	}()
}

// Shutdown stops accepting, says BYE to every client as soon as its running command
// is done, and waits for all sessions to end. When ctx ends first, the rest are cut
// off and the error is ctx's.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closing {
		close(s.stopping)
	}
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for ss := range s.sessions {
		ss.conn.interrupt()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for ss := range s.sessions {
		ss.conn.abort()
	}
	s.mu.Unlock()
	<-ended
	return fmt.Errorf("imapd: shutting down: %w", ctx.Err())
}
