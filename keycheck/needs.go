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
	"mailcrypt/storage"
)

// FromHierarchy reads the headers of all messages of a user. Mailboxes are opened and
// brought up to date, as by any login. A message that goes meanwhile is left out.
func FromHierarchy(ctx context.Context, h storage.Hierarchy) (*Needs, error) {
	n := &Needs{}
	folders, err := h.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("keycheck: %w", err)
	}
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		if err := n.folder(ctx, h, f.Name); err != nil {
			return nil, fmt.Errorf("keycheck: %s: %w", f.Name, err)
		}
	}
	return n, nil
}

func (n *Needs) folder(ctx context.Context, h storage.Hierarchy, name string) (err error) {
	b, err := h.Open(ctx, name)
	if errors.Is(err, mailbox.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	view, err := b.Sync(ctx)
	if err != nil {
		return err
	}
	if name == "INBOX" {
		n.Inbox = b.GUID()
	}
	n.guid(b.GUID(), name)
	s := storage.New(b)
	for _, m := range view.All() {
		head, err := s.Header(ctx, m.UID)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.add(name, fmt.Sprintf("%s UID %d", name, m.UID), head, err)
	}
	return nil
}

func (n *Needs) guid(g mailbox.GUID, folder string) {
	if n.Folders == nil {
		n.Folders = map[mailbox.GUID]string{}
	}
	n.Folders[g] = folder
}

var errDbox = fmt.Errorf("mail in dbox is not looked at: %w", errors.ErrUnsupported)

// maxTreeDepth bounds how deep directories are followed.
const maxTreeDepth = 40

// FromTree reads the headers of all messages of the Maildirs below a directory, whatever
// their layout. Nothing is written or locked, and symbolic links are not followed. report,
// where set, is called with the path of each message and how many there were.
func FromTree(ctx context.Context, dir string, report func(path string, messages int)) (*Needs, error) {
	n := &Needs{report: report}
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
		case d.Name() == "dbox-Mails":
			n.add("", path, nil, errDbox)
			return filepath.SkipDir
		case strings.Count(strings.TrimPrefix(path, dir), string(filepath.Separator)) > maxTreeDepth:
			return filepath.SkipDir
		}
		if base := d.Name(); base != "cur" && base != "new" || path == dir {
			return nil
		}
		return n.files(ctx, dir, path)
	})
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
			if n.report != nil {
				n.report(path, n.Plain+n.Encrypted+len(n.Bad)+n.MoreBad)
			}
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

// fileHeader is nil for a file that is not encrypted.
func fileHeader(path string) (*dcrypt.Header, error) {
	f, fi, err := durable.OpenRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, min(fi.Size(), int64(dcrypt.MagicLen)))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if !dcrypt.IsEncrypted(head) {
		return nil, nil
	}
	return dcrypt.ReadHeader(f, fi.Size())
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
