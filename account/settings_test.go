package account

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/userdb"
)

func TestFieldsOverrideDefaults(t *testing.T) {
	d := defaults("/srv", boltDict)
	d.Compression = compress.Gzip
	for _, tt := range []struct {
		name   string
		fields []string
		want   func(Settings) bool
	}{
		{"none", nil, func(s Settings) bool {
			return s.Home == "/srv/alice" && s.MailLocation == "maildir:~/Maildir" && s.AttributeDict == boltDict &&
				s.Store.Version == 2 && s.Keys.Curve == dcrypt.Prime256v1 && s.Keys.RequireSealed && s.Store.Compression == compress.Gzip
		}},
		{"home beats mail_home", []string{"home=/else/where"}, func(s Settings) bool { return s.Home == "/else/where" }},
		{"mail", []string{"mail=maildir:%h/m:LAYOUT=fs"}, func(s Settings) bool { return s.MailLocation == "maildir:/srv/alice/m:LAYOUT=fs" }},
		{"empty mail", []string{"mail="}, func(s Settings) bool { return s.MailLocation == "maildir:~/Maildir" }},
		{"mail_attribute_dict", []string{"mail_attribute_dict=file:%h/a:lock=flock"}, func(s Settings) bool { return s.AttributeDict == "file:/srv/alice/a:lock=flock" }},
		{"no mail_attribute_dict", []string{"mail_attribute_dict="}, func(s Settings) bool { return s.AttributeDict == "" }},
		{"zlib_save", []string{"zlib_save=zstd", "zlib_save_level=3"}, func(s Settings) bool { return s.Store.Compression == compress.Zstd }},
		{"no zlib_save", []string{"zlib_save="}, func(s Settings) bool { return s.Store.Compression == compress.None }},
		{"mail_crypt_save_version", []string{"mail_crypt_save_version=0"}, func(s Settings) bool { return s.Store.Version == 0 && s.Keys.Curve == "" }},
		{"mail_save_version", []string{"mail_save_version=0"}, func(s Settings) bool { return s.Store.Version == 0 }},
		{"both save versions", []string{"mail_save_version=0", "mail_crypt_save_version=2"}, func(s Settings) bool { return s.Store.Version == 2 }},
		{"version 1 makes no keys", []string{"mail_crypt_save_version=1"}, func(s Settings) bool { return s.Store.Version == 1 && s.Keys.NoGenerate }},
		{"curve", []string{"mail_crypt_curve=secp521r1"}, func(s Settings) bool { return s.Keys.Curve == dcrypt.Secp521r1 }},
		{"seal", []string{"mail_crypt_seal_rounds=77", "mail_crypt_seal_hash=sha256", "mail_crypt_message_rounds=5"}, func(s Settings) bool {
			return s.Keys.Seal.Rounds == 77 && s.Keys.Seal.Hash == "sha256" && s.Store.Rounds == 5
		}},
		{"password", []string{"mail_crypt_private_password=%{sha256:password}"}, func(s Settings) bool {
			return string(s.Keys.Password.Bytes()) == "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4"
		}},
		{"empty password is a password", []string{"mail_crypt_private_password="}, func(s Settings) bool {
			return s.Keys.Password.Known() && len(s.Keys.Password.Bytes()) == 0
		}},
		{"require off", []string{"mail_crypt_require_encrypted_user_key=no"}, func(s Settings) bool { return !s.Keys.RequireSealed }},
		{"require on", []string{"mail_crypt_require_encrypted_user_key=TRUE"}, func(s Settings) bool { return s.Keys.RequireSealed }},
		{"unsealed", []string{"mail_crypt_before_first_login=unsealed"}, func(s Settings) bool { return s.Keys.UnsealedFirst }},
		{"keep_unlocked", []string{"mail_crypt_keep_unlocked=90s"}, func(s Settings) bool { return s.KeepUnlocked == 90*time.Second }},
		{"broken seal key still requires a seal", []string{"mail_crypt_private_key=rubbish", "mail_crypt_require_encrypted_user_key=no"}, func(s Settings) bool {
			return s.ReadErr != nil && s.Keys.RequireSealed
		}},
		{"broken global key", []string{"mail_crypt_global_public_key=rubbish"}, func(s Settings) bool { return s.SaveErr != nil && s.Keys.NoGenerate }},
		{"no global key", []string{"mail_crypt_global_public_key="}, func(s Settings) bool { return s.SaveErr == nil && s.Keys.Global == nil }},
		{"Dovecot's own", []string{"mail_crypt_acl_require_secure_key_sharing=yes", "mail_crypt_public_key2=x", "quota_rule=*:storage=1G"}, func(s Settings) bool { return s.SaveErr == nil }},
	} {
		s, err := Resolve(d, user("alice", tt.fields...), []byte("pw"))
		if err != nil || !tt.want(s) {
			t.Errorf("%s: %+v, %v", tt.name, s, err)
		}
	}
}

