package maildir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/teststore"
	"mailcrypt/mailbox"
)

// A vectorCase is what of a case.json concerns this package.
type vectorCase struct {
	Case      string
	Driver    string
	Location  string `json:"mail_location"`
	Separator string
	Users     []struct {
		Name, Home string
		Mailboxes  []struct {
			Name        string
			GUID        string
			UIDValidity uint32
			UIDNext     mailbox.UID
			Subscribed  bool
			Messages    []struct {
				UID      mailbox.UID
				Flags    []string
				Keywords []string
				Received int64 `json:"received_unix"`
				Size     int64
				GUID     string
				File     string
			}
		}
	}
}

const vectorRoot = "../../testdata/vectors"

// eachVector calls fn for every Maildir case, unpacked into a scratch directory.
func eachVector(t *testing.T, fn func(t *testing.T, c *vectorCase, dir string)) {
	files, err := filepath.Glob(filepath.Join(vectorRoot, "*", "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := &vectorCase{}
		if err := json.Unmarshal(text, c); err != nil {
			t.Fatal(err)
		}
		if c.Driver != "maildir" || len(c.Users) == 0 {
			continue
		}
		n++
		t.Run(c.Case, func(t *testing.T) {
			dir := t.TempDir()
			teststore.Unpack(t, filepath.Join(filepath.Dir(file), "store.tar.gz"), dir)
			fn(t, c, dir)
		})
	}
	if n < 20 {
		t.Fatalf("found %d Maildir cases, want 20 or more", n)
	}
}

// vectorFiles returns the contents of every file of a name in the archives.
func vectorFiles(t testing.TB, name string) (texts []string) {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(vectorRoot, "maildir-*", "store.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range archives {
		for path, text := range teststore.Files(t, archive) {
			if filepath.Base(path) == name {
				texts = append(texts, string(text))
			}
		}
	}
	if len(texts) == 0 {
		t.Fatalf("no vector has a %s", name)
	}
	return texts
}

// Every store that Dovecot has left must show here as Dovecot showed it.
func TestVectors(t *testing.T) {
	inMemory(t)
	eachVector(t, func(t *testing.T, c *vectorCase, dir string) {
		for _, u := range c.Users {
			l, err := ParseLocation(c.Location, filepath.Join(dir, u.Home))
			if err != nil {
				t.Fatal(err)
			}
			h := openTree(t, l, Options{Separator: c.Separator[0]})
			list, err := h.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			subscribed, err := h.Subscriptions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range u.Mailboxes {
				if !slices.ContainsFunc(list, func(f storageFolder) bool { return f.Name == want.Name && f.Selectable }) {
					// A folder that another user shares.
					if strings.HasPrefix(want.Name, "shared") {
						continue
					}
					t.Errorf("%s: %s is not listed", u.Name, want.Name)
					continue
				}
				if got := slices.Contains(subscribed, want.Name); got != want.Subscribed {
					t.Errorf("%s: subscribed %v, want %v", want.Name, got, want.Subscribed)
				}
				b, err := h.Open(t.Context(), want.Name)
				if err != nil {
					t.Fatal(err)
				}
				v := b.View()
				damaged := strings.HasPrefix(c.Case, "neg-") // expects less
				if !damaged && (v.GUID.String() != want.GUID || v.UIDValidity != want.UIDValidity || v.UIDNext != want.UIDNext || b.GUID() != v.GUID) {
					t.Errorf("%s: GUID %v UIDVALIDITY %d UIDNEXT %d, want %s %d %d", want.Name,
						v.GUID, v.UIDValidity, v.UIDNext, want.GUID, want.UIDValidity, want.UIDNext)
				}
				if v.Len() != len(want.Messages) {
					t.Errorf("%s: %d messages, want %d", want.Name, v.Len(), len(want.Messages))
				}
				for _, m := range want.Messages {
					got, err := b.Stat(t.Context(), m.UID)
					if err != nil {
						t.Errorf("%s: %v", want.Name, err)
						continue
					}
					flags := mailbox.ParseFlags(append(slices.Clone(m.Flags), m.Keywords...))
					file := filepath.Join(dir, m.File)
					st, err := os.Stat(file)
					if err != nil {
						t.Fatal(err)
					}
					checkBytes(t, b, m.UID, file)
					if damaged {
						continue
					}
					if !withoutRecent(got.Flags).Equal(flags) {
						t.Errorf("%s UID %d: flags %q, want %q", want.Name, m.UID, got.Flags.Names(), flags.Names())
					}
					if (got.Flags.System&mailbox.Recent != 0) != strings.Contains(m.File, "/new/") {
						t.Errorf("%s UID %d: recent: %q of %s", want.Name, m.UID, got.Flags.Names(), m.File)
					}
					if got.Received.Unix() != m.Received || got.GUID != m.GUID || got.Sizes.Stored != st.Size() {
						t.Errorf("%s UID %d: date %d GUID %s stored %d, want %d %s %d", want.Name, m.UID,
							got.Received.Unix(), got.GUID, got.Sizes.Stored, m.Received, m.GUID, st.Size())
					}
					if s := got.Sizes; s.Virtual != mailbox.Unknown && s.Virtual != m.Size {
						t.Errorf("%s UID %d: size %d, want %d", want.Name, m.UID, s.Virtual, m.Size)
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// checkBytes compares an opened message with its file.
func checkBytes(t *testing.T, b storageBackend, uid mailbox.UID, file string) {
	t.Helper()
	s, err := b.Open(t.Context(), uid)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
	if err != nil {
		t.Error(err)
	}
	want, err := os.ReadFile(file)
	if err != nil || string(got) != string(want) {
		t.Errorf("UID %d: %d bytes, want %d (%v)", uid, len(got), len(want), err)
	}
}

// Looking at a store changes nothing in it, apart from files of our own.
func TestVectorsUntouched(t *testing.T) {
	inMemory(t)
	eachVector(t, func(t *testing.T, c *vectorCase, dir string) {
		before := snapshot(t, dir)
		for _, u := range c.Users {
			l, err := ParseLocation(c.Location, filepath.Join(dir, u.Home))
			if err != nil {
				t.Fatal(err)
			}
			h := openTree(t, l, Options{Separator: c.Separator[0]})
			for _, m := range u.Mailboxes {
				b, err := h.Open(t.Context(), m.Name)
				if errors.Is(err, mailbox.ErrNotFound) && strings.HasPrefix(m.Name, "shared") {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				b.View()
				b.Close()
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		for path, was := range snapshot(t, dir) {
			if before[path] != was && !strings.Contains(path, "mailcryptd.index.db") {
				t.Errorf("%s: %q, was %q", path, was, before[path])
			}
		}
	})
}

// snapshot describes every file of a tree.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		desc := st.Mode().String()
		if st.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			desc += fmt.Sprint(st.ModTime().UnixNano(), " ", string(text))
		}
		files[path] = desc
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
