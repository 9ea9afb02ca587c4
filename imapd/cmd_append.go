package imapd

import (
	"errors"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// maxAppend is the most messages of one APPEND: what is kept of each until all are there
// is small, and must be bounded.
const maxAppend = 10_000

// append is APPEND, with as many messages as the client sends (RFC 3502): all are saved
// or none. Messages go from the socket into the store in pieces; what is refused is
// refused before the client is asked for it.
//
//	append = mailbox 1*(SP append-message)
func (s *session) append(*call) (err error) {
	v := &saving{session: s}
	defer v.end()
	if err := v.readName(); err != nil {
		return err
	}
	for {
		if err := s.dec.SP(); err != nil {
			return err
		}
		if len(v.written) == maxAppend {
			return no("LIMIT", "Too many messages in one APPEND.")
		}
		if err := v.message(); err != nil {
			return err
		}
		if s.dec.AtEnd() {
			break
		}
	}
	uids, err := v.commit()
	if err != nil {
		return err
	}
	return ok(v.appendUID(uids), "Append completed.")
}

// A saving is an APPEND or REPLACE under way. Its messages are written and durable one
// after the other, and shown together by commit.
type saving struct {
	*session
	name    string
	target  box        // nil until the first message's arguments have been read
	written []appender // finished, but for the last
	// announced is the size of the literals so far.
	announced int64
	source    urlSource // what CATENATE reads from
}

// readName reads the mailbox name, which is judged with the first message's arguments.
func (v *saving) readName() error {
	if err := v.dec.SP(); err != nil {
		return err
	}
	return v.mailboxName(&v.name)()
}

// open opens the mailbox that messages go to.
func (v *saving) open() error {
	target, err := v.login.Open(v.ctx, v.name, false)
	if err != nil {
		return &targetError{err}
	}
	v.target = target
	if target.ReadOnly() {
		return mailbox.ErrReadOnly
	}
	return nil
}

// commit shows the messages.
func (v *saving) commit() ([]mailbox.UID, error) {
	written := v.written
	v.written = nil // what a failed CommitAll leaves is its own to remove
	return v.target.CommitAll(v.ctx, written)
}

// appendUID is the response code of RFC 4315.
func (v *saving) appendUID(uids []mailbox.UID) string {
	b := append([]byte("APPENDUID "), itoa(int64(v.target.View().UIDValidity))...)
	return string(imapwire.AppendSet(append(b, ' '), uids))
}

// end removes what was not committed and closes what was opened.
func (v *saving) end() {
	for _, a := range v.written {
		if err := a.Abort(); err != nil {
			v.log.Error("removing an unfinished message", "err", err)
		}
	}
	err := v.source.close()
	if v.target != nil {
		err = errors.Join(err, v.target.Close())
	}
	if err != nil {
		v.log.Error("closing a mailbox", "err", err)
	}
}
