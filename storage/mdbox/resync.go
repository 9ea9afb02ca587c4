package mdbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage/control"
	"mailcrypt/storage/mdbox/mfile"
)

// ResyncOptions are the options of Resync. The zero value keeps what can be kept.
type ResyncOptions struct {
	// DryRun finds out what would be done, and changes nothing.
	DryRun bool
	// Restored says that the catalog is older than the store, from a backup: then UIDs may
	// have been given of which it does not know, and every mailbox gets a new UIDVALIDITY.
	Restored bool
	// FilesOnly takes no notice of indexes of Dovecot's: of a store that Dovecot has written
	// the messages are taken without their flags. Otherwise such a store is refused with
	// ErrDovecot, for an import keeps everything.
	FilesOnly bool
}

// A ResyncReport says what a resync has recovered, and what it could not know.
type ResyncReport struct {
	DryRun bool `json:"dry_run"`

	Files    int    `json:"files"`    // message files that were read
	Found    int    `json:"found"`    // messages in them
	Bytes    uint64 `json:"bytes"`    // theirs
	Kept     int    `json:"kept"`     // messages of mailboxes that keep UID and flags; copies count
	Expunged int    `json:"expunged"` // found and known to be expunged; a purge removes them
	// Duplicates are messages of a GUID and a size that another one has; a purge removes them.
	Duplicates int `json:"duplicates"`
	// Placed are messages of which is not known in which mailbox they are. They have gone, as
	// new ones and without flags, into that of their first save, or into INBOX; expunged ones
	// and those of deleted mailboxes can be among them.
	Placed map[string]int `json:"placed,omitempty"`
	// Missing are messages of mailboxes that are in no file any more.
	Missing map[string]int `json:"missing,omitempty"`
	// LostCopies are references of messages, to which the catalog counts more than were found.
	LostCopies int `json:"lost_copies,omitempty"`

	Mailboxes      int      `json:"mailboxes"`
	Created        []string `json:"created,omitempty"`         // mailboxes with new GUIDs: what keys they had is not known
	NewUIDValidity []string `json:"new_uidvalidity,omitempty"` // mailboxes that clients will load anew
	Nameless       []string `json:"nameless,omitempty"`        // mailboxes whose names were lost, under those they have now

	Damaged     []DamagedPart `json:"damaged,omitempty"`
	Renumbered  []string      `json:"renumbered,omitempty"`  // files whose ID was in both directories
	NoGUID      int           `json:"no_guid,omitempty"`     // messages that had no GUID, and got one from their bytes
	Attachments int           `json:"attachments,omitempty"` // messages that cannot be read, for parts are in Dovecot's attachment directory
	Unreadable  []string      `json:"unreadable,omitempty"`  // what of the old catalog could not be read
	// NoCatalog says that there was none, so that flags, UIDs and what was expunged is unknown.
	NoCatalog bool `json:"no_catalog,omitempty"`
	// OldCatalog is where the old catalog was put aside, if something of it could not be used.
	OldCatalog string `json:"old_catalog,omitempty"`
}

// A DamagedPart is bytes of a file that are no message. They stay where they are.
type DamagedPart struct {
	File   uint32 `json:"file"`
	Alt    bool   `json:"alt,omitempty"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"`
}

// Whole reports whether nothing was lost, as far as can be known.
func (r *ResyncReport) Whole() bool {
	return len(r.Missing) == 0 && len(r.Damaged) == 0 && len(r.Unreadable) == 0 && !r.NoCatalog && r.LostCopies == 0
}

// A resync is one rebuild of a catalog.
type resync struct {
	Options
	r          ResyncOptions
	loc        Location
	names      control.Names
	control    *control.Dir
	files      *mfile.Dir
	path       string // of the catalog
	old        *index.Salvage
	identities map[string]Identity
	report     *ResyncReport
	lastFile   uint32

	found  []found // by file and offset
	states []index.CatalogFile
	boxes  map[string]*resyncBox // by storage name
	byGUID map[mailbox.GUID]*resyncBox
	target map[uint32]*found // by the map UIDs of the old catalog
	nextID uint32            // map UIDs
}

