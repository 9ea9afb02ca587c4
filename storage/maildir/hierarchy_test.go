package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// listed returns the names of a tree; those that are only levels have a trailing "!".
func listed(t *testing.T, h *Hierarchy) []string {
	t.Helper()
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range list {
		if f.Selectable {
			out = append(out, f.Name)
		} else {
			out = append(out, f.Name+"!")
		}
	}
	slices.Sort(out)
	return out
}

func wantListed(t *testing.T, h *Hierarchy, want ...string) {
	t.Helper()
	if got := listed(t, h); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// eachLayout runs a test in both layouts, with the separate trees too.
func eachLayout(t *testing.T, fn func(t *testing.T, l Location)) {
	for _, layout := range []Layout{PlusPlus, FS} {
		t.Run(string(layout), func(t *testing.T) {
			l := newLocation(t)
			l.Layout = layout
			fn(t, l)
		})
		t.Run(string(layout)+" CONTROL INDEX", func(t *testing.T) {
			l := newLocation(t)
			l.Layout = layout
			l.Control, l.Index = filepath.Join(l.Root, "../ct"), filepath.Join(l.Root, "../ix")
			fn(t, l)
		})
	}
	t.Run("fs DIRNAME", func(t *testing.T) {
		l := newLocation(t)
		l.Layout, l.DirName = FS, "mAil"
		fn(t, l)
	})
}

func TestFolders(t *testing.T) {
	inMemory(t)
	eachLayout(t, func(t *testing.T, l Location) {
		h := openTree(t, l, Options{Separator: '/'})
		ctx := t.Context()
		wantListed(t, h, "INBOX")
		for _, name := range []string{"A/B/C", "Bü/x&y", "inbox/Child", "A"} {
			if err := h.Create(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		wantListed(t, h, "A", "A/B!", "A/B/C", "Bü!", "Bü/x&y", "INBOX", "INBOX/Child")
		for name, want := range map[string]error{
			"A": mailbox.ErrExists, "A/B/C": mailbox.ErrExists, "a//b": mailbox.ErrName, "../x": mailbox.ErrName, "~x": mailbox.ErrName,
			"x/..": mailbox.ErrName, "": mailbox.ErrName, "a\x00": mailbox.ErrName, `esc\2eaped`: mailbox.ErrName,
			strings.Repeat("x", 300): mailbox.ErrLimit,
		} {
			if err := h.Create(ctx, name); !errors.Is(err, want) {
				t.Errorf("Create(%.20q) = %v, want %v", name, err, want)
			}
		}
		if err := h.Create(ctx, "A/B"); err != nil { // a level becomes a mailbox
			t.Error(err)
		}
		guid, err := h.GUID(ctx, "A/B/C")
		if err != nil || guid.IsZero() {
			t.Errorf("GUID %v, %v", guid, err)
		}
		if again, err := h.GUID(ctx, "A/B/C"); err != nil || again != guid {
			t.Errorf("GUID %v, then %v, %v", guid, again, err)
		}
		for name, want := range map[string]error{"nope": mailbox.ErrNotFound, "A/nope": mailbox.ErrNotFound, "Bü": mailbox.ErrNotSelectable} {
			if _, err := h.Open(ctx, name); !errors.Is(err, want) {
				t.Errorf("Open(%q) = %v, want %v", name, err, want)
			}
			if err := h.Delete(ctx, name); !errors.Is(err, want) {
				t.Errorf("Delete(%q) = %v, want %v", name, err, want)
			}
		}
		if err := h.Delete(ctx, "iNBOX"); !errors.Is(err, mailbox.ErrName) {
			t.Errorf("deleting INBOX: %v", err)
		}
		if err := h.Delete(ctx, "A"); err != nil {
			t.Error(err)
		}
		wantListed(t, h, "A!", "A/B", "A/B/C", "Bü!", "Bü/x&y", "INBOX", "INBOX/Child")
		if err := h.Create(ctx, "A"); err != nil {
			t.Error(err)
		}
		if b := openBox(t, h, "A"); b.View().Len() != 0 {
			t.Error("the new mailbox holds mail of the deleted one")
		}
		wantListed(t, h, "A", "A/B", "A/B/C", "Bü!", "Bü/x&y", "INBOX", "INBOX/Child")
	})
}

func TestNamesStayInside(t *testing.T) {
	for _, sep := range []byte{'/', '.', '^'} {
		for _, layout := range []Layout{PlusPlus, FS} {
			for _, utf8 := range []bool{false, true} {
				l := newLocation(t)
				l.Layout, l.UTF8 = layout, utf8
				h := openTree(t, l, Options{Separator: sep})
				for _, name := range []string{"..", "../../etc", "/etc", "a/../../b", ".", "a\x00b", "cur", "new", "tmp", "..DOVECOT-TrasH",
					"^..^", "a^..^..^b", "..^..", "INBOX/../..", "inbox^..", "&AC8-", "&AC4ALg-", "a.b", "a/b"} {
					f, err := h.folder(name)
					if err != nil {
						continue
					}
					for _, dir := range []string{f.dir, f.control} {
						if rel, err := filepath.Rel(l.Root, dir); err != nil || !filepath.IsLocal(rel) || rel == "." && f.key != "INBOX" {
							t.Errorf("%s %q %q is at %s", layout, sep, name, dir)
						}
					}
				}
			}
		}
	}
}

func TestSeparatorInLevel(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{Separator: '/'})
	if err := h.Create(t.Context(), "a.b"); !errors.Is(err, mailbox.ErrName) {
		t.Errorf("Create(a.b) in Maildir++: %v", err)
	}
	l = newLocation(t)
	l.Layout = FS
	h = openTree(t, l, Options{Separator: '.'})
	if err := h.Create(t.Context(), "a/b"); !errors.Is(err, mailbox.ErrName) {
		t.Errorf("Create(a/b) in fs: %v", err)
	}
	for _, name := range []string{"cur", "x.tmp", "new"} {
		if err := h.Create(t.Context(), name); !errors.Is(err, mailbox.ErrName) {
			t.Errorf("Create(%s) in fs: %v", name, err)
		}
	}
}

func TestForeignDirectories(t *testing.T) {
	l := newLocation(t)
	for _, dir := range []string{".A.B", "..DOVECOT-TRASHED", "..x", "nodot", ".inbox", ".bad&name", `.esc\2e`, ".dot..dot", ".B&APw-", ".a b"} {
		if err := os.MkdirAll(filepath.Join(l.Root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(l.Root, ".file"), "")
	if err := os.Symlink(t.TempDir(), filepath.Join(l.Root, ".link")); err != nil {
		t.Fatal(err)
	}
	h := openTree(t, l, Options{Separator: '/'})
	wantListed(t, h, "A!", "A/B", "Bü", "INBOX", "a b", "link")
	// A half-made folder is repaired.
	b := openBox(t, h, "A/B")
	save(t, b, "x", mailbox.SaveInfo{})
	if n := names(t, filepath.Join(l.Root, ".A.B")); !slices.Contains(n, "cur") || !slices.Contains(n, "tmp") {
		t.Errorf("folder holds %q", n)
	}
}

func TestUTF8Names(t *testing.T) {
	l := newLocation(t)
	l.UTF8 = true
	h := openTree(t, l, Options{Separator: '/'})
	if err := h.Create(t.Context(), "Bü/x&y"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(l.Root, ".Bü.x&y", "cur")); err != nil {
		t.Error(err)
	}
	wantListed(t, h, "Bü!", "Bü/x&y", "INBOX")
}

func TestRename(t *testing.T) {
	inMemory(t)
	eachLayout(t, func(t *testing.T, l Location) {
		h := openTree(t, l, Options{Separator: '/'})
		ctx := t.Context()
		a, ab := openBox(t, h, "A"), openBox(t, h, "A/B")
		openBox(t, h, "Ax")
		save(t, a, "x", mailbox.SaveInfo{})
		save(t, ab, "y", mailbox.SaveInfo{})
		guid := ab.GUID()
		for _, tt := range []struct {
			from, to string
			want     error
		}{
			{"A", "Ax", mailbox.ErrExists}, {"A", "A", mailbox.ErrExists}, {"A", "A/B/C", mailbox.ErrName}, {"nope", "x", mailbox.ErrNotFound},
			{"INBOX", "Old", errors.ErrUnsupported}, {"A", "inbox", mailbox.ErrExists}, {"A", "a//b", mailbox.ErrName},
		} {
			if err := h.Rename(ctx, tt.from, tt.to); !errors.Is(err, tt.want) {
				t.Errorf("Rename(%s, %s) = %v, want %v", tt.from, tt.to, err, tt.want)
			}
		}
		wantListed(t, h, "A", "A/B", "Ax", "INBOX")
		if err := h.Rename(ctx, "A", "New/Place"); err != nil {
			t.Fatal(err)
		}
		wantListed(t, h, "Ax", "INBOX", "New!", "New/Place", "New/Place/B")
		// Who had them open goes on.
		if uid := save(t, ab, "z", mailbox.SaveInfo{}); uid != 2 {
			t.Errorf("UID %d", uid)
		}
		wantShown(t, a, `1 \Recent`)
		b := openBox(t, h, "New/Place/B")
		if b.GUID() != guid || b.View().Len() != 2 {
			t.Errorf("GUID %v, was %v; %q", b.GUID(), guid, shown(b.View()))
		}
		if _, err := h.Open(ctx, "A"); !errors.Is(err, mailbox.ErrNotFound) {
			t.Errorf("the old name: %v", err)
		}
	})
}

func TestDeleteWhileOpen(t *testing.T) {
	inMemory(t)
	eachLayout(t, func(t *testing.T, l Location) {
		h := openTree(t, l, Options{Separator: '/'})
		m := openBox(t, h, "A")
		save(t, m, "x", mailbox.SaveInfo{})
		openBox(t, h, "A/B")
		changed := changedOf(t, m)
		if err := h.Delete(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Error("who waits was not told")
		}
		for what, fn := range map[string]func() error{
			"Sync":   func() error { _, err := m.Sync(t.Context()); return err },
			"Save":   func() error { _, err := trySave(m, "x", mailbox.SaveInfo{NeedUID: true}); return err },
			"Create": func() error { _, err := trySave(m, "x", mailbox.SaveInfo{}); return err },
			"Flags":  func() error { return setFlags(t.Context(), m, []mailbox.UID{1}, mailbox.FlagChange{}) },
		} {
			if err := fn(); !errors.Is(err, mailbox.ErrNotFound) {
				t.Errorf("%s in a deleted mailbox: %v", what, err)
			}
		}
		wantListed(t, h, "A!", "A/B", "INBOX")
		again := openBox(t, h, "A")
		if again.GUID() == m.GUID() || again.View().UIDValidity == m.View().UIDValidity {
			t.Errorf("the new mailbox has GUID %v and UIDVALIDITY %d of the old one", again.GUID(), again.View().UIDValidity)
		}
	})
}

// Another program deletes a folder that we have open.
func TestDeletedByAnother(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "A")
	save(t, m, "x", mailbox.SaveInfo{})
	mustRename(t, filepath.Join(l.Root, ".A"), filepath.Join(l.Root, plusTrash))
	if _, err := m.Sync(t.Context()); !errors.Is(err, mailbox.ErrNotFound) {
		t.Errorf("Sync: %v", err)
	}
	for _, needUID := range []bool{false, true} {
		if _, err := trySave(m, "x", mailbox.SaveInfo{NeedUID: needUID}); !errors.Is(err, mailbox.ErrNotFound) {
			t.Errorf("saving: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Root, ".A")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder was made again")
	}
	// What is left in the trash does not hinder another deletion.
	m.Close()
	openBox(t, h, "B")
	if err := h.Delete(t.Context(), "B"); err != nil {
		t.Error(err)
	}
	wantListed(t, h, "INBOX")
}

func TestDropParents(t *testing.T) {
	l := newLocation(t)
	l.Layout, l.DropParents = FS, true
	h := openTree(t, l, Options{Separator: '/'})
	openBox(t, h, "A/B/C").Close()
	openBox(t, h, "A/D").Close()
	if err := h.Delete(t.Context(), "A/B/C"); err != nil {
		t.Fatal(err)
	}
	wantListed(t, h, "A!", "A/D", "INBOX")
}

func TestSubscriptions(t *testing.T) {
	inMemory(t)
	eachLayout(t, func(t *testing.T, l Location) {
		h := openTree(t, l, Options{Separator: '/'})
		ctx := t.Context()
		want := func(names ...string) {
			t.Helper()
			if got, err := h.Subscriptions(ctx); err != nil || !slices.Equal(got, names) {
				t.Errorf("subscribed %q, %v; want %q", got, err, names)
			}
		}
		sub := func(name string, on bool) {
			t.Helper()
			if err := h.Subscribe(ctx, name, on); err != nil {
				t.Error(err)
			}
		}
		want([]string{}...)
		for _, n := range []string{"Work/Zwölf", "inbox", "Foo/Bär & co", "inbox"} {
			sub(n, true)
		}
		want("Work/Zwölf", "INBOX", "Foo/Bär & co")
		text := "V\t2\n\nWork\tZw&APY-lf\nINBOX\nFoo\tB&AOQ-r &- co\n"
		if got := readFile(t, h.control.SubscriptionsPath()); got != text {
			t.Errorf("file %q, want %q", got, text)
		}
		sub("INBOX", false)
		sub("never", false)
		want("Work/Zwölf", "Foo/Bär & co")
		if err := h.Subscribe(ctx, "a//b", true); !errors.Is(err, mailbox.ErrName) {
			t.Errorf("a bad name: %v", err)
		}
		// Version 1 stays, and so do lines that we cannot show.
		sep := string(l.Layout.separator())
		put(t, h.control.SubscriptionsPath(), "A"+sep+"B\nbad&name\nA"+sep+"B\n")
		want("A/B")
		sub("C/D", true)
		want("A/B", "C/D")
		if got, v1 := readFile(t, h.control.SubscriptionsPath()), "A"+sep+"B\nbad&name\nC"+sep+"D\n"; got != v1 {
			t.Errorf("file %q, want %q", got, v1)
		}
	})
}

func validityMarker(l Location, v uint32) string {
	return filepath.Join(l.Root, fmt.Sprintf("dovecot-uidvalidity.%08x", v))
}

func TestUIDValidityCounter(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	validity := func(name string) uint32 { return openBox(t, h, name).View().UIDValidity }
	first := validity("INBOX")
	if now := uint32(time.Now().Unix()); first > now || first < now-100 {
		t.Errorf("the first is %d at %d", first, now)
	}
	file := filepath.Join(l.Root, "dovecot-uidvalidity")
	check := func(v uint32) {
		t.Helper()
		if got := readFile(t, file); got != fmt.Sprintf("%08x", v) {
			t.Errorf("file holds %q, want %08x", got, v)
		}
		if m, err := filepath.Glob(file + ".*"); err != nil || !slices.Equal(m, []string{validityMarker(l, v)}) {
			t.Errorf("markers %s, %v; want %x", m, err, v)
		}
	}
	check(first)
	if v := validity("A"); v != first+1 {
		t.Errorf("the second is %d after %d", v, first)
	}
	// Another program has counted on and died before it wrote the file.
	mustRename(t, validityMarker(l, first+1), validityMarker(l, first+9))
	if v := validity("B"); v != first+10 {
		t.Errorf("after a missing write: %d, want %d", v, first+10)
	}
	check(first + 10)
	put(t, file, "garbage")
	put(t, validityMarker(l, 5), "")
	if v := validity("C"); v != first+11 {
		t.Errorf("after garbage: %d, want %d", v, first+11)
	}
	check(first + 11)
	mustRemove(t, file)
	mustRemove(t, validityMarker(l, first+11))
	if v := validity("D"); v <= first+11 && v < uint32(time.Now().Unix()) {
		t.Errorf("without files: %d", v)
	}
}

func TestControlPlaces(t *testing.T) {
	inMemory(t)
	for _, tt := range []struct {
		l    Location
		want []string
	}{
		{Location{Layout: PlusPlus}, []string{"ct/.INBOX/dovecot-uidlist", "ct/.A.B/dovecot-uidlist", "M/.A.B/cur", "M/.A.B/maildirfolder", "M/cur"}},
		{Location{Layout: FS}, []string{"ct/INBOX/dovecot-uidlist", "ct/A/B/dovecot-uidlist", "M/A/B/cur", "M/cur"}},
		{Location{Layout: FS, DirName: "mAil"}, []string{"ct/INBOX/dovecot-uidlist", "ct/A/B/dovecot-uidlist", "M/A/B/mAil/cur", "M/INBOX/mAil/cur"}},
		{Location{Layout: PlusPlus, Inbox: "In"}, []string{"ct/.INBOX/dovecot-uidlist", "ct/.A.B/dovecot-uidlist", "M/.A.B/cur", "In/cur"}},
		{Location{Layout: FS, Inbox: "In"}, []string{"ct/INBOX/dovecot-uidlist", "ct/A/B/dovecot-uidlist", "M/A/B/cur", "In/cur"}},
	} {
		dir := t.TempDir()
		l := tt.l
		l.Root, l.Control, l.Index = filepath.Join(dir, "M"), filepath.Join(dir, "ct"), filepath.Join(dir, "ix")
		if l.Inbox != "" {
			l.Inbox = filepath.Join(dir, l.Inbox)
		}
		h := openTree(t, l, Options{Separator: '/'})
		for _, name := range []string{"INBOX", "A/B"} {
			save(t, openBox(t, h, name), "x", mailbox.SaveInfo{Flags: flags("k")})
		}
		for _, path := range append(tt.want, "ct/dovecot-uidvalidity", "ix/mailcryptd.index.db") {
			if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
				t.Errorf("%+v: %v", tt.l, err)
			}
		}
	}
}
