package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/internal/teststore"
)

// TestDboxVectors takes over every mdbox and sdbox that Dovecot has written, while the daemon
// runs, and compares all that a client can ask for.
func TestDboxVectors(t *testing.T) {
	for _, v := range loadAllVectors(t, func(v *vector) bool { return strings.HasSuffix(v.Driver, "dbox") && !v.WrongKeys }) {
		t.Run(v.Case, func(t *testing.T) {
			t.Parallel()
			from := v.MailLocation
			own := *v
			own.MailLocation = "mdbox:~/mdbox"
			d := own.serve(t)
			if c := dialIMAP(t, d.imap); v.Driver == "mdbox" {
				if a := c.do("LOGIN %s %s", v.Users[0].Name, v.Users[0].LoginPassword); !strings.Contains(a.tagged, "UNAVAILABLE") {
					t.Errorf("a store of Dovecot's is opened: %s", a.tagged)
				}
			}
			for _, u := range v.Users {
				args := []string{"import", v.Driver, "-u", u.Name}
				if v.Driver == "sdbox" {
					args = append(args, from)
				}
				if out, status := d.tool(t, "", append(args, "--dry-run")...); status != 0 {
					t.Fatalf("status %d: %s", status, out)
				}
				if v.Crypt.Protection == "password" && !v.Damaged {
					args = append(args, "--verify", "--raw")
				}
				out, status := d.tool(t, v.Crypt.PrivatePassword+"\n", args...)
				if status != 0 || !strings.Contains(out, "all messages") {
					t.Fatalf("status %d: %s", status, out)
				}
				if v.Damaged {
					continue
				}
				c := login(t, d.imap, u.Name, u.LoginPassword)
				checked := 0
				for _, m := range u.Mailboxes {
					checked += checkMailbox(t, c, m)
				}
				if checked == 0 {
					t.Errorf("no message of user %s was compared", u.Name)
				}
				for _, m := range u.Mailboxes {
					a := c.do(`LSUB "" %s`, quote(m.IMAPName))
					if got := len(a.untagged) == 1; got != m.Subscribed {
						t.Errorf("%s: subscribed is %v", m.IMAPName, got)
					}
				}
			}
			if v.Damaged {
				own.checkDamaged(t, d)
			}
		})
	}
}

// TestDboxVectorsGoBack: real Dovecot says of a recorded store that was ours for a moment the same
// as of the original, without a warning.
func TestDboxVectorsGoBack(t *testing.T) {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("Dovecot is not installed")
	}
	for _, v := range loadAllVectors(t, func(v *vector) bool { return v.Driver == "mdbox" && !v.Damaged && !v.WrongKeys }) {
		t.Run(v.Case, func(t *testing.T) {
			t.Parallel()
			original := scratch(t)
			teststore.Unpack(t, filepath.Join(v.dir, "store.tar.gz"), original)
			own(t, original)
			d := v.serve(t)
			for _, u := range v.Users {
				want := doveadmSays(t, filepath.Join(original, u.Home, "mdbox"))
				for _, what := range []string{"import", "export"} {
					if out, status := d.tool(t, "", what, "mdbox", "-u", u.Name); status != 0 {
						t.Fatalf("%s: status %d: %s", what, status, out)
					}
				}
				if len(want) < 5 {
					t.Errorf("only %q", want)
				}
				sameMail(t, v.Case, doveadmSays(t, filepath.Join(d.dir, u.Home, "mdbox")), want)
			}
		})
	}
}

