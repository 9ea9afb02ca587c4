package imapd

import (
	"bytes"
	"io"
	"strconv"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
	"mailcrypt/message"
)

// A fetchValue is the answer to one item, ready to be written.
type fetchValue struct {
	item  *fetchItem
	msg   *mailbox.Message
	flags mailbox.Flags
	text  []byte  // protocol text, unless nil
	str   *string // a string, in whatever form it can be sent

	literal bool
	mem     []byte    // contents of the literal without NUL, not to be changed, or
	src     io.Reader // where they are read from
	dropped bool      // mem is to be made once more; see fetching.hold
	size    int64
	binary  bool // NUL stays NUL
	clean   bool // there is none
	nul     bool // the contents have, or may have, NUL: literal8
}

// value prepares the answer to an item. The message is open where the item needs it.
func (f *fetching) value(v *fetchValue) error {
	s, msg, item := f.session, v.msg, v.item
	switch item.kind {
	case itemUID:
		v.text = f.number(int64(msg.UID))
	case itemFlags:
		v.flags = msg.Flags
	case itemInternalDate:
		t, err := s.received(msg)
		if err != nil {
			return err
		}
		v.text = f.dateTime(t)
	case itemSize:
		size, err := s.sizeOf(msg)
		if err != nil {
			return err
		}
		v.text = f.number(size)
	case itemModSeq: // written from the message
	case itemSaveDate:
		t, err := s.saved(msg)
		if err != nil {
			return err
		}
		v.text = []byte("NIL") // RFC 8514 section 4.2
		if !t.IsZero() {
			v.text = f.dateTime(t)
		}
	case itemEmailID:
		v.text = []byte("(" + emailID(msg.GUID) + ")")
	case itemThreadID:
		v.text = []byte("NIL") // RFC 8474 section 5.2
	case itemPreview, itemLazyPreview:
		return f.preview(v)
	case itemEnvelope, itemBody, itemBodyStructure:
		root, err := s.box.reader.structure()
		if err != nil {
			return err
		}
		switch item.kind {
		case itemEnvelope:
			v.text = message.AppendEnvelope(nil, root.Envelope)
		default:
			v.text = message.AppendBodyStructure(nil, root, item.kind == itemBodyStructure)
		}
		noNUL(v.text)
	case itemSection:
		return s.sectionValue(v)
	default:
		return s.binaryValue(v)
	}
	return nil
}

// received is INTERNALDATE, in the server's time zone as Dovecot gives it.
func (s *session) received(msg *mailbox.Message) (time.Time, error) {
	if !msg.Received.IsZero() {
		return msg.Received, nil
	}
	full, err := s.box.box.Stat(s.ctx, msg.UID)
	return full.Received, err
}

// saved is SAVEDATE, zero where it is not known.
func (s *session) saved(msg *mailbox.Message) (time.Time, error) {
	if !msg.Saved.IsZero() {
		return msg.Saved, nil
	}
	full, err := s.box.box.Stat(s.ctx, msg.UID)
	return full.Saved, err
}

