package handover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// Names of this package's own.
const (
	stageDir   = "mailcryptd.new"
	markerName = "mailcryptd.moved"
	imported   = "import"
	exported   = "export"
)

// A stage is the directory storage of a store, built anew beside the one in use.
type stage struct {
	paths
	faults *durable.Faults
	tree   durable.Tree
}

func newStage(p paths, f *durable.Faults) *stage {
	return &stage{p, f, durable.Tree{Roots: []string{p.Root, p.Alt, p.Index, p.Control}, Faults: f}}
}

func (s *stage) dir() string        { return filepath.Join(s.indexRoot(), stageDir) }
func (s *stage) newStorage() string { return filepath.Join(s.dir(), storageDir) }
func (s *stage) marker() string     { return filepath.Join(s.indexStorage(), markerName) }

// begin makes the directory, with hard links of the message files if the catalog is where
// they are.
func (s *stage) begin(what string) error {
	if err := s.tree.MkdirAll(s.newStorage()); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	aside := "dovecot-indexes."
	if what == exported {
		aside = "mailcryptd-catalog."
	}
	aside += time.Now().UTC().Format("20060102T150405.000")
	err := s.faults.Replace(filepath.Join(s.newStorage(), markerName), 0o600, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s\n", what, aside)
		return err
	})
	if err == nil && s.Index == "" {
		err = s.linkFiles()
	}
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	return nil
}

func (s *stage) linkFiles() error {
	list, err := os.ReadDir(s.files())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range list {
		if !messageFile(e.Name()) {
			continue
		}
		if err := s.faults.Link(filepath.Join(s.files(), e.Name()), filepath.Join(s.newStorage(), e.Name())); err != nil {
			return err
		}
	}
	return s.faults.SyncDir(s.newStorage())
}

// commit makes what was built the store's, in one step. What was there before is in the stage
// then.
func (s *stage) commit() error {
	for _, dir := range []string{s.newStorage(), s.dir(), s.indexRoot()} {
		if err := s.faults.SyncDir(dir); err != nil {
			return fmt.Errorf("handover: %w", err)
		}
	}
	var err error
	if there(s.indexStorage()) {
		err = s.faults.Do(durable.OpRename, s.indexStorage(), func() error {
			return unix.Renameat2(unix.AT_FDCWD, s.newStorage(), unix.AT_FDCWD, s.indexStorage(), unix.RENAME_EXCHANGE)
		})
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			err = fmt.Errorf("this file system cannot exchange two directories in one step: make the store in a new place, on another one: %w", err)
		}
	} else {
		err = s.faults.RenameNew(s.newStorage(), s.indexStorage())
	}
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	for _, dir := range []string{s.indexRoot(), s.dir()} {
		if err := s.faults.SyncDir(dir); err != nil {
			return fmt.Errorf("handover: %w", err)
		}
	}
	return nil
}

// settle completes what was committed and removes what was not. It returns the directory into
// which things were set aside, "" where there are none.
func (s *stage) settle() (aside string, err error) {
	text, err := durable.ReadSmall(s.marker(), 1024)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if !there(s.dir()) {
			return "", nil
		}
		err = s.faults.Do(durable.OpRemove, s.dir(), func() error { return os.RemoveAll(s.dir()) })
	case err == nil:
		aside, err = s.finish(strings.Fields(string(text)))
	}
	if err != nil {
		return "", fmt.Errorf("handover: putting aside: %w", err)
	}
	return aside, nil
}

// finish sets aside what said before what is in the store.
func (s *stage) finish(marker []string) (aside string, err error) {
	if len(marker) != 2 || filepath.Base(marker[1]) != marker[1] || strings.HasPrefix(marker[1], ".") {
		return "", fmt.Errorf("%s is damaged; remove it, and put what is in %s aside by hand", s.marker(), s.dir())
	}
	aside = filepath.Join(s.indexRoot(), marker[1])
	if there(s.dir()) {
		if err := s.dropLinks(); err != nil {
			return "", err
		}
		if marker[0] == imported {
			if err := s.moveIndexes(s.dir()); err != nil {
				return "", err
			}
		}
		if err := s.nameAside(aside); err != nil {
			return "", err
		}
	}
	if err := s.faults.Remove(s.marker()); err != nil {
		return "", err
	}
	if !there(aside) {
		aside = ""
	}
	return aside, s.faults.SyncDir(s.indexStorage())
}

// nameAside gives the stage its last name, unless there is nothing in it.
func (s *stage) nameAside(aside string) error {
	_ = os.Remove(s.newStorage())
	if os.Remove(s.dir()) != nil {
		if err := s.faults.RenameNew(s.dir(), aside); err != nil {
			return err
		}
	}
	return s.faults.SyncDir(s.indexRoot())
}

// dropLinks removes the second names of message files that are in the store.
func (s *stage) dropLinks() error {
	list, err := os.ReadDir(s.newStorage())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range list {
		old := filepath.Join(s.newStorage(), e.Name())
		was, err := os.Lstat(old)
		if err != nil {
			return err
		}
		is, err := os.Lstat(filepath.Join(s.files(), e.Name()))
		if err == nil && messageFile(e.Name()) && os.SameFile(was, is) {
			if err := s.faults.Remove(old); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveIndexes moves Dovecot's indexes of mailboxes, and sdbox's messages, to a directory.
func (s *stage) moveIndexes(to string) error {
	keys, err := s.walk()
	if err != nil {
		return err
	}
	for _, key := range keys {
		mine := func(name string) bool { return isBoxIndex(name) }
		if err := s.moveSome(filepath.Dir(s.boxPath(key)), filepath.Join(to, boxesDir, key, mailsDir), mine); err != nil {
			return err
		}
		mine = func(name string) bool { _, ok := sdboxUID(name); return ok }
		if err := s.moveSome(s.boxDir(key), filepath.Join(to, boxesDir, key, mailsDir), mine); err != nil {
			return err
		}
	}
	return s.moveSome(s.indexRoot(), to, func(name string) bool { return strings.HasPrefix(name, listIndex) })
}

func (s *stage) moveSome(from, to string, mine func(name string) bool) error {
	list, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	moved := false
	for _, e := range list {
		if !mine(e.Name()) {
			continue
		}
		if !moved {
			if err := s.tree.MkdirAll(to); err != nil {
				return err
			}
			moved = true
		}
		if err := s.faults.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	return errors.Join(s.faults.SyncDir(to), s.faults.SyncDir(from))
}

// lock keeps rebuilds and other handovers from the store.
func (s *stage) lock() (unlock func(), err error) {
	dir := s.Root
	if there(s.files()) {
		dir = s.files() // as a rebuild does
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: another handover or a rebuild is at work", ErrInUse)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
