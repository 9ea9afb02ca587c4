package keycheck

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailcrypt/dcrypt"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// maxTreeDepth bounds how deep directories are followed.
const maxTreeDepth = 40

// FromTree reads the headers of all messages below a directory: of Maildirs, whatever their
// layout, of mdbox and of sdbox. What is expunged from an mdbox is left out where the catalog,
// or Dovecot's map, is there to tell. Nothing is written, nothing but a catalog is locked, for
// reading, and symbolic links are not followed. report, where set, is called with the path of
// each file and how many messages there were.
//
// An error wraps index.ErrCatalogBusy where a daemon has the tree's mdbox open.
func FromTree(ctx context.Context, dir string, report func(path string, messages int)) (*Needs, error) {
	n := &Needs{report: report}
	boxes := &dboxes{needs: n, root: dir}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == dir:
			return err
		case err != nil:
			n.add("", path, nil, err)
			return nil
		case !d.IsDir():
			return nil
		case setAside(d.Name()):
			return filepath.SkipDir
		case d.Name() == mailsDir:
			if err := boxes.mailbox(ctx, path); err != nil {
				return err
			}
			return filepath.SkipDir
		case d.Name() == storageDir && boxes.storage(path):
			return filepath.SkipDir
		case strings.Count(strings.TrimPrefix(path, dir), string(filepath.Separator)) > maxTreeDepth:
			return filepath.SkipDir
		}
		if base := d.Name(); base != "cur" && base != "new" || path == dir {
			return nil
		}
		return n.files(ctx, dir, path)
	})
	if err == nil {
		err = boxes.read(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("keycheck: %w", err)
	}
	return n, nil
}

// files reads the messages of one directory.
func (n *Needs) files(ctx context.Context, root, dir string) error {
	folder, err := filepath.Rel(root, filepath.Dir(dir))
	if err != nil {
		return err
	}
	if guid := guidOf(filepath.Dir(dir)); !guid.IsZero() {
		n.guid(guid, folder)
		if depth := strings.Count(folder, string(filepath.Separator)); n.Inbox.IsZero() || depth < n.depth {
			n.Inbox, n.depth = guid, depth // INBOX is at the root
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		n.add("", dir, nil, err)
		return nil
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			path := filepath.Join(dir, e.Name())
			h, err := fileHeader(path)
			n.add(folder, path, h, err)
			n.progress(path)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			n.add("", dir, nil, err)
			return nil
		}
	}
}

// progress tells of a file that was looked at.
func (n *Needs) progress(path string) {
	if n.report != nil {
		n.report(path, n.Plain+n.Encrypted+len(n.Bad)+n.MoreBad)
	}
}

// fileHeader is nil for a file that is not encrypted.
func fileHeader(path string) (*dcrypt.Header, error) {
	f, fi, err := durable.OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return header(f, fi.Size())
}

// header reads that of stored bytes, nil where they are not encrypted.
func header(r io.ReaderAt, size int64) (*dcrypt.Header, error) {
	magic := make([]byte, min(size, int64(dcrypt.MagicLen)))
	if _, err := r.ReadAt(magic, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if !dcrypt.IsEncrypted(magic) {
		return nil, nil
	}
	return dcrypt.ReadHeader(r, size)
}

// guidOf reads the GUID of a Maildir from the head of its dovecot-uidlist, zero if there
// is none.
func guidOf(dir string) mailbox.GUID {
	f, _, err := durable.OpenRegular(filepath.Join(dir, "dovecot-uidlist"), unix.O_NOFOLLOW)
	if err != nil {
		return mailbox.GUID{}
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 4096)).ReadBytes('\n')
	for _, word := range bytes.Fields(line) {
		if word[0] == 'G' {
			if g, err := mailbox.ParseGUID(string(word[1:])); err == nil {
				return g
			}
		}
	}
	return mailbox.GUID{}
}
