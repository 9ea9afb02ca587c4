package account

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/quota"
	"mailcrypt/storage"
	"mailcrypt/storage/mdbox"
	"mailcrypt/userdb"
)

// Defaults are the configuration that users' fields override. The names of Crypt and of
// the fields are Dovecot's; Crypt leaves out the prefix mail_crypt_.
type Defaults struct {
	MailHome      string // template; a user's home beats it
	MailLocation  string // template, Dovecot's syntax
	AttributeDict string // template of an attrdict URI
	Separator     string // hierarchy separator; "" is the layout's own
	Crypt         map[string]string
	Compression   compress.Method
	Level         compress.Level
	AppendLimit   int64 // bytes of an appended message; 0 is none
	SealedCache   int64 // bytes of a mailbox's sealed cache; 0 keeps none
	Metadata      bool  // keep annotations (Dovecot: imap_metadata)
	// Quota are settings of quota.Parse, and Mdbox of mdbox.ParseSettings, by their names there.
	Quota   map[string]string
	Mdbox   map[string]string
	Folders []Folder
}

// A Folder is a mailbox with a role.
type Folder struct {
	Name       string
	SpecialUse string // `\Sent`, or ""
	Create     bool   // at a login, if missing
	Subscribe  bool   // when created so
}

// Settings are what holds for one user in one login or delivery: the defaults, overlaid
// by the user's fields, with the login's password filled in where a template asks for it.
type Settings struct {
	User          string
	Home          string
	UID, GID      int    // of a home that root makes; -1 is that of the directory above
	MailLocation  string // expanded, but for ~
	AttributeDict string // expanded, but for ~
	Separator     string
	Store         storage.Options
	Mdbox         mdbox.Settings
	Keys          keys.Config
	KeepUnlocked  time.Duration
	AppendLimit   int64
	SealedCache   int64
	Quota         *quota.Policy // nil limits nothing
	Metadata      bool
	Folders       []Folder
	// SaveErr says why no message can be saved although encryption is wanted: a public key
	// that is not one. ReadErr tells of private keys that do not load: reading does
	// without them.
	SaveErr, ReadErr error
}

// ErrSettings reports settings of a user that cannot be used. The user is refused: a
// delivery fails temporarily, never in clear.
var ErrSettings = errors.New("account: settings cannot be used")

// Resolve makes a user's Settings. password is the login's, nil where there is none.
func Resolve(d Defaults, u *userdb.User, password []byte) (Settings, error) {
	return resolve(d, u, password, "", nil)
}

// resolve is Resolve for a login by a master user too, whose password never is one.
func resolve(d Defaults, u *userdb.User, password []byte, master string, memory *keys.Memory) (Settings, error) {
	r := resolver{d: d, fields: u.Fields, memory: memory}
	r.vars = userdb.Vars{User: u.Name, Home: u.Home, Password: password, HasPassword: password != nil,
		More: map[string]string{"login_user": u.Name, "master_user": master}}
	if master != "" {
		r.vars.More["auth_user"] = master
	}
	s := Settings{User: u.Name, UID: u.UID, GID: u.GID, Separator: d.Separator, AppendLimit: d.AppendLimit, SealedCache: d.SealedCache, Folders: d.Folders}
	s.Home = u.Home
	if s.Home == "" {
		s.Home = r.expand("mail_home", d.MailHome)
		r.vars.Home = s.Home
	}
	r.places(&s)
	r.compression(&s)
	r.quota(&s)
	r.mdbox(&s)
	r.metadata(&s)
	r.crypt(&s)
	r.known()
	if r.err != nil {
		s.Keys.Password.Clear()
		return Settings{}, fmt.Errorf("%w: user %s: %w", ErrSettings, u.Name, r.err)
	}
	return s, nil
}

// A resolver reads settings of one user and keeps the first error.
type resolver struct {
	d      Defaults
	fields map[string]string
	memory *keys.Memory // may be nil
	vars   userdb.Vars
	err    error
}

func (r *resolver) fail(name, reason string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %s", name, reason)
	}
}

// value returns a setting of mail_crypt and whether it is set anywhere.
func (r *resolver) value(name string) (string, bool) {
	if v, ok := r.fields["mail_crypt_"+name]; ok {
		return v, true
	}
	v, ok := r.d.Crypt[name]
	return v, ok
}

func (r *resolver) expand(name, template string) string {
	v, err := userdb.Expand(template, r.vars)
	if err != nil {
		r.fail(name, err.Error())
		return ""
	}
	return string(v)
}

// secret expands a template that may need the login's password.
func (r *resolver) secret(name string) keys.Secret {
	template, ok := r.value(name)
	if !ok {
		return keys.Secret{}
	}
	v, err := userdb.Expand(template, r.vars)
	switch {
	case errors.Is(err, userdb.ErrAbsent):
		return keys.AbsentSecret()
	case err != nil:
		r.fail("mail_crypt_"+name, "cannot be expanded")
		return keys.Secret{}
	}
	return keys.NewSecret([]byte(v))
}

