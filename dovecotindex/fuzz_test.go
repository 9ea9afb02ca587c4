package dovecotindex

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/internal/teststore"
)

// recorded returns the indexes of the recorded stores.
func recorded(t testing.TB) (all []Files) {
	t.Helper()
	archives, err := filepath.Glob("../testdata/vectors/*/store.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal("no recorded stores", err)
	}
	for _, a := range archives {
		files := teststore.Files(t, a)
		for name := range files {
			path, ok := strings.CutSuffix(name, ".log")
			if !ok || !strings.Contains(filepath.Base(path), "index") {
				continue
			}
			all = append(all, Files{Index: files[path], Backup: files[path+".backup"], Log: files[path+".log"], Log2: files[path+".log.2"]})
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d indexes in the recorded stores", len(all))
	}
	return all
}

// FuzzParse reads hostile files. Whatever they are, errors have their types, and what is
// returned with or without one can be used.
func FuzzParse(f *testing.F) {
	n := 0
	for _, r := range recorded(f) {
		if size := len(r.Index) + len(r.Log) + len(r.Log2); size < 12_000 && n < 40 {
			f.Add(r.Index, r.Backup, r.Log, r.Log2)
			n++
		}
	}
	m := sample(9)
	log, err := m.MdboxLog(LogOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), []byte(nil), log, []byte(nil))
	for _, tt := range everyRecord() {
		f.Add([]byte(nil), []byte(nil), tt.log(), []byte(nil))
	}
	for _, fs := range snapshots(f) {
		f.Add(fs.Index, fs.Backup, fs.Log, fs.Log2)
	}
	f.Fuzz(func(t *testing.T, index, backup, log, log2 []byte) {
		files := Files{nilIfEmpty(index), nilIfEmpty(backup), nilIfEmpty(log), nilIfEmpty(log2)}
		x, err := Parse(files)
		checkError(t, err)
		if x == nil {
			if err == nil {
				t.Fatal("neither an index nor an error")
			}
			return
		}
		checkIndex(t, x, files)
	})
}

func nilIfEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var c *CorruptError
	if err != nil && !errors.As(err, &c) && !errors.Is(err, ErrGap) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error of no type: %v", err)
	}
}

// checkIndex uses everything of an index.
func checkIndex(t *testing.T, x *Index, f Files) {
	t.Helper()
	size := len(f.Index) + len(f.Backup) + len(f.Log) + len(f.Log2)
	memory := 0
	for _, e := range x.Extensions() {
		memory += len(e.Header)
		for i := range x.Len() {
			if b := e.Record(i); b != nil && len(b) != e.Size {
				t.Fatalf("record of %q has %d bytes, want %d", e.Name, len(b), e.Size)
			} else {
				memory += len(b)
			}
		}
	}
	if memory > max(minBudget, budgetFactor*size) {
		t.Fatalf("%d bytes in memory of files of %d", memory, size)
	}
	for i := range x.Len() {
		if x.UID(i) == 0 || x.UID(i) >= x.NextUID || i > 0 && x.UID(i) <= x.UID(i-1) {
			t.Fatalf("message %d has UID %d, next is %d", i, x.UID(i), x.NextUID)
		}
		if j, ok := x.Find(x.UID(i)); !ok || i != j {
			t.Fatalf("UID %d is not found", x.UID(i))
		}
		x.ModSeq(i)
		x.VirtualSize(i)
	}
	for _, view := range []func() error{
		func() error { _, err := x.Mdbox(); return err },
		func() error { _, err := x.Sdbox(); return err },
		func() error { _, err := x.Maildir(); return err },
		func() error { _, err := x.Map(); return err },
		func() error { _, err := x.List(); return err },
	} {
		if err := view(); err != nil && !errors.Is(err, ErrOtherKind) {
			checkError(t, err)
		}
	}
	x.MaildirState()
	x.BoxName()
}
