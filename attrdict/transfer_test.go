package attrdict

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
)

func contentsOf(t *testing.T, d Dict) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := d.View(t.Context(), func(r Reader) error {
		return r.Iterate("", func(key string, value []byte) error {
			all[key] = string(value)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func setAll(t *testing.T, d Dict, pairs map[string]string) {
	t.Helper()
	err := d.Update(t.Context(), func(tx Tx) error {
		for key, value := range pairs {
			if err := tx.Set(key, []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTransfer(t *testing.T) {
	dir := t.TempDir()
	pairs := map[string]string{"priv/a": "1\n\x00\x01\t\r", "shared/b": "", "shared/c/\x01": "x"}
	file, err := Open("file:"+dir+"/attributes", "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	setAll(t, file, pairs)
	before, err := os.ReadFile(dir + "/attributes")
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range [][2]string{{"file:~/attributes", "bolt:~/keys.db"}, {"bolt:~/keys.db", "file:~/back"}, {"file:~/back", "file:~/again:lock=flock"}} {
		got, err := TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{})
		if err != nil || got != (Transferred{Copied: 3}) {
			t.Fatalf("%v: %+v, %v", way, got, err)
		}
		if _, err := TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{}); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("%v: a target that is not empty: %v", way, err)
		}
		got, err = TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{Merge: true})
		if err != nil || got != (Transferred{Same: 3}) {
			t.Errorf("%v again: %+v, %v", way, got, err)
		}
	}
	back, err := Open("file:~/back", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got := contentsOf(t, back); !reflect.DeepEqual(got, pairs) {
		t.Errorf("there and back: %q", got)
	}
	if after, err := os.ReadFile(dir + "/attributes"); err != nil || string(after) != string(before) {
		t.Errorf("the source has changed: %q, %v", after, err)
	}
	setAll(t, back, map[string]string{"shared/b": "other", "priv/a": "other", "more": "x"})
	_, err = Transfer(t.Context(), back, file, TransferOptions{Merge: true})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, ErrChanged) || !slices.Equal(conflict.Keys, []string{"priv/a", "shared/b"}) {
		t.Errorf("conflicts: %v", err)
	}
	if got := contentsOf(t, back); got["priv/a"] != "other" || len(got) != 4 {
		t.Errorf("a copy with conflicts has changed the target: %q", got)
	}
	for _, way := range [][2]string{{"file:~/none", "bolt:~/new.db"}, {"file:~/back", "file:~/back:lock=fcntl"}, {"bolt:~/keys.db", "bolt:~/./keys.db"}} {
		if _, err := TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{}); err == nil {
			t.Errorf("%v was copied", way)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a target was made for a source that does not exist: %v", err)
	}
}

// TestTransferLocks has somebody else write while copies are made: no copy is torn between
// two of the writer's transactions.
func TestTransferLocks(t *testing.T) {
	dir := t.TempDir()
	src, err := Open("file:~/a", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	other, err := Open("file:~/a", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = other.Update(ctx, func(tx Tx) error {
				v := fmt.Append(nil, i)
				return errors.Join(tx.Set("x", v), tx.Set("y", v))
			})
		}
	})
	for i := range 20 {
		dst, err := Open(fmt.Sprintf("bolt:~/%d.db", i), dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Transfer(t.Context(), dst, src, TransferOptions{}); err != nil {
			t.Error(err)
		}
		if got := contentsOf(t, dst); got["x"] != got["y"] {
			t.Errorf("torn: %q", got)
		}
		dst.Close()
	}
	stop()
	wg.Wait()
}

// TestTransferDovecot copies keys that Dovecot has made to bbolt and back, and has Dovecot
// list them from the copy.
func TestTransferDovecot(t *testing.T) {
	d := newDovecot(t, "")
	if out, err := d.run("mailbox", "cryptokey", "generate", "-U"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want, err := d.run("mailbox", "cryptokey", "list", "-U")
	if err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(d.dir, "*", "attr"))
	if direct := filepath.Join(d.dir, "attr"); len(found) == 0 {
		if _, err := os.Stat(direct); err == nil {
			found = []string{direct}
		}
	}
	if len(found) != 1 {
		t.Fatalf("dictionaries: %q", found)
	}
	path := found[0]
	if _, err := TransferURI(t.Context(), "bolt:"+d.dir+"/keys.db", "file:"+path, "", TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if _, err := TransferURI(t.Context(), "file:"+path, "bolt:"+d.dir+"/keys.db", "", TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if d.attr != nil {
		if err := os.Chown(path, int(d.attr.Credential.Uid), int(d.attr.Credential.Gid)); err != nil {
			t.Fatal(err, fi.Mode())
		}
	}
	if got, err := d.run("mailbox", "cryptokey", "list", "-U"); err != nil || got != want {
		t.Errorf("Dovecot lists %q, %v; before %q", got, err, want)
	}
}
