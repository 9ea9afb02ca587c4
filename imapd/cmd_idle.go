package imapd

import (
	"bytes"
	"errors"
	"time"
)

// idleNotify is how often IDLE says something, so that middleboxes keep the
// connection (Dovecot: imap_idle_notify_interval).
const idleNotify = 2 * time.Minute

// idle is IDLE (RFC 2177).
func (s *session) idle(c *call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("+ idling").CRLF()
	if err := s.announce(c); err != nil {
		return err
	}
	if err := s.enc.Flush(); err != nil {
		return err
	}
	s.conn.wait(true)
	defer s.conn.wait(false)

	// One goroutine reads, this one writes. It always ends before this function does:
	// with the line, or because abort or the deadline makes the read fail.
	type result struct {
		line []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		r := result{err: errors.New("imapd: panic while reading")}
		defer func() { read <- r }()
		defer s.recovered()
		r.line, r.err = s.dec.RawLine()
	}()
	tick := time.NewTicker(idleNotify)
	defer tick.Stop()
	for {
		var changed <-chan struct{}
		if s.box != nil {
			changed = s.box.box.Changed()
			// A change before the channel was taken would be missed otherwise.
			if s.box.box.View() != s.box.view {
				if err := s.announceIdle(c); err != nil {
					s.conn.abort()
					<-read
					return err
				}
			}
		}
		select {
		case r := <-read:
			if r.err != nil {
				return r.err
			}
			if !bytes.EqualFold(r.line, []byte("DONE")) {
				return bad("Expected DONE.")
			}
			return nil
		case <-changed:
		case <-tick.C:
			s.enc.Raw("* OK Still here").CRLF()
			if err := s.enc.Flush(); err != nil {
				s.conn.abort()
				<-read
				return err
			}
		}
	}
}

// announceIdle tells a change at once. It looks at the view only: whoever woke us has
// made it.
func (s *session) announceIdle(c *call) error {
	looked := *c
	cmd := *c.command
	cmd.fresh = false
	looked.command = &cmd
	if err := s.announce(&looked); err != nil {
		s.bye("", "The selected mailbox was deleted or replaced.")
		return err
	}
	return s.enc.Flush()
}
