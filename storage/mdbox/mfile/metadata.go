package mfile

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Metadata are what stands behind a message. Sizes are -1 where they are not given.
type Metadata struct {
	Physical int64     // Z: bytes of the message where they differ from those stored
	Received time.Time // R; the zero time where it is not given
	Virtual  int64     // V: with every line end as CR LF
	UIDL     string    // P: for POP3, where it is not the default
	Order    string    // O: the place in POP3's listing, decimal
	GUID     string    // G: any text is legal, usually 32 hexadecimal digits; mandatory
	Folder   string    // B: of the first save, its storage name with "/" between the parts
	External string    // X: the parts that are in an attachment directory
	Other    []string  // further lines, with their keys

}

// unknown are no metadata at all.
func unknown() Metadata { return Metadata{Physical: -1, Virtual: -1} }

// check tells what cannot be written.
func (m *Metadata) check() error {
	for _, s := range append([]string{m.UIDL, m.Order, m.GUID}, m.Other...) {
		if strings.ContainsAny(s, "\n\x00") {
			return fmt.Errorf("mfile: metadata with a line end in them")
		}
	}
	for _, s := range m.Other {
		if s == "" || s[0] < 'A' || s[0] > 'Z' || strings.IndexByte("ZRVPOGBX", s[0]) >= 0 {
			return fmt.Errorf("mfile: metadata of an unknown kind")
		}
	}
	if m.GUID == "" {
		return fmt.Errorf("mfile: message without a GUID") // Dovecot's rebuild drops the rest of the file
	}
	if m.External != "" {
		return ErrAttachments
	}
	return nil
}

// append writes the trailer of a message of which stored bytes are kept, in Dovecot's order.
func (m *Metadata) append(b []byte, stored int64) []byte {
	b = append(b, trailer...)
	if m.Physical >= 0 && m.Physical != stored {
		b = append(strconv.AppendInt(append(b, 'Z'), m.Physical, 16), '\n')
	}
	if !m.Received.IsZero() {
		// Dovecot prints a time before 1970 as the unsigned number that it is in C.
		b = append(strconv.AppendUint(append(b, 'R'), uint64(m.Received.Unix()), 16), '\n')
	}
	if m.Virtual >= 0 {
		b = append(strconv.AppendInt(append(b, 'V'), m.Virtual, 16), '\n')
	}
	if m.UIDL != "" {
		b = append(append(append(b, 'P'), m.UIDL...), '\n')
	}
	if m.Order != "" {
		b = append(append(append(b, 'O'), m.Order...), '\n')
	}
	b = append(append(append(b, 'G'), m.GUID...), '\n')
	// Dovecot leaves out a name that would break the line.
	if m.Folder != "" && !strings.ContainsAny(m.Folder, "\r\n\x00") {
		b = append(append(append(b, 'B'), m.Folder...), '\n')
	}
	for _, s := range m.Other {
		b = append(append(b, s...), '\n')
	}
	return append(b, '\n')
}

// parse takes the lines up to an empty one and returns how many bytes they are, with it. It
// is false if there is none.
func (m *Metadata) parse(b []byte) (n int, ok bool) {
	*m = unknown()
	for {
		line, rest, ok := bytes.Cut(b[n:], []byte{'\n'})
		if !ok {
			return n, false
		}
		n = len(b) - len(rest)
		if len(line) == 0 || line[0] == ' ' { // old files end so
			return n, true
		}
		m.set(line[0], string(line[1:]))
	}
}

func (m *Metadata) set(key byte, value string) {
	switch key {
	case 'G':
		m.GUID = value
	case 'R':
		if n, err := strconv.ParseUint(value, 16, 64); err == nil {
			m.Received = time.Unix(int64(n), 0).UTC()
		}
	case 'Z':
		m.Physical = parseSize(value)
	case 'V':
		m.Virtual = parseSize(value)
	case 'B':
		m.Folder = value
	case 'P':
		m.UIDL = value
	case 'O':
		m.Order = value
	case 'X':
		m.External = value
	default:
		m.Other = append(m.Other, string(key)+value)
	}
}

// parseSize returns -1 for what is no size.
func parseSize(value string) int64 {
	n, err := strconv.ParseUint(value, 16, 64)
	if err != nil || n > math.MaxInt64 {
		return -1
	}
	return int64(n)
}
