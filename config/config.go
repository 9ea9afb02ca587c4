// Package config reads the configuration file into plain values under Dovecot's names.
// It knows what is a setting and what form it has; what a value means is known by the
// package that takes it. Only commands import it.
//
// The file is TOML. An unknown or malformed setting is an error that names the file, the
// line and the setting. Relative paths are relative to the file. A value of [mail_crypt]
// that begins with "<" names a file that holds the value; one newline at its end is dropped.
// The files of [tls] may be written with that "<" too, as Dovecot wants them.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// Config is a configuration as read. Paths are absolute; variables such as %u, %h and ~ are
// left for the user that they are expanded for.
type Config struct {
	Path string // the file itself

	StateDir      string // instance lock, admin.sock
	MailHome      string // template of a user's home
	MailLocation  string // Dovecot's syntax
	AttributeDict string // bolt:PATH or file:PATH
	SealedCache   int64  // bytes of a folder's sealed cache; 0 keeps none
	LogLevel      string // debug, info, warn, error
	LogFormat     string // text or json

	HAProxy   HAProxy
	IMAP      IMAP
	LMTP      LMTP
	TLS       TLS
	Auth      Auth
	UserDB    UserDB
	Namespace Namespace
	Mailboxes []Mailbox
	Metrics   Metrics
	// Crypt holds the settings of [mail_crypt] as text, without Dovecot's prefix
	// mail_crypt_. Users' fields of the same names override them, so they have one form.
	Crypt map[string]string
	Zlib  Zlib
	// Quota holds the settings of [quota] as text, by Dovecot's names: quota, quota_rule
	// and so on. Users' fields of the same names override them.
	Quota map[string]string
	// Mdbox holds the settings mdbox_rotate_size and so on as text.
	Mdbox map[string]string
}

// HAProxy is about connections that begin with a header of the PROXY protocol.
type HAProxy struct {
	TrustedNetworks []netip.Prefix // where proxies are
	Timeout         time.Duration
	TrustTLS        bool // a proxy that speaks TLS with its client may say so
}

// IMAP is where and how IMAP is served.
type IMAP struct {
	ProxyListen    []string // as Listen, through proxies
	ProxyTLSListen []string // as TLSListen, through proxies
	Listen         []string // STARTTLS where TLS is set
	TLSListen      []string // TLS from the first byte
	MaxConnections int      // of all users; 0 is the default of the server
	Metadata       bool     // annotations (RFC 5464)
	AppendLimit    int64    // bytes of an appended message; 0 is none
	Unauthenticate bool     // the command is offered
	// Bounds of connections, 0 is none: before login, from one address, of one user, of one
	// user from one address.
	MaxLogins, MaxPerAddress, MaxPerUser, MaxPerUserAddress int
}

// LMTP is where and how deliveries are taken.
type LMTP struct {
	Listen             []string // host:port or unix:PATH
	ProxyListen        []string // the same, through proxies
	MessageSizeLimit   int64    // bytes; 0 is none
	RecipientDelimiter string
}

// TLS names the certificate chain and its key, in PEM.
type TLS struct{ Cert, Key string }

// Auth is how users are told apart and let in.
type Auth struct {
	DisablePlaintext bool // no password without TLS; loopback is exempt, as in Dovecot
	UsernameFormat   string
	MasterSeparator  string         // between a user and a master user; "" is none
	MasterPasswdFile string         // of those who may log in for others; "" is none
	TrustedNetworks  []netip.Prefix // of hosts with many users
	FailureDelay     time.Duration  // of the answer to a failed login
	MaxDelay         time.Duration  // of a login because others have failed; 0 is none
}

// UserDB names the user database.
type UserDB struct{ PasswdFile string }

// Namespace is how names look to clients.
type Namespace struct{ Separator string }

// A Mailbox is a folder with a role.
type Mailbox struct {
	Name       string
	SpecialUse string // `\Sent`
	Auto       string // no, create, subscribe
}

// Metrics is where Prometheus may fetch them; "" is nowhere.
type Metrics struct{ Listen string }

// Zlib is how new messages are compressed.
type Zlib struct {
	Save      string // gz, bz2, lz4, zstd; "" is not at all
	SaveLevel *int   // nil is the method's default
}

// An Error is a setting that cannot be used.
type Error struct {
	File    string
	Line    int    // 0 where it is not known
	Setting string // as in the file, with its table
	Reason  string
	Err     error // what is behind it, where that is an error of its own
}

// Unwrap returns the error behind it.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	place := e.File
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	if e.Setting == "" {
		return place + ": " + e.Reason
	}
	return place + ": " + e.Setting + ": " + e.Reason
}

// maxSize bounds a configuration file: nobody writes more by hand.
const maxSize = 4 << 20

