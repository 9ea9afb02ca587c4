package mdbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
)

// TestResyncAsDovecot: of message files alone, and of files with duplicates, Dovecot's rebuild
// and ours make the same mailboxes with the same messages.
func TestResyncAsDovecot(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox:ALT=~/alt", "", func(t *testing.T, dove *dovetest.Dovecot) {
		if err := os.Mkdir(filepath.Join(dove.Home, "alt"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"INBOX", "Work/Zwölf", "Later"} {
			dove.Doveadm("", "mailbox", "create", name)
			for i := range 12 {
				dove.Doveadm(fmt.Sprintf("Subject: %s %d\r\n\r\n%s\r\n", name, i, strings.Repeat("x", 100*i)), "save", "-m", name)
			}
		}
		dove.Doveadm("", "copy", "Later", "mailbox", "INBOX", "1:3")
		dove.Doveadm("", "expunge", "mailbox", "INBOX", "2:4")
		dove.Output("", "purge")
		dove.Doveadm("", "altmove", "mailbox", "Later", "all")
		dove.Output("", "purge")
		dove.Doveadm("", "expunge", "mailbox", "Work/Zwölf", "5") // which a rebuild brings back
		dove.Doveadm("", "mailbox", "rename", "Later", "Latest")  // of which it does not know

		root := filepath.Join(dove.Home, "mdbox")
		own := filepath.Join(dove.Home, "own")
		for _, dir := range []string{"storage", "mailboxes"} {
			if err := os.CopyFS(filepath.Join(own, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.CopyFS(filepath.Join(own, "alt"), os.DirFS(filepath.Join(dove.Home, "alt"))); err != nil {
			t.Fatal(err)
		}
		// A message that is there twice.
		b, err := os.ReadFile(filepath.Join(root, "storage", "m.3"))
		if err != nil {
			list, _ := os.ReadDir(filepath.Join(root, "storage"))
			t.Fatal(err, list)
		}
		for _, dir := range []string{own, root} {
			if err := os.WriteFile(filepath.Join(dir, "storage", "m.90"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, pattern := range []string{"storage/dovecot*", "mailboxes/*/dbox-Mails", "mailboxes/*/*/dbox-Mails", "mailboxes/*/*", "mailboxes/*", "dovecot*"} {
			list, _ := filepath.Glob(filepath.Join(root, pattern))
			for _, path := range list {
				os.RemoveAll(path)
			}
		}
		dove.Doveadm("", "mailbox", "create", "INBOX")
		dove.Output("", "force-resync", "INBOX")
		want := map[string][]string{}
		for _, name := range dove.Doveadm("", "mailbox", "list")[1:] {
			out := dove.Output("", "-f", "json", "fetch", "guid", "mailbox", name, "all")
			var rows []struct{ GUID string }
			if err := json.Unmarshal([]byte(out), &rows); err != nil && out != "" {
				t.Fatalf("%v: %q", err, out)
			}
			for _, r := range rows {
				want[name] = append(want[name], r.GUID)
			}
		}

		loc := Location{Root: own, Alt: filepath.Join(own, "alt")}
		if err := os.RemoveAll(filepath.Join(own, "mailboxes")); err != nil {
			t.Fatal(err)
		}
		r, err := Resync(t.Context(), loc, Options{}, ResyncOptions{FilesOnly: true})
		if err != nil || r.Duplicates == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := os.RemoveAll(filepath.Join(own, "storage", "dovecot.map.index")); err != nil {
			t.Fatal(err)
		}
		h, err := Open(t.Context(), loc, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		got := map[string][]string{}
		for name := range r.Placed {
			m := rsOpen(t, h, name)
			v, err := m.Sync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range v.All() {
				got[name] = append(got[name], msg.GUID)
			}
			m.Close()
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("%s holds %q, Dovecot has %q", name, got[name], want[name])
			}
		}
		if len(got) != len(want) || len(want) != 3 {
			t.Errorf("%d mailboxes, Dovecot has %d: %v", len(got), len(want), want)
		}
	})
}
