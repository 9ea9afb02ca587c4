package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcrypt/config"
)

// running starts a daemon in a short directory, with users and masters, and the IMAP socket
// there.
func running(t *testing.T, text string, files map[string]string) (dir string, log *lockedBuffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mcd") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	path := filepath.Join(dir, "c.toml")
	write(t, path, text)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log = &lockedBuffer{}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan *server, 1), make(chan error, 1)
	go func() { done <- serve(ctx, c, log, func(s *server) { ready <- s }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return dir, log
}

// imap plays a session over the socket: each line that is sent must be answered by one that
// matches, before or at its tagged answer.
func imap(t *testing.T, dir string, lines ...string) {
	t.Helper()
	nc, err := net.Dial("unix", filepath.Join(dir, "imap"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(nc)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(lines); i += 2 {
		fmt.Fprintf(nc, "a%d %s\r\n", i, lines[i])
		var all strings.Builder
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", lines[i], err)
			}
			if strings.HasPrefix(l, "+ ") && strings.Contains(lines[i], "APPEND") {
				fmt.Fprint(nc, "A: b\r\n\r\nx\r\n\r\n")
				continue
			}
			all.WriteString(l)
			if strings.HasPrefix(l, fmt.Sprintf("a%d ", i)) {
				break
			}
		}
		if !regexp.MustCompile("(?s)" + lines[i+1]).MatchString(all.String()) {
			t.Errorf("%s is answered by\n%s, which does not match %q", lines[i], &all, lines[i+1])
		}
	}
}

// plain is SASL PLAIN.
func plain(authzid, authcid, password string) string {
	return "AUTHENTICATE PLAIN " + base64.StdEncoding.EncodeToString([]byte(authzid+"\x00"+authcid+"\x00"+password))
}

func TestMasterUser(t *testing.T) {
	const text = `
state_dir = "state"
mail_home = "h/%u"
mail_attribute_dict = "file:~/dovecot-attributes"
userdb.passwd_file = "users"
imap.listen = ["unix:imap"]
[auth]
master_passwd_file = "masters"
master_user_separator = "*"
failure_delay = "1ms"
max_delay = "1ms"
[mail_crypt]
save_version = 2
curve = "prime256v1"
private_password = "%{password}"
seal_rounds = 10
`
	dir, log := running(t, text, map[string]string{
		"users":   "alice:{PLAIN}secret::::::\nbob:{PLAIN}bobs::::::\nadmin:{PLAIN}users-own::::::\n",
		"masters": "admin:{PLAIN}boss::::::\nfar:{PLAIN}boss::::::allow_nets=192.0.2.0/24\n",
	})
	const failed, alert = `^a\d+ NO \[AUTHENTICATIONFAILED\]`, `^\* OK \[ALERT\] You act for another user\..*a\d+ OK \[CAPABILITY`
	imap(t, dir, "LOGIN alice secret", "OK", "CREATE Saved", "OK", "APPEND INBOX {11}", "OK")
	before, err := os.ReadFile(filepath.Join(dir, "h/alice/dovecot-attributes"))
	if err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"LOGIN alice*admin boss", plain("alice", "admin", "boss"), plain("", "alice*admin", "boss")} {
		imap(t, dir, login, alert,
			"STATUS INBOX (MESSAGES)", "MESSAGES 1",
			"SELECT INBOX", "OK",
			"UID FETCH 1:* (FLAGS RFC822.SIZE INTERNALDATE)", `FETCH \(UID 1 FLAGS .* RFC822\.SIZE 11.* OK`,
			"FETCH 1 BODY[]", `NO \[UNAVAILABLE\]`,
			`STORE 1 +FLAGS (\Flagged)`, `\\Flagged.* OK`,
			"NOOP", "OK")
	}
	// Nobody is a master who is not one, and no password is another's.
	imap(t, dir,
		"LOGIN alice*bob bobs", failed, "LOGIN alice*admin users-own", failed, "LOGIN admin boss", failed,
		"LOGIN nobody*admin boss", failed, "LOGIN alice* boss", failed, "LOGIN *admin boss", failed, "LOGIN alice*admin*admin boss", failed,
		plain("alice", "bob", "bobs"), failed, "LOGIN alice*far boss", failed)
	imap(t, dir, "LOGIN alice*admin boss", "OK", "SELECT INBOX", "OK", "MOVE 1 Saved", "OK")
	after, err := os.ReadFile(filepath.Join(dir, "h/alice/dovecot-attributes"))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(before)) {
		if !strings.Contains(string(after), l) {
			t.Errorf("the dictionary has lost %q", l)
		}
	}
	// What the master has moved the user reads.
	imap(t, dir, "LOGIN alice secret", `^a0 OK`, "SELECT Saved", "OK", "FETCH 1 BODY[TEXT]", `x\r\n.* OK`)
	for _, line := range []string{
		`msg=login service=imap remote=unix user=alice master=admin`,
		`msg="login failed" service=imap remote=unix user=alice master=bob`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log has no %q:\n%s", line, log)
		}
	}
	if strings.Contains(log.String(), "boss") || strings.Contains(log.String(), "bobs") {
		t.Error("the log holds a password")
	}
}
