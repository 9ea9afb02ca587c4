package imapd

import (
	"strings"

	"mailcrypt/mailbox"
)

// create is CREATE. A trailing separator says that mailboxes will be made below,
// which needs nothing (RFC 9051 section 6.3.4).
func (s *session) create(*call) error {
	var name string
	d := s.dec
	if err := d.SP(); err != nil {
		return err
	}
	if err := s.mailboxName(&name)(); err != nil {
		return err
	}
	use := false
	if !d.AtEnd() {
		if err := d.SP(); err != nil {
			return err
		}
		if err := d.List(s.createParameter(&use)); err != nil {
			return err
		}
	}
	if err := d.End(); err != nil {
		return err
	}
	if use {
		// RFC 6154 section 5.2. Special uses are configured, not stored with a mailbox.
		return no("USEATTR", "Special uses cannot be set.")
	}
	sep := string(rune(s.login.Separator()))
	if name != sep {
		name = strings.TrimSuffix(name, sep)
	}
	if err := s.decodeName(&name); err != nil {
		return err
	}
	if err := mailbox.CheckName(name, s.login.Separator()); err != nil {
		return err
	}
	if err := s.login.Create(s.ctx, name); err != nil {
		return err
	}
	guid, err := s.login.GUID(s.ctx, name)
	if err != nil {
		// It is there, and another session may have renamed it at once.
		s.log.Warn("looking up a new mailbox", "err", err)
		return nil
	}
	return ok("MAILBOXID "+mailboxID(guid), "Create completed.") // RFC 8474 section 4.1
}

// createParameter reads one parameter of CREATE (RFC 6154 section 3).
func (s *session) createParameter(use *bool) func() error {
	return func() error {
		p, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		if p != "USE" {
			return bad("Unknown CREATE parameter.")
		}
		if err := s.dec.SP(); err != nil {
			return err
		}
		flags, err := s.dec.FlagList()
		*use = len(flags) > 0
		return err
	}
}

// delete is DELETE. Levels below the mailbox stay, as RFC 9051 section 6.3.5 has it.
func (s *session) delete(*call) error {
	name, err := s.nameArg()
	if err != nil {
		return err
	}
	if name == mailbox.Inbox {
		return no("CANNOT", "INBOX can't be deleted.")
	}
	if err := s.login.Delete(s.ctx, name); err != nil {
		return err
	}
	if s.box != nil && s.box.name == name {
		// Its message numbers end with it, and without surprise: the client did it.
		s.closeBox()
	}
	return nil
}

// rename is RENAME. INBOX is renamed by moving its messages, for the user keys hang on its
// GUID: that is the account's work.
func (s *session) rename(*call) error {
	var from, to string
	if err := s.args(s.mailboxName(&from), s.mailboxName(&to)); err != nil {
		return err
	}
	if err := s.decodeName(&from); err != nil {
		return err
	}
	if err := s.decodeName(&to); err != nil {
		return err
	}
	if err := mailbox.CheckName(to, s.login.Separator()); err != nil {
		return err
	}
	if err := s.login.Rename(s.ctx, from, to); err != nil {
		return err
	}
	if s.box != nil && from != mailbox.Inbox {
		// The selected mailbox stays so, under its new name; INBOX stays what it is.
		if rest, ok := strings.CutPrefix(s.box.name, from); ok && (rest == "" || rest[0] == s.login.Separator()) {
			s.box.name = to + rest
		}
	}
	return nil
}

// subscribe is SUBSCRIBE. The mailbox need not exist (RFC 9051 section 6.3.7): a client may
// want to keep a name that comes and goes.
func (s *session) subscribe(*call) error { return s.setSubscribed(true) }

// unsubscribe is UNSUBSCRIBE.
func (s *session) unsubscribe(*call) error { return s.setSubscribed(false) }

// setSubscribed checks only names that are to be kept: any name may be removed.
func (s *session) setSubscribed(on bool) error {
	name, err := s.nameArg()
	if err != nil {
		return err
	}
	if on {
		if err := mailbox.CheckName(name, s.login.Separator()); err != nil {
			return err
		}
	}
	return s.login.Subscribe(s.ctx, name, on)
}
