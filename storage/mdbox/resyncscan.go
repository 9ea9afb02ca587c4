package mdbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A found is a message of a file.
type found struct {
	index.MapRecord // its map UID is 0 while it has none
	// folder is the storage name of the mailbox of the first save, as the file has it.
	folder string
	// dead says that it stays expunged, or is another one's duplicate.
	dead bool
	// old is how many references the old catalog counts, if known is set.
	old   uint16
	known bool
}

// maxGUID bounds the GUIDs that are taken from files; others are made from the bytes.
const maxGUID = 1024

// scan reads all files. Where one ID is in both directories, one file gets another.
func (x *resync) scan(ctx context.Context) error {
	list, err := x.files.List()
	if err != nil {
		return err
	}
	old := map[uint32]index.CatalogFile{}
	x.lastFile = x.old.Meta.HighestFile
	for _, f := range x.old.Files {
		old[f.ID] = f
		x.lastFile = max(x.lastFile, f.ID)
	}
	for _, f := range list {
		x.lastFile = max(x.lastFile, f.ID)
	}
	used := map[uint32]bool{}
	for _, r := range x.old.Maps {
		used[r.File] = true
	}
	for _, p := range x.old.Places {
		used[p.File] = true
	}
	for i, f := range list {
		// All that counted has moved elsewhere. But one wrong bit must not cost a file.
		if was := old[f.ID]; was.Doomed && was.Alt == f.Alt && was.Messages == 0 && !used[f.ID] && x.intact() {
			x.states = append(x.states, was)
			continue
		}
		as := f
		if twin := i > 0 && list[i-1].ID == f.ID || i+1 < len(list) && list[i+1].ID == f.ID; twin && f.Alt != old[f.ID].Alt {
			if as.ID, err = x.renumber(ctx, f); err != nil {
				return err
			}
		}
		if err := x.scanFile(ctx, f, as); err != nil {
			return err
		}
	}
	return nil
}

// renumber gives a file another ID.
func (x *resync) renumber(ctx context.Context, f mfile.File) (id uint32, err error) {
	if x.r.DryRun {
		id = x.next()
	} else if id, err = x.files.Renumber(ctx, f, x.next); err != nil {
		return 0, err
	}
	where := "the primary directory"
	if f.Alt {
		where = "the alternative directory"
	}
	x.report.Renumbered = append(x.report.Renumbered, fmt.Sprintf("m.%d of %s is m.%d", f.ID, where, id))
	return id, nil
}

// scanFile reads one file, whose ID is as's by now unless this is a dry run.
func (x *resync) scanFile(ctx context.Context, f, as mfile.File) error {
	at := as
	if x.r.DryRun {
		at = f
	}
	s, err := x.files.Scan(at)
	if err != nil {
		return err
	}
	defer s.Close()
	x.report.Files++
	state := index.CatalogFile{ID: as.ID, Alt: as.Alt, Created: s.Created}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := s.Next()
		if err == io.EOF {
			break
		}
		var corrupt *mfile.CorruptError
		if errors.As(err, &corrupt) {
			part := DamagedPart{File: f.ID, Alt: f.Alt, Offset: s.Offset(), Reason: corrupt.Reason}
			part.Bytes, err = s.Skip()
			if part.Bytes > 0 {
				x.report.Damaged = append(x.report.Damaged, part)
			}
			if err == io.EOF {
				break
			}
		} else if err == nil {
			if err = x.take(s, as, &m); err == nil {
				state.End = uint32(m.End)
			}
		}
		if err != nil {
			return err
		}
	}
	if state.End > 0 { // otherwise there is nothing to know of it
		x.states = append(x.states, state)
	}
	return nil
}

// take takes up one message.
func (x *resync) take(s *mfile.FileScanner, f mfile.File, m *mfile.Record) error {
	if m.End > 1<<32-1 {
		return fmt.Errorf("m.%d: %w", f.ID, mfile.ErrTooLarge)
	}
	r := index.MapRecord{Place: index.Place{File: f.ID, Offset: uint32(m.Offset), Size: uint32(m.End - m.Offset)},
		Received: m.Received, Physical: m.Physical, Virtual: m.Virtual, Stored: m.Size, GUID: m.GUID}
	if r.Physical < 0 {
		r.Physical = m.Size // Z is there only where it differs
	}
	if r.Received.IsZero() {
		r.Received = time.Unix(0, 0) // as Dovecot takes it
	}
	if r.GUID == "" || len(r.GUID) > maxGUID {
		hash := sha256.New()
		if _, err := io.Copy(hash, io.NewSectionReader(s, m.Body, m.Size)); err != nil {
			return fmt.Errorf("reading m.%d: %w", f.ID, err)
		}
		r.GUID = hex.EncodeToString(hash.Sum(nil)[:len(mailbox.GUID{})])
		x.report.NoGUID++
	}
	if m.External != "" {
		x.report.Attachments++
	}
	x.report.Found++
	x.report.Bytes += uint64(r.Size)
	x.found = append(x.found, found{MapRecord: r, folder: m.Folder})
	return nil
}