func (r *resolver) number(name string, low, high int) int {
	v, ok := r.value(name)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		r.fail("mail_crypt_"+name, fmt.Sprintf("must be a number from %d to %d", low, high))
	}
	return n
}

// boolean is strict: "no" must not mean yes, as it does in Dovecot 2.3.
func (r *resolver) boolean(name string, unset bool) bool {
	v, ok := r.value(name)
	if !ok {
		return unset
	}
	switch strings.ToLower(v) {
	case "yes", "y", "true", "1", "on":
		return true
	case "no", "n", "false", "0", "off":
		return false
	}
	r.fail("mail_crypt_"+name, "must be yes or no")
	return unset
}

// crypt reads everything of mail_crypt.
func (r *resolver) crypt(s *Settings) {
	s.Store.Version = r.saveVersion()
	s.Store.Rounds = r.number("message_rounds", 1, 100_000)
	c := &s.Keys
	c.Memory = r.memory
	c.NoGenerate = s.Store.Version == 1
	if name, ok := r.value("curve"); ok && name != "" {
		curve, err := dcrypt.ParseCurve(name)
		if err != nil {
			r.fail("mail_crypt_curve", err.Error())
		}
		if s.Store.Version == 2 { // else no key is made
			c.Curve = curve
		}
	}
	c.Seal.Rounds = r.number("seal_rounds", 1, 10_000_000)
	if h, ok := r.value("seal_hash"); ok {
		c.Seal.Hash = h
		if h != "sha512" && h != "sha384" && h != "sha256" {
			r.fail("mail_crypt_seal_hash", "must be sha512, sha384 or sha256")
		}
	}
	c.Password = r.secret("private_password")
	c.SealKeys = r.privateKeys(s, "private_key")
	c.GlobalPrivate = r.privateKeys(s, "global_private_key")
	if text, ok := r.value("global_public_key"); ok && text != "" {
		pub, err := r.memory.PublicKey(dcrypt.DecodeKeySetting([]byte(text)))
		if err != nil {
			c.NoGenerate = true // users' keys would be no substitute
			s.SaveErr = fmt.Errorf("%w: user %s: mail_crypt_global_public_key: %w", ErrSettings, s.User, err)
		}
		c.Global = pub
	}
	_, sealedByKey := r.value("private_key")
	c.RequireSealed = r.boolean("require_encrypted_user_key", c.Password.Wanted() || sealedByKey)
	if sealedByKey && len(c.SealKeys) == 0 {
		c.RequireSealed = true // the key that is to seal does not load; that is no reason to do without
	}
	switch v, _ := r.value("before_first_login"); v {
	case "", "defer":
	case "unsealed":
		c.UnsealedFirst = true
	default:
		r.fail("mail_crypt_before_first_login", "must be defer or unsealed")
	}
	if v, ok := r.value("keep_unlocked"); ok {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > 24*time.Hour {
			r.fail("mail_crypt_keep_unlocked", `must be a time such as "30s", at most 24h`)
		}
		s.KeepUnlocked = d
	}
}

// places finds where the user's files are, and refuses what could not be opened, or would be
// opened somewhere else.
func (r *resolver) places(s *Settings) {
	switch {
	case r.err != nil:
		return
	case s.Home == "":
		r.fail("mail_home", "the user has no home")
		return
	case !filepath.IsAbs(s.Home) || strings.ContainsRune(s.Home, 0):
		r.fail("mail_home", "is not an absolute path")
		return
	}
	location, dict := r.d.MailLocation, r.d.AttributeDict
	if v := r.fields["mail"]; v != "" {
		location = v
	}
	if v, ok := r.fields["mail_attribute_dict"]; ok {
		dict = v
	}
	s.MailLocation = r.expand("mail", location)
	s.AttributeDict = r.expand("mail_attribute_dict", dict)
	if r.err != nil {
		return
	}
	if err := checkLocation(s.MailLocation, s.Home); err != nil {
		r.fail("mail", err.Error())
	}
	driver, path, _ := strings.Cut(s.AttributeDict, ":")
	path, _, _ = strings.Cut(path, ":")
	if s.AttributeDict != "" && (driver != "bolt" && driver != "file" || !filepath.IsAbs(path) && !strings.HasPrefix(path, "~/")) {
		r.fail("mail_attribute_dict", "is not bolt:PATH or file:PATH, with an absolute path or one that begins with ~/")
	}
}

