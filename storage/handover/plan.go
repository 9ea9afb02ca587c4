package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"mailcrypt/dovecotindex"
	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A stored is a message in the files.
type stored struct {
	mapUID uint32 // 0: the map does not have it
	place  mfile.Place
	meta   mfile.Metadata
	size   int64 // of the stored bytes
	read   bool  // the file has a message at the place
	bad    error // why it cannot be read
	refs   int

	from string // of sdbox: the file, and where its stored bytes begin
	body int64
}

// A taken is a message of a mailbox.
type taken struct {
	dovecotindex.Message
	at *stored
}

// A boxPlan is a mailbox as it is to be.
type boxPlan struct {
	*sourceBox
	messages []taken
}

// A plan says which messages there are, where they lie, and in which mailboxes they are.
type plan struct {
	src    *source
	o      *Options
	report *Report

	files   map[uint32]index.CatalogFile
	lengths map[uint32]int64
	stored  []*stored
	byMap   map[uint32]*stored
	byPlace map[index.Place]*stored // Size is 0
	byGUID  map[mailbox.GUID]*stored
	boxes   []*boxPlan
	nextMap uint32
}

func newPlan(src *source, o *Options, report *Report) *plan {
	return &plan{src: src, o: o, report: report, files: map[uint32]index.CatalogFile{}, lengths: map[uint32]int64{},
		byMap: map[uint32]*stored{}, byPlace: map[index.Place]*stored{}, byGUID: map[mailbox.GUID]*stored{}, nextMap: 1}
}

func (p *plan) note(format string, args ...any) {
	if len(p.report.Notes) < 1000 {
		p.report.Notes = append(p.report.Notes, fmt.Sprintf(format, args...))
	}
}

// mdbox finds the messages of an mdbox.
func (p *plan) mdbox(ctx context.Context) error {
	dir, err := mfile.Open(mfile.Options{Root: p.src.Root, Alt: p.src.Alt})
	if err != nil {
		return err
	}
	if err := p.scan(ctx, dir); err != nil {
		return err
	}
	if err := p.readMap(ctx, dir); err != nil {
		return err
	}
	for _, b := range p.src.boxes {
		if err := p.matchBox(ctx, b); err != nil {
			return err
		}
	}
	p.adopt()
	return nil
}

// scan reads what is said of every message beside it.
func (p *plan) scan(ctx context.Context, dir *mfile.Dir) error {
	list, err := dir.List()
	if err != nil {
		return err
	}
	for i, f := range list {
		if _, twice := p.files[f.ID]; twice {
			p.note("m.%d is in both directories; the alternative one is passed over", f.ID)
			continue
		}
		if err := p.scanFile(ctx, dir, f); err != nil {
			return err
		}
		p.o.Progress("reading message files", i+1, len(list))
	}
	p.report.Files = len(p.files)
	return nil
}

func (p *plan) scanFile(ctx context.Context, dir *mfile.Dir, f mfile.File) error {
	state := index.CatalogFile{ID: f.ID, Alt: f.Alt}
	p.lengths[f.ID] = f.Size
	s, err := dir.Scan(f)
	var corrupt *mfile.CorruptError
	if errors.As(err, &corrupt) {
		p.note("%v", err)
		p.files[f.ID] = state
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	state.Created = s.Created
	p.files[f.ID] = state
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if errors.As(err, &corrupt) {
			p.note("%v", err)
			if _, err = s.Skip(); err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		p.scanned(f.ID, s, rec)
	}
}

// scanned notes a message that was found. What does not fit into 32 bits the map cannot name.
func (p *plan) scanned(file uint32, r io.ReaderAt, rec mfile.Record) {
	if rec.End > math.MaxUint32 {
		p.note("m.%d at %d: beyond 4 GiB, where mdbox has no name for a message", file, rec.Offset)
		return
	}
	m := &stored{place: mfile.Place{File: file, Offset: uint32(rec.Offset), Size: uint32(rec.End - rec.Offset)},
		meta: rec.Metadata, size: rec.Size, read: true}
	if p.o.Check != nil {
		m.bad = p.o.Check(io.NewSectionReader(r, rec.Body, rec.Size))
	}
	p.byPlace[index.Place{File: file, Offset: m.place.Offset}] = m
	if guid := dovecotindex.GUID128(rec.GUID); rec.GUID != "" && p.byGUID[guid] == nil {
		p.byGUID[guid] = m
	}
}

// readMap gives the messages that were found the UIDs that the map has for them.
func (p *plan) readMap(ctx context.Context, dir *mfile.Dir) error {
	if p.src.maps == nil {
		return nil
	}
	p.nextMap = max(1, p.src.maps.NextUID)
	for _, r := range p.src.maps.Messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.nextMap = max(p.nextMap, r.UID+1)
		key := index.Place{File: r.FileID, Offset: r.Offset}
		m := p.byPlace[key]
		if m == nil {
			m = p.atPlace(dir, r)
		}
		if m == nil {
			continue // looked for by its GUID, or lost
		}
		p.byMap[r.UID] = m
		if m.mapUID == 0 {
			m.mapUID = r.UID
			p.byPlace[key] = m
			p.stored = append(p.stored, m)
		}
	}
	return nil
}

// atPlace is a message that no search has found where the map has it: damage is around it, or
// in it. nil says that its file is not there.
func (p *plan) atPlace(dir *mfile.Dir, r dovecotindex.MapMessage) *stored {
	place := mfile.Place{File: r.FileID, Offset: r.Offset, Size: r.Size}
	if _, ok := p.files[r.FileID]; !ok || r.Size == 0 || place.End() > math.MaxUint32 || place.End() > p.lengths[r.FileID] {
		return nil
	}
	m := &stored{place: place}
	s, err := dir.Open(place)
	if err != nil {
		m.bad = err
		m.meta = mfile.Metadata{Physical: -1, Virtual: -1}
		m.size = int64(r.Size)
		if errors.Is(err, mfile.ErrAttachments) {
			m.meta.External = "?"
		}
		return m
	}
	defer s.Close()
	m.meta, m.size, m.read = s.Metadata, s.Size(), true
	if p.o.Check != nil {
		m.bad = p.o.Check(s)
	}
	return m
}

// enter gives a message that was found without the map a place in it.
func (p *plan) enter(m *stored) {
	if m.mapUID == 0 {
		m.mapUID = p.nextMap
		p.nextMap++
		p.stored = append(p.stored, m)
	}
}
