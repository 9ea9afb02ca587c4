package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"mailcrypt/admin"
	"mailcrypt/config"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("SERVE_HELPER"); path != "" { // the second daemon of TestReload
		os.Exit(run([]string{"serve", "-c", path}, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"mailcryptd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "users"), "")
	write(t, filepath.Join(dir, "broken.toml"), "mail_home = 7\n")
	write(t, filepath.Join(dir, "curve.toml"), fmt.Sprintf("mail_home=\"h\"\nstate_dir=%q\nuserdb.passwd_file=\"users\"\nmail_crypt.curve=\"x\"\n", dir+"/state"))
	write(t, filepath.Join(dir, "port.toml"), fmt.Sprintf("mail_home=\"h\"\nstate_dir=%q\nuserdb.passwd_file=\"users\"\nimap.listen=[\"192.0.2.1:1\"]\n", dir+"/state"))
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{"--help"}, 0},
		{[]string{"frobnicate"}, exitUsage},
		{[]string{"serve", "surplus"}, exitUsage},
		{[]string{"serve", "-c", dir + "/nowhere"}, exitConfig},
		{[]string{"serve", "-c", dir + "/broken.toml"}, exitConfig},
		{[]string{"serve", "-c", dir + "/curve.toml"}, exitConfig},
		{[]string{"check-config", "-c", dir + "/curve.toml"}, exitConfig},
		{[]string{"serve", "-c", dir + "/port.toml"}, exitFail},
	} {
		var out bytes.Buffer
		if status := run(tt.args, &out, &out); status != tt.status {
			t.Errorf("%q: status %d, want %d: %s", tt.args, status, tt.status, out.String())
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestReload sends SIGHUP, with a good file and a broken one, and ends the daemon by SIGTERM.
func TestReload(t *testing.T) {
	dir, err := os.MkdirTemp("", "mcd") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "c.toml")
	text := "state_dir = \"state\"\nmail_home = \"h/%u\"\nmail_log = \"info\"\nuserdb.passwd_file = \"users\"\nlmtp.listen = [\"unix:lmtp\"]\nmail_crypt.save_version = 2\n"
	write(t, filepath.Join(dir, "users"), "alice:{PLAIN}x::::::\n")
	write(t, path, text)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	// What a daemon that was killed left behind.
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, stale := range []string{filepath.Join(dir, "lmtp"), filepath.Join(dir, "state", admin.SocketName)} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	log := &lockedBuffer{}
	ready, done := make(chan *server, 1), make(chan error, 1)
	go func() { done <- serve(context.Background(), c, log, func(s *server) { ready <- s }) }()
	var s *server
	select {
	case s = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	client, err := admin.Dial(context.Background(), filepath.Join(dir, "state", admin.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := client.Status(context.Background()); err != nil || !st.Daemon || st.PID != os.Getpid() {
		t.Errorf("status %+v, %v", st, err)
	}
	hup := func(text, says string) {
		t.Helper()
		write(t, path, text)
		before := strings.Count(log.String(), says)
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		for end := time.Now().Add(20 * time.Second); strings.Count(log.String(), says) == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log does not say %q:\n%s", says, log)
			}
		}
	}
	hup(strings.Replace(text, "info", "debug", 1), "reloaded the configuration")
	if s.level.Level() != slog.LevelDebug {
		t.Error("the log level was not reloaded")
	}
	for _, broken := range []string{"mail_home = 7\n", text + "[mail_crypt]\n", strings.Replace(text, "save_version = 2", "save_version = 3", 1), ""} {
		hup(broken, "the old one holds")
		if s.level.Level() != slog.LevelDebug {
			t.Errorf("%q: a broken file was taken in part", broken)
		}
	}
	if _, err := s.system.Deliver(context.Background(), "alice"); err != nil {
		t.Error("after reloading a broken file: ", err)
	}
	// A second daemon, by its own process, is refused.
	write(t, path, text)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	second := exec.Command(self)
	second.Env = append(os.Environ(), "SERVE_HELPER="+path)
	if out, err := second.CombinedOutput(); second.ProcessState.ExitCode() != exitFail || !strings.Contains(string(out), "another mailcryptd") {
		t.Errorf("a second daemon: %v: %s", err, out)
	}
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	select {
	case err := <-done:
		if err != nil {
			t.Error("SIGTERM: ", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("SIGTERM does not end it")
	}
	if _, err := client.Status(context.Background()); err == nil {
		t.Error("the admin connection outlives the daemon")
	}
	if _, err := os.Stat(filepath.Join(dir, "state", admin.SocketName)); !os.IsNotExist(err) {
		t.Error("the socket is left behind: ", err)
	}
}

func TestMaxConnections(t *testing.T) {
	var log bytes.Buffer
	s := &server{log: slog.New(slog.NewTextHandler(&log, nil))}
	var c config.Config
	if n := s.maxConnections(&c); n < 16 {
		t.Errorf("by default %d", n)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur = 2000
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	n := s.maxConnections(&c)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if n != 500 || !strings.Contains(log.String(), "LimitNOFILE") {
		t.Errorf("%d with 2000 open files: %s", n, &log)
	}
	log.Reset()
	c.IMAP.MaxConnections = 5
	if n := s.maxConnections(&c); n != 5 || log.Len() > 0 {
		t.Errorf("%d of 5: %s", n, &log)
	}
	c.IMAP.MaxConnections = 1 << 40
	if n := s.maxConnections(&c); n != 1<<40 || !strings.Contains(log.String(), "LimitNOFILE") {
		t.Errorf("%d of 2^40: %s", n, &log)
	}
}
