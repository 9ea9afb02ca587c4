package handover

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mailcrypt/internal/durable"
)

// copyingName is a file beside message files that are being copied to where no catalog knows
// them yet: an import that was killed has left them.
const copyingName = "mailcryptd.copying"

// filesDir is where new message files go: into the stage, or, where the catalog is not beside
// them, to their place.
func (im *importer) filesDir() (string, error) {
	if im.Index == "" {
		return im.newStorage(), nil
	}
	if err := im.tree.MkdirAll(im.files()); err != nil {
		return "", err
	}
	err := im.faults.Replace(filepath.Join(im.files(), copyingName), 0o600, func(io.Writer) error { return nil })
	return im.files(), err
}

// dropUnfinished removes message files that an import has left unfinished.
func (im *importer) dropUnfinished() error {
	if im.o.DryRun || !there(filepath.Join(im.files(), copyingName)) {
		return nil
	}
	if n, _, err := countCatalog(im.catalog()); err == nil && n > 0 {
		im.dropMark() // it was finished
		return nil
	}
	list, err := os.ReadDir(im.files())
	if err != nil {
		return err
	}
	for _, e := range list {
		if messageFile(e.Name()) {
			if err := im.faults.Remove(filepath.Join(im.files(), e.Name())); err != nil {
				return err
			}
		}
	}
	return im.faults.SyncDir(im.files())
}

// dropMark says that the message files are the catalog's.
func (im *importer) dropMark() {
	if im.Index != "" {
		_ = im.faults.Remove(filepath.Join(im.files(), copyingName))
	}
}

// copyFiles takes the message files of an mdbox to the new store. They keep their numbers;
// those of the alternative storage come to the primary one.
func (im *importer) copyFiles(ctx context.Context) error {
	dir, err := im.filesDir()
	if err != nil {
		return err
	}
	done := 0
	for id, f := range im.plan.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := fmt.Sprintf("m.%d", id)
		from := filepath.Join(im.plan.src.Root, storageDir, name)
		if f.Alt {
			from = filepath.Join(im.plan.src.Alt, storageDir, name)
			f.Alt = false
			im.plan.files[id] = f
		}
		if err := copyFile(im.faults, from, filepath.Join(dir, name), im.o.Link); err != nil {
			return err
		}
		done++
		im.o.Progress("copying message files", done, len(im.plan.files))
	}
	return im.faults.SyncDir(dir)
}

// copyFile makes a durable copy, or another name, of a file. The directory is synced by the
// caller.
func copyFile(f *durable.Faults, from, to string, link bool) error {
	if link {
		return f.Link(from, to)
	}
	in, _, err := durable.OpenRegular(from, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	return f.Do(durable.OpCreate, to, func() error {
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err = io.Copy(out, in); err == nil {
			err = out.Sync()
		}
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = os.Remove(to)
		}
		return err
	})
}
