package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mailcrypt/dovecotindex"
	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/storage/mdbox"
	"mailcrypt/storage/mdbox/mfile"
)

// Export hands a store to Dovecot: with to "" at its place, after which it is Dovecot's, until
// an Import; else as a new store in the directory to, which must be missing or empty, and ours
// goes on. Dovecot opens it without repairing anything, and finds all that the catalog knows.
// The store must not be open.
//
// Stopped at any step, by whatever, a store at its place is Dovecot's or ours wholly, and
// to is there wholly or not at all.
func Export(ctx context.Context, from mdbox.Location, to string, o Options) (*Report, error) {
	o.fill()
	ex := &exporter{o: &o, stage: newStage(paths{from}, o.Faults),
		report: &Report{DryRun: o.DryRun, From: from.Root, To: from.Root, Format: "mdbox", InPlace: to == ""}}
	if to != "" {
		if !filepath.IsAbs(to) {
			return nil, fmt.Errorf("%w: %q is not an absolute path", mdbox.ErrLocation, to)
		}
		ex.report.To = filepath.Clean(to)
	}
	if err := ex.run(ctx); err != nil {
		err = fmt.Errorf("handover: exporting %s: %w", from.Root, err)
		if errors.Is(err, ErrLost) {
			return ex.report, err
		}
		return nil, err
	}
	return ex.report, nil
}

type exporter struct {
	*stage
	o      *Options
	report *Report
	maps   dovecotindex.Map
	files  []index.CatalogFile
	boxes  []exportBox
}

type exportBox struct {
	key string
	m   *dovecotindex.Mailbox
}

func (ex *exporter) run(ctx context.Context) error {
	if !there(ex.Root) {
		return fmt.Errorf("%w: %s is not there", mdbox.ErrNoCatalog, ex.Root)
	}
	unlock, err := ex.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if !ex.o.DryRun {
		if _, err := ex.settle(); err != nil {
			return err
		}
	}
	if there(ex.mapPath()) || there(ex.mapPath()+".log") {
		return mdbox.ErrDovecot
	}
	// Open for writing, so that nobody else has it.
	catalog, err := index.OpenCatalog(ex.catalog(), index.CatalogOptions{Logger: ex.o.Logger})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return mdbox.ErrNoCatalog
	case errors.Is(err, index.ErrCatalogBusy):
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case err != nil:
		return err
	}
	err = catalog.View(func(tx *index.CatalogTx) error { return ex.read(ctx, tx) })
	if err == nil && !ex.o.DryRun {
		if ex.report.InPlace {
			err = ex.inPlace()
		} else {
			err = ex.elsewhere(ctx)
		}
	}
	return errors.Join(err, catalog.Close())
}

