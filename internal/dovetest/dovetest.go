// Package dovetest runs a real Dovecot's doveadm and imap over a tree, for tests of single
// packages: no daemon, no root, one user.
package dovetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const imapBinary = "/usr/lib/dovecot/imap"

// A Dovecot is the real thing on a tree of its own, as the current user.
type Dovecot struct {
	Home string // also the home of its user
	Conf string // its configuration

	t    testing.TB
	opts []string
}

// At is the same Dovecot with other settings for doveadm's commands, for a part of a test.
func (d *Dovecot) At(t testing.TB, settings ...string) *Dovecot {
	e := *d
	e.t, e.opts = t, slices.Clone(d.opts)
	for _, s := range settings {
		e.opts = append(e.opts, "-o", s)
	}
	return &e
}

// Run runs fn beside a real Dovecot with a mail_location and further lines of configuration.
// Dovecot serves no mail as root, so root runs the whole test once more as another user;
// what must not run twice goes into fn. Without Dovecot the test is skipped.
func Run(t *testing.T, location, settings string, fn func(t *testing.T, d *Dovecot)) {
	t.Helper()
	for _, prog := range []string{"doveadm", imapBinary} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Skipf("no Dovecot here: %v", err)
		}
	}
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	home := t.TempDir()
	d := &Dovecot{t: t, Home: home, Conf: filepath.Join(home, "dovecot.conf")}
	text := fmt.Sprintf(`base_dir = %[1]s/base
state_dir = %[1]s/base
log_path = /dev/stderr
mail_location = %[2]s
mail_home = %[1]s
ssl = no
first_valid_uid = 0
namespace inbox {
  inbox = yes
  separator = /
}
%[3]s
`, home, location, settings)
	if err := os.WriteFile(d.Conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	fn(t, d)
}

// asNobody runs the current test in a process of another user.
func asNobody(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "dovecot-live-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "test")
	src, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(bin, src, 0o755), os.Chmod(bin, 0o755), os.Chown(dir, nobody, nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	args := []string{"-test.run=^" + regexp.QuoteMeta(name) + "$", "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "USER=nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("as another user: %s", out)
	}
	if !strings.Contains(string(out), "--- PASS") && err == nil {
		t.Errorf("as another user nothing has run: %s", out)
	}
	t.Logf("%s", out)
}

func (d *Dovecot) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HOME="+d.Home, "USER="+strconv.Itoa(os.Geteuid()))
	cmd.Dir = d.Home
	return cmd
}

// Troubles returns the lines of a log that Dovecot should not have written.
func Troubles(log string) (lines []string) {
	for line := range strings.Lines(log) {
		for _, word := range []string{"Error", "Warning", "Panic", "Fatal"} {
			if strings.Contains(line, word+":") {
				lines = append(lines, strings.TrimSpace(line))
				break
			}
		}
	}
	return lines
}

// Doveadm runs a command and returns the lines of its output, with columns apart by tabs.
// That Dovecot complains is an error of the test.
func (d *Dovecot) Doveadm(stdin string, args ...string) []string {
	d.t.Helper()
	out, log, err := d.Try(stdin, args...)
	if err != nil {
		d.t.Fatalf("doveadm %q: %v: %s", args, err, log)
	}
	if bad := Troubles(log); bad != nil {
		d.t.Errorf("doveadm %q says: %q", args, bad)
	}
	return out
}

// Output is Doveadm for commands that may warn. It returns their output as it is.
func (d *Dovecot) Output(stdin string, args ...string) string {
	d.t.Helper()
	lines, log, err := d.Try(stdin, args...)
	if err != nil {
		d.t.Fatalf("doveadm %q: %v: %s", args, err, log)
	}
	if strings.Contains(log, "Error") || strings.Contains(log, "Panic") {
		d.t.Errorf("doveadm %q says: %s", args, log)
	}
	return strings.Join(lines, "\n")
}

// Try is Doveadm that may fail; it returns the log, too.
func (d *Dovecot) Try(stdin string, args ...string) (lines []string, log string, err error) {
	format := []string{"-f", "tab"}
	if len(args) > 0 && args[0] == "-f" {
		format = nil // Dovecot takes the first
	}
	cmd := d.command("doveadm", slices.Concat([]string{"-c", d.Conf}, format, d.opts, args)...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), errs.String(), err
}

// Fetch returns the rows of doveadm fetch, without the heading.
func (d *Dovecot) Fetch(fields string, query ...string) []string {
	d.t.Helper()
	return d.Doveadm("", append([]string{"fetch", fields}, query...)...)[1:]
}
