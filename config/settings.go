package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Setting is one line of the reference of settings.
type Setting struct {
	Table, Name string
	Default     string
	Doc         string
	set         func(r *reader, v any) error
}

var tables = []string{"imap", "lmtp", "tls", "auth", "userdb", "namespace", "metrics", "mail_crypt", "zlib", "quota"}

// names lists the settings of a table.
func names(table string) []string {
	var n []string
	for _, s := range Settings {
		if s.Table == table {
			n = append(n, s.Name)
		}
	}
	return n
}

// Settings is every setting, in the order of the reference. Those of mail_crypt are kept
// as text (see Config.Crypt).
var Settings = []Setting{
	{"", "state_dir", "/var/lib/mailcryptd", "directory of the instance lock and of admin.sock", path(func(c *Config) *string { return &c.StateDir })},
	{"", "mail_home", "", "template of a user's home; a home field of the user database beats it", path(func(c *Config) *string { return &c.MailHome })},
	{"", "mail_location", "maildir:~/Maildir", "maildir:PATH or mdbox:PATH in Dovecot's syntax, with :INDEX= :CONTROL= :LAYOUT= :ALT= :UTF-8; a mail field beats it", text(func(c *Config) *string { return &c.MailLocation })},
	{"", "mdbox_rotate_size", "10M", "size at which no more messages are appended to a file of mdbox; like the next two it can be a field of a user", mdboxText("mdbox_rotate_size")},
	{"", "mdbox_rotate_interval", "0", "age at which no more messages are appended to a file of mdbox, such as 1d; 0: any", mdboxText("mdbox_rotate_interval")},
	{"", "mdbox_preallocate_space", "false", "take the room of new files of mdbox beforehand", mdboxText("mdbox_preallocate_space")},
	{"", "mail_attribute_dict", "bolt:~/keys.db", "where keys live: bolt:PATH, or file:PATH to share them with Dovecot", text(func(c *Config) *string { return &c.AttributeDict })},
	{"", "sealed_cache_size", "64M", "largest file, for each folder, of what reading its encrypted mail has told; only the keys of the mail open it; \"none\": keep nothing", size(func(c *Config) *int64 { return &c.SealedCache })},
	{"", "mail_log", "info", "debug, info, warn or error", choice(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{"", "log_format", "text", "text or json", choice(func(c *Config) *string { return &c.LogFormat }, "text", "json")},
	{"", "haproxy_trusted_networks", "[]", "networks of the proxies that may, and must, send a header to the haproxy listeners; others are refused there", networks(func(c *Config) *[]netip.Prefix { return &c.HAProxy.TrustedNetworks })},
	{"", "haproxy_timeout", "3s", "time for the header", duration(func(c *Config) *time.Duration { return &c.HAProxy.Timeout }, time.Minute)},
	{"", "haproxy_trust_tls", "false", "believe a proxy that says that its client speaks TLS; Dovecot always does", boolean(func(c *Config) *bool { return &c.HAProxy.TrustTLS })},

	{"imap", "listen", "[]", "addresses for IMAP; STARTTLS is offered where [tls] is set", addresses(func(c *Config) *[]string { return &c.IMAP.Listen })},
	{"imap", "tls_listen", "[]", "addresses for IMAP with TLS from the first byte", addresses(func(c *Config) *[]string { return &c.IMAP.TLSListen })},
	{"imap", "haproxy_listen", "[]", "as listen, for connections through proxies, which begin with a header of the PROXY protocol, version 1 or 2", addresses(func(c *Config) *[]string { return &c.IMAP.ProxyListen })},
	{"imap", "haproxy_tls_listen", "[]", "as tls_listen, through proxies: the header first, then TLS", addresses(func(c *Config) *[]string { return &c.IMAP.ProxyTLSListen })},
	{"imap", "max_connections", "0", "connections of all users at once; 0: a quarter of the limit of open files, for a connection may need three", number(func(c *Config) *int { return &c.IMAP.MaxConnections }, 0, 1_000_000)},
	{"imap", "mail_max_userip_connections", "10", "connections of one user from one address; 0: any number", number(func(c *Config) *int { return &c.IMAP.MaxPerUserAddress }, 0, 1_000_000)},
	{"imap", "max_user_connections", "0", "connections of one user; 0: any number", number(func(c *Config) *int { return &c.IMAP.MaxPerUser }, 0, 1_000_000)},
	{"imap", "max_address_connections", "0", "connections from one address, or IPv6 network of /64; 0: any number", number(func(c *Config) *int { return &c.IMAP.MaxPerAddress }, 0, 1_000_000)},
	{"imap", "max_login_connections", "0", "connections that have not logged in; beyond, the oldest of them goes; 0: any number", number(func(c *Config) *int { return &c.IMAP.MaxLogins }, 0, 1_000_000)},
	{"imap", "append_limit", "the lmtp message_size_limit", "largest message that APPEND takes", size(func(c *Config) *int64 { return &c.IMAP.AppendLimit })},
	{"imap", "metadata", "false", "offer METADATA, annotations of mailboxes; kept in clear in mail_attribute_dict (Dovecot: imap_metadata)", boolean(func(c *Config) *bool { return &c.IMAP.Metadata })},
	{"imap", "unauthenticate", "true", "offer UNAUTHENTICATE, by which a client becomes another user on the same connection", boolean(func(c *Config) *bool { return &c.IMAP.Unauthenticate })},

	{"lmtp", "listen", "[]", "addresses for LMTP: host:port or unix:PATH", addresses(func(c *Config) *[]string { return &c.LMTP.Listen })},
	{"lmtp", "haproxy_listen", "[]", "as listen, through proxies", addresses(func(c *Config) *[]string { return &c.LMTP.ProxyListen })},
	{"lmtp", "message_size_limit", "none", "largest message that is taken", size(func(c *Config) *int64 { return &c.LMTP.MessageSizeLimit })},
	{"lmtp", "recipient_delimiter", "+", "what stands between a user and a detail; empty: no details", text(func(c *Config) *string { return &c.LMTP.RecipientDelimiter })},

	{"tls", "cert", "", "PEM file of the certificate and its chain", tlsFile(func(c *Config) *string { return &c.TLS.Cert })},
	{"tls", "key", "", "PEM file of its key", tlsFile(func(c *Config) *string { return &c.TLS.Key })},

	{"auth", "disable_plaintext_auth", "true", "refuse passwords without TLS; loopback is exempt", boolean(func(c *Config) *bool { return &c.Auth.DisablePlaintext })},
	{"auth", "username_format", "%Lu", "how a login name becomes a user name", text(func(c *Config) *string { return &c.Auth.UsernameFormat })},

	{"auth", "master_passwd_file", "", "passwd-file of master users, who log in for others with their own passwords: as SASL PLAIN with an authorization identity, or see master_user_separator", path(func(c *Config) *string { return &c.Auth.MasterPasswdFile })},
	{"auth", "master_user_separator", "", "stands between the user and the master user in a login name, such as * in alice*admin", separator},
	{"auth", "failure_delay", "2s", "time from the check of a wrong password to its answer", duration(func(c *Config) *time.Duration { return &c.Auth.FailureDelay }, time.Minute)},
	{"auth", "max_delay", "15s", "longest wait of a login because earlier ones of the user, or from the address, have failed; 0s: none", duration(func(c *Config) *time.Duration { return &c.Auth.MaxDelay }, time.Minute)},
	{"auth", "login_trusted_networks", "[]", "networks of webmail servers and the like, each with many users: they are not slowed or counted as one address; loopback is not either", networks(func(c *Config) *[]netip.Prefix { return &c.Auth.TrustedNetworks })},

	{"userdb", "passwd_file", "", "Dovecot's passwd-file; changes take effect at once", path(func(c *Config) *string { return &c.UserDB.PasswdFile })},

	{"namespace", "separator", "the layout's own", "hierarchy separator that clients see: . or /", choice(func(c *Config) *string { return &c.Namespace.Separator }, ".", "/", "")},

	{"mailbox", "name", "", "name of the folder, in UTF-8", mailboxText(func(m *Mailbox) *string { return &m.Name })},
	{"mailbox", "special_use", "", `its role, such as \Sent`, specialUse},
	{"mailbox", "auto", "no", "no, create, or subscribe: at a login", mailboxAuto},

	{"metrics", "listen", "", "address for Prometheus", address(func(c *Config) *string { return &c.Metrics.Listen })},

	{"mail_crypt", "save_version", "0", "0: store in clear, read what is encrypted; 1: Dovecot's old stream; 2: encrypt", nil},
	{"mail_crypt", "curve", "", "curve of new keys: prime256v1, secp384r1, secp521r1, X25519, X448", nil},
	{"mail_crypt", "private_password", "", "password that seals users' keys, usually a template such as %{password}", nil},
	{"mail_crypt", "private_key", "", "ECC key that seals users' keys: key text, or its base64; private_key2 and so on are tried too", nil},
	{"mail_crypt", "private_key_password", "", "password of that key", nil},
	{"mail_crypt", "global_public_key", "", "one key for all mail, instead of keys of users and folders", nil},
	{"mail_crypt", "global_private_key", "", "key that reads it; global_private_key2 and so on read too", nil},
	{"mail_crypt", "global_private_key_password", "", "password of that key", nil},
	{"mail_crypt", "require_encrypted_user_key", "true where a password or key is configured", "never store a user's key in clear", nil},
	{"mail_crypt", "before_first_login", "defer", "mail for a user without keys whose password is not known: defer (451), or unsealed", nil},
	{"mail_crypt", "seal_rounds", "210000", "PBKDF2 rounds of password seals; weaker seals are raised at the next login", nil},
	{"mail_crypt", "seal_hash", "sha512", "hash of password seals", nil},
	{"mail_crypt", "message_rounds", "1", "PBKDF2 rounds of a message's key, whose input is an ECDH secret; Dovecot writes 2048", nil},
	{"mail_crypt", "keep_unlocked", "0s", "how long the keys of a login stay open after its last session", nil},

	{"zlib", "save", "", "compress new mail: gz, bz2, lz4 or zstd", choice(func(c *Config) *string { return &c.Zlib.Save }, "", "gz", "bz2", "lz4", "zstd")},
	{"zlib", "save_level", "the method's", "level of compression", level},

	{"quota", "rule", "", "such as *:storage=1G:messages=10000; rule2, rule3 and so on follow: Trash:storage=+10%, Junk:ignore", nil},
	{"quota", "grace", "10%", "how far the delivery that fills a mailbox may go beyond the limit", nil},
	{"quota", "max_mail_size", "none", "largest message that is appended or delivered", nil},
	{"quota", "root", "count:User quota", "Dovecot's setting quota: a driver, of which all count alike, and the name that clients see", nil},
	{"quota", "exceeded_message", "Quota exceeded (mailbox for user is full)", "what those are told who exceed it", nil},
	{"quota", "full_tempfail", "false", "deliveries to a full mailbox are deferred (452), not refused (552)", nil},
}

func text(f func(*Config) *string) func(*reader, any) error {
	return func(r *reader, v any) error {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("must be text")
		}
		*f(r.c) = s
		return nil
	}
}

// mdboxText keeps a setting as text, for fields of users have the same form.
func mdboxText(name string) func(*reader, any) error {
	return func(r *reader, v any) error {
		switch v := v.(type) {
		case string:
			r.c.Mdbox[name] = v
		case int64:
			r.c.Mdbox[name] = strconv.FormatInt(v, 10)
		case bool:
			r.c.Mdbox[name] = strconv.FormatBool(v)
		default:
			return fmt.Errorf("must be text")
		}
		return nil
	}
}

func path(f func(*Config) *string) func(*reader, any) error {
	return func(r *reader, v any) error {
		s, ok := v.(string)
		if !ok || s == "" {
			return fmt.Errorf("must be a path")
		}
		*f(r.c) = r.resolve(s)
		return nil
	}
}

// tlsFile is a path, which Dovecot writes with a "<" before it.
func tlsFile(f func(*Config) *string) func(*reader, any) error {
	set := path(f)
	return func(r *reader, v any) error {
		if s, ok := v.(string); ok {
			v = strings.TrimSpace(strings.TrimPrefix(s, "<"))
		}
		return set(r, v)
	}
}

func choice(f func(*Config) *string, of ...string) func(*reader, any) error {
	return func(r *reader, v any) error {
		s, ok := v.(string)
		if !ok || !slices.Contains(of, s) {
			return fmt.Errorf("%v is none of: %s", v, strings.Join(of, ", "))
		}
		*f(r.c) = s
		return nil
	}
}

func boolean(f func(*Config) *bool) func(*reader, any) error {
	return func(r *reader, v any) error {
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("must be true or false, without quotes")
		}
		*f(r.c) = b
		return nil
	}
}

