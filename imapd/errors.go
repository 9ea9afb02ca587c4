package imapd

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/quota"
)

// A status is a status response, and as an error the answer that a command ends in.
type status struct{ kind, code, text string }

func (s *status) Error() string { return "imapd: " + s.kind + " " + s.text }

// ok, no and bad make answers. The text is for people and never quotes the client.
func ok(code, text string) error { return &status{"OK", code, text} }
func no(code, text string) error { return &status{"NO", code, text} }
func bad(text string) error      { return &status{"BAD", "", text} }

var (
	// errTooManyBad ends a connection that talks something else than IMAP.
	errTooManyBad = errors.New("imapd: too many bad commands")
	// errTooManyLogins ends a connection that tries passwords.
	errTooManyLogins = errors.New("imapd: too many failed logins")
	// errGone ends a session whose selected mailbox no longer exists: its message
	// numbers mean nothing any more.
	errGone = errors.New("imapd: selected mailbox is gone")
)

// A brokenError is an error in the middle of a literal, which cannot be taken back.
type brokenError struct{ err error }

func (e *brokenError) Error() string {
	return "imapd: reading a message while sending it: " + e.err.Error()
}
func (e *brokenError) Unwrap() error { return e.err }

// A targetError is an error about the mailbox that a message was to go to.
type targetError struct{ err error }

func (e *targetError) Error() string { return e.err.Error() }
func (e *targetError) Unwrap() error { return e.err }

// statusOf turns what a command returned into its answer. It is the one place where
// errors become codes of RFC 9051 section 7.1 and RFC 5530. Texts are fixed: an error
// names paths, which are none of a client's business.
func (s *session) statusOf(c *call, err error) *status {
	var (
		st     *status
		syntax *imapwire.SyntaxError
		read   unreadable
		target *targetError
		over   *quota.Error
	)
	switch {
	case err == nil:
		return &status{"OK", "", completed(c.name)}
	case errors.As(err, &st):
		return st
	case errors.As(err, &syntax):
		return &status{"BAD", "", syntax.Reason}
	case errors.As(err, &read):
		return &status{"NO", "UNAVAILABLE", "Message cannot be read: " + read.Reason() + "."}
	case metadataStatus(err) != nil:
		return metadataStatus(err)
	case errors.As(err, &over):
		return &status{"NO", "OVERQUOTA", over.Text}
	case errors.Is(err, mailbox.ErrExpunged):
		return &status{"NO", "EXPUNGEISSUED", "Some of the messages no longer exist."}
	case errors.As(err, &target) && (errors.Is(err, mailbox.ErrNotFound) || errors.Is(err, mailbox.ErrNotSelectable)):
		return &status{"NO", "TRYCREATE", "Mailbox doesn't exist."}
	case errors.Is(err, mailbox.ErrNotFound):
		return &status{"NO", "NONEXISTENT", "Mailbox doesn't exist."}
	case errors.Is(err, mailbox.ErrExists):
		return &status{"NO", "ALREADYEXISTS", "Mailbox already exists."}
	case errors.Is(err, mailbox.ErrName), errors.Is(err, mailbox.ErrUTF7):
		return &status{"NO", "CANNOT", "Mailbox name is not allowed."}
	case errors.Is(err, mailbox.ErrNotSelectable):
		return &status{"NO", "CANNOT", "Mailbox can't be selected."}
	case errors.Is(err, mailbox.ErrLimit):
		return &status{"NO", "LIMIT", "A limit of the mailbox was reached."}
	case errors.Is(err, mailbox.ErrTooLarge):
		return &status{"NO", "TOOBIG", "Message is too large."}
	case errors.Is(err, mailbox.ErrNoModSeqs): // the index was damaged in the middle of a session
		return &status{"NO", "UNAVAILABLE", "Modification sequences are not kept any more. Select the mailbox again."}
	case errors.Is(err, mailbox.ErrReadOnly):
		return &status{"NO", "READ-ONLY", "Mailbox is read-only."}
	case errors.Is(err, mailbox.ErrLooksTransformed):
		return &status{"NO", "CANNOT", "Message looks like an encrypted or compressed file."}
	case errors.Is(err, keys.ErrNoUserKey):
		return &status{"NO", "UNAVAILABLE", "The user has no key yet: it is made when the user logs in."}
	case errors.Is(err, errAuth):
		return &status{"NO", "AUTHENTICATIONFAILED", "Authentication failed."}
	case errors.Is(err, errTemporary), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		s.logFailure(c, err)
		return &status{"NO", "UNAVAILABLE", "Temporary internal error."}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		s.logFailure(c, err)
		return &status{"NO", "UNAVAILABLE", "Not enough disk space."}
	case errors.Is(err, fs.ErrPermission):
		s.logFailure(c, err)
		return &status{"NO", "NOPERM", "Permission denied."}
	case errors.Is(err, errors.ErrUnsupported):
		return &status{"NO", "CANNOT", "Not supported."}
	}
	s.logFailure(c, err)
	return &status{"NO", "SERVERBUG", "Internal error occurred. Refer to server log for more information."}
}

// logFailure logs an error of which the client is told only that there was one.
func (s *session) logFailure(c *call, err error) {
	name := ""
	if c.command != nil {
		name = c.name
	}
	s.log.Error("command failed", "command", name, "err", err)
}

// syntaxOnly reports whether an error means that the command could not be parsed, so
// that nothing of it was done.
func syntaxOnly(err error) bool {
	var syntax *imapwire.SyntaxError
	var st *status
	return errors.As(err, &syntax) || errors.As(err, &st) && st.kind == "BAD"
}

// writeStatus writes a tagged or, with "*", untagged status response.
func (s *session) writeStatus(tag string, st *status) {
	e := s.enc.Raw(tag).SP().Raw(st.kind).SP()
	if st.code != "" {
		e.Raw("[").Raw(st.code).Raw("] ")
	}
	e.Text(st.text).CRLF()
}
