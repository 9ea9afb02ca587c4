package imapd

import (
	"mailcrypt/imapd/imapwire"
	"mailcrypt/quota"
)

// getQuota is GETQUOTA (RFC 9208 section 4.1.1).
func (s *session) getQuota(*call) error {
	var root string
	err := s.args(func() error {
		b, err := s.dec.AString()
		root = string(b)
		return err
	})
	if err != nil {
		return err
	}
	q, err := s.login.Quota(s.ctx)
	if err != nil {
		return err
	}
	if q == nil || q.root != root {
		return no("NONEXISTENT", "Quota root doesn't exist.")
	}
	s.writeQuota(q)
	return nil
}

// getQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.1.2). The mailbox need not exist: one may
// ask before making it.
func (s *session) getQuotaRoot(*call) error {
	name, err := s.nameArg()
	if err != nil {
		return err
	}
	q, err := s.login.Quota(s.ctx)
	if err != nil {
		return err
	}
	s.enc.Raw("* QUOTAROOT ").Mailbox(name)
	if q == nil {
		s.enc.CRLF()
		return ok("", "No quota.")
	}
	s.enc.SP()
	s.writeAString(q.root)
	s.enc.CRLF()
	s.writeQuota(q)
	return nil
}

// setQuota is SETQUOTA (RFC 9208 section 4.1.3), which is an administrator's: users have
// their limits from the configuration, so that QUOTASET is not offered.
func (s *session) setQuota(*call) error {
	err := s.args(func() error {
		_, err := s.dec.AString()
		return err
	}, func() error {
		return s.dec.List(func() error {
			if _, err := s.dec.Atom(); err != nil {
				return err
			}
			if err := s.dec.SP(); err != nil {
				return err
			}
			_, err := s.dec.Number64()
			return err
		})
	})
	if err != nil {
		return err
	}
	return no("NOPERM", "Quota can be changed only by admin.")
}

// writeQuota sends QUOTA with what is limited. STORAGE counts units of 1,024 octets, rounded
// up as Dovecot does (RFC 9208 section 5.1).
func (s *session) writeQuota(q *quotaState) {
	s.enc.Raw("* QUOTA ")
	s.writeAString(q.root)
	s.enc.Raw(" (")
	units := func(n int64) int64 { return n/1024 + min(n%1024, 1) }
	before := ""
	if q.limits.Bytes != quota.NoLimit {
		s.enc.Raw("STORAGE ").Number(units(q.used.Bytes)).SP().Number(units(q.limits.Bytes))
		before = " "
	}
	if q.limits.Messages != quota.NoLimit {
		s.enc.Raw(before).Raw("MESSAGE ").Number(q.used.Messages).SP().Number(q.limits.Messages)
	}
	s.enc.Raw(")").CRLF()
}

// writeAString sends an astring, as an atom where it can be one.
func (s *session) writeAString(v string) {
	for i := range len(v) {
		if !imapwire.IsAtomChar(v[i]) && v[i] != ']' {
			s.enc.String(v)
			return
		}
	}
	if v == "" {
		s.enc.String(v)
		return
	}
	s.enc.Raw(v)
}
