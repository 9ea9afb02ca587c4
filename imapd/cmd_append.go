package imapd

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// appendArgs are the arguments of APPEND before the message.
type appendArgs struct {
	name    string
	info    mailbox.SaveInfo
	literal *imapwire.Literal
	utf8    bool // the message is within UTF8 (...), RFC 6855 section 4
}

// append is APPEND. The message goes from the socket into the store in pieces; what
// is refused is refused before the client is asked for it.
func (s *session) append(*call) error {
	a, err := s.appendArgs()
	if err != nil {
		return err
	}
	if err := s.decodeName(&a.name); err != nil {
		return err
	}
	if a.literal.Size == 0 {
		return no("CANNOT", "Can't save a zero byte message.")
	}
	if limit := s.login.AppendLimit(); limit > 0 && a.literal.Size > limit {
		return no("TOOBIG", "Message is too large.")
	}
	target, err := s.login.Open(s.ctx, a.name, false)
	if err != nil {
		return &targetError{err}
	}
	defer func() {
		if err := target.Close(); err != nil {
			s.log.Error("closing a mailbox", "err", err)
		}
	}()
	if target.ReadOnly() {
		return mailbox.ErrReadOnly
	}
	a.info.NeedUID = true
	into, err := target.Append(s.ctx, a.info)
	if err != nil {
		return &targetError{err}
	}
	uid, err := s.saveLiteral(a, into)
	if err != nil {
		return err
	}
	return ok("APPENDUID "+itoa(int64(target.View().UIDValidity))+" "+itoa(int64(uid)), "Append completed.")
}

// saveLiteral reads the message and commits it once the command has proved whole.
func (s *session) saveLiteral(a *appendArgs, into appender) (_ mailbox.UID, err error) {
	committed := false
	defer func() {
		if !committed {
			if e := into.Abort(); e != nil {
				s.log.Error("removing an unfinished message", "err", e)
			}
		}
	}()
	if err := a.literal.Accept(); err != nil {
		return 0, err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer func() {
		clear(*buf)
		copyBuffers.Put(buf)
	}()
	// A failed write does not stop the reading: the octets come in any case.
	var failed error
	for {
		n, err := a.literal.Read(*buf)
		if n > 0 && failed == nil {
			failed = writeMessage(into, (*buf)[:n], a.literal.Binary)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if err := a.literal.Close(); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	if a.utf8 {
		if err := s.dec.Expect(')'); err != nil {
			return 0, err
		}
	}
	if err := s.dec.End(); err != nil {
		return 0, err
	}
	committed = true // what a failed Commit leaves is its own to remove
	uid, err := into.Commit()
	if err != nil {
		return 0, errors.Join(err, into.Abort())
	}
	return uid, nil
}

var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 32<<10)
	return &b
}}

// writeMessage refuses NUL outside a literal8 (RFC 3516 section 7): RFC 5322 has none,
// and a reader could not be given it back.
func writeMessage(into io.Writer, p []byte, binary bool) error {
	if !binary && bytes.IndexByte(p, 0) >= 0 {
		return no("CANNOT", "Message contains NUL; use a binary literal.")
	}
	_, err := into.Write(p)
	return err
}

// appendArgs reads up to the announcement of the message, which is not yet asked for
// (RFC 9051 section 6.3.12, RFC 6855 section 4):
//
//	append = mailbox SP [flag-list SP] [date-time SP] (literal / literal8 / "UTF8" SP "(" literal8 ")")
//
// Not yet MULTIAPPEND (RFC 3502): its messages must be saved all or none.
func (s *session) appendArgs() (*appendArgs, error) {
	a := &appendArgs{}
	d := s.dec
	if err := d.SP(); err != nil {
		return nil, err
	}
	if err := s.mailboxName(&a.name)(); err != nil {
		return nil, err
	}
	if err := d.SP(); err != nil {
		return nil, err
	}
	if d.Peek() == '(' {
		names, err := d.FlagList()
		if err != nil {
			return nil, err
		}
		if a.info.Flags, err = parseFlags(names); err != nil {
			return nil, err
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
	}
	if d.Peek() == '"' {
		t, err := d.DateTime()
		if err != nil {
			return nil, err
		}
		a.info.Received = t
		if err := d.SP(); err != nil {
			return nil, err
		}
	}
	if d.TryWord("UTF8") {
		a.utf8 = true
		if err := d.SP(); err != nil {
			return nil, err
		}
		if err := d.Expect('('); err != nil {
			return nil, err
		}
	}
	var err error
	if a.literal, err = d.Literal(); err != nil {
		return nil, err
	}
	if a.utf8 && !a.literal.Binary {
		return nil, bad("UTF8 needs a binary literal.")
	}
	return a, nil
}
