package account

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcrypt/storage/mdbox"
)

// A catalog that is lost is made anew in a running process, and the mail is still decrypted.
func TestResyncMdbox(t *testing.T) {
	for name, dict := range map[string]string{"file": fileDict, "bolt": "bolt:~/keys.db"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dict, time.Hour) // files stay open when nobody uses them
			alice := mdboxUser("alice")
			l := w.login(t, alice, "pw")
			if err := l.Create(ctx, "Work"); err != nil {
				t.Fatal(err)
			}
			_, want := mails(t, open(t, l, "Work"))
			guid := open(t, l, "Work").GUID()
			if _, err := w.ResyncMdbox(ctx, alice, mdbox.ResyncOptions{}); !errors.Is(err, ErrStoreOpen) {
				t.Errorf("while there is a session: %v", err)
			}
			l.Close()
			report, err := w.ResyncMdbox(ctx, alice, mdbox.ResyncOptions{})
			if err != nil || !report.Whole() || report.Kept != len(want) {
				t.Fatalf("%+v, %v", report, err)
			}
			if err := os.Remove(filepath.Join(w.dir, "alice/mdbox/storage/mailcryptd.mdbox.db")); err != nil {
				t.Fatal(err)
			}
			report, err = w.ResyncMdbox(ctx, alice, mdbox.ResyncOptions{})
			if err != nil || !report.NoCatalog || report.Placed["Work"] != len(want) || len(report.Created) > 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			l = w.login(t, alice, "pw")
			work := open(t, l, "Work")
			if got := texts(t, work); !slices.Equal(got, want) || work.GUID() != guid {
				t.Errorf("%d messages in %s, want %d in %s", len(got), work.GUID(), len(want), guid)
			}
			if _, err := w.ResyncMdbox(ctx, user("bob"), mdbox.ResyncOptions{}); !errors.Is(err, ErrNotMdbox) {
				t.Error(err)
			}
		})
	}
}
