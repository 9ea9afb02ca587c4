package mfile

import (
	"context"
	"fmt"
	"io"
)

// Copy appends the messages at the given places once more, with their metadata unchanged, in
// the order given: into files of the alternative directory if alt is true, otherwise of the
// primary one. Files that are locked are not appended to, so whoever empties files locks them
// before. As with Append all of it is durable, and Commit or Undo must follow.
//
// An error wraps ErrGone or is a *CorruptError where a message is not at its place; both
// name the file. Then nothing was appended.
func (d *Dir) Copy(ctx context.Context, next func() uint32, places []Place, alt bool) (*Appended, error) {
	if alt && d.o.Alt == "" {
		return nil, fmt.Errorf("mfile: there is no alternative directory (ALT= in mail_location)")
	}
	a := &Appended{d: d, alt: alt}
	for _, p := range places {
		if err := a.copy(ctx, p); err != nil {
			return nil, a.fail(err)
		}
	}
	if err := a.sync(ctx, next); err != nil {
		return nil, a.fail(err)
	}
	return a, nil
}

func (a *Appended) copy(ctx context.Context, p Place) error {
	s, err := a.d.openAny(p)
	if err != nil {
		return err
	}
	defer s.Close()
	// The header may be longer in the file of another version: it is written anew, and
	// everything behind it is taken as it is.
	rest := s.End - s.Body
	size := headerSize + rest
	t, err := a.target(size)
	if err != nil {
		return err
	}
	a.placed = append(a.placed, placed{t, t.end, size})
	if err := t.write(appendHeader(nil, s.Size())); err != nil {
		return err
	}
	piece := make([]byte, min(rest, writeSize))
	for at := s.Body; at < s.End; at += int64(len(piece)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece = piece[:min(s.End-at, writeSize)]
		if _, err := io.ReadFull(io.NewSectionReader(s.f, at, s.End-at), piece); err != nil {
			return fmt.Errorf("mfile: copying from m.%d: %w", p.File, err)
		}
		if err := t.write(piece); err != nil {
			return err
		}
	}
	return nil
}
