package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcrypt/admin"
)

// Passwords that are found wherever they should not be.
const (
	hookOld = "0ld-Sesame$(x)"
	hookNew = "n3w Sesame%s\\t'\""
)

// A panel is a program that keeps login passwords, and calls a hook for their change.
type panel struct {
	*daemon
	hook []string // the command of the hook
}

// eachHook runs a test with each of the hooks in contrib, and a panel of its own.
func eachHook(t *testing.T, fn func(t *testing.T, p *panel)) {
	hooks, err := filepath.Abs("../contrib/hooks")
	if err != nil {
		t.Fatal(err)
	}
	script := hooks + "/mailcrypt-password-changed.sh"
	for name, hook := range map[string][]string{
		"sh": {"sh", script}, "bash": {"bash", script}, "busybox": {"busybox", "sh", script},
		"python": {"python3", "-B", hooks + "/mailcrypt_password_changed.py"},
	} {
		t.Run(name, func(t *testing.T) {
			fn(t, startPanel(t, hook...))
		})
	}
}

// startPanel starts a daemon with a user whose mail hangs on the password.
func startPanel(t *testing.T, hook ...string) *panel {
	t.Helper()
	if _, err := exec.LookPath(hook[0]); err != nil {
		t.Skip(hook[0], " is not installed")
	}
	d := setup{
		dir: scratch(t), users: passwdLine("u", hookOld) + passwdLine("fresh", hookOld),
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 2048\n",
	}.start(t)
	login(t, d.imap, "u", hookOld).close() // makes the keys
	if replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, mail("kept", 2000)); err != nil || !strings.HasPrefix(replies[0], "250") {
		t.Fatal(replies, err)
	}
	d.dialAdmin(t).Close() // it is there
	return &panel{d, hook}
}

func passwdLine(user, password string) string {
	return fmt.Sprintf("%s:{PLAIN}%s::::::mail_crypt_save_version=2\n", user, password)
}

