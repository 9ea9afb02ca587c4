package dovecotconf

import (
	"slices"
	"strconv"
	"strings"
)

// crypt converts the settings of mail_crypt.
func (c *converter) crypt() {
	version, given := "0", false
	if c.v24 {
		version, given = c.version24()
	} else {
		version, given = c.version23()
	}
	switch {
	case given && !c.plugins["mail_crypt"]:
		c.absent("mail_plugins", Different, "mail_crypt is configured but not among mail_plugins: Dovecot encrypts nothing, and so save_version is 0 here. Set it to 2 to encrypt.")
		version = "0"
	case !given && !c.plugins["mail_crypt"]:
		version = ""
	case !given:
		c.absent("mail_crypt_save_version", Missing, "Dovecot does not work without it. It is 0 here: new mail is not encrypted. Set it to 2 to encrypt.")
	}
	if version != "" {
		c.out.set("mail_crypt", "save_version", version, "2 encrypts, 0 stores in clear and reads what is encrypted")
	}
	c.curve()
	c.userSeal()
	c.globalKeys()
	for _, key := range []string{"mail_crypt_acl_require_secure_key_sharing", "crypt_acl_require_secure_key_sharing"} {
		for _, n := range []*node{c.plugin(key), c.take(key)} {
			if n != nil {
				c.report(n, Ignored, "Folders are not shared.")
			}
		}
	}
}

// version23 reads the first character, as Dovecot does.
func (c *converter) version23() (string, bool) {
	n := c.plugin("mail_crypt_save_version")
	if n == nil {
		return "0", false
	}
	if n.value == "" || n.value[0] < '0' || n.value[0] > '2' {
		c.report(n, NotSupported, "It is none of 0, 1 and 2; it is 0 here: new mail is not encrypted.")
		return "0", true
	}
	return n.value[:1], true
}

// version24 reads what streams are written with; 2.4 encrypts unless it is told not to.
func (c *converter) version24() (string, bool) {
	n := c.take("crypt_write_algorithm")
	switch {
	case n == nil:
		any := slices.ContainsFunc(c.root.below, func(n *node) bool {
			return strings.HasPrefix(n.key, "crypt_") && n.key != "crypt_acl_require_secure_key_sharing"
		})
		return "2", any || c.plugins["mail_crypt"]
	case n.value == "":
		return "0", true
	case n.value != "aes-256-gcm-sha256":
		c.report(n, Different, "New mail is encrypted with aes-256-gcm-sha256, which every Dovecot reads. What was written with other algorithms is read.")
	}
	return "2", true
}

func (c *converter) curve() {
	n := c.plugin("mail_crypt_curve")
	if c.v24 {
		n = c.take("crypt_user_key_curve")
	}
	if n == nil || n.value == "" {
		return
	}
	if !slices.Contains([]string{"prime256v1", "secp384r1", "secp521r1", "X25519", "X448"}, n.value) {
		c.report(n, NotSupported, "Keys on this curve are used, and none are made: users without keys cannot save. Set one of prime256v1, secp384r1, secp521r1, X25519 and X448.")
	}
	c.out.str("mail_crypt", "curve", n.value, "")
}

// userSeal converts what users' keys are sealed with.
func (c *converter) userSeal() {
	require := c.plugin("mail_crypt_require_encrypted_user_key") != nil // whatever its value
	password := c.plugin("mail_crypt_private_password")
	if c.v24 {
		require = yes(c.take("crypt_user_key_require_encrypted"), false)
		if password = c.take("crypt_user_key_password"); password != nil && password.value == "" && password.form != hidden {
			password = nil // 2.4 takes an empty one for none
		}
	}
	sealed := false
	if password != nil {
		sealed = true
		c.secret("private_password", password)
	}
	if c.keys("private_key", "crypt_user_key_encryption_key") > 0 {
		sealed = true
	}
	switch {
	case require:
		c.out.set("mail_crypt", "require_encrypted_user_key", "true", "")
	case sealed:
		c.absent("mail_crypt_require_encrypted_user_key", Different, "Dovecot may make users' keys in clear where it does not know the password. Here that is refused, and mail deferred until the first login, unless require_encrypted_user_key = false.")
	}
}

