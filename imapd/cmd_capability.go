package imapd

import (
	"slices"
	"strings"
)

// capabilities of a session after login. LITERAL+ is safe to offer because refused
// literals are drained. LOGIN-REFERRALS and the like are not spoken.
var capabilities = strings.Fields(`
	IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE UTF8=ACCEPT APPENDLIMIT
	IDLE NOTIFY
	NAMESPACE LIST-EXTENDED LIST-STATUS CHILDREN SPECIAL-USE STATUS=SIZE
	UIDPLUS UNSELECT MOVE BINARY MULTIAPPEND CATENATE REPLACE
	CONDSTORE QRESYNC
	OBJECTID SAVEDATE PREVIEW
	ESEARCH SEARCHRES WITHIN
	SORT SORT=DISPLAY ESORT PARTIAL
	THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT
	INPROGRESS
	METADATA LIST-METADATA
	QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE
	COMPRESS=DEFLATE UNAUTHENTICATE`)

// capabilityNames lists what the client may use in the present state.
func (s *session) capabilityNames() []string {
	if s.state != notAuthenticated {
		names := append([]string(nil), capabilities...)
		if limit := s.login.AppendLimit(); limit > 0 {
			names[slices.Index(names, "APPENDLIMIT")] = "APPENDLIMIT=" + itoa(limit)
		}
		if !s.login.HasMetadata() {
			names = slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "METADATA") })
		}
		if s.srv.opts.NoUnauthenticate {
			names = slices.DeleteFunc(names, func(n string) bool { return n == "UNAUTHENTICATE" })
		}
		return names
	}
	names := strings.Fields("IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE")
	if !s.tls && s.srv.opts.TLSConfig != nil {
		names = append(names, "STARTTLS")
	}
	if !s.secure() {
		return append(names, "LOGINDISABLED")
	}
	return append(names, "AUTH=PLAIN", "AUTH=LOGIN")
}

// writeCapabilityCode saves a client the round trip of CAPABILITY: the list stands in the
// greeting and, after login, where it is another one, in the tagged OK.
func (s *session) writeCapabilityCode() {
	s.enc.Raw("[CAPABILITY ").Raw(strings.Join(s.capabilityNames(), " ")).Raw("] ")
}

// capability is CAPABILITY (RFC 9051 section 6.1.1).
func (s *session) capability(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("* CAPABILITY ").Raw(strings.Join(s.capabilityNames(), " ")).CRLF()
	return nil
}

// enable is ENABLE (RFC 5161). What is unknown is ignored.
func (s *session) enable(*call) error {
	var on []string
	var condstore, qresync bool
	for {
		if err := s.dec.SP(); err != nil {
			return err
		}
		name, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		switch name {
		case "IMAP4REV2":
			// RFC 9051 section 6.3.1: UTF-8 is part of it.
			s.rev2, s.enc.UTF8 = true, true
			on = append(on, "IMAP4rev2")
		case "UTF8=ACCEPT":
			s.enc.UTF8 = true
			on = append(on, "UTF8=ACCEPT")
		case "CONDSTORE", "QRESYNC":
			on = append(on, name)
			condstore = true
			qresync = qresync || name == "QRESYNC"
		}
		if s.dec.AtEnd() {
			break
		}
	}
	if condstore {
		if err := s.enableCondstore(); err != nil {
			return err
		}
		s.qresync = s.qresync || qresync // RFC 7162 section 3.2.3: QRESYNC is CONDSTORE and more
	}
	s.enc.Raw("* ENABLED")
	for _, n := range on {
		s.enc.SP().Raw(n)
	}
	s.enc.CRLF()
	return nil
}

// maxIDFields is the bound of RFC 2971 section 3.3.
const maxIDFields = 30

// id is ID (RFC 2971), which is allowed before login too.
func (s *session) id(*call) error {
	err := s.args(func() error {
		if s.dec.TryWord("NIL") {
			return nil
		}
		words := 0
		err := s.dec.List(func() (err error) {
			if words++; words > 2*maxIDFields {
				return bad("Too many ID fields.")
			}
			if words%2 == 1 {
				_, err = s.dec.String()
			} else {
				_, err = s.dec.NString()
			}
			return err
		})
		if err == nil && words%2 == 1 {
			err = bad("ID field without a value.")
		}
		return err
	})
	if err != nil {
		return err
	}
	s.enc.Raw(`* ID ("name" `).String(s.srv.opts.Name)
	if s.state != notAuthenticated && s.srv.opts.Version != "" {
		s.enc.Raw(` "version" `).String(s.srv.opts.Version)
	}
	s.enc.Raw(")").CRLF()
	return nil
}

// namespace is NAMESPACE (RFC 2342). There is one personal namespace without a prefix;
// shared mailboxes will have one of their own.
func (s *session) namespace(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw(`* NAMESPACE (("" `)
	s.writeSeparator()
	s.enc.Raw(")) NIL NIL").CRLF()
	return nil
}

// writeSeparator writes the hierarchy separator as a quoted character.
func (s *session) writeSeparator() {
	s.enc.String(string(rune(s.login.Separator())))
}