// command writes the panel's program, which keeps passwords in the passwd-file: it reads what
// chpasswd reads. more is what it does after.
func (p *panel) command(t *testing.T, before, after string) string {
	t.Helper()
	path := filepath.Join(p.dir, "panel")
	text := fmt.Sprintf(`#!/bin/sh
cd %s || exit 1
touch called
%s
IFS=: read -r user new || exit 1
{ grep -v "^$user:" users; printf '%%s:{PLAIN}%%s::::::mail_crypt_save_version=2\n' "$user" "$new"; } >users.new
chmod 644 users.new && mv users.new users || exit 1
%s
`, p.dir, before, after)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// call calls the hook. Its environment has what a careless panel may have there.
func (p *panel) call(t *testing.T, stdin string, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.Command(p.hook[0], append(p.hook[1:len(p.hook):len(p.hook)], args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "old=exported", "new=exported", "token=exported", "PATH="+bin+":"+os.Getenv("PATH"),
		"MAILCRYPT_CONFIG="+p.config, "MAILCRYPT_SOCKET="+filepath.Join(p.dir, "state", admin.SocketName))
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	for _, secret := range []string{hookOld, hookNew} {
		if strings.Contains(both.String(), secret) {
			t.Errorf("it prints a password: %s", both.String())
		}
	}
	return cmd.ProcessState.ExitCode(), both.String()
}

const hookInput = hookOld + "\n" + hookNew + "\n"

// change runs the panel's command by the hook, and wants an exit status.
func (p *panel) change(t *testing.T, want int, command ...string) string {
	t.Helper()
	os.Remove(filepath.Join(p.dir, "called"))
	status, out := p.call(t, hookInput, append([]string{"run", "u"}, command...)...)
	if status != want {
		t.Errorf("exit status %d, want %d: %s", status, want, out)
	}
	return out
}

func (p *panel) called() bool {
	_, err := os.Stat(filepath.Join(p.dir, "called"))
	return err == nil
}

// opens wants a password to open the keys, or not to.
func (p *panel) opens(t *testing.T, password string, want bool) {
	t.Helper()
	r := admin.FetchRequest{User: "u", Mailbox: "INBOX", UID: 1, Secrets: []admin.Password{{Secret: []byte(password)}}}
	_, err := p.dialAdmin(t).Fetch(context.Background(), r, io.Discard)
	if want && err != nil || !want && !errors.Is(err, admin.ErrPassword) {
		t.Errorf("the keys with %q: %v, want it to open: %v", password, err, want)
	}
}

// reads wants a password to log in, and the mail to be read. The daemon may need a moment to
// notice a new passwd-file.
func (p *panel) reads(t *testing.T, password string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c := dialIMAP(t, p.imap)
		a := c.do("LOGIN u %s", quote(password))
		if a.ok() {
			if got := c.fetchAll("INBOX"); len(got) != 1 || !got[1].haveBody {
				t.Errorf("the mail cannot be read with %q", password)
			}
			c.close()
			return
		}
		c.close()
		if time.Now().After(end) {
			t.Fatalf("%q does not log in: %s", password, a.tagged)
		}
	}
}

// pending wants a prepared seal to wait, or none.
func (p *panel) pending(t *testing.T, want bool) {
	t.Helper()
	r, err := p.dialAdmin(t).List(context.Background(), admin.ListRequest{User: "u", Selection: admin.Selection{UserKeys: true}})
	if err != nil || len(r.Keys) != 1 || (r.Keys[0].Pending != nil) != want {
		t.Errorf("prepared seals: %+v, %v; want one: %v", r, err, want)
	}
}

// TestHookChanges changes a password, and looks for it where every user of the machine can look.
func TestHookChanges(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		spy := filepath.Join(p.dir, "doveadm-crypt")
		if err := os.WriteFile(spy, fmt.Appendf(nil, "#!/bin/sh\nprintf '%%s\\n' \"$@\" >>%[1]s/seen\ncat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline >>%[1]s/seen\nexec %[2]s/doveadm-crypt \"$@\"\n", p.dir, bin), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("MAILCRYPT_DOVEADM", spy)
		command := p.command(t, "cat /proc/$$/environ /proc/$$/cmdline /proc/$PPID/environ /proc/$PPID/cmdline >>seen", "")
		p.change(t, 0, command)
		seen, err := os.ReadFile(filepath.Join(p.dir, "seen"))
		if err != nil || len(seen) == 0 {
			t.Fatal("the spy has seen nothing: ", err)
		}
		for _, secret := range []string{hookOld, hookNew, "Sesame"} {
			if bytes.Contains(seen, []byte(secret)) {
				t.Errorf("%q can be seen in:\n%q", secret, seen)
			}
		}
		p.pending(t, false)
		p.opens(t, hookOld, false)
		p.opens(t, hookNew, true)
		p.reads(t, hookNew)
	})
}

// TestHookRefuses: what cannot work changes nothing, and does not call the panel's command.
func TestHookRefuses(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		command := p.command(t, "", "")
		for _, tt := range []struct {
			name, stdin string
			args        []string
			status      int
		}{
			{"wrong old password", "wrong\n" + hookNew + "\n", []string{"run", "u", command}, 65},
			{"no passwords", "", []string{"run", "u", command}, 64},
			{"no new password", hookOld + "\n", []string{"run", "u", command}, 64},
			{"empty new password", hookOld + "\n\n", []string{"run", "u", command}, 64},
			{"no such user", hookInput, []string{"run", "nobody", command}, 67},
			{"no command", hookInput, []string{"run", "u"}, 64},
			{"no such verb", hookInput, []string{"frobnicate", "u"}, 64},
			{"an option for the user", hookInput, []string{"prepare", "-u"}, 64},
			{"a made-up token", "", []string{"commit", "u", "x"}, 64},
			{"nothing to undo", "", []string{"undo", "u"}, 68},
		} {
			status, out := p.call(t, tt.stdin, tt.args...)
			if status != tt.status || out == "" {
				t.Errorf("%s: exit status %d, want %d: %s", tt.name, status, tt.status, out)
			}
		}
		if p.called() {
			t.Error("the panel's command was called")
		}
		p.pending(t, false)
		p.reads(t, hookOld)
		// Who has no keys yet gets them at the next login.
		if status, out := p.call(t, hookInput, "run", "fresh", command); status != 0 || !p.called() {
			t.Errorf("of a user without keys: exit status %d: %s", status, out)
		}
	})
}