func (c *converter) globalKeys() {
	public := c.plugin("mail_crypt_global_public_key")
	if c.v24 {
		public = c.take("crypt_global_public_key_file")
	}
	if public != nil && (public.value != "" || public.form == hidden) {
		c.secret("global_public_key", public)
	}
	c.keys("global_private_key", "crypt_global_private_key")
}

// keys converts a list of private keys: numbered in 2.3, named in 2.4.
func (c *converter) keys(name, section string) int {
	count := 0
	this := func() string {
		if count == 1 {
			return name
		}
		return name + strconv.Itoa(count)
	}
	if c.v24 {
		for _, s := range c.root.sections(section) {
			s.used = true
			get := func(key string) *node {
				for _, k := range []string{"crypt_private_key_" + key, section + "_" + key, key} {
					if n := takeFrom(s, k); n != nil {
						return n
					}
				}
				return nil
			}
			takeFrom(s, "crypt_private_key_name")
			key := get("file")
			if key == nil || key.value == "" && key.form != hidden {
				continue
			}
			count++
			c.secret(this(), key)
			if p := get("password"); p != nil && (p.value != "" || p.form == hidden) {
				c.secret(this()+"_password", p)
			}
		}
		return count
	}
	for {
		count++
		key := c.plugin("mail_crypt_" + this())
		if key == nil || key.value == "" && key.form != hidden { // Dovecot ends at the first gap
			return count - 1
		}
		c.secret(this(), key)
		if p := c.plugin("mail_crypt_" + this() + "_password"); p != nil {
			c.secret(this()+"_password", p)
		}
	}
}

// secret writes a key or a password, wherever it stands.
func (c *converter) secret(name string, n *node) {
	n.used = true
	isFile := n.form == fromFile
	value := n.value
	if c.v24 && (strings.HasSuffix(n.key, "_file") || n.key == "file") && n.form != hidden {
		inline, ok := strings.CutPrefix(value, "inline:")
		isFile = !ok
		value = inline
		if isFile {
			value = n.value
		}
	}
	switch {
	case n.form == hidden || strings.Contains(value, hiddenPart):
		c.report(n, Missing, "doveconf does not show it: use doveconf -nP, or write it into a file and name that here.")
		c.out.str("mail_crypt", name, "<"+replace+name, "to be filled in")
	case isFile:
		c.out.str("mail_crypt", name, "<"+c.file(n, value), "")
	case strings.HasPrefix(value, "<"):
		c.report(n, Missing, "It begins with <, which stands for a file here: write it into a file and name that.")
		c.out.str("mail_crypt", name, "<"+replace+name, "to be filled in")
	case strings.Contains(name, "password"):
		if name == "private_password" {
			value = c.template(n, value)
		}
		c.out.str("mail_crypt", name, value, "")
	default:
		c.out.str("mail_crypt", name, value, "")
	}
}

// compression converts how new mail is compressed.
func (c *converter) compression() {
	method, level, on := c.plugin("zlib_save"), c.plugin("zlib_save_level"), c.plugins["zlib"]
	if c.v24 {
		method, on = c.take("mail_compress_write_method"), c.plugins["mail_compress"]
		if method != nil {
			level = c.take("compress_" + method.value + "_level")
			if b := c.take("compress_bz2_block_size"); b != nil && method.value == "bz2" {
				c.report(b, Different, "bz2 has blocks of 900 kB here.")
			}
		}
	}
	switch {
	case method == nil || method.value == "" || method.value == "none":
		if level != nil {
			c.report(level, Ignored, "Nothing is compressed.")
		}
		return
	case !on:
		c.report(method, Different, "The plugin is not among mail_plugins, so Dovecot does not compress. Nor is it done here.")
		return
	case !slices.Contains([]string{"gz", "bz2", "lz4", "zstd"}, method.value):
		c.report(method, NotSupported, "New mail is not compressed: the methods are gz, bz2, lz4 and zstd. Mail that is compressed so already is read where Dovecot reads it.")
		return
	}
	c.out.str("zlib", "save", method.value, "")
	if level == nil {
		return
	}
	if v, err := strconv.Atoi(level.value); err == nil && v >= -1000 && v <= 22 {
		c.out.set("zlib", "save_level", strconv.Itoa(v), "")
	} else {
		c.report(level, NotSupported, "It is no level; the method's own is used.")
	}
}
