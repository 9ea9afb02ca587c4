package mfile

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"mailcrypt/internal/durable"
)

const (
	// spoolMemory is how much of a message is kept in memory before Append.
	spoolMemory = 1 << 20
	// pieceSize is how much of it lies in one place.
	pieceSize = 64 << 10
)

// pieces holds *[pieceSize]byte: to grow one buffer, message after message, costs more than
// all else that a message of a megabyte needs here.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// maxTrailer is more than the metadata of a message that we write can be, and the headers.
const maxTrailer = 64 << 10

// A Spool takes the stored bytes of a message that is being saved. Small ones wait in
// memory; one of more than 1 MiB goes into a temporary file that Append makes a message
// file by renaming it, so that its bytes are written once and synced outside of all locks.
// It is one goroutine's.
type Spool struct {
	d    *Dir
	held []*[pieceSize]byte // what is in memory; all but the last are full
	n    int                // bytes in held
	size int64
	file *durable.File // nil while all is in memory
	head fileHeader    // of file

	err      error
	finished bool
	done     bool
}

// Create begins a message. Append takes it over; whoever does not come that far calls
// Abort.
func (d *Dir) Create() *Spool { return &Spool{d: d} }

// Size is how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Write takes stored bytes. After an error, which may wrap ErrTooLarge, only Abort is left.
func (s *Spool) Write(p []byte) (int, error) {
	switch {
	case s.err != nil:
		return 0, s.err
	case s.done || s.finished:
		return 0, fmt.Errorf("mfile: writing to a message: %w", os.ErrClosed)
	case int64(len(p)) > math.MaxUint32-maxTrailer-s.size:
		s.err = ErrTooLarge
		return 0, s.err
	}
	for rest := p; len(rest) > 0; {
		if s.n == spoolMemory {
			if s.err = s.spill(); s.err != nil {
				return len(p) - len(rest), s.err
			}
		}
		if s.n == len(s.held)*pieceSize {
			s.held = append(s.held, pieces.Get().(*[pieceSize]byte))
		}
		n := copy(s.held[len(s.held)-1][s.n%pieceSize:], rest)
		rest, s.n, s.size = rest[n:], s.n+n, s.size+int64(n)
	}
	return len(p), nil
}

// each calls write with what is in memory, piece by piece, and lets go of it.
func (s *Spool) each(write func([]byte) error) error {
	defer s.drop()
	for i, p := range s.held {
		if err := write(p[:min(pieceSize, s.n-i*pieceSize)]); err != nil {
			return err
		}
	}
	return nil
}

// drop lets go of what is in memory.
func (s *Spool) drop() {
	for _, p := range s.held {
		pieces.Put(p)
	}
	s.held, s.n = nil, 0
}

// spill writes what is in memory into the file.
func (s *Spool) spill() (err error) {
	if s.file == nil {
		if s.file, s.head, err = s.d.createTemp(false); err != nil {
			return err
		}
		s.d.preallocate(s.file)
		// The header of the message follows when its size is known. Zeros are no message.
		if _, err := s.file.Write(make([]byte, headerSize)); err != nil {
			return fmt.Errorf("mfile: saving: %w", err)
		}
	}
	return s.each(func(p []byte) error {
		if _, err := s.file.Write(p); err != nil {
			return fmt.Errorf("mfile: saving: %w", err)
		}
		return nil
	})
}

// Finish makes the bytes of a large message durable, so that Append need not. It may be left
// out, and does nothing for a small one.
func (s *Spool) Finish() error {
	if s.err != nil || s.finished {
		return s.err
	}
	if s.done {
		return fmt.Errorf("mfile: finishing a message: %w", os.ErrClosed)
	}
	s.finished = true
	if s.file == nil {
		return nil
	}
	s.err = s.spill()
	if s.err == nil {
		_, s.err = s.file.WriteAt(appendHeader(nil, s.size), s.head.end)
	}
	if s.err == nil {
		s.err = s.file.Datasync()
	}
	if s.err != nil {
		s.err = fmt.Errorf("mfile: saving: %w", s.err)
	}
	return s.err
}

// Abort gives the message up. After Append it does nothing.
func (s *Spool) Abort() error {
	if s.done {
		return nil
	}
	s.done = true
	s.drop()
	if s.file == nil {
		return nil
	}
	return s.d.dropTemp(s.file)
}

// take hands the message over to an append; the file is then the target's.
func (s *Spool) take() (*durable.File, error) {
	if s.done {
		return nil, errors.New("mfile: message was saved or given up before")
	}
	if err := s.Finish(); err != nil {
		return nil, err
	}
	s.done = true
	return s.file, nil
}
