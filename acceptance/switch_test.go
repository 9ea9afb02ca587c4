package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const magic = "CRYPTED\x03\x07"

// storedFiles returns the contents of a user's message files.
func storedFiles(t testing.TB, maildir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	filepath.WalkDir(maildir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if d := filepath.Base(filepath.Dir(p)); d == "new" || d == "cur" {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[p] = string(b)
		}
		return nil
	})
	return files
}

func encryptedCount(files map[string]string) (encrypted, plain int) {
	for _, b := range files {
		if strings.HasPrefix(b, magic) {
			encrypted++
		} else {
			plain++
		}
	}
	return encrypted, plain
}

// TestPerUserSwitch has two users in one passwd-file, of whom a field says whose new mail is
// encrypted; changing the line changes the next delivery.
func TestPerUserSwitch(t *testing.T) {
	dir := scratch(t)
	on, off := "on:{PLAIN}pw::::::userdb_mail_crypt_save_version=2\n", "off:{PLAIN}pw::::::\n"
	d := setup{
		dir: dir, users: on + off, crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n",
	}.start(t)
	// Before its first login a user whose keys hang on the password is deferred, never served in clear.
	replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"on", "off"}, mail("first", 500))
	if err != nil || !strings.HasPrefix(replies[0], "451") || !strings.HasPrefix(replies[1], "250") {
		t.Fatalf("before the first login: %q %v", replies, err)
	}
	if files := storedFiles(t, filepath.Join(dir, "on")); len(files) != 0 {
		t.Fatalf("a deferred delivery left %d files", len(files))
	}
	login(t, d.imap, "on", "pw")
	deliver := func(subject string) {
		t.Helper()
		replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"on", "off"}, mail(subject, 500))
		if err != nil || !strings.HasPrefix(replies[0], "250") || !strings.HasPrefix(replies[1], "250") {
			t.Fatalf("%s: %q %v", subject, replies, err)
		}
	}
	want := func(user string, encrypted, plain int) {
		t.Helper()
		if e, p := encryptedCount(storedFiles(t, filepath.Join(dir, user))); e != encrypted || p != plain {
			t.Errorf("user %s has %d encrypted and %d plain messages, want %d and %d", user, e, p, encrypted, plain)
		}
	}
	deliver("second")
	want("on", 1, 0)
	want("off", 0, 2)

	// Version 0 reads what is encrypted and writes plaintext; the other user is switched on.
	writeFile(t, filepath.Join(dir, "users"), "on:{PLAIN}pw::::::userdb_mail_crypt_save_version=0\noff:{PLAIN}pw::::::mail_crypt_save_version=2\n")
	login(t, d.imap, "off", "pw")
	deliver("third")
	want("on", 1, 1)
	want("off", 1, 2)
	c := login(t, d.imap, "on", "pw")
	if got := c.fetchAll("INBOX"); len(got) != 2 || !strings.Contains(string(got[1].body), "Subject: second\r\n") {
		t.Errorf("version 0 does not read what is encrypted: %d messages", len(got))
	}
	if a := c.appendMail("INBOX", "", append([]byte(magic), "\x02 looks encrypted\r\n"...)); a.ok() {
		t.Error("with encryption off, a message that looks encrypted was accepted")
	}

	// An invalid value refuses the user; nothing is stored.
	writeFile(t, filepath.Join(dir, "users"), "on:{PLAIN}pw::::::userdb_mail_crypt_save_version=7\n"+off)
	replies, err = deliverLMTP(d.lmtp, "s@example.org", []string{"on"}, mail("fourth", 500))
	if err != nil || !strings.HasPrefix(replies[0], "451") {
		t.Errorf("an invalid save_version: %q %v", replies, err)
	}
	want("on", 1, 1)
	if a := dialIMAP(t, d.imap).do("LOGIN on pw"); a.ok() {
		t.Error("a user with an invalid save_version can log in")
	}
}

// TestPasswordChange tells the story of the demo, with the daemon and without.
func TestPasswordChange(t *testing.T) {
	dir := scratch(t)
	d := setup{
		dir: dir, users: "u:{PLAIN}one::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n",
	}.start(t)
	c := login(t, d.imap, "u", "one")
	m := mail("kept", 3000)
	if a := c.appendMail("INBOX", "", m); !a.ok() {
		t.Fatal(a.tagged)
	}
	change := func(from, to string) {
		t.Helper()
		if out, status := d.tool(t, from+"\n"+to+"\n", "user", "password", "-u", "u"); status != 0 {
			t.Fatalf("user password: status %d: %s", status, out)
		}
	}
	// Connections are closed after use: a login shares the open keys of another one with the
	// same password while that lives.
	check := func(old, now string) {
		t.Helper()
		o := dialIMAP(t, d.imap)
		defer o.close()
		if a := o.do("LOGIN u %s", old); a.ok() {
			t.Errorf("the old password %s still logs in", old)
		}
		n := login(t, d.imap, "u", now)
		defer n.close()
		if got := n.fetchAll("INBOX"); sha(got[1].body) != sha(m) {
			t.Errorf("with the new password %s the message is not readable", now)
		}
	}
	c.close()
	change("one", "two")
	check("one", "two")
	if out, status := d.tool(t, "wrong\nthree\n", "user", "password", "-u", "u"); status != 65 {
		t.Errorf("a wrong old password: status %d: %s", status, out)
	}
	if out, status := d.tool(t, "x\ny\n", "user", "password", "-u", "nobody"); status != 67 {
		t.Errorf("an unknown user: status %d: %s", status, out)
	}
	check("one", "two")
	d.stop(t)
	change("two", "four")
	rootOwned(t, dir)
	d.start(t)
	check("two", "four")

	// The seal alone, changed and changed back; in between the login opens nothing and says so.
	if out, status := d.tool(t, "", "cryptokey", "password", "-u", "u", "-o", "four", "-n", "other"); status != 0 || !strings.Contains(out, "Changed password for 1 key(s)") {
		t.Fatalf("cryptokey password: status %d: %s", status, out)
	}
	locked := dialIMAP(t, d.imap)
	a := locked.do("LOGIN u four")
	if !a.ok() || !strings.Contains(a.tagged+fmt.Sprint(a.untagged), "[ALERT]") {
		t.Errorf("a login that opens no key: %s %v", a.tagged, a.untagged)
	}
	locked.do("SELECT INBOX")
	if a := locked.do("FETCH 1 (FLAGS BODY.PEEK[])"); !strings.HasPrefix(a.tagged, "NO [UNAVAILABLE]") {
		t.Errorf("FETCH without the key: %s", a.tagged)
	}
	locked.do("CREATE Kept")
	if a := locked.do("MOVE 1 Kept"); !a.ok() {
		t.Errorf("MOVE without the key: %s", a.tagged)
	}
	if out, status := d.tool(t, "other\nfour\n", "cryptokey", "password", "-u", "u"); status != 0 {
		t.Fatalf("cryptokey password from stdin: status %d: %s", status, out)
	}
	locked.close()
	if got := login(t, d.imap, "u", "four").fetchAll("Kept"); sha(got[1].body) != sha(m) {
		t.Error("what was moved without the key is not readable with it")
	}
}

// rootOwned fails the test for files that root made in the mail user's store.
func rootOwned(t *testing.T, dir string) {
	t.Helper()
	if !isRoot() {
		return
	}
	filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if fi, err := e.Info(); err == nil && ownerOf(fi) != mailUID {
			t.Errorf("%s belongs to user %d", p, ownerOf(fi))
		}
		return nil
	})
}
