package imapd

import (
	"crypto/sha256"
	"errors"
	"strings"

	"mailcrypt/mailbox"
	"mailcrypt/message"
)

// headerKeys are the fields of a header that SORT and THREAD look at, the first of each name;
// nil where missing.
type headerKeys struct {
	date, subject, from, to, cc      []byte
	messageID, references, inReplyTo []byte
}

// headerKeys reads the header of the message that was just found. One that cannot be read
// has no fields; it is noted and stays in the result.
func (f *finding) headerKeys() (h headerKeys, err error) {
	head, err := f.matcher.header(true)
	if err != nil {
		return h, f.forgive(err)
	}
	v := message.FirstFields(head, "date", "subject", "from", "to", "cc", "message-id", "references", "in-reply-to")
	return headerKeys{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]}, nil
}

// forgive notes an error about the message that was just found. What it returns is about the
// whole command. A message that is gone has nothing to be noted: the client will hear of it.
func (f *finding) forgive(err error) error {
	m := f.matcher
	if err == nil || errors.Is(err, mailbox.ErrNotFound) || f.noted == m.msg.UID {
		return nil
	}
	if !f.note(&f.unread, m.msg.UID, err) {
		return err
	}
	f.noted = m.msg.UID
	return nil
}

// arrival is the INTERNALDATE of the message that was just found, in seconds.
func (f *finding) arrival() (int64, error) {
	msg, err := f.matcher.dated()
	if err != nil {
		return 0, f.forgive(err)
	}
	return msg.Received.Unix(), nil
}

// sentDate is the sent date of the message that was just found (RFC 5256 section 2.2): that
// of its Date field, or else INTERNALDATE, in seconds.
func (f *finding) sentDate(field []byte) (int64, error) {
	if t, ok := message.ParseDate(field); ok {
		return t.Unix(), nil
	}
	return f.arrival()
}

// maxKey is the most that is kept of a text to sort by, so that the keys of a whole mailbox
// fit in memory whatever its messages are.
const maxKey = 256

// shortKey cuts a long key. A hash takes the place of the rest, so that equal keys stay equal
// and others differ.
func shortKey(key string) string {
	if len(key) <= maxKey {
		return strings.Clone(key)
	}
	sum := sha256.Sum256([]byte(key))
	return key[:maxKey-16] + string(sum[:16])
}