// doveadmSays is all that doveadm tells of an mdbox, but for text, which may be encrypted.
func doveadmSays(t *testing.T, root string) (lines []string) {
	t.Helper()
	dir := scratch(t)
	conf := writeFile(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`base_dir = %[1]s
state_dir = %[1]s
log_path = /dev/stderr
mail_location = mdbox:%[2]s
ssl = no
first_valid_uid = 0
namespace inbox {
  inbox = yes
  separator = /
}
`, dir, root))
	for _, args := range [][]string{
		{"fetch", "mailbox guid uid flags date.received date.saved size.virtual modseq", "mailbox", "*", "all"},
		{"mailbox", "status", "all", "*"}, {"mailbox", "list", "-s"},
	} {
		cmd := exec.Command("doveadm", append([]string{"-c", conf, "-f", "tab"}, args...)...)
		cmd.SysProcAttr = credential()
		cmd.Env = append(os.Environ(), "HOME="+dir, fmt.Sprint("USER=", mailUID))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "Warning:") || strings.Contains(string(out), "Error:") {
			t.Fatalf("doveadm %q: %v: %s", args, err, out)
		}
		lines = append(lines, strings.Split(string(out), "\n")...)
	}
	return sortedFlags(lines)
}

// sortedFlags sorts the flags of rows of doveadm fetch: keywords come in the order of their first
// use.
func sortedFlags(lines []string) []string {
	for i, l := range lines {
		if f := strings.Split(l, "\t"); len(f) > 7 {
			flags := strings.Fields(f[3])
			slices.Sort(flags)
			f[3] = strings.Join(flags, " ")
			lines[i] = strings.Join(f, "\t")
		}
	}
	return lines
}

// allMail is what a client sees of all mailboxes, a line a message.
func allMail(t *testing.T, address string) (lines []string) {
	t.Helper()
	c := login(t, address, "u", "pass")
	defer c.close()
	for _, u := range c.do(`LIST "" "*"`).untagged {
		if !strings.HasPrefix(u.line, "* LIST") || strings.Contains(u.line, `\Noselect`) {
			continue
		}
		name := strings.Trim(u.line[strings.LastIndex(u.line, ` "." `)+5:], `"`)
		for _, e := range c.do("STATUS %s (UIDVALIDITY UIDNEXT MESSAGES HIGHESTMODSEQ)", quote(name)).untagged {
			if strings.HasPrefix(e.line, "* STATUS") {
				lines = append(lines, strings.ReplaceAll(e.line, `"`, ""))
			}
		}
		for _, f := range c.fetchAll(name) {
			f.flags = slices.DeleteFunc(f.flags, func(s string) bool { return s == `\Recent` })
			slices.Sort(f.flags)
			date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", f.date)
			if err != nil || !f.haveBody {
				t.Errorf("%s %d: %q, %v", name, f.uid, f.date, f.haveBody)
			}
			lines = append(lines, fmt.Sprintf("%s %d %q %d %d %s", name, f.uid, f.flags, date.Unix(), f.size, sha(f.body)))
		}
	}
	for _, u := range c.do(`LSUB "" "*"`).untagged {
		lines = append(lines, "LSUB "+strings.Trim(u.line[strings.LastIndex(u.line, " ")+1:], `"`))
	}
	slices.Sort(lines)
	return lines
}

func sameMail(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("%s: has   %s", what, l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("%s: lacks %s", what, l)
		}
	}
}

// useMail is what a client does in a round, in either server's store.
func useMail(t *testing.T, address, who string, r *rand.Rand) {
	t.Helper()
	c := login(t, address, "u", "pass")
	defer c.close()
	want := func(a answer) {
		t.Helper()
		if !a.ok() {
			t.Errorf("%s: %s", who, a.tagged)
		}
	}
	folder := quote(fmt.Sprintf("By.%s%d", who, r.IntN(1000)))
	want(c.do("CREATE %s", folder))
	want(c.do("SUBSCRIBE %s", folder))
	for n := range 12 {
		flags := []string{"", `(\Seen)`, `(\Flagged key` + fmt.Sprint(r.IntN(3)) + `) "02-Mar-2024 10:11:12 +0100"`}[n%3]
		want(c.appendMail("INBOX", flags, mail(fmt.Sprint(who, n), 500+r.IntN(20000))))
	}
	want(c.do("SELECT INBOX"))
	want(c.do("COPY 1:4,7 %s", folder))
	want(c.do(`STORE 2:6 +FLAGS (\Answered %s)`, who))
	want(c.do(`STORE 3,5,8 +FLAGS (\Deleted)`))
	want(c.do("EXPUNGE"))
}

