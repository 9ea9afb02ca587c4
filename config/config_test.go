package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// minimal is what every configuration needs.
const minimal = "mail_home = \"/srv/%u\"\n[userdb]\npasswd_file = \"users\"\n"

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, text string) (*Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "hush\n")
	write(t, filepath.Join(dir, "empty"), "\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", 70_000))
	c, err := Load(write(t, filepath.Join(dir, "c.toml"), text))
	return c, dir, err
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // "LINE: SETTING" and a part of the reason, or ""
		reason     string
	}{
		{"unknown setting", "mail_hom = \"/x\"\n" + minimal, "1: mail_hom", "did you mean mail_home?"},
		{"unknown setting in a table", minimal + "[imap]\nlisen = []\n", "5: [imap] lisen", "did you mean listen?"},
		{"unknown table", minimal + "[imaps]\nlisten = []\n", "4: imaps", "unknown table; did you mean imap?"},
		{"a table in a table", minimal + "[imap.listen]\nx = 1\n", "4: [imap] listen", "is a setting, not a table"},
		{"an unknown table in a table", minimal + "[imap.more]\nx = 1\n", "4: [imap] more", "unknown setting"},
		{"a setting as a table", "[mail_home]\nx=1\n", "1: mail_home", "is a setting, not a table"},
		{"a table as a setting", "imap = 3\n" + minimal, "1: imap", "is a table"},
		{"dotted key", "imap.lisen = []\n" + minimal, "1: [imap] lisen", "did you mean listen?"},
		{"dotted key with blanks and quotes", "\"imap\" . 'lisen' = []\n" + minimal, "1: [imap] lisen", "did you mean listen?"},
		{"inline table", "imap = { lisen = [] }\n" + minimal, "1: [imap] lisen", "did you mean listen?"},
		{"text for a list", minimal + "[imap]\nlisten = \"x\"\n", "5: [imap] listen", "must be a list"},
		{"number for text", "mail_location = 7\n" + minimal, "1: mail_location", "must be text"},
		{"quoted boolean", minimal + "[auth]\ndisable_plaintext_auth = \"yes\"\n", "5: [auth] disable_plaintext_auth", "without quotes"},
		{"address without a port", minimal + "[imap]\nlisten = [\"localhost\"]\n", "5: [imap] listen", "is not an address"},
		{"number among addresses", minimal + "[imap]\nlisten = [143]\n", "5: [imap] listen", "must be an address"},
		{"size", minimal + "[lmtp]\nmessage_size_limit = \"12Q\"\n", "5: [lmtp] message_size_limit", "is not a size"},
		{"huge size", minimal + "[lmtp]\nmessage_size_limit = \"9999999999T\"\n", "5: [lmtp] message_size_limit", "is too large"},
		{"negative size", minimal + "[lmtp]\nmessage_size_limit = -1\n", "5: [lmtp] message_size_limit", "negative"},
		{"fraction", minimal + "[imap]\nmax_connections = 1.5\n", "5: [imap] max_connections", "must be a number"},
		{"choice", "mail_log = \"loud\"\n" + minimal, "1: mail_log", "is none of"},
		{"level", minimal + "[zlib]\nsave_level = \"9\"\n", "5: [zlib] save_level", "must be a number"},
		{"masters without a file", minimal + "[auth]\nmaster_user_separator = \"*\"\n", "5: [auth] master_user_separator", "needs master_passwd_file"},
		{"a letter as a separator", minimal + "[auth]\nmaster_user_separator = \"x\"\n", "5: [auth] master_user_separator", "one character"},
		{"users as masters", minimal + "[auth]\nmaster_passwd_file = \"users\"\n", "5: [auth] master_passwd_file", "is the users' own"},
		{"proxies without networks", minimal + "[imap]\nhaproxy_listen = [\"[::]:1143\"]\n", "0: haproxy_trusted_networks", "which proxies may connect to [::]:1143"},
		{"proxies with TLS", "haproxy_trusted_networks = [\"::1\"]\n" + minimal + "[imap]\nhaproxy_tls_listen = [\"[::]:1143\"]\n", "6: [imap] haproxy_tls_listen", "needs [tls]"},
		{"duration", minimal + "[auth]\nfailure_delay = 2\n", "5: [auth] failure_delay", "must be a time"},
		{"long duration", minimal + "[auth]\nmax_delay = \"1h\"\n", "5: [auth] max_delay", "at most 1m0s"},
		{"network", minimal + "[auth]\nlogin_trusted_networks = [\"192.0.2.0/33\"]\n", "5: [auth] login_trusted_networks", "is no network"},
		{"network as text", minimal + "[auth]\nlogin_trusted_networks = \"192.0.2.0/24\"\n", "5: [auth] login_trusted_networks", "must be a list"},
		{"date", minimal + "[mail_crypt]\ncurve = 2020-01-01\n", "5: [mail_crypt] curve", "must be text"},
		{"crypt list", minimal + "[mail_crypt]\ncurve = [\"x\"]\n", "5: [mail_crypt] curve", "must be text"},
		{"crypt table", minimal + "[mail_crypt.curve]\nx = 1\n", "4: [mail_crypt] curve", "is a setting"},
		{"crypt with its prefix", minimal + "[mail_crypt]\nmail_crypt_curve = \"x\"\n", "5: [mail_crypt] mail_crypt_curve", "unknown setting"},
		{"key number 1", minimal + "[mail_crypt]\nprivate_key1 = \"x\"\n", "5: [mail_crypt] private_key1", "unknown setting"},
		{"key number 02", minimal + "[mail_crypt]\nprivate_key02 = \"x\"\n", "5: [mail_crypt] private_key02", "unknown setting"},
		{"quota list", minimal + "[quota]\nrule = [\"x\"]\n", "5: [quota] rule", "must be text"},
		{"quota with its prefix", minimal + "[quota]\nquota_rule = \"x\"\n", "5: [quota] quota_rule", "unknown setting"},
		{"rule number 1", minimal + "[quota]\nrule1 = \"x\"\n", "5: [quota] rule1", "did you mean rule?"},
		{"rule number 02", minimal + "[quota]\nrule02 = \"x\"\n", "5: [quota] rule02", "unknown setting"},
		{"missing rule", minimal + "[quota]\nrule = \"x\"\nrule3 = \"x\"\n", "6: [quota] rule3", "rule2 is missing"},
		{"value file missing", minimal + "[mail_crypt]\nprivate_password = \"<nowhere\"\n", "5: [mail_crypt] private_password", "no such file"},
		{"value file a directory", minimal + "[mail_crypt]\nprivate_password = \"<.\"\n", "5: [mail_crypt] private_password", "is not a regular file"},
		{"value file empty", minimal + "[mail_crypt]\nprivate_password = \"<empty\"\n", "5: [mail_crypt] private_password", "is empty"},
		{"value file large", minimal + "[mail_crypt]\nprivate_password = \"<large\"\n", "5: [mail_crypt] private_password", "is larger than 64 KiB"},
		{"value file a device", minimal + "[mail_crypt]\nprivate_password = \"</dev/null\"\n", "5: [mail_crypt] private_password", "is not a regular file"},
		{"mailbox as a table", minimal + "[mailbox]\nname = \"x\"\n", "4: mailbox", "is written as [[mailbox]]"},
		{"mailboxes as names", "mailbox = [\"x\"]\n" + minimal, "1: mailbox", "is written as [[mailbox]]"},
		{"mailbox without a name", minimal + "[[mailbox]]\nauto = \"create\"\n", "0: [mailbox] name", "is missing"},
		{"mailbox twice", minimal + "[[mailbox]]\nname = \"a\"\n[[mailbox]]\nname = \"a\"\n", "7: [mailbox] name", "stands twice"},
		{"use of the second mailbox", minimal + "[[mailbox]]\nname = \"a\"\nspecial_use = \"\\\\Sent\"\n[[mailbox]]\nname = \"b\"\nspecial_use = \"sent\"\n", "9: [mailbox] special_use", "is none of"},
		{"auto", minimal + "[[mailbox]]\nname = \"a\"\nauto = true\n", "6: [mailbox] auto", "is none of"},
		{"TLS without a certificate", minimal + "[imap]\ntls_listen = [\"[::]:993\"]\n", "5: [imap] tls_listen", "needs [tls]"},
		{"half of TLS", minimal + "[tls]\nkey = \"k\"\n", "0: [tls] cert", "belong together"},
		{"no user database", "mail_home = \"/x\"\n", "0: [userdb] passwd_file", "is not set"},
		{"syntax", minimal + "x = = 1\n", "4: ", ""},
		{"key twice", "mail_home = \"/a\"\n" + minimal, "2: ", ""},
		{"table twice", minimal + "[imap]\n[imap]\n", "5: ", ""},
		{"NUL", "mail_home = \"\x00\"\n" + minimal, "1: ", ""},
		{"no UTF-8", "mail_home = \"\xff\"\n" + minimal, "1: ", ""},
		{"after a BOM and CR LF", "\xef\xbb\xbfmail_log = \"loud\"\r\n" + strings.ReplaceAll(minimal, "\n", "\r\n"), "1: mail_log", "is none of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, dir, err := load(t, tt.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v, want an *Error", err)
			}
			if got := fmt.Sprintf("%d: %s", e.Line, e.Setting); got != tt.want {
				t.Errorf("the error is at %q, want %q (%v)", got, tt.want, err)
			}
			if !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("reason %q, want %q in it", e.Reason, tt.reason)
			}
			want := filepath.Join(dir, "c.toml")
			if e.Line > 0 {
				want += fmt.Sprintf(":%d", e.Line)
			}
			if !strings.HasPrefix(e.Error(), want+": ") {
				t.Errorf("%q does not begin with the place %s", e, want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Error("the error tells what a file of secrets holds")
			}
		})
	}
}

