package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SocketName is the file of the admin socket in the state directory.
const SocketName = "admin.sock"

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
// holds the instance lock, so that a socket that is there is a dead one. A nil log is silent.
// Close it.
func Listen(path string, s Service, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
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
			if err := s.serve(c); err != nil && s.ctx.Err() == nil {
				s.log.Warn("admin socket", "err", err)
			}
		})
	}
}

// peerAllowed lets in root and the daemon's own user, and says who it is.
func peerAllowed(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return nil, errors.Join(err, credErr)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("admin: user %d may not use the admin socket", cred.Uid)
	}
	return cred, nil
}

// Close ends the server after the requests under way, which get some seconds to end by
// themselves and are canceled then, and removes the socket.
func (s *Server) Close() error {
	s.stop()
	err := s.l.Close()
	s.wg.Wait()
	return err
}
