package userdb

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dovecotVars has templates of Dovecot 2.3's and what 2.3.19.1 made of them for the user
// joe@ex.org, or h2@ex.org in the second part, with the password pass. TestExpandLive asks
// an installed Dovecot again.
var dovecotVars = []struct{ user, template, want string }{
	{"joe@ex.org", "%{sha256:password}", "d74ff0ee8da3b9806b18c877dbf29bbde50b5bd8e4dad7a3a725000feb82e8f1"},
	{"joe@ex.org", "%{sha256;rounds=3,salt=abc:password}", "b9fd4b12a620d1e0f8bd75970ed59d5aecd8929aac6d36777338a8900db0651c"},
	{"joe@ex.org", "%{sha256;salt=abc,rounds=3:password}", "a551515c988cf4d9b97f59fd2686ba4e1b2629f26da9ced9f14b7bff94b27074"},
	{"h1@ex.org", "%{sha256;salt=%n,rounds=2:password}", "1aacb864ef9080fe36d434f8b7efe266c71851cc15d1366f5c53b7c80e1a46b6"},
	{"joe@ex.org", "%{sha512;format=base64:password}", "W3IrMH/ObJRJBdEyaR1eSiIUt/6StziSDrP846kEIKGVEcMBCg53ErBU2u9bV7rVnsvZOzKA8hBXj1R/Su1NJQ=="},
	{"joe@ex.org", "%{sha256;format=hexuc:password}", "d74ff0ee8da3b9806b18c877dbf29bbde50b5bd8e4dad7a3a725000feb82e8f1"},
	{"joe@ex.org", "%{sha256;truncate=12:password}", "0d74"},
	{"joe@ex.org", "%{sha256;format=hex,truncate=13:password}", "1ae9"},
	{"joe@ex.org", "%{md5:password}", "1a1dc91c907325c69271ddf0c944bc72"},
	{"joe@ex.org", "%{sha1:user}", "1b8b1f3cf99a55c6add694ce05a49bbc0c1d21b4"},
	{"joe@ex.org", "%u|%n|%d|%%|%Lu|%Un|%w|%L", "joe@ex.org|joe|ex.org|%|joe@ex.org|JOE|pass|"},
	{"joe@ex.org", "%{user}-%{username}-%{domain}-%{password}", "joe@ex.org-joe-ex.org-pass"},
	{"joe@ex.org", "%{pkcs5:password}", pkcs5("pass", "password", 2048)},
	{"joe@ex.org", "%{pkcs5;salt=abc,rounds=3:password}", pkcs5("pass", "abc", 2048)},
	{"k1", "%{pkcs5;rounds=3:user}", pkcs5("k1", "user", 3)},
	{"k1", "%{sha1;truncate=7:user}", "51"},
	{"k1", "%{sha1;truncate=8:user}", "a2"},
	{"k1", "%{md5;rounds=2,format=hexuc:user}", "db90c809b497406108f08a6fca80546a"},
	{"k1", "%{sha512;format=base64,salt=x:user}", "sV4wAaUcx8GySHXAy6qkhcuIXHeRem4lsSFH46zTLn+3Zzyhvp6e2zw0SkvTUyIMYnPOmB+MTlfL6yttMgIFQg=="},
	{"h10@ex.org", "%{sha3-256:password}", "73899d2adaad774417b0208da85162b61c8dbdf79bb0f7108c2686b93721d1f4"},
	{"h10@ex.org", "%{md5;format=base64,truncate=20:user}", "BHWc"},
	{"h10@ex.org", "%{sha384:user}", "57b13f46a982eb79ed7951a5963e45a2ca32f8a3098e1ad1d104750093fe2ec725dab8b5b7ae5def5503f830f79987da"},
	{"h10@ex.org", "%{sha512;truncate=9:user}", "0116"},
	{"h10@ex.org", "%{sha256;truncate=1000:user}", "c6340e1e054093e3c03f8ca0b82da0046f167c5d510a429dce7db5900ffe7c6d"},
	{"h2@ex.org", "x%", "x"},
	{"h2@ex.org", "%1.2u", "2@"},
	{"h2@ex.org", "%-3u", "h2@"},
	{"h2@ex.org", "%-3.2u", "or"},
	{"h2@ex.org", "%2.256Nu", "91"},
	{"h2@ex.org", "%8Hu", "7"},
	{"h2@ex.org", "%2.16Hu", "07"},
	{"h2@ex.org", "%Mu", "d1c5ad0e69e25c9129506abdd63a7a67"},
	{"h2@ex.org", "%Dd", "ex,dc=org"},
	{"h2@ex.org", "%Xu", "0"},
	{"h2@ex.org", "%Ru", "gro.xe@2h"},
	{"h2@ex.org", "%Eu", "h2@ex.org"},
	{"h2@ex.org", "%LUu", "H2@EX.ORG"},
	{"h2@ex.org", "%ULu", "h2@ex.org"},
	{"h2@ex.org", "%010n", "00000000h2"},
	{"h2@ex.org", "%2.-3u", "@ex."},
	{"h2@ex.org", "%0.3u", "h2@"},
	{"h2@ex.org", "%3u", "h2@"},
	{"h2@ex.org", "%3.0u", "ex.org"},
	{"h2@ex.org", "%Nu", "69e25c91"},
	{"h2@ex.org", "%Hu", "6cb3de7"},
	{"h2@ex.org", "%20Nu", "1"},
	{"h2@ex.org", "%Tu", "h2@ex.org"},
	{"h2@ex.org", "%L{user}", "h2@ex.org"},
	{"h2@ex.org", "%U{domain}", "EX.ORG"},
	{"h2@ex.org", "%2.3{username}", ""},
	{"h2@ex.org", "%M{password}", "1a1dc91c907325c69271ddf0c944bc72"},
	{"nodomain", "%u|%n|%d|%{domain}", "nodomain|nodomain||"},
}

