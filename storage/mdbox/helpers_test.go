package mdbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

func newLocation(t testing.TB) Location { return Location{Root: filepath.Join(t.TempDir(), "mdbox")} }

// openStore opens a store that the test closes.
func openStore(t testing.TB, l Location, o Options) *Hierarchy {
	t.Helper()
	h, err := Open(context.Background(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func openBox(t testing.TB, h *Hierarchy, name string) *Mailbox {
	t.Helper()
	m, err := h.OpenMailbox(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func sizesOf(text string) mailbox.Sizes {
	n := int64(len(text))
	return mailbox.Sizes{Physical: n, Virtual: n + int64(bytes.Count([]byte(text), []byte("\n"))), Stored: n}
}

func trySave(m *Mailbox, text string, info mailbox.SaveInfo) (mailbox.UID, error) {
	p, err := m.Create(context.Background(), info)
	if err != nil {
		return 0, err
	}
	if _, err := p.Write([]byte(text)); err != nil {
		return 0, errors.Join(err, p.Abort())
	}
	return p.Commit(sizesOf(text))
}

func mustSave(t testing.TB, m *Mailbox, text string) mailbox.UID {
	t.Helper()
	uid, err := trySave(m, text, mailbox.SaveInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func readText(m *Mailbox, uid mailbox.UID) (string, error) {
	s, err := m.Open(context.Background(), uid)
	if err != nil {
		return "", err
	}
	defer s.Close()
	text, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
	return string(text), err
}

// memoryIdentities are Identities that outlive the store.
type memoryIdentities struct {
	mu    sync.Mutex
	known map[string]Identity
	fail  error
}

func (i *memoryIdentities) Load(context.Context) (map[string]Identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.known), nil
}

func (i *memoryIdentities) Change(_ context.Context, set map[string]Identity, remove []string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	if i.known == nil {
		i.known = map[string]Identity{}
	}
	for _, name := range remove {
		delete(i.known, name)
	}
	maps.Copy(i.known, set)
	return nil
}

// checkStore looks whether the files hold what the catalog says, and its counts are right.
func checkStore(t testing.TB, h *Hierarchy) {
	t.Helper()
	err := h.catalog.View(func(tx *index.CatalogTx) error {
		refs := map[uint32]int{}
		err := tx.Names(func(name string, id index.Identity) error {
			count, sum := uint32(0), int64(0)
			err := tx.Messages(id.GUID, func(m index.CatalogMessage) error {
				refs[m.MapUID]++
				count++
				sum += max(m.Virtual, 0)
				return nil
			})
			m, merr := tx.Mailbox(id.GUID)
			if m.Messages != count || m.Bytes != sum {
				t.Errorf("%s counts %d messages of %d bytes, and has %d of %d", name, m.Messages, m.Bytes, count, sum)
			}
			return errors.Join(err, merr)
		})
		if err != nil {
			return err
		}
		return tx.Maps(func(r index.MapRecord) error {
			if int(r.Refs) != refs[r.MapUID] {
				t.Errorf("map UID %d has %d references, counted %d", r.MapUID, refs[r.MapUID], r.Refs)
			}
			f, err := h.files.Open(mfile.Place(r.Place))
			if err != nil {
				return err
			}
			defer f.Close()
			if f.GUID != r.GUID || f.Size() != r.Stored || f.Received.Unix() != r.Received.Unix() {
				t.Errorf("%v: the file has %+v, the catalog %+v", r.Place, f.Record, r)
			}
			return nil
		})
	})
	if err != nil {
		t.Errorf("checking the store: %v", err)
	}
}

// inMemory puts temporary directories where syncing costs nothing.
func inMemory(t *testing.T) {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}