// Load reads a configuration file. All errors in it are joined, each an *Error.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{File: path, Reason: err.Error(), Err: err}
	}
	text, err := readFile(abs, maxSize)
	if err != nil {
		return nil, &Error{File: abs, Reason: err.Error(), Err: err}
	}
	return parse(abs, text)
}

// readFile reads a regular file of at most limit bytes. Others could keep a reader waiting,
// or give nothing without an error.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Unwrap(err) // without the path, which the caller names
	}
	defer f.Close()
	switch fi, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("is larger than %d KiB", limit>>10)
	}
	return b, nil
}

// parse reads the text of a file; path says what relative paths are relative to.
func parse(path string, text []byte) (*Config, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	tree := map[string]any{}
	if err := toml.Unmarshal(text, &tree); err != nil {
		return nil, syntaxError(path, err)
	}
	c := &Config{
		Path: path, StateDir: "/var/lib/mailcryptd", MailLocation: "maildir:~/Maildir",
		AttributeDict: "bolt:~/keys.db", SealedCache: 64 << 20, LogLevel: "info", LogFormat: "text",
		HAProxy: HAProxy{Timeout: 3 * time.Second},
		IMAP:    IMAP{Unauthenticate: true, MaxPerUserAddress: 10},
		LMTP:    LMTP{RecipientDelimiter: "+"},
		Auth:    Auth{DisablePlaintext: true, UsernameFormat: "%Lu", FailureDelay: 2 * time.Second, MaxDelay: 15 * time.Second},
		Crypt:   map[string]string{}, Quota: map[string]string{}, Mdbox: map[string]string{},
	}
	r := &reader{c: c, path: path, dir: filepath.Dir(path), lines: bytes.Split(text, []byte("\n"))}
	r.table("", tree)
	c.finish(r)
	// In the order of the file; what is missing comes last.
	place := func(err error) int { return cmp.Or(err.(*Error).Line, math.MaxInt) }
	slices.SortStableFunc(r.errs, func(a, b error) int { return cmp.Compare(place(a), place(b)) })
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func syntaxError(path string, err error) error {
	var de *toml.DecodeError
	if errors.As(err, &de) {
		row, _ := de.Position()
		return &Error{File: path, Line: row, Reason: strings.TrimPrefix(de.Error(), "toml: ")}
	}
	return &Error{File: path, Reason: err.Error()}
}

// finish checks what only the whole file can tell.
func (c *Config) finish(r *reader) {
	if c.MailHome == "" && c.UserDB.PasswdFile == "" {
		r.fail("", "mail_home", "is not set: say where users' homes are, for example \"/srv/mail/%u\"")
	}
	if c.UserDB.PasswdFile == "" {
		r.fail("userdb", "passwd_file", "is not set: without a user database nobody can log in")
	}
	if c.Auth.MasterSeparator != "" && c.Auth.MasterPasswdFile == "" {
		r.fail("auth", "master_user_separator", "needs master_passwd_file: without it nobody is a master user")
	}
	if p := c.Auth.MasterPasswdFile; p != "" && p == c.UserDB.PasswdFile {
		r.fail("auth", "master_passwd_file", "is the users' own: every user could log in for every other")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		r.fail("tls", "cert", "cert and key belong together")
	}
	if len(c.IMAP.ProxyTLSListen) > 0 && c.TLS.Cert == "" {
		r.fail("imap", "haproxy_tls_listen", "needs [tls] cert and key")
	}
	if n := len(c.HAProxy.TrustedNetworks); n == 0 {
		for _, a := range slices.Concat(c.IMAP.ProxyListen, c.IMAP.ProxyTLSListen, c.LMTP.ProxyListen) {
			if !strings.HasPrefix(a, "unix:") {
				r.fail("", "haproxy_trusted_networks", "is not set: say which proxies may connect to "+a)
			}
		}
	}
	if len(c.IMAP.TLSListen) > 0 && c.TLS.Cert == "" {
		r.fail("imap", "tls_listen", "needs [tls] cert and key")
	}
	for name := range c.Quota {
		if digits, ok := strings.CutPrefix(name, "quota_rule"); ok && digits != "" {
			n, _ := strconv.Atoi(digits)
			if before := ruleName(n - 1); c.Quota["quota_"+before] == "" {
				r.fail("quota", "rule"+digits, "is not read, for "+before+" is missing")
			}
		}
	}
	seen := map[string]bool{}
	for _, m := range c.Mailboxes {
		if m.Name == "" {
			r.fail("mailbox", "name", "is missing in a [[mailbox]]")
		}
		if seen[m.Name] {
			r.fail("mailbox", "name", fmt.Sprintf("%q stands twice", m.Name))
		}
		seen[m.Name] = true
	}
}
