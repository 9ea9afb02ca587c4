package dcrypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/internal/secret"
	"mailcrypt/internal/teststore"
)

// vectorDir holds what real Dovecot wrote.
const vectorDir = "../testdata/vectors"

type vectorKey struct {
	Type           string
	ID             string
	OldID          string `json:"old_id"`
	PublicPEM      string `json:"public_pem"`
	PrivatePEM     string `json:"private_pem"`
	PublicDovecot  string `json:"public_dovecot"`
	PrivateDovecot string `json:"private_dovecot"`
	Encrypted      []struct {
		Cipher         string
		Password       *string
		KeyPEM         string `json:"key_pem"`
		PrivateDovecot string `json:"private_dovecot"`
	}
	PrivatePEMEncrypted *struct{ Password, PEM string } `json:"private_pem_encrypted"`
}

type vectorStream struct {
	Key, Algorithm, Mode string
	Size                 int64
	ReadsIt              bool `json:"dovecot_reads_it"`
	File, SHA256, Error  string
}

type vectorFile struct {
	Keys    []vectorKey
	Streams []vectorStream
}

func loadVectors(t testing.TB) vectorFile {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, "dcrypt", "dcrypt.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) == 0 || len(v.Streams) == 0 {
		t.Fatal("no vectors")
	}
	return v
}

func mustPrivate(t testing.TB, text string, open Opener) *PrivateKey {
	t.Helper()
	k, err := ParsePrivateKey([]byte(text), open)
	if err != nil {
		t.Fatalf("ParsePrivateKey(%.60q): %v", text, err)
	}
	return k
}

func mustPublic(t testing.TB, text string) *PublicKey {
	t.Helper()
	k, err := ParsePublicKey([]byte(text))
	if err != nil {
		t.Fatalf("ParsePublicKey(%.60q): %v", text, err)
	}
	return k
}

func TestVectorKeys(t *testing.T) {
	for _, v := range loadVectors(t).Keys {
		t.Run(v.Type, func(t *testing.T) {
			k := mustPrivate(t, v.PrivatePEM, Opener{})
			if k.ID().String() != v.ID {
				t.Errorf("ID = %s, want %s", k.ID(), v.ID)
			}
			if old, ok := k.OldID(); ok != (v.OldID != "") || ok && old.String() != v.OldID {
				t.Errorf("OldID = %s, %v, want %q", old, ok, v.OldID)
			}
			for _, text := range []string{v.PublicPEM, v.PublicDovecot} {
				if pub := mustPublic(t, text); !pub.Equal(k.Public()) || pub.ID() != k.ID() {
					t.Errorf("public key %.30q is another", text)
				}
			}
			if got := k.Public().Text(); got != v.PublicDovecot {
				t.Errorf("public text\n got %s\nwant %s", got, v.PublicDovecot)
			}
			if got := string(k.Public().PEM()); got != strings.TrimSpace(v.PublicPEM)+"\n" {
				t.Errorf("public PEM\n got %s\nwant %s", got, v.PublicPEM)
			}
			if got := string(k.PEM()); got != strings.TrimSpace(v.PrivatePEM)+"\n" {
				t.Error("private PEM differs from Dovecot's")
			}
			if v.PrivateDovecot != "" {
				if got := string(k.Text()); got != v.PrivateDovecot {
					t.Error("private text differs from Dovecot's")
				}
				if got := mustPrivate(t, v.PrivateDovecot, Opener{}); got.ID() != k.ID() {
					t.Error("private text is another key")
				}
			}
			testVectorSeals(t, v, k)
		})
	}
}

