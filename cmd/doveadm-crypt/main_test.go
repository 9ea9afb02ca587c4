package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mailcrypt/internal/durable"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"doveadm-crypt": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// configure writes a configuration with the user alice.
func configure(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"users": "alice:{PLAIN}old::::::\nbad:{PLAIN}old::::::mail_crypt_save_version=x\n",
		"c.toml": fmt.Sprintf("state_dir = %q\nmail_home = %q\n[userdb]\npasswd_file = \"users\"\n[mail_crypt]\nsave_version = 2\ncurve = \"prime256v1\"\nprivate_password = \"%%{password}\"\nseal_rounds = 1\n",
			dir+"/state", dir+"/%u"),
		"broken.toml": "mail_home = 7\n",
		"secret":      "s\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, filepath.Join(dir, "c.toml")
}

func TestExitStatus(t *testing.T) {
	dir, config := configure(t)
	password := func(user string, more ...string) []string {
		return append([]string{"-c", config, "user", "password", "-u", user}, more...)
	}
	reseal := func(more ...string) []string {
		return append([]string{"-c", config, "cryptokey", "password", "-u", "alice"}, more...)
	}
	for _, tt := range []struct {
		name, stdin string
		args        []string
		status      int
		says        string
	}{
		{"help", "", []string{"--help"}, 0, "cryptokey"},
		{"version", "", []string{"--version"}, 0, "doveadm-crypt"},
		{"unknown command", "", []string{"frobnicate"}, exitUsage, "see --help"},
		{"unknown flag", "", []string{"pw", "--no-such"}, exitUsage, "see --help"},
		{"surplus argument", "", []string{"pw", "x"}, exitUsage, "see --help"},
		{"flag without its value", "", []string{"pw", "-s"}, exitUsage, "see --help"},
		{"no user", "", []string{"-c", config, "user", "password"}, exitUsage, "-u USER"},
		{"no user for the seal", "", []string{"-c", config, "cryptokey", "password"}, exitUsage, "-u USER"},
		{"no secrets", "", password("alice"), exitUsage, "the input ended"},
		{"half the secrets", "old\n", password("alice"), exitUsage, "the input ended"},
		{"secret too long", strings.Repeat("x", 5000) + "\nnew\n", password("alice"), exitUsage, "longer than"},
		{"empty new password", "old\n\n", password("alice"), exitUsage, "empty"},
		{"wrong password", "no\nnew\n", password("alice"), exitData, "nothing was changed"},
		{"unknown user", "old\nnew\n", password("carol"), exitNoUser, "no such user"},
		{"name that none may have", "old\nnew\n", password("../x"), exitNoUser, "no such user"},
		{"user with bad settings", "old\nnew\n", password("bad"), exitTemporary, "mail_crypt_save_version"},
		{"no configuration", "old\nnew\n", []string{"-c", dir + "/nowhere", "user", "password", "-u", "alice"}, exitConfig, "no such file"},
		{"broken configuration", "old\nnew\n", []string{"-c", dir + "/broken.toml", "user", "password", "-u", "alice"}, exitConfig, "broken.toml:1: mail_home"},
		{"a directory", "old\nnew\n", []string{"-c", dir, "user", "password", "-u", "alice"}, exitConfig, "is not a regular file"},
		{"old password twice", "", reseal("-o", "x", "-O"), exitUsage, "cannot ask for it"},
		{"new password twice", "", reseal("-n", "x", "-N"), exitUsage, "cannot ask for it"},
		{"clear and new", "", reseal("-C", "-n", "x"), exitUsage, "clear password and new"},
		{"empty raw password", "", reseal("-o", "x", "-n", ""), exitUsage, "empty"},
		{"missing password file", "", reseal("--old-password-file", dir+"/nowhere"), exitUsage, "no such file"},
		{"clear", "old\n", reseal("-C"), 0, "Changed password for 0 key(s)"},
		{"last line without its end, with CR", "old\r\nnew", password("alice"), 0, "Changed the login password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if status := run(tt.args, strings.NewReader(tt.stdin), &out, &out); status != tt.status {
				t.Errorf("status %d, want %d:\n%s", status, tt.status, out.String())
			}
			if !strings.Contains(out.String(), tt.says) {
				t.Errorf("it says %q, want %q in it", out.String(), tt.says)
			}
		})
	}
	var out bytes.Buffer
	if status := run(password("alice"), strings.NewReader("new\nold\n"), &out, &out); status != 0 {
		t.Errorf("the password without CR: status %d: %s", status, out.String())
	}
}

// TestAnotherProcess: the instance lock is held, and no daemon answers.
func TestAnotherProcess(t *testing.T) {
	dir, config := configure(t)
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := durable.LockFile(filepath.Join(dir, "state", "instance.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	var out bytes.Buffer
	if status := run([]string{"-c", config, "user", "password", "-u", "alice"}, strings.NewReader("old\nnew\n"), &out, &out); status != exitTemporary {
		t.Errorf("status %d, want %d: %s", status, exitTemporary, out.String())
	}
}

// TestSecretsInPieces reads secrets from a pipe that gives a byte at a time.
func TestSecretsInPieces(t *testing.T) {
	l := &tool{stdin: &oneByte{"p w \nöä\n\n"}}
	for _, want := range []string{"p w ", "öä", ""} {
		if got, err := l.ask(context.Background(), "x"); err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	if _, err := l.ask(context.Background(), "x"); err == nil {
		t.Error("a secret from beyond the end")
	}
}

type oneByte struct{ s string }

func (o *oneByte) Read(p []byte) (int, error) {
	if o.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], o.s)
	o.s = o.s[n:]
	return n, nil
}

func TestConfigArgument(t *testing.T) {
	for args, want := range map[string]string{
		"-c a user": "a", "--config a": "a", "--config=a": "a", "-ca": "a", "-c=a": "a",
		"user password": "/etc/mailcryptd/mailcryptd.toml", "-c": "/etc/mailcryptd/mailcryptd.toml",
	} {
		if got := configArgument(strings.Fields(args)); got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
	for args, want := range map[string]bool{"-c x user password": true, "mailbox cryptokey password": true, "pw": false, "--help": false} {
		if got := touchesStore(strings.Fields(args)); got != want {
			t.Errorf("%q touches the store: %v, want %v", args, got, want)
		}
	}
}
