package imapd

import (
	"context"
	"errors"
	"time"
)

// errPanicked reports a panic that was logged when it happened.
var errPanicked = errors.New("imapd: internal error: panic")

// A notice tells a client in the middle of a long command that the server is still at
// work. That keeps middleboxes from forgetting the connection, and it is how a client that
// has gone is noticed: only writing shows that nobody is there any more.
type notice struct {
	s    *session
	last time.Time
}

// newNotice begins the time of a command.
func (s *session) newNotice() *notice { return &notice{s, time.Now()} }

// give sends a notice if it is time for one. The error says that the client has gone.
func (n *notice) give() error {
	if now := time.Now(); now.Sub(n.last) >= n.s.srv.opts.Timeouts.Notice {
		n.last = now
		return n.s.stillWorking()
	}
	return nil
}

// stillWorking sends one notice.
func (s *session) stillWorking() error {
	s.enc.Raw("* OK Still working.").CRLF()
	return s.enc.Flush()
}

// patiently runs one long step and gives notices meanwhile. Where the client is found to
// have gone, the step's context ends; what it returns then is the error of the connection.
// The step must not use what the session writes with.
func (s *session) patiently(step func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := errPanicked
		defer func() { done <- err }()
		defer s.recovered()
		err = step(ctx)
	}()
	tick := time.NewTicker(s.srv.opts.Timeouts.Notice)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := s.stillWorking(); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}