func testVectorSeals(t *testing.T, v vectorKey, k *PrivateKey) {
	for _, e := range v.Encrypted {
		right, wrong, want := Opener{}, Opener{}, ErrPasswordRequired
		if e.Password != nil {
			right.Password = secret.New([]byte(*e.Password))
			wrong.Password = secret.New([]byte(*e.Password + "x"))
		} else {
			right.Keys = KeyList{mustPrivate(t, e.KeyPEM, Opener{})}
			wrong.Keys, want = KeyList{k}, ErrNoKey
		}
		if got := mustPrivate(t, e.PrivateDovecot, right); !got.Public().Equal(k.Public()) {
			t.Errorf("%s: another key", e.Cipher)
		}
		if _, err := ParsePrivateKey([]byte(e.PrivateDovecot), Opener{}); !errors.Is(err, want) {
			t.Errorf("%s, nothing to open it with: %v, want %v", e.Cipher, err, want)
		}
		if e.Password != nil {
			want = ErrPassword
		}
		if _, err := ParsePrivateKey([]byte(e.PrivateDovecot), wrong); !errors.Is(err, want) {
			t.Errorf("%s, wrong secret: %v, want %v", e.Cipher, err, want)
		}
		info, err := Inspect([]byte(e.PrivateDovecot))
		if err != nil || info.Format != FormatV2 || !info.Private || info.ID != v.ID || info.Hash != "sha256" ||
			info.Rounds != 2048 || info.SaltLen != 8 || !strings.HasSuffix(e.Cipher, info.Cipher) {
			t.Errorf("Inspect = %+v, %v", info, err)
		}
	}
	if p := v.PrivatePEMEncrypted; p != nil {
		if got := mustPrivate(t, p.PEM, Opener{Password: secret.New([]byte(p.Password))}); got.ID() != k.ID() {
			t.Error("encrypted PEM is another key")
		}
		if _, err := ParsePrivateKey([]byte(p.PEM), Opener{}); !errors.Is(err, ErrPasswordRequired) {
			t.Errorf("encrypted PEM without a password: %v", err)
		}
		for i := range 300 { // some wrong passwords leave valid padding
			_, err := ParsePrivateKey([]byte(p.PEM), Opener{Password: secret.New([]byte{byte(i), byte(i >> 8)})})
			if !errors.Is(err, ErrPassword) {
				t.Fatalf("encrypted PEM, wrong password %d: %v", i, err)
			}
			if testing.Short() && i > 10 {
				break
			}
		}
	}
}

// readStream opens b and returns the plaintext.
func readStream(b []byte, keys KeyFinder) ([]byte, error) {
	r, err := Open(bytes.NewReader(b), int64(len(b)), keys)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	return plain, errors.Join(err, r.Close())
}

func TestVectorStreams(t *testing.T) {
	v := loadVectors(t)
	keys := KeyList{}
	for _, k := range v.Keys {
		keys = append(keys, mustPrivate(t, k.PrivatePEM, Opener{}))
	}
	n := 0
	for _, s := range v.Streams {
		if s.File == "" || !s.ReadsIt {
			continue
		}
		n++
		b, err := os.ReadFile(filepath.Join(vectorDir, "dcrypt", s.File))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := readStream(b, keys)
		if sum := sha256.Sum256(plain); err != nil || hex.EncodeToString(sum[:]) != s.SHA256 || int64(len(plain)) != s.Size {
			t.Errorf("%s: %d octets, %v", s.File, len(plain), err)
		}
		if _, err := readStream(b, KeyList{}); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s without a key: %v, want ErrNoKey", s.File, err)
		}
	}
	if n < 80 {
		t.Errorf("only %d streams", n)
	}
}

type storeCase struct {
	Users []struct {
		Home         string
		ExportedKeys []struct{ ID, PEM string } `json:"exported_keys"`
		Mailboxes    []struct {
			Messages []storeMessage
		}
	}
}

type storeMessage struct {
	UID          int
	File         string
	Offset       *int64
	Length       int64
	Stored       string
	KeyDigest    string `json:"key_digest"`
	StreamSize   int64  `json:"stream_size"`
	StreamSHA256 string `json:"stream_sha256"`
	Integrity    string
	Damage       json.RawMessage
}

// loadStore reads a case and all files of its tar.
func loadStore(t *testing.T, dir string) (storeCase, map[string][]byte, KeyList) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c storeCase
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	files := teststore.Files(t, filepath.Join(dir, "store.tar.gz"))
	var keys KeyList
	for _, u := range c.Users {
		for _, k := range u.ExportedKeys {
			key := mustPrivate(t, k.PEM, Opener{})
			if key.ID().String() != k.ID {
				t.Errorf("exported key %s has ID %s", k.ID, key.ID())
			}
			keys = append(keys, key)
		}
	}
	return c, files, keys
}

// content returns the stored octets of a message, in a file or a part of one.
func (m storeMessage) content(files map[string][]byte) []byte {
	b := files[m.File]
	if m.Offset != nil {
		b = b[*m.Offset : *m.Offset+m.Length]
	}
	return b
}

// TestStores reads all messages that Dovecot stored, as far as streams go.
func TestStores(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(vectorDir, "*dir-v*"))
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob(filepath.Join(vectorDir, "*dbox-v*"))
	if dirs = append(dirs, more...); len(dirs) < 15 {
		t.Fatalf("only %d cases", len(dirs))
	}
	total := 0
	for _, dir := range dirs {
		if strings.HasPrefix(filepath.Base(dir), "neg-") {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, files, keys := loadStore(t, dir)
			for _, u := range c.Users {
				for _, box := range u.Mailboxes {
					for _, m := range box.Messages {
						total += checkStored(t, m, m.content(files), keys)
					}
				}
			}
		})
	}
	if total < 300 {
		t.Errorf("only %d encrypted messages", total)
	}
}

// checkStored compares one message and returns how many streams it was.
func checkStored(t *testing.T, m storeMessage, b []byte, keys KeyList) int {
	t.Helper()
	encrypted := strings.HasPrefix(m.Stored, "crypt-")
	if IsEncrypted(b) != encrypted {
		t.Errorf("%s uid %d: IsEncrypted is %v", m.File, m.UID, !encrypted)
	}
	if !encrypted {
		return 0
	}
	h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Errorf("%s uid %d: %v", m.File, m.UID, err)
		return 1
	}
	if got := h.Recipients[0].ID.String(); got != m.KeyDigest || h.Version != int(m.Stored[len(m.Stored)-1]-'0') {
		t.Errorf("%s uid %d: version %d for %s, want %s for %s", m.File, m.UID, h.Version, got, m.Stored, m.KeyDigest)
	}
	plain, err := readStream(b, keys)
	if sum := sha256.Sum256(plain); err != nil || hex.EncodeToString(sum[:]) != m.StreamSHA256 || int64(len(plain)) != m.StreamSize {
		t.Errorf("%s uid %d: %d octets, %v; want %d", m.File, m.UID, len(plain), err, m.StreamSize)
	}
	return 1
}

// TestDamagedStores checks that what must not be given out is an error here already,
// unless it is no stream any more.
func TestDamagedStores(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(vectorDir, "neg-*"))
	if err != nil || len(dirs) < 4 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	seen := map[string]int{}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, files, keys := loadStore(t, dir)
			for _, u := range c.Users {
				for _, box := range u.Mailboxes {
					for _, m := range box.Messages {
						b := m.content(files)
						if m.Integrity == "" || !IsEncrypted(b) {
							continue
						}
						seen[m.Integrity]++
						_, err := readStream(b, keys)
						switch {
						case m.Integrity == "intact" && err != nil:
							t.Errorf("%s: intact, but %v", m.Damage, err)
						case m.Integrity == "must-fail" && err == nil:
							t.Errorf("%s: opened", m.Damage)
						case err != nil && !typed(err):
							t.Errorf("%s: untyped error %v", m.Damage, err)
						}
					}
				}
			}
		})
	}
	if seen["must-fail"] < 20 || seen["intact"] < 3 {
		t.Errorf("too few cases: %v", seen)
	}
}

// typed reports whether an error is one that the package documents.
func typed(err error) bool {
	var f *FormatError
	var u *UnsupportedError
	for _, known := range []error{ErrNoKey, ErrPassword, ErrPasswordRequired, ErrKeyID, ErrAuth, ErrTruncated} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &f) || errors.As(err, &u)
}
