package imapd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
	"mailcrypt/message"
)

// A truth is yes, no, or unknown for a message that cannot be read. Only yes matches;
// unknown spreads as in three-valued logic, so NOT BODY x does not match there either.
type truth int8

const (
	falseTruth truth = iota
	unknown
	trueTruth
)

// truthOf is a truth that is known.
func truthOf(b bool) truth {
	if b {
		return trueTruth
	}
	return falseTruth
}

// A matcher runs a SEARCH program over messages.
type matcher struct {
	*session
	program *searchKey
	now     time.Time
	bodies  []*searchKey // keys on BODY and TEXT
	finders []*finder    // one for each of bodies
	lines   lineFeeder
	fields  fieldSearch
	dry     bool // nothing but the view is looked at

	// Of the message being looked at:
	index    int
	msg      *mailbox.Message
	full     *mailbox.Message // with dates, once asked for
	searched bool             // finders have run
	err      error            // why its text is unknown
	gone     bool
}

// newMatcher prepares a program: every text to be found in a body gets a finder.
func newMatcher(s *session, program *searchKey) *matcher {
	m := &matcher{session: s, program: program, now: time.Now()}
	m.collect(program)
	return m
}

// collect makes the finders, so that one pass over a message serves all of them.
func (m *matcher) collect(k *searchKey) {
	if k.kind >= keyBody {
		m.bodies = append(m.bodies, k)
		m.finders = append(m.finders, newFinder(k.needle))
		k.text = len(m.bodies) - 1
	}
	for _, s := range k.sub {
		m.collect(s)
	}
}

// match looks at one message. A nil error with false may still mean that the message
// could not be read: that is m.err.
func (m *matcher) match(index int) truth {
	m.index, m.msg, m.full, m.searched, m.err, m.gone = index, m.box.view.At(index), nil, false, nil, false
	return m.eval(m.program)
}

// eval decides a key. AND is the least and OR the greatest of its parts, and both stop
// where the rest cannot matter: cheap keys come first and spare reading.
func (m *matcher) eval(k *searchKey) truth {
	switch k.kind {
	case keyAll:
		return trueTruth
	case keyAnd:
		t := trueTruth
		for _, s := range k.sub {
			if t = min(t, m.eval(s)); t == falseTruth {
				break
			}
		}
		return t
	case keyOr:
		t := falseTruth
		for _, s := range k.sub {
			if t = max(t, m.eval(s)); t == trueTruth {
				break
			}
		}
		return t
	case keyNot:
		return trueTruth - m.eval(k.sub[0])
	case keySet:
		return truthOf(inRanges(k.ranges, uint32(m.index+1)))
	case keyUIDSet:
		return truthOf(inRanges(k.ranges, uint32(m.msg.UID)))
	case keyFlag:
		return truthOf(m.msg.Flags.System&k.flag != 0)
	case keyUnflag:
		return truthOf(m.msg.Flags.System&k.flag == 0)
	case keyKeyword:
		return truthOf(m.msg.Flags.HasKeyword(k.keyword))
	case keyEmailID:
		return truthOf(emailID(m.msg.GUID) == k.needle)
	case keyRecent:
		return truthOf(m.isRecent(m.msg))
	case keyModSeq:
		return truthOf(m.msg.ModSeq >= mailbox.ModSeq(k.number))
	}
	if m.dry {
		return m.guess(k)
	}
	switch k.kind {
	case keyLarger, keySmaller:
		return m.size(k)
	case keyBefore, keyOn, keySince, keyOlder, keyYounger, keySavedBefore, keySavedOn, keySavedSince:
		return m.received(k)
	}
	return m.text(k)
}

// inRanges finds a number among sorted ranges by halving.
func inRanges(ranges []imapwire.Range, n uint32) bool {
	lo, hi := 0, len(ranges)
	for lo < hi {
		if mid := (lo + hi) / 2; ranges[mid].Stop < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(ranges) && ranges[lo].Start <= n
}

// fail notes why a key has no answer. A message that is gone matches nothing.
func (m *matcher) fail(err error) truth {
	if errors.Is(err, mailbox.ErrNotFound) {
		m.gone = true
		return falseTruth
	}
	if m.err == nil {
		m.err = err
	}
	return unknown
}

// size compares RFC822.SIZE, which needs the plaintext only where nobody recorded it.
func (m *matcher) size(k *searchKey) truth {
	n, err := m.sizeOf(m.msg)
	if err != nil {
		return m.fail(err)
	}
	if k.kind == keyLarger {
		return truthOf(n > k.number)
	}
	return truthOf(n < k.number)
}

// received compares INTERNALDATE or the date of saving, by its day in its own zone (RFC
// 9051 section 6.4.4: disregarding time and timezone).
func (m *matcher) received(k *searchKey) truth {
	msg, err := m.dated()
	if err != nil {
		return m.fail(err)
	}
	t := msg.Received
	if k.kind >= keySavedBefore && !msg.Saved.IsZero() {
		t = msg.Saved
	}
	switch k.kind {
	case keyOlder:
		return truthOf(m.now.Sub(t) >= time.Duration(min(k.number, 1<<33))*time.Second)
	case keyYounger:
		return truthOf(m.now.Sub(t) <= time.Duration(min(k.number, 1<<33))*time.Second)
	}
	return compareDay(k, day(t))
}

// dated returns the message with its dates, which a view may not have.
func (m *matcher) dated() (*mailbox.Message, error) {
	if m.full == nil {
		full, err := m.box.box.Stat(m.ctx, m.msg.UID)
		if err != nil {
			return nil, err
		}
		m.full = &full
	}
	return m.full, nil
}

// day is the calendar day of a time, in the zone that it was given in.
func day(t time.Time) time.Time {
	y, mo, d := t.Date()
	return time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)
}