func number(f func(*Config) *int, low, high int64) func(*reader, any) error {
	return func(r *reader, v any) error {
		n, ok := v.(int64)
		if !ok || n < low || n > high {
			return fmt.Errorf("must be a number from %d to %d", low, high)
		}
		*f(r.c) = int(n)
		return nil
	}
}

func size(f func(*Config) *int64) func(*reader, any) error {
	return func(r *reader, v any) error {
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		*f(r.c) = n
		return nil
	}
}

func level(r *reader, v any) error {
	n, ok := v.(int64)
	if !ok || n < -1000 || n > 22 {
		return fmt.Errorf("must be a number")
	}
	i := int(n)
	r.c.Zlib.SaveLevel = &i
	return nil
}

// separator is one character that no user name has.
func separator(r *reader, v any) error {
	s, ok := v.(string)
	if !ok || len(s) != 1 || s[0] <= ' ' || s[0] > '~' || strings.Contains("-._@", s) || s[0] >= '0' && s[0] <= '9' || s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z' {
		return fmt.Errorf("must be one character that stands in no user name, such as *")
	}
	r.c.Auth.MasterSeparator = s
	return nil
}

func duration(f func(*Config) *time.Duration, most time.Duration) func(*reader, any) error {
	return func(r *reader, v any) error {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > most {
			return fmt.Errorf(`must be a time such as "2s", at most %v`, most)
		}
		*f(r.c) = d
		return nil
	}
}

