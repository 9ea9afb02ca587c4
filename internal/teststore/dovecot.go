package teststore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A Dovecot is the real thing on a home of its own, as the current user.
type Dovecot struct {
	T    *testing.T
	Conf string
	Home string
}

// DovecotIMAP is Dovecot's IMAP program.
const DovecotIMAP = "/usr/lib/dovecot/imap"

// WithDovecot runs a test beside a real Dovecot whose mail is at a location ("maildir:~/M").
// Dovecot serves no mail as root, so root runs the test once more as another user. The test
// is skipped where there is no Dovecot.
func WithDovecot(t *testing.T, location string, fn func(t *testing.T, d *Dovecot)) {
	t.Helper()
	for _, prog := range []string{"doveadm", DovecotIMAP} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Skipf("no Dovecot here: %v", err)
		}
	}
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	home := t.TempDir()
	d := &Dovecot{T: t, Home: home, Conf: filepath.Join(home, "dovecot.conf")}
	conf := fmt.Sprintf(`base_dir = %[1]s/base
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
`, home, location)
	if err := os.WriteFile(d.Conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	fn(t, d)
}

// asNobody runs the current test in a process of another user.
func asNobody(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "mailcrypt-live-")
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
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "USER=nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("as another user: %s", out)
	}
	t.Logf("%s", out)
}

// Command is a program in Dovecot's environment.
func (d *Dovecot) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HOME="+d.Home, "USER="+strconv.Itoa(os.Geteuid()))
	cmd.Dir = d.Home
	return cmd
}

// Doveadm runs a command and returns its lines. Whatever it complains about fails the test.
func (d *Dovecot) Doveadm(stdin string, args ...string) []string {
	d.T.Helper()
	out, errs := d.Run(stdin, append([]string{"-f", "tab"}, args...)...)
	if strings.Contains(errs, "Warning") {
		d.T.Errorf("doveadm %q says: %s", args, errs)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// Run is Doveadm for commands that may warn. It returns all output.
func (d *Dovecot) Run(stdin string, args ...string) (out, errs string) {
	d.T.Helper()
	cmd := d.Command("doveadm", append([]string{"-c", d.Conf}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	errs = stderr.String()
	if err != nil {
		d.T.Fatalf("doveadm %q: %v: %s", args, err, errs)
	}
	if strings.Contains(errs, "Error") || strings.Contains(errs, "Panic") {
		d.T.Errorf("doveadm %q says: %s", args, errs)
	}
	return string(b), errs
}

// Fetch returns the rows of doveadm fetch, without the heading.
func (d *Dovecot) Fetch(fields string, query ...string) []string {
	d.T.Helper()
	return d.Doveadm("", append([]string{"fetch", fields}, query...)...)[1:]
}
