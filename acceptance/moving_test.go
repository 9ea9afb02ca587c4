package acceptance

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// importConfig makes a configuration out of a running Dovecot's, as docs/operations.md says, and
// changes in it what a daemon beside Dovecot must have of its own.
func importConfig(t *testing.T, dove *dovecot, dir string) *daemon {
	t.Helper()
	printed, err := exec.Command("doveconf", "-nP", "-c", dove.conf).Output()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, config: filepath.Join(dir, "mailcryptd.toml"), imap: freeAddress(t), lmtp: freeAddress(t)}
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), "config", "import", "--output", d.config, "-")
	cmd.Stdin = bytes.NewReader(printed)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), d.config+" loads.") {
		t.Fatalf("config import: %v\n%s", err, out)
	}
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []struct{ table, address string }{{"imap", d.imap}, {"lmtp", d.lmtp}} {
		listen := regexp.MustCompile(`(?s)(\[` + own.table + `\]\n.*?listen = )\[[^]]*\]`)
		if !listen.Match(text) {
			t.Fatalf("no addresses of %s:\n%s", own.table, text)
		}
		text = listen.ReplaceAll(text, []byte(`${1}["`+own.address+`"]`))
	}
	writeFile(t, d.config, "state_dir = \"state\"\nmail_log = \"debug\"\n"+string(text))
	check := exec.Command(filepath.Join(bin, "mailcryptd"), "check-config", "-c", d.config)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("check-config: %v\n%s\n%s", err, out, text)
	}
	return d
}

// TestMovingFromDovecot follows docs/operations.md: Dovecot's configuration imported, both
// serving one Maildir, the keys copied to a dictionary of our own, and back.
func TestMovingFromDovecot(t *testing.T) {
	dir := scratch(t)
	dove := dovecotSetup{homes: dir,
		users:  "u:{PLAIN}pass::::::userdb_mail_crypt_private_password=sesame\nv:{PLAIN}pass::::::userdb_mail_crypt_private_password=open\n",
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\nmail_crypt_require_encrypted_user_key = yes\nzlib_save = gz\n"}.start(t)
	want := map[string]bool{}
	save := func(address, subject string) {
		t.Helper()
		m := mail(subject, 2000)
		c := login(t, address, "u", "pass")
		defer c.close()
		if a := c.appendMail("INBOX", "", m); !a.ok() {
			t.Fatal(a.tagged)
		}
		want[sha(m)] = true
	}
	read := func(who, address string) {
		t.Helper()
		c := login(t, address, "u", "pass")
		defer c.close()
		got := c.fetchAll("INBOX")
		for _, f := range got {
			if !want[sha(f.body)] {
				t.Errorf("%s reads something else", who)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s reads %d messages of %d", who, len(got), len(want))
		}
	}
	run := func(d *daemon, status int, says string, args ...string) {
		t.Helper()
		if out, got := d.tool(t, "", args...); got != status || !strings.Contains(out, says) {
			t.Errorf("%v: status %d, want %d and %q\n%s", args, got, status, says, out)
		}
	}
	save(dove.imap, "by Dovecot alone")

	d := importConfig(t, dove, dir)
	d.start(t)
	save(d.imap, "by mailcryptd")
	save(dove.imap, "by Dovecot beside it")
	read("mailcryptd", d.imap)
	read("Dovecot", dove.imap)
	run(d, 0, "u: all keys are there", "cryptokey", "check", "-A")

	const file, bolt = "file:~/Maildir/dovecot-attributes", "bolt:~/keys.db"
	run(d, 75, "systemctl stop mailcryptd", "dict", "copy", "-u", "u", file, bolt)
	d.stop(t)
	run(d, 0, "Would copy", "dict", "copy", "-A", "--dry-run", file, bolt)
	run(d, 0, "u     "+file, "dict", "copy", "-A", file, bolt)
	change := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(d.config)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%v: no %s in\n%s", err, from, text)
		}
		writeFile(t, d.config, strings.ReplaceAll(string(text), from, to))
	}
	change("file:%h/Maildir/dovecot-attributes", bolt)
	d.start(t)
	read("mailcryptd with its own dictionary", d.imap)
	save(d.imap, "under its own dictionary")
	run(d, 0, "u: all keys are there", "cryptokey", "check", "-A")
	d.stop(t)

	// And back: what was made meanwhile is added to what Dovecot has.
	run(d, 0, "", "dict", "copy", "-u", "u", "--merge", bolt, file)
	run(d, 0, " 0 ", "dict", "copy", "-u", "u", "--merge", "--dry-run", bolt, file)
	read("Dovecot after the way back", dove.imap)
	for _, l := range dove.troubles() {
		t.Errorf("Dovecot: %s", l)
	}
}

// TestBackupAndRestore follows docs/operations.md: a copy proves itself, is put back, and one
// that lacks something says so.
func TestBackupAndRestore(t *testing.T) {
	dir, backup := scratch(t), scratch(t)
	d := setup{dir: dir, top: "mail_home = \"" + dir + "/homes/%u\"\n", users: "u:{PLAIN}pass::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n"}.start(t)
	want := map[string]bool{}
	c := login(t, d.imap, "u", "pass")
	for _, subject := range []string{"one", "two"} {
		m := mail(subject, 3000)
		want[sha(m)] = true
		if a := c.appendMail("INBOX", "", m); !a.ok() {
			t.Fatal(a.tagged)
		}
	}
	c.close()
	d.stop(t)
	home, copied := filepath.Join(dir, "homes"), filepath.Join(backup, "homes")
	shell := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	check := func(status int, says, stdin string, args ...string) {
		t.Helper()
		if out, got := d.tool(t, stdin, append([]string{"cryptokey", "check-backup"}, args...)...); got != status || !strings.Contains(out, says) {
			t.Errorf("check-backup %v: status %d, want %d and %q\n%s", args, got, status, says, out)
		}
	}
	shell("cp", "-a", home, copied)
	check(0, "u: all keys are there: 2 messages encrypted", "", "-A", backup)
	check(0, "1 of 1 user keys open", "pass\n", "-u", "u", "--open", backup)
	check(65, "KEYS STAY SHUT", "other\n", "-u", "u", "--open", backup)

	// The disk is lost; the copy comes back without its cache.
	shell("rm", "-r", home)
	shell("cp", "-a", copied, home)
	shell("find", home, "-name", "mailcryptd.index.db", "-delete")
	d.start(t)
	c = login(t, d.imap, "u", "pass")
	got := c.fetchAll("INBOX")
	for _, f := range got {
		if !want[sha(f.body)] {
			t.Error("what was restored is something else")
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d messages were restored", len(got))
	}
	c.close()
	check(0, "u: all keys are there", "", "-A", backup) // beside the daemon

	if err := os.Remove(filepath.Join(copied, "u", "keys.db")); err != nil {
		t.Fatal(err)
	}
	check(65, "KEYS ARE MISSING: 2 messages encrypted", "", "-A", backup)
}
