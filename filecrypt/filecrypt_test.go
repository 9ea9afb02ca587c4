package filecrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
)

func newKey(t *testing.T, c dcrypt.Curve) *dcrypt.PrivateKey {
	t.Helper()
	k, err := dcrypt.GenerateKey(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encrypt(t *testing.T, text []byte, k *dcrypt.PrivateKey, o EncryptOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	e, err := Encrypt(bytes.NewReader(text), &out, k.Public(), o)
	if err != nil {
		t.Fatal(err)
	}
	virtual := int64(len(text) + bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte("\r\n")))
	if e.Physical != int64(len(text)) || e.Virtual != virtual || e.Stored != int64(out.Len()) {
		t.Errorf("%+v for %d bytes", e, len(text))
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	k := newKey(t, dcrypt.Prime256v1)
	keys := dcrypt.KeyList{k}
	for _, size := range []int{1, 17, 5000, 3 << 20} {
		text := bytes.Repeat([]byte("a line\nof mail\r\n"), size/16+1)[:size]
		for _, o := range []EncryptOptions{{}, {Compression: compress.Gzip}, {Compression: compress.LZ4}, {Stream: dcrypt.WriterOptions{Cipher: "aes-128-cbc", Digest: "sha512"}}} {
			stored := encrypt(t, text, k, o)
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, stored, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			for name, in := range map[string]io.Reader{"file": f, "pipe": onlyReader{bytes.NewReader(stored)}} {
				var out bytes.Buffer
				d, err := Decrypt(in, &out, DecryptOptions{Keys: keys, Decompress: true})
				if err != nil || !bytes.Equal(out.Bytes(), text) || !d.Verified || d.Compression != o.Compression || d.Size != int64(size) {
					t.Errorf("%s of %d bytes, %+v: %d bytes, %+v, %v", name, size, o, out.Len(), d, err)
				}
			}
			f.Close()
		}
	}
}

// TestNothingUnverified changes every part of a stream: nothing is written.
func TestNothingUnverified(t *testing.T) {
	k := newKey(t, dcrypt.X25519)
	for _, size := range []int{100, 2 << 20} {
		text := bytes.Repeat([]byte("x"), size)
		stored := encrypt(t, text, k, EncryptOptions{Compression: compress.Zstd})
		for at := range 40 {
			damaged := bytes.Clone(stored)
			damaged[len(damaged)-1-at*(len(damaged)-20)/40] ^= 1
			var out bytes.Buffer
			if _, err := Decrypt(bytes.NewReader(damaged), &out, DecryptOptions{Keys: dcrypt.KeyList{k}, Decompress: true}); err == nil && !bytes.Equal(out.Bytes(), text) || err != nil && out.Len() > 0 { // not all of a header matters
				t.Errorf("damage at %d: %d bytes, %v", at, out.Len(), err)
			}
		}
		var out bytes.Buffer
		if _, err := Decrypt(bytes.NewReader(stored[:len(stored)-1]), &out, DecryptOptions{Keys: dcrypt.KeyList{k}}); err == nil || out.Len() > 0 {
			t.Errorf("a cut stream: %d bytes, %v", out.Len(), err)
		}
	}
	// A tag that is right around compressed data that is not: nothing either.
	bad := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}, bytes.Repeat([]byte("x"), 100)...)
	var out bytes.Buffer
	if _, err := Decrypt(bytes.NewReader(encrypt(t, bad, k, EncryptOptions{})), &out, DecryptOptions{Keys: dcrypt.KeyList{k}, Decompress: true}); !errors.Is(err, compress.ErrCorrupt) || out.Len() > 0 {
		t.Errorf("bad gzip: %d bytes, %v", out.Len(), err)
	}
	bomb := encrypt(t, make([]byte, 1<<20), k, EncryptOptions{Compression: compress.Gzip})
	if _, err := Decrypt(bytes.NewReader(bomb), &out, DecryptOptions{Keys: dcrypt.KeyList{k}, Decompress: true, Limit: 1000}); !errors.Is(err, compress.ErrTooLarge) || out.Len() > 0 {
		t.Errorf("a bomb: %d bytes, %v", out.Len(), err)
	}
}

