package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// database makes a real one with some pages.
func database(t testing.TB, o *bolt.Options) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return b.Put(fmt.Appendf(nil, "k%d", n), bytes.Repeat([]byte("v"), 9000))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(b []byte) error { return Check(bytes.NewReader(b), int64(len(b))) }

func TestCheck(t *testing.T) {
	for _, size := range []int{0, 1024, 1 << 16} {
		b := database(t, &bolt.Options{PageSize: size})
		if err := check(b); err != nil {
			t.Errorf("page size %d: %v", size, err)
		}
		m, err := newest(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		broken := func(at int, with ...byte) []byte {
			c := bytes.Clone(b)
			copy(c[at:], with)
			return c
		}
		list := int(m.freelist * m.pageSize)
		if err := check(broken(0, make([]byte, pageHeader+metaSize)...)); err != nil {
			t.Errorf("page size %d, one meta page: %v", size, err)
		}
		for name, c := range map[string][]byte{
			"empty":           nil,
			"cut":             b[:int(m.high*m.pageSize)-1],
			"no meta page":    broken(0, make([]byte, 2*m.pageSize)...),
			"list of another": broken(list, 0xff),
			"list flag":       broken(list+8, 0x02),
			"list too long":   broken(list+10, 0xfe, 0xff),
			"list overflow":   broken(list+12, 0xff, 0xff, 0xff, 0xff),
		} {
			if err := check(c); !errors.Is(err, ErrDamaged) {
				t.Errorf("page size %d, %s: %v, want ErrDamaged", size, name, err)
			}
		}
	}
	if err := check(database(t, &bolt.Options{NoFreelistSync: true})); !errors.Is(err, ErrDamaged) {
		t.Errorf("without a list of free pages: %v, want ErrDamaged", err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(database(f, &bolt.Options{PageSize: 1024}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := check(b); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, io.EOF) {
			t.Errorf("an untyped error: %v", err)
		}
	})
}
