package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"mailcrypt/dovecotindex"
	"mailcrypt/mailbox"
)

// A source is what the indexes of a store say.
type source struct {
	Source
	maps   *dovecotindex.Map // of mdbox; nil where it is lost
	boxes  []*sourceBox      // by storage name
	prints map[string]print
	note   func(format string, args ...any)
}

// A sourceBox is a mailbox as its index says, or, where that is lost, as little as is known.
type sourceBox struct {
	key  string
	m    *dovecotindex.Mailbox
	x    *dovecotindex.Index // nil where it is lost
	lost bool                // nothing is known of its messages
}

// A print tells whether a file has changed.
type print struct {
	size    int64
	changed time.Time
	info    fs.FileInfo
}

// readSource reads all indexes of a store.
func readSource(ctx context.Context, from Source, note func(string, ...any)) (*source, error) {
	s := &source{Source: from, note: note}
	keys, err := s.walk()
	if err != nil {
		return nil, err
	}
	if s.prints, err = s.fingerprint(keys); err != nil {
		return nil, err
	}
	if !s.Sdbox {
		if err := s.readMap(ctx); err != nil {
			return nil, err
		}
	}
	for _, key := range keys {
		b, err := s.readBox(ctx, key)
		if err != nil {
			return nil, err
		}
		s.boxes = append(s.boxes, b)
	}
	s.findIdentities(ctx)
	return s, nil
}

// users returns the programs that have the store open.
func (s *source) users() ([]dovecotindex.User, error) {
	var all []string
	if !s.Sdbox {
		all = append(all, s.mapPath())
	}
	for _, b := range s.boxes {
		all = append(all, s.boxPath(b.key))
	}
	return dovecotindex.Users(all...)
}

// unused finds out whether nobody has the store open, and nobody has changed it since it was
// read.
func (s *source) unused(force bool) error {
	if !force {
		users, err := s.users()
		if err != nil {
			return err
		}
		var names []string
		for _, u := range users {
			names = append(names, strings.TrimSpace(fmt.Sprintf("%s (pid %d)", u.Program, u.PID)))
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: it is open in %s", ErrInUse, strings.Join(names, ", "))
		}
	}
	keys, err := s.walk()
	if err != nil {
		return err
	}
	now, err := s.fingerprint(keys)
	if err != nil {
		return err
	}
	same := func(a, b print) bool {
		return a.size == b.size && a.changed.Equal(b.changed) && os.SameFile(a.info, b.info)
	}
	if !maps.EqualFunc(now, s.prints, same) {
		return fmt.Errorf("%w: it has changed while it was read", ErrInUse)
	}
	return nil
}

// fingerprint notes the state of all files of indexes.
func (s *source) fingerprint(keys []string) (map[string]print, error) {
	all := map[string]print{}
	note := func(path string) error {
		for _, suffix := range []string{"", ".log", ".log.2"} {
			info, err := os.Lstat(path + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("handover: %w", err)
			}
			all[path+suffix] = print{info.Size(), info.ModTime(), info}
		}
		return nil
	}
	if !s.Sdbox {
		if err := note(s.mapPath()); err != nil {
			return nil, err
		}
	}
	for _, key := range keys {
		if err := note(s.boxPath(key)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readMap reads where messages are. Without it they are looked for by their GUIDs.
func (s *source) readMap(ctx context.Context) error {
	x, err := dovecotindex.Read(ctx, s.mapPath())
	if lost := indexLost(err); lost != nil {
		return lost
	}
	if x != nil {
		s.damage(x, err)
		if s.maps, err = x.Map(); err == nil {
			if s.maps.Inconsistent {
				s.note("Dovecot's map ends in a change that was not completed")
			}
			return nil
		}
	}
	s.note("Dovecot's map cannot be read (%v): messages are looked for by their GUIDs, and which were expunged is not known", err)
	return nil
}

// indexLost returns errors that are not those of an index that is missing or damaged.
func indexLost(err error) error {
	var corrupt *dovecotindex.CorruptError
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.As(err, &corrupt) || errors.Is(err, dovecotindex.ErrGap) {
		return nil
	}
	return err
}

func (s *source) damage(x *dovecotindex.Index, err error) {
	if err != nil {
		s.note("%v", err)
	}
	for _, d := range x.Damage {
		s.note("%v", d)
	}
}

func (s *source) readBox(ctx context.Context, key string) (*sourceBox, error) {
	b := &sourceBox{key: key}
	x, err := dovecotindex.Read(ctx, s.boxPath(key))
	if lost := indexLost(err); lost != nil {
		return nil, lost
	}
	if x != nil {
		s.damage(x, err)
		if s.Sdbox {
			b.m, err = x.Sdbox()
		} else {
			b.m, err = x.Mdbox()
		}
		if err == nil {
			b.x = x
			return b, nil
		}
	}
	b.m = &dovecotindex.Mailbox{}
	fresh := x != nil && x.Len() == 0 && len(x.Damage) == 0 // Dovecot has only begun to make it
	if b.lost = !fresh && !errors.Is(err, fs.ErrNotExist); b.lost {
		s.note("the index of mailbox %s cannot be read (%v): UIDs and flags are lost", key, err)
	}
	return b, nil
}

// findIdentities looks in the list of mailboxes for GUIDs of those whose indexes do not
// have them.
func (s *source) findIdentities(ctx context.Context) {
	missing := func(b *sourceBox) bool { return b.m.GUID.IsZero() || b.m.UIDValidity == 0 }
	if !slices.ContainsFunc(s.boxes, missing) {
		return
	}
	listed := map[string]dovecotindex.ListedMailbox{}
	if x, _ := dovecotindex.Read(ctx, s.paths().indexRoot()+"/"+listIndex); x != nil {
		if list, _ := x.List(); list != nil {
			for _, m := range list.Mailboxes {
				listed[m.FullName('/')] = m
			}
		}
	}
	for _, b := range s.boxes {
		if m, ok := listed[b.key]; ok && missing(b) {
			if b.m.GUID.IsZero() {
				b.m.GUID = m.GUID
			}
			if b.m.UIDValidity == 0 && !b.lost {
				b.m.UIDValidity = m.UIDValidity
			}
		}
		if b.m.GUID.IsZero() {
			b.m.GUID = mailbox.NewGUID()
			s.note("mailbox %s has no GUID yet, and gets one", b.key)
		}
	}
}