// dateTime is a time in the form of RFC 9051, whose years have four digits whatever a
// file says.
func (f *fetching) dateTime(t time.Time) []byte {
	switch {
	case t.Year() > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	case t.Year() < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	start := len(f.scratch)
	f.scratch = append(f.scratch, '"')
	f.scratch = t.AppendFormat(f.scratch, imapwire.DateTimeLayout)
	f.scratch = append(f.scratch, '"')
	return f.scratch[start:]
}

// number prints a number for the message at hand.
func (f *fetching) number(n int64) []byte {
	start := len(f.scratch)
	f.scratch = strconv.AppendInt(f.scratch, n, 10)
	return f.scratch[start:]
}

// sizeOf is RFC822.SIZE. The open message knows best.
func (s *session) sizeOf(msg *mailbox.Message) (int64, error) {
	if r := &s.box.reader; r.msg != nil && r.uid == msg.UID {
		return r.msg.Size(), nil
	}
	if msg.Sizes.Virtual >= 0 {
		return msg.Sizes.Virtual, nil
	}
	return s.box.box.SizeOf(s.ctx, msg.UID)
}

// noNUL replaces NUL, which no string or literal may hold (RFC 9051 section 9, CHAR8).
func noNUL(b []byte) {
	for i := bytes.IndexByte(b, 0); i >= 0; {
		b[i] = 0x80
		k := bytes.IndexByte(b[i:], 0)
		if k < 0 {
			return
		}
		i += k
	}
}

// sectionValue prepares BODY[...]: a range of the message, or fields of a header.
func (s *session) sectionValue(v *fetchValue) error {
	found, err := s.box.reader.section(v)
	if err == nil && !found {
		v.literal = true // an empty one, as Dovecot says that there is no such part
	}
	return err
}

// section prepares a section of the open message. It returns false where there is no such
// part.
func (r *reader) section(v *fetchValue) (bool, error) {
	i := v.item
	if len(i.path) == 0 && i.what == "" {
		v.setRange(r.msg, 0, r.msg.Size())
		return true, nil
	}
	if len(i.path) == 0 && r.root == nil {
		// The parts do not matter to the message's own header and text.
		head, err := r.topHeader()
		if err != nil {
			return false, err
		}
		if len(head) < maxHeader {
			r.topSection(v, head)
			return true, nil
		}
	}
	root, err := r.structure()
	if err != nil {
		return false, err
	}
	p, found := root.Find(i.path)
	if found && len(i.path) > 0 && i.what != "" && i.what != "MIME" {
		// These are of the message within a message/rfc822.
		p = p.Message
	}
	if !found || p == nil {
		return false, nil
	}
	switch i.what {
	case "HEADER", "MIME":
		v.setRange(r.msg, p.HeaderStart, p.BodyStart)
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		head, err := r.header(p)
		if err != nil {
			return false, err
		}
		v.setFields(head)
	default: // the body of a part, TEXT
		v.setRange(r.msg, p.BodyStart, p.End)
	}
	return true, nil
}

// topSection prepares a section of the whole message, whose header is known.
func (r *reader) topSection(v *fetchValue, head []byte) {
	switch end := int64(len(head)); v.item.what {
	case "HEADER":
		v.setRange(r.msg, 0, end)
	case "TEXT":
		v.setRange(r.msg, end, r.msg.Size())
	default:
		v.setFields(head)
	}
}

// setFields makes the value the wanted fields of a header.
func (v *fetchValue) setFields(head []byte) {
	b := message.HeaderFields(head, v.item.names, v.item.what == "HEADER.FIELDS.NOT")
	noNUL(b)
	from, to := v.item.clip(int64(len(b)))
	v.literal, v.mem, v.size = true, b[from:to], to-from
	if v.item.partial {
		v.mem = bytes.Clone(v.mem) // and not all the rest with it
	}
}

// remake makes the contents that were dropped.
func (v *fetchValue) remake(r *reader) error {
	again := fetchValue{item: v.item}
	found, err := r.section(&again)
	if err == nil && (!found || again.size != v.size) {
		err = io.ErrUnexpectedEOF // it has changed
	}
	v.mem = again.mem
	return err
}

// clip returns the part of a range of size octets that a partial item wants. Sums
// cannot overflow: offset is bounded by size first.
func (i *fetchItem) clip(size int64) (from, to int64) {
	if !i.partial {
		return 0, size
	}
	from = min(i.offset, size)
	return from, from + min(i.count, size-from)
}

// setRange makes the value the octets of the message from start to end.
func (v *fetchValue) setRange(msg content, start, end int64) {
	from, to := v.item.clip(end - start)
	v.literal, v.size = true, to-from
	nul := msg.HasNUL()
	if text := msg.Memory(); text != nil && !nul {
		v.mem = text[start+from : start+to]
		return
	}
	v.clean = !nul
	v.src = io.NewSectionReader(msg, start+from, to-from)
}

// write sends name and value. The error is one of reading the message, in the middle
// of a literal.
func (v *fetchValue) write(s *session) error {
	if v.item.kind == itemFlags {
		s.flagsItem(v.msg, v.flags)
		return nil
	}
	if v.item.kind == itemModSeq {
		s.modSeqItem(v.msg.ModSeq)
		return nil
	}
	s.enc.Raw(v.item.name).SP()
	if v.str != nil {
		s.enc.String(*v.str)
		return nil
	}
	if !v.literal {
		s.enc.Write(v.text)
		return nil
	}
	if v.nul {
		s.enc.Raw("~")
	}
	if v.dropped {
		if err := v.remake(&s.box.reader); err != nil {
			return err
		}
		defer func() { v.mem = nil }()
	}
	s.enc.LiteralHeader(v.size)
	if v.src == nil {
		s.enc.Write(v.mem)
		return nil
	}
	buf := copyBuffers.Get().(*[]byte)
	defer func() {
		clear(*buf)
		copyBuffers.Put(buf)
	}()
	for left := v.size; left > 0; {
		n, err := v.src.Read((*buf)[:min(int64(len(*buf)), left)])
		p := (*buf)[:n]
		if !v.binary && !v.clean {
			noNUL(p)
		}
		s.enc.Write(p)
		left -= int64(n)
		switch {
		case s.enc.Err() != nil:
			return nil // nobody listens any more
		case err == io.EOF && left > 0:
			return io.ErrUnexpectedEOF
		case err != nil && err != io.EOF:
			return err
		}
	}
	return nil
}
