package dovecotconf

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A listener is an address of a service.
type listener struct {
	at      *node
	address string
	tls     bool
	proxied bool
}

// listeners converts protocols and the services of IMAP and LMTP.
func (c *converter) listeners() {
	protocols, at := c.words(c.root, "protocols")
	if at == nil && !c.v24 {
		protocols = []string{"imap", "pop3", "lmtp"}
	}
	for _, p := range protocols {
		if advice, ok := otherProtocols[p]; ok {
			f := at
			if f == nil || f.section {
				c.absent("protocols: "+p, NotSupported, "%s", advice)
				continue
			}
			c.report(f, NotSupported, "%s", advice)
		}
	}
	c.limits()
	if slices.Contains(protocols, "imap") || slices.Contains(protocols, "imaps") {
		c.imap()
	}
	if slices.Contains(protocols, "lmtp") {
		c.lmtp()
	}
}

var otherProtocols = map[string]string{
	"pop3":       "POP3 is not served.",
	"pop3s":      "POP3 is not served.",
	"submission": "There is no submission service: let the mail server have one.",
	"sieve":      "There is no ManageSieve, and scripts are not run.",
	"lda":        "Deliver by LMTP.",
}

func (c *converter) imap() {
	all := c.inet("imap-login", map[string]listener{"imap": {address: "143"}, "imaps": {address: "993", tls: true}})
	lists := map[string][]string{}
	for _, l := range all {
		name := "listen"
		if l.tls {
			name = "tls_listen"
		}
		if l.tls && !c.hasTLS() {
			if l.at != nil {
				c.report(l.at, Missing, "The address %s is for TLS and there is no certificate.", l.address)
			}
			continue
		}
		if l.proxied {
			name = "haproxy_" + name
		}
		if !slices.Contains(lists[name], l.address) {
			lists[name] = append(lists[name], l.address)
		}
	}
	for _, name := range []string{"listen", "tls_listen", "haproxy_listen", "haproxy_tls_listen"} {
		if len(lists[name]) > 0 {
			c.out.list("imap", name, lists[name], "")
		}
	}
}

func (c *converter) lmtp() {
	var direct, proxied []string
	for _, l := range c.inet("lmtp", nil) {
		switch {
		case l.tls:
			c.report(l.at, NotSupported, "LMTP has no TLS here: keep it on a socket or a local network.")
		case l.proxied:
			proxied = append(proxied, l.address)
		default:
			direct = append(direct, l.address)
		}
	}
	base := "/run/dovecot"
	if n := c.take("base_dir"); n != nil && n.value != "" {
		base = n.value
	}
	for _, s := range c.root.sections("service") {
		if s.value != "lmtp" {
			continue
		}
		for _, u := range s.sections("unix_listener") {
			u.used = true
			if mode := u.last("mode"); u.value == "lmtp" && len(u.below) == 0 || mode != nil && strings.Trim(mode.value, "0") == "" {
				use(u)
				continue
			}
			name := u.value
			if p := takeFrom(u, "path"); p != nil {
				name = p.value
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(base, name)
			}
			direct = append(direct, "unix:"+name)
			for _, key := range []string{"mode", "user", "group"} {
				if n := takeFrom(u, key); n != nil {
					c.report(n, Different, "A socket of mailcryptd is open to those who reach its directory: set owner and mode of that.")
				}
			}
		}
	}
	if len(direct)+len(proxied) == 0 {
		direct = []string{"unix:" + filepath.Join(base, "lmtp")}
		c.absent("service lmtp", Different, "Dovecot's own socket is taken over. Its directory must be writable by the daemon's user, and Dovecot must be stopped.")
	}
	if len(direct) > 0 {
		c.out.list("lmtp", "listen", direct, "")
	}
	if len(proxied) > 0 {
		c.out.list("lmtp", "haproxy_listen", proxied, "")
	}
}

// inet collects the addresses of a service: those it has by default, as changed.
func (c *converter) inet(service string, defaults map[string]listener) []listener {
	global, _ := c.words(c.root, "listen")
	if len(global) == 0 {
		global = []string{"*", "::"}
	}
	var all []listener
	seen := map[string]bool{}
	for _, s := range c.root.sections("service") {
		if s.value != service {
			continue
		}
		for _, n := range s.sections("inet_listener") {
			n.used, seen[n.value] = true, true
			l := defaults[n.value]
			l.at = n
			port := l.address
			if p := takeFrom(n, "port"); p != nil {
				port = p.value
			}
			if v := takeFrom(n, "ssl"); v != nil {
				l.tls = yes(v, false)
			}
			l.proxied = yes(takeFrom(n, "haproxy"), false)
			on := global
			for _, key := range []string{"address", "listen"} {
				if own, at := c.words(n, key); at != nil && len(own) > 0 {
					on = own
				}
			}
			if l.proxied && !c.out.has("", "haproxy_trusted_networks") {
				c.report(n, Missing, "Nobody may connect there without haproxy_trusted_networks, so it is left out.")
				continue
			}
			all = c.bind(all, l, on, port)
		}
	}
	for _, name := range []string{"imap", "imaps"} {
		if l, ok := defaults[name]; ok && !seen[name] {
			all = c.bind(all, l, global, l.address)
		}
	}
	return all
}

