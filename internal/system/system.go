// Package system builds the services that a configuration describes, for the daemon and
// for the command line tool when no daemon runs. Whoever holds a System owns the users'
// files: it takes the instance lock.
package system

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"mailcrypt/account"
	"mailcrypt/admin"
	"mailcrypt/compress"
	"mailcrypt/config"
	"mailcrypt/internal/durable"
	"mailcrypt/lmtpd"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

// LockName is the file of the instance lock in the state directory.
const LockName = "instance.lock"

// lockWait is how long Open waits for the lock: a command is done in less, and a process that
// was just killed holds it for a moment longer than it lives.
const lockWait = 2 * time.Second

// toolWait is how long a command waits for a dictionary that is locked: nobody holds one for
// long who is well, and a person is waiting. The daemon waits as long as Dovecot does.
const toolWait = 10 * time.Second

// A System is a user database and the users' mail, open. Close it.
type System struct {
	Users    *userdb.PasswdFile
	Masters  *userdb.PasswdFile // those who may log in for others; nil without
	Accounts *account.Registry
	Log      *slog.Logger

	lock    *durable.Flock
	started time.Time
}

// Open opens what a configuration describes. The error wraps durable.ErrLocked where
// another process of this configuration goes on running.
func Open(c *config.Config, log *slog.Logger) (*System, error) { return open(c, log, 0) }

func open(c *config.Config, log *slog.Logger, dictWait time.Duration) (_ *System, err error) {
	if err := durable.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	defaults, err := Defaults(c)
	if err != nil {
		return nil, err
	}
	s := &System{Log: log, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	if s.lock, err = durable.LockFileContext(ctx, filepath.Join(c.StateDir, LockName)); err != nil {
		return nil, notMine(c, err)
	}
	if s.Users, err = OpenUsers(c, userdb.Options{Log: log}); err != nil {
		return nil, err
	}
	if c.Auth.MasterPasswdFile != "" {
		if s.Masters, err = openPasswdFile(c, "[auth] master_passwd_file", c.Auth.MasterPasswdFile, userdb.Options{Log: log}); err != nil {
			return nil, err
		}
	}
	s.Accounts = account.NewRegistry(account.Options{Defaults: defaults, Log: log, DictWait: dictWait})
	return s, nil
}

// notMine says why the instance lock was not to be had: it is held, by the process whose id
// is in it, or the state directory cannot be written.
func notMine(c *config.Config, err error) error {
	if !errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("state_dir %s: %w", c.StateDir, err)
	}
	who := ""
	if pid, err := os.ReadFile(filepath.Join(c.StateDir, LockName)); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil {
			who = fmt.Sprintf(", process %d,", n)
		}
	}
	return fmt.Errorf("%w: another mailcryptd or doveadm-crypt%s is at work in state_dir %s", durable.ErrLocked, who, c.StateDir)
}

// OpenUsers opens the user database of a configuration. That it cannot be read is an error
// of the configuration.
func OpenUsers(c *config.Config, o userdb.Options) (*userdb.PasswdFile, error) {
	return openPasswdFile(c, "[userdb] passwd_file", c.UserDB.PasswdFile, o)
}

func openPasswdFile(c *config.Config, setting, path string, o userdb.Options) (*userdb.PasswdFile, error) {
	o.UsernameFormat = c.Auth.UsernameFormat
	p, err := userdb.OpenPasswdFile(path, o)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, &config.Error{File: c.Path, Setting: setting, Reason: err.Error(), Err: err}
	}
	return p, err
}

// Reload takes over what of a new configuration concerns users. What is open stays as it
// is; logins and deliveries that begin from now on follow the new one.
func (s *System) Reload(c *config.Config) error {
	defaults, err := Defaults(c)
	if err != nil {
		return err
	}
	s.Accounts.SetDefaults(defaults)
	return nil
}

// Close closes everything and gives the instance lock back.
func (s *System) Close() error {
	var errs []error
	if s.Accounts != nil {
		errs = append(errs, s.Accounts.Close())
	}
	if s.Users != nil {
		errs = append(errs, s.Users.Close())
	}
	if s.Masters != nil {
		errs = append(errs, s.Masters.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Defaults are the settings of users that a configuration gives.
func Defaults(c *config.Config) (account.Defaults, error) {
	d := account.Defaults{
		MailHome: c.MailHome, MailLocation: c.MailLocation, AttributeDict: c.AttributeDict,
		Separator: c.Namespace.Separator, Crypt: c.Crypt, AppendLimit: c.IMAP.AppendLimit, SealedCache: c.SealedCache, Quota: c.Quota, Mdbox: c.Mdbox, Metadata: c.IMAP.Metadata,
	}
	if d.AppendLimit == 0 {
		d.AppendLimit = c.LMTP.MessageSizeLimit
	}
	var err error
	if d.Compression, err = compress.ParseMethod(c.Zlib.Save); err != nil {
		return d, &config.Error{File: c.Path, Setting: "[zlib] save", Reason: err.Error()}
	}
	if c.Zlib.SaveLevel != nil {
		if d.Level, err = compress.NewLevel(d.Compression, *c.Zlib.SaveLevel); err != nil {
			return d, &config.Error{File: c.Path, Setting: "[zlib] save_level", Reason: err.Error()}
		}
	}
	for _, m := range c.Mailboxes {
		d.Folders = append(d.Folders, account.Folder{Name: m.Name, SpecialUse: m.SpecialUse,
			Create: m.Auto != "no", Subscribe: m.Auto == "subscribe"})
	}
	// A setting that is wrong for everybody is wrong now, not at somebody's login.
	s, err := account.Resolve(d, &userdb.User{Name: "user@example.org", Home: "/nonexistent", UID: -1, GID: -1}, []byte("check"))
	for _, err := range []error{err, s.SaveErr, s.ReadErr} {
		if err != nil {
			return d, &config.Error{File: c.Path, Reason: err.Error(), Err: err}
		}
	}
	return d, nil
}

// Login checks a password and opens the user's mail. It is imapd's Authenticator.
func (s *System) Login(ctx context.Context, name string, password []byte, from net.Addr) (*account.Login, error) {
	// A change of the password waits for us before the old seals go.
	defer s.Accounts.Entering(s.Users.Key(name))()
	check := func() (*userdb.User, error) { return s.authenticate(ctx, name, password, from) }
	u, err := check()
	if err != nil {
		return nil, err
	}
	return s.open(ctx, u, check, password)
}

// open opens the mail of a user whose password was right. Who changes the seals and does not
// know of us, Dovecot say, does not wait: where the keys do not open, it is asked again whether
// the password, or the user's secret, is still the one that it was.
func (s *System) open(ctx context.Context, u *userdb.User, check func() (*userdb.User, error), password []byte) (*account.Login, error) {
	for range maxChanged {
		l, err := s.Accounts.Login(ctx, u, password)
		if err != nil || !l.Locked() {
			return l, err
		}
		now, err := check()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		if reflect.DeepEqual(u, now) {
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		u = now
	}
	return s.Accounts.Login(ctx, u, password)
}

// maxChanged is how often a login begins anew because the user's fields have changed.
const maxChanged = 3

// authenticate checks a password, and whether it may come from there.
func (s *System) authenticate(ctx context.Context, name string, password []byte, from net.Addr) (*userdb.User, error) {
	u, err := s.Users.Authenticate(ctx, name, password)
	switch {
	case errors.Is(err, userdb.ErrAuth):
		return nil, fmt.Errorf("%w: user %q", account.ErrAuth, name)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", account.ErrTemporary, err)
	}
	if err := allowed(u, from); err != nil {
		return nil, fmt.Errorf("%w: %w", account.ErrAuth, err)
	}
	return u, nil
}

// UserKey is the same for all login names of one user. It makes System imapd's Namer.
func (s *System) UserKey(name string) string { return s.Users.Key(name) }

// LoginAs checks the password of a master user and opens a user's mail for that master.
// Masters are in a file of their own, so no user is one. It is imapd's MasterAuthenticator.
func (s *System) LoginAs(ctx context.Context, name, master string, password []byte, from net.Addr) (*account.Login, error) {
	if s.Masters == nil {
		return nil, fmt.Errorf("%w: there are no master users", account.ErrAuth)
	}
	m, err := s.Masters.Authenticate(ctx, master, password)
	switch {
	case errors.Is(err, userdb.ErrAuth):
		return nil, fmt.Errorf("%w: master user %q", account.ErrAuth, master)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", account.ErrTemporary, err)
	}
	if err := allowed(m, from); err != nil {
		return nil, fmt.Errorf("%w: %w", account.ErrAuth, err)
	}
	u, err := s.Users.Lookup(ctx, name)
	switch {
	case errors.Is(err, userdb.ErrNoUser):
		return nil, fmt.Errorf("%w: user %q for master user %s", account.ErrAuth, name, m.Name)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", account.ErrTemporary, err)
	}
	return s.Accounts.LoginAs(ctx, u, m.Name)
}

// Deliver finds a recipient. It is lmtpd's Users.
func (s *System) Deliver(ctx context.Context, address string) (lmtpd.Recipient, error) {
	u, err := s.Users.Lookup(ctx, address)
	switch {
	case errors.Is(err, userdb.ErrNoUser):
		return nil, fmt.Errorf("%w: %q", lmtpd.ErrNoUser, address)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", account.ErrTemporary, err)
	}
	d, err := s.Accounts.Deliver(ctx, u)
	if err != nil {
		return nil, err
	}
	return recipient{d}, nil
}

// recipient is an account's delivery as lmtpd takes it.
type recipient struct{ *account.Delivery }

func (r recipient) Append(ctx context.Context, folder string, info mailbox.SaveInfo) (lmtpd.Appender, error) {
	a, err := r.Delivery.Append(ctx, folder, info)
	if err != nil {
		return nil, err
	}
	return a, nil
}

var _ lmtpd.Appender = (*storage.Appender)(nil)

// Admin is the administration of this system. sessions are those of a daemon, nil where
// none runs.
func (s *System) Admin(sessions admin.Sessions) admin.Service {
	return &admin.Local{Accounts: s.Accounts, Users: s.Users, Build: Version(), Daemon: sessions != nil, Sessions: sessions, Started: s.started}
}

// Version is the version of the running program.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, v := range info.Settings {
		if v.Key == "vcs.revision" {
			return info.Main.Version + " " + v.Value[:min(12, len(v.Value))]
		}
	}
	return info.Main.Version
}

// TLS loads the certificate of a configuration; nil where there is none.
func TLS(c *config.Config) (*tls.Certificate, error) {
	if c.TLS.Cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, &config.Error{File: c.Path, Setting: "[tls]", Reason: strings.TrimPrefix(err.Error(), "tls: ")}
	}
	return &cert, nil
}

// KeyExposed warns of a TLS key that every user of the machine can read; "" where none can.
func KeyExposed(c *config.Config) string {
	fi, err := os.Stat(c.TLS.Key)
	if c.TLS.Key == "" || err != nil || fi.Mode().Perm()&0o004 == 0 {
		return ""
	}
	return fmt.Sprintf("the TLS key %s can be read by every user of this machine: chmod o-r it", c.TLS.Key)
}

// Admin connects to the daemon of a configuration, or, where none answers, opens a System
// and does its work.
func Admin(ctx context.Context, c *config.Config, log *slog.Logger) (admin.Service, error) {
	client, err := admin.Dial(ctx, filepath.Join(c.StateDir, admin.SocketName))
	if err == nil {
		return client, nil
	}
	if !errors.Is(err, admin.ErrNoDaemon) {
		return nil, err
	}
	s, err := open(c, log, toolWait)
	if err != nil {
		return nil, err
	}
	return owned{s.Admin(nil), s}, nil
}

// owned is a Service whose System ends with it.
type owned struct {
	admin.Service
	system *System
}

func (o owned) Close() error { return errors.Join(o.Service.Close(), o.system.Close()) }
