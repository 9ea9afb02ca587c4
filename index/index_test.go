package index

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

var guid = mailbox.GUID{1, 2, 3}

func record(uid mailbox.UID, modseq mailbox.ModSeq, keywords ...string) Record {
	return Record{UID: uid, ModSeq: modseq, Flags: mailbox.Flags{System: mailbox.Seen, Keywords: keywords},
		Physical: 12, Virtual: mailbox.Unknown, Saved: time.Unix(1700000000, 5)}
}

// opened is an index with its own log.
func opened(t *testing.T, path string) (*DB, *bytes.Buffer) {
	var log bytes.Buffer
	d := Open(path, Options{Delay: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	t.Cleanup(func() { d.Close() })
	return d, &log
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, log := opened(t, path)
	m, s := d.Mailbox(guid)
	if s.UIDValidity != 0 || s.Records != nil || !d.Persistent() {
		t.Fatalf("a new index has %+v, persistent %v", s, d.Persistent())
	}
	first := m.NextModSeq()
	second := m.NextModSeq()
	if second <= first || first < mailbox.ModSeq(time.Now().Add(-time.Hour).UnixMicro()) {
		t.Errorf("modseqs %d, %d", first, second)
	}
	m.Put(7, 10, []Record{record(1, first), record(3, second, "a", "B c"), record(300, first)}, nil)
	m.Put(7, 11, []Record{record(4, second)}, []mailbox.UID{300})
	m.Close()
	d.SetIdentity(".A", Identity{guid, 7, 11})
	d.SetIdentity(".Gone", Identity{guid, 7, 11})
	d.DropIdentity(".Gone")
	d.RenameIdentity(".A", ".B")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("file mode %v, %v", st.Mode(), err)
	}

	d, _ = opened(t, path)
	_, s = d.Mailbox(guid)
	want := State{7, 11, second, []Record{record(1, first), record(3, second, "a", "B c"), record(4, second)}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("after reopening:\n%+v\nwant\n%+v", s, want)
	}
	if id, ok := d.Identity(".B"); !ok || id != (Identity{guid, 7, 11}) {
		t.Errorf("identity %+v, %v", id, ok)
	}
	for _, name := range []string{".A", ".Gone", ""} {
		if _, ok := d.Identity(name); ok {
			t.Errorf("%q still has an identity", name)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}

func TestValidityChangeDropsRecords(t *testing.T) {
	d, _ := opened(t, filepath.Join(t.TempDir(), FileName))
	m, _ := d.Mailbox(guid)
	m.Put(7, 10, []Record{record(9, 1)}, nil)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	m.Put(8, 3, []Record{record(2, 1)}, nil)
	_, s := d.Mailbox(guid)
	if s.UIDValidity != 8 || s.UIDNext != 3 || len(s.Records) != 1 || s.Records[0].UID != 2 {
		t.Errorf("%+v", s)
	}
	d.DropMailbox(guid)
	if _, s := d.Mailbox(guid); s.UIDValidity != 0 || s.Records != nil {
		t.Errorf("after dropping: %+v", s)
	}
}

// crashed is the index as a crash at this moment leaves it.
func crashed(t *testing.T, path string) *DB {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), FileName)
	write(t, copied, image)
	d, _ := opened(t, copied)
	return d
}

// What Sync has returned for is there after a crash, and all later modseqs are above it.
func TestSyncThenCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	m, _ := d.Mailbox(guid)
	told := m.NextModSeq() + 1_000_000_000 // as if the clock had gone back since
	m.AtLeast(told)
	m.Put(7, 10, []Record{record(1, told)}, nil)
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	m.Put(7, 10, []Record{record(1, m.NextModSeq())}, nil)
	m2, s := crashed(t, path).Mailbox(guid)
	if s.HighestModSeq != told || !reflect.DeepEqual(s.Records, []Record{record(1, told)}) {
		t.Errorf("after a crash: %+v, want modseq %d", s, told)
	}
	if next := m2.NextModSeq(); next <= told {
		t.Errorf("modseq %d after %d was told", next, told)
	}
}