func TestAllErrorsAreTold(t *testing.T) {
	_, _, err := load(t, "a = 1\nb = 2\n[imap]\nc = 3\n"+strings.TrimPrefix(minimal, "mail_home = \"/srv/%u\"\n"))
	if n := len(strings.Split(err.Error(), "\n")); n != 3 {
		t.Errorf("%d errors are told, want 3, in order: %v", n, err)
	}
}

func TestDefaultsAndValues(t *testing.T) {
	c, dir, err := load(t, "\xef\xbb\xbf"+strings.ReplaceAll(minimal, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.StateDir != "/var/lib/mailcryptd" || c.MailLocation != "maildir:~/Maildir" || c.AttributeDict != "bolt:~/keys.db" ||
		!c.Auth.DisablePlaintext || c.LMTP.RecipientDelimiter != "+" || len(c.Crypt) != 0 {
		t.Errorf("defaults: %+v", c)
	}
	if c.UserDB.PasswdFile != filepath.Join(dir, "users") {
		t.Errorf("a relative path became %s", c.UserDB.PasswdFile)
	}
	c, dir, err = load(t, `
state_dir = "state"
mail_home = "mail/%u"
imap.listen = ["127.0.0.1:143", "unix:run/imap"]
imap.append_limit = "1 MiB"
tls = { cert = "<cert.pem", key = "key.pem" }
userdb.passwd_file = "/etc/users"
[mail_crypt]
save_version = 2
require_encrypted_user_key = false
private_password = "<secret"
private_key2 = "k"
private_key2_password = "p"
global_private_key_password = "g"
[quota]
root = "count:Mail"
rule = "*:storage=1G"
rule2 = "Trash:storage=+10%"
max_mail_size = 1000
full_tempfail = true
[zlib]
save = "zstd"
save_level = -5
[[mailbox]]
name = "Gesendet"
special_use = "\\sent"
auto = "subscribe"
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.StateDir != dir+"/state" || c.MailHome != dir+"/mail/%u" || c.TLS.Cert != dir+"/cert.pem" || c.TLS.Key != dir+"/key.pem" {
		t.Errorf("paths: %+v", c)
	}
	if want := []string{"127.0.0.1:143", "unix:" + dir + "/run/imap"}; !reflect.DeepEqual(c.IMAP.Listen, want) || c.IMAP.AppendLimit != 1<<20 {
		t.Errorf("imap: %+v", c.IMAP)
	}
	want := map[string]string{"save_version": "2", "require_encrypted_user_key": "false", "private_password": "hush",
		"private_key2": "k", "private_key2_password": "p", "global_private_key_password": "g"}
	if !reflect.DeepEqual(c.Crypt, want) {
		t.Errorf("mail_crypt: %v", c.Crypt)
	}
	want = map[string]string{"quota": "count:Mail", "quota_rule": "*:storage=1G", "quota_rule2": "Trash:storage=+10%",
		"quota_max_mail_size": "1000", "quota_full_tempfail": "true"}
	if !reflect.DeepEqual(c.Quota, want) {
		t.Errorf("quota: %v", c.Quota)
	}
	if *c.Zlib.SaveLevel != -5 || c.Mailboxes[0] != (Mailbox{"Gesendet", `\Sent`, "subscribe"}) {
		t.Errorf("zlib %+v, mailboxes %+v", c.Zlib, c.Mailboxes)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, reason := range map[string]string{
		dir:                           "is not a regular file",
		fifo:                          "is not a regular file",
		filepath.Join(dir, "nowhere"): "no such file",
		write(t, filepath.Join(dir, "huge"), strings.Repeat("#\n", 3<<20)): "is larger than",
	} {
		_, err := Load(path)
		var e *Error
		if !errors.As(err, &e) || e.File != path || !strings.Contains(e.Reason, reason) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, reason)
		}
	}
	if _, err := Load(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v does not wrap os.ErrNotExist", err)
	}
}

// FuzzParse: whatever the file holds, there is a configuration or errors with places.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		minimal, "a", "[[mailbox]]\n[[mailbox]]\nname=''", "imap.listen = [[]]\n", "mailbox = [{}, 1]", "mail_crypt = 1",
		"[mail_crypt]\nprivate_key99 = '<x'\n[mail_crypt.curve]\n", "\xef\xbb\xbf[imap]\r\nlisten=['unix:']\r\n", "imap = {listen={}}",
		"mailbox.name = 3\n", "[lmtp]\nmessage_size_limit = ' 9 kib'\n", "\"\" = 1\n", "[\"\"]\n", "a.b.c.d = [{e=[1]}]\n", "[[imap]]\n[[userdb.x]]\n",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "c.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "<") {
			return // would open whatever the fuzzer names
		}
		c, err := parse(path, text)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil {
			return
		}
		list := []error{err}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			list = joined.Unwrap()
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, one := range list {
			e, ok := one.(*Error)
			if !ok || e.File != path || e.Line < 0 || e.Line > lines || e.Reason == "" {
				t.Fatalf("%#v", one)
			}
		}
	})
}
