package account

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/userdb"
)

// A world is a registry over a directory of homes.
type world struct {
	*Registry
	dir string
}

// newWorld makes one with seals that cost nothing; keys lie in the URI's dictionary.
func newWorld(t testing.TB, dict string, idle time.Duration) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{dir: dir}
	w.Registry = NewRegistry(Options{Idle: idle, Defaults: defaults(dir, dict)})
	t.Cleanup(func() {
		if err := w.Registry.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func defaults(dir, dict string) Defaults {
	return Defaults{
		MailHome: dir + "/%u", MailLocation: "maildir:~/Maildir", AttributeDict: dict,
		Crypt: map[string]string{"curve": "prime256v1", "private_password": "%{password}", "seal_rounds": "1", "save_version": "2"},
	}
}

// user makes a user from fields such as "mail_crypt_save_version=0".
func user(name string, fields ...string) *userdb.User {
	u := &userdb.User{Name: name, UID: -1, GID: -1, Fields: map[string]string{}}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		if k == "home" {
			u.Home = v
			continue
		}
		u.Fields[k] = v
	}
	return u
}

func (w *world) login(t testing.TB, u *userdb.User, password string) *Login {
	t.Helper()
	l, err := w.Login(context.Background(), u, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (w *world) deliver(t testing.TB, u *userdb.User, text string) error {
	t.Helper()
	d, err := w.Deliver(context.Background(), u)
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := d.Append(context.Background(), "INBOX", mailbox.SaveInfo{})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a, text); err != nil {
		return errors.Join(err, a.Abort())
	}
	_, err = a.Commit()
	return err
}

func open(t testing.TB, l *Login, name string) *Mailbox {
	t.Helper()
	m, err := l.Open(context.Background(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func save(t testing.TB, m *Mailbox, text string) mailbox.UID {
	t.Helper()
	a, err := m.Append(context.Background(), mailbox.SaveInfo{NeedUID: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(a, text); err != nil {
		t.Fatal(err)
	}
	uid, err := a.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func read(m *Mailbox, uid mailbox.UID) (string, error) {
	msg, err := m.Read(context.Background(), uid)
	if err != nil {
		return "", err
	}
	defer msg.Close()
	b, err := io.ReadAll(io.NewSectionReader(msg, 0, msg.Size()))
	return string(b), err
}

// texts reads every message of a mailbox.
func texts(t testing.TB, m *Mailbox) []string {
	t.Helper()
	v, err := m.Sync(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, msg := range v.All() {
		text, err := read(m, msg.UID)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	return all
}

// stored are the contents of the files of a folder, by base name.
func stored(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, sub := range []string{"cur", "new"} {
		list, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[p] = string(b)
		}
	}
	return files
}

// noWord looks for a word in every file of a directory.
func noWord(t testing.TB, dir, word string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), word) {
			t.Errorf("%s holds the text in clear", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// entries are the pairs of a user's file dictionary.
func entries(t testing.TB, path string) map[string]string {
	t.Helper()
	d, err := attrdict.OpenFile(path, attrdict.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := map[string]string{}
	if err := d.View(context.Background(), func(r attrdict.Reader) error {
		return r.Iterate("", func(k string, v []byte) error { all[k] = string(v); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func encrypted(text string) bool { return dcrypt.IsEncrypted([]byte(text)) }