// TestRefusedFields: a user with a value that cannot be used is refused, by the name of the
// field and without its value.
func TestRefusedFields(t *testing.T) {
	for _, field := range []string{
		"mail_crypt_save_version=", "mail_crypt_save_version=3", "mail_crypt_save_version=2x", "mail_crypt_save_version=yes",
		"mail_save_version=9", "mail_crypt_curve=secret-curve", "mail_crypt_seal_rounds=0", "mail_crypt_seal_rounds=99999999",
		"mail_crypt_seal_rounds=", "mail_crypt_seal_hash=md5", "mail_crypt_message_rounds=100001", "mail_crypt_message_rounds=1e3",
		"mail_crypt_require_encrypted_user_key=", "mail_crypt_require_encrypted_user_key=maybe", "mail_crypt_before_first_login=clear",
		"mail_crypt_keep_unlocked=5", "mail_crypt_keep_unlocked=-1s", "mail_crypt_keep_unlocked=48h", "mail_crypt_private_password=%{",
		"mail_crypt_private_password=%{nonsense}", "mail_crypt_save_verison=2", "mail_crypt_private_key1=x", "mail_crypt_private_key02=x",
		"home=relative", "home=/a\x00b", "mail=mbox:~/mail", "mail=maildir:relative", "mail=maildir:~/M:LAYOUT=odd", "mail=%{",
		"mail_attribute_dict=sqlite:/x", "mail_attribute_dict=bolt:relative", "mail_attribute_dict=file", "mail_attribute_dict=%q",
		"zlib_save=rar", "zlib_save=xz", "zlib_save_level=high", "zlib_save_level=3",
	} {
		_, err := Resolve(defaults("/srv", boltDict), user("alice", field), []byte("hunter2"))
		if !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v, want ErrSettings", field, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", field, err)
		}
	}
	if _, err := Resolve(Defaults{MailLocation: "maildir:~/Maildir"}, user("alice"), nil); !errors.Is(err, ErrSettings) {
		t.Errorf("a user without a home: %v, want ErrSettings", err)
	}
}

// TestAbsentPassword: without a login, a template that needs the password gives no secret,
// and above all not an empty one, however it is written.
func TestAbsentPassword(t *testing.T) {
	for _, template := range []string{
		"%{password}", "%w", "x%{password}", "%{sha256:password}", "%{password | sha256}", "%{sha256;salt=%u:password}",
		"%{pkcs5;rounds=2:password}", "%{password | lower}", "%{user}%w",
	} {
		u := user("alice", "mail_crypt_private_password="+template)
		s, err := Resolve(defaults("/srv", boltDict), u, nil)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if s.Keys.Password.Known() || !s.Keys.Password.Wanted() || !s.Keys.RequireSealed {
			t.Errorf("%s: known %v, wanted %v, sealed %v; want an absent secret", template,
				s.Keys.Password.Known(), s.Keys.Password.Wanted(), s.Keys.RequireSealed)
		}
		if s, err = Resolve(defaults("/srv", boltDict), u, []byte{}); err != nil || !s.Keys.Password.Known() {
			t.Errorf("%s: an empty login password is none: %v", template, err)
		}
	}
}

func TestNumberedKeys(t *testing.T) {
	text := func(c dcrypt.Curve) string {
		key, err := dcrypt.GenerateKey(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(key.Text())
	}
	a, b, c := text(dcrypt.Prime256v1), text(dcrypt.Secp384r1), text(dcrypt.X25519)
	for _, tt := range []struct {
		fields map[string]string
		want   int
	}{
		{map[string]string{"mail_crypt_private_key": a, "mail_crypt_private_key2": b, "mail_crypt_private_key3": c}, 3},
		{map[string]string{"mail_crypt_private_key": a, "mail_crypt_private_key3": c}, 1},
		{map[string]string{"mail_crypt_private_key2": b}, 0},
		{map[string]string{"mail_crypt_private_key": "rubbish", "mail_crypt_private_key2": b}, 1},
	} {
		s, err := Resolve(defaults("/srv", boltDict), &userdb.User{Name: "u", Fields: tt.fields}, nil)
		if err != nil || len(s.Keys.SealKeys) != tt.want {
			t.Errorf("%d fields: %d keys, %v, want %d", len(tt.fields), len(s.Keys.SealKeys), err, tt.want)
		}
	}
}
