package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailcrypt/admin"
	"mailcrypt/config"
	"mailcrypt/imapd"
	"mailcrypt/internal/haproxy"
	"mailcrypt/internal/metrics"
	"mailcrypt/internal/system"
	"mailcrypt/lmtpd"
)

func serveCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "serve",
		Short: "serve IMAP and LMTP until SIGTERM; SIGHUP reads the configuration again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(path)
			if err != nil {
				return &statusError{exitConfig, err}
			}
			smallHeap()
			return failed(serve(cmd.Context(), c, cmd.ErrOrStderr(), nil))
		},
	}
	configFlag(c, &path)
	return c
}

// smallHeap collects garbage earlier than Go does by itself: what grows here is buffers of
// messages under way, and a peak twice as high serves nobody. GOGC, where set, wins.
func smallHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(60)
	}
}

// failed gives what ended the daemon its exit status: systemd must not start it again and
// again where the configuration is wrong.
func failed(err error) error {
	var c *config.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &c):
		return &statusError{exitConfig, err}
	}
	return &statusError{exitFail, err}
}

// A server is everything that runs.
type server struct {
	log     *slog.Logger
	level   *slog.LevelVar
	system  *system.System
	cert    atomic.Pointer[tls.Certificate]
	metrics *metrics.Metrics
	imap    *imapd.Server
	lmtp    *lmtpd.Server
	admin   *admin.Server
	http    *http.Server
	failed  chan error // the first listener that gave up
}

// logger makes the log that a configuration asks for.
func logger(c *config.Config, w io.Writer, level *slog.LevelVar) *slog.Logger {
	setLevel(c, level)
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func setLevel(c *config.Config, level *slog.LevelVar) {
	level.UnmarshalText([]byte(c.LogLevel))
}

// serve runs until a signal or a failure. ready, where set, is called once all listen.
func serve(ctx context.Context, c *config.Config, logTo io.Writer, ready func(*server)) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	s := &server{level: &slog.LevelVar{}, failed: make(chan error, 1)}
	s.log = logger(c, logTo, s.level)
	if s.system, err = system.Open(c, s.log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.start(c); err != nil {
		return err
	}
	if w := system.KeyExposed(c); w != "" {
		s.log.Warn(w)
	}
	s.log.Info("serving", "version", system.Version(), "config", c.Path)
	daemon.SdNotify(false, daemon.SdNotifyReady)
	if ready != nil {
		ready(s)
	}
	for {
		select {
		case <-ctx.Done():
			s.log.Info("stopping")
			daemon.SdNotify(false, daemon.SdNotifyStopping)
			return nil
		case err := <-s.failed:
			return err
		case <-hup:
			s.reload(c.Path)
		}
	}
}

// start opens every listener.
func (s *server) start(c *config.Config) error {
	cert, err := system.TLS(c)
	if err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if cert != nil {
		s.cert.Store(cert)
		tlsConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil },
		}
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	s.metrics = metrics.New()
	s.imap = imapd.NewServer(imapd.Options{
		Authenticator: s.system, TLSConfig: tlsConfig, RequireTLS: c.Auth.DisablePlaintext,
		Logger: s.log.With("service", "imap"), Metrics: s.metrics.IMAP, Version: system.Version(),
		MaxConnections: s.maxConnections(c), MaxLogins: c.IMAP.MaxLogins, MaxPerAddress: c.IMAP.MaxPerAddress,
		MaxPerUser: c.IMAP.MaxPerUser, MaxPerUserAddress: c.IMAP.MaxPerUserAddress,
		TrustedNetworks: c.Auth.TrustedNetworks, MaxDelay: cmp.Or(c.Auth.MaxDelay, -1),
		Timeouts:         imapd.Timeouts{AuthDelay: max(c.Auth.FailureDelay, 1)},
		MasterSeparator:  c.Auth.MasterSeparator,
		NoUnauthenticate: !c.IMAP.Unauthenticate,
	})
	s.lmtp = lmtpd.NewServer(lmtpd.Options{
		Users: s.system, Hostname: hostname, MaxMessageSize: c.LMTP.MessageSizeLimit,
		RecipientDelimiter: c.LMTP.RecipientDelimiter, TLSConfig: tlsConfig,
		Logger: s.log.With("service", "lmtp"), Metrics: s.metrics.LMTP,
	})
	if err := s.listenAll(c); err != nil {
		return err
	}
	if c.Metrics.Listen != "" {
		s.http = &http.Server{Handler: s.metrics.Handler(), ReadHeaderTimeout: 10 * time.Second}
		if err := s.listen(c.Metrics.Listen, s.http.Serve); err != nil {
			return err
		}
	}
	s.admin, err = admin.Listen(filepath.Join(c.StateDir, admin.SocketName), s.system.Admin(sessions{s.imap}), s.log.With("service", "admin"))
	return err
}