// networks is a list of networks or single addresses.
func networks(f func(*Config) *[]netip.Prefix) func(*reader, any) error {
	return func(r *reader, v any) error {
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf(`must be a list of networks such as ["192.0.2.0/24", "2001:db8::1"]`)
		}
		for _, item := range list {
			s, _ := item.(string)
			p, err := ParseNetwork(s)
			if err != nil {
				return fmt.Errorf("%v is no network such as 192.0.2.0/24", item)
			}
			*f(r.c) = append(*f(r.c), p)
		}
		return nil
	}
}

// ParseNetwork reads a network, or one address. IPv4 in IPv6 form is IPv4.
func ParseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err
}

func addresses(f func(*Config) *[]string) func(*reader, any) error {
	return func(r *reader, v any) error {
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf(`must be a list of addresses such as ["127.0.0.1:143"]`)
		}
		for _, item := range list {
			s, err := r.address(item)
			if err != nil {
				return err
			}
			*f(r.c) = append(*f(r.c), s)
		}
		return nil
	}
}

func address(f func(*Config) *string) func(*reader, any) error {
	return func(r *reader, v any) (err error) {
		*f(r.c), err = r.address(v)
		return err
	}
}

func (r *reader) address(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("must be an address such as 127.0.0.1:143")
	}
	if p, unix := strings.CutPrefix(s, "unix:"); unix {
		return "unix:" + r.resolve(p), nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", fmt.Errorf("%q is not an address such as 127.0.0.1:143 or unix:/run/lmtp", s)
	}
	return s, nil
}

func mailboxText(f func(*Mailbox) *string) func(*reader, any) error {
	return func(r *reader, v any) error {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("must be text")
		}
		*f(&r.c.Mailboxes[r.mailbox]) = s
		return nil
	}
}

func specialUse(r *reader, v any) error {
	s, ok := v.(string)
	uses := []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}
	if i := slices.IndexFunc(uses, func(u string) bool { return strings.EqualFold(u, s) }); ok && i >= 0 {
		r.c.Mailboxes[r.mailbox].SpecialUse = uses[i]
		return nil
	}
	return fmt.Errorf("%v is none of: %s", v, strings.Join(uses, ", "))
}

func mailboxAuto(r *reader, v any) error {
	s, ok := v.(string)
	if !ok || !slices.Contains([]string{"no", "create", "subscribe"}, s) {
		return fmt.Errorf("%v is none of: no, create, subscribe", v)
	}
	r.c.Mailboxes[r.mailbox].Auto = s
	return nil
}
