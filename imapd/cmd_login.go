package imapd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"mailcrypt/internal/throttle"
)

const (
	// maxUser is the longest user name that is passed on.
	maxUser = 255
	// maxAuthFails is how many failed logins end a connection.
	maxAuthFails = 10
)

// starttls is STARTTLS. The handshake begins once the OK is out.
func (s *session) starttls(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	switch {
	case s.tls:
		return bad("TLS is already active.")
	case s.srv.opts.TLSConfig == nil:
		return bad("TLS is not available.")
	}
	s.after = func() error {
		if err := s.startTLS(); err != nil {
			s.log.Info("TLS handshake", "err", err)
			return err
		}
		return nil
	}
	return ok("", "Begin TLS negotiation now.")
}

// loginCommand is LOGIN.
func (s *session) loginCommand(*call) error {
	if !s.secure() {
		return no("PRIVACYREQUIRED", "Plaintext authentication is not allowed without TLS.")
	}
	var user, password []byte
	defer func() { clear(password) }()
	err := s.args(func() (err error) {
		user, err = s.dec.Credential()
		return err
	}, func() (err error) {
		password, err = s.dec.Credential()
		return err
	})
	if err != nil {
		return err
	}
	return s.authenticateUser(user, password)
}

// authenticate is AUTHENTICATE with PLAIN (RFC 4616) and LOGIN, with an initial
// response or without (RFC 4959).
func (s *session) authenticate(*call) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	mechanism, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	var initial []byte
	if !s.dec.AtEnd() {
		if err := s.dec.SP(); err != nil {
			return err
		}
		word, err := s.dec.AString()
		if err != nil {
			return err
		}
		defer clear(word)
		if err := s.dec.End(); err != nil {
			return err
		}
		if initial, err = decodeSASL(word, true); err != nil {
			return err
		}
		defer clear(initial)
	}
	if mechanism != "PLAIN" && mechanism != "LOGIN" {
		return no("CANNOT", "Unsupported authentication mechanism.")
	}
	if !s.secure() {
		return no("PRIVACYREQUIRED", "Plaintext authentication is not allowed without TLS.")
	}
	if mechanism == "LOGIN" {
		return s.saslLogin(initial)
	}
	return s.saslPlain(initial)
}

// saslPlain is PLAIN (RFC 4616): authzid NUL authcid NUL password.
func (s *session) saslPlain(response []byte) error {
	if response == nil {
		var err error
		if response, err = s.challenge(""); err != nil {
			return err
		}
		defer clear(response)
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return bad("Invalid response.")
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return s.authenticateAs(parts[0], parts[1], parts[2])
	}
	return s.authenticateUser(parts[1], parts[2])
}

// saslLogin is LOGIN, which was never standardised: user and password are asked for one
// by one. Some clients know nothing else.
func (s *session) saslLogin(user []byte) (err error) {
	if user == nil {
		if user, err = s.challenge("VXNlcm5hbWU6"); err != nil { // "Username:"
			return err
		}
	}
	password, err := s.challenge("UGFzc3dvcmQ6") // "Password:"
	if err != nil {
		return err
	}
	defer clear(password)
	return s.authenticateUser(user, password)
}

// challenge sends a server challenge, in base64, and returns the decoded answer.
func (s *session) challenge(text string) ([]byte, error) {
	s.enc.Raw("+ ").Raw(text).CRLF()
	if err := s.enc.Flush(); err != nil {
		return nil, err
	}
	line, err := s.dec.RawLine()
	if err != nil {
		return nil, err
	}
	defer func() {
		s.dec.Skip() // what an answer that is none announces is no command; Err keeps the error
		s.dec.Wipe()
	}()
	if len(line) == 1 && line[0] == '*' {
		return nil, bad("Authentication cancelled.")
	}
	return decodeSASL(line, false)
}

// decodeSASL decodes base64 into memory of its own, which the caller overwrites. What is
// not canonical base64 is refused, so that a password has one spelling.
func decodeSASL(word []byte, initial bool) ([]byte, error) {
	if initial && len(word) == 1 && word[0] == '=' {
		return []byte{}, nil // RFC 4959: an empty response
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(word)))
	n, err := base64.StdEncoding.Strict().Decode(out, word)
	if err != nil {
		clear(out)
		return nil, bad("Invalid base64.")
	}
	return out[:n], nil
}

