package lmtpd

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// A session is one client. go-smtp calls its methods one after the other, except
// that Reset and Logout may come while LMTPData receives chunks.
type session struct {
	srv  *Server
	conn *smtp.Conn
	wire *wire

	mu sync.Mutex
	tx *transaction // since MAIL; nil without
}

// A transaction is one message: from MAIL to the last reply.
type transaction struct {
	id         string // the delivery ID, in Received, replies and the log
	from       string
	helo       string
	size       int64 // as announced; 0 is not
	recipients []*recipient
	running    chan struct{} // closed when LMTPData is done; nil before it starts
	cut        bool          // the message came in chunks and did not end; set before running is closed
}

// A recipient is one RCPT.
type recipient struct {
	Recipient
	given    string // the address as go-smtp knows it
	address  string // the address as the client gave it
	id       string // the transaction's, ":R2" and so on added
	appender Appender
	err      error // why this one failed
}

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	w, ok := c.Conn().(*wire)
	if !ok {
		return nil, errors.New("lmtpd: internal error: not our connection")
	}
	return &session{srv: s, conn: c, wire: w}, nil
}

// Mail begins a message.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx != nil {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 0}, Message: "MAIL already given"}
	}
	from = strings.TrimSuffix(from, noHost)
	if hasControl(from) {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 1, 7}, Message: "Invalid sender address"}
	}
	var id [16]byte
	rand.Read(id[:])
	s.tx = &transaction{id: base64.RawURLEncoding.EncodeToString(id[:]), from: from, helo: s.conn.Hostname()}
	if o != nil {
		s.tx.size = o.Size
	}
	return nil
}

// Rcpt adds a recipient, who is looked up at once.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	tx := s.tx
	s.mu.Unlock()
	if tx == nil {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 0}, Message: "MAIL needed first"}
	}
	r := &recipient{given: to, address: strings.TrimSuffix(to, noHost), id: tx.id}
	if n := len(tx.recipients); n > 0 {
		r.id = tx.id + ":R" + strconv.Itoa(n+1)
	}
	if hasControl(r.address) || strings.HasPrefix(r.address, "@") || strings.HasSuffix(r.address, "@") {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 1, 3}, Message: "Invalid recipient address"}
	}
	if err := s.recipient(r, tx.size); err != nil {
		s.srv.log(r, tx.size, err)
		e := smtpError(err)
		e.Message = "<" + quoteLocal(r.address) + "> " + e.Message // as Dovecot, for the bounce
		return e
	}
	tx.recipients = append(tx.recipients, r)
	return nil
}

// recipient looks a user up who has room for the message. A panic there is this
// recipient's failure alone.
func (s *session) recipient(r *recipient, size int64) (err error) {
	defer s.srv.recover(&err)
	user, err := s.srv.o.Users.Deliver(s.srv.ctx, s.srv.userOf(r.address))
	if err != nil {
		return err
	}
	if err := user.Fits(s.srv.ctx, s.srv.o.Folder, size); err != nil {
		return errors.Join(err, user.Close())
	}
	r.Recipient = user
	return nil
}

// userOf takes the detail off an address: "user+detail@domain" is "user@domain".
func (s *Server) userOf(address string) string {
	if s.o.RecipientDelimiter == "" {
		return address
	}
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], address[i:]
	}
	if i := strings.IndexAny(local, s.o.RecipientDelimiter); i > 0 {
		local = local[:i]
	}
	return local + domain
}

// Data is not called: LMTPData is there.
func (s *session) Data(io.Reader) error { return errors.New("lmtpd: internal error: Data called") }

// Reset forgets the message. If it is being received in chunks, its end is waited
// for, so that it cannot mix with the next one.
func (s *session) Reset() {
	defer s.wire.noMessage()
	if tx := s.forget(); tx != nil && tx.running != nil {
		<-tx.running
		// go-smtp may still be about to pass on the result of those chunks, and would
		// give it to the next message that comes in chunks.
		s.wire.noChunks = s.wire.noChunks || tx.cut
	}
}

// Logout forgets the message when the connection is gone. It does not wait, for the
// connection is only closed after it.
func (s *session) Logout() error {
	s.forget()
	return nil
}

// forget drops the transaction and closes its recipients, or leaves that to LMTPData
// where it is running. It returns the transaction, if there was one.
func (s *session) forget() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.tx
	s.tx = nil
	if tx != nil && tx.running == nil {
		s.srv.close(tx)
	}
	return tx
}

// close closes the recipients of a transaction.
func (s *Server) close(tx *transaction) {
	for _, r := range tx.recipients {
		func() {
			var err error
			defer s.recover(&err)
			if err = r.Recipient.Close(); err != nil {
				s.o.Logger.Warn("lmtp: closing recipient", "user", r.User(), "id", r.id, "error", err)
			}
		}()
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

var _ smtp.LMTPSession = (*session)(nil)

// begin starts the receiving of a transaction; nil if it was forgotten meanwhile.
func (s *session) begin() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx == nil || s.tx.running != nil {
		return nil
	}
	s.tx.running = make(chan struct{})
	s.srv.active.Add(1)
	return s.tx
}
