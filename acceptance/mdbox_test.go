package acceptance

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/storage/storagetest"
)

// globalKey makes an EC key pair as settings have it.
func globalKey(t testing.TB) (public, private string) {
	t.Helper()
	pem := opensslKey(t, "")
	cmd := exec.Command("openssl", "pkey", "-pubout")
	cmd.Stdin = strings.NewReader(pem)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out), base64.StdEncoding.EncodeToString([]byte(pem))
}

// TestMdbox uses an mdbox store through the daemon in all ways, kills the daemon, and in the
// end has real Dovecot find every message in the same files.
func TestMdbox(t *testing.T) {
	for _, compression := range []string{"", "zstd"} {
		t.Run(cond(compression, "plain"), func(t *testing.T) {
			dir := scratch(t)
			public, private := globalKey(t)
			fields := "mail_crypt_global_public_key=" + public + " mail_crypt_global_private_key=" + private
			d := setup{
				dir: dir, users: "u:{PLAIN}pw::::::mail_crypt_save_version=2 quota_rule=*:storage=100M " + fields + "\n",
				top:  "mail_location = \"mdbox:~/mdbox\"\nmail_attribute_dict = \"file:~/attributes\"\nmdbox_rotate_size = \"64k\"\n",
				rest: fmt.Sprintf("[namespace]\nseparator = \"/\"\n[zlib]\nsave = %q\n", compression),
			}.start(t)
			canary := storagetest.NewCanary()
			want := useMdbox(t, d, canary)
			d.kill()
			d.start(t)
			compareMdbox(t, d, want)
			d.stop(t)
			if n := canary.Check(t, dir); n < 4 {
				t.Errorf("only %d files were looked at", n)
			}
			d.start(t)
			compareMdbox(t, d, want)
			want["INBOX"] = tellMdbox(t, d)
			if out, code := d.tool(t, "", "cryptokey", "check", "-u", "u"); code != 0 {
				t.Errorf("check: %d\n%s", code, out)
			}
			d.stop(t)
			dovecotReadsMdbox(t, dir, fields, want)
		})
	}
}

// useMdbox fills a store and returns what is in its mailboxes.
func useMdbox(t *testing.T, d *daemon, canary *storagetest.Canary) map[string]map[int]fetched {
	t.Helper()
	c := login(t, d.imap, "u", "pw")
	must := func(format string, args ...any) answer {
		t.Helper()
		a := c.do(format, args...)
		if !a.ok() {
			t.Fatalf("%s: %s", format, a.tagged)
		}
		return a
	}
	must("CREATE %s", quote("Zw&APY-lf/Deep"))
	must("SUBSCRIBE %s", quote("Zw&APY-lf/Deep"))
	for n := range 12 {
		message := mail(fmt.Sprint("delivered ", n), 1<<n*8)
		replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, message)
		if err != nil || !strings.HasPrefix(replies[0], "250") {
			t.Fatal(replies, err)
		}
		if a := c.appendMail("Zw&APY-lf/Deep", `(\Seen work)`, mail(fmt.Sprint("appended ", n), 3000*n)); !a.ok() {
			t.Fatal(a.tagged)
		}
	}
	if a := c.appendMail("INBOX", `()`, mail("large", 3<<20)); !a.ok() { // above the size of a file, and of what is kept in memory
		t.Fatal(a.tagged)
	}
	if a := c.appendMail("INBOX", `(\Flagged)`, canary.Message()); !a.ok() {
		t.Fatal(a.tagged)
	}
	must("SELECT INBOX")
	must("CREATE Other")
	must("COPY 1:5 Other")
	must("MOVE 2,4,12 Other")
	must(`STORE 1:3 +FLAGS (\Deleted $Junk)`)
	must("EXPUNGE")
	must(`STORE 1:* +FLAGS (\Answered)`)
	must("RENAME %s Renamed", quote("Zw&APY-lf"))
	must("CREATE Gone")
	must("COPY 1 Gone")
	must("DELETE Gone")
	if a := must("GETQUOTAROOT INBOX"); !strings.Contains(fmt.Sprint(a.untagged), "STORAGE") {
		t.Errorf("no quota: %v", a.untagged)
	}
	want := map[string]map[int]fetched{}
	for _, name := range []string{"INBOX", "Other", "Renamed/Deep"} {
		want[name] = c.fetchAll(name)
	}
	if len(want["INBOX"]) != 8 || len(want["Other"]) != 8 || len(want["Renamed/Deep"]) != 12 {
		t.Fatalf("%d, %d and %d messages", len(want["INBOX"]), len(want["Other"]), len(want["Renamed/Deep"]))
	}
	// Flags are acknowledged before they are durable, and are there once a modseq was told.
	must("STATUS INBOX (HIGHESTMODSEQ)")
	return want
}

