package imapd

// unauthenticate is UNAUTHENTICATE (RFC 8437): all that the connection knows is forgotten
// but TLS. How often logins have failed on it is remembered, for that is not about a user.
func (s *session) unauthenticate(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.close()
	s.state = notAuthenticated
	s.after = func() error {
		s.perUser = perUser{}
		s.enc.UTF8 = false
		s.log = s.anonymous
		s.dec.SetLimits(s.srv.opts.Before)
		s.dec.Frugal = false
		s.conn.setLoggedOut()
		return s.endCompression()
	}
	return ok("", "Unauthenticate completed.")
}
