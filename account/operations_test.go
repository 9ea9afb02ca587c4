package account

import (
	"context"
	"testing"

	"mailcrypt/dcrypt"
)

// TestLoginOperations counts the operations on curves of sessions that read nothing: the first
// of a process computes the user key's point and opens INBOX's key once, behind the login; later
// ones compute nothing, be it beside a live session or with the keys opened anew.
func TestLoginOperations(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	l := w.login(t, user("alice"), "pw")
	m := open(t, l, "INBOX")
	save(t, m, "Subject: x\n\n")
	m.Close()
	l.Close()
	if err := w.Registry.Close(); err != nil {
		t.Fatal(err)
	}

	again := &world{dir: w.dir, Registry: NewRegistry(Options{Defaults: defaults(w.dir, boltDict)})}
	t.Cleanup(func() { again.Registry.Close() })
	var points, agreements int64
	cost := func(name string, wantPoints, wantAgreements int64) {
		t.Helper()
		computed, agreed := again.memory.Known().Operations()
		if computed-points != wantPoints || agreed-agreements != wantAgreements {
			t.Errorf("%s: %d points computed and %d agreements, want %d and %d", name, computed-points, agreed-agreements, wantPoints, wantAgreements)
		}
		points, agreements = computed, agreed
	}
	session := func() *Login {
		l := again.login(t, user("alice"), "pw")
		m := open(t, l, "INBOX")
		if n := m.View().Len(); n != 1 || l.Locked() {
			t.Errorf("%d messages, locked %v", n, l.Locked())
		}
		m.Close()
		return l
	}
	session().Close()
	cost("the first login", 2, 1)
	session().Close()
	cost("a second one", 0, 0)
	live := session()
	session().Close()
	cost("one beside a live one", 0, 0)
	live.Close()
	if n := len(again.accounts); n != 1 {
		t.Errorf("%d accounts are open", n)
	}
	for _, a := range again.accounts {
		if len(a.rings.all) != 0 || len(a.rings.open) != 0 {
			t.Error("keys are kept after the last session")
		}
	}
	wrong := again.login(t, user("alice"), "wrong")
	if !wrong.Locked() {
		t.Error("a wrong secret opens the keys")
	}
	wrong.Close()
	if err := again.deliver(t, user("alice"), "Subject: y\n\n"); err != nil {
		t.Fatal(err)
	}
	points, agreements = again.memory.Known().Operations()
	l, err := again.Login(context.Background(), user("alice"), []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	m = open(t, l, "INBOX")
	save(t, m, "Subject: z\n\n")
	cost("the first message that a session saves", 0, 0)
	if got := texts(t, m); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
	m.Close()
	l.Close()
}

// TestConfiguredKeysAreReadOnce: configured keys cost nothing on the curve after the first login or
// delivery, and the public one is the same key each time, which is faster the more it is used.
func TestConfiguredKeysAreReadOnce(t *testing.T) {
	key, err := dcrypt.GenerateKey(dcrypt.Secp521r1)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, boltDict, 0)
	u := user("alice", "mail_crypt_global_public_key="+key.Public().Text(), "mail_crypt_global_private_key="+string(key.PEM()))
	first, err := w.Settings(u, nil)
	if err != nil || first.Keys.Global == nil || len(first.Keys.GlobalPrivate) != 1 {
		t.Fatal(err)
	}
	second, err := w.Settings(u, nil)
	if err != nil || second.Keys.Global != first.Keys.Global {
		t.Errorf("the public key was read twice: %v", err)
	}
	if computed, _ := w.memory.Known().Operations(); computed != 1 {
		t.Errorf("%d points computed", computed)
	}
	if err := w.deliver(t, u, "Subject: x\n\n"); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, open(t, w.login(t, u, "pw"), "INBOX")); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}
