package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/userdb"
)

var ctx = context.Background()

const (
	fileDict = "file:~/dovecot-attributes"
	boltDict = "bolt:~/keys.db"
)

func TestDeliveryWaitsForTheFirstLogin(t *testing.T) {
	for _, dict := range []string{fileDict, boltDict} {
		w := newWorld(t, dict, 0)
		u := user("alice")
		if err := w.deliver(t, u, "Subject: canary\n\n"); !errors.Is(err, keys.ErrNoUserKey) {
			t.Fatalf("before the first login: %v, want ErrNoUserKey", err)
		}
		noWord(t, w.dir, "canary")
		l := w.login(t, u, "pw")
		if err := w.deliver(t, u, "Subject: canary\n\ntext\n"); err != nil {
			t.Fatal(err)
		}
		noWord(t, w.dir, "canary")
		if got := texts(t, open(t, l, "INBOX")); len(got) != 1 || got[0] != "Subject: canary\r\n\r\ntext\r\n" {
			t.Errorf("the message came back as %q", got)
		}
		if l.Alert() != "" {
			t.Error(l.Alert())
		}
	}
}

// TestWrongSecret logs in with a password that the login database takes and the keys do
// not, as after a reset by an administrator.
func TestWrongSecret(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	u := user("alice")
	if err := w.login(t, u, "pw").Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.deliver(t, u, "Subject: one\n\n"); err != nil {
		t.Fatal(err)
	}
	dict := filepath.Join(w.dir, "alice", "dovecot-attributes")
	before := entries(t, dict)
	l := w.login(t, u, "reset")
	if l.Alert() == "" {
		t.Error("the user is not told that the keys do not open")
	}
	m := open(t, l, "INBOX")
	v, err := m.Sync(ctx)
	if err != nil || v.Len() != 1 {
		t.Fatal(v.Len(), err)
	}
	var re *storage.ReadError
	if _, err := read(m, 1); !errors.As(err, &re) || re.Kind != storage.NoKey {
		t.Errorf("reading: %v, want NoKey", err)
	}
	if err := l.Create(ctx, "Moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Move(ctx, []mailbox.UID{1}, "Moved"); err != nil {
		t.Error("moving what cannot be read: ", err)
	}
	l.Close()
	after := entries(t, dict)
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s was changed by a login whose secret is wrong", name)
		}
	}
	right := w.login(t, u, "pw")
	if got := texts(t, open(t, right, "Moved")); len(got) != 1 || !strings.Contains(got[0], "one") {
		t.Errorf("with the right secret: %q", got)
	}
}

// TestRingIsShared counts how often keys are opened, by what a login logs.
func TestRingIsShared(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	u := user("alice", "mail_crypt_keep_unlocked=1h")
	a, b := w.login(t, u, "pw"), w.login(t, u, "pw")
	if a.ring != b.ring {
		t.Error("two logins with one secret do not share a ring")
	}
	if c := w.login(t, u, "other"); c.ring == a.ring {
		t.Error("a login with another secret shares the ring")
	}
	a.Close()
	a.Close() // must not take b's share
	uid := save(t, open(t, b, "INBOX"), "Subject: x\n\n")
	if _, err := read(open(t, b, "INBOX"), uid); err != nil {
		t.Error("after another login has ended twice: ", err)
	}
	shared := b.ring
	b.Close()
	c := w.login(t, u, "pw")
	if c.ring != shared {
		t.Error("keep_unlocked does not keep the ring")
	}
	d := w.login(t, user("alice", "mail_crypt_private_password=fixed"), "pw")
	if d.ring == c.ring {
		t.Error("another template shares the ring though its secret is another")
	}
}

