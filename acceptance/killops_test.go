package acceptance

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mailcrypt/attrdict"
)

// byKey is the opener of keys that are sealed to the key of the tests.
func byKey() opener {
	return opener{name: "key", password: "pw", fields: "$FIELD", options: []string{"--key-file", "$PRIVATE"}}
}

// killOperations are the operations on keys.
func killOperations() []killOperation {
	password := func(more ...string) []string { return append([]string{"cryptokey", "password", "-u", "u"}, more...) }
	generate := func(more ...string) []string { return append([]string{"cryptokey", "generate", "-u", "u"}, more...) }
	login := func(p string) opener {
		return opener{name: p, password: p, options: []string{"--password-file", "-"}, stdin: p + "\n"}
	}
	all := []string{"inbox-1", "box-1", "late-1"}
	return []killOperation{
		{name: "password", from: "several", old: s0, new: s1, args: password("-o", "s0-old", "-n", "s1-new")},
		{name: "password-to-none", from: "several", old: s0, new: openKeys(), keeps: true, newFirst: true, args: password("-o", "s0-old", "-C")},
		{name: "none-to-password", from: "open", old: openKeys(), new: s1, args: password("-o", "x", "-n", "s1-new")},
		{name: "password-to-key", from: "several", old: s0, new: byKey(), args: password("-o", "s0-old", "--to-key-file", "$PUBLIC")},
		{name: "key-to-password", from: "bykey", old: byKey(), new: s1, args: password("--key-file", "$PRIVATE", "-n", "s1-new")},
		{name: "keep-old", from: "several", old: s0, new: s1, args: password("-o", "s0-old", "-n", "s1-new", "--keep-old", "1h")},
		{name: "undo", done: 68, from: "kept", old: s1, new: s0, args: []string{"cryptokey", "undo", "-u", "u"}},
		{name: "prepare", from: "several", old: s0, new: s0, args: password("-o", "s0-old", "-n", "s1-new", "--prepare")},
		{name: "commit", from: "prepared", old: s0, new: s1, args: []string{"cryptokey", "commit", "-u", "u", "$TOKEN"}},
		{name: "abandon", from: "prepared", old: s0, new: s0, args: []string{"cryptokey", "commit", "-u", "u", "--abandon", "$TOKEN"}},
		{name: "mailbox-password", from: "several", old: s0, new: s1, args: []string{"mailbox", "cryptokey", "password", "-u", "u", "-o", "s0-old", "-n", "s1-new"}},
		{name: "user-password", from: "byLogin", old: login("p0"), new: login("p1"), stdin: "p0\np1\n", args: []string{"user", "password", "-u", "u", "-s", "SHA256"}},
		{name: "user-password-keep-old", from: "byLogin", old: login("p0"), new: login("p1"), stdin: "p0\np1\n",
			args: []string{"user", "password", "-u", "u", "-s", "SHA256", "--keep-old", "1h"}},
		{name: "generate-user-key", from: "several", old: s0, new: s0, args: generate("--user-key", "--force")},
		{name: "generate-folder-keys", from: "several", old: s0, new: s0, args: generate("--force", "*")},
		{name: "generate-rewrap", from: "several", old: s0, new: s0, args: generate("--user-key", "--force", "--rewrap")},
		{name: "rewrap", from: "several", old: s0, new: s0, args: []string{"cryptokey", "rewrap", "-u", "u"}},
		{name: "mailbox-generate", from: "several", old: s0, new: s0, args: []string{"mailbox", "cryptokey", "generate", "-u", "u", "-U", "-R", "-f"}},
		{name: "retire", from: "unneeded", old: s0, new: s0, args: []string{"cryptokey", "retire", "-u", "u", "--unneeded"}},
		{name: "retire-confirmed", done: 68, from: "doomed", old: s0, new: s0, may: []string{"box-1"}, loses: []string{"box-1"},
			args: []string{"cryptokey", "retire", "-u", "u", "--confirm", "$CODE", "$DOOMED"}},
		{name: "dict-copy", from: "several", old: s0, new: s0, alone: true, args: []string{"dict", "copy", "--merge", "-u", "u", "$DICT", "$OTHER"}},
		{name: "import-sealed", from: "bereft", old: s0, new: s0, may: all, stdin: s0.stdin,
			args: append([]string{"cryptokey", "import", "-u", "u", "$SEALED"}, s0.options...)},
		{name: "import-clear", from: "bereft", old: s0, new: s0, may: all, stdin: s0.stdin,
			args: append([]string{"cryptokey", "import", "-u", "u", "$CLEAR"}, s0.options...)},
	}
}

// backdateRotated sets the times since when keys are not active to an hour ago.
func backdateRotated(d attrdict.Dict) error {
	then := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	n := 0
	err := d.Update(context.Background(), func(tx attrdict.Tx) error {
		return tx.Iterate("", func(key string, _ []byte) error {
			if !strings.Contains(key, "/rotated/") {
				return nil
			}
			n++
			return tx.Set(key, []byte(then))
		})
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("no key has been rotated")
	}
	return err
}
