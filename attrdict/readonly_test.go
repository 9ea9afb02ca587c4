package attrdict

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	for _, uri := range []string{"file:~/attributes", "bolt:~/keys.db"} {
		d, err := Open(uri, dir)
		if err != nil {
			t.Fatal(err)
		}
		setAll(t, d, map[string]string{"priv/a": "1"})
		d.Close()
		path := filepath.Join(dir, uri[len("file:~/"):])
		byURI, err := Options{ReadOnly: true}.Open(uri, dir)
		if err != nil {
			t.Fatal(err)
		}
		byPath, err := OpenReadOnly(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []Dict{byURI, byPath} {
			if got := contentsOf(t, d); len(got) != 1 || got["priv/a"] != "1" {
				t.Errorf("%s: %q", uri, got)
			}
			if err := d.Update(t.Context(), func(tx Tx) error { return tx.Unset("priv/a") }); !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: an update: %v", uri, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := OpenReadOnly(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	nothing := ReadOnly(nil)
	if got := contentsOf(t, nothing); len(got) != 0 {
		t.Errorf("nothing holds %q", got)
	}
	if err := nothing.View(t.Context(), func(r Reader) error { _, err := r.Get("x"); return err }); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing: %v", err)
	}
}

// TestRehearsal says what Transfer would do, and leaves no trace.
func TestRehearsal(t *testing.T) {
	dir := t.TempDir()
	for _, way := range [][2]string{{"file:~/attributes", "bolt:~/new/keys.db"}, {"bolt:~/a.db", "file:~/new/attributes"}} {
		src, err := Open(way[0], dir)
		if err != nil {
			t.Fatal(err)
		}
		setAll(t, src, map[string]string{"priv/a": "1", "priv/b": "2"})
		src.Close()
		dry := TransferOptions{DryRun: true}
		if got, err := TransferURI(t.Context(), way[1], way[0], dir, dry); err != nil || got != (Transferred{Copied: 2}) {
			t.Errorf("%v: %+v, %v", way, got, err)
		}
		if _, err := os.Stat(dir + "/new"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: a dry run left something: %v", way, err)
		}
		if _, err := TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := TransferURI(t.Context(), way[1], way[0], dir, dry); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("%v: a target that is not empty: %v", way, err)
		}
		if got, err := TransferURI(t.Context(), way[1], way[0], dir, TransferOptions{DryRun: true, Merge: true}); err != nil || got != (Transferred{Same: 2}) {
			t.Errorf("%v: it compares as %+v, %v", way, got, err)
		}
		if err := os.RemoveAll(dir + "/new"); err != nil {
			t.Fatal(err)
		}
	}
}
