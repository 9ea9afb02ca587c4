package dovecotconf

import (
	"slices"
	"strings"
)

// mailPlugins finds out which plugins work: settings of others mean nothing.
func (c *converter) mailPlugins() {
	all, _ := c.words(c.root, "mail_plugins")
	on := map[string]map[string]bool{}
	for _, protocol := range []string{"imap", "lmtp"} {
		on[protocol] = map[string]bool{}
		list := all
		for _, p := range c.root.sections("protocol") {
			if p.value != protocol {
				continue
			}
			if own, at := c.words(p, "mail_plugins"); at != nil {
				if list = own; at.section {
					list = append(slices.Clone(all), own...)
				}
			}
		}
		for _, name := range list {
			on[protocol][name], c.plugins[name] = true, true
		}
	}
	for _, name := range []string{"mail_crypt", "quota", "zlib", "mail_compress"} {
		if on["imap"][name] != on["lmtp"][name] {
			has, not := "imap", "lmtp"
			if on["lmtp"][name] {
				has, not = not, has
			}
			c.absent("mail_plugins: "+name, Different, "Dovecot has this plugin in protocol %s and not in protocol %s. Here it counts for both.", has, not)
		}
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range c.plugins {
			if !yield(name) {
				return
			}
		}
	}) {
		if advice, ok := otherPlugins[name]; ok {
			c.absent("mail_plugins: "+name, NotSupported, "%s", advice)
		} else if !slices.Contains(ourPlugins, name) {
			c.absent("mail_plugins: "+name, NotSupported, "mailcryptd does not have this plugin.")
		}
	}
}

// ourPlugins are those whose work is done without a plugin here.
var ourPlugins = []string{"mail_crypt", "quota", "imap_quota", "zlib", "imap_zlib", "mail_compress", "notify"}

var otherPlugins = map[string]string{
	"acl":                "Folders are not shared: owners reach their own, others reach none.",
	"imap_acl":           "Clients cannot see or change rights.",
	"fts":                "Searches read the messages: for encrypted mail nothing of them may be kept on disk.",
	"fts_solr":           "Searches read the messages.",
	"fts_flatcurve":      "Searches read the messages.",
	"fts_xapian":         "Searches read the messages.",
	"fts_lucene":         "Searches read the messages.",
	"fts_squat":          "Searches read the messages.",
	"sieve":              "Mail is delivered to INBOX; scripts are not run. Filter before LMTP.",
	"imap_sieve":         "Scripts are not run when clients save or move mail, so spam filters are not taught by it.",
	"virtual":            "There are no virtual folders.",
	"trash":              "A full mailbox does not make room for itself.",
	"lazy_expunge":       "What is expunged is gone.",
	"mail_log":           "What clients do to messages is not logged.",
	"notify_status":      "No status is written to a dictionary.",
	"push_notification":  "Nobody is told of new mail but IMAP clients.",
	"replication":        "Mail is not replicated.",
	"last_login":         "The last login is not kept.",
	"listescape":         "Names with the separator in them are not listed.",
	"mailbox_alias":      "Folders have one name.",
	"charset_alias":      "Charsets have their usual names.",
	"quota_clone":        "Usage is not written to a dictionary.",
	"mail_filter":        "Messages are not filtered when they are read or saved.",
	"mail_crypt_acl":     "Folders are not shared.",
	"imap_filter_sieve":  "Scripts are not run.",
	"welcome":            "No script is run at the first login.",
	"imap_stats":         "There are no such commands.",
	"apparmor":           "Confine the daemon by its systemd unit.",
	"imap_hibernate":     "An idle connection takes 17 KiB without it.",
	"var_expand_crypt":   "Variables are not encrypted.",
	"fs_compress":        "There are no such file systems.",
	"imap_fts":           "Searches read the messages.",
	"pop3_migration":     "POP3 is not served.",
	"mail_lua":           "Scripts are not run.",
	"fts_lua":            "Searches read the messages.",
	"fts_tika":           "Attachments are not searched by their contents.",
	"old_stats":          "See [metrics].",
	"stats":              "See [metrics].",
	"autocreate":         "Folders are made by [[mailbox]] with auto.",
	"expire":             "Nothing is expunged by age.",
	"snarf":              "Mail is not taken from elsewhere.",
	"imap_old_stats":     "See [metrics].",
	"mailbox_name_check": "Names are checked by RFC 9051.",
}