// TestForeignUserKeyUnderASharedRing plants a user key while a session holds the ring open:
// the next login must look for itself.
func TestForeignUserKeyUnderASharedRing(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	u := user("alice")
	first := w.login(t, u, "pw")
	guid := open(t, first, "INBOX").GUID()
	key, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := attrdict.OpenFile(filepath.Join(w.dir, "alice", "dovecot-attributes"), attrdict.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	server := guid.String() + "/vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/crypt/"
	if err := d.Update(ctx, func(tx attrdict.Tx) error {
		return errors.Join(tx.Set("shared/"+server+"active", []byte(key.ID().String())),
			tx.Set("shared/"+server+"pubkeys/"+key.ID().String(), []byte(key.Public().Text())),
			tx.Set("priv/"+server+"privkeys/"+key.ID().String(), key.Text()))
	}); err != nil {
		t.Fatal(err)
	}
	second := w.login(t, u, "pw")
	if second.ring == first.ring {
		t.Error("the login shares a ring though the active user key is a foreign one")
	}
	all := entries(t, filepath.Join(w.dir, "alice", "dovecot-attributes"))
	if all["shared/"+server+"active"] == key.ID().String() {
		t.Error("the foreign key is still active after a login")
	}
	if _, err := read(open(t, first, "INBOX"), save(t, open(t, first, "INBOX"), "Subject: x\n\n")); err != nil {
		t.Error("the first session: ", err)
	}
}

// TestFieldsChangeWhileOpen changes what a user's fields say, while sessions under the old
// ones go on. Both use one bolt file.
func TestFieldsChangeWhileOpen(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	old := w.login(t, user("alice"), "pw")
	uid := save(t, open(t, old, "INBOX"), "Subject: old\n\n")
	for _, fields := range [][]string{
		{"mail_crypt_save_version=0"},
		{"mail=maildir:~/Other"},
		{"mail_attribute_dict=bolt:%h/keys.db"},
		{"mail_attribute_dict=bolt:" + w.dir + "/alice/../alice/keys.db"},
	} {
		u := user("alice", fields...)
		l := w.login(t, u, "pw")
		save(t, open(t, l, "INBOX"), "Subject: new\n\n")
		if err := w.deliver(t, u, "Subject: delivered\n\n"); err != nil {
			t.Errorf("%s: %v", fields, err)
		}
		if _, err := read(open(t, old, "INBOX"), uid); err != nil {
			t.Errorf("%s: the old session: %v", fields, err)
		}
		l.Close()
	}
	// Two users of one home.
	b := user("bob", "home="+w.dir+"/alice")
	l := w.login(t, b, "pw")
	if got := texts(t, open(t, l, "INBOX")); len(got) == 0 {
		t.Error("a second user of the home sees no mail")
	}
}

func TestSwitchingEncryption(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	on, off := user("alice"), user("alice", "mail_crypt_save_version=0")
	root := filepath.Join(w.dir, "alice", "Maildir")
	for i, u := range []*userdb.User{on, off, on, off} {
		l := w.login(t, u, "pw")
		save(t, open(t, l, "INBOX"), fmt.Sprintf("Subject: s%d\n\n", i))
		if err := w.deliver(t, u, fmt.Sprintf("Subject: d%d\n\n", i)); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	clear := 0
	for _, text := range stored(t, root) {
		if !encrypted(text) {
			clear++
		}
	}
	if clear != 4 {
		t.Errorf("%d of 8 messages are in clear, want 4", clear)
	}
	if got := texts(t, open(t, w.login(t, on, "pw"), "INBOX")); len(got) != 8 {
		t.Errorf("%d of 8 messages are readable", len(got))
	}
}

func TestIdleCloseAndReopen(t *testing.T) {
	w := newWorld(t, boltDict, time.Millisecond)
	u := user("alice")
	l := w.login(t, u, "pw")
	save(t, open(t, l, "INBOX"), "Subject: x\n\n")
	l.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 10 {
				if n%2 == 0 {
					if err := w.deliver(t, u, fmt.Sprintf("Subject: %d %d\n\n", i, n)); err != nil {
						t.Error(err)
					}
				} else {
					l, err := w.Login(ctx, u, []byte("pw"))
					if err != nil {
						t.Error(err)
						continue
					}
					l.Close()
					l.Close()
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if got := texts(t, open(t, w.login(t, u, "pw"), "INBOX")); len(got) != 41 {
		t.Errorf("%d of 41 messages are there", len(got))
	}
}

func TestClosedRegistry(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	r := NewRegistry(Options{Defaults: defaults(w.dir, boltDict)})
	l, err := r.Login(ctx, user("bob"), []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Login(ctx, user("bob"), []byte("pw")); !errors.Is(err, ErrTemporary) {
		t.Errorf("a login after Close: %v, want ErrTemporary", err)
	}
	if _, err := r.Deliver(ctx, user("bob")); !errors.Is(err, ErrTemporary) {
		t.Errorf("a delivery after Close: %v, want ErrTemporary", err)
	}
	m := open(t, l, "INBOX")
	if _, err := read(m, save(t, m, "Subject: x\n\n")); err != nil {
		t.Error("a session that goes on: ", err)
	}
	m.Close()
	l.Close()
	// The files are free now.
	other := NewRegistry(Options{Defaults: defaults(w.dir, boltDict)})
	defer other.Close()
	again, err := other.Login(ctx, user("bob"), []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestUnusableDictionary(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	home := filepath.Join(w.dir, "alice")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "keys.db"), []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Login(ctx, user("alice"), []byte("pw")); !errors.Is(err, ErrTemporary) {
			t.Errorf("a login: %v, want ErrTemporary", err)
		}
		if err := w.deliver(t, user("alice"), "Subject: canary\n\n"); !errors.Is(err, ErrTemporary) {
			t.Errorf("a delivery: %v, want ErrTemporary", err)
		}
	}
	noWord(t, w.dir, "canary")
	if err := os.Remove(filepath.Join(home, "keys.db")); err != nil {
		t.Fatal(err)
	}
	w.login(t, user("alice"), "pw") // what failed is not kept
}

func TestWithoutDictionary(t *testing.T) {
	w := newWorld(t, "", 0)
	u := user("alice")
	l := w.login(t, u, "pw")
	if _, err := open(t, l, "INBOX").Append(ctx, mailbox.SaveInfo{}); err == nil {
		t.Error("a message can be saved encrypted though no key can be stored")
	}
	key, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	global := user("bob", "mail_crypt_global_public_key="+string(key.Public().Text()), "mail_crypt_global_private_key="+string(key.Text()))
	if err := w.deliver(t, global, "Subject: canary\n\n"); err != nil {
		t.Fatal(err)
	}
	noWord(t, w.dir, "canary")
	g := w.login(t, global, "pw")
	if got := texts(t, open(t, g, "INBOX")); len(got) != 1 {
		t.Errorf("global keys read %q", got)
	}
}

// TestBrokenGlobalKey must not fall back to anything.
func TestBrokenGlobalKey(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	u := user("alice", "mail_crypt_global_public_key=rubbish")
	l := w.login(t, u, "pw")
	if _, err := open(t, l, "INBOX").Append(ctx, mailbox.SaveInfo{}); !errors.Is(err, ErrSettings) {
		t.Errorf("APPEND: %v, want ErrSettings", err)
	}
	if err := w.deliver(t, u, "Subject: canary\n\n"); !errors.Is(err, ErrSettings) {
		t.Errorf("a delivery: %v, want ErrSettings", err)
	}
	noWord(t, w.dir, "canary")
	if all := entries(t, filepath.Join(w.dir, "alice", "dovecot-attributes")); len(all) != 0 {
		t.Errorf("keys were made beside a broken global key: %v", maps.Keys(all))
	}
}

func TestAppendLimit(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	d := defaults(w.dir, boltDict)
	d.AppendLimit = 100
	w.SetDefaults(d)
	u := user("alice")
	l := w.login(t, u, "pw")
	large := "Subject: large\n\n" + strings.Repeat("x", 200) + "\n"
	a, err := open(t, l, "INBOX").Append(ctx, mailbox.SaveInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte(large)); !errors.Is(err, mailbox.ErrTooLarge) {
		t.Errorf("APPEND above the limit: %v, want ErrTooLarge", err)
	}
	a.Abort()
	if err := w.deliver(t, u, large); err != nil {
		t.Error("the limit of APPEND stops a delivery: ", err)
	}
}
