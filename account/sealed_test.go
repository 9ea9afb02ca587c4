package account

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcrypt/sealedcache"
)

const secretText = "Subject: marzipan\r\n\r\nnougat\r\n"

// cacheFiles are the sealed caches of a user, with what is in them.
func cacheFiles(t *testing.T, w *world, user string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, user, "Maildir", "mailcryptd.*.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, n := range names {
		if files[n], err = os.ReadFile(n); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestSealedCache: what is learned at delivery and by reading serves every login that can read
// the mail, over a restart too, and no other; the file is nobody's only copy of anything.
func TestSealedCache(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db", time.Minute)
	d := defaults(w.dir, "bolt:~/keys.db")
	d.SealedCache = 1 << 20
	w.SetDefaults(d)
	u := user("alice")
	w.login(t, u, "pw").Close()
	for range 3 {
		if err := w.deliver(t, u, secretText); err != nil {
			t.Fatal(err)
		}
	}
	l := w.login(t, u, "pw")
	m := open(t, l, "INBOX")
	for _, text := range texts(t, m) {
		if text != secretText {
			t.Fatalf("read %q", text)
		}
	}
	msg, err := m.Read(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Recall(nil, sealedcache.Envelope, 1); ok {
		t.Error("something is known that nobody has learned")
	}
	m.Learn(msg, sealedcache.Envelope, []byte("marzipan"))
	msg.Close()
	for _, c := range []struct {
		password, want string
	}{{"pw", "has marzipan"}, {"wrong", "has "}} {
		l := w.login(t, u, c.password)
		m := open(t, l, "INBOX")
		if got, ok := m.Recall([]byte("has "), sealedcache.Envelope, 1); string(got) != c.want || ok != (c.password == "pw") {
			t.Errorf("a login by %q recalled %q", c.password, got)
		}
		m.Close()
		l.Close()
	}
	if got, ok := m.Recall(nil, sealedcache.Envelope, 1); !ok || string(got) != "marzipan" {
		t.Errorf("recalled %q", got)
	}
	if err := l.Create(context.Background(), "Old"); err != nil {
		t.Fatal(err)
	}
	old := open(t, l, "Old")
	save(t, old, secretText)
	old.Close()
	if n := len(cacheFiles(t, w, "alice")); n != 2 {
		t.Errorf("%d caches for two folders", n)
	}
	if err := l.Delete(context.Background(), "Old"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	l.Close()

	files := cacheFiles(t, w, "alice")
	if len(files) != 1 {
		t.Errorf("%d caches for one folder", len(files))
	}
	for name, text := range files {
		if len(text) < 300 || bytes.Contains(text, []byte("marzipan")) {
			t.Errorf("%s has %d bytes, or tells", name, len(text))
		}
	}
	again := newWorld(t, "bolt:~/keys.db", time.Minute) // as after a restart
	if err := w.Registry.Close(); err != nil {
		t.Fatal(err)
	}
	again.dir = w.dir
	again.SetDefaults(d)
	for _, spoil := range []func(string){
		func(string) {},
		func(name string) { os.Truncate(name, 100) },
		func(name string) { os.WriteFile(name, []byte(strings.Repeat("x", 1000)), 0o600) },
		func(name string) { os.Remove(name) },
	} {
		for name := range files {
			spoil(name)
		}
		l := again.login(t, u, "pw")
		m := open(t, l, "INBOX")
		for _, text := range texts(t, m) {
			if text != secretText {
				t.Errorf("read %q", text)
			}
		}
		m.Close()
		l.Close()
	}
}