func TestRefusals(t *testing.T) {
	k, other := newKey(t, dcrypt.Prime256v1), newKey(t, dcrypt.Prime256v1)
	v1 := encrypt(t, []byte("text of a mail"), k, EncryptOptions{Stream: dcrypt.WriterOptions{Version: 1}})
	var out bytes.Buffer
	if _, err := Decrypt(bytes.NewReader(v1), &out, DecryptOptions{Keys: dcrypt.KeyList{k}}); !errors.Is(err, ErrNoIntegrity) || out.Len() > 0 {
		t.Errorf("version 1: %v", err)
	}
	if d, err := Decrypt(bytes.NewReader(v1), &out, DecryptOptions{Keys: dcrypt.KeyList{k}, AllowUnverified: true}); err != nil || d.Verified || out.String() != "text of a mail" {
		t.Errorf("version 1, allowed: %+v, %v", d, err)
	}
	out.Reset()
	for name, tt := range map[string]struct {
		in   io.Reader
		keys dcrypt.KeyFinder
		want error
	}{
		"plain":     {strings.NewReader("Subject: x"), dcrypt.KeyList{k}, ErrNotEncrypted},
		"empty":     {strings.NewReader(""), dcrypt.KeyList{k}, ErrNotEncrypted},
		"no keys":   {bytes.NewReader(encrypt(t, []byte("x"), k, EncryptOptions{})), nil, dcrypt.ErrNoKey},
		"wrong key": {bytes.NewReader(encrypt(t, []byte("x"), k, EncryptOptions{})), dcrypt.KeyList{other}, dcrypt.ErrNoKey},
		"pipe":      {io.LimitReader(zeros{}, maxPipe+1), dcrypt.KeyList{k}, ErrPipe},
	} {
		if _, err := Decrypt(tt.in, &out, DecryptOptions{Keys: tt.keys}); !errors.Is(err, tt.want) || out.Len() > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "out")
	fail := errors.New("no")
	if err := WriteNew(path, func(w io.Writer) error { io.WriteString(w, "x"); return fail }); !errors.Is(err, fail) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is left: %v", err)
	}
	for _, want := range []error{nil, os.ErrExist} {
		if err := WriteNew(path, func(w io.Writer) error { return nil }); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestKeys reads keys in the forms in which they lie in files.
func TestKeys(t *testing.T) {
	k := newKey(t, dcrypt.Secp384r1)
	sealed, err := dcrypt.SealPassword(k, []byte("pw"), dcrypt.SealOptions{Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{k.PEM(), k.Text(), append(k.Text(), '\n'), append(k.Text(), "\r\n"...)} {
		if got, err := PrivateKey(text, nil); err != nil || got.ID() != k.ID() {
			t.Errorf("%v", err)
		}
	}
	if got, err := PrivateKey(append(sealed, '\n'), []byte("pw")); err != nil || got.ID() != k.ID() {
		t.Error(err)
	}
	if _, err := PrivateKey(sealed, nil); !errors.Is(err, dcrypt.ErrPasswordRequired) {
		t.Error(err)
	}
	if _, err := PrivateKey(sealed, []byte("other")); !errors.Is(err, dcrypt.ErrPassword) {
		t.Error(err)
	}
	for _, text := range []string{k.Public().Text(), k.Public().Text() + "\n", string(k.Public().PEM())} {
		if got, err := PublicKey([]byte(text)); err != nil || got.ID() != k.Public().ID() {
			t.Error(err)
		}
	}
}

// TestDovecot puts files of ours into a Maildir, where Dovecot reads them with a global key.
func TestDovecot(t *testing.T) {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("doveadm is not installed")
	}
	modules, _ := filepath.Glob("/usr/lib/dovecot/modules/lib10_mail_crypt_plugin.so")
	if len(modules) == 0 {
		t.Skip("Dovecot's mail-crypt plugin is not installed")
	}
	dir, err := os.MkdirTemp("", "filecrypt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := newKey(t, dcrypt.Prime256v1)
	uid, gid, attr := os.Getuid(), os.Getgid(), &syscall.SysProcAttr{}
	if uid == 0 {
		uid, gid = 65534, 65534
		attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	write := func(name string, b []byte) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("private.pem", k.PEM())
	write("public.pem", k.Public().PEM())
	var want []string
	for i, o := range []EncryptOptions{{}, {Compression: compress.Zstd}, {Compression: compress.Gzip, Stream: dcrypt.WriterOptions{Cipher: "aes-256-cbc"}}, {Stream: dcrypt.WriterOptions{Version: 1}}} {
		text := fmt.Appendf(nil, "Subject: number %d\n\nbody %d\n%s", i, i, strings.Repeat("line\n", 3000*i))
		var stored bytes.Buffer
		e, err := Encrypt(bytes.NewReader(text), &stored, k.Public(), o)
		if err != nil {
			t.Fatal(err)
		}
		write(fmt.Sprintf("Maildir/cur/%d.M%d.host,S=%d,W=%d:2,", 1600000000+i, i, e.Physical, e.Virtual), stored.Bytes())
		want = append(want, string(text))
	}
	write("dovecot.conf", fmt.Appendf(nil, `base_dir = %[1]s/run
log_path = /dev/stderr
ssl = no
mail_uid = %[2]d
mail_gid = %[3]d
first_valid_uid = 1
first_valid_gid = 0
mail_home = %[1]s
mail_location = maildir:~/Maildir
mail_plugins = mail_crypt zlib
namespace inbox {
  inbox = yes
}
plugin {
  mail_crypt_save_version = 2
  mail_crypt_global_public_key = <%[1]s/public.pem
  mail_crypt_global_private_key = <%[1]s/private.pem
}
`, dir, uid, gid))
	if err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error { return errors.Join(err, os.Lchown(p, uid, gid)) }); err != nil {
		t.Fatal(err)
	}
	for i, text := range want {
		cmd := exec.CommandContext(t.Context(), "doveadm", "-c", dir+"/dovecot.conf", "fetch", "text", "uid", fmt.Sprint(i+1))
		cmd.SysProcAttr, cmd.Env = attr, []string{"USER=user", "HOME=" + dir, "PATH=/usr/bin:/bin"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		got, err := cmd.Output()
		if _, body, ok := strings.Cut(string(got), "text:\n"); err != nil || !ok || strings.TrimRight(strings.ReplaceAll(body, "\r\n", "\n"), "\n\f") != strings.TrimRight(text, "\n") {
			t.Errorf("message %d: %d bytes, %v: %s", i+1, len(got), err, &stderr)
		}
	}
	// And the other way: what Dovecot has saved.
	cmd := exec.CommandContext(t.Context(), "doveadm", "-c", dir+"/dovecot.conf", "save")
	cmd.Env = []string{"USER=user", "HOME=" + dir, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr, cmd.Stdin = attr, strings.NewReader("Subject: saved\n\nby Dovecot\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	saved, _ := filepath.Glob(dir + "/Maildir/new/*")
	if len(saved) != 1 {
		t.Fatalf("saved: %q", saved)
	}
	f, err := os.Open(saved[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	if _, err := Decrypt(f, &out, DecryptOptions{Keys: dcrypt.KeyList{k}}); err != nil || !strings.HasSuffix(out.String(), "by Dovecot\n") {
		t.Errorf("%q, %v", &out, err)
	}
}
