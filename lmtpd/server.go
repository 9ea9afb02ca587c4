package lmtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// A Server takes deliveries. Its methods may be called concurrently.
type Server struct {
	o    Options
	smtp *smtp.Server
	ctx  context.Context // of all deliveries; ended when they must stop
	stop context.CancelFunc

	active atomic.Int64 // messages being received

	mu      sync.Mutex
	closing bool
	wires   map[*wire]bool
}

// NewServer returns a Server with its defaults filled in. It panics without Users.
func NewServer(o Options) *Server {
	if o.Users == nil {
		panic("lmtpd: Options.Users is nil")
	}
	if o.Hostname == "" {
		if o.Hostname, _ = os.Hostname(); o.Hostname == "" {
			o.Hostname = "localhost"
		}
	}
	if o.Folder == "" {
		o.Folder = "INBOX"
	}
	o.MaxRecipients = orDefault(o.MaxRecipients, 100)
	o.MaxConnections = orDefault(o.MaxConnections, 1000)
	o.MaxCommits = orDefault(o.MaxCommits, 8)
	o.CommandTimeout = orDefault(o.CommandTimeout, 5*time.Minute)
	o.DataTimeout = orDefault(o.DataTimeout, 5*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	s := &Server{o: o, wires: make(map[*wire]bool)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.smtp.LMTP = true
	s.smtp.Domain = o.Hostname
	s.smtp.MaxRecipients = o.MaxRecipients
	s.smtp.MaxMessageBytes = o.MaxMessageSize
	s.smtp.MaxLineLength = 0 // the wire bounds commands; text has lines of any length
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ReadTimeout = o.CommandTimeout
	s.smtp.WriteTimeout = o.CommandTimeout
	s.smtp.ErrorLog = errorLog{s}
	return s
}

func orDefault[T int | time.Duration](n, def T) T {
	if n <= 0 {
		return def
	}
	return n
}

// Serve takes connections from l, TCP or Unix, until Shutdown, and then returns
// ErrServerClosed. It closes l. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		l.Close()
		return ErrServerClosed
	}
	err := s.smtp.Serve(&listener{Listener: l, srv: s})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return ErrServerClosed
	}
	return fmt.Errorf("lmtpd: accepting on %s: %w", l.Addr(), err)
}

// Shutdown closes the listeners, tells idle clients goodbye, and waits until messages
// being received have been answered. When ctx ends before, connections are cut and
// what they were sending is not stored.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for w := range s.wires {
		w.shutdown()
	}
	s.mu.Unlock()
	err := s.smtp.Shutdown(ctx)
	if errors.Is(err, smtp.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if ctx.Err() != nil {
		s.mu.Lock()
		for w := range s.wires {
			w.raw.Close()
		}
		s.mu.Unlock()
	}
	s.stop()
	// go-smtp does not wait for a message that came in chunks.
	for i := 0; i < 1000 && s.active.Load() > 0; i++ {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("lmtpd: shutting down: %w", err)
	}
	return nil
}

// A listener makes wires of connections and turns away too many.
type listener struct {
	net.Listener
	srv *Server
}

// Accept is called by go-smtp.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if w := l.srv.add(c); w != nil {
			return w, nil
		}
		// The refusal fits the socket's buffer; a client that does not read it must not
		// hold up the others.
		c.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(c, "421 4.3.2 Too many connections\r\n")
		c.Close()
	}
}

// add counts a connection, or returns nil where there are too many.
func (s *Server) add(c net.Conn) *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wires) >= s.o.MaxConnections || s.closing {
		return nil
	}
	w := newWire(s, c)
	s.wires[w] = true
	s.o.Metrics.Connection(1)
	return w
}

// remove is called when a connection is closed, perhaps twice.
func (s *Server) remove(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wires[w] {
		delete(s.wires, w)
		s.o.Metrics.Connection(-1)
	}
}

// errorLog takes what go-smtp logs. It knows nothing of messages, but a panic may.
type errorLog struct{ s *Server }

func (l errorLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "panic") {
		l.s.o.Metrics.Panic()
		// The last is the stack; the value of the panic before it may hold mail.
		l.s.o.Logger.Error("lmtp: panic", "trace", fmt.Sprintf("%s", v[len(v)-1]))
		return
	}
	l.s.o.Logger.Debug("lmtp: connection", "error", fmt.Sprintf(format, v...))
}

func (l errorLog) Println(v ...any) {
	l.s.o.Logger.Debug("lmtp: connection", "error", fmt.Sprint(v...))
}

type noMetrics struct{}

func (noMetrics) Connection(int)         {}
func (noMetrics) Delivery(string, int64) {}
func (noMetrics) Panic()                 {}