// mail converts where homes, mail and keys are.
func (c *converter) mail() {
	if n := c.take("mail_home"); n != nil && n.value != "" {
		c.out.str("", "mail_home", c.template(n, absolute(n, n.value)), "")
	}
	c.location()
	c.dictionary()
	for _, key := range []string{"mail_uid", "mail_gid"} {
		if n := c.take(key); n != nil {
			c.report(n, Ignored, "The daemon runs as one user, whom all mail belongs to: name that user in User= and Group= of the systemd unit.")
		}
	}
	if n := c.take("recipient_delimiter"); n != nil {
		c.out.str("lmtp", "recipient_delimiter", n.value, "")
	}
	if n := c.proto("imap", "imap_metadata"); n != nil && yes(n, false) {
		c.out.set("imap", "metadata", "true", "")
	}
}

// location writes mail_location. A location of namespace inbox beats that of all.
func (c *converter) location() {
	n := c.take("mail_location")
	value := ""
	if n != nil {
		value = n.value
	}
	for _, ns := range c.root.sections("namespace") {
		if own := ns.last("location"); own != nil && isInbox(ns) {
			if own.used = true; own.value != "" {
				n, value = own, own.value
			}
		}
	}
	if c.v24 {
		n, value = c.location24()
	}
	if value == "" {
		c.absent("mail_location", Different, "Dovecot looks which of several places has mail; here it is maildir:~/Maildir unless mail_location says otherwise.")
		return
	}
	switch driver, _, _ := strings.Cut(value, ":"); driver {
	case "maildir":
	case "mdbox":
		c.report(n, Different, "The messages are shared with Dovecot, their index is not: users are refused until it was taken over, by doveadm-crypt import mdbox.")
		for _, key := range []string{"mdbox_rotate_size", "mdbox_rotate_interval", "mdbox_preallocate_space"} {
			if m := c.take(key); m != nil && m.value != "" {
				c.out.str("", key, m.value, "")
			}
		}
	default:
		c.report(n, NotSupported, "Mail is kept as Maildir or mdbox. The location is taken over, and users are refused until it is one of these: convert by \"doveadm sync\".")
	}
	c.out.str("", "mail_location", c.template(n, value), "")
}

// location24 puts together what 2.4 has in several settings.
func (c *converter) location24() (*node, string) {
	driver, root := c.take("mail_driver"), c.take("mail_path")
	at := driver
	if at == nil {
		at = root
	}
	parts := []struct{ key, name string }{{"mailbox_list_layout", "LAYOUT"}, {"mail_index_path", "INDEX"}, {"mail_control_path", "CONTROL"},
		{"mail_inbox_path", "INBOX"}, {"mailbox_directory_name", "DIRNAME"}, {"mail_volatile_path", "VOLATILEDIR"}, {"mail_alt_path", "ALT"}}
	var tail string
	for _, p := range parts {
		if n := c.take(p.key); n != nil && n.value != "" {
			tail += ":" + p.name + "=" + strings.ReplaceAll(n.value, ":", "::")
		}
	}
	if yes(c.take("mailbox_list_utf8"), false) {
		tail += ":UTF-8"
	}
	if driver == nil && root == nil {
		return nil, ""
	}
	name := "auto"
	if driver != nil && driver.value != "" {
		name = driver.value
	}
	place := "~/Maildir"
	if root != nil && root.value != "" {
		place = root.value
	}
	return at, name + ":" + strings.ReplaceAll(place, ":", "::") + tail
}