// compression reads the fields zlib_save and zlib_save_level.
func (r *resolver) compression(s *Settings) {
	s.Store.Compression, s.Store.Level = r.d.Compression, r.d.Level
	if v, ok := r.fields["zlib_save"]; ok {
		m, err := compress.ParseMethod(v)
		if err != nil {
			r.fail("zlib_save", err.Error())
		}
		if m != s.Store.Compression {
			s.Store.Compression, s.Store.Level = m, compress.Level{}
		}
	}
	if v, ok := r.fields["zlib_save_level"]; ok && r.err == nil {
		n, err := strconv.Atoi(v)
		if err != nil {
			r.fail("zlib_save_level", "must be a number")
			return
		}
		if s.Store.Level, err = compress.NewLevel(s.Store.Compression, n); err != nil {
			r.fail("zlib_save_level", err.Error())
		}
	}
}

// quota reads the settings of quota. Fields of the user beat each its own of the
// configuration.
func (r *resolver) quota(s *Settings) {
	p, err := quota.Parse(r.overlay(r.d.Quota))
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return
	}
	s.Quota = p
	if limit := s.maxMailSize(); limit > 0 && (s.AppendLimit == 0 || limit < s.AppendLimit) {
		s.AppendLimit = limit
	}
}

// overlay looks settings up in the user's fields, and then in the configuration.
func (r *resolver) overlay(defaults map[string]string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := r.fields[name]; ok {
			return v, true
		}
		v, ok := defaults[name]
		return v, ok
	}
}

// mdbox reads the settings of mdbox.
func (r *resolver) mdbox(s *Settings) {
	set, err := mdbox.ParseSettings(r.overlay(r.d.Mdbox))
	if err != nil && r.err == nil {
		r.err = err
	}
	s.Mdbox = set
}

// metadata reads the field imap_metadata. Annotations need a dictionary.
func (r *resolver) metadata(s *Settings) {
	s.Metadata = r.d.Metadata
	if v, ok := r.fields["imap_metadata"]; ok {
		switch strings.ToLower(v) {
		case "yes", "y", "true", "1", "on":
			s.Metadata = true
		case "no", "n", "false", "0", "off":
			s.Metadata = false
		default:
			r.fail("imap_metadata", "must be yes or no")
		}
	}
	s.Metadata = s.Metadata && s.AttributeDict != ""
}

// known refuses fields of mail_crypt that nobody reads: a slip in the name of a field that
// asks for encryption must not leave a user's mail in clear.
func (r *resolver) known() {
	for name := range r.fields {
		if crypt, ok := strings.CutPrefix(name, "mail_crypt_"); ok && !knownCrypt(crypt) {
			r.fail(name, "is no setting")
		}
	}
}

// knownCrypt knows the settings of mail_crypt without their prefix, and those of Dovecot's
// that mean nothing here.
func knownCrypt(name string) bool {
	switch name {
	case "save_version", "curve", "private_password", "require_encrypted_user_key", "before_first_login",
		"seal_rounds", "seal_hash", "message_rounds", "keep_unlocked", "global_public_key",
		"acl_require_secure_key_sharing":
		return true
	}
	name = strings.TrimSuffix(name, "_password")
	for _, base := range []string{"private_key", "global_private_key", "public_key"} {
		if number, ok := strings.CutPrefix(name, base); ok {
			n, err := strconv.Atoi(number)
			return number == "" || err == nil && n >= 2 && strconv.Itoa(n) == number
		}
	}
	return false
}

// saveVersion is 0 where it is set nowhere. Dovecot's users also write the field
// mail_save_version.
func (r *resolver) saveVersion() int {
	v, ok := r.fields["mail_crypt_save_version"]
	if !ok {
		v, ok = r.fields["mail_save_version"]
	}
	if !ok {
		v, ok = r.d.Crypt["save_version"]
	}
	if !ok {
		return 0
	}
	switch v {
	case "0", "1", "2":
		return int(v[0] - '0')
	}
	r.fail("mail_crypt_save_version", "must be 0, 1 or 2")
	return 0
}

// privateKeys reads a numbered list of keys: name, name2, name3 and so on, each with its
// _password. Dovecot ends at the first missing number; so do we.
func (r *resolver) privateKeys(s *Settings, name string) []*dcrypt.PrivateKey {
	var list []*dcrypt.PrivateKey
	for n := 1; ; n++ {
		this := name
		if n > 1 {
			this += strconv.Itoa(n)
		}
		text, ok := r.value(this)
		if !ok || text == "" {
			return list
		}
		password := r.secret(this + "_password")
		opener := dcrypt.Opener{Known: r.memory.Known()}
		if password.Known() {
			opener.Password = password.Sealing()
		}
		key, err := dcrypt.ParsePrivateKey(dcrypt.DecodeKeySetting([]byte(text)), opener)
		password.Clear()
		if err != nil {
			if s.ReadErr == nil {
				s.ReadErr = fmt.Errorf("%w: user %s: mail_crypt_%s: %w", ErrSettings, s.User, this, err)
			}
			continue
		}
		list = append(list, key)
	}
}
