package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mailcrypt/index"
	"mailcrypt/storage/mdbox"
)

// Names that Dovecot gives.
const (
	storageDir = "storage"
	boxesDir   = "mailboxes"
	mailsDir   = "dbox-Mails"
	trashDir   = "..DOVECOT-TrasH"
	mapIndex   = "dovecot.map.index"
	boxIndex   = "dovecot.index"
	listIndex  = "dovecot.list.index"
)

// A Source is a store that Dovecot has written.
type Source struct {
	mdbox.Location
	Sdbox bool // messages are in files of their own
}

// ParseSource reads where Dovecot's store is: a location in Dovecot's form, "mdbox:…" or
// "sdbox:…", or an absolute path of a root, of which it finds out what it is; "" is the place
// of own, where a path that is its root finds its ALT, INDEX and CONTROL too. The error wraps
// ErrNoStore or mdbox.ErrLocation.
func ParseSource(text, home string, own mdbox.Location) (Source, error) {
	driver, rest, ok := strings.Cut(text, ":")
	if ok && (driver == "mdbox" || driver == "sdbox") {
		l, err := mdbox.ParseLocation("mdbox:"+rest, home)
		return Source{l, driver == "sdbox"}, err
	}
	l := own
	if text != "" {
		if !filepath.IsAbs(text) {
			return Source{}, fmt.Errorf("%w: %q is no absolute path, and has neither mdbox: nor sdbox: before it", mdbox.ErrLocation, text)
		}
		if root := filepath.Clean(text); root != own.Root {
			l = mdbox.Location{Root: root, UTF8: own.UTF8}
			if alt, err := filepath.EvalSymlinks(filepath.Join(root, "dbox-alt-root")); err == nil {
				l.Alt = alt
			}
		}
	}
	s := Source{Location: l}
	if there(s.mapPath()) || there(s.mapPath()+".log") {
		return s, nil
	}
	if files, _ := filepath.Glob(filepath.Join(l.Root, storageDir, "m.*")); len(files) > 0 {
		return s, nil
	}
	dirs, err := s.walk()
	if err != nil {
		return s, err
	}
	for _, key := range dirs {
		if there(s.boxPath(key)) || there(s.boxPath(key)+".log") {
			s.Sdbox = true
			return s, nil
		}
	}
	return s, fmt.Errorf("%w in %s", ErrNoStore, l.Root)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// paths say where things are in a store, which a prefix may put elsewhere.
type paths struct{ mdbox.Location }

// indexRoot is where indexes are.
func (p paths) indexRoot() string {
	if p.Index != "" {
		return p.Index
	}
	return p.Root
}

func (p paths) controlDir() string {
	if p.Control != "" {
		return p.Control
	}
	return p.Root
}

func (p paths) indexStorage() string { return filepath.Join(p.indexRoot(), storageDir) }
func (p paths) files() string        { return filepath.Join(p.Root, storageDir) }
func (p paths) mapPath() string      { return filepath.Join(p.indexStorage(), mapIndex) }
func (p paths) catalog() string      { return filepath.Join(p.indexStorage(), index.CatalogName) }

// boxDir is the directory of messages of a storage name.
func (p paths) boxDir(key string) string { return filepath.Join(p.Root, boxesDir, key, mailsDir) }

// boxPath is the index of a storage name. (Dovecot: mailbox-list-fs.c.)
func (p paths) boxPath(key string) string {
	if p.Index != "" {
		return filepath.Join(p.Index, boxesDir, key, boxIndex)
	}
	return filepath.Join(p.boxDir(key), boxIndex)
}

func (p paths) subscriptions() string {
	name := p.Subscriptions
	if name == "" {
		name = "subscriptions"
	}
	return filepath.Join(p.controlDir(), name)
}

func (s Source) paths() paths                     { return paths{s.Location} }
func (s Source) mapPath() string                  { return s.paths().mapPath() }
func (s Source) boxPath(key string) string        { return s.paths().boxPath(key) }
func (s Source) walk() (keys []string, err error) { return s.paths().walk() }

func (s Source) format() string {
	if s.Sdbox {
		return "sdbox"
	}
	return "mdbox"
}

// walk returns the storage names of all mailboxes, sorted.
func (p paths) walk() (keys []string, err error) {
	root := filepath.Join(p.Root, boxesDir)
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !e.IsDir():
			return nil
		case e.Name() == trashDir:
			return filepath.SkipDir
		case e.Name() == mailsDir:
			key, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			keys = append(keys, key)
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("handover: looking for mailboxes: %w", err)
	}
	return keys, nil
}

// isBoxIndex knows the files of a mailbox's index.
func isBoxIndex(name string) bool { return strings.HasPrefix(name, boxIndex) }

// sdboxUID is the UID of a file of sdbox.
func sdboxUID(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, "u.")
	uid, err := strconv.ParseUint(digits, 10, 32)
	return uint32(uid), ok && err == nil && uid > 0 && name == "u."+strconv.FormatUint(uid, 10)
}

// messageFile knows m.N.
func messageFile(name string) bool {
	digits, ok := strings.CutPrefix(name, "m.")
	id, err := strconv.ParseUint(digits, 10, 32)
	return ok && err == nil && id > 0 && name == "m."+strconv.FormatUint(id, 10)
}
