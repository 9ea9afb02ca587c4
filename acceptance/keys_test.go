package acceptance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTool runs doveadm-crypt with lines on its standard input, in a process group of its own:
// root's starts another as the owner of the store.
func (d *daemon) startTool(t testing.TB, stdin string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", d.config}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// holder tries passwords at the login and returns the one that logs in, after it has read the
// message.
func (d *daemon) holder(t *testing.T, m []byte, passwords ...string) string {
	t.Helper()
	for _, p := range passwords {
		c := dialIMAP(t, d.imap)
		if a := c.do("LOGIN u %s", p); !a.ok() {
			c.close()
			continue
		}
		if got := c.fetchAll("INBOX"); sha(got[1].body) != sha(m) {
			t.Fatalf("%s logs in and does not read the mail", p)
		}
		c.close()
		return p
	}
	t.Fatalf("none of %q logs in", passwords)
	return ""
}

// TestKillPasswordChange kills the daemon, or the tool, with signal 9 in the middle of password
// changes, at moments drawn over the time that a change takes. Afterwards the old password or
// the new one logs in and reads the mail.
func TestKillPasswordChange(t *testing.T) {
	rounds := 18
	if testing.Short() {
		rounds = 6
	}
	for _, dict := range []string{"bolt:~/keys.db", "file:~/Maildir/dovecot-attributes"} {
		t.Run(dict[:4], func(t *testing.T) {
			d := setup{
				dir: scratch(t), users: "u:{PLAIN}p0::::::mail_crypt_save_version=2\n",
				top:   fmt.Sprintf("mail_attribute_dict = %q\n", dict),
				crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 60\n",
			}.start(t)
			c := login(t, d.imap, "u", "p0")
			m := mail("kept", 2000)
			if a := c.appendMail("INBOX", "", m); !a.ok() {
				t.Fatal(a.tagged)
			}
			c.close()
			change := func(from, to string) (*exec.Cmd, *bytes.Buffer) {
				return d.startTool(t, from+"\n"+to+"\n", "user", "password", "-u", "u", "-s", "SHA256")
			}
			// How long an undisturbed change takes, so that the kills fall within.
			begin := time.Now()
			cmd, out := change("p0", "p1")
			if err := cmd.Wait(); err != nil {
				t.Fatal(err, out)
			}
			whole := time.Since(begin)
			now, killed := "p1", 0
			for round := range rounds {
				next := fmt.Sprintf("r%d", round)
				if round%3 == 2 {
					d.stop(t) // the tool does it alone
				}
				cmd, _ := change(now, next)
				time.Sleep(time.Duration(rand.Int64N(int64(whole))))
				if round%3 == 0 {
					d.kill()
				} else {
					syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				}
				if cmd.Wait() != nil {
					killed++
				}
				if round%3 == 1 {
					d.stop(t) // it goes on with what the tool had asked for, and ends after that
				}
				os.Remove(filepath.Join(d.dir, "u", "Maildir", "dovecot-attributes.lock")) // it would be waited for
				os.Remove(filepath.Join(d.dir, "users.lock"))
				d.start(t)
				now = d.holder(t, m, now, next)
			}
			t.Logf("%d of %d changes were cut off", killed, rounds)
			if killed == 0 {
				t.Error("no change was cut off")
			}
			rootOwned(t, d.dir)
		})
	}
}

// TestKillReseal does the same to changes of the seal alone: the old secret or the new one
// gives the keys the password of the login again.
func TestKillReseal(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	d := setup{
		dir: scratch(t), users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
		top:   "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 60\n",
	}.start(t)
	c := login(t, d.imap, "u", "pw")
	m := mail("kept", 2000)
	if a := c.appendMail("INBOX", "", m); !a.ok() {
		t.Fatal(a.tagged)
	}
	c.close()
	reseal := func(from, to string) []string {
		return []string{"cryptokey", "password", "-u", "u", "-o", from, "-n", to}
	}
	begin := time.Now()
	if out, status := d.tool(t, "", reseal("pw", "pw")...); status != 0 {
		t.Fatal(out)
	}
	whole := time.Since(begin)
	for round := range rounds {
		next := fmt.Sprintf("s%d", round)
		cmd, _ := d.startTool(t, "", reseal("pw", next)...)
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		if round%2 == 0 {
			d.kill()
		} else {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		cmd.Wait()
		if round%2 == 1 {
			d.stop(t)
		}
		os.Remove(filepath.Join(d.dir, "u", "Maildir", "dovecot-attributes.lock"))
		d.start(t)
		_, old := d.tool(t, "", reseal("pw", "pw")...)
		if old != 0 {
			if out, status := d.tool(t, "", reseal(next, "pw")...); status != 0 {
				t.Fatalf("round %d: neither secret opens the keys: %s", round, out)
			}
		}
		d.holder(t, m, "pw")
	}
}

// TestAllowNets logs in over a network that the user may not use.
func TestAllowNets(t *testing.T) {
	d := setup{dir: scratch(t), users: "u:{PLAIN}pw::::::allow_nets=127.0.0.0/8\nv:{PLAIN}pw::::::allow_nets=192.0.2.0/24,local\n"}.start(t)
	login(t, d.imap, "u", "pw")
	far, wrong := dialIMAP(t, d.imap).do("LOGIN v pw"), dialIMAP(t, d.imap).do("LOGIN v wrong")
	if !strings.HasPrefix(far.tagged, "NO [AUTHENTICATIONFAILED]") || far.tagged != wrong.tagged {
		t.Errorf("from another network: %q, with a wrong password: %q; want the same", far.tagged, wrong.tagged)
	}
}
