package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

const testGUID = "92ff9427b919026bda50000083ecc375"

func TestParseUIDList(t *testing.T) {
	head := "3 V7 N5 G" + testGUID
	for _, tt := range []struct {
		name   string
		in     string
		next   mailbox.UID
		recs   string
		damage bool
		torn   bool
	}{
		{"empty list", head + "\n", 5, "", false, false},
		{"fields", head + " Pxx\n1 G1.a S5 :1.a,S=3\n4 :b c\n", 5, "1[G1.a S5]1.a,S=3 4[]b c", false, false},
		{"next above N", head + "\n9 :a\n", 10, "9[]a", false, false},
		{"flags in the name", head + "\n1 :a:2,S\n", 5, "1[]a", false, false},
		{"torn line", head + "\n1 :a\n2 :b", 5, "1[]a", false, true},
		{"torn line keeps its UID from others", head + "\n1 :a\n9 :b", 10, "1[]a", false, true},
		{"bad line in the middle", head + "\n1 :a\nnonsense\n3 :c\n", 5, "1[]a 3[]c", true, false},
		{"UIDs not in order", head + "\n2 :a\n1 :b\n3 :c\n", 5, "2[]a 3[]c", true, false},
		{"UID twice", head + "\n2 :a\n2 :b\n", 5, "2[]a", true, false},
		{"UID 0", head + "\n0 :a\n", 5, "", true, false},
		{"UID too large", head + "\n4294967295 :a\n", 5, "", true, false},
		{"slash", head + "\n1 :../a\n", 5, "", true, false},
		{"no colon", head + "\n1 a\n", 5, "", true, false},
		{"field without space", head + "\n1 G1:a\n", 5, "", true, false},
		{"lower-case field", head + "\n1 g1 :a\n", 5, "", true, false},
		{"empty name", head + "\n1 :\n", 5, "", true, false},
		{"empty file", "", 0, "", true, false},
		{"no V", "3 N5\n1 :a\n", 5, "1[]a", true, false},
		{"no N", "3 V7\n1 :a\n", 2, "1[]a", true, false},
		{"V is 0", "3 V0 N5\n", 5, "", true, false},
		{"bad GUID", "3 V7 N5 Gxyz\n1 :a\n", 5, "1[]a", true, false},
		{"version 1", "1 7 5\n1 a\n3 b c\n", 5, "1[]a 3[]b c", false, false},
		{"version 1, UID at N", "1 7 5\n1 a\n5 b\n", 5, "1[]a", true, false},
		{"version 1, header cut", "1 7\n1 a\n", 2, "1[]a", true, false},
		{"version 2", "2 V7 N5\n1 :a\n", 5, "1[]a", true, false},
		{"long line", head + "\n1 :" + strings.Repeat("x", 1<<17) + "\n2 :b\n", 5, "2[]b", true, false},
		{"numbers with sign", head + "\n+1 :a\n", 5, "", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parseUIDList(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			var recs []string
			for _, r := range p.records {
				recs = append(recs, fmt.Sprintf("%d[%s]%s", r.uid, r.fields, r.base))
			}
			if got := strings.Join(recs, " "); got != tt.recs || p.next != tt.next || (p.damage != nil) != tt.damage || p.torn != tt.torn {
				t.Errorf("records %q next %d damage %v torn %v, want %q %d %v %v", got, p.next, p.damage, p.torn, tt.recs, tt.next, tt.damage, tt.torn)
			}
			var le *listError
			if p.damage != nil && !errors.As(p.damage, &le) {
				t.Errorf("untyped error %v", p.damage)
			}
		})
	}
}

func FuzzUIDList(f *testing.F) {
	for _, text := range vectorFiles(f, uidlistName) {
		f.Add(text)
	}
	f.Add("3 V7 N5 G" + testGUID + " Pxx\n1 G1.a S5 :1.a,S=3\n4 :b c\n")
	f.Add("1 7 5\n1 a\n3 b c\n")
	f.Add("3 V7 N5\n1 :a\n9 :b")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseUIDList(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var last mailbox.UID
		for _, r := range p.records {
			if r.uid <= last || r.uid >= p.next || r.base == "" || strings.ContainsAny(r.base, "/\n:") {
				t.Fatalf("record %+v after %d, next %d", r, last, p.next)
			}
			last = r.uid
		}
		if p.damage != nil || p.version != 3 || p.guid.IsZero() || p.torn {
			return
		}
		// What parses comes back the same.
		out := p.uidHeader.appendHeader(nil)
		for _, r := range p.records {
			out = r.appendTo(out)
		}
		q, err := parseUIDList(strings.NewReader(string(out)))
		if err != nil || q.damage != nil || q.torn || !slices.Equal(q.records, p.records) || q.validity != p.validity ||
			q.next != p.next || q.guid != p.guid || !slices.Equal(q.extra, p.extra) {
			t.Errorf("%q comes back as %q: %v", text, out, q.damage)
		}
	})
}

