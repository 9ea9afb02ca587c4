package imapd

import (
	"bytes"
	"errors"
	"io"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/metadata"
)

// getMetadataArgs are the arguments of GETMETADATA.
type getMetadataArgs struct {
	name    string // "" is the server
	entries []metadata.Entry
	depth   int
	maxSize int64 // negative is no limit
}

// errNoMetadata refuses where annotations are turned off.
var errNoMetadata = &status{"NO", "CANNOT", "Mailbox attributes are not enabled."}

// getMetadata is GETMETADATA (RFC 5464 section 4.2).
func (s *session) getMetadata(*call) error {
	a, err := s.getMetadataArgs()
	if err != nil {
		return err
	}
	if !s.login.HasMetadata() {
		return errNoMetadata
	}
	if a.name != "" {
		if err := s.decodeName(&a.name); err != nil {
			return err
		}
	}
	values, err := s.login.Metadata(s.ctx, a.name, a.entries, a.depth)
	if err != nil {
		return err
	}
	longest := s.writeMetadata(a.name, values, a.maxSize)
	if longest > 0 {
		return ok("METADATA LONGENTRIES "+itoa(longest), "Getmetadata completed.")
	}
	return nil
}

// writeMetadata sends METADATA, and returns the size of the longest value that is larger
// than maxSize and was left out.
func (s *session) writeMetadata(name string, values []metadata.Value, maxSize int64) (longest int64) {
	before := ""
	for _, v := range values {
		if size := int64(len(v.Data)); maxSize >= 0 && size > maxSize {
			longest = max(longest, size)
			continue
		}
		if before == "" {
			s.enc.Raw("* METADATA ").Mailbox(name).Raw(" (")
		}
		s.enc.Raw(before)
		before = " "
		s.writeAString(v.Entry.String())
		s.enc.SP()
		if v.Data == nil {
			s.enc.NIL()
			continue
		}
		if bytes.IndexByte(v.Data, 0) >= 0 {
			s.enc.Raw("~") // a literal8
		}
		s.enc.LiteralHeader(int64(len(v.Data)))
		s.enc.Write(v.Data)
	}
	if before != "" {
		s.enc.Raw(")").CRLF()
	}
	return longest
}

