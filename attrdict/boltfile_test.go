package attrdict

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCreateBolt makes databases in both ways. Neither replaces one that is there, and
// neither leaves another name.
func TestCreateBolt(t *testing.T) {
	for name, create := range map[string]func(string, time.Duration) error{"unnamed": createUnnamed, "named": createNamed} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "keys.db")
			err := create(path, time.Second)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip("not on this file system: ", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			d, err := OpenBolt(path, BoltOptions{})
			if err != nil {
				t.Fatal(err)
			}
			err = d.Update(context.Background(), func(tx Tx) error { return tx.Set("priv/kept", []byte("1")) })
			if err := errors.Join(err, d.Close()); err != nil {
				t.Fatal(err)
			}
			if err := create(path, time.Second); !errors.Is(err, os.ErrExist) {
				t.Errorf("made anew over one that is there: %v", err)
			}
			if d, err = OpenBolt(path, BoltOptions{}); err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			err = d.View(context.Background(), func(r Reader) error {
				_, err := r.Get("priv/kept")
				return err
			})
			if err != nil {
				t.Error(err)
			}
			list, err := os.ReadDir(dir)
			if err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
			if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
				t.Errorf("%v, %v", fi.Mode(), err)
			}
		})
	}
}
