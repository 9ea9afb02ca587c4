package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mailcrypt/internal/durable"
	"mailcrypt/storage/mdbox"
)

// elsewhere makes a store of Dovecot's in a new place.
func (ex *exporter) elsewhere(ctx context.Context) (err error) {
	to := ex.report.To
	if list, err := os.ReadDir(to); err == nil && len(list) > 0 {
		return fmt.Errorf("%w in %s", ErrNotEmpty, to)
	}
	build := to + "." + stageDir
	if err := dropBuilt(build); err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, durable.ErrCrashed) {
			err = errors.Join(err, os.RemoveAll(build))
		}
	}()
	p := paths{mdbox.Location{Root: build, UTF8: ex.UTF8}}
	side := newStage(p, ex.faults)
	side.tree.Roots = []string{filepath.Dir(to)}
	if err := side.tree.MkdirAll(p.files()); err != nil {
		return err
	}
	if err := ex.copyOut(ctx, p.files()); err != nil {
		return err
	}
	if err := ex.writeBoxes(p); err != nil {
		return err
	}
	if err := ex.writeMap(p.mapPath()); err != nil {
		return err
	}
	if err := copyControl(ex.paths, side); err != nil {
		return err
	}
	_ = os.Remove(to) // if it is there it is empty
	if err := ex.faults.RenameNew(build, to); err != nil {
		return err
	}
	return ex.faults.SyncDir(filepath.Dir(to))
}

// dropBuilt removes what an export that was killed has left. Nobody has been told of it.
func dropBuilt(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		n := e.Name()
		if n != storageDir && n != boxesDir && n != "subscriptions" && !strings.HasPrefix(n, "dovecot-uidvalidity") && !strings.HasPrefix(n, ".") {
			return fmt.Errorf("%w in %s, which is in the way", ErrNotEmpty, dir)
		}
	}
	return os.RemoveAll(dir)
}

// copyOut copies message files; those of the alternative storage come to the primary one.
func (ex *exporter) copyOut(ctx context.Context, dir string) error {
	for i, f := range ex.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := fmt.Sprintf("m.%d", f.ID)
		from := filepath.Join(ex.Root, storageDir, name)
		if f.Alt {
			from = filepath.Join(ex.Alt, storageDir, name)
		}
		if !there(from) && (f.Doomed || ex.o.Lossy) {
			continue
		}
		if err := copyFile(ex.faults, from, filepath.Join(dir, name), ex.o.Link); err != nil {
			return err
		}
		ex.o.Progress("copying message files", i+1, len(ex.files))
	}
	return ex.faults.SyncDir(dir)
}
