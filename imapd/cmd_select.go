package imapd

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mailcrypt/mailbox"
)

// itoa prints a number.
func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// mailboxName reads a mailbox name and returns it in UTF-8 with INBOX in capitals.
// A name that cannot be one fails with ErrName once the command is parsed: see args.
func (s *session) mailboxName(name *string) func() error {
	return func() error {
		raw, err := s.dec.AString()
		if err != nil {
			return err
		}
		*name = string(raw)
		return nil
	}
}

// decodeName turns a name as it was sent into UTF-8. A client that sees IMAP4rev2 among
// the capabilities may send UTF-8 without having enabled anything (go-imap does): modified
// UTF-7 has no octets above 0x7f, so the two cannot be confused.
func (s *session) decodeName(name *string) error {
	n, err := decodeName(*name, s.enc.UTF8)
	if err != nil {
		return err
	}
	*name = mailbox.CanonicalName(n, s.login.Separator())
	return nil
}

// decodeName decodes a name or a pattern, for the wildcards are plain characters.
func decodeName(n string, asUTF8 bool) (string, error) {
	if asUTF8 || strings.ContainsFunc(n, func(r rune) bool { return r >= utf8.RuneSelf }) {
		if !utf8.ValidString(n) {
			return "", mailbox.ErrName
		}
		return n, nil
	}
	return mailbox.DecodeUTF7(n)
}

// nameArg parses a command whose only argument is a mailbox name.
func (s *session) nameArg() (string, error) {
	var name string
	if err := s.args(s.mailboxName(&name)); err != nil {
		return "", err
	}
	return name, s.decodeName(&name)
}

// selectCommand is SELECT (RFC 9051 section 6.3.2).
func (s *session) selectCommand(*call) error { return s.selectMailbox(false) }

// examine is EXAMINE: SELECT without a change, not even of \Recent.
func (s *session) examine(*call) error { return s.selectMailbox(true) }

// selectMailbox leaves the selected mailbox and opens another. The view of that moment is
// what the client is told; all later changes are told as differences from it.
func (s *session) selectMailbox(readOnly bool) error {
	name, params, err := s.selectArgs()
	if syntaxOnly(err) {
		return err
	}
	// A SELECT that fails leaves nothing selected (RFC 9051 section 6.3.2).
	if s.box != nil {
		s.closeBox()
		s.writeStatus("*", &status{"OK", "CLOSED", "Previous mailbox closed."})
	}
	if err != nil {
		return err
	}
	if params.condstore {
		// Before it is opened: HIGHESTMODSEQ comes with what is told of it in any case.
		if err := s.enableCondstore(); err != nil {
			return err
		}
	}
	b, err := s.login.Open(s.ctx, name, readOnly)
	if err != nil {
		return err
	}
	view, err := b.Sync(s.ctx)
	if err != nil {
		b.Close()
		return err
	}
	s.box = &selected{box: b, name: name, readOnly: readOnly || b.ReadOnly(), view: view, synced: time.Now(),
		recent: map[mailbox.UID]struct{}{}, recents: -1, keywords: map[string]string{}}
	s.state = selectedState
	s.box.reader.box = b
	s.describe(name)
	if params.resync != nil {
		s.resync(params.resync)
	}
	if s.box.readOnly {
		return ok("READ-ONLY", "Mailbox opened read-only.")
	}
	return ok("READ-WRITE", "Mailbox opened.")
}

// selectArgs reads the name and the parameters of SELECT.
func (s *session) selectArgs() (name string, p selectParams, err error) {
	if err = s.dec.SP(); err != nil {
		return
	}
	if err = s.mailboxName(&name)(); err != nil {
		return
	}
	if !s.dec.AtEnd() {
		if err = s.dec.SP(); err != nil {
			return
		}
		if p, err = s.selectParams(); err != nil {
			return
		}
	}
	if err = s.dec.End(); err != nil {
		return
	}
	return name, p, s.decodeName(&name)
}

// describe sends what SELECT tells of a mailbox.
func (s *session) describe(name string) {
	v := s.box.view
	s.writeFlagsResponse()
	s.enc.Raw("* ").Number(int64(v.Len())).Raw(" EXISTS").CRLF()
	s.claimRecent()
	s.writeRecent()
	if !s.rev2 {
		if i := v.FirstUnseen(); i >= 0 {
			s.writeStatus("*", &status{"OK", "UNSEEN " + itoa(int64(i+1)), "First unseen."})
		}
	}
	s.writeStatus("*", &status{"OK", "UIDVALIDITY " + itoa(int64(v.UIDValidity)), "UIDs valid."})
	s.writeStatus("*", &status{"OK", "UIDNEXT " + itoa(int64(v.UIDNext)), "Predicted next UID."})
	s.writeStatus("*", &status{"OK", "MAILBOXID " + mailboxID(v.GUID), "Mailbox identifier."})
	s.openModSeqs()
	if s.rev2 {
		s.enc.Raw("* LIST () ")
		s.writeSeparator()
		s.enc.SP().Mailbox(name).CRLF()
	}
}

// unselect is UNSELECT (RFC 3691): CLOSE without expunging.
func (s *session) unselect(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.closeBox()
	return nil
}

// closeCommand is CLOSE: expunge without telling, where the mailbox is not read-only. It has no
// answer that leaves the mailbox selected (RFC 9051 section 6.4.1): what could not be expunged
// is told beside it, as Dovecot does.
func (s *session) closeCommand(c *call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	var err error
	if !s.box.readOnly {
		err = s.expungeDeleted(nil)
	}
	s.closeBox()
	if err != nil && !errors.Is(err, mailbox.ErrNotFound) { // one that is gone has nothing left
		s.writeStatus("*", s.statusOf(c, err))
	}
	return nil
}
