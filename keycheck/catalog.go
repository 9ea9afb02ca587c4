package keycheck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"mailcrypt/dovecotindex"
	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A stored is the message files that a catalog or a map knows.
type stored struct {
	*dboxes
	files *mfile.Dir
	root  string // their mail root
}

// believe reads the messages that the catalog in a directory knows, or the map, in the
// message files of others. done is false where neither can be read. The error is the
// context's, or wraps index.ErrCatalogBusy.
func (b *dboxes) believe(ctx context.Context, known string, dirs []string) (done bool, err error) {
	o := mfile.Options{Root: filepath.Dir(known)}
	for _, dir := range dirs {
		if dir == known {
			continue
		}
		if len(dirs) == 1 {
			o.Root = filepath.Dir(dir) // INDEX= has the catalog elsewhere
		} else {
			o.Alt = filepath.Dir(dir)
		}
	}
	files, err := mfile.Open(o)
	if err != nil {
		b.needs.add("", known, nil, err)
		return false, nil
	}
	s := &stored{b, files, o.Root}
	if done, err := s.catalog(ctx, filepath.Join(known, index.CatalogName)); done || err != nil {
		return done, err
	}
	return s.dovecotMap(ctx, filepath.Join(known, dovecotMap))
}

// catalog reads the messages that our catalog knows, each as often as mailboxes have it.
func (s *stored) catalog(ctx context.Context, path string) (done bool, err error) {
	c, err := index.OpenCatalog(path, index.CatalogOptions{ReadOnly: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, index.ErrCatalogBusy):
		return false, err
	case err != nil:
		s.needs.add("", path, nil, err)
		return false, nil
	}
	defer c.Close() // nothing is written
	type box struct {
		name string
		guid mailbox.GUID
	}
	var boxes []box
	handed := false
	err = c.View(func(tx *index.CatalogTx) error {
		m, err := tx.Meta()
		if handed = m.HandedOver; handed || err != nil {
			return err
		}
		return tx.Names(func(name string, id index.Identity) error {
			boxes = append(boxes, box{name, id.GUID})
			return nil
		})
	})
	if handed { // Dovecot has it, and its map is the truth
		return false, nil
	}
	for _, m := range boxes {
		folder := filepath.Join(s.name(s.root), m.name)
		s.needs.guid(m.guid, folder)
		if m.name == mailbox.Inbox {
			s.needs.Inbox = m.guid
		}
		_, lerr := c.Load(m.guid, func(_ index.CatalogMessage, r index.MapRecord) error {
			s.message(folder, mfile.Place(r.Place))
			return ctx.Err()
		})
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		err = errors.Join(err, lerr)
	}
	if err != nil {
		s.needs.add("", path, nil, err)
	}
	return true, nil
}

// dovecotMap reads the messages that Dovecot's map knows and mailboxes refer to.
func (s *stored) dovecotMap(ctx context.Context, path string) (done bool, err error) {
	x, err := dovecotindex.Read(ctx, path)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, nil // then all that is in the files counts
	}
	m, err := x.Map()
	if err != nil || m.Inconsistent {
		return false, nil
	}
	for _, r := range m.Messages {
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		if r.Refs > 0 {
			s.message("", mfile.Place{File: r.FileID, Offset: r.Offset, Size: r.Size})
		}
	}
	return true, nil
}

// message reads the header of the message at a place. Without a folder it is the one that the
// message was first saved to.
func (s *stored) message(folder string, p mfile.Place) {
	path := filepath.Join(s.root, storageDir, fmt.Sprintf("m.%d", p.File))
	at := fmt.Sprintf("%s at %d", path, p.Offset)
	m, err := s.files.Open(p)
	if err != nil {
		s.needs.add(folder, at, nil, err)
		return
	}
	defer m.Close()
	if folder == "" {
		folder = filepath.Join(s.name(s.root), m.Folder)
	}
	h, err := header(m, m.Size())
	s.needs.add(folder, at, h, err)
	s.needs.progress(path)
}
