package imapd

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/metadata"
)

// withMetadata turns annotations on, beside a key.
func withMetadata(t *testing.T) (*fixture, attrdict.Dict) {
	t.Helper()
	f := newFixture(t)
	dict, err := attrdict.Open("file:~/attributes", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dict.Close() })
	f.user.annotations = metadata.New(dict, metadata.Limits{Value: 100, Mailbox: 4})
	guid, err := f.user.GUID(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	err = dict.Update(t.Context(), func(tx attrdict.Tx) error {
		for _, name := range []string{"vendor/vendor.dovecot/pvt/crypt/active", "vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/crypt/active"} {
			if err := tx.Set("priv/"+guid.String()+"/"+name, []byte("SECRET")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, dict
}

func TestMetadata(t *testing.T) {
	f, _ := withMetadata(t)
	if err := f.user.Create(t.Context(), "Entwürfe"); err != nil {
		t.Fatal(err)
	}
	f.login().script(`
		C: a SETMETADATA INBOX (/private/Comment "mine" /shared/comment {6+}
		C: a "b\c /private/vendor/x/y "")
		S: a OK Setmetadata completed.
		C: b GETMETADATA INBOX /PRIVATE/comment
		S: * METADATA INBOX (/private/comment {4}
		S: mine)
		S: b OK Getmetadata completed.
		C: c GETMETADATA inbox (/shared/comment /private/none "/private/vendor/x/y")
		S: * METADATA INBOX (/shared/comment {6}
		S: a "b\c /private/none NIL /private/vendor/x/y {0}
		S: )
		S: c OK Getmetadata completed.
		C: d GETMETADATA (MAXSIZE 4) INBOX (/shared/comment /private/comment)
		S: * METADATA INBOX (/private/comment {4}
		S: mine)
		S: d OK [METADATA LONGENTRIES 6] Getmetadata completed.
		C: e GETMETADATA INBOX (MAXSIZE 3) (/shared/comment /private/comment)
		S: e OK [METADATA LONGENTRIES 6] Getmetadata completed.
		C: f GETMETADATA (DEPTH 1 MAXSIZE 100) INBOX /private
		S: * METADATA INBOX (/private/comment {4}
		S: mine)
		S: f OK Getmetadata completed.
		C: g GETMETADATA (DEPTH infinity) INBOX (/private /shared)
		S: * METADATA INBOX (/private/comment {4}
		S: mine /private/vendor/x/y {0}
		S:  /shared/comment {6}
		S: a "b\c)
		S: g OK Getmetadata completed.
		C: h GETMETADATA (DEPTH infinity) "" (/private /shared)
		S: h OK Getmetadata completed.
		C: i SETMETADATA "" (/shared/vendor/x "server's")
		S: i OK Setmetadata completed.
		C: j GETMETADATA "" /shared/vendor/x
		S: * METADATA "" (/shared/vendor/x {8}
		S: server's)
		S: j OK Getmetadata completed.
		C: k SETMETADATA INBOX (/private/comment NIL /private/none nil)
		S: k OK Setmetadata completed.
		C: l GETMETADATA INBOX /private/comment
		S: * METADATA INBOX (/private/comment NIL)
		S: l OK Getmetadata completed.
		C: m SETMETADATA Entw&APw-rfe (/private/comment "x")
		S: m OK Setmetadata completed.
		C: n GETMETADATA Entw&APw-rfe /private/comment
		S: * METADATA Entw&APw-rfe (/private/comment {1}
		S: x)
		S: n OK Getmetadata completed.
		C: o GETMETADATA Nowhere /private/comment
		S: o NO [NONEXISTENT] Mailbox doesn't exist.
		C: p SETMETADATA Nowhere (/private/comment "x")
		S: p NO [NONEXISTENT] Mailbox doesn't exist.
		C: q LIST "" * RETURN (METADATA (/private/comment /shared/comment))
		S: * LIST () "/" INBOX
		S: * METADATA INBOX (/private/comment NIL /shared/comment {6}
		S: a "b\c)
		S: * LIST () "/" Entw&APw-rfe
		S: * METADATA Entw&APw-rfe (/private/comment {1}
		S: x /shared/comment NIL)
		S: q OK List completed.
	`)
}

func TestMetadataBinary(t *testing.T) {
	f, _ := withMetadata(t)
	c := f.login()
	c.raw("a SETMETADATA INBOX (/private/bin ~{4+}\r\n\x00\xff\r\n)\r\nb GETMETADATA INBOX /private/bin\r\n")
	c.script("S: a OK Setmetadata completed.\nS: * METADATA INBOX (/private/bin ~{4}")
	if got := c.line() + c.line(); got != "\x00\xff)" {
		t.Errorf("value %q", got)
	}
	c.script("S: b OK Getmetadata completed.")
	c.raw("c SETMETADATA INBOX (/private/bin {2+}\r\n\x00x)\r\n")
	c.script("S: c BAD NUL in a literal.")
}

func TestMetadataRefused(t *testing.T) {
	f, _ := withMetadata(t)
	c := f.login()
	c.script(`
		C: a SETMETADATA INBOX (/private/comment "old")
		S: a OK Setmetadata completed.
		C: b SETMETADATA INBOX (/private/comment "new" /private/vendor/vendor.dovecot/pvt/crypt/active "x")
		S: b NO [CANNOT] Internal mailbox attributes cannot be accessed.
		C: c SETMETADATA INBOX (/private/comment "new" /private/1 "" /private/2 "" /private/3 "" /private/4 "")
		S: c NO [METADATA TOOMANY] There is no room for more annotations.
		C: d SETMETADATA INBOX (/private/comment "new" /private/1 {101}
		S: d NO [METADATA MAXSIZE 100] The value is too large.
		C: e SETMETADATA INBOX (/private/comment "` + strings.Repeat("x", 101) + `")
		S: e NO [METADATA MAXSIZE 100] The value is too large.
		C: f GETMETADATA INBOX /private/comment
		S: * METADATA INBOX (/private/comment {3}
		S: old)
		S: f OK Getmetadata completed.
	`)
	for _, line := range []string{
		"GETMETADATA", "GETMETADATA INBOX", "GETMETADATA INBOX ()", "GETMETADATA INBOX comment", "GETMETADATA INBOX /private/*", "GETMETADATA INBOX (/private/x DEPTH 1)",
		"GETMETADATA (DEPTH 2) INBOX /private", "GETMETADATA (DEPTH) INBOX /private", "GETMETADATA (MAXSIZE -1) INBOX /private", "GETMETADATA (MAXSIZE 99999999999) INBOX /private",
		"GETMETADATA (SIZE 1) INBOX /private", "GETMETADATA INBOX (MAXSIZE 1)", "GETMETADATA INBOX (MAXSIZE 1) ()", "GETMETADATA INBOX /private/x /private/y", "GETMETADATA INBOX (DEPTH 1 /private/x)",
		"SETMETADATA", "SETMETADATA INBOX", "SETMETADATA INBOX ()", "SETMETADATA INBOX (/private/x)", "SETMETADATA INBOX (/private/x atom)", "SETMETADATA INBOX /private/x \"y\"",
		"SETMETADATA INBOX (/private/x (\"y\"))", "SETMETADATA INBOX (/private//x \"y\")", "SETMETADATA INBOX (/private/x \"y\") z", `LIST "" * RETURN (METADATA)`,
		`LIST "" * RETURN (METADATA ())`, `LIST "" * RETURN (METADATA (comment))`, `SETMETADATA "" (/other/x "y")`,
	} {
		c.send("x " + line)
		if got := c.until("x "); len(got) != 1 || !strings.HasPrefix(got[0], "x BAD ") {
			t.Errorf("%s: %q", line, got)
		}
		c.script("C: y NOOP\nS: y OK Noop completed.")
	}
}

// No spelling that arrives on the wire leads to what the keys are kept under.
func TestMetadataNoKeys(t *testing.T) {
	f, dict := withMetadata(t)
	c := f.login()
	const active = "vendor/vendor.dovecot/pvt/crypt/active"
	for _, scope := range []string{"/private/", "/PRIVATE/", "/shared/"} {
		for _, rest := range []string{active, strings.ToUpper(active), "vendor/vendor.dovecot/pvt", "vendor/vendor.dovecot", "vendor/vendor.dovecot/pvt/server/" + active,
			"vendor/vendor.dovecot/pvt/server", "vendor//vendor.dovecot/pvt/crypt/active", "vendor/./vendor.dovecot/pvt/crypt/active", "vendor/x/../vendor.dovecot/pvt/crypt/active",
			active + "/", "%", "*", "vendor/vendor.dovecot/%/crypt/active", "vendor/vendor.dovecot/&AHA-vt/crypt/active", "vendor/vendor.dovecot/pvt/crypt/a&AGM-tive"} {
			for _, box := range []string{`""`, "INBOX", `"inbox"`, "inBOX"} {
				for _, command := range []string{
					"GETMETADATA " + box + ` "` + scope + rest + `"`,
					"GETMETADATA (DEPTH 1) " + box + ` "` + scope + rest + `"`,
					"GETMETADATA (DEPTH infinity) " + box + ` ("` + scope + rest + `" /private /shared /private/vendor)`,
					"GETMETADATA (DEPTH infinity MAXSIZE 0) " + box + ` ("` + scope + rest + `" /private /shared)`,
				} {
					c.send("x " + command)
					if got := strings.Join(c.until("x "), "\n"); strings.Contains(got, "SECRET") || strings.Contains(got, "LONGENTRIES") ||
						strings.Contains(got, "active {") {
						t.Errorf("%s: %q", command, got)
					}
				}
				if strings.Contains(rest, "&") || strings.HasSuffix(rest, "dovecot") {
					continue // names like others
				}
				for _, value := range []string{"NIL", `"x"`} {
					c.send("x SETMETADATA " + box + ` ("` + scope + rest + `" ` + value + ")")
					if got := c.until("x "); strings.HasPrefix(got[0], "x OK") {
						t.Errorf("%s of %s was set", scope+rest, box)
					}
					c.script("C: y NOOP\nS: y OK Noop completed.")
				}
			}
		}
	}
	n := 0
	err := dict.View(context.Background(), func(r attrdict.Reader) error {
		return r.Iterate("", func(_ string, value []byte) error {
			if n++; string(value) != "SECRET" {
				t.Errorf("the dictionary holds %q", value)
			}
			return nil
		})
	})
	if err != nil || n != 2 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestMetadataOff(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.script(`
		C: a GETMETADATA INBOX /private/comment
		S: a NO [CANNOT] Mailbox attributes are not enabled.
		C: b SETMETADATA INBOX (/private/comment "x")
		S: b NO [CANNOT] Mailbox attributes are not enabled.
		C: c SETMETADATA INBOX (/private/comment {1}
		S: c NO [CANNOT] Mailbox attributes are not enabled.
		C: d LIST "" * RETURN (METADATA /private/comment)
		S: d NO [CANNOT] Mailbox attributes are not enabled.
		C: e CAPABILITY
	`)
	if got := strings.Join(c.until("e "), ""); strings.Contains(got, "METADATA") {
		t.Errorf("offered: %q", got)
	}
	f, _ = withMetadata(t)
	c = f.login()
	c.send("e CAPABILITY")
	if got := strings.Join(c.until("e "), ""); !strings.Contains(got, " METADATA LIST-METADATA ") {
		t.Errorf("not offered: %q", got)
	}
}

// memoryDict is a dictionary for one session.
type memoryDict map[string][]byte

func (m memoryDict) View(_ context.Context, fn func(attrdict.Reader) error) error { return fn(m) }
func (m memoryDict) Update(_ context.Context, fn func(attrdict.Tx) error) error   { return fn(m) }
func (m memoryDict) Set(key string, value []byte) error                           { m[key] = bytes.Clone(value); return nil }
func (m memoryDict) Unset(key string) error                                       { delete(m, key); return nil }
func (m memoryDict) Close() error                                                 { return nil }

func (m memoryDict) Get(key string) ([]byte, error) {
	if v, ok := m[key]; ok {
		return v, nil
	}
	return nil, attrdict.ErrNotFound
}

func (m memoryDict) Iterate(prefix string, fn func(string, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, prefix) {
			if err := fn(key, m[key]); err != nil {
				return err
			}
		}
	}
	return nil
}