// bind adds a port on each address; port 0 is off.
func (c *converter) bind(all []listener, l listener, on []string, port string) []listener {
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		if l.at != nil && port != "" {
			c.report(l.at, NotSupported, "The port is not a number.")
		}
		return all
	}
	if n == 0 {
		return all
	}
	if slices.Contains(on, "*") && (slices.Contains(on, "::") || slices.Contains(on, "[::]")) {
		on = append([]string{""}, slices.DeleteFunc(slices.Clone(on), func(a string) bool { return a == "*" || a == "::" || a == "[::]" })...)
	}
	for _, host := range on {
		if host == "*" {
			host = "0.0.0.0"
		}
		l.address = net.JoinHostPort(strings.Trim(host, "[]"), port)
		if _, _, err := net.SplitHostPort(l.address); err != nil {
			c.absent("listen", NotSupported, "%q is no address.", clip(host))
			continue
		}
		all = append(all, l)
	}
	return all
}

// limits converts who may connect, and how often.
func (c *converter) limits() {
	if n := c.proto("imap", "mail_max_userip_connections"); n != nil {
		c.number(n, "imap", "mail_max_userip_connections", 1_000_000)
	}
	for _, key := range []string{"haproxy_trusted_networks", "login_trusted_networks"} {
		list, at := c.words(c.root, key)
		var good []string
		for _, s := range list {
			if network(s) {
				good = append(good, s)
			} else {
				c.report(at, NotSupported, "A network is written 192.0.2.0/24 or 2001:db8::/32; another one is left out.")
			}
		}
		if len(good) == 0 {
			continue
		}
		if key == "haproxy_trusted_networks" {
			c.out.list("", key, good, "")
			continue
		}
		c.out.list("auth", key, good, "")
		c.report(at, Different, "These hosts are not slowed after failed logins. Unlike in Dovecot they may not name another client's address (by ID), nor send passwords without TLS.")
	}
	if n := c.take("haproxy_timeout"); n != nil {
		c.time(n, "", "haproxy_timeout")
	}
}

func network(s string) bool {
	if strings.Contains(s, "/") {
		_, err := netip.ParsePrefix(s)
		return err == nil
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

func (c *converter) number(n *node, table, key string, most int) {
	v, err := strconv.Atoi(n.value)
	if err != nil || v < 0 || v > most {
		if n.value == "unlimited" {
			v = 0
		} else {
			c.report(n, NotSupported, "It is not a number that mailcryptd takes.")
			return
		}
	}
	c.out.set(table, key, strconv.Itoa(v), "")
}

func (c *converter) time(n *node, table, key string) {
	d, ok := parseTime(n.value)
	if !ok || d.Minutes() > 1 {
		c.report(n, NotSupported, "It is not a time of at most a minute.")
		return
	}
	c.out.str(table, key, d.String(), "")
}

func (c *converter) hasTLS() bool { return c.certificate(false) }

// tls converts the certificate.
func (c *converter) tls() {
	c.certificate(true)
	for _, key := range []string{"ssl"} {
		if n := c.take(key); n != nil && n.value == "required" {
			c.report(n, Different, "STARTTLS is offered, and passwords are refused without it; what needs no password is not.")
		}
	}
}

// certificate reports whether TLS is served, and where asked to, writes what with.
func (c *converter) certificate(write bool) bool {
	certKey, keyKey := "ssl_cert", "ssl_key"
	if c.v24 {
		certKey, keyKey = "ssl_server_cert_file", "ssl_server_key_file"
	}
	cert, key := c.root.last(certKey), c.root.last(keyKey)
	off := c.root.last("ssl")
	if off != nil && (off.value == "no" || off.value == "false" || off.value == "0") || cert == nil || cert.value == "" && cert.form != hidden {
		return false
	}
	if !write {
		return true
	}
	cert.used = true
	c.out.str("tls", "cert", c.pem(cert), "")
	switch {
	case key == nil:
		c.absent("ssl_key", Missing, "The certificate has no key.")
		c.out.str("tls", "key", replace+keyKey, "to be filled in")
	case key.form == hidden:
		c.report(key, Missing, "doveconf does not show it: use doveconf -nP, or write the file's name.")
		c.out.str("tls", "key", replace+keyKey, "to be filled in")
	default:
		key.used = true
		c.out.str("tls", "key", c.pem(key), "")
	}
	return true
}

// replace begins names of files that do not exist, which keep a configuration from working
// before they are replaced.
const replace = "/REPLACE-THIS/"

// pem names the file of a certificate or key.
func (c *converter) pem(n *node) string {
	if n.form == fromFile || c.v24 && !strings.HasPrefix(n.value, "inline:") {
		return c.file(n, n.value)
	}
	c.report(n, Missing, "It stands in the configuration itself: put it into a file of its own and name that.")
	return replace + n.key
}
