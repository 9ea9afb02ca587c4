package maildir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"mailcrypt/mailbox"
)

const (
	uidlistName = "dovecot-uidlist"
	maxUID      = 1<<32 - 2
	// maxLine bounds a line: a file name, and fields that nobody has seen exceed 1 kB.
	maxLine = 64 << 10
)

// A uidHeader is the first line of dovecot-uidlist.
type uidHeader struct {
	version  int // 0 where there is no list
	validity uint32
	next     mailbox.UID
	guid     mailbox.GUID
	extra    []string // fields of other programs, kept as they are
}

// A uidRecord is one message of dovecot-uidlist.
type uidRecord struct {
	uid    mailbox.UID
	base   string
	fields string // between UID and colon, separated by spaces
}

// A listError reports a line that the format does not allow.
type listError struct {
	line   int
	reason string
}

func (e *listError) Error() string {
	return fmt.Sprintf("maildir: %s line %d: %s", uidlistName, e.line, e.reason)
}

// A uidParse is what could be read of a uidlist.
type uidParse struct {
	uidHeader
	records []uidRecord // ascending
	end     int64       // offset behind the last complete line
	torn    bool        // an incomplete line follows
	damage  error       // the first line that is not well-formed; it and others were left out
}

// parseUIDList reads a whole uidlist. Other than Dovecot it goes on behind a bad line:
// every good one keeps its message's UID. The error is that of reading only.
func parseUIDList(r io.Reader) (*uidParse, error) {
	p := &uidParse{}
	s := newLineScanner(r)
	defer s.release()
	if !s.next() {
		if s.err == nil {
			p.damage = &listError{1, "no header"}
			p.torn = s.torn
		}
		return p, s.err
	}
	var err error
	if p.uidHeader, err = parseHeader(s.line); err != nil {
		p.damage = err
	}
	p.records, err = p.parseRecords(s, 0)
	return p, err
}

// parseAppended reads records that were added behind a list whose last UID is known.
func parseAppended(r io.Reader, last mailbox.UID) (*uidParse, error) {
	p := &uidParse{uidHeader: uidHeader{version: 3}}
	s := newLineScanner(r)
	defer s.release()
	var err error
	p.records, err = p.parseRecords(s, last)
	return p, err
}

func (p *uidParse) parseRecords(s *lineScanner, last mailbox.UID) ([]uidRecord, error) {
	var records []uidRecord
	for s.next() {
		rec, err := parseRecord(s.line, p.version)
		switch {
		case err != nil:
		case rec.uid <= last:
			err = errors.New("UIDs are not in order")
		case p.version == 1 && p.uidHeader.next != 0 && rec.uid >= p.uidHeader.next:
			err = errors.New("UID is not below the next UID")
		}
		if err != nil {
			if p.damage == nil {
				p.damage = &listError{s.n, err.Error()}
			}
			continue
		}
		last = rec.uid
		records = append(records, rec)
	}
	p.end, p.torn = s.end, s.torn
	if s.torn {
		// The UID of a record that was cut short may have been announced.
		if uid, _, ok := leadingUID(s.line); ok && uid > last {
			last = uid
		}
	}
	if last >= p.uidHeader.next {
		p.uidHeader.next = last + 1
	}
	if s.long && p.damage == nil {
		p.damage = &listError{s.n, "line too long"}
	}
	return records, s.err
}

// parseHeader reads the first line. With an error it returns what could be found.
func parseHeader(line []byte) (uidHeader, error) {
	words := strings.Split(string(line), " ")
	switch words[0] {
	case "3":
		return parseHeader3(words[1:])
	case "1":
		h := uidHeader{version: 1}
		if len(words) != 3 {
			return h, &listError{1, "version 1 header needs two numbers"}
		}
		v, err1 := parseUint32(words[1])
		n, err2 := parseUint32(words[2])
		h.validity, h.next = v, mailbox.UID(n)
		if err1 != nil || err2 != nil || v == 0 || n == 0 {
			return h, &listError{1, "bad number in version 1 header"}
		}
		return h, nil
	default:
		h, _ := parseHeader3(words[1:])
		return h, &listError{1, "unknown version"}
	}
}

func parseHeader3(words []string) (uidHeader, error) {
	h := uidHeader{version: 3}
	var bad error
	damaged := func(what string) {
		if bad == nil {
			bad = &listError{1, what}
		}
	}
	for _, w := range words {
		if w == "" {
			continue
		}
		value := w[1:]
		switch {
		case w[0] == 'V':
			v, err := parseUint32(value)
			if err != nil || v == 0 {
				damaged("bad UIDVALIDITY")
			}
			h.validity = v
		case w[0] == 'N':
			n, err := parseUint32(value)
			if err != nil || n == 0 {
				damaged("bad next UID")
			}
			h.next = mailbox.UID(n)
		case w[0] == 'G':
			g, err := mailbox.ParseGUID(value)
			if err != nil {
				damaged("bad mailbox GUID")
				continue
			}
			h.guid = g
		case w[0] >= 'A' && w[0] <= 'Z':
			h.extra = append(h.extra, w)
		default:
			damaged("bad header field")
		}
	}
	if h.validity == 0 {
		damaged("no UIDVALIDITY")
	}
	if h.next == 0 {
		damaged("no next UID")
	}
	return h, bad
}

