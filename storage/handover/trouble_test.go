package handover

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// writeText replaces bytes of a file.
func writeText(t testing.TB, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fillDovecot has real Dovecot save, copy and expunge.
func fillDovecot(d *dovetest.Dovecot) {
	for _, name := range []string{"INBOX", "Work/Zwölf", "Other"} {
		d.Output("", "mailbox", "create", "-s", name)
		for i := range 6 {
			d.Doveadm("Subject: "+name+" "+strings.Repeat("x", i)+"\r\n\r\n"+strings.Repeat("text\r\n", 10*i), "save", "-m", name)
		}
	}
	d.Doveadm("", "flags", "add", `\Seen word`, "mailbox", "INBOX", "2:3")
	d.Doveadm("", "copy", "Other", "mailbox", "INBOX", "1:3")
	d.Doveadm("", "expunge", "mailbox", "Work/Zwölf", "2")
}

// TestSdbox: what Dovecot says of a real sdbox is so afterwards, in place and elsewhere; a copy
// that is a hard link there shares its bytes here.
func TestSdbox(t *testing.T) {
	dovetest.Run(t, "sdbox:~/sdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		fillDovecot(d)
		want := asDovecot(d)
		root := filepath.Join(d.Home, "sdbox")
		for _, l := range []mdbox.Location{{Root: filepath.Join(d.Home, "new"), Index: filepath.Join(d.Home, "ix")}, {Root: root}} {
			src, err := ParseSource(root, "", l)
			if err != nil {
				t.Fatal(err)
			}
			if l.Root == root {
				if _, err := mdbox.Open(t.Context(), l, mdbox.Options{}); !errors.Is(err, mdbox.ErrDovecot) {
					t.Errorf("a store in front of an sdbox: %v", err)
				}
			}
			r, err := Import(t.Context(), src, l, Options{})
			if err != nil || len(r.Notes)+len(r.Damaged) > 0 || r.Stored != 17 || r.Messages() != 20 {
				t.Fatalf("%+v %v", r, err)
			}
			got := asOurs(t, l)
			sameLines(t, l.Root, got, want)
			if l.Root == root {
				if left, _ := filepath.Glob(filepath.Join(root, "mailboxes", "*", "dbox-Mails", "*")); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
				if old, _ := filepath.Glob(filepath.Join(r.Aside, "mailboxes", "INBOX", "dbox-Mails", "u.*")); len(old) != 6 {
					t.Errorf("put aside: %q", old)
				}
			}
		}
	})
}

// TestExportElsewhere: a new store beside ours, with INDEX= or not, is Dovecot's, and ours
// goes on.
func TestExportElsewhere(t *testing.T) {
	dovetest.Run(t, "mdbox:~/out", "", func(t *testing.T, d *dovetest.Dovecot) {
		fillDovecot(d)
		src := Source{Location: mdbox.Location{Root: filepath.Join(d.Home, "out")}}
		l := mdbox.Location{Root: filepath.Join(d.Home, "own"), Index: filepath.Join(d.Home, "ix"), Control: filepath.Join(d.Home, "ctl")}
		if _, err := Import(t.Context(), src, l, Options{}); err != nil {
			t.Fatal(err)
		}
		want := asOurs(t, l)
		if err := os.Rename(src.Root, filepath.Join(d.Home, "old")); err != nil {
			t.Fatal(err)
		}
		if _, err := Export(t.Context(), l, src.Root, Options{}); err != nil {
			t.Fatal(err)
		}
		sameLines(t, "elsewhere", asDovecot(d), want)
		sameLines(t, "ours", asOurs(t, l), want)
		if out := d.Output("", "mailbox", "list", "-s"); !strings.Contains(out, "Work/Zwölf") {
			t.Errorf("subscribed: %q", out)
		}
		if _, err := Export(t.Context(), l, src.Root, Options{}); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("over another store: %v", err)
		}
		// At its place, where indexes have a directory of their own.
		if r, err := Export(t.Context(), l, "", Options{}); err != nil || !strings.HasPrefix(r.Aside, l.Index) {
			t.Fatal(r, err)
		}
		writeText(t, d.Conf, func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), "mdbox:~/out", "mdbox:~/own:INDEX=~/ix:CONTROL=~/ctl"))
		})
		sameLines(t, "INDEX=", asDovecot(d), want)
		d.Doveadm("Subject: more\r\n\r\n", "save", "-m", "Other")
		want = asDovecot(d)
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{}); err != nil {
			t.Fatal(err)
		}
		sameLines(t, "INDEX= and back", asOurs(t, l), want)
	})
}

// TestInUse: a store that Dovecot has open is left alone.
func TestInUse(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		fillDovecot(d)
		client := d.IMAP()
		defer client.Close()
		client.OK("SELECT INBOX")
		l := mdbox.Location{Root: filepath.Join(d.Home, "mdbox")}
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "imap") {
			t.Errorf("while a client has it selected: %v", err)
		}
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{Force: true, DryRun: true}); err != nil {
			t.Error(err)
		}
	})
}

