package dovecotconf

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mailcrypt/config"
)

// load reads the text of a result as the daemon would.
func load(t *testing.T, r *Result) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailcryptd.toml")
	if err := r.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
	if err := r.WriteFile(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file was replaced: %v", err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	return c
}

// TestGolden imports whole configurations. UPDATE=1 writes the files anew.
func TestGolden(t *testing.T) {
	inputs, _ := filepath.Glob("testdata/*.conf")
	if len(inputs) < 5 {
		t.Fatalf("only %d inputs", len(inputs))
	}
	for _, in := range inputs {
		t.Run(filepath.Base(in), func(t *testing.T) {
			text, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Import(bytes.NewReader(text), Options{Name: filepath.Base(in), Dir: "testdata"})
			if err != nil {
				t.Fatal(err)
			}
			var report bytes.Buffer
			if err := r.WriteReport(&report); err != nil {
				t.Fatal(err)
			}
			for name, got := range map[string][]byte{".toml": r.TOML, ".report": report.Bytes()} {
				golden := strings.TrimSuffix(in, ".conf") + name
				if os.Getenv("UPDATE") != "" {
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s differs (%v):\n%s", golden, err, got)
				}
			}
			if strings.Contains(report.String(), "s3cret") {
				t.Errorf("the report tells a secret:\n%s", &report)
			}
			checkTOML(t, r)
		})
	}
}