func pkcs5(password, salt string, rounds int) string {
	key, err := pbkdf2.Key(sha256.New, password, []byte(salt), rounds, pkcs5Size)
	if err != nil {
		panic(err) // only in FIPS mode
	}
	return fmt.Sprintf("%x", key)
}

func TestExpandDovecot(t *testing.T) {
	for _, tt := range dovecotVars {
		got, err := Expand(tt.template, Vars{User: tt.user, Password: []byte("pass"), HasPassword: true})
		if string(got) != tt.want || err != nil {
			t.Errorf("Expand(%q) for %s = %q, %v; want %q", tt.template, tt.user, got, err, tt.want)
		}
	}
}

func TestExpand(t *testing.T) {
	v := Vars{
		User: "Joe.X@Ex.Org@last", Home: "/home/%u%%{user}", Password: []byte("p%w:}"), HasPassword: true,
		More: map[string]string{"service": "imap", "rip": "10.0.0.1", "num": "255"},
	}
	hash := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	for _, tt := range []struct{ template, want string }{
		{"", ""},
		{"%h/x", "/home/%u%%{user}/x"}, // a value is not expanded again
		{"%{password}", "p%w:}"},
		{"%%%%u%%{user}", "%%u%{user}"},
		{"%n|%d|%{domain_first}|%{domain_last}", "Joe.X|Ex.Org@last|Ex.Org|last"},
		{"%s %{service} %r %{orig_user}", "imap imap 10.0.0.1 Joe.X@Ex.Org@last"},
		{"%X{num}", "ff"},
		{"%{sha256;salt=%{user}:password}", hash("Joe.X@Ex.Org@lastp%w:}")},
		// Dovecot 2.4
		{"%{ user }", "Joe.X@Ex.Org@last"},
		{"%{user | lower | username}", "joe.x"},
		{"%{user|upper}", "JOE.X@EX.ORG@LAST"},
		{"%{user | domain}", "Ex.Org@last"},
		{"%{password | sha256}", hash("p%w:}")},
		{"%{password|sha256(salt='a')|hexlify}", hash("ap%w:}")},
		{"%{password | sha256 | truncate(2)}", hash("p%w:}")[:4]},
		{"%{password | sha256 | truncate(bits=8)}", hash("p%w:}")[:2]},
		{"%{password | sha256 | hexlify(4)}", hash("p%w:}")[:4]},
		{"%{password | hash('sha256', rounds=1)}", hash("p%w:}")},
		{"%{user | substr(0, 1)}%{user | substr(-4)}%{user | substr(0, -5)}", "JlastJoe.X@Ex.Org"},
		{"%{user | index('@', 1)}%{user | index('@', -1)}", "Ex.Orglast"},
		{"%{username | reverse}", "X.eoJ"},
		{"%{username | base64}|%{username | base64(pad=0) | unbase64(pad=0) | hexlify}", "Sm9lLlg=|4a6f652e58"},
		{"%{literal('a}|b\\n') | upper}", "A}|B\n"},
		{"%{concat('%', user, 7)}", "%Joe.X@Ex.Org@last7"},
		{"%{lookup('rip')}", "10.0.0.1"},
		{"%{literal('') | default('x')}", "x"},
		{"%{num | hex | lfill(4)}%{literal('ff') | unhex | rfill(5, 'x')}", "00ff255xx"},
		{"%{literal('4a6f') | unhexlify}|%{username | ldap_dn}", "4a6f|Joe,dc=X"},
	} {
		got, err := Expand(tt.template, v)
		if string(got) != tt.want || err != nil {
			t.Errorf("Expand(%q) = %q, %v; want %q", tt.template, got, err, tt.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	for _, tt := range []struct {
		template string
		want     error
	}{
		{"%w", ErrAbsent},
		{"x%{password}", ErrAbsent},
		{"%{sha256:password}", ErrAbsent},
		{"%{sha256;salt=%w:user}", ErrAbsent},
		{"%{password | sha256}", ErrAbsent},
		{"%{password | default('x')}", ErrAbsent},
		{"%{user | sha256(salt=password)}", ErrAbsent},
		{"%h", ErrAbsent},
		{"%x", ErrTemplate},
		{"%{nope}", ErrTemplate},
		{"%{user", ErrTemplate},
		{"%{sha256:nope}", ErrTemplate},
		{"%{sha256;rounds=0:user}", ErrTemplate},
		{"%{sha256;rounds=999999999:user}", ErrTemplate},
		{"%{sha256;rounds=x:user}", ErrTemplate},
		{"%{sha256;format=foo:user}", ErrTemplate},
		{"%{sha256;truncate=-1:user}", ErrTemplate},
		{"%{sha256;rounds=1}", ErrTemplate},
		{"%{sha224:user}", ErrTemplate},
		{"%{env:HOME}", ErrTemplate},
		{"%{if;a;eq;a;b;c}", ErrTemplate},
		{"%{user | nope}", ErrTemplate},
		{"%{user | lower(1)}", ErrTemplate},
		{"%{user | substr(99)}", ErrTemplate},
		{"%{user | substr('x')}", ErrTemplate},
		{"%{user | lfill(99999999)}", ErrTemplate},
		{"%{user | sha256(rounds=99999999)}", ErrTemplate},
		{"%{user | literal('x}", ErrTemplate},
		{"%{user | index('', 1)}", ErrTemplate},
		{"%{user | regexp('a','b')}", ErrTemplate},
		{"%{lower}", ErrTemplate},
		{"%{lower()}", ErrTemplate},
		{strings.Repeat("x", maxTemplate+1), ErrTemplate},
		{strings.Repeat("%09999u", 100), ErrTemplate},
		{strings.Repeat("%{sha256;salt=", 20) + "%{user}" + strings.Repeat(":user}", 20), ErrTemplate},
	} {
		got, err := Expand(tt.template, Vars{User: "joe@ex.org"})
		if !errors.Is(err, tt.want) || got != nil {
			t.Errorf("Expand(%.60q) = %q, %v; want %v", tt.template, got, err, tt.want)
		}
	}
	// An empty password is there.
	if got, err := Expand("[%w]", Vars{HasPassword: true}); string(got) != "[]" || err != nil {
		t.Errorf("empty password: %q, %v", got, err)
	}
}

// TestExpandLive lets Dovecot's auth process expand the templates at a login.
func TestExpandLive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Dovecot")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can start Dovecot")
	}
	fields, users := map[string]string{}, []string{}
	for i, tt := range dovecotVars {
		if fields[tt.user] == "" {
			users = append(users, tt.user)
		}
		fields[tt.user] += fmt.Sprintf(" userdb_v%d=%s", i, tt.template)
	}
	var file strings.Builder
	for _, user := range users {
		fmt.Fprintf(&file, "%s:{PLAIN}pass::::::%s\n", user, fields[user])
	}
	dir := startDovecot(t, file.String())
	said := map[string]bool{}
	for _, user := range users {
		out, err := exec.Command("doveadm", "-c", filepath.Join(dir, "dovecot.conf"), "auth", "login", user, "pass").CombinedOutput()
		if err != nil {
			t.Fatalf("doveadm auth login %s: %v\n%s", user, err, out)
		}
		for line := range strings.Lines(string(out)) {
			said[strings.TrimSpace(line)] = true
		}
	}
	for i, tt := range dovecotVars {
		want := fmt.Sprintf("v%d=%s", i, tt.want)
		if tt.want == "" {
			want = fmt.Sprintf("v%d", i)
		}
		if !said[want] {
			t.Errorf("%s: Dovecot does not say %s", tt.template, want)
		}
	}
}

