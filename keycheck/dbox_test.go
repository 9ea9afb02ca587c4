package keycheck

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailcrypt/dcrypt"
	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// fillMdbox saves to an mdbox, under one key each, what lasts, what is copied and what is
// expunged again, and returns the keys and INBOX's GUID. The store stays open for open.
func fillMdbox(t *testing.T, l mdbox.Location, open func()) (keys []dcrypt.KeyID, inbox mailbox.GUID) {
	t.Helper()
	h, err := mdbox.Open(t.Context(), l, mdbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Create(t.Context(), "Sent"); err != nil {
		t.Fatal(err)
	}
	in, err := h.OpenMailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sent, err := h.OpenMailbox(t.Context(), "Sent")
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Close()
	for i := range 3 {
		key, err := dcrypt.GenerateKey("prime256v1")
		if err != nil {
			t.Fatal(err)
		}
		defer key.Destroy()
		keys = append(keys, key.ID())
		var b bytes.Buffer
		w, err := dcrypt.NewWriter(&b, key.Public(), dcrypt.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("Subject: mdbox\n\nhello\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p, err := in.Create(t.Context(), mailbox.SaveInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		n := int64(b.Len())
		uid, err := p.Commit(mailbox.Sizes{Physical: n, Virtual: n, Stored: n})
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			var m mailbox.Message
			if m, err = in.Stat(t.Context(), uid); err == nil {
				_, err = sent.Link(t.Context(), in, uid, mailbox.SaveInfo{Received: m.Received, GUID: m.GUID})
			}
		}
		if i == 2 {
			err = in.Expunge(t.Context(), []mailbox.UID{uid})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open()
	return keys, in.GUID()
}

// needed maps the keys that a tree needs to how many messages need them.
func needed(t *testing.T, dir string) (*Needs, map[dcrypt.KeyID]int) {
	t.Helper()
	n, err := FromTree(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	count := map[dcrypt.KeyID]int{}
	for _, k := range n.Keys {
		count[k.Keys[0]] += k.Messages
	}
	return n, count
}

// TestMdbox looks at a store of ours: by its catalog, without it, and without its messages.
func TestMdbox(t *testing.T) {
	for name, parts := range map[string]string{"together": "", "index elsewhere": ":INDEX=~/index", "alternative": ":ALT=~/slow"} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			l, err := mdbox.ParseLocation("mdbox:~/mdbox"+parts, home)
			if err != nil {
				t.Fatal(err)
			}
			keys, inbox := fillMdbox(t, l, func() {
				if _, err := FromTree(t.Context(), home, nil); !errors.Is(err, index.ErrCatalogBusy) {
					t.Errorf("a store that is open: %v", err)
				}
			})
			file := filepath.Join(l.Root, "storage", "m.1")
			if l.Alt != "" { // as who moves files by hand
				moved := filepath.Join(l.Alt, "storage", "m.1")
				if err := errors.Join(os.MkdirAll(filepath.Dir(moved), 0o700), os.Rename(file, moved)); err != nil {
					t.Fatal(err)
				}
				file = moved
			}
			for _, aside := range []string{"mailcryptd.new", "dovecot-indexes.20260102T030405.000", "mailcryptd-catalog.20260102T030405.000"} {
				dir := filepath.Join(l.Root, aside, "storage")
				if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, index.CatalogName), []byte("x"), 0o600), os.Link(file, filepath.Join(dir, "m.1"))); err != nil {
					t.Fatal(err)
				}
			}
			n, count := needed(t, home)
			if n.Inbox != inbox || len(n.Folders) != 2 || len(n.Bad) > 0 {
				t.Errorf("INBOX %s, folders %v, bad %v", n.Inbox, n.Folders, n.Bad)
			}
			if count[keys[0]] != 1 || count[keys[1]] != 2 || count[keys[2]] != 0 {
				t.Errorf("by the catalog: %v of %v", count, keys)
			}
			dir := filepath.Join(l.Root, "storage")
			if l.Index != "" {
				dir = filepath.Join(l.Index, "storage")
			}
			catalog := filepath.Join(dir, index.CatalogName)
			kept, err := os.ReadFile(catalog)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(catalog); err != nil {
				t.Fatal(err)
			}
			if _, count = needed(t, home); count[keys[0]] != 1 || count[keys[1]] != 1 || count[keys[2]] != 1 {
				t.Errorf("without the catalog: %v of %v", count, keys)
			}
			if err := os.WriteFile(catalog, kept[:len(kept)/2], 0o600); err != nil {
				t.Fatal(err)
			}
			if n, count = needed(t, home); len(n.Bad) != 1 || len(count) != 3 {
				t.Errorf("with a damaged one: %v, bad %v", count, n.Bad)
			}
			if err := errors.Join(os.WriteFile(catalog, kept, 0o600), os.Remove(file)); err != nil {
				t.Fatal(err)
			}
			if n, _ = needed(t, home); len(n.Bad) != 3 {
				t.Errorf("without the messages: %v", n.Bad)
			}
		})
	}
}

// TestMdboxDamage goes on behind what is damaged.
func TestMdboxDamage(t *testing.T) {
	home := t.TempDir()
	l, err := mdbox.ParseLocation("mdbox:~/mdbox", home)
	if err != nil {
		t.Fatal(err)
	}
	fillMdbox(t, l, func() {})
	path := filepath.Join(l.Root, "storage", "m.1")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("\x01\x02"))] = 'x'
	err = errors.Join(os.WriteFile(path, b, 0o600), os.Remove(filepath.Join(l.Root, "storage", index.CatalogName)))
	if err != nil {
		t.Fatal(err)
	}
	if n, count := needed(t, home); len(n.Bad) != 1 || len(count) != 2 {
		t.Errorf("%v, bad %v", count, n.Bad)
	}
}