// getMetadataArgs reads
//
//	getmetadata = "GETMETADATA" [SP options] SP mailbox SP entries
//
// The options may stand behind the mailbox too, as the examples of the RFC have it.
func (s *session) getMetadataArgs() (*getMetadataArgs, error) {
	a := &getMetadataArgs{maxSize: -1}
	d := s.dec
	if err := d.SP(); err != nil {
		return nil, err
	}
	if d.Peek() == '(' {
		if err := s.metadataOptions(a); err != nil {
			return nil, err
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
	}
	if err := s.mailboxName(&a.name)(); err != nil {
		return nil, err
	}
	if err := d.SP(); err != nil {
		return nil, err
	}
	if d.Peek() != '(' {
		if err := s.metadataEntry(&a.entries); err != nil {
			return nil, err
		}
		return a, d.End()
	}
	options := 0
	err := d.List(func() error {
		if c := d.Peek(); options == 0 && (c == '/' || c == '"' || c == '{' || c == '~') {
			return s.metadataEntry(&a.entries)
		}
		options++
		return s.metadataOption(a)
	})
	if err == nil && options > 0 && len(a.entries) > 0 {
		err = bad("Entry names and options in one list.")
	}
	if err != nil {
		return nil, err
	}
	if options > 0 {
		if err := d.SP(); err != nil {
			return nil, err
		}
		if err := s.metadataEntries(&a.entries); err != nil {
			return nil, err
		}
	}
	if len(a.entries) == 0 {
		return nil, bad("Missing entry names.")
	}
	return a, d.End()
}

func (s *session) metadataOptions(a *getMetadataArgs) error {
	return s.dec.List(func() error { return s.metadataOption(a) })
}

// metadataOption reads MAXSIZE or DEPTH (RFC 5464 section 4.2).
func (s *session) metadataOption(a *getMetadataArgs) error {
	o, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	switch o {
	case "MAXSIZE":
		n, err := s.dec.Number()
		a.maxSize = int64(n)
		return err
	case "DEPTH":
		depth, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		switch depth {
		case "0":
			a.depth = 0
		case "1":
			a.depth = 1
		case "INFINITY":
			a.depth = metadata.Infinity
		default:
			return bad("Invalid value for DEPTH option.")
		}
		return nil
	}
	return bad("Unknown GETMETADATA option.")
}

// metadataEntries reads one entry name, or some in parentheses.
func (s *session) metadataEntries(into *[]metadata.Entry) error {
	if s.dec.Peek() != '(' {
		return s.metadataEntry(into)
	}
	return s.dec.List(func() error { return s.metadataEntry(into) })
}

func (s *session) metadataEntry(into *[]metadata.Entry) error {
	name, err := s.dec.AString()
	if err != nil {
		return err
	}
	e, err := metadata.ParseEntry(string(name))
	if err != nil {
		return bad("Invalid entry name.")
	}
	if len(*into) == maxEntries {
		return no("LIMIT", "Too many entries in one command.")
	}
	*into = append(*into, e)
	return nil
}

// maxEntries bounds the entries of a command: with DEPTH each is a search of its own.
const maxEntries = 1000

// setMetadata is SETMETADATA (RFC 5464 section 4.3):
//
//	setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")"
//	value       = nstring / literal8
func (s *session) setMetadata(*call) error {
	var name string
	var values []metadata.Value
	limits := s.login.MetadataLimits()
	room := int64(limits.Bytes)
	err := s.args(s.mailboxName(&name), func() error {
		return s.dec.List(func() error {
			var entries []metadata.Entry
			if err := s.metadataEntry(&entries); err != nil {
				return err
			}
			if err := s.dec.SP(); err != nil {
				return err
			}
			if len(values) == maxEntries {
				return no("LIMIT", "Too many entries in one command.")
			}
			data, err := s.metadataValue(int64(limits.Value), &room)
			values = append(values, metadata.Value{Entry: entries[0], Data: data})
			return err
		})
	})
	if err != nil {
		return err
	}
	if len(values) == 0 {
		return bad("Missing entry names.")
	}
	if !s.login.HasMetadata() {
		return errNoMetadata
	}
	if name != "" {
		if err := s.decodeName(&name); err != nil {
			return err
		}
	}
	return s.login.SetMetadata(s.ctx, name, values)
}

// metadataValue reads a value. One that is too large is refused before it is sent.
func (s *session) metadataValue(limit int64, room *int64) ([]byte, error) {
	d := s.dec
	if c := d.Peek(); c != '{' && c != '~' {
		return d.NString()
	}
	l, err := d.Literal()
	if err != nil {
		return nil, err
	}
	switch {
	case !s.login.HasMetadata():
		return nil, errNoMetadata
	case l.Size > limit:
		return nil, &metadata.ValueError{Max: int(limit)}
	case l.Size > *room:
		return nil, metadata.ErrTooMany
	}
	*room -= l.Size
	if err := l.Accept(); err != nil {
		return nil, err
	}
	data := make([]byte, l.Size)
	if _, err := io.ReadFull(l, data); err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	if !l.Binary && bytes.IndexByte(data, 0) >= 0 {
		return nil, &imapwire.SyntaxError{Reason: "NUL in a literal."}
	}
	return data, nil
}

// metadataStatus is the answer to errors of package metadata, or nil (RFC 5464 section 4.3).
func metadataStatus(err error) *status {
	var value *metadata.ValueError
	switch {
	case errors.As(err, &value):
		return &status{"NO", "METADATA MAXSIZE " + itoa(int64(value.Max)), "The value is too large."}
	case errors.Is(err, metadata.ErrTooMany):
		return &status{"NO", "METADATA TOOMANY", "There is no room for more annotations."}
	case errors.Is(err, metadata.ErrInternal):
		return &status{"NO", "CANNOT", "Internal mailbox attributes cannot be accessed."}
	case errors.Is(err, metadata.ErrReadOnly):
		return &status{"NO", "CANNOT", "The attribute cannot be changed."}
	}
	return nil
}
