package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A dovecot is a running Dovecot over the homes of a setup.
type dovecot struct {
	dir, conf, imap, lmtp string
}

// A dovecotSetup is its configuration in the making. Users have their homes in homes.
type dovecotSetup struct {
	homes   string
	users   string // passwd-file
	plugin  string // lines of plugin { }
	dict    string // of mail_attribute_dict
	plugins string // mail_plugins; "" is mail_crypt and zlib
}

// start runs Dovecot with its mail_crypt until the test ends. It needs root: Dovecot
// changes users.
func (s dovecotSetup) start(t testing.TB) *dovecot {
	t.Helper()
	if _, err := exec.LookPath("dovecot"); err != nil {
		t.Skip("Dovecot is not installed")
	}
	if _, err := os.Stat("/usr/lib/dovecot/modules/lib10_mail_crypt_plugin.so"); err != nil {
		t.Skip("Dovecot's mail_crypt plugin is not installed")
	}
	if !isRoot() {
		t.Skip("running Dovecot needs root")
	}
	dir, err := os.MkdirTemp("", "mailcrypt-dovecot-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if s.plugins == "" {
		s.plugins = "mail_crypt zlib"
	}
	if s.dict == "" {
		s.dict = "file:%h/Maildir/dovecot-attributes"
	}
	d := &dovecot{dir: dir, imap: freeAddress(t), lmtp: freeAddress(t)}
	d.conf = filepath.Join(dir, "dovecot.conf")
	os.WriteFile(filepath.Join(dir, "users"), []byte(s.users), 0o644)
	text := fmt.Sprintf(`
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
ssl = no
protocols = imap lmtp
listen = 127.0.0.1
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_uid = %[2]d
mail_gid = %[2]d
mail_home = %[3]s/%%u
mail_location = maildir:~/Maildir
mail_plugins = %[4]s
mail_attribute_dict = %[5]s
mail_fsync = never
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@example.org
mail_max_userip_connections = 100
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
  override_fields = uid=%[2]d gid=%[2]d home=%[3]s/%%u
}
plugin {
%[6]s
}
namespace inbox {
  inbox = yes
  separator = .
}
service imap-login {
  inet_listener imap {
    port = %[7]d
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = %[8]d
  }
}
`, dir, mailUID, s.homes, s.plugins, s.dict, s.plugin, port(d.imap), port(d.lmtp))
	if err := os.WriteFile(d.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("dovecot", "-F", "-c", d.conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("log of Dovecot:\n%s", tail(d.log(), 6000))
		}
	})
	waitFor(t, d.imap, func() error {
		select {
		case <-ended:
			return fmt.Errorf("dovecot ended: %s", out.String())
		default:
			return nil
		}
	})
	return d
}

func (d *dovecot) log() string {
	b, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	return string(b)
}

// troubles are the lines of Dovecot's log that tell of damage.
func (d *dovecot) troubles() []string {
	var bad []string
	for _, l := range strings.Split(d.log(), "\n") {
		if strings.Contains(l, "Error:") || strings.Contains(l, "Panic:") || strings.Contains(l, "Fatal:") || strings.Contains(l, "Corrupted") || strings.Contains(l, "corrupted") {
			bad = append(bad, l)
		}
	}
	return bad
}

// adm runs doveadm for the configuration.
func (d *dovecot) adm(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("doveadm", append([]string{"-c", d.conf}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("doveadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
