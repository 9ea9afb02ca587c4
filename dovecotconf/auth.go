package dovecotconf

import "strings"

// auth converts logins: formats, delays and the databases.
func (c *converter) auth() {
	if n := c.take("auth_username_format"); n != nil {
		v := n.value
		if v == "" { // names as they come
			v = "%u"
		}
		c.out.str("auth", "username_format", c.template(n, v), "")
	}
	c.plaintext()
	if n := c.take("auth_failure_delay"); n != nil {
		c.time(n, "auth", "failure_delay")
	}
	c.passdbs()
	c.userdbs()
	if n := c.take("auth_master_user_separator"); n != nil && n.value != "" {
		switch {
		case !c.out.has("auth", "master_passwd_file"):
			c.report(n, NotSupported, "There is no passwd-file of master users, so nobody can be one.")
		case len(n.value) != 1 || strings.Contains("-._@", n.value) || strings.ContainsAny(n.value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"):
			c.report(n, NotSupported, "The separator is one character that stands in no user's name.")
		default:
			c.out.str("auth", "master_user_separator", n.value, "")
		}
	}
	if !c.out.has("userdb", "passwd_file") {
		c.absent("passdb", Missing, "Users are read from a passwd-file alone: write one out of your database, and name it as passwd_file of [userdb].")
		c.out.str("userdb", "passwd_file", replace+"users", "to be filled in")
	}
}

// plaintext converts who may send passwords without TLS.
func (c *converter) plaintext() {
	refuse := true
	if n := c.take("disable_plaintext_auth"); n != nil && !c.v24 {
		refuse = yes(n, true)
	}
	if n := c.take("auth_allow_cleartext"); n != nil && c.v24 {
		refuse = !yes(n, false)
	}
	if n := c.root.last("ssl"); n != nil && n.value == "required" {
		refuse = true
	}
	if !refuse {
		c.out.set("auth", "disable_plaintext_auth", "false", "passwords are taken without TLS")
	}
}

// A database is what a passdb or userdb section says.
type database struct {
	at     *node
	driver string
	path   string
	scheme *node
	format *node
	fields [][2]string // name and template; at is whose
	from   map[string]*node
}

// database reads a section in the form of either version.
func (c *converter) database(n *node) database {
	n.used = true
	d := database{at: n, driver: n.value, from: map[string]*node{}}
	get := func(key string) *node {
		if v := takeFrom(n, n.key+"_"+key); v != nil {
			return v
		}
		return takeFrom(n, key)
	}
	if v := get("driver"); v != nil {
		d.driver = v.value
	}
	if v := takeFrom(n, "passwd_file_path"); v != nil {
		d.path = v.value
	}
	if v := takeFrom(n, n.key+"_passwd_file_path"); v != nil {
		d.path = v.value
	}
	d.scheme, d.format = get("default_password_scheme"), get("username_format")
	if v := get("args"); v != nil {
		c.args(&d, v)
	}
	for _, key := range []string{"default_fields", "override_fields"} {
		if v := get(key); v != nil {
			for _, f := range strings.Fields(v.value) {
				d.field(v, f)
			}
			if key == "override_fields" && v.value != "" {
				c.report(v, Different, "In Dovecot it beats the users' own fields. Here these beat it.")
			}
		}
	}
	for _, key := range []string{"fields", n.key + "_fields"} {
		for _, s := range n.sections(key) {
			s.used = true
			for _, f := range s.below {
				f.used = true
				d.fields = append(d.fields, [2]string{f.key, f.value})
				d.from[f.key] = f
			}
		}
	}
	return d
}

func (d *database) field(at *node, text string) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		value = "yes"
	}
	d.fields = append(d.fields, [2]string{name, value})
	d.from[name] = at
}

// args reads the arguments of 2.3: options and, of a passwd-file, the path.
func (c *converter) args(d *database, v *node) {
	for _, word := range strings.Fields(v.value) {
		name, value, ok := strings.Cut(word, "=")
		switch {
		case d.driver == "static":
			d.field(v, word)
		case ok && name == "scheme":
			d.scheme = &node{key: v.key, value: value, file: v.file, line: v.line, above: v.above}
		case ok && name == "username_format":
			d.format = &node{key: v.key, value: value, file: v.file, line: v.line, above: v.above}
		case strings.HasPrefix(word, "/") || !ok:
			d.path = word
		}
	}
}

