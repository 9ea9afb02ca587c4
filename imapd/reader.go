package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
	"mailcrypt/message"
	"mailcrypt/storage"
)

const (
	// keepOpen is the size up to which a message stays open between commands, so that
	// a client that fetches its parts one by one has it decrypted once.
	keepOpen = 64 << 10
	// maxHeader is how much of a header is held in memory to pick fields from it.
	maxHeader = 10 << 20
)

// A reader reads messages of one mailbox and keeps the last one open, for clients
// fetch a large message in pieces.
type reader struct {
	box  box
	uid  mailbox.UID
	msg  content
	root *message.Part
	head []byte // of the whole message
	part *decodedPart

	recalled []byte     // of usualHeader
	ahead    *readAhead // of the command under way; nil where it does not read ahead
}

// open makes uid the open message.
func (r *reader) open(ctx context.Context, uid mailbox.UID) (content, error) {
	if r.msg != nil && r.uid == uid {
		return r.msg, nil
	}
	r.drop()
	msg, err := r.read(ctx, uid)
	if err != nil {
		return nil, err
	}
	r.uid, r.msg = uid, msg
	return msg, nil
}

// read opens a message, or takes it from what was read ahead.
func (r *reader) read(ctx context.Context, uid mailbox.UID) (content, error) {
	if r.ahead != nil {
		if msg, err, ok := r.ahead.take(ctx, uid); ok {
			return msg, err
		}
	}
	return r.box.Read(ctx, uid)
}

// structure returns the parts of the open message.
func (r *reader) structure() (*message.Part, error) {
	if r.root == nil {
		root, err := message.Scan(r.msg, r.msg.Size(), message.Limits{})
		if err != nil {
			return nil, err
		}
		r.root = root
	}
	return r.root, nil
}

// header returns the header of a part, cut at maxHeader.
func (r *reader) header(p *message.Part) ([]byte, error) {
	if p == r.root && r.head != nil {
		return r.head, nil
	}
	b := make([]byte, min(p.BodyStart-p.HeaderStart, maxHeader))
	if _, err := r.msg.ReadAt(b, p.HeaderStart); err != nil && !(err == io.EOF && len(b) == 0) {
		if err != io.EOF {
			return nil, err
		}
		return nil, io.ErrUnexpectedEOF
	}
	if p == r.root {
		r.head = b
	}
	return b, nil
}

// topHeader returns the header of the whole message, cut at maxHeader. Only that much of
// the message is read, where its structure is not known already.
func (r *reader) topHeader() ([]byte, error) {
	if r.head != nil {
		return r.head, nil
	}
	if r.root != nil {
		return r.header(r.root)
	}
	var head []byte
	seen := 0 // of head, up to which it does not end
	for size := int64(8 << 10); ; size *= 8 {
		size = min(size, r.msg.Size(), maxHeader)
		old := head
		head = make([]byte, size)
		copy(head, old)
		clear(old)
		n, err := r.msg.ReadAt(head[len(old):], int64(len(old)))
		if n < len(head)-len(old) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		end := headerEnd(head, seen)
		if end < 0 && size < min(r.msg.Size(), maxHeader) {
			seen = max(0, len(head)-2)
			continue
		}
		if end >= 0 {
			clear(head[end:])
			head = head[:end]
		}
		r.head = head
		return head, nil
	}
}

// headerEnd finds the end of a header, behind its blank line, or -1. What lies before from
// is known to have none.
func headerEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if bytes.HasPrefix(b, []byte("\n")) {
		return 1
	}
	for i := from; ; i++ {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			return -1
		}
		i += k
		switch rest := b[i+1:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return i + 2
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i + 3
		}
	}
}

// forget drops the open message if it is uid.
func (r *reader) forget(uid mailbox.UID) {
	if r.uid == uid {
		r.drop()
	}
}

// drop closes the open message and overwrites what was kept of it.
func (r *reader) drop() {
	if r.msg != nil {
		r.msg.Close()
	}
	clear(r.head)
	clear(r.recalled)
	*r = reader{box: r.box, recalled: r.recalled[:0], ahead: r.ahead}
}

// rest drops the open message unless it costs little or is being read in pieces.
func (r *reader) rest(pieces bool) {
	if r.msg != nil && !pieces && r.msg.Size() > keepOpen {
		r.drop()
	}
}

// A failure is a set of messages that could not be read, and why.
type failure struct {
	reason string
	uids   []mailbox.UID
}

// failures gathers unreadable messages during a command.
type failures struct {
	list []failure
}

// note takes an error of reading a message. It returns false for an error that is
// not about this message alone.
func (s *session) note(f *failures, uid mailbox.UID, err error) bool {
	if s.ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return false
	}
	reason := "temporary error"
	var read unreadable
	if errors.As(err, &read) {
		reason = read.Reason()
	}
	s.countUnreadable(err)
	s.log.Debug("message cannot be read", "mailbox", s.box.view.GUID.String(), "uid", uint32(uid), "err", err)
	i := slices.IndexFunc(f.list, func(x failure) bool { return x.reason == reason })
	if i < 0 {
		i = len(f.list)
		f.list = append(f.list, failure{reason: reason})
	}
	f.list[i].uids = append(f.list[i].uids, uid)
	return true
}

// report logs failures once a command, not once a message, and returns the text for
// the client.
func (s *session) report(f *failures) string {
	n := 0
	for _, x := range f.list {
		n += len(x.uids)
	}
	text := f.text()
	s.log.Warn("messages cannot be read", "mailbox", s.box.view.GUID.String(), "count", n, "which", text)
	return text
}

// countUnreadable counts by the kind that storage gives.
func (s *session) countUnreadable(err error) {
	kind := "other"
	var read *storage.ReadError
	if errors.As(err, &read) {
		kind = read.Kind.String()
	}
	s.srv.opts.Metrics.Unreadable(kind)
}

// maxNamed is how many unreadable messages are named one by one, so that people and
// programs find a UID by its number. More of them are named by ranges.
const maxNamed = 200

// text says which messages and why, in a length that fits a response line.
func (f *failures) text() string {
	const most = 300 // octets of a set of ranges
	named := 0
	var b strings.Builder
	b.WriteString("Cannot read or decrypt")
	for i, x := range f.list {
		if i > 0 {
			b.WriteByte(';')
		}
		var set []byte
		if named += len(x.uids); named <= maxNamed {
			for k, uid := range x.uids {
				if k > 0 {
					set = append(set, ',')
				}
				set = strconv.AppendUint(set, uint64(uid), 10)
			}
		} else if set = imapwire.AppendSet(nil, x.uids); len(set) > most {
			set = append(set[:bytes.LastIndexByte(set[:most], ',')+1], "..."...)
		}
		b.WriteString(" UID ")
		b.Write(set)
		b.WriteString(" (")
		b.WriteString(x.reason)
		b.WriteByte(')')
	}
	return b.String() + "."
}