// perConnection is how many descriptors a connection may need: its own, and those of the
// dictionary and the index of a user who has no other.
const perConnection = 3

// fewConnections is what an administrator should hear of: a mail client opens up to five.
const fewConnections = 1000

// maxConnections is the bound of connections: by default what the descriptors are enough for.
// The Go runtime has raised the soft limit to the hard one.
func (s *server) maxConnections(c *config.Config) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		s.log.Warn("the limit of open files is not known", "err", err)
		return c.IMAP.MaxConnections
	}
	files := int(min(limit.Cur, 1<<30))
	switch n := c.IMAP.MaxConnections; {
	case n == 0:
		n = max(files/(perConnection+1), 16)
		if n < fewConnections {
			s.log.Warn("the system allows few open files, and so few connections: raise LimitNOFILE (ulimit -Hn)",
				"allowed", files, "connections", n)
		}
		return n
	case n > files/perConnection:
		s.log.Warn("max_connections needs more open files than the system allows: raise LimitNOFILE", "max_connections", n,
			"needed", n*perConnection, "allowed", files)
		return n
	default:
		return n
	}
}

// listenAll opens the addresses of the protocols, those for proxies too.
func (s *server) listenAll(c *config.Config) error {
	plain := func(l net.Listener) error { return s.imap.Serve(l, false) }
	withTLS := func(l net.Listener) error { return s.imap.Serve(l, true) }
	proxied := func(serve func(net.Listener) error) func(net.Listener) error {
		return func(l net.Listener) error {
			return serve(haproxy.Listen(l, haproxy.Options{
				Trusted: c.HAProxy.TrustedNetworks, Timeout: c.HAProxy.Timeout, TrustTLS: c.HAProxy.TrustTLS,
				Log: s.log.With("service", "haproxy"), Refused: s.metrics.IMAP.Refused,
			}))
		}
	}
	for _, set := range []struct {
		addresses []string
		serve     func(net.Listener) error
	}{
		{c.IMAP.Listen, plain}, {c.IMAP.TLSListen, withTLS}, {c.LMTP.Listen, s.lmtp.Serve},
		{c.IMAP.ProxyListen, proxied(plain)}, {c.IMAP.ProxyTLSListen, proxied(withTLS)}, {c.LMTP.ProxyListen, proxied(s.lmtp.Serve)},
	} {
		for _, a := range set.addresses {
			if err := s.listen(a, set.serve); err != nil {
				return err
			}
		}
	}
	return nil
}

// listen opens one address and serves it behind.
func (s *server) listen(address string, serve func(net.Listener) error) error {
	l, err := listenOn(address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	go func() {
		err := serve(l)
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			select {
			case s.failed <- fmt.Errorf("serving %s: %w", address, err):
			default:
			}
		}
	}()
	return nil
}

// listenOn opens host:port, or unix:PATH. Who may reach a unix socket is decided by its
// directory, as with Dovecot's.
func listenOn(address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return net.Listen("tcp", address)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	// The instance lock is ours, so a socket that is there belongs to nobody.
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
		os.Remove(path)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o666)
}

// reload reads the configuration again. What cannot change while running stays; a
// configuration that is wrong changes nothing.
func (s *server) reload(path string) {
	daemon.SdNotify(false, daemon.SdNotifyReloading)
	defer daemon.SdNotify(false, daemon.SdNotifyReady)
	c, err := config.Load(path)
	if err == nil {
		var cert *tls.Certificate
		if cert, err = system.TLS(c); err == nil {
			err = s.system.Reload(c)
		}
		if err == nil && cert != nil && s.cert.Load() != nil {
			s.cert.Store(cert)
		}
	}
	if err != nil {
		s.log.Error("the configuration was not reloaded; the old one holds", "err", err)
		return
	}
	setLevel(c, s.level)
	s.log.Info("reloaded the configuration; addresses, TLS on or off, the user database and state_dir change with a restart")
}

// close ends all sessions, the protocols first.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var errs []error
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.lmtp != nil {
		errs = append(errs, s.lmtp.Shutdown(ctx))
	}
	if s.imap != nil {
		errs = append(errs, s.imap.Shutdown(ctx))
	}
	if s.http != nil {
		errs = append(errs, s.http.Shutdown(ctx))
	}
	return errors.Join(append(errs, s.system.Close())...)
}