// TestRoundTrip asks the real doveconf, and compares what Dovecot has with what we load.
func TestRoundTrip(t *testing.T) {
	doveconf, err := exec.LookPath("doveconf")
	if err != nil {
		t.Skip("no doveconf")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"public.pem": "PUBLIC\n", "private.pem": "s3cret key\n", "tls.pem": "CERT\n", "tls.key": "KEY\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, []byte(roundTrip), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf.d/10-crypt.conf"), []byte(strings.ReplaceAll(roundTripCrypt, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := exec.Command(doveconf, "-nP", "-c", conf).Output()
	if err != nil {
		t.Fatalf("doveconf: %v: %s", err, err.(*exec.ExitError).Stderr)
	}
	fromPrint, err := Import(bytes.NewReader(printed), Options{})
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := ImportFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	a, b := load(t, fromPrint), load(t, fromFile)
	a.Path, b.Path = "", ""
	if !reflect.DeepEqual(a, b) {
		t.Errorf("what doveconf prints:\n%s\nthe file:\n%s", fromPrint.TOML, fromFile.TOML)
	}
	check := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	value := func(setting string) string { return asDovecot(t, doveconf, conf, setting) }
	for got, setting := range map[*string]string{&a.MailLocation: "mail_location", &a.MailHome: "mail_home", &a.AttributeDict: "mail_attribute_dict",
		&a.Auth.UsernameFormat: "auth_username_format", &a.Auth.MasterSeparator: "auth_master_user_separator", &a.LMTP.RecipientDelimiter: "recipient_delimiter"} {
		check(setting, *got, value(setting))
	}
	for name, want := range map[string]string{"save_version": "2", "curve": "secp521r1", "private_password": "%{sha256:password}",
		"global_public_key": "PUBLIC", "global_private_key": "s3cret key", "global_private_key_password": "s3cret # \\ word", "require_encrypted_user_key": "true"} {
		check(name, a.Crypt[name], want)
	}
	check("curve", a.Crypt["curve"], value("plugin/mail_crypt_curve"))
	check("quota_rule", a.Quota["quota_rule"], value("plugin/quota_rule"))
	check("quota_rule2", a.Quota["quota_rule2"], value("plugin/quota_rule2"))
	check("zlib_save", a.Zlib.Save, value("plugin/zlib_save"))
	check("zlib_save_level", fmt.Sprint(*a.Zlib.SaveLevel), value("plugin/zlib_save_level"))
	check("userip", fmt.Sprint(a.IMAP.MaxPerUserAddress), "23")
	check("listen", a.IMAP.Listen, []string{":143"})
	check("tls_listen", a.IMAP.TLSListen, []string{":993"})
	check("haproxy", a.IMAP.ProxyListen, []string{":10143"})
	check("lmtp", a.LMTP.Listen, []string{"127.0.0.1:24", "[::1]:24", "unix:/var/spool/postfix/private/dovecot-lmtp"})
	check("tls", a.TLS, config.TLS{Cert: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key")})
	check("networks", a.HAProxy.TrustedNetworks, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")})
	check("passwd-file", a.UserDB.PasswdFile, "/etc/dovecot/users")
	check("masters", a.Auth.MasterPasswdFile, "/etc/dovecot/masters")
	check("plaintext", a.Auth.DisablePlaintext, false)
	check("metadata", a.IMAP.Metadata, true)
	check("separator", a.Namespace.Separator, "/")
	check("mailboxes", a.Mailboxes, []config.Mailbox{{Name: "Deleted Mail", SpecialUse: `\Trash`, Auto: "no"}, {Name: "Sent", SpecialUse: `\Sent`, Auto: "subscribe"}})
	var report bytes.Buffer
	if err := fromPrint.WriteReport(&report); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(report.String(), "s3cret") || !strings.Contains(report.String(), "sieve") {
		t.Errorf("report:\n%s", &report)
	}
	t.Run("hidden", func(t *testing.T) {
		printed, err := exec.Command(doveconf, "-n", "-c", conf).Output()
		if err != nil {
			t.Fatal(err)
		}
		r, err := Import(bytes.NewReader(printed), Options{})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "hidden.toml")
		if err := r.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		var ce *config.Error
		if _, err := config.Load(path); !errors.As(err, &ce) || !strings.Contains(err.Error(), "private_password") {
			t.Errorf("a configuration without its secrets loads: %v", err)
		}
		missing := 0
		for _, f := range r.Findings {
			if f.Effect == Missing {
				missing++
			}
		}
		if missing != 5 { // the TLS key, two keys and two passwords
			t.Errorf("%d settings are missing: %+v", missing, r.Findings)
		}
	})
}

// asDovecot is a setting as Dovecot has it.
func asDovecot(t *testing.T, doveconf, conf, setting string) string {
	t.Helper()
	out, err := exec.Command(doveconf, "-h", "-c", conf, setting).Output()
	if err != nil {
		t.Fatalf("%s: %v", setting, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

const roundTrip = `
protocols = imap lmtp \
  pop3
mail_location = maildir:~/Maildir:LAYOUT=fs:INDEX=/var/index/%u
mail_home = /srv/mail/%d/%n   # a comment
mail_attribute_dict = file:%h/dovecot-attributes
mail_plugins = $mail_plugins quota
disable_plaintext_auth = no
auth_username_format = %Ln
auth_master_user_separator = *
recipient_delimiter = "+-"
imap_metadata = yes
haproxy_trusted_networks = 10.0.0.0/8, 192.0.2.1
!include conf.d/*.conf
!include_try none.conf
passdb {
  driver = passwd-file
  args = /etc/dovecot/masters
  master = yes
  pass = yes
}
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%u /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = username_format=%u /etc/dovecot/users
}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Sent {
    special_use = \Sent
    auto = subscribe
  }
  mailbox "Deleted Mail" {
    special_use = \Trash
    autoexpunge = 30d
  }
}
service imap-login {
  inet_listener imap_haproxy {
    port = 10143
    haproxy = yes
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1 ::1
    port = 24
  }
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
  }
}
ssl_cert = <tls.pem
ssl_key = <tls.key
protocol imap {
  mail_max_userip_connections = 23
  mail_plugins = $mail_plugins imap_quota
}
protocol lmtp {
  mail_plugins = $mail_plugins sieve
}
remote 10.0.0.0/8 {
  disable_plaintext_auth = no
}
`

const roundTripCrypt = `
mail_plugins = $mail_plugins mail_crypt zlib
plugin {
  mail_crypt_save_version = 2
  mail_crypt_curve = secp521r1
  mail_crypt_private_password = %{sha256:password}
  mail_crypt_global_public_key = <DIR/public.pem
  mail_crypt_global_private_key = <DIR/private.pem
  mail_crypt_global_private_key_password = "s3cret # \\ word"
  mail_crypt_require_encrypted_user_key = no
  zlib_save = zstd
  zlib_save_level = 7
  quota = count:User quota
  quota_rule = *:storage=1G
  quota_rule2 = Trash:storage=+10%%
  sieve = file:~/sieve;active=~/.dovecot.sieve
}
`

// checkTOML holds a result against the reader of configurations: the text is TOML of known
// settings, and what is refused is a value of the input's, not its form.
func checkTOML(t *testing.T, r *Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, r.TOML, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(path)
	if err == nil {
		return
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	for _, err := range joined.Unwrap() {
		var ce *config.Error
		if !errors.As(err, &ce) || ce.Setting == "" {
			t.Fatalf("%v\n%s", err, r.TOML)
		}
		if !strings.HasPrefix(ce.Reason, "the file ") { // "<FILE" names what is not there
			t.Fatalf("%v\n%s", err, r.TOML)
		}
	}
}