// parseRecord reads a line of either version. Names are compared by base.
func parseRecord(line []byte, version int) (uidRecord, error) {
	uid, rest, ok := leadingUID(line)
	if !ok {
		return uidRecord{}, errors.New("no UID")
	}
	if uid == 0 || uid > maxUID {
		return uidRecord{}, errors.New("UID out of range")
	}
	rec := uidRecord{uid: uid}
	text := string(rest)
	if version == 1 {
		rec.base, _ = splitBase(text)
	} else {
		n := 0
		for n < len(text) && text[n] != ':' {
			if text[n] < 'A' || text[n] > 'Z' {
				return uidRecord{}, errors.New("bad field")
			}
			end := strings.IndexByte(text[n:], ' ')
			if end < 0 {
				return uidRecord{}, errors.New("no file name")
			}
			n += end + 1
		}
		if n == len(text) {
			return uidRecord{}, errors.New("no file name")
		}
		rec.fields = strings.TrimSuffix(text[:n], " ")
		rec.base, _ = splitBase(text[n+1:])
	}
	if rec.base == "" || strings.IndexByte(rec.base, '/') >= 0 || strings.IndexByte(rec.base, '\r') >= 0 {
		return uidRecord{}, errors.New("bad file name")
	}
	return rec, nil
}

// leadingUID reads digits and the space behind them.
func leadingUID(line []byte) (mailbox.UID, []byte, bool) {
	num, rest, ok := bytes.Cut(line, []byte{' '})
	n, err := parseUint32(string(num))
	return mailbox.UID(n), rest, ok && err == nil
}

func parseUint32(s string) (uint32, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// appendHeader writes a version 3 header line.
func (h *uidHeader) appendHeader(b []byte) []byte {
	b = append(b, "3 V"...)
	b = strconv.AppendUint(b, uint64(h.validity), 10)
	b = append(b, " N"...)
	b = strconv.AppendUint(b, uint64(h.next), 10)
	b = append(b, " G"...)
	b = append(b, h.guid.String()...)
	for _, x := range h.extra {
		b = append(b, ' ')
		b = append(b, x...)
	}
	return append(b, '\n')
}

// appendTo writes a version 3 record line.
func (r *uidRecord) appendTo(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.uid), 10)
	b = append(b, ' ')
	if r.fields != "" {
		b = append(b, r.fields...)
		b = append(b, ' ')
	}
	b = append(b, ':')
	b = append(b, r.base...)
	return append(b, '\n')
}

// field returns the value of a record's field.
func field(fields string, key byte) (string, bool) {
	for f := range strings.SplitSeq(fields, " ") {
		if f != "" && f[0] == key {
			return f[1:], true
		}
	}
	return "", false
}

// setField returns fields with one replaced or added.
func setField(fields string, key byte, value string) string {
	kept := make([]string, 0, 4)
	for f := range strings.SplitSeq(fields, " ") {
		if f != "" && f[0] != key {
			kept = append(kept, f)
		}
	}
	return strings.Join(append(kept, string(rune(key))+value), " ")
}

// A lineScanner reads lines that end with LF. What follows the last LF is not a line.
type lineScanner struct {
	r    *bufio.Reader
	line []byte // without LF; valid until the next call
	n    int
	end  int64
	torn bool // line holds what follows the last LF
	long bool // lines were left out for their length
	err  error
}

// lineReaders lends buffers: a mailbox is opened for a line or two, and a login or an
// administrative operation opens many.
var lineReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxLine) }}

// newLineScanner reads lines of r; release it.
func newLineScanner(r io.Reader) *lineScanner {
	s := &lineScanner{r: lineReaders.Get().(*bufio.Reader)}
	s.r.Reset(r)
	return s
}

// release gives the buffer back. The last line is not valid any more.
func (s *lineScanner) release() {
	s.r.Reset(nil)
	lineReaders.Put(s.r)
	s.r, s.line = nil, nil
}

func (s *lineScanner) next() bool {
	for {
		line, err := s.r.ReadSlice('\n')
		s.n++
		switch err {
		case nil:
			s.end += int64(len(line))
			s.line = line[:len(line)-1]
			return true
		case bufio.ErrBufferFull:
			s.long = true
			skipped := int64(len(line))
			for err == bufio.ErrBufferFull {
				line, err = s.r.ReadSlice('\n')
				skipped += int64(len(line))
			}
			if err == nil {
				s.end += skipped
				continue
			}
			s.line, s.torn = nil, true
		default:
			s.line, s.torn = line, len(line) > 0
		}
		if err != io.EOF {
			s.err = err
		}
		return false
	}
}
