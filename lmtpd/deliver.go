package lmtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"mailcrypt/internal/bufpool"
	"mailcrypt/mailbox"
	"mailcrypt/quota"
)

// errTooLarge reports a message above Options.MaxMessageSize.
var errTooLarge = fmt.Errorf("lmtpd: message above the limit: %w", mailbox.ErrTooLarge)

// LMTPData receives the message and saves it for every recipient.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	s.wire.receiving()
	body, chunked := r, true
	if b := s.wire.body(); b != nil {
		body, chunked = b, false
	}
	tx := s.begin()
	if tx == nil {
		return smtpError(errCut)
	}
	defer s.srv.active.Add(-1)
	defer close(tx.running)
	defer s.srv.close(tx)
	defer s.srv.abort(tx)

	s.open(tx)
	size, err := s.receive(tx, body)
	if err != nil {
		if tx.cut = chunked; !chunked {
			s.wire.last = true // text may still be on its way: no command can follow
		}
		for _, r := range tx.recipients {
			r.err = errCut
			s.srv.log(r, size, errCut)
		}
		return smtpError(errCut)
	}
	s.commit(tx)
	for _, r := range tx.recipients {
		s.srv.log(r, size, r.err)
		reply := &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: r.id + " Saved"}
		if r.err != nil {
			reply = smtpError(r.err)
		}
		status.SetStatus(r.given, reply)
	}
	return nil
}

// open begins a message for every recipient and writes the trace fields.
func (s *session) open(tx *transaction) {
	now := time.Now()
	for _, r := range tx.recipients {
		r.try(s.srv, func() (err error) {
			r.appender, err = r.Append(s.srv.ctx, s.srv.o.Folder, mailbox.SaveInfo{Received: now, Announced: tx.size})
			if err != nil {
				r.appender = nil
				return err
			}
			_, err = r.appender.Write(s.trace(tx, r, now))
			return err
		})
	}
}

// try runs one step of a recipient unless an earlier one failed. An error or a panic
// is this recipient's alone.
func (r *recipient) try(s *Server, step func() error) {
	if r.err != nil {
		return
	}
	defer s.recover(&r.err)
	r.err = step()
}

// receiveSize is how much of a message is handed on at a time.
const receiveSize = 32 << 10

// receive reads the message to its end and hands it on. The error is one of reading;
// those of saving are the recipients'.
func (s *session) receive(tx *transaction, body io.Reader) (size int64, err error) {
	lent := bufpool.Make(receiveSize)
	defer lent.Free()
	buf := lent.B
	limit := s.srv.o.MaxMessageSize
	for {
		n, err := body.Read(buf)
		size += int64(n)
		if limit > 0 && size > limit {
			for _, r := range tx.recipients {
				if r.err == nil {
					r.err = errTooLarge
				}
			}
		}
		for _, r := range tx.recipients {
			if n > 0 {
				r.try(s.srv, func() error {
					_, err := r.appender.Write(buf[:n])
					return err
				})
			}
		}
		switch {
		case err == io.EOF:
			return size, nil
		case err != nil:
			return size, err
		}
	}
}

// commit makes the message durable for all for whom nothing failed, several at a time.
func (s *session) commit(tx *transaction) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, s.srv.o.MaxCommits)
	for i, r := range tx.recipients {
		if r.err != nil {
			continue
		}
		save := func() error {
			_, err := r.appender.Commit()
			return err
		}
		slots <- struct{}{}
		if i == len(tx.recipients)-1 { // mostly the only one
			r.try(s.srv, save)
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r.try(s.srv, save)
		})
	}
	wg.Wait()
}

// abort ends what was begun and not committed.
func (s *Server) abort(tx *transaction) {
	for _, r := range tx.recipients {
		if r.appender == nil {
			continue
		}
		func() {
			var err error
			defer s.recover(&err)
			if err = r.appender.Abort(); err != nil {
				s.o.Logger.Warn("lmtp: aborting", "user", r.User(), "id", r.id, "error", err)
			}
		}()
	}
}

// trace is the fields that a delivery adds.
func (s *session) trace(tx *transaction, r *recipient, now time.Time) []byte {
	helo := tx.helo
	if !validHelo(helo) {
		helo = "unknown"
	}
	b := fmt.Appendf(nil, "Return-Path: <%s>\r\nDelivered-To: %s\r\nReceived: from %s", quoteLocal(tx.from), quoteLocal(r.address), helo)
	if a, ok := s.wire.RemoteAddr().(*net.TCPAddr); ok {
		b = fmt.Appendf(b, " ([%s])", a.IP)
	}
	protocol := "LMTP"
	if c, ok := s.wire.Conn.(*tls.Conn); ok {
		state := c.ConnectionState()
		b = fmt.Appendf(b, "\r\n\t(using %s with cipher %s)", strings.ReplaceAll(tls.VersionName(state.Version), " ", "v"),
			tls.CipherSuiteName(state.CipherSuite))
		protocol = "LMTPS"
	}
	return fmt.Appendf(b, "\r\n\tby %s with %s\r\n\tid %s\r\n\t(envelope-from <%s>)\r\n\tfor <%s>; %s\r\n",
		s.srv.o.Hostname, protocol, r.id, quoteLocal(tx.from), quoteLocal(r.address), now.Format(time.RFC1123Z))
}

// quoteLocal writes an address with its local part quoted where it must be (RFC 5321
// section 4.1.2), for go-smtp takes the quotes off.
func quoteLocal(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		i = len(address)
	}
	local := address[:i]
	if !strings.ContainsAny(local, " ()<>[]:;@\\,\"") {
		return address
	}
	local = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local)
	return `"` + local + `"` + address[i:]
}

// validHelo reports a name or address literal that may stand in a header.
func validHelo(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r))
	})
}

// recover turns a panic into an error, which is temporary.
func (s *Server) recover(err *error) {
	if v := recover(); v != nil {
		s.o.Metrics.Panic()
		s.o.Logger.Error("lmtp: panic", "trace", string(bytes.TrimSpace(debug.Stack())))
		*err = errors.New("lmtpd: internal error: panic")
	}
}

// log notes a recipient's result: never anything of the message or its sender.
func (s *Server) log(r *recipient, size int64, err error) {
	user := s.userOf(r.address)
	if r.Recipient != nil {
		user = r.User()
	}
	result := "saved"
	if err != nil {
		result = "deferred"
		if smtpError(err).Code >= 500 {
			result = "refused"
		}
		if errors.Is(err, quota.ErrExceeded) {
			result = "over_quota"
		}
	}
	s.o.Metrics.Delivery(result, size)
	args := []any{"user", user, "id", r.id, "size", size, "result", result}
	switch {
	case err == nil:
		s.o.Logger.Info("lmtp: delivery", args...)
	default:
		s.o.Logger.Warn("lmtp: delivery", append(args, "error", err)...)
	}
}

// smtpError is the answer to an error. It is temporary unless the error is known to
// be permanent, and says nothing of its text: that is for the log.
func smtpError(err error) *smtp.SMTPError {
	var over *quota.Error
	switch {
	case errors.As(err, &over) && over.Temporary:
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: over.Text}
	case errors.As(err, &over):
		return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: over.Text}
	case errors.Is(err, ErrNoUser):
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "User doesn't exist"}
	case errors.Is(err, mailbox.ErrTooLarge):
		return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "Message too large"}
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Temporary failure, try again later"}
}