// tellMdbox has two sessions wait, one for its mailbox and one, by NOTIFY, for others, and
// returns what is in INBOX after they were told of a delivery and of a new folder.
func tellMdbox(t *testing.T, d *daemon) map[int]fetched {
	t.Helper()
	idle, notify := login(t, d.imap, "u", "pw"), login(t, d.imap, "u", "pw")
	if a := idle.do("SELECT INBOX"); !a.ok() {
		t.Fatal(a.tagged)
	}
	if a := notify.do("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))"); !a.ok() {
		t.Fatal(a.tagged)
	}
	fmt.Fprint(idle.c, "i IDLE\r\n")
	until := func(c *imapConn, what string) {
		t.Helper()
		c.c.SetDeadline(time.Now().Add(60 * time.Second))
		for {
			u, err := c.readOne()
			if err != nil {
				t.Fatalf("nobody is told of %s: %v", what, err)
			}
			if strings.Contains(u.line, what) {
				return
			}
		}
	}
	until(idle, "+")
	replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, mail("told", 100))
	if err != nil || !strings.HasPrefix(replies[0], "250") {
		t.Fatal(replies, err)
	}
	until(idle, " EXISTS")
	until(notify, "STATUS INBOX")
	c := login(t, d.imap, "u", "pw")
	if a := c.do("CREATE Announced"); !a.ok() {
		t.Error(a.tagged)
	}
	until(notify, "Announced")
	return c.fetchAll("INBOX")
}

func compareMdbox(t *testing.T, d *daemon, want map[string]map[int]fetched) {
	t.Helper()
	c := login(t, d.imap, "u", "pw")
	defer c.close()
	for name, messages := range want {
		have := c.fetchAll(name)
		if len(have) != len(messages) {
			t.Errorf("%s: %d messages, want %d", name, len(have), len(messages))
		}
		for uid, m := range messages {
			h := have[uid]
			slices.Sort(h.flags)
			slices.Sort(m.flags)
			if !bytes.Equal(h.body, m.body) || h.date != m.date || !slices.Equal(h.flags, m.flags) {
				t.Errorf("%s: UID %d has %v of %s, want %v of %s, or another text", name, uid, h.flags, h.date, m.flags, m.date)
			}
		}
	}
}

// dovecotReadsMdbox has Dovecot make its own indexes from the files, and read what it finds:
// every text once, for copies are references.
func dovecotReadsMdbox(t *testing.T, dir, fields string, want map[string]map[int]fetched) {
	t.Helper()
	dc := dovecotSetup{homes: dir, plugins: "mail_crypt zlib", plugin: "mail_crypt_save_version = 2\n",
		users: "u:{PLAIN}pw::::::userdb_" + strings.ReplaceAll(fields, " mail", " userdb_mail") + "\n"}.start(t)
	adm := func(args ...string) string {
		t.Helper()
		command := append([]string{args[0], "-u", "u"}, args[1:]...)
		if args[0] == "-f" {
			command = append([]string{"-f", args[1], args[2], "-u", "u"}, args[3:]...)
		}
		return dc.adm(t, append([]string{"-o", "mail_location=mdbox:~/mdbox", "-o", "namespace/inbox/separator=/"}, command...)...)
	}
	adm("force-resync", "INBOX")
	texts := map[string]bool{}
	for _, box := range want {
		for _, m := range box {
			texts[sha(m.body)] = true
		}
	}
	found := map[string]bool{}
	for line := range strings.Lines(adm("search", "all")) {
		guid, uid, _ := strings.Cut(strings.TrimSpace(line), " ")
		text := adm("-f", "flow", "fetch", "text", "mailbox-guid", guid, "uid", uid)
		_, text, _ = strings.Cut(text, "text=")
		found[sha([]byte(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")))] = true
	}
	for sum := range texts {
		if !found[sum] {
			t.Errorf("Dovecot does not find one of %d texts", len(texts))
		}
	}
	if bad := dc.troubles(); len(bad) > 0 {
		t.Errorf("Dovecot complains:\n%s", strings.Join(bad[:min(len(bad), 5)], "\n"))
	}
}
