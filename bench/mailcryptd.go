package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// newMailcryptd builds and configures mailcryptd. Its settings are its defaults but for what
// Dovecot has no choice in: a password seals in 2048 rounds of SHA-256 there.
func newMailcryptd(o options, dir string) (*server, error) {
	s := &server{
		name:   "mailcryptd",
		caches: []string{"mailcryptd.*.sealed", "mailcryptd.sealed"}, attributes: "keys.db",
		attr: &syscall.SysProcAttr{
			Pdeathsig:  syscall.SIGKILL,
			Credential: &syscall.Credential{Uid: mailUID, Gid: mailUID},
		},
	}
	if err := s.place(dir); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "mailcrypt/cmd/mailcryptd", "mailcrypt/cmd/doveadm-crypt")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bench: building the programs: %w: %s", err, out)
	}
	conf := filepath.Join(s.dir, "mailcryptd.toml")
	s.argv = []string{filepath.Join(dir, "bin", "mailcryptd"), "serve", "-c", conf}
	s.tool = []string{filepath.Join(dir, "bin", "doveadm-crypt"), "-c", conf}
	for path, text := range map[string]string{
		filepath.Join(s.dir, "users"): passwd(),
		conf: fmt.Sprintf(mailcryptdConf, s.homes+"/%u", locations[o.driver], s.imap, s.imaps, s.lmtp,
			dir+"/cert.pem", dir+"/key.pem", o.curve, zlib(o.compress)),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if err := os.Chown(path, mailUID, mailUID); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func zlib(method string) string {
	if method == "none" {
		return ""
	}
	return fmt.Sprintf("[zlib]\nsave = %q\n", method)
}

const mailcryptdConf = `state_dir = "state"
mail_log = "warn"
mail_home = %q
mail_location = %q
[imap]
listen = [%q]
tls_listen = [%q]
max_connections = 20000
mail_max_userip_connections = 0
[lmtp]
listen = [%q]
[tls]
cert = %q
key = %q
[userdb]
passwd_file = "users"
[mail_crypt]
curve = %q
save_version = 2
seal_rounds = 2048
seal_hash = "sha256"
%s`