// compareDay compares days alone.
func compareDay(k *searchKey, d time.Time) truth {
	switch k.kind {
	case keyBefore, keySentBefore, keySavedBefore:
		return truthOf(d.Before(k.date))
	case keyOn, keySentOn, keySavedOn:
		return truthOf(d.Equal(k.date))
	default:
		return truthOf(!d.Before(k.date))
	}
}

// text decides keys that need plaintext.
func (m *matcher) text(k *searchKey) truth {
	if m.err != nil {
		return unknown
	}
	if k.kind < keyBody {
		head, err := m.header(k.kind != keyHeader || isRecalled[strings.ToUpper(k.field)])
		switch {
		case err != nil:
			return m.fail(err)
		case k.kind == keyHeader:
			return truthOf(m.fields.inHeader(k, head))
		}
		return sent(k, head)
	}
	if !m.searched {
		if err := m.search(); err != nil {
			return m.fail(err)
		}
		m.searched = true
	}
	return truthOf(m.finders[k.text].found)
}

// header returns the message's header, or where the usual fields are enough, what has those.
func (m *matcher) header(usual bool) ([]byte, error) {
	if usual {
		return m.box.reader.usualHeader(m.ctx, m.msg.UID)
	}
	if _, err := m.box.reader.open(m.ctx, m.msg.UID); err != nil {
		return nil, err
	}
	return m.box.reader.topHeader()
}

// sent compares the day of the Date field, in its own zone. Of several the last counts,
// which is what ENVELOPE shows.
func sent(k *searchKey, head []byte) truth {
	t := falseTruth
	for f := range message.FieldsNamed(head, "date") {
		if _, value, ok := bytes.Cut(f, []byte{':'}); ok {
			t = falseTruth
			if d, ok := message.ParseDate(value); ok {
				t = compareDay(k, day(d))
			}
		}
	}
	return t
}

// fieldEnd is the length of the first field with its folded lines.
func fieldEnd(b []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		if n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return n
		}
	}
}

// search runs all finders over the message in one pass over its parts.
func (m *matcher) search() error {
	if _, err := m.box.reader.open(m.ctx, m.msg.UID); err != nil {
		return err
	}
	root, err := m.box.reader.structure()
	if err != nil {
		return err
	}
	var everything []*finder
	for i, f := range m.finders {
		f.reset()
		if m.bodies[i].kind == keyText {
			everything = append(everything, f)
		}
	}
	defer m.lines.wipe()
	if len(everything) > 0 {
		if err := m.searchHeader(root, everything); err != nil {
			return err
		}
	}
	return m.searchPart(root, root, everything)
}

// searchHeader feeds the fields of a header, decoded one by one.
func (m *matcher) searchHeader(p *message.Part, finders []*finder) error {
	head, err := m.box.reader.header(p)
	if err != nil {
		return err
	}
	for len(head) > 0 {
		end := fieldEnd(head)
		m.searchField(head[:end], finders)
		head = head[end:]
	}
	return nil
}

// maxFieldPiece is how much of a header field is decoded at a time.
const maxFieldPiece = 256 << 10

// searchField feeds one field. A huge one goes in pieces that end with a line, which no
// encoded word crosses: decoding holds several copies of its text.
func (m *matcher) searchField(field []byte, finders []*finder) {
	for len(field) > maxFieldPiece {
		cut := bytes.LastIndexByte(field[:maxFieldPiece], '\n') + 1
		if cut == 0 {
			cut = maxFieldPiece
		}
		m.lines.add(message.DecodeHeader(spaceFolds(field[:cut])), finders)
		field = field[cut:]
	}
	m.lines.feed(message.DecodeHeader(spaceFolds(field)), finders)
}

// searchPart looks into the texts of a part and those below it. Attachments that are
// not text are left out, and the headers of parts belong to TEXT alone, as in Dovecot.
func (m *matcher) searchPart(p, root *message.Part, everything []*finder) error {
	if p != root && len(everything) > 0 {
		if err := m.searchHeader(p, everything); err != nil {
			return err
		}
	}
	if p.Message != nil {
		return m.searchPart(p.Message, root, everything)
	}
	for _, c := range p.Children {
		if err := m.searchPart(c, root, everything); err != nil {
			return err
		}
	}
	if len(p.Children) > 0 || !p.IsText() && !p.IsMultipart() && p.Type != "" && !strings.EqualFold(p.Type, "message") {
		return nil
	}
	charset, _ := message.Param(p.Params, "charset")
	body := io.NewSectionReader(m.box.reader.msg, p.BodyStart, p.End-p.BodyStart)
	return feed(message.DecodeText(body, p.Encoding, charset), m.finders)
}