// passdbs converts where passwords are.
func (c *converter) passdbs() {
	for _, n := range c.root.sections("passdb") {
		d := c.database(n)
		master, deny := yes(takeFrom(n, "master"), false), yes(takeFrom(n, "deny"), false)
		for _, key := range []string{"passdb_master", "passdb_deny"} {
			if v := takeFrom(n, key); v != nil && yes(v, false) {
				master, deny = master || key == "passdb_master", deny || key == "passdb_deny"
			}
		}
		switch {
		case deny:
			c.report(n, NotSupported, "Users of a deny database can log in here: give their lines the field nologin.")
			use(n)
		case d.driver != "passwd-file":
			c.report(n, NotSupported, "Users are read from a passwd-file alone: write one out of this database (%s).", d.driver)
			use(n)
		case master:
			c.passwdFile(d, "auth", "master_passwd_file")
		default:
			c.passwdFile(d, "userdb", "passwd_file")
			c.fields(d, "userdb_")
		}
		for _, key := range []string{"pass", "result_success", "result_failure", "result_internalfail", "skip", "name", "auth_verbose", "mechanisms"} {
			if v := takeFrom(n, key); v != nil && v.value != "" {
				c.report(v, Ignored, "There is one database; a master user's account must exist.")
			}
		}
	}
}

// userdbs converts where homes are.
func (c *converter) userdbs() {
	for _, n := range c.root.sections("userdb") {
		d := c.database(n)
		switch d.driver {
		case "passwd-file":
			c.passwdFile(d, "userdb", "passwd_file")
			c.fields(d, "")
		case "static", "prefetch":
			c.fields(d, "")
		default:
			c.report(n, NotSupported, "Users are read from a passwd-file alone: write one out of this database (%s).", d.driver)
			use(n)
		}
	}
}

// passwdFile writes the name of a passwd-file and what is different about it.
func (c *converter) passwdFile(d database, table, key string) {
	name := absolute(d.at, d.path)
	switch {
	case name == "" || strings.Contains(name, "%"):
		c.report(d.at, NotSupported, "There is one passwd-file for all users: its name has no variables.")
		return
	case key == "passwd_file" && c.out.is("auth", "master_passwd_file", name), key != "passwd_file" && c.out.is("userdb", "passwd_file", name):
		c.report(d.at, NotSupported, "One file is that of users and of master users: every user could log in for every other. It is not taken over.")
		return
	case c.out.has(table, key):
		if !c.out.is(table, key, name) {
			c.report(d.at, NotSupported, "A second passwd-file is not read: put all users and their fields into one.")
		}
		return
	}
	c.out.str(table, key, name, "")
	if d.scheme != nil && !strings.EqualFold(d.scheme.value, "CRYPT") && d.scheme.value != "" {
		c.report(d.scheme, NotSupported, "Hashes without a {SCHEME} are taken for CRYPT: write {%s} before those in the file.", strings.ToUpper(d.scheme.value))
	}
	if d.format != nil && d.format.value != "" && d.format.value != "%u" && d.format.value != "%{user}" {
		c.report(d.format, NotSupported, "Users are looked up by their names as [auth] username_format makes them: names in the file must look like that.")
	}
}

// fields converts what a database gives to all users.
func (c *converter) fields(d database, prefix string) {
	for _, f := range d.fields {
		name, ok := strings.CutPrefix(f[0], prefix)
		name, value, at := strings.TrimSuffix(name, ":default"), f[1], d.from[f[0]]
		switch {
		case !ok:
			c.report(at, NotSupported, "The field %s is not given to all users: write it into their lines.", f[0])
		case name == "uid" || name == "gid":
		case name == "home":
			c.once("", "mail_home", c.template(at, value), at)
		case name == "mail":
			c.once("", "mail_location", c.template(at, value), at)
		case name == "mail_attribute_dict":
			c.once("", "mail_attribute_dict", c.template(at, value), at)
		case name == "quota_rule" && c.plugins["quota"]:
			c.out.str("quota", "rule", value, "")
		case name == "allow_all_users" || name == "":
		default:
			c.report(at, NotSupported, "The field %s is not given to all users: write it into their lines.", name)
		}
	}
}

// once writes what a userdb gives, which beats a setting.
func (c *converter) once(table, key, value string, at *node) {
	if c.out.has(table, key) {
		c.report(at, Different, "It is taken over as %s, instead of the setting of that name.", key)
	}
	c.out.str(table, key, value, "")
}