// dictionary converts where attributes are, and with them keys.
func (c *converter) dictionary() {
	n := c.take("mail_attribute_dict")
	if c.v24 {
		if n = c.take("mail_attribute_dict_file_path"); n != nil {
			c.out.str("", "mail_attribute_dict", "file:"+c.template(n, n.value), "")
			return
		}
	}
	switch {
	case n == nil || n.value == "":
		c.absent("mail_attribute_dict", Different, "Dovecot has no dictionary; here keys are in bolt:~/keys.db. Where users' keys exist already, name their file: mail_attribute_dict = \"file:...\".")
	case !strings.HasPrefix(n.value, "file:"):
		c.report(n, NotSupported, "Keys are read from file:PATH or bolt:PATH alone. Copy them to a file dictionary; users are refused until then.")
		c.out.str("", "mail_attribute_dict", n.value, "")
	default:
		c.out.str("", "mail_attribute_dict", c.template(n, n.value), "")
	}
}

func isInbox(ns *node) bool {
	n := ns.last("inbox")
	return n != nil && yes(n, false) || n == nil && ns.value == "inbox"
}

// roles are those that mailcryptd knows, by their lower case.
var roles = map[string]string{`\all`: `\All`, `\archive`: `\Archive`, `\drafts`: `\Drafts`, `\flagged`: `\Flagged`,
	`\important`: `\Important`, `\junk`: `\Junk`, `\sent`: `\Sent`, `\trash`: `\Trash`}

// namespaces converts the one of INBOX.
func (c *converter) namespaces() {
	for _, ns := range c.root.sections("namespace") {
		if !isInbox(ns) {
			c.report(ns, NotSupported, "There is one namespace, with INBOX in it. Shared, public and further namespaces are not served.")
			use(ns)
			continue
		}
		ns.used = true
		for _, key := range []string{"inbox", "list", "type", "subscriptions", "hidden", "name"} {
			takeFrom(ns, key)
		}
		if n := takeFrom(ns, "separator"); n != nil && n.value != "" {
			if n.value == "." || n.value == "/" {
				c.out.str("namespace", "separator", n.value, "")
			} else {
				c.report(n, NotSupported, "The separator is . or /: here it is that of the layout, and clients see other names.")
			}
		}
		if n := takeFrom(ns, "prefix"); n != nil && n.value != "" {
			c.report(n, NotSupported, "Folders have no prefix here: clients that were told one see new names. Let them fetch their lists of folders anew.")
		}
		for _, box := range ns.sections("mailbox") {
			c.mailbox(box)
		}
	}
}

// use marks all of a section as reported.
func use(n *node) {
	n.used = true
	for _, b := range n.below {
		use(b)
	}
}

// mailbox converts a folder with a role.
func (c *converter) mailbox(n *node) {
	n.used = true
	m := box{name: n.value, auto: "no"}
	if v := takeFrom(n, "name"); v != nil {
		m.name = v.value
	}
	if v := takeFrom(n, "mailbox_name"); v != nil {
		m.name = v.value
	}
	for _, key := range []string{"special_use", "mailbox_special_use"} {
		uses, at := c.words(n, key)
		for i, u := range uses {
			role, ok := roles[strings.ToLower(u)]
			switch {
			case !ok:
				c.report(at, NotSupported, "%s is no role of RFC 6154 or RFC 8457.", u)
			case m.use != "" && i > 0:
				c.report(at, NotSupported, "A folder has one role; %s is left out.", role)
			default:
				m.use = role
			}
		}
	}
	for _, key := range []string{"auto", "mailbox_auto"} {
		if v := takeFrom(n, key); v != nil {
			switch v.value {
			case "no", "create", "subscribe":
				m.auto = v.value
			default:
				c.report(v, NotSupported, "auto is no, create or subscribe.")
			}
		}
	}
	if m.name == "" || m.use == "" && m.auto == "no" || slices.ContainsFunc(c.out.boxes, func(b box) bool { return b.name == m.name }) {
		return
	}
	c.out.boxes = append(c.out.boxes, m)
}
