package keycheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mailcrypt/dovecotindex"
	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// Directories of mdbox and sdbox.
const (
	storageDir = "storage"    // of the root: m.N, and who knows what is in them
	mailsDir   = "dbox-Mails" // of each mailbox: Dovecot's index, and u.N of sdbox
	dovecotMap = "dovecot.map.index"
)

// dboxes are the mdbox and sdbox of a tree. Mailboxes are read as they are found, message
// files when all is found: the alternative storage and what INDEX= names are elsewhere.
type dboxes struct {
	needs *Needs
	root  string   // of the tree
	known []string // directories with a catalog or a map: they know what is expunged
	files []string // directories with message files
}

// setAside reports whether a directory holds what a takeover of a store from Dovecot, or a
// handing over, has left beside the store: what is in use is not there (storage/handover).
func setAside(name string) bool {
	return name == "mailcryptd.new" || strings.HasPrefix(name, "dovecot-indexes.") || strings.HasPrefix(name, "mailcryptd-catalog.")
}

// storage notes a directory of the name, and reports whether it is one of mdbox.
func (b *dboxes) storage(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false // the walk will say so
	}
	known, files := false, false
	for _, e := range entries {
		number, m := strings.CutPrefix(e.Name(), "m.")
		files = files || m && e.Type().IsRegular() && isNumber(number)
		known = known || e.Name() == index.CatalogName || e.Name() == dovecotMap || e.Name() == dovecotMap+".log"
	}
	if known {
		b.known = append(b.known, dir)
	}
	if files {
		b.files = append(b.files, dir)
	}
	return known || files
}

// mailbox reads what the directory of a mailbox has: the GUID, and messages of sdbox.
func (b *dboxes) mailbox(ctx context.Context, dir string) error {
	n, folder := b.needs, b.name(filepath.Dir(dir))
	if guid := indexGUID(ctx, filepath.Join(dir, "dovecot.index")); !guid.IsZero() {
		n.guid(guid, folder)
		if filepath.Base(folder) == mailbox.Inbox && filepath.Base(filepath.Dir(folder)) == "mailboxes" && n.Inbox.IsZero() {
			n.Inbox = guid
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		n.add("", dir, nil, err)
		return nil
	}
	for _, e := range entries {
		number, u := strings.CutPrefix(e.Name(), "u.")
		if !u || !e.Type().IsRegular() || !isNumber(number) {
			continue
		}
		if err := b.scan(ctx, filepath.Join(dir, e.Name()), func(mfile.Record) string { return folder }); err != nil {
			return err
		}
	}
	return nil
}

// name is a path as folders are called.
func (b *dboxes) name(path string) string {
	if rel, err := filepath.Rel(b.root, path); err == nil {
		return rel
	}
	return path
}

// indexGUID is the GUID of a mailbox whose index Dovecot keeps, zero where it has none.
func indexGUID(ctx context.Context, path string) mailbox.GUID {
	x, _ := dovecotindex.Read(ctx, path) // what could be made out of a damaged one
	if x == nil {
		return mailbox.GUID{}
	}
	for _, as := range []func() (*dovecotindex.Mailbox, error){x.Mdbox, x.Sdbox} {
		if m, _ := as(); m != nil && !m.GUID.IsZero() {
			return m.GUID
		}
	}
	return mailbox.GUID{}
}

// read reads the messages of mdbox. Who knows of messages knows those beside it; if nobody
// else does, those in other directories, too.
func (b *dboxes) read(ctx context.Context) error {
	read := map[string]bool{}
	for _, known := range b.known {
		dirs := slices.DeleteFunc(slices.Clone(b.files), func(d string) bool {
			return d != known && (len(b.known) > 1)
		})
		done, err := b.believe(ctx, known, dirs)
		if err != nil {
			return err
		}
		for _, d := range dirs {
			read[d] = read[d] || done
		}
	}
	for _, dir := range b.files {
		if read[dir] {
			continue
		}
		if err := b.everything(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// everything reads all message files of a directory, with what is expunged in them.
func (b *dboxes) everything(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.needs.add("", dir, nil, err)
	}
	root := b.name(filepath.Dir(dir))
	for _, e := range entries {
		number, m := strings.CutPrefix(e.Name(), "m.")
		if !m || !e.Type().IsRegular() || !isNumber(number) {
			continue
		}
		err := b.scan(ctx, filepath.Join(dir, e.Name()), func(r mfile.Record) string { return filepath.Join(root, r.Folder) })
		if err != nil {
			return err
		}
	}
	return nil
}

// scan reads the messages of one file.
func (b *dboxes) scan(ctx context.Context, path string, folder func(mfile.Record) string) error {
	f, fi, err := durable.OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		b.needs.add("", path, nil, err)
		return nil
	}
	defer f.Close()
	defer b.needs.progress(path)
	s, err := mfile.NewScanner(f, fi.Size())
	if err != nil {
		b.needs.add("", path, nil, err)
		return nil
	}
	for ctx.Err() == nil {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		at := fmt.Sprintf("%s at %d", path, s.Offset())
		if err != nil {
			b.needs.add("", at, nil, err)
			if _, err := s.Skip(); err != nil {
				return nil // said already: nothing is behind what is damaged
			}
			continue
		}
		at = fmt.Sprintf("%s at %d", path, r.Offset)
		h, err := header(io.NewSectionReader(f, r.Body, r.Size), r.Size)
		b.needs.add(folder(r), at, h, err)
	}
	return ctx.Err()
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
