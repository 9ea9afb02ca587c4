package acceptance

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mailcrypt/admin"
)

// TestKeyOperationsBesideDovecot rotates, moves and re-seals keys in a dictionary in which a
// running Dovecot makes keys at the same time, and wants both to read everything.
func TestKeyOperationsBesideDovecot(t *testing.T) {
	dir := scratch(t)
	d := setup{
		dir: dir, users: "u:{PLAIN}pass::::::mail_crypt_save_version=2 mail_crypt_private_password=sesame\n",
		top:   "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: "curve = \"prime256v1\"\nseal_rounds = 2048\n",
	}.start(t)
	login(t, d.imap, "u", "pass").close() // makes the user key
	dove := dovecotSetup{homes: dir, users: "u:{PLAIN}pass::::::userdb_mail_crypt_private_password=sesame\n",
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\n"}.start(t)
	folders := 25
	if testing.Short() {
		folders = 6
	}
	m := mail("beside", 3000)
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			c := dialIMAP(t, dove.imap)
			defer c.close()
			if a := c.do("LOGIN u pass"); !a.ok() {
				return fmt.Errorf("Dovecot: %s", a.tagged)
			}
			for i := range folders {
				f := fmt.Sprintf("D%d", i)
				if a := c.do("CREATE %s", f); !a.ok() {
					return fmt.Errorf("Dovecot: %s", a.tagged)
				}
				if a := c.appendMail(f, "", m); !a.ok() {
					return fmt.Errorf("Dovecot: %s", a.tagged)
				}
				if a := c.appendMail("INBOX", "", m); !a.ok() {
					return fmt.Errorf("Dovecot: %s", a.tagged)
				}
			}
			return nil
		}()
	}()
	ctx := context.Background()
	s := d.dialAdmin(t)
	p := admin.Password{Secret: []byte("sesame")}
	operations := 0
	for running := true; running; operations++ {
		var err error
		switch operations % 3 {
		case 0:
			_, err = s.Generate(ctx, admin.GenerateRequest{User: "u", UserKey: true, Force: true, Password: &p, Rewrap: true})
		case 1:
			_, err = s.Reseal(ctx, admin.ResealRequest{User: "u", Old: []admin.Password{p}, New: &p})
		case 2:
			_, err = s.Generate(ctx, admin.GenerateRequest{User: "u", Folders: []string{"D*"}, Force: true})
		}
		if err != nil {
			t.Errorf("operation %d: %v", operations, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false
		default:
		}
	}
	t.Logf("%d operations beside %d folders", operations, folders)
	if r, err := s.Rewrap(ctx, admin.RewrapRequest{User: "u", Secrets: []admin.Password{p}}); err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Check(ctx, admin.CheckRequest{User: "u", Secrets: []admin.Password{p}}); err != nil || r.Scan.Messages != int64(2*folders) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, address := range []string{d.imap, dove.imap} {
		c := login(t, address, "u", "pass")
		if got := c.fetchAll("INBOX"); len(got) != folders {
			t.Errorf("%d messages in INBOX, want %d", len(got), folders)
		}
		for i := range folders {
			if got := c.fetchAll(fmt.Sprintf("D%d", i)); len(got) != 1 || sha(got[1].body) != sha(m) {
				t.Errorf("the mail of D%d is not what it was", i)
			}
		}
	}
	if bad := dove.troubles(); len(bad) > 0 {
		t.Errorf("Dovecot complains:\n%s", strings.Join(bad, "\n"))
	}
}
