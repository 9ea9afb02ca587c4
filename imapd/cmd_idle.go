package imapd

import (
	"bytes"
	"errors"
	"time"
)

// idleNotify is how often IDLE says something, so that middleboxes keep the
// connection (Dovecot: imap_idle_notify_interval).
const idleNotify = 2 * time.Minute

// idle is IDLE (RFC 2177). What changes wakes the read that waits for DONE, so an idle
// session is one goroutine in one read.
func (s *session) idle(c *call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("+ idling").CRLF()
	if s.box != nil {
		// Before the first look: what changes after it wakes.
		defer s.box.box.Watch(s.conn.wake)()
	}
	if err := s.announceIdle(c, true); err != nil {
		return err
	}
	s.conn.wait(true)
	defer s.conn.wait(false)
	for told := time.Now(); ; {
		if err := s.enc.Flush(); err != nil {
			return err
		}
		s.conn.wakeAfter(idleNotify - time.Since(told))
		err := s.input()
		if err == nil {
			break
		}
		if !errors.Is(err, errWoken) {
			return err
		}
		if time.Since(told) >= idleNotify {
			told = time.Now()
			s.enc.Raw("* OK Still here").CRLF()
		}
		if err := s.announceIdle(c, false); err != nil {
			return err
		}
		if s.notify != nil {
			s.notifyOthers()
		}
	}
	line, err := s.dec.RawLine()
	if err != nil {
		return err
	}
	if !bytes.EqualFold(line, []byte("DONE")) {
		return bad("Expected DONE.")
	}
	return nil
}

// announceIdle tells a change at once, with HIGHESTMODSEQ where the end of a command would
// have it. Whoever woke us has made the new view; where there is none, the mailbox may be
// gone.
func (s *session) announceIdle(c *call, fresh bool) error {
	looked := *c
	cmd := *c.command
	cmd.fresh = fresh || s.box != nil && s.box.box.View() == s.box.view
	looked.command = &cmd
	return s.announceNow(&looked)
}
