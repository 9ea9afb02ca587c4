package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const referencePath = "../docs/configuration.md"

// TestReference compares docs/configuration.md with the table of settings. With
// UPDATE=1 it writes the file.
func TestReference(t *testing.T) {
	want := reference()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is not what the settings say: UPDATE=1 go test ./config -run TestReference")
	}
}

func reference() string {
	var b strings.Builder
	b.WriteString(intro)
	table := "?"
	for _, s := range Settings {
		if s.Table != table {
			table = s.Table
			head := "[" + table + "]"
			switch table {
			case "":
				head = "At the top"
			case "mailbox":
				head = "[[mailbox]]"
			}
			fmt.Fprintf(&b, "\n### %s\n\n%s| setting | default | meaning |\n|---|---|---|\n", head, tableDocs[table])
		}
		def := s.Default
		if def != "" && !strings.Contains(def, " ") {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, def, strings.ReplaceAll(s.Doc, "|", `\|`))
	}
	b.WriteString(fields)
	return b.String()
}

const intro = `# Configuration

<!-- Made from config.Settings: UPDATE=1 go test ./config -run TestReference -->

The file is TOML; ` + "`mailcryptd check-config -c FILE`" + ` looks it over and touches nothing. An unknown or
malformed setting is an error that names the file, the line and the setting. Relative paths are
relative to the file. SIGHUP reads the file again: what concerns users, the certificate and the log
level change at once, for logins and deliveries that begin from then on; addresses, ` + "`[tls]`" + ` on or off,
` + "`passwd_file`" + `, ` + "`username_format`" + ` and ` + "`state_dir`" + ` with a restart. A file with an error changes nothing.

## Settings
`

var tableDocs = map[string]string{
	"mailbox": "One such table for each folder with a role, or that is made at a login.\n\n",
	"mail_crypt": "Dovecot's settings without their prefix `mail_crypt_`. All of them can be a field of a user's, with\n" +
		"the prefix. Keys are numbered as in Dovecot: `private_key`, `private_key2`, `private_key3` and so on,\n" +
		"up to the first number that is missing, each with its `_password`. A value `\"<FILE\"` is read from\n" +
		"FILE, without the newline at its end; FILE must be a regular file and not empty.\n\n",
	"quota": "Dovecot's settings without their prefix `quota_`. All of them can be a field of a user's, with the prefix,\n" +
		"and beat each its own here: a user's `quota_rule` leaves `rule2` as it is. A rule is a mask of folder names,\n" +
		"with `*` and `?`, and what it limits: `storage` (KiB without a unit), `bytes` or `messages`, with a unit `B`,\n" +
		"`k`, `M`, `G`, `T` or `%`. The mask `*` alone is the user's limit; other rules add to it for what is saved to\n" +
		"that folder, and `ignore` leaves the folder out.\n\n",
	"metrics": "What is told holds no name of a user and nothing of mail.\n\n",
}

const fields = `
## Users

` + "`passwd_file`" + ` is Dovecot's passwd-file, one user a line:

    name:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields

It is watched; a changed line counts from the next login or delivery. A user whose line cannot be used is
refused, and nobody else. ` + "`doveadm-crypt pw`" + ` makes hashes. Extra fields are separated by blanks. They may
carry Dovecot's prefix ` + "`userdb_`" + `; one with the prefix wins over one without.

| field | meaning |
|---|---|
| ` + "`home`" + ` | the home, absolute; beats ` + "`mail_home`" + ` and the column |
| ` + "`mail`" + ` | beats ` + "`mail_location`" + `; empty: it does not |
| ` + "`mail_attribute_dict`" + ` | beats the setting; empty: no dictionary, which is enough for global keys |
| ` + "`mail_crypt_save_version`" + ` | turns encryption on (2) or off (0) for the user; also under the name ` + "`mail_save_version`" + `, which counts where the other is missing |
| ` + "`mail_crypt_NAME`" + ` | beats NAME of ` + "`[mail_crypt]`" + `; a name that is no setting refuses the user, for a slip must not leave mail in clear |
| ` + "`zlib_save`, `zlib_save_level`" + ` | beat ` + "`save` and `save_level` of `[zlib]`" + ` |
| ` + "`quota_rule`, `quota_rule2`, `quota_NAME`" + ` | beat ` + "`rule`, `rule2`, `NAME`" + ` of ` + "`[quota]`" + `; ` + "`quota`" + ` beats ` + "`root`" + `, and an empty one turns quota off for the user |
| ` + "`imap_metadata`" + ` | beats ` + "`metadata` of `[imap]`" + ` |
| ` + "`allow_nets`" + ` | networks from which the user may log in, separated by commas: ` + "`127.0.0.0/8,2001:db8::/32,192.0.2.7`" + `; ` + "`local`" + ` stands for connections without an address. What is no network admits nobody |
| ` + "`nologin`" + ` | refuses logins; deliveries go on |
| ` + "`uid`, `gid`" + ` | read and not used: files belong to the user as whom mailcryptd runs |

Other fields are left to Dovecot. Values are strict: booleans are yes, y, true, 1 and on, or no, n, false,
0 and off, numbers have their bounds, and a value that cannot be used refuses the user: the login fails,
a delivery is deferred, and nothing is stored in clear instead.

## Variables

` + "`mail_home`, `mail_location`, `mail_attribute_dict`, `private_password`" + ` and users' fields are templates. Dovecot 2.3's
and 2.4's words are understood:

| 2.3 | 2.4 | is |
|---|---|---|
| ` + "`%u`, `%{user}` | `%{user}`" + ` | user@domain |
| ` + "`%n`, `%{username}` | `%{user \\| username}`" + ` | the part before the @ |
| ` + "`%d`, `%{domain}` | `%{user \\| domain}`" + ` | the part after it |
| ` + "`%h`, `%{home}` | `%{home}`" + ` | the home |
| ` + "`%w`, `%{password}` | `%{password}`" + ` | the password of the login |
| ` + "`%Lu`" + ` | ` + "`%{user \\| lower}`" + ` | in lower case; U, E, X, R, M, N, H, D and T modify too |
| ` + "`%{sha256:password}`" + ` | ` + "`%{password \\| sha256}`" + ` | a hash, in hexadecimal; with rounds, salt, format, truncate |
| ` + "`%{pkcs5;rounds=N,salt=S:password}`" + ` | | PBKDF2 |
| ` + "`%%`" + ` | ` + "`%%`" + ` | a percent sign |

` + "`go doc mailcrypt/userdb.Expand`" + ` has them all. Only a login knows the password. Where a template needs it
and there is no login, a delivery say, the password is absent, which is not an empty one: keys that
exist are used, and no key is made, see ` + "`before_first_login`" + `.
`
