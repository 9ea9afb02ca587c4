package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxLine bounds a request. Keys to import are the longest: some 600 octets each.
	maxLine = 16 << 20
	// closeGrace is how long requests under way may take after Server.Close.
	closeGrace = 5 * time.Second
	// writeTimeout bounds how long a client may leave an answer unread.
	writeTimeout = 30 * time.Second
	// aliveEvery is how often a client that waits is told that its request is being worked on.
	aliveEvery = 5 * time.Second
)

// A serverConn is one client of a Server.
type serverConn struct {
	srv   *Server
	c     *net.UnixConn
	peer  *unix.Ucred
	lines chan []byte // what the client sends; closed at its end

	mu  sync.Mutex // of writing
	out *json.Encoder
}

// serve answers one client until it goes away or the server closes.
func (s *Server) serve(c *net.UnixConn) error {
	peer, err := peerAllowed(c)
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := fmt.Fprintf(c, "mailcryptd-admin %d\n", Version); err != nil {
		return err
	}
	sc := &serverConn{srv: s, c: c, peer: peer, lines: make(chan []byte), out: json.NewEncoder(c)}
	ended := make(chan struct{})
	readErr := make(chan error, 1)
	go func() { readErr <- sc.read(ended) }()
	err = sc.run()
	close(ended)
	c.Close()
	return errors.Join(err, <-readErr)
}

// read passes on what the client sends, so that its end is noticed in the middle of a
// request.
func (sc *serverConn) read(ended <-chan struct{}) error {
	defer close(sc.lines)
	in := bufio.NewScanner(sc.c)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		line := append([]byte(nil), in.Bytes()...)
		clear(in.Bytes())
		select {
		case sc.lines <- line:
		case <-ended:
			clear(line)
			return nil
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// run takes one request after another.
func (sc *serverConn) run() error {
	for {
		select {
		case line, ok := <-sc.lines:
			if !ok {
				return nil
			}
			var req request
			err := json.Unmarshal(line, &req)
			clear(line)
			switch {
			case err != nil:
				return sc.write(response{Error: &wireError{[]string{"usage"}, "the request is not a line of JSON"}})
			case req.Cancel:
				continue // of a request that has ended meanwhile
			case req.Version != Version:
				return sc.write(response{Error: toWire(fmt.Errorf("%w: the daemon speaks version %d, the client version %d: use the doveadm-crypt of the same release", ErrVersion, Version, req.Version))})
			}
			if err := sc.answer(req); err != nil {
				return err
			}
		case <-sc.srv.ctx.Done():
			return nil // no further request
		}
	}
}

// answer carries out one request, reports its progress, and cancels it when the client
// asks for that or goes away.
func (sc *serverConn) answer(req request) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(sc.srv.ctx))
	defer cancel()
	stopGrace := context.AfterFunc(sc.srv.ctx, func() { time.AfterFunc(closeGrace, cancel) })
	defer stopGrace()
	ctx = WithProgress(ctx, func(p Progress) { _ = sc.write(response{Progress: &p}) })
	type outcome struct {
		result any
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := sc.do(ctx, req)
		done <- outcome{result, err}
	}()
	lines := sc.lines
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		select {
		case <-alive.C:
			sc.alive()
		case o := <-done:
			clear(req.Args)
			resp := response{Error: toWire(o.err)}
			if o.result != nil {
				raw, err := json.Marshal(o.result)
				if err != nil {
					return err
				}
				resp.Result = raw
			}
			return sc.write(resp)
		case line, ok := <-lines:
			if !ok {
				lines = nil
			}
			clear(line) // {"cancel":true}, or a client that does not wait for its answer
			cancel()
		}
	}
}

// alive says that the request is being worked on, unless something is being said anyhow: a
// client that leaves a piece of text unread must not keep its cancel from being seen.
func (sc *serverConn) alive() {
	if sc.mu.TryLock() {
		defer sc.mu.Unlock()
		sc.c.SetWriteDeadline(time.Now().Add(writeTimeout))
		_ = sc.out.Encode(response{Alive: true}) // a client that is gone shows in lines
	}
}

func (sc *serverConn) do(ctx context.Context, req request) (any, error) {
	if req.Do == "Fetch" {
		return call(ctx, req, sc.fetch)
	}
	return do(ctx, sc.srv.service, req)
}

func (sc *serverConn) write(r response) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	return sc.out.Encode(r)
}