// Resync makes the catalog of a store anew, from its message files and from what can be read
// of the old catalog, of the identities beside the keys and of the directories. No message
// file is changed, but that one whose ID is in both directories gets another; the catalog is
// replaced in one step. The store must not be open: the error wraps index.ErrCatalogBusy if it
// is. (Dovecot: doveadm force-resync, mdbox-storage-rebuild.c.)
//
// Mailboxes keep their GUIDs and so their keys, where the catalog or the identities know
// them; messages keep UIDs, flags and modseqs where the catalog knows them, and a mailbox of
// which UIDs were lost gets a new UIDVALIDITY.
func Resync(ctx context.Context, l Location, o Options, r ResyncOptions) (*ResyncReport, error) {
	x, err := newResync(l, o, r)
	if err == nil {
		err = x.run(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("mdbox: rebuilding the catalog of %s: %w", l.Root, err)
	}
	return x.report, nil
}

func newResync(l Location, o Options, r ResyncOptions) (*resync, error) {
	h, err := prepare(l, o)
	if err != nil {
		return nil, err
	}
	return &resync{Options: o, r: r, loc: l, names: h.names(), control: &h.control, files: h.files,
		path: filepath.Join(l.indexDir(), index.CatalogName), report: &ResyncReport{DryRun: r.DryRun, Placed: map[string]int{}, Missing: map[string]int{}},
		boxes: map[string]*resyncBox{}, byGUID: map[mailbox.GUID]*resyncBox{}}, nil
}

func (x *resync) run(ctx context.Context) error {
	unlock, err := x.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := x.readOld(ctx); err != nil {
		return err
	}
	if err := x.scan(ctx); err != nil {
		return err
	}
	if err := x.knownBoxes(); err != nil {
		return err
	}
	x.match()
	x.refer()
	if err := x.place(); err != nil {
		return err
	}
	if !x.r.DryRun {
		if err := x.write(ctx); err != nil {
			return err
		}
	}
	x.publicNames()
	return nil
}

// publicNames gives the report names as people know them.
func (x *resync) publicNames() {
	public := func(key string) string {
		if name, ok := x.names.Decode(key); ok {
			return name
		}
		return key
	}
	for _, counts := range []*map[string]int{&x.report.Placed, &x.report.Missing} {
		named := make(map[string]int, len(*counts))
		for key, n := range *counts {
			named[public(key)] += n
		}
		*counts = named
	}
	for _, list := range [][]string{x.report.Created, x.report.NewUIDValidity, x.report.Nameless} {
		for i := range list {
			list[i] = public(list[i])
		}
	}
}

// lock keeps others from opening the store, and from rebuilding it at the same time.
func (x *resync) lock() (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close()
		}
	}
	for path, how := range map[string]int{
		filepath.Join(x.loc.Root, storageDir): unix.LOCK_EX,
		// Shared, for reading it takes this lock too. Who opens the catalog wants it alone.
		x.path: unix.LOCK_SH,
	} {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			held = append(held, f)
			err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s", index.ErrCatalogBusy, path)
		}
		if err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// readOld reads what there is beside the messages.
func (x *resync) readOld(ctx context.Context) (err error) {
	x.identities = map[string]Identity{}
	if x.Identities != nil {
		known, err := x.Identities.Load(ctx)
		if err != nil {
			return fmt.Errorf("loading the GUIDs of mailboxes: %w", err)
		}
		maps.Copy(x.identities, known)
	}
	_, err = os.Lstat(x.path)
	if err == nil {
		if x.old, err = index.SalvageCatalog(x.path, index.CatalogOptions{Logger: x.Logger}); err != nil {
			x.report.Unreadable = append(x.report.Unreadable, err.Error())
			x.old, err = &index.Salvage{}, nil
		}
	} else if errors.Is(err, os.ErrNotExist) {
		x.old, x.report.NoCatalog, err = &index.Salvage{}, true, nil
	}
	if err != nil {
		return err
	}
	x.report.Unreadable = append(x.report.Unreadable, x.old.Lost...)
	if x.r.FilesOnly {
		return nil
	}
	if x.old.Meta.HandedOver {
		return ErrDovecot
	}
	if x.report.NoCatalog {
		return dovecotsIndex(x.loc)
	}
	return nil
}

// intact reports whether all of the old catalog could be read.
func (x *resync) intact() bool { return !x.report.NoCatalog && len(x.report.Unreadable) == 0 }

// next gives IDs to files.
func (x *resync) next() uint32 { x.lastFile++; return x.lastFile }

// write makes the new catalog. What identities and directories lack is put in order when
// the store is opened; GUIDs must not be lost before.
func (x *resync) write(ctx context.Context) error {
	if x.Identities != nil {
		set := map[string]Identity{}
		for name, b := range x.boxes {
			set[name] = identityOf(b.id)
		}
		if err := x.Identities.Change(ctx, set, nil); err != nil {
			return fmt.Errorf("keeping the GUIDs of mailboxes: %w", err)
		}
	}
	if err := x.control.Tree.MkdirAll(filepath.Dir(x.path)); err != nil {
		return err
	}
	if !x.report.NoCatalog && !x.report.Whole() {
		aside := fmt.Sprintf("%s.%s", x.path, time.Now().UTC().Format("20060102T150405"))
		if err := x.Faults.Link(x.path, aside); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("keeping the old catalog: %w", err)
		}
		x.report.OldCatalog = aside
	}
	return index.CreateCatalog(x.path, index.CatalogOptions{Logger: x.Logger, Write: func(commit func() error) error {
		return x.Faults.Do(durable.OpSync, index.CatalogName, commit)
	}}, func(tx *index.CatalogTx) error { return x.fill(ctx, tx) })
}
