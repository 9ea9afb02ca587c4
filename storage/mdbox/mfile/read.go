package mfile

import (
	"io"
	"os"
)

// A Stored is the stored bytes of a message, open for reading. Reads may run concurrently,
// and go on when the message is moved meanwhile. The caller closes it.
type Stored struct {
	f    *os.File
	body *io.SectionReader
	Record
}

// Open opens the message at a place, and checks that a whole message is there and ends where
// the place does. Errors wrap ErrGone, if the file is not there, or ErrAttachments, or are a
// *CorruptError. Whoever got the place from a catalog asks it again after an error of the
// first and the last kind, for the message may have been moved.
func (d *Dir) Open(p Place) (*Stored, error) {
	s, err := d.openAny(p)
	if err == nil && s.External != "" {
		s.Close()
		return nil, ErrAttachments
	}
	return s, err
}

// openAny is Open, but for messages with attachments elsewhere too.
func (d *Dir) openAny(p Place) (*Stored, error) {
	f, _, err := d.open(p.File)
	if err != nil {
		return nil, err
	}
	rec, err := readAt(f, p)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Stored{f, io.NewSectionReader(f, rec.Body, rec.Size), rec}, nil
}

// readAt reads header and metadata at a place. What is behind it does not count: it is
// being written.
func readAt(f io.ReaderAt, p Place) (Record, error) {
	w := window{r: f, size: p.End(), file: p.File}
	w.least = 512
	h, err := w.fileHeader()
	if _, damaged := err.(*CorruptError); damaged {
		h.message = headerSize // messages behind a damaged header speak for themselves
	} else if err != nil {
		return Record{}, err
	}
	rec, err := w.message(int64(p.Offset), h.message)
	if err == nil && rec.End != p.End() {
		err = w.corrupt(rec.Offset, "the message has another length than is known")
	}
	return rec, err
}

// ReadAt reads of the body.
func (s *Stored) ReadAt(p []byte, at int64) (int, error) { return s.body.ReadAt(p, at) }

// Size is how many bytes the body has.
func (s *Stored) Size() int64 { return s.Record.Size }

// Close ends the reading.
func (s *Stored) Close() error { return s.f.Close() }