// inboxWith is a tree whose INBOX has a uidlist and files in cur.
func inboxWith(t *testing.T, list string, files ...string) (Location, *Hierarchy, *Mailbox) {
	t.Helper()
	l := newLocation(t)
	for _, sub := range subdirs {
		if err := os.MkdirAll(filepath.Join(l.Root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if list != "" {
		put(t, filepath.Join(l.Root, uidlistName), list)
	}
	for _, f := range files {
		put(t, filepath.Join(l.Root, "cur", f), "x")
	}
	h := openTree(t, l, Options{})
	m, err := h.OpenMailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return l, h, m
}

func listOf(t *testing.T, l Location) string { return readFile(t, filepath.Join(l.Root, uidlistName)) }

func TestUIDsOfNewFiles(t *testing.T) {
	l, _, m := inboxWith(t, "3 V7 N50 G"+testGUID+" Pxx\n3 Q1 :5.M1P1.h\n",
		"7.M5P1.h:2,", "7.M4P9.h:2,", "6.M999999P1.h:2,", "odd:2,", "5.M1P1.h:2,S", "7.x:2,")
	if v := m.View(); v.UIDValidity != 7 || v.UIDNext != 55 || v.GUID.String() != testGUID {
		t.Errorf("%+v", v)
	}
	want := "3 V7 N50 G" + testGUID + " Pxx\n3 Q1 :5.M1P1.h\n50 :odd\n51 :6.M999999P1.h\n52 :7.M4P9.h\n53 :7.M5P1.h\n54 :7.x\n"
	if got := listOf(t, l); got != want {
		t.Errorf("uidlist\n%swant\n%s", got, want)
	}
}

func TestVersion1IsUpgraded(t *testing.T) {
	l, _, m := inboxWith(t, "1 7 9\n2 1.a\n4 2.b\n", "1.a:2,", "2.b:2,", "3.c:2,")
	wantShown(t, m, "2", "4", "9")
	guid := m.GUID().String()
	want := "3 V7 N10 G" + guid + "\n2 :1.a\n4 :2.b\n9 :3.c\n"
	if got := listOf(t, l); got != want {
		t.Errorf("uidlist\n%swant\n%s", got, want)
	}
}

func TestGUIDIsAdded(t *testing.T) {
	l, _, m := inboxWith(t, "3 V7 N9 Xkept\n2 :1.a\n", "1.a:2,")
	if got, want := listOf(t, l), "3 V7 N9 G"+m.GUID().String()+" Xkept\n2 :1.a\n"; got != want {
		t.Errorf("uidlist %q, want %q", got, want)
	}
}

// Other than Dovecot we lose neither UIDs nor the GUID over a damaged line.
func TestDamagedUIDList(t *testing.T) {
	inMemory(t)
	for name, bad := range map[string]string{
		"line":     "3 V7 N9 G" + testGUID + "\n1 :1.a\n\x00garbage\n3 :3.c\n",
		"order":    "3 V7 N9 G" + testGUID + "\n1 :1.a\n3 :3.c\n2 :2.b\n",
		"torn":     "3 V7 N9 G" + testGUID + "\n1 :1.a\n3 :3.c\n12 :2.b",
		"no V":     "3 N9 G" + testGUID + "\n1 :1.a\n3 :3.c\n",
		"no N":     "3 V7 G" + testGUID + "\n1 :1.a\n3 :3.c\n",
		"bad GUID": "3 V7 N9 Gx\n1 :1.a\n3 :3.c\n",
		"binary":   "\x00\x01\x02\n1 :1.a\n3 :3.c\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, h, m := inboxWith(t, "3 V7 N2 G"+testGUID+"\n1 :1.a\n", "1.a:2,")
			m.View()
			m.Close()
			h.Close()
			put(t, filepath.Join(l.Root, uidlistName), bad)
			put(t, filepath.Join(l.Root, "cur", "3.c:2,"), "x")
			put(t, filepath.Join(l.Root, "cur", "2.b:2,"), "x")
			m = openBox(t, openTree(t, l, Options{}), "INBOX")
			v := m.View()
			if v.GUID.String() != testGUID || v.UIDValidity != 7 || v.Get(1) == nil || v.Get(3) == nil || v.Len() != 3 || v.UIDNext <= v.At(2).UID {
				t.Errorf("GUID %v V %d %q next %d", v.GUID, v.UIDValidity, shown(v), v.UIDNext)
			}
			if kept := readFile(t, filepath.Join(l.Root, damagedName)); kept != bad {
				t.Errorf("kept %q", kept)
			}
			p, _ := parseUIDList(strings.NewReader(listOf(t, l)))
			if p.damage != nil || p.torn || p.guid.String() != testGUID || len(p.records) != 3 {
				t.Errorf("the new uidlist %q: %v", listOf(t, l), p.damage)
			}
		})
	}
}

func TestDeletedUIDList(t *testing.T) {
	l, h, m := inboxWith(t, "3 V7 N9 G"+testGUID+"\n1 :1.a\n3 :3.c\n", "1.a:2,", "3.c:2,")
	wantShown(t, m, "1", "3")
	// While the mailbox is open even the UIDs are remembered.
	mustRemove(t, filepath.Join(l.Root, uidlistName))
	put(t, filepath.Join(l.Root, "cur", "9.n:2,"), "x")
	wantShown(t, m, "1", "3", "9")
	if v := m.View(); v.GUID.String() != testGUID || v.UIDValidity != 7 {
		t.Errorf("GUID %v V %d", v.GUID, v.UIDValidity)
	}
	m.Close()
	h.Close()
	// Later the index remembers whose mailbox it is.
	mustRemove(t, filepath.Join(l.Root, uidlistName))
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	if v := m.View(); v.GUID.String() != testGUID || v.UIDValidity != 7 || v.Len() != 3 || v.At(0).UID < 10 {
		t.Errorf("GUID %v V %d %q", v.GUID, v.UIDValidity, shown(v))
	}
}

func TestUIDListOfAnother(t *testing.T) {
	l, _, m := inboxWith(t, "3 V7 N9 G"+testGUID+"\n1 :1.a\n3 :3.c\n", "1.a:2,", "3.c:2,S")
	wantShown(t, m, "1", `3 \Seen`)
	list := filepath.Join(l.Root, uidlistName)
	replace := func(text string) {
		put(t, list+".x", text)
		mustRename(t, list+".x", list)
	}
	t.Run("same name twice", func(t *testing.T) {
		replace("3 V7 N9 G" + testGUID + "\n1 :1.a\n3 :3.c\n9 :1.a\n")
		wantShown(t, m, `3 \Seen`, "9")
		if got := listOf(t, l); got != "3 V7 N10 G"+testGUID+"\n3 :3.c\n9 :1.a\n" {
			t.Errorf("uidlist %q", got)
		}
	})
	t.Run("N is never lowered", func(t *testing.T) {
		replace("3 V7 N4 G" + testGUID + "\n3 :3.c\n")
		wantShown(t, m, `3 \Seen`, "10")
		if v := m.View(); v.UIDNext != 11 {
			t.Errorf("UIDNEXT %d", v.UIDNext)
		}
	})
	t.Run("new UIDVALIDITY", func(t *testing.T) {
		replace("3 V8 N3 G" + testGUID + "\n1 :3.c\n2 :1.a\n")
		wantShown(t, m, `1 \Seen`, "2")
		if v := m.View(); v.UIDValidity != 8 || v.UIDNext != 3 {
			t.Errorf("V %d UIDNEXT %d", v.UIDValidity, v.UIDNext)
		}
	})
	t.Run("not a file", func(t *testing.T) {
		mustRemove(t, list)
		if err := os.Mkdir(list, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Sync(t.Context()); err == nil {
			t.Error("a directory was read as uidlist")
		}
	})
}

func TestExpungedReappears(t *testing.T) {
	l, h, m := inboxWith(t, "", "1.a:2,", "2.b:2,", "3.c:2,")
	wantShown(t, m, "1", "2", "3")
	back := filepath.Join(l.Root, "back")
	cur := filepath.Join(l.Root, "cur", "2.b:2,")
	mustRename(t, cur, back)
	wantShown(t, m, "1", "3")
	mustRename(t, back, cur)
	wantShown(t, m, "1", "3", "4")
	// And over a restart, which the index remembers.
	mustRename(t, filepath.Join(l.Root, "cur", "1.a:2,"), back)
	wantShown(t, m, "3", "4")
	m.Close()
	h.Close()
	mustRename(t, back, filepath.Join(l.Root, "cur", "1.a:2,"))
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	wantShown(t, m, "3", "4", "5")
	if got := listOf(t, l); strings.Contains(got, "\n1 ") || strings.Contains(got, "\n2 ") {
		t.Errorf("uidlist %q", got)
	}
}

func TestRewriteWhenMostIsGone(t *testing.T) {
	list := "3 V7 N300 G" + testGUID + "\n"
	for i := 1; i < 300; i++ {
		list += fmt.Sprintf("%d :gone%d\n", i, i)
	}
	l, _, m := inboxWith(t, list, "gone7:2,")
	wantShown(t, m, "7")
	if got := listOf(t, l); got != "3 V7 N300 G"+testGUID+"\n7 :gone7\n" {
		t.Errorf("uidlist %.100q", got)
	}
}

func TestLastUID(t *testing.T) {
	_, _, m := inboxWith(t, "3 V7 N4294967294 G"+testGUID+"\n", "1.a:2,")
	if _, err := trySave(m, "x", mailbox.SaveInfo{NeedUID: true}); !errors.Is(err, mailbox.ErrLimit) {
		t.Errorf("saving without UIDs left: %v", err)
	}
	if n := len(names(t, filepath.Join(m.b.f().dir, "new"))); n != 0 {
		t.Errorf("%d files stand without acknowledgement", n)
	}
}
