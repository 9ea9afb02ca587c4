package mfile

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The parts of the format.
const (
	magic      = "\x01\x02"
	trailer    = "\n\x01\x03\n"
	headerSize = 30 // of a message, as it is written
)

// Bounds of what is read at once.
const (
	maxFileHeader = 512
	maxMetadata   = 256 << 10
	maxHeader     = 256 // of a message; a file may say more than 30
)

// A Record is one message of a file.
type Record struct {
	Offset int64 // of its header
	Body   int64 // where the stored bytes begin
	Size   int64 // how many there are
	End    int64 // where the next message begins
	Metadata
}

// A Scanner goes through the messages of a file. It is not safe for concurrent use.
type Scanner struct {
	w      window
	at     int64
	header int64

	// Created is when the file was made.
	Created time.Time
}

// NewScanner reads the header of the file that fills the first size bytes of r. Errors are
// *CorruptError or come from r.
func NewScanner(r io.ReaderAt, size int64) (*Scanner, error) {
	return newScanner(window{r: r, size: size})
}

func newScanner(w window) (*Scanner, error) {
	s := &Scanner{w: w}
	h, err := s.w.fileHeader()
	if err != nil {
		return nil, err
	}
	s.Created, s.header, s.at = h.created, h.message, h.end
	return s, nil
}

// Offset is where the next message begins.
func (s *Scanner) Offset() int64 { return s.at }

// Next returns the next message, io.EOF behind the last one. Errors are *CorruptError or
// come from the reader; after the former only Skip goes on.
func (s *Scanner) Next() (Record, error) {
	if s.at == s.w.size {
		return Record{}, io.EOF
	}
	m, err := s.w.message(s.at, s.header)
	if err == nil {
		s.at = m.End
	}
	return m, err
}

// Skip goes on to the next offset at which a whole message lies, and returns how many bytes
// it has passed over; io.EOF says that there is none up to the end. What lies in the body of
// a damaged message can look like a message: who uses Skip must tell its user so.
func (s *Scanner) Skip() (int64, error) {
	search := window{r: s.w.r, size: s.w.size} // its own, for the other one jumps
	from := s.at
	for next := from; ; {
		at, err := search.index(min(next+1, s.w.size), []byte(magic+"N "))
		if err == io.EOF {
			s.at = s.w.size
			return s.at - from, err
		} else if err != nil {
			return 0, err
		}
		_, err = s.w.message(at, s.header)
		if err == nil {
			s.at = at
			return at - from, nil
		}
		if _, corrupt := err.(*CorruptError); !corrupt {
			return 0, err
		}
		next = at
	}
}

// A fileHeader is the first line of a file.
type fileHeader struct {
	version string
	created time.Time
	message int64 // the size of the headers of messages
	end     int64
}

func (w *window) fileHeader() (h fileHeader, err error) {
	b, err := w.upTo(0, maxFileHeader)
	if err != nil {
		return h, err
	}
	line, _, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return h, w.corrupt(0, "no end of the first line")
	}
	words := strings.Fields(string(line))
	if len(words) == 0 || words[0] != "2" && words[0] != "1" {
		return h, w.corrupt(0, "no header of a known version")
	}
	h.version, h.end = words[0], int64(len(line))+1
	for _, word := range words[1:] {
		n, err := strconv.ParseUint(word[1:], 16, 32)
		switch word[0] {
		case 'M':
			if err != nil || n < headerSize || n > maxHeader {
				return h, w.corrupt(0, "bad size of message headers")
			}
			h.message = int64(n)
		case 'C':
			if err == nil {
				h.created = time.Unix(int64(n), 0).UTC()
			}
		}
	}
	if h.message == 0 {
		return h, w.corrupt(0, "no size of message headers")
	}
	return h, nil
}

// message reads the header and the metadata of the message at an offset.
func (w *window) message(at, header int64) (Record, error) {
	m := Record{Offset: at, Body: at + header, Metadata: unknown()}
	head, err := w.bytes(at, header)
	if err != nil {
		return m, err
	}
	if m.Size, err = messageSize(head); err != nil {
		return m, w.corrupt(at, err.Error())
	}
	if m.Size > w.size-m.Body {
		return m, w.corrupt(at, "the message is longer than the file")
	}
	return m, w.metadata(&m)
}

// metadata reads what is behind the body: little at first, for it seldom is more.
func (w *window) metadata(m *Record) error {
	at := m.Body + m.Size
	for limit := int64(1 << 10); ; limit = maxMetadata {
		b, err := w.upTo(at, limit)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(b, []byte(trailer)) {
			return w.corrupt(at, "no metadata behind the message")
		}
		if n, ok := m.Metadata.parse(b[len(trailer):]); ok {
			m.End = at + int64(len(trailer)+n)
			return nil
		}
		if limit == maxMetadata || int64(len(b)) < limit {
			return w.corrupt(at, "metadata do not end")
		}
	}
}

// messageSize reads the header of a message.
func messageSize(head []byte) (int64, error) {
	if !bytes.HasPrefix(head, []byte(magic)) {
		return 0, fmt.Errorf("no message begins there")
	}
	n, err := strconv.ParseUint(string(head[13:29]), 16, 63)
	if err != nil {
		return 0, fmt.Errorf("bad size")
	}
	if head[len(head)-1] != '\n' {
		return 0, fmt.Errorf("the header of the message does not end")
	}
	return int64(n), nil
}

// appendHeader writes the header of a message with that many stored bytes.
func appendHeader(b []byte, stored int64) []byte {
	return fmt.Appendf(b, magic+"N          %016X\n", stored)
}

// appendFileHeader writes the first line of a file.
func appendFileHeader(b []byte, created time.Time) []byte {
	return fmt.Appendf(b, "2 M%x C%x\n", headerSize, uint32(created.Unix()))
}
