package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/account"
	"mailcrypt/config"
	"mailcrypt/internal/durable"
	"mailcrypt/lmtpd"
	"mailcrypt/mailbox"
	"mailcrypt/quota"
	"mailcrypt/userdb"
)

func TestAllowNets(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	for _, tt := range []struct {
		field string
		from  net.Addr
		ok    bool
	}{
		{"127.0.0.0/8", tcp("127.3.4.5"), true},
		{"127.0.0.0/8", tcp("::ffff:127.3.4.5"), true},
		{"127.0.0.0/8", tcp("128.0.0.1"), false},
		{"127.0.0.0/8", tcp("::1"), false},
		{"10.0.0.1, 192.0.2.7", tcp("192.0.2.7"), true},
		{"10.0.0.1,192.0.2.7", tcp("192.0.2.8"), false},
		{"::ffff:10.0.0.0/104", tcp("10.9.9.9"), true},
		{"2001:db8::/32", tcp("2001:db8:1::1"), true},
		{"2001:db8::/32", tcp("2001:db9::1"), false},
		{"::/0", tcp("10.0.0.1"), false},
		{"0.0.0.0/0,::/0", tcp("10.0.0.1"), true},
		{"fe80::/10", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, true},
		{"local", unix, true},
		{"local", nil, true},
		{"local", tcp("127.0.0.1"), false},
		{"127.0.0.0/8", unix, false},
		{"127.0.0.0/8,local", unix, true},
		{"", tcp("127.0.0.1"), false},
		{"", unix, false},
		{"yes", tcp("127.0.0.1"), false},
		{"127.0.0.0/33,10.0.0.0/8", tcp("10.0.0.1"), true},
		{"%{", tcp("10.0.0.1"), false},
	} {
		err := allowed(&userdb.User{Name: "u", Fields: map[string]string{"allow_nets": tt.field}}, tt.from)
		if (err == nil) != tt.ok {
			t.Errorf("allow_nets=%s from %v: %v, want allowed %v", tt.field, tt.from, err, tt.ok)
		}
	}
	if err := allowed(&userdb.User{Fields: map[string]string{}}, tcp("192.0.2.1")); err != nil {
		t.Error("without the field: ", err)
	}
	for field, good := range map[string]bool{"127.0.0.0/8,local": true, "": false, "10.0.0.0/33": false, "host.example": false, "10.1.1.1,": false} {
		if err := CheckUser(&userdb.User{Name: "u", Fields: map[string]string{"allow_nets": field}}); (err == nil) != good {
			t.Errorf("checking allow_nets=%q: %v", field, err)
		}
	}
}

// configure writes a configuration with users and loads it.
func configure(t *testing.T, users, crypt string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"users": users,
		"c.toml": fmt.Sprintf("state_dir = \"state\"\nmail_home = %q\n[userdb]\npasswd_file = \"users\"\n[mail_crypt]\nsave_version = 2\ncurve = \"prime256v1\"\nprivate_password = \"%%{password}\"\nseal_rounds = 1\n%s",
			dir+"/%u", crypt),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "c.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSystem(t *testing.T) {
	ctx := context.Background()
	c := configure(t, "alice:{PLAIN}pw::::::allow_nets=127.0.0.0/8\nbob:{PLAIN}pw::::::userdb_mail_crypt_save_version=9\n", "")
	s, err := Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Open(c, nil); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second one: %v, want ErrLocked", err)
	}
	local, far := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	for what, err := range map[string]error{
		"wrong password":  login(s, "alice", "no", local),
		"unknown user":    login(s, "carol", "pw", local),
		"another network": login(s, "alice", "pw", far),
	} {
		if !errors.Is(err, account.ErrAuth) {
			t.Errorf("%s: %v, want ErrAuth", what, err)
		}
	}
	if err := login(s, "bob", "pw", local); !errors.Is(err, account.ErrSettings) {
		t.Errorf("settings that cannot be used: %v, want ErrSettings", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(c.Path), "bob")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused user's files were made")
	}
	if err := login(s, "alice", "pw", local); err != nil {
		t.Error(err)
	}
	r, err := s.Deliver(ctx, "alice")
	if err != nil {
		t.Fatal("a delivery needs no network: ", err)
	}
	a, err := r.Append(ctx, "INBOX", mailbox.SaveInfo{})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(a, "Subject: x\n\n")
	if _, err := a.Commit(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Deliver(ctx, "carol"); !errors.Is(err, lmtpd.ErrNoUser) {
		t.Errorf("an unknown recipient: %v, want ErrNoUser", err)
	}
}

func login(s *System, name, password string, from net.Addr) error {
	l, err := s.Login(context.Background(), name, []byte(password), from)
	if err != nil {
		return err
	}
	return l.Close()
}

// TestWrongForEverybody: settings that no user could use are errors of the configuration.
func TestWrongForEverybody(t *testing.T) {
	for _, crypt := range []string{
		"message_rounds = 0\n", "require_encrypted_user_key = \"perhaps\"\n", "global_public_key = \"rubbish\"\n",
		"global_private_key = \"rubbish\"\n", "private_key = \"rubbish\"\n", "[zlib]\nsave = \"lz4\"\nsave_level = 22\n",
	} {
		c := configure(t, "", crypt)
		_, err := Open(c, nil)
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.Path) {
			t.Errorf("%s: %v, want a *config.Error that names the file", strings.TrimSpace(crypt), err)
		}
		s := configure(t, "", "")
		open, err := Open(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := open.Reload(c); err == nil {
			t.Errorf("%s: reloaded", strings.TrimSpace(crypt))
		}
		open.Close()
	}
}

func TestKeyExposed(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if got := KeyExposed(&config.Config{TLS: config.TLS{Key: key}}); (got != "") != warned {
			t.Errorf("mode %o: %q", mode, got)
		}
	}
	if got := KeyExposed(&config.Config{}); got != "" {
		t.Errorf("without TLS: %q", got)
	}
}

func TestSystemQuota(t *testing.T) {
	ctx := context.Background()
	c := configure(t, "alice:{PLAIN}pw::::::\nbob:{PLAIN}pw::::::userdb_quota_rule=*:bytes=5000\n",
		"before_first_login = \"unsealed\"\n[quota]\nrule = \"*:bytes=1000\"\ngrace = 0\nfull_tempfail = true\n")
	s, err := Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for user, want := range map[string]bool{"alice": true, "bob": false} {
		r, err := s.Deliver(ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		var over *quota.Error
		if err := r.Fits(ctx, "INBOX", 1001); errors.As(err, &over) != want || want && !over.Temporary {
			t.Errorf("%s: %v", user, err)
		}
		a, err := r.Append(ctx, "INBOX", mailbox.SaveInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(a, strings.Repeat("x", 1001)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Commit(); errors.As(err, &over) != want {
			t.Errorf("saving for %s: %v", user, err)
		}
		if err := errors.Join(a.Abort(), r.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := Defaults(configure(t, "alice:{PLAIN}pw::::::\n", "[quota]\nrule = \"everything\"\n")); err == nil || !strings.Contains(err.Error(), "quota_rule") {
		t.Errorf("a rule that is none: %v", err)
	}
}
