package acceptance

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the directory of the programs under test.
var bin string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mailcrypt-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755) // the mail user passes through
	bin = dir
	args := []string{"build", "-o", dir}
	if os.Getenv("RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "mailcrypt/cmd/mailcryptd", "mailcrypt/cmd/doveadm-crypt")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	return m.Run()
}

// mailUID is the user whom stores belong to where a test runs as root: Dovecot serves no
// mail as root.
const mailUID = 5000

func isRoot() bool { return os.Geteuid() == 0 }

// credential makes a command run as the mail user.
func credential() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if isRoot() {
		attr.Credential = &syscall.Credential{Uid: mailUID, Gid: mailUID}
	}
	return attr
}

// scratch makes a directory that the mail user owns, and can reach.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mailcrypt-t-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("KEEP") != "" {
			t.Log("kept", dir)
			return
		}
		os.RemoveAll(dir)
	})
	own(t, dir)
	return dir
}

// own gives a tree to the mail user.
func own(t testing.TB, dir string) {
	t.Helper()
	if !isRoot() {
		return
	}
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, mailUID, mailUID)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if isRoot() {
		for p := path; strings.HasPrefix(filepath.Base(filepath.Dir(p)), "mailcrypt-t-") || p == path; p = filepath.Dir(p) {
			os.Lchown(p, mailUID, mailUID)
		}
		os.Lchown(filepath.Dir(path), mailUID, mailUID)
	}
	return path
}

// freeAddress is a loopback address nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(address string) int {
	_, p, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(p)
	return n
}

// waitFor polls until an address accepts.
func waitFor(t testing.TB, address string, died func() error) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		if err := died(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("nobody listens on %s", address)
}

// A daemon is a running mailcryptd.
type daemon struct {
	dir, config       string
	imap, imaps, lmtp string
	cmd               *exec.Cmd
	log               *logBuffer
	exited            chan struct{}
	exitErr           error
	started           bool     // before now
	under             []string // a program and its arguments, under which the next start runs
}

// A logBuffer collects output; it may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A setup is a configuration of mailcryptd in the making.
type setup struct {
	dir   string
	users string // passwd-file
	top   string // lines before the first table
	crypt string // lines of [mail_crypt]
	imap  string // lines of [imap]
	rest  string // more tables
}

// configure writes the files of a setup; homes are DIR/USER.
func (s setup) configure(t testing.TB) *daemon {
	t.Helper()
	d := &daemon{dir: s.dir, imap: freeAddress(t), imaps: freeAddress(t), lmtp: freeAddress(t)}
	makeCertificate(t, s.dir)
	writeFile(t, filepath.Join(s.dir, "users"), s.users)
	top := s.top
	if !strings.Contains(top, "mail_home") {
		top = fmt.Sprintf("mail_home = %q\n", s.dir+"/%u") + top
	}
	d.config = writeFile(t, filepath.Join(s.dir, "mailcryptd.toml"), fmt.Sprintf(`state_dir = "state"
mail_log = "debug"
%s
[imap]
listen = [%q]
tls_listen = [%q]
%s
[lmtp]
listen = [%q]
message_size_limit = "100M"
[tls]
cert = "cert.pem"
key = "key.pem"
[userdb]
passwd_file = "users"
[mail_crypt]
%s
%s
`, top, d.imap, d.imaps, s.imap, d.lmtp, s.crypt, s.rest))
	return d
}

// start runs the daemon until the test ends.
func (s setup) start(t testing.TB) *daemon {
	t.Helper()
	d := s.configure(t)
	d.start(t)
	return d
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	d.log = &logBuffer{}
	args := []string{filepath.Join(bin, "mailcryptd"), "serve", "-c", d.config}
	attr := credential()
	if d.under != nil {
		args, attr.Credential = append(d.under, args...), nil
	}
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = attr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.exited = make(chan struct{})
	go func() {
		d.exitErr = d.cmd.Wait()
		close(d.exited)
	}()
	first := !d.started
	d.started = true
	t.Cleanup(func() {
		if !first {
			return // the end of the test is seen to by what the first start left
		}
		d.kill()
		if t.Failed() {
			t.Logf("log of mailcryptd:\n%s", tail(d.log.String(), 6000))
		}
		if strings.Contains(d.log.String(), "panic") {
			t.Errorf("mailcryptd panicked:\n%s", tail(d.log.String(), 6000))
		}
	})
	waitFor(t, d.imap, func() error {
		select {
		case <-d.exited:
			return fmt.Errorf("mailcryptd ended: %v\n%s", d.exitErr, d.log)
		default:
			return nil
		}
	})
}

// stop ends the daemon as systemd does and wants a clean exit.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		if d.exitErr != nil {
			t.Errorf("mailcryptd did not end cleanly: %v\n%s", d.exitErr, tail(d.log.String(), 3000))
		}
	case <-time.After(30 * time.Second):
		t.Error("mailcryptd does not end on SIGTERM")
		d.kill()
	}
	if strings.Contains(d.log.String(), "panic") {
		t.Errorf("mailcryptd panicked:\n%s", tail(d.log.String(), 6000))
	}
}

// kill ends the daemon at once.
func (d *daemon) kill() {
	select {
	case <-d.exited:
	default:
		d.cmd.Process.Kill()
		<-d.exited
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// tool runs doveadm-crypt with lines on its standard input.
func (d *daemon) tool(t testing.TB, stdin string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", d.config}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
