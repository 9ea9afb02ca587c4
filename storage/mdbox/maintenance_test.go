package mdbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A maintStore is a store without a driver: what maintenance works on, and a model of it.
type maintStore struct {
	t         testing.TB
	root, alt string
	faults    *durable.Faults
	files     *mfile.Dir
	catalog   *index.Catalog
	last      uint32
	n         int
	// want is what is in the mailboxes: by name and UID the text.
	want map[string]map[mailbox.UID]string
}

var maintStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newMaintStore(t testing.TB, names ...string) *maintStore {
	s := &maintStore{t: t, root: t.TempDir(), alt: t.TempDir(), want: map[string]map[mailbox.UID]string{}}
	if err := os.Mkdir(filepath.Join(s.root, "storage"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := index.CreateCatalog(s.path(), index.CatalogOptions{}, func(tx *index.CatalogTx) error {
		for i, name := range names {
			s.want[name] = map[mailbox.UID]string{}
			if err := tx.CreateMailbox(name, index.Identity{GUID: mailbox.GUID{1, byte(i)}, UIDValidity: uint32(i + 7)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.open()
	t.Cleanup(func() { s.catalog.Close() })
	return s
}

func (s *maintStore) path() string { return filepath.Join(s.root, "storage", index.CatalogName) }

// open opens the store as a process does that comes after a crash.
func (s *maintStore) open() {
	s.t.Helper()
	var err error
	s.files, err = mfile.Open(mfile.Options{Root: s.root, Alt: s.alt, RotateSize: 3000, Host: "test", Faults: s.faults})
	if err != nil {
		s.t.Fatal(err)
	}
	s.catalog, err = index.OpenCatalog(s.path(), index.CatalogOptions{Write: func(commit func() error) error {
		return s.faults.Do(durable.OpSync, index.CatalogName, commit)
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	var states []mfile.FileState
	var doomed []index.CatalogFile
	err = s.catalog.View(func(tx *index.CatalogTx) error {
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		s.last = meta.HighestFile
		list, err := tx.Files()
		for _, f := range list {
			if f.Doomed {
				doomed = append(doomed, f)
			} else {
				states = append(states, mfile.FileState{ID: f.ID, End: f.End, Created: f.Created, Alt: f.Alt})
			}
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.files.Known(states)
	if _, err := s.files.RemoveTemporary(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.maintenance().removeDoomed(context.Background(), doomed); err != nil {
		s.t.Fatal(err)
	}
}

func (s *maintStore) reopen() {
	s.t.Helper()
	if err := s.catalog.Close(); err != nil && !errors.Is(err, durable.ErrCrashed) && !errors.Is(err, index.ErrCatalogUnknown) {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *maintStore) maintenance() *maintenance {
	return &maintenance{files: s.files, catalog: s.catalog, next: func() uint32 { s.last++; return s.last }}
}

func (s *maintStore) guid(name string) (g mailbox.GUID) {
	s.t.Helper()
	err := s.catalog.View(func(tx *index.CatalogTx) error {
		id, err := tx.Name(name)
		g = id.GUID
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// save saves texts as the driver does.
func (s *maintStore) save(name string, texts ...string) {
	s.t.Helper()
	var list []mfile.Message
	var guids []string
	for _, text := range texts {
		s.n++
		guids = append(guids, fmt.Sprintf("%032x", s.n))
		sp := s.files.Create()
		if _, err := io.WriteString(sp, text); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, mfile.Message{Spool: sp, Metadata: mfile.Metadata{Physical: -1, Virtual: int64(len(text)), GUID: guids[len(guids)-1],
			Received: maintStart.Add(time.Duration(s.n) * time.Hour), Folder: name}})
	}
	a, err := s.files.Append(context.Background(), s.maintenance().next, list)
	if err != nil {
		s.t.Fatal(err)
	}
	msgs := make([]index.CatalogMessage, len(list))
	guid := s.guid(name)
	err = s.catalog.Update(context.Background(), func(tx *index.CatalogTx) error {
		if err := putFiles(tx, a.Files()); err != nil {
			return err
		}
		for i, p := range a.Places() {
			uid, err := tx.AddMap(index.MapRecord{Place: index.Place(p), Received: list[i].Metadata.Received, Physical: int64(len(texts[i])),
				Virtual: int64(len(texts[i])), Stored: int64(len(texts[i])), GUID: guids[i]})
			if err != nil {
				return err
			}
			msgs[i] = index.CatalogMessage{MapUID: uid, Record: index.Record{Physical: -1, Virtual: -1, Saved: maintStart,
				Flags: mailbox.Flags{Keywords: []string{fmt.Sprint("k", s.n)}}}}
		}
		return tx.AddMessages(guid, msgs)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	a.Commit()
	for i, m := range msgs {
		s.want[name][m.UID] = texts[i]
	}
}

// copy copies a message to another mailbox.
func (s *maintStore) copy(from string, uid mailbox.UID, to string) {
	s.t.Helper()
	var msgs []index.CatalogMessage
	fromGUID, toGUID := s.guid(from), s.guid(to)
	err := s.catalog.Update(context.Background(), func(tx *index.CatalogTx) error {
		m, _, err := tx.Message(fromGUID, uid)
		if err != nil {
			return err
		}
		msgs = []index.CatalogMessage{m}
		return tx.AddMessages(toGUID, msgs)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.want[to][msgs[0].UID] = s.want[from][uid]
}

func (s *maintStore) expunge(name string, uids ...mailbox.UID) {
	s.t.Helper()
	guid := s.guid(name)
	err := s.catalog.Update(context.Background(), func(tx *index.CatalogTx) error {
		_, _, err := tx.Expunge(guid, uids)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, uid := range uids {
		delete(s.want[name], uid)
	}
}

// uids are those of a mailbox, sorted.
func (s *maintStore) uids(name string) (uids []mailbox.UID) {
	for uid := range s.want[name] {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}

// check compares everything with the model, and the catalog with itself.
func (s *maintStore) check(what string) {
	s.t.Helper()
	refs := map[uint32]int{}
	type count struct {
		messages, dead uint32
		bytes          uint64
	}
	counts := map[uint32]count{}
	err := s.catalog.View(func(tx *index.CatalogTx) error {
		for name, want := range s.want {
			id, err := tx.Name(name)
			if err != nil {
				return err
			}
			n := 0
			err = tx.Messages(id.GUID, func(m index.CatalogMessage) error {
				n++
				refs[m.MapUID]++
				r, err := tx.Map(m.MapUID)
				if err != nil {
					return err
				}
				text, ok := want[m.UID]
				if !ok {
					s.t.Errorf("%s: UID %d of %s is back", what, m.UID, name)
					return nil
				}
				s.wantText(what, r, text)
				return nil
			})
			if err != nil {
				return err
			}
			if n != len(want) {
				s.t.Errorf("%s: %d messages in %s, want %d", what, n, name, len(want))
			}
		}
		err := tx.Maps(func(r index.MapRecord) error {
			if int(r.Refs) != refs[r.MapUID] {
				s.t.Errorf("%s: map UID %d has %d references, want %d", what, r.MapUID, r.Refs, refs[r.MapUID])
			}
			c := counts[r.File]
			if c.messages++; r.Refs == 0 {
				c.dead++
				c.bytes += uint64(r.Size)
			}
			counts[r.File] = c
			return nil
		})
		if err != nil {
			return err
		}
		files, err := tx.Files()
		for _, f := range files {
			if (count{f.Messages, f.Dead, f.DeadBytes}) != counts[f.ID] {
				s.t.Errorf("%s: m.%d counts %+v, want %+v", what, f.ID, f, counts[f.ID])
			}
		}
		return err
	})
	if err != nil {
		s.t.Errorf("%s: %v", what, err)
	}
}

func (s *maintStore) wantText(what string, r index.MapRecord, want string) {
	s.t.Helper()
	st, err := s.files.Open(mfile.Place(r.Place))
	if err != nil {
		s.t.Errorf("%s: map UID %d: %v", what, r.MapUID, err)
		return
	}
	defer st.Close()
	b := make([]byte, st.Size())
	st.ReadAt(b, 0)
	if string(b) != want || st.GUID != r.GUID {
		s.t.Errorf("%s: map UID %d holds %.60q (%s), want %.60q (%s)", what, r.MapUID, b, st.GUID, want, r.GUID)
	}
}

func (s *maintStore) stat() *Stat {
	s.t.Helper()
	st, err := s.maintenance().stat(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// states are the states of all files, as "id:state", with "a" for the alternative directory.
func (s *maintStore) states() string {
	var list []string
	for _, f := range s.stat().Files {
		text := fmt.Sprint(f.ID, ":", f.State)
		if f.Alt {
			text = "a" + text
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

// fill makes a store of several files in which there are dead messages and copies.
func (s *maintStore) fill() {
	for i := range 12 {
		s.save("A", strings.Repeat(fmt.Sprint(i%10), 300+i*37), fmt.Sprint("small ", i))
	}
	s.save("B", "of B")
	for _, uid := range []mailbox.UID{2, 7, 9, 20} {
		s.copy("A", uid, "B")
	}
	s.expunge("A", 1, 2, 5, 6, 7, 20, 23)
	s.expunge("B", 5)
}
