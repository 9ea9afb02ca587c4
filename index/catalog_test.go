package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

// newCatalog makes and opens a catalog.
func newCatalog(t *testing.T, o CatalogOptions) (*Catalog, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), CatalogName)
	if err := CreateCatalog(path, CatalogOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	return openCatalog(t, path, o), path
}

func openCatalog(t *testing.T, path string, o CatalogOptions) *Catalog {
	t.Helper()
	if o.Delay == 0 {
		o.Delay = time.Hour
	}
	c, err := OpenCatalog(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func change(t *testing.T, c *Catalog, fn func(tx *CatalogTx) error) {
	t.Helper()
	if err := c.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// addMessage saves a message of 100 bytes in its own place.
func addMessage(tx *CatalogTx, guid mailbox.GUID, file, offset uint32) error {
	if _, err := tx.File(file); errors.Is(err, mailbox.ErrNotFound) {
		if err := tx.PutFile(CatalogFile{ID: file, Created: time.Unix(1700000000, 0)}); err != nil {
			return err
		}
	}
	id, err := tx.AddMap(MapRecord{Place: Place{file, offset, 100}, Received: time.Unix(1700000001, 0),
		Physical: 50, Virtual: 55, Stored: 60, GUID: fmt.Sprintf("%032x", offset)})
	if err != nil {
		return err
	}
	return tx.AddMessages(guid, []CatalogMessage{{MapUID: id, Record: Record{Physical: 50, Virtual: 55,
		Flags: mailbox.Flags{Keywords: []string{"k"}}, Saved: time.Unix(5, 6)}}})
}

func load(t *testing.T, c *Catalog, g mailbox.GUID) (CatalogMailbox, []CatalogMessage) {
	t.Helper()
	var msgs []CatalogMessage
	m, err := c.Load(g, func(m CatalogMessage, r MapRecord) error { msgs = append(msgs, m); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return m, msgs
}

func TestCatalogMessages(t *testing.T) {
	c, path := newCatalog(t, CatalogOptions{})
	other := mailbox.GUID{9}
	change(t, c, func(tx *CatalogTx) error {
		if err := tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7}); err != nil {
			return err
		}
		return tx.CreateMailbox("A/B", Identity{GUID: other, UIDValidity: 8})
	})
	start, _ := load(t, c, guid)
	for i := range uint32(3) {
		change(t, c, func(tx *CatalogTx) error { return addMessage(tx, guid, 1, 16+100*i) })
	}
	// A copy shares the place.
	change(t, c, func(tx *CatalogTx) error {
		m, r, err := tx.Message(guid, 2)
		if err != nil || r.GUID != fmt.Sprintf("%032x", 116) {
			return fmt.Errorf("message %+v, %w", r, err)
		}
		return tx.AddMessages(other, []CatalogMessage{m})
	})
	c.Later(guid, LateChange{HighestModSeq: 1 << 60, FirstRecent: 3,
		Messages: []*mailbox.Message{{UID: 1, ModSeq: 1 << 60, Flags: mailbox.Flags{System: mailbox.Seen | mailbox.Recent}, Sizes: mailbox.Sizes{Physical: 70, Virtual: 75}}}})
	for range 2 {
		m, msgs := load(t, c, guid)
		if m.UIDNext != 4 || m.FirstRecent != 3 || m.HighestModSeq != 1<<60 || len(msgs) != 3 || m.Messages != 3 {
			t.Errorf("%+v with %d messages", m, len(msgs))
		}
		if got := msgs[0]; got.Flags.System != mailbox.Seen || got.Virtual != 75 || !got.Saved.Equal(time.Unix(5, 6)) {
			t.Errorf("changed message %+v", got)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openCatalog(t, path, CatalogOptions{})
	}
	change(t, c, func(tx *CatalogTx) error {
		gone, modseq, err := tx.Expunge(guid, []mailbox.UID{3, 2, 2, 99})
		if !slices.Equal(gone, []mailbox.UID{2, 3}) || modseq <= 1<<60 {
			t.Errorf("expunged %v under %d", gone, modseq)
		}
		return err
	})
	for since, want := range map[mailbox.ModSeq][]mailbox.UID{start.HighestModSeq: {2, 3}, 1 << 60: {2, 3}, 1<<60 + 1: nil} {
		uids, complete, err := c.Expunged(guid, since)
		if !slices.Equal(uids, want) || !complete || err != nil {
			t.Errorf("expunged since %d: %v, %v, %v; want %v", since, uids, complete, err, want)
		}
	}
	if _, complete, _ := c.Expunged(guid, start.HighestModSeq-1); complete {
		t.Error("complete before the mailbox was made")
	}
	err := c.View(func(tx *CatalogTx) error {
		f, err := tx.File(1)
		if f.Messages != 3 || f.Dead != 1 || f.DeadBytes != 100 {
			t.Errorf("file %+v", f)
		}
		m, merr := tx.Mailbox(guid)
		if m.Messages != 1 || m.Bytes != 75 {
			t.Errorf("mailbox %+v", m)
		}
		return errors.Join(err, merr)
	})
	if err != nil {
		t.Error(err)
	}
	change(t, c, func(tx *CatalogTx) error {
		id, err := tx.DeleteMailbox("A/B")
		if id.GUID != other {
			t.Errorf("deleted %v", id)
		}
		return errors.Join(err, tx.RenameMailbox("INBOX", "Old"))
	})
	checkCatalog(t, c)
}

// checkCatalog looks whether all counts of a catalog fit what is in it.
func checkCatalog(t *testing.T, c *Catalog) {
	t.Helper()
	err := c.View(func(tx *CatalogTx) error {
		refs := map[uint32]uint16{}
		err := tx.Names(func(name string, id Identity) error {
			var n uint32
			var sum int64
			err := tx.Messages(id.GUID, func(m CatalogMessage) error {
				refs[m.MapUID]++
				r, err := tx.Map(m.MapUID)
				n, sum = n+1, sum+m.counted(r.Stored)
				return err
			})
			m, merr := tx.Mailbox(id.GUID)
			if m.Messages != n || m.Bytes != sum || m.UIDValidity != id.UIDValidity {
				t.Errorf("%s: %+v with %d messages of %d bytes", name, m, n, sum)
			}
			return errors.Join(err, merr)
		})
		if err != nil {
			return err
		}
		counts := map[uint32]CatalogFile{}
		err = tx.Maps(func(r MapRecord) error {
			if r.Refs != refs[r.MapUID] {
				t.Errorf("map UID %d has %d references, and there are %d", r.MapUID, r.Refs, refs[r.MapUID])
			}
			f := counts[r.File]
			f.Messages++
			if r.Refs == 0 {
				f.Dead, f.DeadBytes = f.Dead+1, f.DeadBytes+uint64(r.Size)
			}
			counts[r.File] = f
			return nil
		})
		if err != nil {
			return err
		}
		files, err := tx.Files()
		for _, f := range files {
			if w := counts[f.ID]; f.Messages != w.Messages || f.Dead != w.Dead || f.DeadBytes != w.DeadBytes {
				t.Errorf("file %+v, want %+v", f, w)
			}
			places, last := uint32(0), uint32(0)
			err = errors.Join(err, tx.Places(f.ID, func(r MapRecord) error {
				if r.File != f.ID || r.Offset < last {
					t.Errorf("place %+v in file %d after %d", r.Place, f.ID, last)
				}
				places, last = places+1, r.Offset
				return nil
			}))
			if places != f.Messages {
				t.Errorf("file %d has %d places for %d messages", f.ID, places, f.Messages)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCatalogPurge(t *testing.T) {
	c, _ := newCatalog(t, CatalogOptions{})
	change(t, c, func(tx *CatalogTx) error {
		err := tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7})
		for i := range uint32(3) {
			err = errors.Join(err, addMessage(tx, guid, 5, 16+100*i))
		}
		_, _, xerr := tx.Expunge(guid, []mailbox.UID{1, 3})
		return errors.Join(err, xerr)
	})
	change(t, c, func(tx *CatalogTx) error {
		var all []MapRecord
		err := errors.Join(tx.PutFile(CatalogFile{ID: 6, End: 116}), tx.Places(5, func(r MapRecord) error { all = append(all, r); return nil }))
		for _, r := range all {
			if r.Refs == 0 {
				err = errors.Join(err, tx.DropMap(r.MapUID))
			} else {
				if derr := tx.DropMap(r.MapUID); derr == nil {
					t.Error("a message that is there was dropped")
				}
				err = errors.Join(err, tx.MoveMap(r.MapUID, Place{6, 16, 100}))
			}
		}
		m, merr := tx.Meta()
		if m.HighestFile != 6 || m.NextMapUID != 4 {
			t.Errorf("meta %+v", m)
		}
		return errors.Join(err, merr, tx.DropFile(5))
	})
	checkCatalog(t, c)
}

// One that fails does not keep the others from being written, and leaves nothing.
func TestCatalogGroup(t *testing.T) {
	var commits atomic.Int32
	block := make(chan struct{})
	c, path := newCatalog(t, CatalogOptions{Write: func(commit func() error) error {
		if commits.Add(1) == 1 {
			<-block
		}
		return commit()
	}})
	broken := errors.New("no")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := c.Update(context.Background(), func(tx *CatalogTx) error {
				err := tx.CreateMailbox(fmt.Sprint(i), Identity{GUID: mailbox.GUID{1, byte(i)}, UIDValidity: 1})
				if i%5 == 3 {
					err = broken
				}
				return err
			})
			if want := i%5 == 3; errors.Is(err, broken) != want || err != nil && !want {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	for {
		c.mu.Lock()
		n := len(c.queue)
		c.mu.Unlock()
		if n >= 19 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(block)
	wg.Wait()
	if n := commits.Load(); n > 8 {
		t.Errorf("%d transactions for 20 changes", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCatalog(t, path, CatalogOptions{ReadOnly: true})
	n := 0
	if err := c.View(func(tx *CatalogTx) error { return tx.Names(func(string, Identity) error { n++; return nil }) }); err != nil || n != 16 {
		t.Errorf("%d mailboxes, %v; want 16", n, err)
	}
	if err := c.Update(t.Context(), func(tx *CatalogTx) error { return tx.Clear() }); err == nil {
		t.Error("a read-only catalog was changed")
	}
}

// What cannot be written is an error, and flags wait for better days.
func TestCatalogFullDisk(t *testing.T) {
	full := true
	enospc := errors.New("no space left")
	c, path := newCatalog(t, CatalogOptions{Write: func(commit func() error) error {
		if full {
			return enospc
		}
		return commit()
	}})
	create := func(tx *CatalogTx) error {
		return errors.Join(tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7}), addMessage(tx, guid, 1, 16))
	}
	if err := c.Update(t.Context(), create); !errors.Is(err, enospc) {
		t.Errorf("Update: %v", err)
	}
	full = false
	change(t, c, create)
	full = true
	c.Later(guid, LateChange{Messages: []*mailbox.Message{{UID: 1, ModSeq: 9, Flags: mailbox.Flags{System: mailbox.Draft}}}})
	if err := c.Sync(t.Context()); !errors.Is(err, enospc) {
		t.Errorf("Sync: %v", err)
	}
	if _, msgs := load(t, c, guid); msgs[0].Flags.System != mailbox.Draft {
		t.Error("flags that could not be written are not shown")
	}
	full = false
	if err := c.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c = openCatalog(t, path, CatalogOptions{})
	if _, msgs := load(t, c, guid); msgs[0].Flags.System != mailbox.Draft {
		t.Error("flags are lost")
	}
}

// A commit that fails at its end leaves open what is on the disk.
func TestCatalogUnknown(t *testing.T) {
	fails := 0
	lost := errors.New("the last sync failed")
	c, path := newCatalog(t, CatalogOptions{Write: func(commit func() error) error {
		err := commit()
		if fails > 0 && err == nil {
			fails--
			err = lost
		}
		return err
	}})
	fails = 1 // then the next sync makes it durable
	change(t, c, func(tx *CatalogTx) error {
		return tx.CreateMailbox("Other", Identity{GUID: mailbox.GUID{3}, UIDValidity: 7})
	})
	fails = 2
	create := func(tx *CatalogTx) error { return tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7}) }
	if err := c.Update(t.Context(), create); !errors.Is(err, ErrCatalogUnknown) || !errors.Is(err, lost) {
		t.Errorf("Update: %v", err)
	}
	for what, err := range map[string]error{
		"Update": c.Update(t.Context(), create),
		"View":   c.View(func(*CatalogTx) error { return nil }),
		"Sync":   c.Sync(t.Context()),
	} {
		if !errors.Is(err, ErrCatalogUnknown) {
			t.Errorf("%s afterwards: %v", what, err)
		}
	}
	c.Close()
	c = openCatalog(t, path, CatalogOptions{LockWait: time.Minute})
	if err := c.Update(t.Context(), create); !errors.Is(err, mailbox.ErrExists) {
		t.Errorf("Update after opening again: %v", err)
	}
}

func TestCatalogOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), CatalogName)
	if _, err := OpenCatalog(path, CatalogOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("not a database\n", 5000)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCatalog(path, CatalogOptions{}); !errors.Is(err, ErrCatalogDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	os.Remove(path)
	Open(path, Options{}).Close() // an index is no catalog
	if _, err := OpenCatalog(path, CatalogOptions{}); !errors.Is(err, ErrCatalogDamaged) {
		t.Errorf("an index: %v", err)
	}
	if err := CreateCatalog(path, CatalogOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	c := openCatalog(t, path, CatalogOptions{})
	if _, err := OpenCatalog(path, CatalogOptions{LockWait: time.Millisecond}); !errors.Is(err, ErrCatalogBusy) {
		t.Errorf("open twice: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.View(func(*CatalogTx) error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Whatever is damaged is found or harmless, and much of it can be salvaged.
func TestCatalogDamage(t *testing.T) {
	c, path := newCatalog(t, CatalogOptions{})
	change(t, c, func(tx *CatalogTx) error {
		err := tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7})
		for i := range uint32(500) {
			err = errors.Join(err, addMessage(tx, guid, 1+i/100, 16+100*(i%100)))
		}
		return err
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	use := func() (n int, err error) {
		c, err := OpenCatalog(path, CatalogOptions{})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		_, err = c.Load(guid, func(CatalogMessage, MapRecord) error { n++; return nil })
		return n, err
	}
	found, some := 0, 0
	for at := 0; at < len(good); at += 1024 {
		bad := bytes.Clone(good)
		for i := at; i < min(at+64, len(bad)); i++ {
			bad[i] ^= 0xff
		}
		if at%5 == 0 {
			bad = bad[:at]
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := use()
		if err != nil {
			if found++; !errors.Is(err, ErrCatalogDamaged) && !errors.Is(err, mailbox.ErrNotFound) {
				t.Errorf("damaged at %d: %v", at, err)
			}
		} else if n > 500 {
			t.Errorf("damaged at %d: %d messages", at, n)
		}
		if s, err := SalvageCatalog(path, CatalogOptions{}); err == nil && len(s.Maps) > 0 {
			some++
		}
	}
	if found == 0 || some == 0 {
		t.Errorf("damage was found %d times, something salvaged %d times", found, some)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := SalvageCatalog(path, CatalogOptions{})
	if err != nil || len(s.Maps) != 500 || len(s.Files) != 5 || len(s.Mailboxes) != 1 || len(s.Mailboxes[0].Messages) != 500 || len(s.Lost) > 0 {
		t.Errorf("salvage of a good catalog: %v, lost %v", err, s.Lost)
	}
}

// The blocks of the file are there before they are needed.
func TestCatalogRoom(t *testing.T) {
	c, path := newCatalog(t, CatalogOptions{})
	if err := unix.Fallocate(int(c.room.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1); err != nil {
		t.Skip("the file system sets no blocks aside: ", err)
	}
	change(t, c, func(tx *CatalogTx) error {
		return tx.CreateMailbox("INBOX", Identity{GUID: guid, UIDValidity: 7})
	})
	for i := range uint32(30) {
		change(t, c, func(tx *CatalogTx) (err error) {
			for k := range uint32(100) {
				err = errors.Join(err, addMessage(tx, guid, 1, 16+100*(100*i+k)))
			}
			return err
		})
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Blocks*512 < st.Size+60<<10 {
			t.Fatalf("%d bytes have %d blocks", st.Size, st.Blocks)
		}
	}
}
