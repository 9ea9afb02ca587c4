package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// locations are the mail_location of each driver, the same for both servers.
var locations = map[string]string{"maildir": "maildir:~/Maildir", "mdbox": "mdbox:~/mdbox"}

// newDovecot configures Dovecot, tuned as its documentation advises for speed: login processes
// that serve many, and mail processes that are kept for the next user. It syncs as it does by
// default, which is every saved message before it is acknowledged.
func newDovecot(o options, dir string) (*server, error) {
	s := &server{
		name: "dovecot", attr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM},
		caches: []string{"dovecot.index.cache"}, attributes: "dovecot-attributes",
	}
	if err := s.place(dir); err != nil {
		return nil, err
	}
	conf := filepath.Join(s.dir, "dovecot.conf")
	s.argv = []string{"dovecot", "-F", "-c", conf}
	s.tool = []string{"doveadm", "-c", conf}
	plugins, save := "mail_crypt", ""
	if o.compress != "none" {
		plugins, save = "mail_crypt zlib", "zlib_save = "+o.compress
	}
	curve := o.curve
	if err := os.WriteFile(filepath.Join(s.dir, "users"), []byte(passwd()), 0o644); err != nil {
		return nil, err
	}
	text := strings.NewReplacer("DIR", s.dir, "UID", fmt.Sprint(mailUID), "HOMES", s.homes,
		"LOCATION", locations[o.driver], "PLUGINS", plugins, "SAVE", save, "CURVE", curve, "CERTS", dir,
		"IMAPSPORT", port(s.imaps), "IMAPPORT", port(s.imap), "LMTPPORT", port(s.lmtp)).Replace(dovecotConf)
	return s, os.WriteFile(conf, []byte(text), 0o644)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

const dovecotConf = `base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
ssl = yes
ssl_cert = <CERTS/cert.pem
ssl_key = <CERTS/key.pem
protocols = imap lmtp
listen = 127.0.0.1
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_uid = UID
mail_gid = UID
mail_home = HOMES/%u
mail_location = LOCATION
mail_plugins = PLUGINS
mail_attribute_dict = file:%h/dovecot-attributes
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@example.org
mail_max_userip_connections = 0
default_vsz_limit = 2G
default_client_limit = 20000
default_process_limit = 2000
passdb {
  driver = passwd-file
  args = username_format=%u DIR/users
}
userdb {
  driver = passwd-file
  args = username_format=%u DIR/users
  override_fields = uid=UID gid=UID home=HOMES/%u
}
plugin {
  mail_crypt_curve = CURVE
  mail_crypt_save_version = 2
  SAVE
}
namespace inbox {
  inbox = yes
  separator = .
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  inet_listener imap {
    port = IMAPPORT
  }
  inet_listener imaps {
    port = IMAPSPORT
    ssl = yes
  }
}
service imap {
  service_count = 100
  process_min_avail = 2
  process_limit = 4000
}
service lmtp {
  process_min_avail = 2
  inet_listener lmtp {
    port = LMTPPORT
  }
}
`
