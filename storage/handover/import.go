package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/storage/control"
	"mailcrypt/storage/mdbox"
)

// Import takes a store over that Dovecot has written: at its own place, where to has its root,
// or into another that has no mail yet, with copies of the messages. UIDs, UIDVALIDITYs, flags,
// keywords, modseqs, dates, GUIDs, copies and subscriptions stay. A message that is damaged costs
// itself alone: it is taken along, and named. The store must not be open in this process. With
// an error that wraps ErrLost or ErrAttachments, and always with none, there is a report.
//
// Stopped at any step, by whatever, the store is Dovecot's or ours wholly.
func Import(ctx context.Context, from Source, to mdbox.Location, o Options) (*Report, error) {
	o.fill()
	im := &importer{o: &o, stage: newStage(paths{to}, o.Faults), inPlace: from.Root == to.Root,
		report: &Report{DryRun: o.DryRun, From: from.Root, To: to.Root, Format: from.format()}}
	im.report.InPlace = im.inPlace
	if from.UTF8 != to.UTF8 {
		return nil, fmt.Errorf("%w: names of mailboxes are UTF-8 in one of %s and %s alone", mdbox.ErrLocation, from.Root, to.Root)
	}
	if err := im.run(ctx, from); err != nil {
		err = fmt.Errorf("handover: importing %s: %w", from.Root, err)
		if errors.Is(err, ErrLost) || errors.Is(err, ErrAttachments) {
			return im.report, err
		}
		return nil, err
	}
	return im.report, nil
}

type importer struct {
	*stage
	o       *Options
	inPlace bool
	report  *Report
	plan    *plan
}

func (im *importer) run(ctx context.Context, from Source) (err error) {
	if !im.o.DryRun {
		if err := im.tree.MkdirAll(im.Root); err != nil {
			return err
		}
	}
	if there(im.Root) {
		unlock, err := im.lock()
		if err != nil {
			return err
		}
		defer unlock()
	}
	if !im.o.DryRun {
		if _, err := im.settle(); err != nil {
			return err
		}
	}
	if err := im.mayReplace(from); err != nil {
		return err
	}
	if err := im.read(ctx, from); err != nil || im.o.DryRun {
		return err
	}
	return im.write(ctx)
}

// mayReplace refuses to hide mail.
func (im *importer) mayReplace(from Source) error {
	dovecots := there(im.mapPath()) || there(im.mapPath()+".log")
	messages, handed, err := countCatalog(im.catalog())
	switch {
	case errors.Is(err, os.ErrNotExist):
	case errors.Is(err, index.ErrCatalogBusy):
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case err != nil:
		return err
	case im.inPlace && !dovecots && !handed && !from.Sdbox:
		return ErrOurs
	case im.inPlace && messages > 0 && dovecots && !handed:
		return fmt.Errorf("%w: %s", ErrBoth, im.indexStorage())
	case messages > 0 && !handed:
		return fmt.Errorf("%w in %s", ErrNotEmpty, im.Root)
	}
	if im.inPlace && !from.Sdbox {
		return nil
	}
	if err := im.dropUnfinished(); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(im.files(), "m.*"))
	if err != nil || len(files) > 0 || dovecots {
		return errors.Join(fmt.Errorf("%w in %s", ErrNotEmpty, im.Root), err)
	}
	return nil
}

// countCatalog counts the messages of a catalog that nobody has open.
func countCatalog(path string) (messages int, handed bool, err error) {
	c, err := index.OpenCatalog(path, index.CatalogOptions{})
	if err != nil {
		return 0, false, err
	}
	err = c.View(func(tx *index.CatalogTx) error {
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		handed = meta.HandedOver
		return tx.Names(func(_ string, id index.Identity) error {
			m, err := tx.Mailbox(id.GUID)
			messages += int(m.Messages)
			return err
		})
	})
	return messages, handed, errors.Join(err, c.Close())
}

