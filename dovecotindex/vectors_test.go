package dovecotindex

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/teststore"
	"mailcrypt/mailbox"
)

type vectorCase struct {
	Case, Driver, Separator string
	Users                   []struct {
		Name, Home string
		Mailboxes  []vectorMailbox
	}
}

type vectorMailbox struct {
	Name          string
	IMAPName      string `json:"imap_name"`
	GUID          string
	UIDValidity   uint32
	UIDNext       uint32
	HighestModSeq uint64
	Messages      []struct {
		UID      uint32
		Flags    []string
		Keywords []string
		Saved    int64 `json:"saved_unix"`
		GUID     string
		File     string
		Offset   uint32
		Length   uint32
	}
}

// indexPath is where a mailbox of a vector has its index.
func indexPath(home, driver string, m vectorMailbox) string {
	if driver == "maildir" {
		if m.Name == "INBOX" {
			return filepath.Join(home, "Maildir", "dovecot.index")
		}
		return filepath.Join(home, "Maildir", "."+strings.ReplaceAll(m.IMAPName, "/", "."), "dovecot.index")
	}
	return filepath.Join(home, driver, "mailboxes", m.IMAPName, "dbox-Mails", "dovecot.index")
}

// eachVector unpacks the recorded stores.
func eachVector(t *testing.T, fn func(t *testing.T, c vectorCase, dir string)) {
	dirs, err := filepath.Glob("../testdata/vectors/*/store.tar.gz")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no recorded stores", err)
	}
	for _, archive := range dirs {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(archive), "case.json"))
		if err != nil {
			t.Fatal(err)
		}
		var c vectorCase
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Case, func(t *testing.T) {
			dir := t.TempDir()
			teststore.Unpack(t, archive, dir)
			fn(t, c, dir)
		})
	}
}

// kind reads a mailbox as its driver has it.
func kind(t testing.TB, x *Index, driver string) *Mailbox {
	t.Helper()
	read := map[string]func() (*Mailbox, error){"mdbox": x.Mdbox, "sdbox": x.Sdbox, "maildir": x.Maildir}[driver]
	m, err := read()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Indexes that real Dovecot has written say what real Dovecot said of the stores.
func TestVectors(t *testing.T) {
	seen := map[string]int{}
	eachVector(t, func(t *testing.T, c vectorCase, dir string) {
		for _, u := range c.Users {
			var maps *Map
			if c.Driver == "mdbox" {
				x, err := Read(t.Context(), filepath.Join(dir, u.Home, "mdbox", "storage", "dovecot.map.index"))
				if c.Driver == "maildir" && errors.Is(err, fs.ErrNotExist) {
					continue // nobody has opened it
				}
				if err != nil || x.Damage != nil {
					t.Fatal(err, x.Damage)
				}
				if maps, err = x.Map(); err != nil || maps.UIDValidity == 0 {
					t.Fatal(maps, err)
				}
			}
			for _, want := range u.Mailboxes {
				path := indexPath(filepath.Join(dir, u.Home), c.Driver, want)
				x, err := Read(t.Context(), path)
				if c.Driver == "maildir" && errors.Is(err, fs.ErrNotExist) {
					continue // nobody has opened it
				}
				if err != nil || x.Damage != nil || x.Unfinished != 0 {
					t.Errorf("%s: %v %v", path, err, x)
					continue
				}
				m := kind(t, x, c.Driver)
				checkVector(t, c.Driver, m, maps, want)
				seen[c.Driver] += len(m.Messages)
			}
		}
	})
	for _, driver := range []string{"mdbox", "sdbox", "maildir"} {
		if seen[driver] < 10 {
			t.Errorf("only %d messages of %s were looked at", seen[driver], driver)
		}
	}
}

func checkVector(t *testing.T, driver string, m *Mailbox, maps *Map, want vectorMailbox) {
	t.Helper()
	// Of stores that were damaged on purpose it is not recorded, and a Maildir's index does not
	// have it before Dovecot has looked into it.
	known := want.UIDValidity != 0 && !(driver == "maildir" && m.UIDValidity == 0)
	if known && (m.UIDValidity != want.UIDValidity || uint32(m.NextUID) != want.UIDNext) || len(m.Messages) != len(want.Messages) {
		t.Errorf("%s: %d, %d, %d messages; want %d, %d, %d", want.Name, m.UIDValidity, m.NextUID, len(m.Messages),
			want.UIDValidity, want.UIDNext, len(want.Messages))
		return
	}
	if driver != "maildir" && want.GUID != "" && m.GUID.String() != want.GUID {
		t.Errorf("%s: GUID %v, want %s", want.Name, m.GUID, want.GUID)
	}
	if want.HighestModSeq != 0 && uint64(m.HighestModSeq) != want.HighestModSeq {
		t.Errorf("%s: highest modseq %d, want %d", want.Name, m.HighestModSeq, want.HighestModSeq)
	}
	for i, w := range want.Messages {
		g := m.Messages[i]
		g.Flags.System &^= mailbox.Recent
		flags := mailbox.ParseFlags(append(slices.Clone(w.Flags), w.Keywords...))
		if uint32(g.UID) != w.UID || driver != "maildir" && !g.Flags.Equal(flags) {
			t.Errorf("%s: UID %d %v, want %d %v", want.Name, g.UID, g.Flags, w.UID, flags)
		}
		if driver == "mdbox" {
			r, ok := maps.Find(g.MapUID)
			const header = 30
			if !ok || r.Refs == 0 || !strings.HasSuffix(w.File, fmt.Sprintf("/storage/m.%d", r.FileID)) || r.Offset+header != w.Offset ||
				r.Size <= header+w.Length || w.GUID != "" && g.GUID != GUID128(w.GUID) ||
				w.Saved != 0 && g.Saved.Unix() != w.Saved || m.MapUIDValidity != maps.UIDValidity {
				t.Errorf("%s: UID %d is %+v in the map, %v %v; want %+v", want.Name, g.UID, r, g.GUID, g.Saved, w)
			}
		}
	}
}
