package imapd

import (
	"bytes"
	"io"
	"sync"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// messageArgs are the arguments of one message of APPEND before its octets.
type messageArgs struct {
	info     mailbox.SaveInfo
	catenate bool              // a list of parts follows, RFC 4469
	literal  *imapwire.Literal // not yet asked for; nil with catenate
	utf8     bool              // the literal is within UTF8 (...), RFC 6855 section 4
}

// messageArgs reads up to the announcement of the message (RFC 9051 section 6.3.12, RFC
// 4466 section 2.2):
//
//	append-message = [flag-list SP] [date-time SP] append-data
//	append-data    = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP cat-list
func (s *session) messageArgs() (a messageArgs, err error) {
	d := s.dec
	if d.Peek() == '(' {
		names, err := d.FlagList()
		if err != nil {
			return a, err
		}
		if a.info.Flags, err = parseFlags(names); err != nil {
			return a, err
		}
		if err := d.SP(); err != nil {
			return a, err
		}
	}
	if d.Peek() == '"' {
		if a.info.Received, err = d.DateTime(); err != nil {
			return a, err
		}
		if err := d.SP(); err != nil {
			return a, err
		}
	}
	a.info.NeedUID = true
	switch {
	case d.TryWord("CATENATE"):
		a.catenate = true
		return a, d.SP()
	case d.TryWord("UTF8"):
		a.utf8 = true
		a.literal, err = s.utf8Literal()
	default:
		a.literal, err = d.Literal()
	}
	return a, err
}

// utf8Literal reads what follows UTF8 up to the literal; the parenthesis comes after it.
func (s *session) utf8Literal() (*imapwire.Literal, error) {
	if err := s.dec.SP(); err != nil {
		return nil, err
	}
	if err := s.dec.Expect('('); err != nil {
		return nil, err
	}
	l, err := s.dec.Literal()
	if err == nil && !l.Binary {
		return nil, bad("UTF8 needs a binary literal.")
	}
	return l, err
}

// message reads one message and writes it, durable and not yet visible.
func (v *saving) message() error {
	a, err := v.messageArgs()
	if err != nil {
		return err
	}
	if v.target == nil {
		if err := v.decodeName(&v.name); err != nil {
			return err
		}
	}
	if a.literal != nil {
		if err := v.acceptable(a.literal.Size, 0); err != nil {
			return err
		}
		a.info.Announced, a.info.Before = a.literal.Size, v.announced
		v.announced += min(a.literal.Size, 1<<62-v.announced)
	}
	if v.target == nil {
		if err := v.open(); err != nil {
			return err
		}
	}
	into, err := v.target.Append(v.ctx, a.info)
	if err != nil {
		return &targetError{err}
	}
	v.written = append(v.written, into)
	if a.catenate {
		err = v.catenate(into)
	} else {
		err = v.copyLiteral(into, a.literal, a.utf8)
	}
	if err != nil {
		return err
	}
	return into.Finish()
}

// acceptable refuses by its announced size what would not be saved. before is what the
// message has already.
func (v *saving) acceptable(size, before int64) error {
	if size == 0 && before == 0 {
		// RFC 3502 section 6.3.11: this is how a client takes an APPEND back.
		return no("CANNOT", "Can't save a zero byte message.")
	}
	if limit := v.login.AppendLimit(); limit > 0 && size > limit-before {
		return no("TOOBIG", "Message is too large.")
	}
	return nil
}

// copyLiteral asks for a literal and writes it, up to the octet after it. utf8 says that
// a parenthesis closes it.
func (v *saving) copyLiteral(into io.Writer, l *imapwire.Literal, utf8 bool) error {
	if err := l.Accept(); err != nil {
		return err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer func() {
		clear(*buf)
		copyBuffers.Put(buf)
	}()
	// A failed write does not stop the reading: the octets come in any case.
	var failed error
	for {
		n, err := l.Read(*buf)
		if n > 0 && failed == nil {
			failed = writeMessage(into, (*buf)[:n], l.Binary)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if utf8 {
		return v.dec.Expect(')')
	}
	return nil
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
