package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine bounds a request: secrets and names are short.
const maxLine = 1 << 20

// SocketName is the file of the admin socket in the state directory.
const SocketName = "admin.sock"

type request struct {
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

type response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *wireError      `json:"error,omitempty"`
}

// A wireError keeps the kind of an error across the socket. What was done before it is
// in the response's result.
type wireError struct {
	Kind string `json:"kind,omitempty"`
	Text string `json:"text"`
}

func (e *wireError) Error() string { return e.Text }
func (e *wireError) Unwrap() error { return kinds[e.Kind] }

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			return &wireError{name, err.Error()}
		}
	}
	return &wireError{"", err.Error()}
}

// A Server offers a Service on a unix socket.
type Server struct {
	service Service
	log     *slog.Logger
	l       *net.UnixListener
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// Listen makes the socket, 0600, in a directory that only its owner may write to. The caller
// holds the instance lock, so that a socket that is there is a dead one. Close it.
func Listen(path string, s Service, log *slog.Logger) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if fi, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	} else if fi.Mode().Perm()&0o022 != 0 {
		// Others could put a socket of their own in its place. That they may enter is no
		// harm: the socket is 0600, and who calls is asked for.
		return nil, fmt.Errorf("admin: %s can be written by others: chmod go-w it", filepath.Dir(path))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("admin: %w", errors.Join(err, l.Close()))
	}
	srv := &Server{service: s, log: log, l: l}
	srv.ctx, srv.stop = context.WithCancel(context.Background())
	srv.wg.Go(srv.accept)
	return srv, nil
}

func (s *Server) accept() {
	for {
		c, err := s.l.AcceptUnix()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			s.log.Warn("admin socket", "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.wg.Go(func() {
			defer c.Close()
			// No further request is read; the one under way is answered.
			stop := context.AfterFunc(s.ctx, func() { c.CloseRead() })
			defer stop()
			if err := s.serve(c); err != nil && s.ctx.Err() == nil {
				s.log.Warn("admin socket", "err", err)
			}
		})
	}
}

// peerAllowed lets in root and the daemon's own user.
func peerAllowed(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return errors.Join(err, credErr)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("admin: user %d may not use the admin socket", cred.Uid)
	}
	return nil
}

func (s *Server) serve(c *net.UnixConn) error {
	if err := peerAllowed(c); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "mailcryptd-admin %d\n", Version); err != nil {
		return err
	}
	in := bufio.NewScanner(c)
	in.Buffer(nil, maxLine)
	out := json.NewEncoder(c)
	for in.Scan() {
		var req request
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			clear(in.Bytes())
			return out.Encode(response{Error: &wireError{"usage", "the request is not a line of JSON"}})
		}
		result, err := s.do(req)
		clear(req.Args)
		clear(in.Bytes())
		resp := response{Error: toWire(err)}
		if result != nil {
			if resp.Result, err = json.Marshal(result); err != nil {
				return err
			}
		}
		if err := out.Encode(resp); err != nil {
			return err
		}
	}
	return in.Err()
}

// do carries out one request. It goes on when the client goes away: half a key operation
// is worse than one nobody waits for.
func (s *Server) do(req request) (any, error) {
	ctx := context.WithoutCancel(s.ctx)
	switch req.Do {
	case "Reseal":
		return call(ctx, req, s.service.Reseal)
	case "SetPassword":
		return call(ctx, req, s.service.SetPassword)
	case "Status":
		return s.service.Status(ctx)
	}
	return nil, fmt.Errorf("%w: the daemon does not know how to do %q", ErrUsage, req.Do)
}

func call[A, R any](ctx context.Context, req request, do func(context.Context, A) (R, error)) (any, error) {
	var args A
	if err := json.Unmarshal(req.Args, &args); err != nil {
		return nil, fmt.Errorf("%w: the arguments of %s do not fit", ErrUsage, req.Do)
	}
	return do(ctx, args)
}

// Close ends the server after the requests under way and removes the socket.
func (s *Server) Close() error {
	s.stop()
	err := s.l.Close()
	s.wg.Wait()
	return err
}

// A Client is a Service in another process.
type Client struct {
	mu  sync.Mutex
	c   net.Conn
	in  *bufio.Reader
	out *json.Encoder
}

// ErrNoDaemon reports that nobody answers on the socket.
var ErrNoDaemon = errors.New("admin: no daemon answers")

// Dial connects to a daemon. The error wraps ErrNoDaemon where there is none.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s", ErrNoDaemon, path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("admin: the admin socket %s refused: are you the mail user, or root? %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("admin: %w", err)
	}
	cl := &Client{c: c, in: bufio.NewReaderSize(c, maxLine), out: json.NewEncoder(c)}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	hello, err := cl.in.ReadString('\n')
	c.SetReadDeadline(time.Time{})
	var version int
	if _, scanErr := fmt.Sscanf(hello, "mailcryptd-admin %d\n", &version); err != nil || scanErr != nil || version != Version {
		c.Close()
		return nil, fmt.Errorf("admin: %s is not the admin socket of a daemon of this version; restart it after an upgrade", path)
	}
	return cl, nil
}

func remote[R any](c *Client, do string, args any) (R, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var result R
	raw, err := json.Marshal(args)
	if err != nil {
		return result, err
	}
	defer clear(raw)
	if err := c.out.Encode(request{do, raw}); err != nil {
		return result, fmt.Errorf("%w: asking the daemon: %w", ErrTemporary, err)
	}
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return result, fmt.Errorf("%w: the daemon went away and may have done it, or not: ask again: %w", ErrTemporary, err)
	}
	var resp response
	if err := json.Unmarshal(line, &resp); err != nil {
		return result, fmt.Errorf("admin: the daemon's answer: %w", err)
	}
	if resp.Result == nil && resp.Error == nil {
		return result, fmt.Errorf("%w: the daemon's answer says nothing", ErrTemporary)
	}
	if resp.Result != nil {
		if err := json.Unmarshal(resp.Result, &result); err != nil {
			return result, fmt.Errorf("admin: the daemon's answer: %w", err)
		}
	}
	if resp.Error != nil {
		return result, resp.Error
	}
	return result, nil
}

// Reseal implements Service.
func (c *Client) Reseal(_ context.Context, r ResealRequest) (ResealResult, error) {
	return remote[ResealResult](c, "Reseal", r)
}

// SetPassword implements Service.
func (c *Client) SetPassword(_ context.Context, r SetPasswordRequest) (ResealResult, error) {
	return remote[ResealResult](c, "SetPassword", r)
}

// Status implements Service.
func (c *Client) Status(context.Context) (Status, error) {
	return remote[Status](c, "Status", struct{}{})
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }
