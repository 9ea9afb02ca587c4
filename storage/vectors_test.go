package storage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mailcrypt/dcrypt"
	"mailcrypt/internal/teststore"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

const vectorDir = "../testdata/vectors"

// A vectorCase is a mail store that Dovecot wrote; see README.md there.
type vectorCase struct {
	Damaged bool `json:"damaged"`
	Users   []struct {
		Keys []struct {
			PEM string `json:"pem"`
		} `json:"exported_keys"`
		Mailboxes []struct {
			Messages []vectorMessage `json:"messages"`
		} `json:"mailboxes"`
	} `json:"users"`
}

type vectorMessage struct {
	UID            int    `json:"uid"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	OriginalSHA256 string `json:"original_sha256"`
	File           string `json:"file"`
	Offset         int64  `json:"offset"`
	Length         int64  `json:"length"`
	Stored         string `json:"stored"`
	Integrity      string `json:"integrity"`
	Damage         string `json:"damage"`
}

func loadCase(t *testing.T, dir string) (vectorCase, map[string][]byte) {
	t.Helper()
	var c vectorCase
	js, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(js, &c); err != nil {
		t.Fatal(err)
	}
	return c, teststore.Files(t, filepath.Join(dir, "store.tar.gz"))
}

var sizeFields = regexp.MustCompile(`,S=(\d+)(?:,W=(\d+))?`)

// recorded returns the sizes that a Maildir name has.
func recorded(m vectorMessage) mailbox.Sizes {
	s := mailbox.UnknownSizes
	if f := sizeFields.FindStringSubmatch(m.File); f != nil {
		s.Physical, _ = strconv.ParseInt(f[1], 10, 64)
		if f[2] != "" {
			s.Virtual, _ = strconv.ParseInt(f[2], 10, 64)
		}
	}
	return s
}

// TestVectors reads every message of every store that Dovecot wrote.
func TestVectors(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(vectorDir, "*", "case.json"))
	if err != nil || len(dirs) < 25 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	messages := 0
	for _, path := range dirs {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, files := loadCase(t, dir)
			keys := keyring{} // of all users, for some share folders
			for _, u := range c.Users {
				for _, k := range u.Keys {
					key, err := dcrypt.ParsePrivateKey([]byte(k.PEM), dcrypt.Opener{})
					if err != nil {
						t.Fatal(err)
					}
					keys.add(key)
				}
			}
			for _, u := range c.Users {
				for _, box := range u.Mailboxes {
					for _, m := range box.Messages {
						checkVector(t, m, files, keys)
						messages++
					}
				}
			}
		})
	}
	if messages < 400 {
		t.Errorf("only %d messages were found", messages)
	}
}

func checkVector(t *testing.T, m vectorMessage, files map[string][]byte, keys keyring) {
	t.Helper()
	data, ok := files[m.File]
	if !ok {
		t.Errorf("uid %d: no file %s", m.UID, m.File)
		return
	}
	if m.Length > 0 || m.Offset > 0 {
		if m.Offset+m.Length > int64(len(data)) {
			return // damage that the backend sees
		}
		data = data[m.Offset : m.Offset+m.Length]
	}
	b := newInbox(t)
	uid := put(t, b, data, recorded(m))
	s := storage.New(b)
	got, err := read(t, s, uid, keys)
	// Dovecot gives out a NUL, which IMAP cannot carry, as 0x80.
	sum := sha256.Sum256(bytes.ReplaceAll(got, []byte{0}, []byte{0x80}))
	want := m.SHA256 + m.OriginalSHA256
	right := err == nil && hex.EncodeToString(sum[:]) == want
	switch m.Integrity {
	case "", "intact":
		if !right {
			t.Errorf("uid %d of %s: %d bytes, %v; want %d", m.UID, m.File, len(got), err, m.Size)
		}
		if after, _ := b.Stat(t.Context(), uid); m.Integrity == "" && after.Sizes.Virtual != m.Size {
			t.Errorf("uid %d: virtual size %d, want %d", m.UID, after.Sizes.Virtual, m.Size)
		}
	case "must-fail":
		var r *storage.ReadError
		if !errors.As(err, &r) || r.Kind == storage.IO || len(got) != 0 {
			t.Errorf("uid %d, %s: %d bytes, %v; want a ReadError", m.UID, m.Damage, len(got), err)
		}
	default:
		if err != nil && !strings.HasPrefix(err.Error(), "storage: ") {
			t.Errorf("uid %d, %s: %v", m.UID, m.Damage, err)
		}
		t.Logf("uid %d, %s (%s): right %v, %d bytes, %v", m.UID, m.Damage, m.Integrity, right, len(got), err)
	}
}
