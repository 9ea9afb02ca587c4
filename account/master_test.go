package account

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

func (w *world) loginAs(t *testing.T, u *userdb.User) *Login {
	t.Helper()
	l, err := w.LoginAs(context.Background(), u, "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// unsealed takes the password that seals keys off the defaults, or puts it back.
func (w *world) unsealed(on bool) {
	d := defaults(w.dir, fileDict)
	if on {
		delete(d.Crypt, "private_password")
	}
	w.SetDefaults(d)
}

// unchanged fails where the dictionary differs from what it was.
func unchanged(t *testing.T, path string, before map[string]string) {
	t.Helper()
	after := entries(t, path)
	for k, v := range after {
		if before[k] != v {
			t.Errorf("%s was changed", k)
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			t.Errorf("%s is gone", k)
		}
	}
}

// TestMaster: what needs no key works for a master user, what needs one fails for the
// message, and the user's keys stay as they are.
func TestMaster(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, fileDict, 0)
	u := user("alice")
	dict := w.dir + "/alice/dovecot-attributes"
	own := w.login(t, u, "secret")
	if err := own.Create(ctx, "Saved"); err != nil {
		t.Fatal(err)
	}
	uid := save(t, open(t, own, "INBOX"), "Subject: one\r\n\r\nbody\r\n")
	before := entries(t, dict)

	m := w.loginAs(t, u)
	if m.Master() != "admin" || m.User() != "alice" || !strings.Contains(m.Alert(), "cannot be read") {
		t.Errorf("%s as %s: %q", m.Master(), m.User(), m.Alert())
	}
	in := open(t, m, "INBOX")
	var re *storage.ReadError
	if _, err := read(in, uid); !errors.As(err, &re) || re.Kind != storage.NoKey {
		t.Errorf("reading: %v", err)
	}
	if _, err := in.SetFlags(ctx, []mailbox.UID{uid}, mailbox.FlagChange{Flags: mailbox.ParseFlags([]string{`\Flagged`})}); err != nil {
		t.Error(err)
	}
	save(t, in, "Subject: by the master\r\n\r\n")
	unchanged(t, dict, before)
	r, err := in.Copy(ctx, []mailbox.UID{uid}, "Saved")
	if err != nil {
		t.Fatal(err)
	}
	// The user reads all of it, under the ring that was open meanwhile and under a new one.
	for _, l := range []*Login{own, w.login(t, u, "secret")} {
		if got, err := read(open(t, l, "Saved"), r.To[0]); err != nil || !strings.Contains(got, "Subject: one") {
			t.Errorf("%q, %v", got, err)
		}
		if got := texts(t, open(t, l, "INBOX")); len(got) != 2 {
			t.Errorf("%q", got)
		}
	}
	if err := in.Expunge(ctx, []mailbox.UID{uid}); err != nil {
		t.Error(err)
	}
	// While the user's keys are open, a master finds them as closed as before.
	if _, err := read(open(t, w.loginAs(t, u), "Saved"), r.To[0]); !errors.As(err, &re) {
		t.Errorf("reading beside the user: %v", err)
	}
}

// TestMasterMakesNoKey: a user's first key is the user's to make.
func TestMasterMakesNoKey(t *testing.T) {
	for name, fields := range map[string][]string{
		"sealed by a password": nil,
		"open":                 nil,
		"unsealed at first":    {"mail_crypt_before_first_login=unsealed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fileDict, 0)
			w.unsealed(name == "open")
			u := user("bob", fields...)
			m := w.loginAs(t, u)
			if m.Alert() != "" {
				t.Errorf("told %q", m.Alert())
			}
			b := open(t, m, "INBOX")
			if _, err := b.Append(context.Background(), mailbox.SaveInfo{}); !errors.Is(err, keys.ErrNoUserKey) {
				t.Errorf("saving: %v", err)
			}
			unchanged(t, w.dir+"/bob/dovecot-attributes", nil)
		})
	}
}

