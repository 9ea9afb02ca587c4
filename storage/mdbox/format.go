// Package mdbox reads the files of Dovecot's multi-dbox, in which many messages lie in
// append-only files m.1, m.2 and so on. So far it knows their outer format alone:
//
//	file    = "2 M1e C" hex-time LF *message        ; other fields of a capital and a value are ignored
//	message = %x01 %x02 "N" SP 8SP SP 16hex LF body post ; the number is the size of body
//	post    = LF %x01 %x03 LF *(key value LF) LF    ; metadata
//
// A body is what was stored, usually encrypted; the rest is never encrypted, and tells
// dates, sizes, GUIDs and the folder of the first save. Which messages are in which
// folder, and which are expunged, only Dovecot's indexes know. (Dovecot: dbox-file.h,
// mdbox-file.c.)
package mdbox

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is read at once.
const (
	maxFileHeader = 512
	maxMetadata   = 64 << 10
	minHeader     = 30 // of a message; a file may say more
	maxHeader     = 256
)

// A CorruptError reports bytes that the format does not allow.
type CorruptError struct {
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string { return fmt.Sprintf("mdbox: at %d: %s", e.Offset, e.Reason) }

// A Record is one message of a file.
type Record struct {
	Offset int64 // of its header
	Body   int64 // where the stored bytes begin
	Size   int64 // how many there are
	End    int64 // where the next message begins
	Metadata
}

// Metadata are what stands behind a message. Sizes are -1 where they are not given.
type Metadata struct {
	GUID     string // any text is legal, usually 32 hexadecimal digits
	Received time.Time
	Physical int64  // Z: bytes of the message where they differ from those stored
	Virtual  int64  // V: with every line end as CR LF
	Folder   string // B: of the first save, as stored
	UIDL     string // P
	Other    []string
}

// A Scanner goes through the messages of a file. It is not safe for concurrent use.
type Scanner struct {
	r      io.ReaderAt
	size   int64
	at     int64
	header int64

	// Created is when the file was made.
	Created time.Time
}

// NewScanner reads the header of the file that fills the first size bytes of r. Errors are
// *CorruptError or come from r.
func NewScanner(r io.ReaderAt, size int64) (*Scanner, error) {
	line, err := readLine(r, 0, size, maxFileHeader)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(line))
	if len(words) == 0 || words[0] != "2" && words[0] != "1" {
		return nil, &CorruptError{0, "no header of a known version"}
	}
	s := &Scanner{r: r, size: size, at: int64(len(line)) + 1}
	for _, w := range words[1:] {
		n, err := strconv.ParseUint(w[1:], 16, 32)
		switch w[0] {
		case 'M':
			if err != nil || n < minHeader || n > maxHeader {
				return nil, &CorruptError{0, "bad size of message headers"}
			}
			s.header = int64(n)
		case 'C':
			if err == nil {
				s.Created = time.Unix(int64(n), 0).UTC()
			}
		}
	}
	if s.header == 0 {
		return nil, &CorruptError{0, "no size of message headers"}
	}
	return s, nil
}

// Next returns the next message, io.EOF behind the last one. Errors are *CorruptError or
// come from the reader; after one there is no going on.
func (s *Scanner) Next() (Record, error) {
	if s.at == s.size {
		return Record{}, io.EOF
	}
	m := Record{Offset: s.at, Body: s.at + s.header}
	head, err := read(s.r, s.at, s.header, s.size)
	if err != nil {
		return m, err
	}
	if !bytes.HasPrefix(head, []byte("\x01\x02")) {
		return m, &CorruptError{s.at, "no message begins there"}
	}
	n, err := strconv.ParseInt(string(head[13:29]), 16, 64)
	if err != nil || n < 0 || n > s.size-m.Body {
		return m, &CorruptError{s.at, "bad size"}
	}
	m.Size = n
	magic, err := read(s.r, m.Body+n, 4, s.size)
	if err != nil {
		return m, err
	}
	if string(magic) != "\n\x01\x03\n" {
		return m, &CorruptError{m.Body + n, "no metadata behind the message"}
	}
	m.End, err = m.Metadata.read(s.r, m.Body+n+4, s.size)
	if err != nil {
		return m, err
	}
	s.at = m.End
	return m, nil
}

// read reads the lines up to an empty one, and returns where it ends.
func (m *Metadata) read(r io.ReaderAt, at, size int64) (int64, error) {
	m.Physical, m.Virtual = -1, -1
	b, err := read(r, at, min(maxMetadata, max(size-at, 0)), size)
	if err != nil {
		return 0, err
	}
	end := at
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			return 0, &CorruptError{end, "metadata do not end"}
		}
		end += int64(len(line)) + 1
		if len(line) == 0 || line[0] == ' ' { // old files end so
			return end, nil
		}
		m.set(line[0], string(line[1:]))
		b = rest
	}
}

func (m *Metadata) set(key byte, value string) {
	n, err := strconv.ParseInt(value, 16, 64)
	if err != nil || n < 0 {
		n = -1
	}
	switch key {
	case 'G':
		m.GUID = value
	case 'R':
		if n >= 0 {
			m.Received = time.Unix(n, 0).UTC()
		}
	case 'Z':
		m.Physical = n
	case 'V':
		m.Virtual = n
	case 'B':
		m.Folder = value
	case 'P':
		m.UIDL = value
	default:
		m.Other = append(m.Other, string(key)+value)
	}
}

// read reads exactly n bytes within the file.
func read(r io.ReaderAt, at, n, size int64) ([]byte, error) {
	if at < 0 || n > size-at {
		return nil, &CorruptError{at, "the file ends"}
	}
	b := make([]byte, n)
	if k, err := r.ReadAt(b, at); k < len(b) {
		if err == io.EOF {
			return nil, &CorruptError{at, "the file ends"}
		}
		return nil, fmt.Errorf("mdbox: reading at %d: %w", at, err)
	}
	return b, nil
}

func readLine(r io.ReaderAt, at, size, limit int64) ([]byte, error) {
	b, err := read(r, at, min(limit, size-at), size)
	if err != nil {
		return nil, err
	}
	line, _, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, &CorruptError{at, "no end of a line"}
	}
	return line, nil
}