// killedWhile runs the tool and kills it after some time, several times.
func killedWhile(t *testing.T, d *daemon, r *rand.Rand, args ...string) {
	t.Helper()
	for range 6 {
		cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", d.config}, args...)...)
		cmd.SysProcAttr = credential()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// TestHandover: a store goes from Dovecot to mailcryptd and back, again and again, encrypted and
// compressed, with kills of the tool; neither finds anything amiss or changed.
func TestHandover(t *testing.T) {
	dir := scratch(t)
	dove := dovecotSetup{homes: dir, dict: "file:%h/dovecot-attributes",
		users:  "u:{PLAIN}pass::::::userdb_mail=mdbox:~/mdbox userdb_mail_crypt_private_password=sesame\n",
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\nmail_crypt_require_encrypted_user_key = yes\nzlib_save = gz\n"}.start(t)
	d := setup{dir: dir,
		users: "u:{PLAIN}pass::::::mail_crypt_save_version=2 mail_crypt_private_password=sesame\n",
		top:   "mail_location = \"mdbox:~/mdbox\"\nmail_attribute_dict = \"file:~/dovecot-attributes\"\n",
		crypt: "curve = \"prime256v1\"\nseal_rounds = 100\n",
		rest:  "[zlib]\nsave = \"zstd\"\n[namespace]\nseparator = \".\"\n"}.configure(t)
	r := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	run := func(allowed string, args ...string) {
		t.Helper()
		if out, status := d.tool(t, "sesame\n", args...); status != 0 && (allowed == "" || !strings.Contains(out, allowed)) {
			t.Fatalf("%v: status %d: %s", args, status, out)
		}
	}
	const fields = "mailbox guid uid flags date.received date.saved size.physical size.virtual modseq"
	asDovecot := func() []string {
		out := dove.adm(t, "-f", "tab", "fetch", "-u", "u", fields, "mailbox", "*", "all") +
			dove.adm(t, "-f", "tab", "mailbox", "status", "-u", "u", "all", "*")
		return sortedFlags(strings.Split(out, "\n"))
	}
	for round := range 3 {
		useMail(t, dove.imap, "dovecot", r)
		dove.adm(t, "purge", "-u", "u")
		was, before := asDovecot(), allMail(t, dove.imap)

		killedWhile(t, d, r, "import", "mdbox", "-u", "u")
		run("already", "import", "mdbox", "-u", "u")
		killedWhile(t, d, r, "export", "mdbox", "-u", "u")
		run("the store is Dovecot's", "export", "mdbox", "-u", "u")
		sameMail(t, fmt.Sprintf("there and back %d", round), asDovecot(), was)

		run("", "import", "mdbox", "-u", "u", "--verify", "--raw")
		d.start(t)
		sameMail(t, fmt.Sprintf("imported %d", round), allMail(t, d.imap), before)
		useMail(t, d.imap, "ours", r)
		ours := allMail(t, d.imap)
		run("", "purge", "-u", "u")
		idle := login(t, d.imap, "u", "pass")
		run("", "export", "mdbox", "-u", "u") // by the daemon, which ends the session
		if _, err := idle.try("NOOP"); err == nil {
			if _, err = idle.try("NOOP"); err == nil {
				t.Error("a session has outlived its store")
			}
		}
		d.stop(t)
		sameMail(t, fmt.Sprintf("exported %d", round), allMail(t, dove.imap), ours)
	}
	for _, l := range append(dove.troubles(), slices.DeleteFunc(strings.Split(dove.log(), "\n"), func(l string) bool { return !strings.Contains(l, "Warning:") })...) {
		t.Errorf("Dovecot: %s", l)
	}
}
