package acceptance

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestDovecotResealsUnderLoad has real doveadm give the keys new seals by the same secret, again
// and again, while sessions of mailcryptd read and save. None of them makes a key: Dovecot
// 2.3.19.1 commits while it still iterates, and does not read the dictionary again under its
// lock then (dict-file.c, file_dict_refresh), so that it takes away what others have stored.
func TestDovecotResealsUnderLoad(t *testing.T) {
	const dict = "file:~/Maildir/dovecot-attributes"
	count := &loadCount{}
	var ours, theirs strings.Builder
	var users []*loadUser
	for _, name := range []string{"many", "u1", "u2"} {
		fmt.Fprintf(&ours, "%s:{PLAIN}first::::::mail_crypt_save_version=2 mail_crypt_private_password=sesame\n", name)
		fmt.Fprintf(&theirs, "%s:{PLAIN}first::::::userdb_mail_crypt_private_password=sesame\n", name)
		u := newLoadUser(name, "first", "", count)
		u.secret, u.fixed = "sesame", true
		users = append(users, u)
	}
	d := setup{
		dir: scratch(t), users: ours.String(), top: fmt.Sprintf("mail_attribute_dict = %q\n", dict),
		crypt: "curve = \"prime256v1\"\nseal_rounds = 2048\n",
		rest:  "[auth]\nfailure_delay = \"50ms\"\nmax_delay = \"500ms\"\n",
		imap:  "mail_max_userip_connections = 0\n",
	}.start(t)
	dove := dovecotSetup{homes: d.dir, users: theirs.String(), plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\n"}.start(t)
	for _, u := range users {
		u.address = d.imap
		c, err := u.login(t)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := c.tryAppend("INBOX", "", u.offer("first")); err != nil || !a.ok() { // makes INBOX's key
			t.Fatal(a.tagged, err)
		}
		u.accepted("INBOX", "load-first")
		c.close()
	}
	load := startLoad(t, d, users, 12, 4)
	for _, u := range users {
		load.until("changes of "+u.name, func(int) error {
			out, err := exec.Command("doveadm", "-c", dove.conf, "mailbox", "cryptokey", "password", "-u", u.name, "-o", "sesame", "-n", "sesame").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Changed password for 1 key(s)") {
				return fmt.Errorf("doveadm: %w: %s", cause(err), out)
			}
			count.changes.Add(1)
			return nil
		})
	}
	load.end(loadTime(t))
	after(t, d, dict, users)
	if bad := dove.troubles(); len(bad) > 0 {
		t.Errorf("Dovecot complains:\n%s", strings.Join(bad, "\n"))
	}
	t.Log(count)
	if count.changes.Load() == 0 || count.logins.Load() == 0 || count.delivered.Load() == 0 {
		t.Error("there was no load")
	}
}
