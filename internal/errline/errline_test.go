package errline

import "testing"

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"admin: temporary failure: admin: the disk is full: keys: storing folder keys: attrdict: writing /h/keys.db: write /h/keys.db: no space left on device":
		/* */ "the disk is full: storing folder keys: writing /h/keys.db",
		"userdb: changing user dave: durable: creating lock: open /e/users.lock: read-only file system":
		/* */ "changing user dave: creating lock: /e/users.lock: read-only file system",
		"admin: wrong password: keys: opening the active user key: keys: wrong password for user key ab":
		/* */ "opening the active user key: wrong password for user key ab",
		"admin: no such user: carol": "no such user: carol",
		"admin: the dictionary is damaged: account: temporarily unavailable: opening the mail of user a: /h/keys.db: attrdict: corrupt dictionary: damaged database file: no valid meta page":
		/* */ "the dictionary is damaged: opening the mail of user a: /h/keys.db: no valid meta page",
		"user dave-x: userdb: changing user dave-x: broken": "changing user dave-x: broken",
		"one\ntwo\none":            "one; two",
		"keys":                     "keys",
		"admin: temporary failure": "temporary failure",
		"":                         "",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", in, got, want)
		}
	}
}