// authenticateUser checks a password and makes the session one of the user's. A master
// user may be named behind the user.
func (s *session) authenticateUser(user, password []byte) error {
	if sep := s.srv.opts.MasterSeparator; sep != "" {
		if user, master, ok := bytes.Cut(user, []byte(sep)); ok {
			return s.authenticateAs(user, master, password)
		}
	}
	return s.authenticateAs(user, nil, password)
}

// authenticateAs is the login of a user, or of a master user for one. A login waits as long
// as failures of whoever's password it is make it.
func (s *session) authenticateAs(user, master, password []byte) error {
	who := string(user)
	if s.srv.userKey != nil && plausibleUser(user) {
		who = s.srv.userKey(who)
	}
	if master != nil {
		who = "\x00" + string(master) // no user, though one may have the same name
	}
	attempt := s.srv.throttle.Begin(s.ip, who)
	defer attempt.End(throttle.Unknown, nil)
	if attempt.Wait > 0 {
		s.srv.opts.Metrics.LoginDelay(attempt.Wait)
	}
	if !s.pause(attempt.Wait) || s.conn.interrupted() {
		return no("UNAVAILABLE", "Server is shutting down.")
	}
	begun := time.Now()
	l, err := s.verify(user, master, password)
	var refused *status
	switch {
	case errors.Is(err, errAuth), errors.As(err, &refused):
		attempt.End(throttle.Bad, password)
		return s.failedLogin(user, master, begun, err)
	case err != nil:
		return err
	}
	attempt.End(throttle.Good, nil)
	if err := s.srv.enter(s, l.User()); err != nil {
		s.log.Warn("login beyond a limit", "user", l.User(), "err", err)
		return errors.Join(err, l.Close())
	}
	s.srv.opts.Metrics.Login(true)
	s.loggedIn(l)
	return ok("CAPABILITY "+strings.Join(s.capabilityNames(), " "), "Logged in.")
}

// verify asks whether a password is right.
func (s *session) verify(user, master, password []byte) (login, error) {
	switch {
	case !plausibleUser(user) || master != nil && !plausibleUser(master):
		return nil, errAuth
	case master == nil:
		return s.srv.login(s.ctx, string(user), password, s.remote)
	case s.srv.loginAs == nil:
		// Acting for another user is for master users, of which there are none.
		return nil, no("AUTHORIZATIONFAILED", "Authorization failed.")
	}
	return s.srv.loginAs(s.ctx, string(user), string(master), password, s.remote)
}

// loggedIn makes the session one of the user's.
func (s *session) loggedIn(l login) {
	s.login, s.state = l, authenticated
	s.conn.setLoggedIn()
	s.dec.SetLimits(s.srv.opts.After)
	s.dec.Frugal = true
	s.log = s.log.With("user", l.User())
	if m, ok := l.(interface{ Master() string }); ok && m.Master() != "" {
		s.log = s.log.With("master", m.Master())
	}
	s.log.Info("login", "tls", s.tls || s.proxyTLS)
	if alert := l.Alert(); alert != "" {
		s.writeStatus("*", &status{"OK", "ALERT", alert})
	}
}

// plausibleUser keeps what no user is called away from the user database.
func plausibleUser(user []byte) bool {
	return len(user) > 0 && len(user) <= maxUser && utf8.Valid(user) &&
		bytes.IndexFunc(user, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

// failedLogin answers a failed login. The time from the check on is the same whatever was
// wrong. The log has one line for each, for programs that ban addresses.
func (s *session) failedLogin(user, master []byte, begun time.Time, answer error) error {
	s.srv.opts.Metrics.Login(false)
	s.authFails++
	attrs := []any{"user", string(user[:min(len(user), maxUser)])}
	if master != nil {
		attrs = append(attrs, "master", string(master[:min(len(master), maxUser)]))
	}
	s.log.Info("login failed", append(attrs, "failures", s.authFails)...)
	s.pause(time.Until(begun.Add(s.srv.opts.Timeouts.AuthDelay)))
	if s.authFails >= maxAuthFails {
		s.after = func() error { return errTooManyLogins }
	}
	return answer
}