// damagedStore copies a store of Dovecot's and has something happen to it.
func damagedStore(t *testing.T, from string, harm func(root string)) (Source, mdbox.Location) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "mdbox")
	if out, err := exec.Command("cp", "-a", from, root).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	harm(root)
	l := mdbox.Location{Root: root}
	return Source{Location: l}, l
}

// TestDamage: what is lost costs no more than itself, and is told.
func TestDamage(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		fillDovecot(d)
		d.Doveadm("Subject: big\r\n\r\n"+strings.Repeat("big\r\n", 3<<20), "save", "-m", "Other") // in a file of its own
		want := asDovecot(d)
		from := filepath.Join(d.Home, "mdbox")

		t.Run("no map", func(t *testing.T) {
			src, l := damagedStore(t, from, func(root string) {
				for _, f := range []string{"", ".log"} {
					os.Remove(filepath.Join(root, "storage", mapIndex+f))
				}
			})
			r, err := Import(t.Context(), src, l, Options{})
			if err != nil || len(r.Found) != r.Messages() || len(r.Notes) == 0 {
				t.Fatalf("%+v %v", r, err)
			}
			sameLines(t, "by GUID", asOurs(t, l), want)
		})
		t.Run("no index of a mailbox", func(t *testing.T) {
			src, l := damagedStore(t, from, func(root string) {
				dir := filepath.Join(root, "mailboxes", "INBOX", "dbox-Mails")
				for _, f := range []string{boxIndex, boxIndex + ".log", boxIndex + ".backup"} {
					if there(filepath.Join(dir, f)) {
						writeText(t, filepath.Join(dir, f), func(b []byte) []byte { return []byte("damaged") })
					}
				}
			})
			r, err := Import(t.Context(), src, l, Options{})
			if err != nil || len(r.Notes) == 0 {
				t.Fatalf("%+v %v", r, err)
			}
			got := asOurs(t, l)
			others := func(lines []string) []string {
				return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "INBOX") })
			}
			sameLines(t, "the others", others(got), others(want))
			if n := len(got) - len(others(got)); n != 4 { // three messages that were not copied, and the mailbox
				t.Errorf("%d lines of INBOX: %q", n, got)
			}
		})
		t.Run("a file is missing", func(t *testing.T) {
			src, l := damagedStore(t, from, func(root string) { os.Remove(filepath.Join(root, "storage", "m.2")) })
			r, err := Import(t.Context(), src, l, Options{})
			if !errors.Is(err, ErrLost) || len(r.Lost) != 1 || r.Lost[0].Mailbox != "Other" {
				t.Fatalf("%+v %v", r, err)
			}
			if _, err := Import(t.Context(), src, l, Options{Lossy: true}); err != nil {
				t.Fatal(err)
			}
			if got := asOurs(t, l); len(got) != len(want)-1 {
				t.Errorf("%d lines, want %d", len(got), len(want)-1)
			}
		})
		t.Run("a message is damaged", func(t *testing.T) {
			src, l := damagedStore(t, from, func(root string) {
				writeText(t, filepath.Join(root, "storage", "m.1"), func(b []byte) []byte {
					b[16], b[17] = 'X', 'X' // of the first message
					return b
				})
			})
			r, err := Import(t.Context(), src, l, Options{})
			if err != nil || len(r.Damaged) != 2 { // it is in two mailboxes
				t.Fatalf("%+v %v", r, err)
			}
			h := openStore(t, l)
			defer h.Close()
			m, err := h.OpenMailbox(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			v, err := m.Sync(t.Context())
			if err != nil || v.Len() != 6 {
				t.Fatal(v, err)
			}
			for i, msg := range v.All() {
				if _, err := storedOf(t.Context(), m, msg.UID); (i == 0) != errors.Is(err, mailbox.ErrDamaged) {
					t.Errorf("UID %d: %v", msg.UID, err)
				}
			}
		})
		t.Run("both", func(t *testing.T) {
			src, l := damagedStore(t, from, func(string) {})
			if _, err := Import(t.Context(), src, l, Options{}); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(from, "storage", mapIndex+".log"), filepath.Join(l.Root, "storage", mapIndex+".log")); err != nil {
				t.Fatal(err)
			}
			if _, err := Import(t.Context(), src, l, Options{}); !errors.Is(err, ErrBoth) {
				t.Fatal(err)
			}
			sameLines(t, "ours", asOurs(t, l), want)
		})
		t.Run("attachments", func(t *testing.T) {
			src, l := damagedStore(t, from, func(root string) {
				writeText(t, filepath.Join(root, "storage", "m.1"), func(b []byte) []byte {
					return []byte(strings.Replace(string(b), "\nBINBOX\n", "\nX1 2 -\n", 1)) // as long
				})
			})
			r, err := Import(t.Context(), src, l, Options{Lossy: true})
			if !errors.Is(err, ErrAttachments) || len(r.Attachments) == 0 || r.Attachments[0].UID == 0 {
				t.Fatalf("%+v %v", r, err)
			}
			if _, err := mdbox.Open(t.Context(), l, mdbox.Options{}); !errors.Is(err, mdbox.ErrDovecot) {
				t.Errorf("it is not Dovecot's any more: %v", err)
			}
		})
	})
}