// TestHookCommandFails: the panel could not change the login password, or nobody knows.
func TestHookCommandFails(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		p.change(t, 73, p.command(t, "exit 3", ""))
		p.pending(t, false)
		p.opens(t, hookNew, false)
		p.reads(t, hookOld)
		p.change(t, 73, "/nonexistent/command")
		p.pending(t, false)
		p.change(t, 74, p.command(t, "", "kill -9 $$"))
		p.pending(t, true)
		p.opens(t, hookOld, true)
		p.opens(t, hookNew, true)
		p.reads(t, hookNew)
		p.opens(t, hookOld, false)
	})
}

// TestHookKilled kills the hook after the login password has changed: the next login with it
// completes the change.
func TestHookKilled(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		p.change(t, -1, p.command(t, "", "kill -9 $PPID"))
		p.pending(t, true)
		p.opens(t, hookOld, true)
		p.reads(t, hookNew)
		p.pending(t, false)
		p.opens(t, hookOld, false)
	})
}

// TestHookWithoutDaemon: the shell's works on the files then, Python's has nobody to ask.
func TestHookWithoutDaemon(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		p.stop(t)
		if p.hook[0] == "python3" {
			p.change(t, 69, p.command(t, "", ""))
			if p.called() {
				t.Error("the panel's command was called")
			}
			p.start(t)
			p.reads(t, hookOld)
		} else {
			p.change(t, 0, p.command(t, "", ""))
			p.start(t)
			p.opens(t, hookOld, false)
			p.reads(t, hookNew)
		}
	})
}

// TestHookDaemonDies kills the daemon between the two phases.
func TestHookDaemonDies(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		out := p.change(t, 0, p.command(t, "", fmt.Sprintf("kill -9 %d", p.cmd.Process.Pid)))
		<-p.exited
		if p.hook[0] == "python3" && !strings.Contains(out, "next login completes it") {
			t.Errorf("it does not warn: %s", out)
		}
		p.start(t)
		p.reads(t, hookNew)
		p.opens(t, hookOld, false)
	})
}

// TestHookVerbs takes the steps one by one, as a panel does that changes the password itself.
func TestHookVerbs(t *testing.T) {
	eachHook(t, func(t *testing.T, p *panel) {
		keep := []string{"--keep-old", "3600"}
		if p.hook[0] != "python3" {
			t.Setenv("MAILCRYPT_KEEP_OLD", "1h")
			keep = nil
		}
		must := func(stdin string, args ...string) string {
			t.Helper()
			status, out := p.call(t, stdin, args...)
			if status != 0 {
				t.Fatalf("%v: exit status %d: %s", args, status, out)
			}
			return strings.TrimSpace(out)
		}
		token := must(hookInput, "prepare", "u")
		if token == "" || token == "exported" {
			t.Fatalf("token %q", token)
		}
		p.pending(t, true)
		must("", "abandon", "u", token)
		must("", "abandon", "u", token)
		p.pending(t, false)
		p.opens(t, hookNew, false)
		token = must(hookInput, "prepare", "u")
		must("", append(keep, "commit", "u", token)...)
		must("", append(keep, "commit", "u", token)...)
		p.opens(t, hookOld, false)
		if status, out := p.call(t, "", "abandon", "u", token); status != 65 {
			t.Errorf("abandoned after it was committed: exit status %d: %s", status, out)
		}
		must("", "undo", "u")
		p.opens(t, hookOld, true)
		must("", "commit", "u", "") // of a user without keys
	})
}
