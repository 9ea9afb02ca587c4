package imapd

import (
	"context"
	"errors"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// copyArgs reads a set and a mailbox name.
func (s *session) copyArgs(c *call) (uids []mailbox.UID, name string, err error) {
	set, err := s.setArg()
	if err != nil {
		return nil, "", err
	}
	if err := s.args(s.mailboxName(&name)); err != nil {
		return nil, "", err
	}
	indices, err := s.indices(set, c.uid)
	if err != nil {
		return nil, "", err
	}
	if err := s.decodeName(&name); err != nil {
		return nil, "", err
	}
	uids = s.uidsAt(indices)
	// All or nothing (RFC 9051 section 6.4.7), and so for messages that another session has
	// expunged, though this client has not been told (RFC 2180 section 4.4.1).
	now := s.box.box.View()
	for _, uid := range uids {
		if _, there := now.Find(uid); !there {
			return nil, "", no("EXPUNGEISSUED", "Some of the messages no longer exist.")
		}
	}
	return uids, name, nil
}

// copy is COPY and UID COPY.
func (s *session) copy(c *call) error {
	uids, name, err := s.copyArgs(c)
	if err != nil {
		return err
	}
	if len(uids) == 0 {
		return ok("", "No messages found.")
	}
	var r copied
	err = s.patiently(c.tag, func(ctx context.Context) (err error) {
		r, err = s.box.box.Copy(ctx, uids, name) // undone if the client has gone
		return err
	})
	if err != nil {
		return s.copyError(err)
	}
	return ok(copyUID(r), "Copy completed.")
}

// move is MOVE and UID MOVE (RFC 6851). COPYUID comes before the EXPUNGEs.
func (s *session) move(c *call) error {
	uids, name, err := s.copyArgs(c)
	if err != nil {
		return err
	}
	if s.box.readOnly {
		return mailbox.ErrReadOnly
	}
	if len(uids) == 0 {
		return ok("", "No messages found.")
	}
	var r copied
	err = s.patiently(c.tag, func(context.Context) (err error) {
		r, err = s.box.box.Move(s.ctx, uids, name) // not left half done, even so
		return err
	})
	if len(r.to) > 0 {
		// Told even where the rest failed: those messages have moved.
		s.writeStatus("*", &status{"OK", copyUID(r), "Moved UIDs."})
	}
	switch {
	case err != nil:
		return s.copyError(err)
	case len(r.from) < len(uids):
		return mailbox.ErrExpunged
	}
	return nil
}

// copyError tells a message that cannot be read from a mailbox that is not there: only
// the second may be answered with TRYCREATE.
func (s *session) copyError(err error) error {
	var read unreadable
	if errors.As(err, &read) {
		s.countUnreadable(err)
		return err
	}
	return &targetError{err}
}

// copyUID is the response code of RFC 4315, or "" where nothing was copied.
func copyUID(r copied) string {
	if r.uidValidity == 0 || len(r.from) == 0 || len(r.from) != len(r.to) {
		return ""
	}
	b := append([]byte("COPYUID "), itoa(int64(r.uidValidity))...)
	b = append(b, ' ')
	b = imapwire.AppendSet(b, r.from)
	b = append(b, ' ')
	return string(imapwire.AppendSet(b, r.to))
}
