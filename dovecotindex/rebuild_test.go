package dovecotindex

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
)

// A map that does not say up to where it is synced is one that we call inconsistent, and
// Dovecot, too. This also shows that the tests above would hear Dovecot complain.
func TestInconsistentMap(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		storage := filepath.Join(d.Home, "mdbox", "storage")
		must(t, os.MkdirAll(storage, 0o700))
		log, err := (&Map{UIDValidity: 5}).Log(LogOptions{})
		must(t, err)
		log = log[:len(log)-16]
		x, err := Parse(Files{Log: log})
		must(t, err)
		if m, err := x.Map(); err != nil || !m.Inconsistent {
			t.Errorf("%+v, %v", m, err)
		}
		must(t, Create(filepath.Join(storage, "dovecot.map.index"), log))
		_, said, _ := d.Try("Subject: a\n\nb\n", "save")
		if bad := dovetest.Troubles(said); !strings.Contains(strings.Join(bad, " "), "Inconsistency in map index") {
			t.Errorf("Dovecot says %q", said)
		}
	})
}

// Without a map Dovecot finds the messages by their GUIDs when it is told to.
func TestResyncWithoutMap(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", "", func(t *testing.T, d *dovetest.Dovecot) {
		s := d.IMAP()
		s.OK("CREATE Work")
		s.OK("ENABLE QRESYNC")
		p := newPlayer(t, d, s)
		boxes := []string{"INBOX", "Work"}
		for range 30 {
			p.step(boxes)
		}
		s.Append("INBOX", `\Seen kw1`, "Subject: last\r\n\r\nb\r\n")
		s.Close()
		d.Doveadm("", "purge") // what is expunged and still in the files would come back
		want := compare(t, d, "mdbox", boxes...)
		old := filepath.Join(d.Home, "old")
		root := filepath.Join(d.Home, "mdbox")
		must(t, os.Rename(root, old))
		for _, b := range boxes {
			rewrite(t, old, root, b, (*Index).Mdbox, func(m *Mailbox, o LogOptions) ([]byte, error) {
				n := *m
				n.MapUIDValidity, n.Messages = 0, slices.Clone(m.Messages)
				for i := range n.Messages {
					n.Messages[i].MapUID = 0
				}
				return n.MdboxLog(o)
			})
		}
		must(t, os.MkdirAll(filepath.Join(root, "storage"), 0o700))
		files, err := filepath.Glob(filepath.Join(old, "storage", "m.*"))
		must(t, err)
		for _, f := range files {
			must(t, os.Rename(f, filepath.Join(root, "storage", filepath.Base(f))))
		}
		if _, said, err := d.Try("", "force-resync", "INBOX"); err != nil {
			t.Fatal(said, err)
		}
		for b, got := range compare(t, d, "mdbox", boxes...) {
			w := want[b]
			if got.UIDValidity != w.UIDValidity || got.NextUID != w.NextUID || got.GUID != w.GUID || len(got.Messages) != len(w.Messages) {
				t.Fatalf("%s is %+v, was %+v", b, got, w)
			}
			for i, g := range got.Messages {
				m := w.Messages[i]
				g.Flags.System, m.Flags.System = g.Flags.System&^mailbox.Recent, m.Flags.System&^mailbox.Recent
				if g.UID != m.UID || !g.Flags.Equal(m.Flags) || g.GUID != m.GUID || !g.Saved.Equal(m.Saved) || g.ModSeq < m.ModSeq {
					t.Errorf("%s: message is %+v, was %+v", b, g, m)
				}
			}
		}
	})
}
