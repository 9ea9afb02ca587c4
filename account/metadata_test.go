package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/mailbox"
	"mailcrypt/metadata"
)

func annotation(t *testing.T, name string) metadata.Entry {
	t.Helper()
	e, err := metadata.ParseEntry(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// annotations prints what a login sees.
func annotations(t *testing.T, l *Login, name string, depth int, entries ...string) string {
	t.Helper()
	var list []metadata.Entry
	for _, e := range entries {
		list = append(list, annotation(t, e))
	}
	values, err := l.Metadata(context.Background(), name, list, depth)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%s=%q %v;", v.Entry, v.Data, v.Data == nil)
	}
	return b.String()
}

func TestMetadata(t *testing.T) {
	ctx := context.Background()
	for _, dict := range []string{"bolt:~/keys.db", "file:~/attributes"} {
		t.Run(dict, func(t *testing.T) {
			w := newWorld(t, dict, time.Millisecond)
			u := user("u", "imap_metadata=yes")
			l := w.login(t, u, "pw")
			if !l.HasMetadata() {
				t.Fatal("off")
			}
			if err := l.Create(ctx, "A"); err != nil {
				t.Fatal(err)
			}
			in, a := open(t, l, "INBOX"), open(t, l, "A")
			save(t, in, "x: y\r\n\r\nz\r\n") // with keys of user and folder
			save(t, a, "x: y\r\n\r\nz\r\n")
			a.Close()
			set := func(name, entry, value string) {
				t.Helper()
				if err := l.SetMetadata(ctx, name, []metadata.Value{{Entry: annotation(t, entry), Data: []byte(value)}}); err != nil {
					t.Fatal(err)
				}
			}
			set("A", "/private/comment", "a's")
			set("A", "/shared/comment", "all's")
			set("", "/private/comment", "server's")
			set("INBOX", "/private/comment", "inbox's")
			for name, want := range map[string]string{
				"A": `/private/comment="a's" false;/shared/comment="all's" false;`, "": `/private/comment="server's" false;`, "INBOX": `/private/comment="inbox's" false;`, "inbox": `/private/comment="inbox's" false;`,
			} {
				if got := annotations(t, l, name, metadata.Infinity, "/private", "/shared"); got != want {
					t.Errorf("%q holds %s, want %s", name, got, want)
				}
			}
			if err := l.Rename(ctx, "A", "B"); err != nil {
				t.Fatal(err)
			}
			if got := annotations(t, l, "B", 0, "/private/comment"); got != `/private/comment="a's" false;` {
				t.Errorf("after a rename: %s", got)
			}
			if got := annotations(t, l, "A", 0, "/private/comment"); !strings.Contains(got, mailbox.ErrNotFound.Error()) {
				t.Errorf("the old name: %s", got)
			}
			guid, err := l.account.hier.GUID(ctx, "B")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Delete(ctx, "B"); err != nil {
				t.Fatal(err)
			}
			keys := 0
			err = l.account.dict.View(ctx, func(r attrdict.Reader) error {
				return r.Iterate("", func(name string, _ []byte) error {
					if strings.Contains(name, guid.String()) && strings.HasSuffix(name, "comment") {
						t.Errorf("%s outlives its mailbox", name)
					}
					if strings.Contains(name, guid.String()+"/vendor/vendor.dovecot/pvt/crypt/privkeys/") {
						keys++
					}
					return nil
				})
			})
			if err != nil || keys == 0 {
				t.Errorf("%d keys of the deleted mailbox are left, %v", keys, err)
			}
			if n := annotations(t, l, "INBOX", metadata.Infinity, "/private"); n != `/private/comment="inbox's" false;` {
				t.Errorf("INBOX holds %s", n)
			}
			if got, err := read(in, 1); err != nil || !strings.Contains(got, "z") {
				t.Errorf("the mail can't be read any more: %v", err)
			}
		})
	}
}

func TestMetadataRoles(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	d := defaults(dir, "bolt:~/keys.db")
	d.Metadata = true
	d.Folders = []Folder{{Name: "Sent", SpecialUse: `\Sent`, Create: true}}
	w := &world{dir: dir, Registry: NewRegistry(Options{Defaults: d})}
	t.Cleanup(func() { w.Registry.Close() })
	l := w.login(t, user("u"), "pw")
	for _, tt := range []struct {
		name  string
		depth int
		entry string
		want  string
	}{
		{"Sent", 0, "/private/specialuse", `/private/specialuse="\\Sent" false;`},
		{"Sent", 1, "/private", `/private/specialuse="\\Sent" false;`},
		{"Sent", 1, "/shared", ""},
		{"INBOX", 0, "/private/specialuse", `/private/specialuse="" true;`},
		{"INBOX", 1, "/private", ""},
		{"", 0, "/private/specialuse", `/private/specialuse="" true;`},
	} {
		if got := annotations(t, l, tt.name, tt.depth, tt.entry); got != tt.want {
			t.Errorf("%s of %q at depth %d: %s, want %s", tt.entry, tt.name, tt.depth, got, tt.want)
		}
	}
	for name, entry := range map[string]string{"Sent": "/private/specialuse", "INBOX": "/private/specialuse", "": "/shared/admin"} {
		err := l.SetMetadata(ctx, name, []metadata.Value{{Entry: annotation(t, entry), Data: []byte("x")}})
		if !errors.Is(err, metadata.ErrReadOnly) {
			t.Errorf("setting %s of %q: %v", entry, name, err)
		}
	}
	for _, u := range []struct {
		fields []string
		want   bool
	}{{[]string{"imap_metadata=no"}, false}, {[]string{"mail_attribute_dict="}, false}, {nil, true}} {
		s, err := Resolve(d, user("u", u.fields...), nil)
		if err != nil || s.Metadata != u.want {
			t.Errorf("%q: %v, %v", u.fields, s.Metadata, err)
		}
	}
	if _, err := Resolve(d, user("u", "imap_metadata=perhaps"), nil); !errors.Is(err, ErrSettings) {
		t.Errorf("imap_metadata=perhaps: %v", err)
	}
}