// startDovecot runs an auth service over the file passwd in the returned directory.
func startDovecot(t *testing.T, passwd string) string {
	t.Helper()
	bin, err := exec.LookPath("dovecot")
	if err != nil {
		t.Skip("dovecot is not installed")
	}
	dir, err := os.MkdirTemp("", "userdb") // a short path, for its sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
protocols =
ssl = no
auth_username_format = %%u
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_uid = nobody
mail_gid = nogroup
passdb {
  driver = passwd-file
  args = %[1]s/passwd
}
userdb {
  driver = passwd-file
  args = %[1]s/passwd
}
`, dir)
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "run"), 0o755),
		os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd), 0o644),
		os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(conf), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err := cmd.Start(); err != nil {
		t.Skipf("dovecot does not start: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for range 100 {
		if _, err := os.Stat(filepath.Join(dir, "run", "auth-login")); err == nil {
			return dir
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Skipf("dovecot does not run here: %s", log)
	return ""
}

func FuzzExpand(f *testing.F) {
	for _, tt := range dovecotVars {
		f.Add(tt.template, tt.user, "pass")
	}
	for _, s := range []string{"%{user | lower | username}", "%{password | sha256(rounds=2, salt='S') | base64}",
		"%{literal('a}|b\\n') | upper}", "%{concat('%', user, 7)}", "%{num | hex | lfill(4)}", "%-0.-0T{", "%{user | substr(0, -5)}"} {
		f.Add(s, "Joe@ex", "p%w")
	}
	f.Fuzz(func(t *testing.T, template, user, password string) {
		got, err := Expand(template, Vars{User: user, Password: []byte(password), HasPassword: true})
		if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrAbsent) {
			t.Fatalf("untyped error %v", err)
		}
		if len(got) > maxExpanded {
			t.Fatalf("%d bytes", len(got))
		}
		// Where a password changes nothing, the template gives the same without one.
		if without, werr := Expand(template, Vars{User: user}); werr == nil && string(without) != string(got) {
			t.Fatalf("%q with a password, %q without", got, without)
		}
	})
}
