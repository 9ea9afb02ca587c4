package imapd

import (
	"context"
	"errors"
	"strings"
	"time"
)

// errPanicked reports a panic that was logged when it happened.
var errPanicked = errors.New("imapd: internal error: panic")

// A notice tells a client in the middle of a long command that the server is still at
// work. That keeps middleboxes from forgetting the connection, and it is how a client that
// has gone is noticed: only writing shows that nobody is there any more.
type notice struct {
	s    *session
	tag  string
	goal int // steps in all; 0 where that is not known
	last time.Time
}

// newNotice begins the time of a command.
func (s *session) newNotice(tag string, goal int) *notice { return &notice{s, tag, goal, time.Now()} }

// give sends a notice if it is time for one. done counts the steps done, of which a client
// is told. The error says that the client has gone.
func (n *notice) give(done int) error {
	if now := time.Now(); now.Sub(n.last) >= n.s.srv.opts.Timeouts.Notice {
		n.last = now
		return n.send(done)
	}
	return nil
}

// send sends one notice: INPROGRESS (RFC 9585 section 4).
func (n *notice) send(done int) error {
	e := n.s.enc
	e.Raw("* OK [INPROGRESS (")
	if strings.ContainsFunc(n.tag, func(r rune) bool { return r == ']' || r >= 0x80 }) {
		e.NIL() // a code ends at its first "]" for many a client
	} else {
		e.String(n.tag)
	}
	if n.goal > 0 {
		e.SP().Number(int64(done)).SP().Number(int64(n.goal))
	} else {
		e.Raw(" NIL NIL")
	}
	e.Raw(")] Still working.").CRLF()
	return e.Flush()
}

// patiently runs one long step of the command with this tag and gives notices meanwhile.
// Where the client is found to have gone, the step's context ends; what it returns then is
// the error of the connection. The step must not use what the session writes with.
func (s *session) patiently(tag string, step func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := errPanicked
		defer func() { done <- err }()
		defer s.recovered()
		err = step(ctx)
	}()
	n := s.newNotice(tag, 0)
	tick := time.NewTicker(s.srv.opts.Timeouts.Notice)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := n.send(0); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}
