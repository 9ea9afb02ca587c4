package inspect

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/teststore"
)

func look(t testing.TB, path string, o Options) (*Info, string) {
	t.Helper()
	info, err := File(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := info.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(info); err != nil {
		t.Fatal(err)
	}
	return info, text.String()
}

// TestStores looks at every file of stores that Dovecot wrote.
func TestStores(t *testing.T) {
	kinds := map[Kind]int{}
	for _, name := range []string{"maildir-v2-p256-password", "mdbox-v2-zlib-zstd", "maildir-v1-old-keys-p521", "maildir-v2-global-rsa2048"} {
		dir := t.TempDir()
		teststore.Unpack(t, filepath.Join("../testdata/vectors", name, "store.tar.gz"), dir)
		files, err := filepath.Glob(dir + "/*/*box/storage/m.*")
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range []string{"/*/Maildir/cur/*", "/*/*/dovecot-attributes", "/*/Maildir/dovecot-uidlist"} {
			more, _ := filepath.Glob(dir + pattern)
			files = append(files, more...)
		}
		for _, path := range files {
			info, text := look(t, path, Options{})
			kinds[info.Kind]++
			if info.Error != "" || info.Stream != nil && (info.Stream.Error != "" || len(info.Stream.Recipients) != 1) {
				t.Errorf("%s: %s", path, text)
			}
			if info.Dict != nil {
				for _, a := range info.Dict.Attributes {
					if a.Error != "" || strings.HasSuffix(a.Kind, "-private") != (a.Key != nil && a.Key.Private) || a.Kind == "other" {
						t.Errorf("%+v, %+v", a, a.Key)
					}
				}
			}
		}
		if strings.HasPrefix(name, "mdbox") {
			info, _ := look(t, files[0], Options{})
			if len(info.Mdbox.Messages) == 0 || info.Mdbox.Messages[0].Stream == nil {
				t.Errorf("%+v", info.Mdbox)
			}
		}
	}
	for _, kind := range []Kind{Message, FileDict, UIDList, Mdbox} {
		if kinds[kind] == 0 {
			t.Errorf("nothing is a %s: %v", kind, kinds)
		}
	}
}

func TestKinds(t *testing.T) {
	dir := t.TempDir()
	k, err := dcrypt.GenerateKey(dcrypt.X25519)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := dcrypt.SealPassword(k, []byte("pw"), dcrypt.SealOptions{Rounds: 7})
	if err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	w, err := dcrypt.NewWriter(&stored, k.Public(), dcrypt.WriterOptions{})
	if err == nil {
		_, err = w.Write([]byte("\x1f\x8b the secret text"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id := k.ID().String()
	for name, tt := range map[string]struct {
		b    []byte
		kind Kind
		want string
	}{
		"public":    {[]byte(k.Public().Text() + "\n"), Key, "public key, form v2, X25519\n  id " + id},
		"pem":       {k.PEM(), Key, "private key, form pem, X25519, in clear\n  id " + id},
		"sealed":    {sealed, Key, "private key, form v2, sealed by a password (aes-256-ctr, sha512, 7 rounds)\n  id " + id},
		"message":   {stored.Bytes(), Message, "version 2, aes-256-gcm, digest sha256, integrity aead, 1 rounds"},
		"cut":       {stored.Bytes()[:30], Message, "problem: "},
		"empty":     {nil, Empty, "empty, 0 bytes"},
		"plain":     {[]byte("Subject: x\n\ny"), Plain, "plain, 13 bytes"},
		"gzip":      {[]byte("\x1f\x8b\x08"), Plain, "compressed (gz)"},
		"bad mdbox": {[]byte("2 M1e C1\nxx"), Mdbox, "problem: "},
		"uidlist":   {[]byte("3 V5 N9 Gb8b22e0cf82a026bbb180000307c8f6c\n8 :x\n"), UIDList, "UIDVALIDITY 5, next UID 9, GUID b8b22e0cf82a026bbb180000307c8f6c\n  1 messages, UID 8 to 8"},
	} {
		info, text := look(t, write(name, tt.b), Options{})
		if info.Kind != tt.kind || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s", name, text)
		}
	}
	info, text := look(t, filepath.Join(dir, "message"), Options{Keys: dcrypt.KeyList{k}})
	if info.Stream.Decrypted == nil || info.Stream.Decrypted.Compression != "gz" || strings.Contains(text, "secret text") {
		t.Errorf("%s", text)
	}
	d, err := attrdict.OpenBolt(dir+"/keys.db", attrdict.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const guid = "b8b22e0cf82a026bbb180000307c8f6c"
	err = d.Update(t.Context(), func(tx attrdict.Tx) error {
		for name, value := range map[string]string{
			"priv/" + guid + "/vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/crypt/privkeys/" + id: string(k.Text()),
			"shared/" + guid + "/vendor/vendor.dovecot/pvt/crypt/active":                                        id,
			"priv/" + guid + "/comment": "a remark",
			"odd\x1b[2J":                "x",
		} {
			if err := tx.Set(name, []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	info, text = look(t, dir+"/keys.db", Options{})
	if info.Kind != BoltDict || info.Dict.Counts["user-private"] != 1 || info.Dict.Counts["folder-active"] != 1 || info.Dict.Counts["metadata"] != 1 || info.Dict.Counts["other"] != 1 {
		t.Errorf("%+v\n%s", info.Dict, text)
	}
	if strings.Contains(text, "remark") || strings.Contains(text, "\x1b") || strings.Contains(text, string(k.Text())) {
		t.Errorf("values are shown: %s", text)
	}
	if _, err := File(t.Context(), dir, Options{}); err == nil {
		t.Error("a directory was looked at")
	}
}

func FuzzFile(f *testing.F) {
	f.Add("x", []byte("CRYPTED\x03\x07\x02"))
	f.Add("dovecot-uidlist", []byte("3 V5 N9\n8 :x\n"))
	f.Add("m.1", []byte("2 M1e C6b0219b9\n\x01\x02N          0000000000000003\nabc\n\x01\x03\nGx\n\n"))
	f.Add("a", []byte("priv/x\nvalue\n"))
	f.Add("k", []byte("2:1.2:0:00:ab"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if name != "dovecot-uidlist" {
			name = "file"
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, text := look(t, path, Options{})
		for _, c := range text {
			if c < ' ' && c != '\n' || c == 0x7f {
				t.Fatalf("%q", text)
			}
		}
	})
}
