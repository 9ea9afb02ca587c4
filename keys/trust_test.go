package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// dump is everything in a dictionary.
func dump(t *testing.T, d attrdict.Dict) string {
	t.Helper()
	var all strings.Builder
	if err := d.View(context.Background(), func(r attrdict.Reader) error {
		return r.Iterate("", func(name string, value []byte) error {
			fmt.Fprintf(&all, "%s=%s\n", name, value)
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// plant stores a key pair at a level and makes it active, as whoever can write the
// dictionary can.
func plant(t *testing.T, d attrdict.Dict, l level, key *dcrypt.PrivateKey, private []byte) {
	t.Helper()
	id := key.ID().String()
	set(t, d, l.public(id), key.Public().Text())
	set(t, d, l.private(id), string(private))
	set(t, d, l.active(), id)
}

func wrap(t *testing.T, key *dcrypt.PrivateKey, to *dcrypt.PublicKey) []byte {
	t.Helper()
	text, err := dcrypt.SealKey(key, to, dcrypt.SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func activeUser(t *testing.T, d attrdict.Dict) *dcrypt.PublicKey {
	t.Helper()
	pub, err := dcrypt.ParsePublicKey([]byte(value(t, d, userLevel(inbox).public(value(t, d, userLevel(inbox).active())))))
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// TestPlantedUserKey puts a user key into the dictionary that opens without the login's
// secret: in clear, or wrapped by the user's public key, which is no secret. It may read what
// is encrypted to it; but no new mail may hang on it, and no login may seal it as if it were
// the user's.
func TestPlantedUserKey(t *testing.T) {
	ctx := context.Background()
	for name, text := range map[string]func(*testing.T, attrdict.Dict) []byte{
		"in clear": func(*testing.T, attrdict.Dict) []byte { return foreign.Text() },
		"wrapped":  func(t *testing.T, d attrdict.Dict) []byte { return wrap(t, foreign, activeUser(t, d)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDict(t)
			firstLogin(t, d)
			k := New(d, inbox, userConfig("old"), nil)
			delivery := New(d, inbox, config(Config{Password: AbsentSecret(), RequireSealed: true}), nil)
			good := keptMail(t, d)
			plant(t, d, userLevel(inbox), foreign, text(t, d))
			planted := value(t, d, userLevel(inbox).private(foreign.ID().String()))
			// A delivery cannot tell; the folder key that it makes is the attacker's to read.
			tainted, err := delivery.PublicKey(ctx, other, Secret{})
			if err != nil {
				t.Fatal(err)
			}
			r := unlock(t, k, Secret{})
			if value(t, d, userLevel(inbox).active()) == foreign.ID().String() {
				t.Error("after a login the planted key is the active one")
			}
			if got := value(t, d, userLevel(inbox).private(foreign.ID().String())); got != planted {
				t.Error("the login has sealed the planted key as the user's")
			}
			for _, pub := range []*dcrypt.PublicKey{good, tainted} {
				if err := readable(t, pub, r); err != nil {
					t.Error("mail is not readable any more: ", err)
				}
			}
			pub, err := k.SaveKey(ctx, r, other)
			if err != nil {
				t.Fatal(err)
			}
			if pub.Equal(tainted) {
				t.Error("new mail goes to a folder key that the planted key wraps")
			}
			if owns, err := r.ownsFolder(pub); !owns || err != nil {
				t.Error("the new folder key is not wrapped by the user's: ", err)
			}
			change, err := k.Prepare(ctx, []Secret{password("old")}, Seal{Password: password("new"), PasswordOnly: true})
			if err != nil || change.Commit(ctx) != nil {
				t.Fatal(err)
			}
			if got := value(t, d, userLevel(inbox).private(foreign.ID().String())); got != planted {
				t.Error("the password change has sealed the planted key as the user's")
			}
		})
	}
}

// TestUnprovenLoginChangesNothing lets logins in whose secret is wrong, over every state.
func TestUnprovenLoginChangesNothing(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, attrdict.Dict){
		"as it was":          func(*testing.T, attrdict.Dict) {},
		"an open key beside": func(t *testing.T, d attrdict.Dict) { plant(t, d, userLevel(inbox), foreign, foreign.Text()) },
		"active missing":     func(t *testing.T, d attrdict.Dict) { set(t, d, userLevel(inbox).active(), "") },
		"active garbage":     func(t *testing.T, d attrdict.Dict) { set(t, d, userLevel(inbox).active(), "rubbish") },
		"foreign folder key": func(t *testing.T, d attrdict.Dict) { plant(t, d, folderLevel(inbox), foreign, foreign.Text()) },
		"private key damaged": func(t *testing.T, d attrdict.Dict) {
			set(t, d, userLevel(inbox).private(value(t, d, userLevel(inbox).active())), "2:x:0:y:z")
		},
		"public key damaged": func(t *testing.T, d attrdict.Dict) {
			set(t, d, userLevel(inbox).public(value(t, d, userLevel(inbox).active())), "2:x:z")
		},
		"change prepared": func(t *testing.T, d attrdict.Dict) {
			if _, err := change(d, func(*Change) error { return nil }); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for who, c := range map[string]Config{
				"wrong password":  userConfig("wrong"),
				"empty password":  userConfig(""),
				"without any":     config(Config{}),
				"wrong seal key":  config(Config{SealKeys: []*dcrypt.PrivateKey{foreign}, RequireSealed: true}),
				"unsealed policy": config(Config{Password: password("wrong"), UnsealedFirst: true}),
			} {
				d := openDict(t)
				firstLogin(t, d)
				keptMail(t, d)
				prepare(t, d)
				before := dump(t, d)
				k := New(d, inbox, c, nil)
				r := unlock(t, k, Secret{})
				if err := k.VerifyFolder(context.Background(), r, inbox); err != nil {
					t.Error(who, ": ", err)
				}
				if now := dump(t, d); now != before {
					t.Errorf("%s: the login has changed the dictionary from\n%s\nto\n%s", who, before, now)
				}
			}
		})
	}
}

// TestStalePendingSeal leaves the prepared seal of a change that was cut off. A later change
// of another key must not complete it: its secret may be long forgotten.
func TestStalePendingSeal(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	first := value(t, d, userLevel(inbox).active())
	k := New(d, inbox, userConfig("old"), nil)
	if _, err := k.newUserKey(ctx, password("second"), k.Config(), []byte(first), true); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Prepare(ctx, []Secret{password("second")}, Seal{Password: password("forgotten")}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Reseal(ctx, []Secret{password("old")}, Seal{Password: password("new")}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"new", "second"} {
		if !opensStored(d, secret) {
			t.Errorf("%q opens nothing after a change of another key", secret)
		}
	}
	if opensStored(d, "forgotten") {
		t.Error("a change that was cut off was completed by another one")
	}
}

// TestConcurrentChanges has two changes prepare, one after the other: the first to commit
// finds that its seals are gone, says so, and touches nothing.
func TestConcurrentChanges(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	k := New(d, inbox, userConfig("old"), nil)
	a, err := k.Prepare(ctx, []Secret{password("old")}, Seal{Password: password("a")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Prepare(ctx, []Secret{password("old")}, Seal{Password: password("b")})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(ctx); !errors.Is(err, attrdict.ErrChanged) {
		t.Errorf("committing seals that are gone: %v, want ErrChanged", err)
	}
	if err := a.Rollback(ctx); err != nil {
		t.Error(err)
	}
	if !opensStored(d, "old") {
		t.Error("the old secret opens nothing before any change is complete")
	}
	if err := b.Commit(ctx); err != nil || !opensStored(d, "b") {
		t.Error("the second change does not complete: ", err)
	}
}

// TestRenamedInboxOldSeal has a user key under two GUIDs. A password change reaches both, and
// repairs never bring an old seal back.
func TestRenamedInboxOldSeal(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	before := mailbox.GUID{0, 0, 1} // sorts before the present one
	old := New(d, before, userConfig("old"), nil)
	unlock(t, old, Secret{})
	id := value(t, d, userLevel(before).active())
	k := New(d, inbox, userConfig("old"), nil)
	unlock(t, k, Secret{})
	if value(t, d, userLevel(inbox).private(id)) == "" {
		t.Fatal("the key was not carried to the present INBOX")
	}
	if _, err := k.Reseal(ctx, []Secret{password("old")}, Seal{Password: password("new")}); err != nil {
		t.Fatal(err)
	}
	if opensStored(d, "old") {
		t.Error("the old password still opens the key under the old GUID")
	}
	// A copy with the old seal, as an older program leaves it.
	stale, err := dcrypt.SealPassword(mustKeyOf(t, d, id, "new"), []byte("old"), cheap)
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, userLevel(before).private(id), string(stale))
	set(t, d, userLevel(inbox).active(), "")
	unlock(t, New(d, inbox, userConfig("new"), nil), Secret{})
	if got := value(t, d, userLevel(inbox).active()); got != id {
		t.Errorf("active is %q after the repair, want %q", got, id)
	}
	if r := unlock(t, New(d, inbox, userConfig("new"), nil), Secret{}); r.State().Locked() {
		t.Error("the repair has brought the old seal back: the password opens nothing")
	}
}

func mustKeyOf(t *testing.T, d attrdict.Dict, id, secret string) *dcrypt.PrivateKey {
	t.Helper()
	key, err := dcrypt.ParsePrivateKey([]byte(value(t, d, userLevel(inbox).private(id))), dcrypt.Opener{Password: password(secret).bytes})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKeysOfTwoInboxes: Dovecot renames INBOX and a delivery makes a new user key before
// the next login. Mail of both times is readable.
func TestKeysOfTwoInboxes(t *testing.T) {
	d := openDict(t)
	before := mailbox.GUID{0, 0, 1}
	old := New(d, before, userConfig("pw"), nil)
	unlock(t, old, Secret{})
	earlier, err := old.PublicKey(context.Background(), before, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	k := New(d, inbox, userConfig("pw"), nil)
	if _, err := k.newUserKey(context.Background(), password("pw"), k.Config(), nil, true); err != nil {
		t.Fatal(err)
	}
	r := unlock(t, k, Secret{})
	if err := readable(t, earlier, r); err != nil {
		t.Error("mail from before the rename: ", err)
	}
	if err := roundTrip(t, k, r, inbox); err != nil {
		t.Error("new mail: ", err)
	}
}

// TestPassingErrors fails each transaction of VerifyFolder: a good key must stay.
func TestPassingErrors(t *testing.T) {
	t.Run("sound", func(t *testing.T) { passingErrors(t, openDict(t), func(attrdict.Dict, *dcrypt.PublicKey) {}) })
	t.Run("public record damaged", func(t *testing.T) {
		passingErrors(t, openDict(t), func(d attrdict.Dict, pub *dcrypt.PublicKey) {
			set(t, d, folderLevel(inbox).public(pub.ID().String()), "rubbish")
		})
	})
}

func passingErrors(t *testing.T, d attrdict.Dict, damage func(attrdict.Dict, *dcrypt.PublicKey)) {
	firstLogin(t, d)
	pub := keptMail(t, d)
	for n := 1; n < 4; n++ {
		bad := &faultyDict{Dict: d, at: -1}
		k := New(bad, inbox, userConfig("old"), nil)
		r := unlock(t, k, Secret{})
		clear(r.folder) // what the login has looked at so far
		damage(d, pub)
		before := dump(t, d)
		bad.n, bad.at = 0, n
		err := k.VerifyFolder(context.Background(), r, inbox)
		if bad.n >= n && err == nil {
			t.Errorf("transaction %d: the error is not told", n)
		}
		if bad.n >= n && dump(t, d) != before {
			t.Errorf("transaction %d: a passing error has changed keys", n)
		}
		before = dump(t, d)
		r.Close()
		if err := k.VerifyFolder(context.Background(), r, inbox); err != nil {
			t.Error("a closed ring can tell nothing: ", err)
		}
		if dump(t, d) != before {
			t.Error("a closed ring has changed keys")
		}
	}
	if err := readable(t, pub, unlock(t, New(d, inbox, userConfig("old"), nil), Secret{})); err != nil {
		t.Error(err)
	}
}

func TestLostFolderRecordIsRestored(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	pub := keptMail(t, d)
	k := New(d, inbox, userConfig("old"), nil)
	r := unlock(t, k, Secret{})
	if _, err := r.PrivateKey(pub.ID()); err != nil { // as reading does
		t.Fatal(err)
	}
	name := folderLevel(inbox).private(pub.ID().String())
	set(t, d, name, "")
	if err := k.VerifyFolder(ctx, r, inbox); err != nil {
		t.Fatal(err)
	}
	if value(t, d, name) == "" || value(t, d, folderLevel(inbox).active()) != pub.ID().String() {
		t.Error("the ring has the key, and its record was not stored again")
	}
	if err := readable(t, pub, unlock(t, k, Secret{})); err != nil {
		t.Error("a later login: ", err)
	}
}

func TestUnsealedFirstIsForTheFirst(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	c := config(Config{Password: AbsentSecret(), RequireSealed: true, UnsealedFirst: true})
	set(t, d, userLevel(inbox).active(), strings.Repeat("ab", 32))
	records, _, err := New(d, inbox, c, nil).userRecords(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, userLevel(inbox).public(records[0].record.id), "")
	before := dump(t, d)
	if _, err := New(d, inbox, c, nil).PublicKey(context.Background(), other, Secret{}); !errors.Is(err, ErrNoUserKey) {
		t.Errorf("a delivery to a user with a sealed key that is not active: %v, want ErrNoUserKey", err)
	}
	if dump(t, d) != before {
		t.Error("the delivery made a key in clear beside the sealed one")
	}
}

// TestFresh: a ring is shared with later logins only while the active user key is one that
// it trusts.
func TestFresh(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	k := New(d, inbox, userConfig("old"), nil)
	r := unlock(t, k, Secret{})
	if !r.Fresh(ctx) {
		t.Error("a ring is not fresh right after its login")
	}
	first := value(t, d, userLevel(inbox).active())
	if _, err := k.newUserKey(ctx, password("old"), k.Config(), []byte(first), true); err != nil {
		t.Fatal(err)
	}
	if r.Fresh(ctx) {
		t.Error("the ring is fresh though the active user key is another one")
	}
	// What the ring saves in the meantime hangs on the key that it knows.
	pub, err := k.SaveKey(ctx, r, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := readable(t, pub, r); err != nil {
		t.Error(err)
	}
	second := value(t, d, userLevel(inbox).active())
	if again := unlock(t, k, Secret{}); !again.Fresh(ctx) || value(t, d, userLevel(inbox).active()) != second {
		t.Error("a login does not accept the new active key, which its secret opens")
	}
}

// TestCloseWhileReading closes a ring under readers: they read, or are told that it is gone.
func TestCloseWhileReading(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	k := New(d, inbox, userConfig("old"), nil)
	pub := keptMail(t, d)
	for range 10 {
		r := unlock(t, k, Secret{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if err := readable(t, pub, r); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, dcrypt.ErrNoKey) {
						t.Error(err)
					}
					if err := k.VerifyFolder(context.Background(), r, inbox); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			})
		}
		r.Close()
		wg.Wait()
	}
	if got := value(t, d, folderLevel(inbox).active()); got != pub.ID().String() {
		t.Error("a ring that was closing has replaced a good folder key")
	}
}

// TestLoginsDuringChanges changes the password again and again while logins with the secrets
// of the moment and deliveries come: every message stays readable, under the last secret.
func TestLoginsDuringChanges(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	var mu sync.Mutex
	var mails []*dcrypt.PublicKey
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := byte(0); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				k := New(d, inbox, config(Config{Password: AbsentSecret()}), nil)
				pub, err := k.PublicKey(ctx, mailbox.GUID{byte(i), n % 8, 7}, Secret{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				mails = append(mails, pub)
				mu.Unlock()
				c := userConfig([]string{"old", "p1", "p2", "p3", "wrong"}[n%5])
				c.Seal.Rounds = 1 + int(n%3)
				if err := login(d, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	secret := "old"
	for _, next := range []string{"p1", "p2", "p3", "p1", "p2", "old", "p3"} {
		if _, err := New(d, inbox, userConfig(secret), nil).Reseal(ctx, []Secret{password(secret)}, Seal{Password: password(next)}); err != nil {
			t.Errorf("from %s to %s: %v", secret, next, err)
			break
		}
		secret = next
	}
	close(done)
	wg.Wait()
	r := unlock(t, New(d, inbox, userConfig(secret), nil), Secret{})
	for _, pub := range mails {
		if err := readable(t, pub, r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCarryKeySkipsDamage has a damaged record of the key under a GUID that sorts first.
func TestCarryKeySkipsDamage(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	pub := keptMail(t, d)
	id := pub.ID().String()
	set(t, d, folderLevel(mailbox.GUID{0}).private(id), "2:rubbish")
	if err := New(d, inbox, Config{}, nil).CarryKey(context.Background(), pub.ID(), other); err != nil {
		t.Fatal(err)
	}
	if got, want := value(t, d, folderLevel(other).private(id)), value(t, d, folderLevel(inbox).private(id)); got != want {
		t.Errorf("carried %.20q…, want the good record", got)
	}
}

func TestOpenKeyIsSealedToAKey(t *testing.T) {
	d := openDict(t)
	if err := login(d, config(Config{})); err != nil {
		t.Fatal(err)
	}
	seal := mustKey()
	c := config(Config{SealKeys: []*dcrypt.PrivateKey{seal}, RequireSealed: true})
	if err := login(d, c); err != nil {
		t.Fatal(err)
	}
	info, err := dcrypt.Inspect([]byte(value(t, d, userLevel(inbox).private(value(t, d, userLevel(inbox).active())))))
	if err != nil || info.Protection != dcrypt.ByKey || info.Protector != seal.ID().String() {
		t.Errorf("the open key was not sealed to the configured one: %+v, %v", info, err)
	}
	if r := unlock(t, New(d, inbox, c, nil), Secret{}); r.State().Opened != 1 {
		t.Error("the sealed key does not open")
	}
}
