package mdbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/storage/mdbox/mfile"
)

var (
	// ErrDovecot reports a store that Dovecot has written, or that was handed over to it.
	ErrDovecot = errors.New("mdbox: the store is Dovecot's; stop Dovecot for this user and take it over with doveadm-crypt import mdbox")
	// ErrNoCatalog reports messages without a catalog.
	ErrNoCatalog = errors.New("mdbox: there are messages and the catalog is lost; restore it, or make it anew from the messages with doveadm-crypt force-resync")
)

// Identities keeps who the mailboxes are where their keys are, for the day on which the
// catalog is lost. Both methods may be called concurrently.
type Identities interface {
	// Load returns all, by storage name.
	Load(ctx context.Context) (map[string]Identity, error)
	// Change sets some and removes others, all or none. It is durable when it returns.
	Change(ctx context.Context, set map[string]Identity, remove []string) error
}

// An Identity is what must not be lost of a mailbox.
type Identity struct {
	GUID        [16]byte
	UIDValidity uint32
}

func identityOf(id index.Identity) Identity { return Identity{id.GUID, id.UIDValidity} }

// openCatalog opens the catalog. It makes one where nothing is stored yet.
func (h *Hierarchy) openCatalog(ctx context.Context) error {
	path := filepath.Join(h.loc.indexDir(), index.CatalogName)
	o := index.CatalogOptions{Logger: h.log, Write: func(commit func() error) error {
		return h.faults.Do(durable.OpSync, index.CatalogName, commit)
	}}
	catalog, err := index.OpenCatalog(path, o)
	if errors.Is(err, os.ErrNotExist) {
		if err := h.createCatalog(ctx, path, o); err != nil {
			return err
		}
		catalog, err = index.OpenCatalog(path, o)
	}
	h.catalog = catalog
	if err == nil && dovecotsIndex(h.loc) != nil {
		h.log.Warn("mdbox: Dovecot has indexes in this store, too, which do not count; it must not be started on it", "directory", h.loc.indexDir())
	}
	return err
}

// createCatalog makes a catalog for a store that has none, unless that would hide mail.
func (h *Hierarchy) createCatalog(ctx context.Context, path string, o index.CatalogOptions) error {
	if err := dovecotsIndex(h.loc); err != nil {
		return err
	}
	files, err := h.files.List()
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return ErrNoCatalog
	}
	if h.otherDbox() {
		return ErrDovecot
	}
	known := map[string]Identity{}
	if h.identities != nil {
		if known, err = h.identities.Load(ctx); err != nil {
			return fmt.Errorf("loading the GUIDs of mailboxes: %w", err)
		}
	}
	if err := h.tree.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	// The GUIDs stay, for keys hang on them. Which UIDs there were nobody knows.
	fresh := make(map[string]index.Identity, len(known))
	for name, id := range known {
		v, err := h.control.NextUIDValidity()
		if err != nil {
			return err
		}
		fresh[name] = index.Identity{GUID: id.GUID, UIDValidity: v}
	}
	return index.CreateCatalog(path, o, func(tx *index.CatalogTx) error {
		for name, id := range fresh {
			if err := tx.CreateMailbox(name, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// dovecotsIndex returns ErrDovecot where Dovecot has a map index.
func dovecotsIndex(l Location) error {
	for _, name := range []string{"dovecot.map.index", "dovecot.map.index.log"} {
		if _, err := os.Lstat(filepath.Join(l.indexDir(), name)); !errors.Is(err, os.ErrNotExist) {
			return errors.Join(ErrDovecot, err)
		}
	}
	return nil
}

// otherDbox reports whether mailboxes are there that Dovecot has filled: of an sdbox.
func (h *Hierarchy) otherDbox() (found bool) {
	_ = filepath.WalkDir(filepath.Join(h.loc.Root, mailboxesDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // nothing is to be made of it
		}
		found = found || filepath.Base(filepath.Dir(path)) == mailsDir && e.Type().IsRegular() &&
			(strings.HasPrefix(e.Name(), "u.") || strings.HasPrefix(e.Name(), "dovecot.index"))
		if found {
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

// begin brings everything else in line with the catalog, which was just opened.
func (h *Hierarchy) begin(ctx context.Context) error {
	var meta index.CatalogMeta
	var files []index.CatalogFile
	names := map[string]Identity{}
	err := h.catalog.View(func(tx *index.CatalogTx) (err error) {
		if meta, err = tx.Meta(); err != nil {
			return err
		}
		if files, err = tx.Files(); err != nil {
			return err
		}
		return tx.Names(func(name string, id index.Identity) error {
			names[name] = identityOf(id)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if meta.HandedOver {
		return ErrDovecot
	}
	h.lastFile.Store(meta.HighestFile)
	if files, err = h.removeDoomed(ctx, files); err != nil {
		h.log.Warn("mdbox: removing purged files; trying again when the store is opened next", "root", h.loc.Root, "error", err)
	}
	h.knowFiles(files)
	if n, err := h.files.RemoveTemporary(); err != nil {
		h.log.Warn("mdbox: removing temporary files", "root", h.loc.Root, "error", err)
	} else if n > 0 {
		h.log.Info("mdbox: removed temporary files that a crash has left", "root", h.loc.Root, "files", n)
	}
	h.mendDirs(names)
	return h.mendIdentities(ctx, names)
}

// knowFiles tells the files which of them may be appended to.
func (h *Hierarchy) knowFiles(files []index.CatalogFile) {
	states := make([]mfile.FileState, len(files))
	for i, f := range files {
		states[i] = mfile.FileState{ID: f.ID, End: f.End, Created: f.Created, Alt: f.Alt}
	}
	h.files.Known(states)
}

// removeDoomed removes files of which a purge has moved everything elsewhere, and returns
// the others.
func (h *Hierarchy) removeDoomed(ctx context.Context, files []index.CatalogFile) (left []index.CatalogFile, err error) {
	var doomed []index.CatalogFile
	for _, f := range files {
		if f.Doomed {
			doomed = append(doomed, f)
		} else {
			left = append(left, f)
		}
	}
	return left, h.maintenance().removeDoomed(ctx, doomed)
}

// mendIdentities makes what is kept beside the keys what the catalog says: a crash may have
// come in between.
func (h *Hierarchy) mendIdentities(ctx context.Context, names map[string]Identity) error {
	if h.identities == nil {
		return nil
	}
	known, err := h.identities.Load(ctx)
	if err != nil {
		return fmt.Errorf("loading the GUIDs of mailboxes: %w", err)
	}
	if maps.Equal(known, names) {
		return nil
	}
	var gone []string
	for name := range known {
		if _, ok := names[name]; !ok {
			gone = append(gone, name)
		}
	}
	maps.DeleteFunc(names, func(name string, id Identity) bool { return known[name] == id })
	if err := h.identities.Change(ctx, names, gone); err != nil {
		return fmt.Errorf("keeping the GUIDs of mailboxes: %w", err)
	}
	return nil
}

// nextFile gives ids to new files.
func (h *Hierarchy) nextFile() uint32 { return h.lastFile.Add(1) }