// read takes everything from the catalog.
func (ex *exporter) read(ctx context.Context, tx *index.CatalogTx) (err error) {
	meta, err := tx.Meta()
	if err != nil {
		return err
	}
	if meta.HandedOver {
		return mdbox.ErrDovecot
	}
	ex.maps = dovecotindex.Map{UIDValidity: meta.MapValidity, NextUID: meta.NextMapUID,
		HighestFileID: meta.HighestFile, RebuildCount: meta.Rebuilds}
	if ex.files, err = tx.Files(); err != nil {
		return err
	}
	facts, err := ex.readMaps(ctx, tx)
	if err != nil {
		return err
	}
	err = tx.Names(func(key string, id index.Identity) error {
		b, err := ex.readBox(tx, key, id, meta.MapValidity, facts)
		if err != nil {
			return err
		}
		ex.boxes = append(ex.boxes, b)
		ex.report.Mailboxes = append(ex.report.Mailboxes, MailboxReport{Name: key, GUID: id.GUID.String(),
			UIDValidity: id.UIDValidity, UIDNext: uint32(b.m.NextUID), Messages: len(b.m.Messages)})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if n := len(ex.report.Lost); n > 0 && !ex.o.Lossy {
		return fmt.Errorf("%w: the files of %d messages are not there; if no disk is missing, go on without them (--lossy)", ErrLost, n)
	}
	return nil
}

// A fact is what mailboxes need to know of a stored message.
type fact struct {
	guid        [16]byte
	uidl, order bool
	gone        bool // its file is not there
	bad         error
	place       mfile.Place
}

// readMaps reads where messages are, and looks at each of them.
func (ex *exporter) readMaps(ctx context.Context, tx *index.CatalogTx) (map[uint32]fact, error) {
	dir, err := mfile.Open(mfile.Options{Root: ex.Root, Alt: ex.Alt})
	if err != nil {
		return nil, err
	}
	ex.report.Files = len(ex.files)
	facts := map[uint32]fact{}
	err = tx.Maps(func(r index.MapRecord) error {
		f := fact{guid: dovecotindex.GUID128(r.GUID), place: mfile.Place(r.Place)}
		s, err := dir.Open(f.place)
		switch {
		case err == nil:
			f.uidl, f.order = s.UIDL != "", s.Order != ""
			if ex.o.Check != nil {
				f.bad = ex.o.Check(s)
			}
			s.Close()
		case errors.Is(err, mfile.ErrGone):
			f.gone = true
		default:
			f.bad = err
		}
		facts[r.MapUID] = f
		if !f.gone {
			ex.maps.Messages = append(ex.maps.Messages, dovecotindex.MapMessage{UID: r.MapUID, FileID: r.File,
				Offset: r.Offset, Size: r.Size, Refs: r.Refs})
			ex.report.Bytes += r.Stored
			if r.Refs > 0 {
				ex.report.Stored++
			} else {
				ex.report.Expunged++
			}
		}
		return ctx.Err()
	})
	return facts, err
}

func (ex *exporter) readBox(tx *index.CatalogTx, key string, id index.Identity, validity uint32, facts map[uint32]fact) (exportBox, error) {
	state, err := tx.Mailbox(id.GUID)
	if err != nil {
		return exportBox{}, err
	}
	m := &dovecotindex.Mailbox{GUID: id.GUID, UIDValidity: id.UIDValidity, NextUID: state.UIDNext,
		FirstRecentUID: state.FirstRecent, HighestModSeq: state.HighestModSeq, MapUIDValidity: validity}
	err = tx.Messages(id.GUID, func(c index.CatalogMessage) error {
		f := facts[c.MapUID]
		r := MessageReport{Mailbox: key, UID: uint32(c.UID), Place: f.place.String()}
		if f.gone {
			r.Reason = "its file is not there"
			ex.report.Lost = append(ex.report.Lost, r)
			return nil
		}
		if f.bad != nil {
			r.Reason = f.bad.Error()
			ex.report.Damaged = append(ex.report.Damaged, r)
		}
		m.HasUIDLs, m.HasPOP3Orders = m.HasUIDLs || f.uidl, m.HasPOP3Orders || f.order
		m.Messages = append(m.Messages, dovecotindex.Message{UID: c.UID, Flags: c.Flags, ModSeq: c.ModSeq,
			GUID: f.guid, MapUID: c.MapUID, Saved: c.Saved})
		return nil
	})
	return exportBox{key, m}, err
}

// inPlace makes the store Dovecot's.
func (ex *exporter) inPlace() (err error) {
	defer func() {
		if err != nil {
			_, serr := ex.settle()
			err = errors.Join(err, serr)
		}
	}()
	// Old indexes of Dovecot's say what is not true any more.
	old := filepath.Join(ex.indexRoot(), "dovecot-indexes."+time.Now().UTC().Format("20060102T150405.000"))
	if err := ex.moveIndexes(old); err != nil {
		return err
	}
	if err := ex.writeBoxes(ex.paths); err != nil {
		return err
	}
	if err := ex.begin(exported); err != nil {
		return err
	}
	if err := ex.writeMap(filepath.Join(ex.newStorage(), mapIndex)); err != nil {
		return err
	}
	if err := ex.commit(); err != nil {
		return err
	}
	ex.report.Aside, err = ex.settle()
	return err
}

// writeBoxes makes the directories and indexes of mailboxes.
func (ex *exporter) writeBoxes(p paths) error {
	tree := durable.Tree{Roots: []string{p.Root, p.Index}, Faults: ex.faults}
	for _, b := range ex.boxes {
		log, err := b.m.MdboxLog(dovecotindex.LogOptions{})
		if err != nil {
			return fmt.Errorf("mailbox %s: %w", b.key, err)
		}
		path := p.boxPath(b.key)
		for _, dir := range []string{p.boxDir(b.key), filepath.Dir(path)} {
			if err := tree.MkdirAll(dir); err != nil {
				return err
			}
		}
		if err := ex.faults.Do(durable.OpCreate, path, func() error { return dovecotindex.Create(path, log) }); err != nil {
			return err
		}
	}
	return nil
}

func (ex *exporter) writeMap(path string) error {
	log, err := ex.maps.Log(dovecotindex.LogOptions{})
	if err != nil {
		return err
	}
	return ex.faults.Do(durable.OpCreate, path, func() error { return dovecotindex.Create(path, log) })
}