// read finds out what is to be taken.
func (im *importer) read(ctx context.Context, from Source) error {
	note := func(format string, args ...any) {
		if len(im.report.Notes) < 1000 {
			im.report.Notes = append(im.report.Notes, fmt.Sprintf(format, args...))
		}
	}
	src, err := readSource(ctx, from, note)
	if err != nil {
		return err
	}
	if len(src.boxes) == 0 && src.maps == nil {
		return ErrNoStore
	}
	if err := src.unused(im.o.Force); err != nil {
		return err
	}
	im.plan = newPlan(src, im.o, im.report)
	if from.Sdbox {
		err = im.plan.sdbox(ctx)
	} else {
		err = im.plan.mdbox(ctx)
	}
	if err != nil {
		return err
	}
	im.plan.count()
	if n := len(im.report.Attachments); n > 0 {
		return fmt.Errorf("%w: %d messages", ErrAttachments, n)
	}
	if n := len(im.report.Lost); n > 0 && !im.o.Lossy {
		return fmt.Errorf("%w: %d of %d are in no file; if no disk is missing, go on without them (--lossy)", ErrLost, n, n+im.report.Messages())
	}
	return nil
}

// write makes the store. What was begun is taken back after an error.
func (im *importer) write(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			_, serr := im.settle()
			err = errors.Join(err, serr)
		}
	}()
	if err := im.begin(imported); err != nil {
		return err
	}
	if err := im.validities(); err != nil {
		return err
	}
	src := im.plan.src
	switch {
	case src.Sdbox:
		err = im.packFiles(ctx)
	case !im.inPlace:
		err = im.copyFiles(ctx)
	}
	if err != nil {
		return err
	}
	catalog := filepath.Join(im.newStorage(), index.CatalogName)
	err = index.CreateCatalog(catalog, index.CatalogOptions{Write: func(commit func() error) error {
		return im.faults.Do(durable.OpSync, index.CatalogName, commit)
	}}, func(tx *index.CatalogTx) error { return im.plan.fill(ctx, tx) })
	if err != nil {
		return err
	}
	if !im.inPlace {
		if err := im.besides(); err != nil {
			return err
		}
	}
	if err := src.unused(im.o.Force); err != nil {
		return err
	}
	if err := im.commit(); err != nil {
		return err
	}
	im.dropMark()
	im.report.Aside, err = im.settle()
	return err
}

// validities gives mailboxes that have none their UIDVALIDITY.
func (im *importer) validities() error {
	for i, b := range im.plan.boxes {
		if b.m.UIDValidity != 0 {
			continue
		}
		c := control.Dir{Path: im.controlDir(), Separator: '/', Tree: im.tree, Logger: im.o.Logger}
		v, err := c.NextUIDValidity()
		if err != nil {
			return err
		}
		b.m.UIDValidity, im.report.Mailboxes[i].UIDValidity = v, v
	}
	return nil
}

// besides makes what a store has beside messages: directories of mailboxes, subscriptions, and
// the counter of UIDVALIDITYs.
func (im *importer) besides() error {
	for _, b := range im.plan.boxes {
		if err := im.tree.MkdirAll(im.boxDir(b.key)); err != nil {
			return err
		}
	}
	return copyControl(im.plan.src.paths(), im.stage)
}

// copyControl copies subscriptions and the counter of UIDVALIDITYs, unless there are some.
func copyControl(from paths, to *stage) error {
	if err := to.tree.MkdirAll(to.controlDir()); err != nil {
		return err
	}
	copies := map[string]string{from.subscriptions(): to.subscriptions()}
	markers, err := filepath.Glob(filepath.Join(from.controlDir(), "dovecot-uidvalidity*"))
	if err != nil {
		return err
	}
	if old, _ := filepath.Glob(filepath.Join(to.controlDir(), "dovecot-uidvalidity*")); len(old) == 0 {
		for _, m := range markers {
			if !strings.HasSuffix(m, ".lock") {
				copies[m] = filepath.Join(to.controlDir(), filepath.Base(m))
			}
		}
	}
	for old, path := range copies {
		if there(path) || !there(old) {
			continue
		}
		if err := copyFile(to.faults, old, path, false); err != nil {
			return err
		}
	}
	return to.faults.SyncDir(to.controlDir())
}