// TestMasterChangesNothing: weak seals, open keys, foreign and damaged records are what a
// user's login mends. A master's looks on.
func TestMasterChangesNothing(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, fileDict, 0)
	dict := w.dir + "/alice/dovecot-attributes"
	own := w.login(t, user("alice"), "secret")
	save(t, open(t, own, "INBOX"), "Subject: one\r\n\r\n")
	own.Close()
	sealed := entries(t, dict)

	// Stronger seals are wanted now; the master's password happens to be the user's.
	m := w.loginAs(t, user("alice", "mail_crypt_seal_rounds=1000"))
	open(t, m, "INBOX")
	m.Close()
	unchanged(t, dict, sealed)

	// A user whose keys lie open, and are to be sealed.
	openDict := w.dir + "/carol/dovecot-attributes"
	w.unsealed(true)
	l := w.login(t, user("carol"), "")
	uid := save(t, open(t, l, "INBOX"), "Subject: open\r\n\r\n")
	l.Close()
	before := entries(t, openDict)
	w.unsealed(false)
	m = w.loginAs(t, user("carol"))
	if got, err := read(open(t, m, "INBOX"), uid); err != nil || !strings.Contains(got, "Subject: open") {
		t.Errorf("a key that opens without a password: %q, %v", got, err)
	}
	if m.Alert() != "" {
		t.Errorf("told %q", m.Alert())
	}
	unchanged(t, openDict, before)

	// A record that is not a key.
	damaged := maps.Clone(sealed)
	for k := range sealed {
		if strings.HasSuffix(k, "/crypt/active") {
			damaged[k] = "nonsense"
		}
	}
	setEntries(t, dict, damaged)
	m = w.loginAs(t, user("alice"))
	b := open(t, m, "INBOX")
	if _, err := b.Append(ctx, mailbox.SaveInfo{}); err == nil {
		t.Error("saved under a damaged key")
	}
	m.Close()
	unchanged(t, dict, damaged)
}

// TestMasterVariables: templates know who logs in, and no password.
func TestMasterVariables(t *testing.T) {
	d := defaults("/srv", boltDict)
	for template, want := range map[string]string{"%{login_user}-%{master_user}-%{auth_user}": "alice-admin-admin", "%{user}": "alice"} {
		d.Crypt["private_password"] = template
		s, err := resolve(d, user("alice"), nil, "admin", nil)
		if err != nil || string(s.Keys.Password.Bytes()) != want {
			t.Errorf("%s: %q, %v", template, s.Keys.Password.Bytes(), err)
		}
	}
	d.Crypt["private_password"] = "%{login_user}-%{master_user}"
	if s, err := Resolve(d, user("alice"), []byte("x")); err != nil || string(s.Keys.Password.Bytes()) != "alice-" {
		t.Errorf("without a master: %v", err)
	}
	for _, template := range []string{"%w", "%{password}", "%{sha256:password}", "%{password | sha256}"} {
		d.Crypt["private_password"] = template
		s, err := resolve(d, user("alice"), nil, "admin", nil)
		if err != nil || s.Keys.Password.Known() || !s.Keys.Password.Wanted() {
			t.Errorf("%s: known %v, %v", template, s.Keys.Password.Known(), err)
		}
	}
}

// TestMasterAndUserShareNoRing: where no password is in the keys' way, the user's login may
// change them, and the master's may not, though both present the same.
func TestMasterAndUserShareNoRing(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	w.unsealed(true)
	u := user("dave")
	own := w.login(t, u, "")
	m := w.loginAs(t, u)
	if own.ring.ring == m.ring.ring {
		t.Error("one ring for both")
	}
	own.Close()
	save(t, open(t, m, "INBOX"), "Subject: x\r\n\r\n")
}

// setEntries writes pairs of a file dictionary.
func setEntries(t *testing.T, path string, pairs map[string]string) {
	t.Helper()
	d, err := attrdict.OpenFile(path, attrdict.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Update(context.Background(), func(tx attrdict.Tx) error {
		for k, v := range pairs {
			if err := tx.Set(k, []byte(v)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
