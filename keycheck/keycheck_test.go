package keycheck

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/secret"
	"mailcrypt/internal/teststore"
	"mailcrypt/keys"
	"mailcrypt/storage/maildir"
)

type vector struct {
	Driver     string `json:"driver"`
	Location   string `json:"mail_location"`
	Attributes string `json:"attributes_file"`
	Users      []struct {
		UserDB    map[string]string `json:"userdb"`
		Home      string            `json:"home"`
		Mailboxes []struct {
			Messages []struct {
				Stored string `json:"stored"`
			} `json:"messages"`
		} `json:"mailboxes"`
		Keys []struct {
			Kind string `json:"kind"`
			PEM  string `json:"pem"`
		} `json:"exported_keys"`
	} `json:"users"`
}

func open(t *testing.T, name string) (c vector, dir string) {
	t.Helper()
	js, err := os.ReadFile(filepath.Join("../testdata/vectors", name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(js, &c); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	teststore.Unpack(t, filepath.Join("../testdata/vectors", name, "store.tar.gz"), dir)
	return c, dir
}

// snapshot is every file of a tree with its time and size.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		all[path] = fi.ModTime().String() + fi.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func check(t *testing.T, dir string, o BackupOptions) map[string]Home {
	t.Helper()
	homes := map[string]Home{}
	before := snapshot(t, dir)
	err := CheckBackup(t.Context(), dir, o, func(h Home) error {
		homes[filepath.Base(h.Path)] = h
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("the tree has changed: %v", after)
	}
	return homes
}

// TestVectors checks the stores that Dovecot wrote: with their secrets every key opens, and
// without none is missed.
func TestVectors(t *testing.T) {
	for _, name := range []string{"maildir-v2-p256-password", "maildir-v2-p521-none", "maildir-v2-userkey-rotated",
		"maildir-v2-password-changed", "maildir-v1-old-keys-p521", "maildir-v0-mixed", "maildir-v2-private-key-p256", "maildir-v2-global-rotated",
		"mdbox-v2-p521-password", "mdbox-v2-zlib-zstd", "mdbox-v1-global-p256", "sdbox-v2-p256-none", "sdbox-v2-p384-password"} {
		t.Run(name, func(t *testing.T) {
			c, dir := open(t, name)
			secrets := func(home string) (s Secrets, err error) {
				for _, u := range c.Users {
					if u.Home != filepath.Base(home) {
						continue
					}
					if pw, ok := u.UserDB["mail_crypt_private_password"]; ok {
						s.Passwords = []keys.Secret{keys.NewSecret([]byte(pw))}
					}
					for _, k := range u.Keys {
						if k.Kind != "global" {
							continue
						}
						key, err := dcrypt.ParsePrivateKey([]byte(k.PEM), dcrypt.Opener{})
						if err != nil {
							return s, err
						}
						s.Global = append(s.Global, key)
					}
				}
				for _, path := range []string{"env.key.pem"} {
					if text, err := os.ReadFile(filepath.Join("../testdata/vectors", name, "keys", path)); err == nil {
						key, err := dcrypt.ParsePrivateKey(text, dcrypt.Opener{Password: secret.Bytes{}})
						if err != nil {
							return s, err
						}
						s.SealKeys = append(s.SealKeys, key)
					}
				}
				return s, nil
			}
			with, without := check(t, dir, BackupOptions{Secrets: secrets}), check(t, dir, BackupOptions{})
			for _, u := range c.Users {
				h := with[u.Home]
				if h.Err != nil || h.Report == nil {
					t.Fatalf("%s: %v", u.Home, h.Err)
				}
				encrypted := 0
				for _, b := range u.Mailboxes {
					for _, m := range b.Messages {
						if strings.HasPrefix(m.Stored, "crypt") {
							encrypted++
						}
					}
				}
				if h.Report.Encrypted != encrypted || h.Report.Count(Opens) != encrypted || h.Report.Lost() {
					t.Errorf("%s: %d of %d messages, %d open; %+v", u.Home, h.Report.Encrypted, encrypted, h.Report.Count(Opens), h.Report.Results)
				}
				blind := without[u.Home].Report
				if n := blind.Count(Opens, Sealed); n != encrypted && len(u.Keys) > 0 && u.Keys[0].Kind != "global" && !strings.Contains(name, "global") {
					t.Errorf("%s without secrets: %d of %d; %+v", u.Home, n, encrypted, blind.Results)
				}
			}
		})
	}
}

// TestLosses takes away what a backup may lack.
func TestLosses(t *testing.T) {
	const name = "maildir-v2-p256-password"
	c, dir := open(t, name)
	home := filepath.Join(dir, c.Users[0].Home)
	path := filepath.Join(home, c.Attributes)
	secrets := func(string) (Secrets, error) {
		return Secrets{Passwords: []keys.Secret{keys.NewSecret([]byte("Tangerine-41"))}}, nil
	}
	all := check(t, dir, BackupOptions{Secrets: secrets})[c.Users[0].Home].Report
	if all.Encrypted == 0 || all.Opened == 0 {
		t.Fatalf("%+v", all)
	}
	edit := func(keep func(key string) bool, change func([]byte) []byte) {
		t.Helper()
		d, err := attrdict.OpenFile(path, attrdict.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		err = d.Update(t.Context(), func(tx attrdict.Tx) error {
			return tx.Iterate("priv/", func(key string, value []byte) error {
				if !keep(key) {
					return tx.Unset(key)
				}
				return tx.Set(key, change(value))
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(b []byte) []byte { return b }
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	user := func(key string) bool { return strings.Contains(key, "/pvt/server/") }
	for _, tt := range []struct {
		name   string
		damage func()
		o      BackupOptions
		want   State
		lost   bool
	}{
		{"wrong password", func() {}, BackupOptions{Secrets: func(string) (Secrets, error) {
			return Secrets{Passwords: []keys.Secret{keys.NewSecret([]byte("x"))}}, nil
		}}, Sealed, false},
		{"no user key", func() { edit(func(k string) bool { return !user(k) }, same) }, BackupOptions{Secrets: secrets}, Orphan, true},
		{"no folder keys", func() { edit(user, same) }, BackupOptions{Secrets: secrets}, Missing, true},
		{"damaged keys", func() {
			edit(func(string) bool { return true }, func(b []byte) []byte { return []byte("2:xx") })
		}, BackupOptions{Secrets: secrets}, Damaged, true},
		{"no dictionary", func() { os.Remove(path) }, BackupOptions{Secrets: secrets}, Missing, true},
	} {
		tt.damage()
		r := check(t, dir, tt.o)[c.Users[0].Home].Report
		if r == nil || r.Count(tt.want) != all.Encrypted || r.Lost() != tt.lost {
			t.Errorf("%s: %+v", tt.name, r)
		}
		restore()
	}
	if err := CheckBackup(t.Context(), t.TempDir(), BackupOptions{}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	// A bbolt dictionary, and one home given itself.
	if _, err := attrdict.TransferURI(t.Context(), "bolt:"+home+"/keys.db", "file:"+path, "", attrdict.TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	h := check(t, home, BackupOptions{Secrets: secrets})[c.Users[0].Home]
	if h.Dict != filepath.Join(home, "keys.db") || h.Report == nil || h.Report.Count(Opens) != all.Encrypted {
		t.Errorf("bbolt: %+v", h)
	}
}

// TestHierarchy comes to the same of a live user.
func TestHierarchy(t *testing.T) {
	c, dir := open(t, "maildir-v2-p256-password")
	home := filepath.Join(dir, c.Users[0].Home)
	l, err := maildir.ParseLocation(c.Location, home)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := FromTree(t.Context(), home, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := maildir.Open(l, maildir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	live, err := FromHierarchy(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if live.Encrypted != tree.Encrypted || live.Plain != tree.Plain || len(live.Keys) != len(tree.Keys) || live.Inbox != tree.Inbox {
		t.Errorf("live %+v\ntree %+v", live, tree)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := FromTree(ctx, home, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
