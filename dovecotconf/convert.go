package dovecotconf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailcrypt/userdb"
)

// A converter walks a tree: each step takes the settings that it knows, and what nobody
// took is reported in the end.
type converter struct {
	root     *node
	dir      string
	version  string
	printed  bool // by doveconf
	v24      bool
	out      output
	findings []Finding
	plugins  map[string]bool // mail_plugins of IMAP or LMTP
}

func newConverter(t *tree) *converter {
	c := &converter{root: t.root, dir: t.dir, version: t.version, printed: t.version != "", plugins: map[string]bool{}}
	if v := c.root.last("dovecot_config_version"); v != nil {
		c.version = v.value
	}
	if c.version == "" && looks24(c.root) {
		c.version = "2.4"
	}
	parts := strings.SplitN(c.version, ".", 3)
	c.version = "2.3"
	if len(parts) > 1 {
		if minor, err := strconv.Atoi(parts[1]); err == nil && parts[0] == "2" && minor >= 4 || parts[0] > "2" && parts[0] <= "9" {
			c.version, c.v24 = "2.4", true
		}
	}
	if c.v24 {
		flatten(c.root)
	}
	return c
}

// looks24 recognizes the words of 2.4 where no version is named.
func looks24(root *node) bool {
	return slices.ContainsFunc(root.below, func(n *node) bool {
		return strings.HasPrefix(n.key, "ssl_server") || strings.HasPrefix(n.key, "crypt_") ||
			slices.Contains([]string{"mail_driver", "mail_path", "mail_attribute", "auth_allow_cleartext", "dovecot_storage_version"}, n.key) ||
			n.key == "mail_plugins" && n.section
	})
}

// kept are the sections of 2.4 that are more than a prefix of the settings in them: lists,
// and what stands for users, names or services.
var kept = []string{"namespace", "mailbox", "passdb", "userdb", "service", "inet_listener", "unix_listener", "fifo_listener",
	"protocol", "local", "remote", "local_name", "plugin", "protocols", "mail_plugins", "fields", "passdb_fields", "userdb_fields",
	"mailbox_special_use", "special_use", "crypt_global_private_key", "crypt_user_key_encryption_key", "quota", "dict", "auth_mechanisms",
	"login_trusted_networks", "haproxy_trusted_networks", "listen", "event_exporter", "metric"}

// flatten writes "ssl_server { cert_file = x }" as ssl_server_cert_file = x, which in
// 2.4 is the same.
func flatten(n *node) {
	var list []*node
	for _, b := range n.below {
		if b.section {
			flatten(b)
		}
		if !b.section || b.value != "" || slices.Contains(kept, b.key) {
			if b.section && b.key == "dict" && n.key == "mail_attribute" && len(b.below) > 0 { // dict file { path = x }
				for _, d := range b.below {
					d.key, d.above = "mail_attribute_dict_"+b.value+"_"+strings.TrimPrefix(d.key, "dict_"), n
					list = append(list, d)
				}
				continue
			}
			list = append(list, b)
			continue
		}
		for _, d := range b.below {
			if !strings.HasPrefix(d.key, b.key+"_") {
				d.key = b.key + "_" + d.key
			}
			d.above = n
			list = append(list, d)
		}
	}
	n.below = list
}

func (c *converter) convert() {
	c.mailPlugins()
	c.mail()
	c.namespaces()
	c.listeners()
	c.tls()
	c.auth()
	c.crypt()
	c.compression()
	c.quota()
	c.rest()
}

// take returns a setting at the top level, taken; nil where there is none. Of several the
// last counts.
func (c *converter) take(key string) *node { return takeFrom(c.root, key) }

func takeFrom(n *node, key string) *node {
	if n == nil {
		return nil
	}
	var found *node
	for _, b := range n.below {
		if b.key == key && !b.section {
			b.used, found = true, b
		}
	}
	return found
}

// plugin returns a setting of plugin {}, which in 2.4 is an ordinary one.
func (c *converter) plugin(key string) *node {
	for _, p := range c.root.sections("plugin") {
		if n := takeFrom(p, key); n != nil {
			return n
		}
	}
	return nil
}

