package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/config"
	"mailcrypt/mailbox"
	"mailcrypt/userdb"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "make a directory with users, keys and mail, and serve it",
		Long: `Make DIR (default: mailcryptd-demo) with a configuration, a self-signed certificate, a user
whose mail is encrypted under the login password, a user whose mail is not, and some
messages; then serve it and say what to try. Where DIR is a demo already, serve it again.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "mailcryptd-demo"
			if len(args) == 1 {
				dir = args[0]
			}
			return failed(runDemo(cmd.Context(), dir, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
}

// A demo is one directory with everything in it.
type demo struct {
	dir      string
	password string // of both users, where the demo was made just now
	fresh    bool
	config   *config.Config
}

func runDemo(ctx context.Context, dir string, out, logTo io.Writer) error {
	d := &demo{}
	var err error
	if d.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := d.make(); err != nil {
		return fmt.Errorf("making the demo in %s: %w", d.dir, err)
	}
	if d.config, err = config.Load(filepath.Join(d.dir, "mailcryptd.toml")); err != nil {
		return err
	}
	return serve(ctx, d.config, logTo, func(s *server) {
		if d.fresh {
			if err := d.deliver(ctx, s); err != nil {
				s.log.Error("delivering the first messages", "err", err)
				return
			}
		}
		d.explain(out)
	})
}

// make writes the directory, unless it is a demo already.
func (d *demo) make() error {
	conf := filepath.Join(d.dir, "mailcryptd.toml")
	if _, err := os.Stat(conf); err == nil {
		return nil
	}
	if entries, err := os.ReadDir(d.dir); err == nil && len(entries) > 0 {
		return errors.New("the directory is not empty and is no demo; name another")
	}
	for _, sub := range []string{"state", "mail"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := writeCertificate(d.dir); err != nil {
		return err
	}
	d.password, d.fresh = "correct horse", true
	hash, err := userdb.HashPassword("", []byte(d.password))
	if err != nil {
		return err
	}
	users := "# user:password:uid:gid:gecos:home:shell:extra fields\n" +
		"# alice's mail is encrypted, bob's is not: the field below is the switch\n" +
		"alice:" + hash + "::::::userdb_mail_crypt_save_version=2\n" +
		"bob:" + hash + "::::::\n"
	if err := os.WriteFile(filepath.Join(d.dir, "users"), []byte(users), 0o600); err != nil {
		return err
	}
	imap, imaps, lmtp := freePort(1143), freePort(1993), freePort(1024)
	// The configuration comes last: it marks the demo as complete.
	return os.WriteFile(conf, fmt.Appendf(nil, demoConfig, imap, imaps, lmtp), 0o600)
}

const demoConfig = `state_dir           = "state"
mail_home           = "mail/%%u"
mail_location       = "maildir:~/Maildir"
mail_attribute_dict = "bolt:~/keys.db"

[imap]
listen     = ["127.0.0.1:%d"]
tls_listen = ["127.0.0.1:%d"]

[lmtp]
listen = ["127.0.0.1:%d"]

[tls]
cert = "cert.pem"
key  = "key.pem"

[userdb]
passwd_file = "users"

[[mailbox]]
name = "Sent"
special_use = "\\Sent"
auto = "subscribe"

[mail_crypt]
# no save_version here: mail is encrypted only where the user's line says so
curve            = "prime256v1"
private_password = "%%{password}"

[zlib]
save = "zstd"
`

// freePort is the wanted port, or another one where that is taken.
func freePort(want int) int {
	for _, port := range []int{want, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	return want
}

// writeCertificate makes cert.pem and key.pem for localhost.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "mailcryptd demo"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

// deliver logs alice in once, which makes her keys, and delivers to both.
func (d *demo) deliver(ctx context.Context, s *server) error {
	login, err := s.system.Login(ctx, "alice", []byte(d.password), nil)
	if err != nil {
		return err
	}
	if err := login.Close(); err != nil {
		return err
	}
	for _, user := range []string{"alice", "bob"} {
		for i, text := range []string{
			"Welcome to the demo.\r\nOn disk this text is compressed and encrypted for alice, and only compressed for bob.\r\n",
			"Change alice's password; this message stays readable under the new one.\r\n",
			"A picture is worth a thousand words:\r\n" + strings.Repeat(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(0xA5)}, 57))+"\r\n", 400),
		} {
			if err := s.deliverTo(ctx, user, fmt.Sprintf("Return-Path: <demo@example.org>\r\nDate: %s\r\nFrom: Demo <demo@example.org>\r\nTo: %s@example.org\r\nSubject: Message %d for %s\r\nMessage-ID: <%d.%d.demo@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s",
				time.Now().Format(time.RFC1123Z), user, i+1, user, time.Now().UnixNano(), i, text)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *server) deliverTo(ctx context.Context, user, message string) error {
	r, err := s.system.Deliver(ctx, user)
	if err != nil {
		return err
	}
	defer r.Close()
	a, err := r.Append(ctx, "INBOX", mailbox.SaveInfo{})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a, message); err != nil {
		return errors.Join(err, a.Abort())
	}
	_, err = a.Commit()
	return err
}

// explain says what to type next.
func (d *demo) explain(out io.Writer) {
	password := d.password
	if password == "" {
		password = "PASSWORD"
	}
	imaps := d.config.IMAP.TLSListen[0]
	fmt.Fprintf(out, `
mailcryptd serves the demo in %[1]s
  IMAP     %[2]s (STARTTLS), %[3]s (TLS)
  LMTP     %[4]s
  users    alice (encrypted) and bob (not)`, d.dir, d.config.IMAP.Listen[0], imaps, d.config.LMTP.Listen[0])
	if d.fresh {
		fmt.Fprintf(out, `, password "%s"`, d.password)
	}
	fmt.Fprintf(out, `

Try, in another terminal:

  read a message
    curl -k -u 'alice:%[1]s' 'imaps://%[2]s/INBOX;MAILINDEX=1'

  look at it on disk: ciphertext for alice; for bob only compressed
    head -c 64 "$(ls %[3]s/mail/alice/Maildir/*/*,S=* | head -n 1)" | od -c
    head -c 64 "$(ls %[3]s/mail/bob/Maildir/*/*,S=* | head -n 1)" | od -c

  store a message of your own
    printf 'Subject: mine\r\n\r\nhello\r\n' > /tmp/mine.eml
    curl -k -u 'alice:%[1]s' -T /tmp/mine.eml 'imaps://%[2]s/INBOX'

  change alice's password: the login and the seal of her keys together
    printf '%%s\n' '%[1]s' 'battery staple' | \
      go run ./cmd/doveadm-crypt -c %[4]s user password -u alice

  and read with the new one
    curl -k -u 'alice:battery staple' 'imaps://%[2]s/INBOX;MAILINDEX=2'

Stop with Ctrl-C; "mailcryptd demo %[3]s" serves it again.
`, password, imaps, d.dir, filepath.Join(d.dir, "mailcryptd.toml"))
}