func TestDamagedFiles(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"text":        func(t *testing.T, p string) { write(t, p, []byte(strings.Repeat("not a database\n", 5000))) },
		"empty pages": func(t *testing.T, p string) { write(t, p, make([]byte, 64<<10)) },
		"one byte":    func(t *testing.T, p string) { write(t, p, []byte{1}) },
		"cut":         func(t *testing.T, p string) { cut(t, p, 3*4096) },
		"other format": func(t *testing.T, p string) {
			edit(t, p, func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte("9")) })
		},
		"bad header": func(t *testing.T, p string) {
			edit(t, p, func(tx *bolt.Tx) error {
				return tx.Bucket(boxBucket).Bucket(guid[:]).Put(headerKey, []byte("x"))
			})
		},
		"bad record": func(t *testing.T, p string) {
			edit(t, p, func(tx *bolt.Tx) error {
				return tx.Bucket(boxBucket).Bucket(guid[:]).Bucket(messagesKey).Put(uidKey(5), []byte{0xff})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			fill(t, path)
			damage(t, path)
			d, log := opened(t, path)
			m, s := d.Mailbox(guid)
			if len(s.Records) == 3000 {
				t.Fatal("the damage did no damage")
			}
			if s.Records != nil {
				t.Errorf("%d records of a damaged index", len(s.Records))
			}
			if !strings.Contains(log.String(), "damaged") {
				t.Errorf("log: %q", log)
			}
			if _, err := os.Stat(path + ".bad"); err != nil {
				t.Errorf("the damaged file was not kept: %v", err)
			}
			if m.NextModSeq() == 0 {
				t.Error("no modseq")
			}
			d.Close()
			d, _ = opened(t, path)
			if !d.Persistent() {
				t.Error("the next opening did not start anew")
			}
		})
	}
}

// A file that is truncated while it is mapped gives SIGBUS to whoever reads it.
func TestTruncatedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	fill(t, path)
	d, log := opened(t, path)
	cut(t, path, 0)
	m, s := d.Mailbox(guid)
	m.Put(7, 9, []Record{record(8, 1)}, nil)
	_ = d.Flush()
	if len(s.Records) != 0 || d.Persistent() {
		t.Errorf("%d records, persistent %v", len(s.Records), d.Persistent())
	}
	if !strings.Contains(log.String(), "going on in memory") {
		t.Errorf("log: %q", log)
	}
}

func TestNotUsable(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"directory":    func(p string) error { return os.Mkdir(p, 0o700) },
		"link":         func(p string) error { return os.Symlink("elsewhere", p) },
		"no directory": func(p string) error { return os.Remove(filepath.Dir(p)) },
		"locked": func(p string) error {
			other, err := bolt.Open(p, 0o600, nil)
			t.Cleanup(func() { other.Close() })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			if err := prepare(path); err != nil {
				t.Fatal(err)
			}
			d, log := opened(t, path)
			if d.Persistent() || !strings.Contains(log.String(), "working without") {
				t.Errorf("persistent %v, log %q", d.Persistent(), log)
			}
			m, _ := d.Mailbox(guid)
			if a, b := m.NextModSeq(), m.NextModSeq(); a == 0 || b <= a {
				t.Errorf("modseqs %d, %d", a, b)
			}
			m.Put(7, 2, []Record{record(1, 1)}, nil)
			d.SetIdentity(".A", Identity{guid, 7, 2})
			if id, ok := d.Identity(".A"); !ok || id.GUID != guid {
				t.Errorf("identity in memory: %+v, %v", id, ok)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDelayedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d := Open(path, Options{Delay: time.Millisecond})
	defer d.Close()
	m, _ := d.Mailbox(guid)
	m.Put(7, 2, []Record{record(1, 1)}, nil)
	for {
		d.mu.Lock()
		n := len(d.dirty)
		d.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var found bool
	d.Flush() // waits for the write under way
	d.view(func(tx *bolt.Tx) error {
		found = tx.Bucket(boxBucket).Bucket(guid[:]) != nil
		return nil
	})
	if !found {
		t.Error("nothing was written without Flush")
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range []Record{record(1, 1), record(2, 1<<40, "a", "b"), {}} {
		f.Add(r.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord([]byte{0, 0, 0, 9}, b)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		again, err := decodeRecord([]byte{0, 0, 0, 9}, r.encode())
		if err != nil || !slices.Equal(again.Flags.Keywords, r.Flags.Keywords) || again.ModSeq != r.ModSeq ||
			again.Flags.System != r.Flags.System || again.Physical != r.Physical || !again.Saved.Equal(r.Saved) {
			t.Errorf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func fill(t *testing.T, path string) {
	t.Helper()
	d := Open(path, Options{})
	m, _ := d.Mailbox(guid)
	var recs []Record
	for i := range 3000 {
		recs = append(recs, record(mailbox.UID(i+1), 1, "keyword"))
	}
	m.Put(7, 3001, recs, nil)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}