// proto returns a setting as a protocol sees it.
func (c *converter) proto(protocol, key string) *node {
	found := c.take(key)
	for _, p := range c.root.sections("protocol") {
		if p.value == protocol {
			if n := takeFrom(p, key); n != nil {
				found = n
			}
		}
	}
	return found
}

// report notes what becomes of a setting.
func (c *converter) report(n *node, e Effect, advice string, args ...any) {
	n.used = true
	c.findings = append(c.findings, Finding{File: n.file, Line: n.line, Setting: path(n), Value: shown(n), Effect: e, Advice: fmt.Sprintf(advice, args...)})
}

// absent notes what the input does not say.
func (c *converter) absent(setting string, e Effect, advice string, args ...any) {
	c.findings = append(c.findings, Finding{Setting: setting, Effect: e, Advice: fmt.Sprintf(advice, args...)})
}

// path names a setting with the sections around it.
func path(n *node) string {
	s := n.key
	if n.section && n.value != "" {
		s += " " + n.value
	}
	for up := n.above; up != nil && up.above != nil; up = up.above {
		name := up.key
		if up.value != "" {
			name += " " + up.value
		}
		s = name + " { " + s + " }"
	}
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}

// yes reads a boolean as Dovecot does.
func yes(n *node, unset bool) bool {
	if n == nil {
		return unset
	}
	switch strings.ToLower(n.value) {
	case "yes", "y", "1", "true":
		return true
	}
	return false
}

// words is a list: words with blanks or commas between, or in 2.4 a section of names that
// are yes or no.
func (c *converter) words(in *node, key string) (list []string, at *node) {
	for _, n := range in.below {
		if n.key != key {
			continue
		}
		n.used, at = true, n
		if !n.section {
			list = strings.FieldsFunc(n.value, func(r rune) bool { return strings.ContainsRune(space+",", r) })
			continue
		}
		for _, b := range n.below {
			b.used = true
			list = slices.DeleteFunc(list, func(w string) bool { return w == b.key })
			if yes(b, false) {
				list = append(list, b.key)
			}
		}
	}
	return list, at
}

// template checks what userdb.Expand does not know; the text is taken over all the same,
// for a user whose settings cannot be expanded is refused, not served wrongly.
func (c *converter) template(n *node, value string) string {
	vars := userdb.Vars{User: "user@example.org", Home: "/home", Password: []byte("password"), HasPassword: true}
	if _, err := userdb.Expand(value, vars); err != nil && n != nil {
		c.report(n, NotSupported, "It is taken over, but has a variable or filter that mailcryptd does not know: users are refused until it is changed.")
	}
	return value
}

// file is absolute for the contents of a setting. What doveconf prints does not say which
// file a relative name was written in.
func (c *converter) file(n *node, name string) string {
	full := absolute(n, name)
	if full != name && c.printed {
		c.report(n, Different, "It is taken to be %s; in an included file it would be relative to that.", full)
	}
	return full
}

// absolute makes the name of a file absolute where that can be known.
func absolute(n *node, name string) string {
	if name == "" || filepath.IsAbs(name) || strings.HasPrefix(name, "~") || strings.HasPrefix(name, "%") || n.dir == "" {
		return name
	}
	return filepath.Join(n.dir, name)
}

// parseTime reads a time of Dovecot's: a number and a unit, seconds without one.
func parseTime(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil || n > 1_000_000_000 {
		return 0, false
	}
	unit := strings.ToLower(strings.TrimSpace(s[i:]))
	for _, u := range []struct {
		names string
		is    time.Duration
	}{{"ms msec msecs millisecond milliseconds", time.Millisecond}, {"s sec secs second seconds", time.Second},
		{"min mins minute minutes", time.Minute}, {"h hour hours", time.Hour}} {
		if unit == "" && u.is == time.Second || slices.Contains(strings.Fields(u.names), unit) {
			return time.Duration(n) * u.is, true
		}
	}
	return 0, false
}
