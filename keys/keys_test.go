package keys

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

var inbox = mailbox.GUID{1, 2, 3}

// cheap are seals that cost nothing, for tests that make many.
var cheap = dcrypt.SealOptions{Rounds: 1}

func openDict(t testing.TB) attrdict.Dict {
	t.Helper()
	d, err := attrdict.OpenBolt(filepath.Join(t.TempDir(), "keys.db"), attrdict.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func password(s string) Secret { return NewSecret([]byte(s)) }

func config(c Config) Config {
	if c.Curve == "" {
		c.Curve = dcrypt.Prime256v1
	}
	c.Seal = cheap
	return c
}

// roundTrip encrypts to a folder's key and decrypts with a ring.
func roundTrip(t *testing.T, k *Keys, r *Ring, folder mailbox.GUID) error {
	t.Helper()
	pub, err := k.PublicKey(context.Background(), folder, Secret{})
	if err != nil {
		return err
	}
	return readable(t, pub, r)
}

func readable(t *testing.T, pub *dcrypt.PublicKey, finder dcrypt.KeyFinder) error {
	t.Helper()
	var buf bytes.Buffer
	w, err := dcrypt.NewWriter(&buf, pub, dcrypt.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("text"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := dcrypt.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()), finder)
	if err != nil {
		return err
	}
	m.Close()
	return nil
}

func unlock(t *testing.T, k *Keys, s Secret) *Ring {
	t.Helper()
	r, err := k.Unlock(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func value(t *testing.T, d attrdict.Dict, name string) string {
	t.Helper()
	var v []byte
	d.View(context.Background(), func(r attrdict.Reader) error {
		b, err := r.Get(name)
		v = append(v, b...)
		return err
	})
	return string(v)
}

func set(t *testing.T, d attrdict.Dict, name, v string) {
	t.Helper()
	if err := d.Update(context.Background(), func(tx attrdict.Tx) error {
		if v == "" {
			return tx.Unset(name)
		}
		return tx.Set(name, []byte(v))
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFirstLoginMakesASealedKey(t *testing.T) {
	d := openDict(t)
	atDelivery := New(d, inbox, config(Config{Password: AbsentSecret(), RequireSealed: true}), nil)
	if _, err := atDelivery.PublicKey(context.Background(), inbox, Secret{}); !errors.Is(err, ErrNoUserKey) {
		t.Fatalf("a delivery before the first login: %v, want ErrNoUserKey", err)
	}
	atLogin := New(d, inbox, config(Config{Password: password("pw"), RequireSealed: true}), nil)
	r := unlock(t, atLogin, Secret{})
	if r.State().Opened != 1 || r.State().Locked() {
		t.Fatalf("after the first login: %+v", r.State())
	}
	folder := mailbox.NewGUID()
	if err := roundTrip(t, atDelivery, r, folder); err != nil {
		t.Fatal("mail delivered after the first login: ", err)
	}
	records, _, _ := atLogin.userRecords(context.Background())
	info, err := dcrypt.Inspect(records[0].text)
	if err != nil || info.Protection != dcrypt.ByPassword {
		t.Fatalf("the user key is stored with protection %v, %v", info.Protection, err)
	}
	again := unlock(t, atLogin, Secret{})
	if err := roundTrip(t, atDelivery, again, folder); err != nil {
		t.Fatal("a later login: ", err)
	}
}

func TestWrongPasswordLocks(t *testing.T) {
	d := openDict(t)
	unlock(t, New(d, inbox, config(Config{Password: password("right")}), nil), Secret{})
	before := value(t, d, userLevel(inbox).active())
	k := New(d, inbox, config(Config{Password: password("wrong")}), nil)
	r := unlock(t, k, Secret{})
	if !r.State().Locked() {
		t.Fatalf("a wrong password: %+v", r.State())
	}
	if err := roundTrip(t, k, r, inbox); !errors.Is(err, dcrypt.ErrNoKey) {
		t.Errorf("reading with a wrong password: %v, want ErrNoKey", err)
	}
	if now := value(t, d, userLevel(inbox).active()); now != before {
		t.Error("a wrong password changed the active user key")
	}
}

func TestUnsealedFirst(t *testing.T) {
	d := openDict(t)
	c := config(Config{Password: AbsentSecret(), RequireSealed: true, UnsealedFirst: true})
	pub, err := New(d, inbox, c, nil).PublicKey(context.Background(), inbox, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	c.Password = password("pw")
	k := New(d, inbox, c, nil)
	r := unlock(t, k, Secret{})
	if err := readable(t, pub, r); err != nil {
		t.Fatal("mail from before the first login: ", err)
	}
	records, _, _ := k.userRecords(context.Background())
	if info, _ := dcrypt.Inspect(records[0].text); info.Protection != dcrypt.ByPassword {
		t.Errorf("the first login left the user key with protection %v", info.Protection)
	}
}

func TestSealIsRaised(t *testing.T) {
	d := openDict(t)
	weak := config(Config{Password: password("pw")})
	unlock(t, New(d, inbox, weak, nil), Secret{})
	strong := weak
	strong.Seal = dcrypt.SealOptions{Rounds: 3000}
	k := New(d, inbox, strong, nil)
	unlock(t, k, Secret{})
	records, _, _ := k.userRecords(context.Background())
	info, _ := dcrypt.Inspect(records[0].text)
	if info.Rounds != 3000 || info.Hash != "sha512" || info.SaltLen != 16 {
		t.Errorf("the seal was not raised: %+v", info)
	}
	if r := unlock(t, k, Secret{}); r.State().Opened != 1 {
		t.Error("the raised seal does not open")
	}
}

func TestConcurrentDeliveriesAgree(t *testing.T) {
	d := openDict(t)
	k := New(d, inbox, config(Config{}), nil)
	ids := make([]dcrypt.KeyID, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			pub, err := New(d, inbox, config(Config{}), nil).PublicKey(context.Background(), inbox, Secret{})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = pub.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal("two deliveries encrypt to different keys")
		}
	}
	if records, _, _ := k.userRecords(context.Background()); len(records) != 1 {
		t.Errorf("%d user keys were made", len(records))
	}
}

// TestForeignActiveKey is the attack of whoever can write the dictionary: a public key of
// their own in the place of the user's.
func TestForeignActiveKey(t *testing.T) {
	attacker, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []level{folderLevel(inbox), userLevel(inbox)} {
		d := openDict(t)
		k := New(d, inbox, config(Config{Password: password("pw")}), nil)
		r := unlock(t, k, Secret{})
		if err := roundTrip(t, k, r, inbox); err != nil {
			t.Fatal(err)
		}
		set(t, d, l.public(attacker.ID().String()), attacker.Public().Text())
		set(t, d, l.active(), attacker.ID().String())
		r = unlock(t, k, Secret{})
		if len(r.State().Repaired) == 0 && l == userLevel(inbox) {
			t.Error("nothing is said of the foreign key")
		}
		for _, folder := range []mailbox.GUID{inbox, mailbox.NewGUID()} {
			pub, err := k.PublicKey(context.Background(), folder, Secret{})
			if err != nil {
				t.Fatal(err)
			}
			if pub.Equal(attacker.Public()) {
				t.Fatal("mail is encrypted to the attacker's key after a login")
			}
			if err := readable(t, pub, r); err != nil {
				t.Error("the owner cannot read: ", err)
			}
		}
		if value(t, d, l.quarantine(attacker.ID().String())) == "" {
			t.Error("the foreign id is not noted")
		}
	}
}

func TestDamagedRecordsAreMended(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, attrdict.Dict){
		"active missing":  func(t *testing.T, d attrdict.Dict) { set(t, d, folderLevel(inbox).active(), "") },
		"active dangling": func(t *testing.T, d attrdict.Dict) { set(t, d, folderLevel(inbox).active(), strings.Repeat("ab", 32)) },
		"active garbage":  func(t *testing.T, d attrdict.Dict) { set(t, d, folderLevel(inbox).active(), "rubbish") },
		"public key garbage": func(t *testing.T, d attrdict.Dict) {
			set(t, d, folderLevel(inbox).public(value(t, d, folderLevel(inbox).active())), "2:zz:zz")
		},
		"public key missing": func(t *testing.T, d attrdict.Dict) {
			set(t, d, folderLevel(inbox).public(value(t, d, folderLevel(inbox).active())), "")
		},
		"private key missing": func(t *testing.T, d attrdict.Dict) {
			set(t, d, folderLevel(inbox).private(value(t, d, folderLevel(inbox).active())), "")
		},
		"user active missing":  func(t *testing.T, d attrdict.Dict) { set(t, d, userLevel(inbox).active(), "") },
		"user active dangling": func(t *testing.T, d attrdict.Dict) { set(t, d, userLevel(inbox).active(), strings.Repeat("ab", 32)) },
		"user public garbage": func(t *testing.T, d attrdict.Dict) {
			set(t, d, userLevel(inbox).public(value(t, d, userLevel(inbox).active())), "x")
		},
		"user private missing": func(t *testing.T, d attrdict.Dict) {
			set(t, d, userLevel(inbox).private(value(t, d, userLevel(inbox).active())), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDict(t)
			k := New(d, inbox, config(Config{Password: password("pw"), RequireSealed: true}), nil)
			r := unlock(t, k, Secret{})
			if err := roundTrip(t, k, r, inbox); err != nil {
				t.Fatal(err)
			}
			damage(t, d)
			r = unlock(t, k, Secret{})
			for _, folder := range []mailbox.GUID{inbox, mailbox.NewGUID()} {
				if err := roundTrip(t, k, r, folder); err != nil {
					t.Error("after a login, new mail is not readable: ", err)
				}
			}
		})
	}
}

func TestRenamedInbox(t *testing.T) {
	d := openDict(t)
	k := New(d, inbox, config(Config{Password: password("pw")}), nil)
	unlock(t, k, Secret{})
	pub, err := k.PublicKey(context.Background(), inbox, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	fresh := mailbox.NewGUID()
	k2 := New(d, fresh, config(Config{Password: password("pw")}), nil)
	r := unlock(t, k2, Secret{})
	if err := readable(t, pub, r); err != nil {
		t.Error("mail from before the rename: ", err)
	}
	if err := roundTrip(t, k2, r, fresh); err != nil {
		t.Error("new mail after the rename: ", err)
	}
	if n := len(r.State().Repaired); n != 1 || r.State().UserKeys != 1 {
		t.Errorf("the user key was not adopted: %+v", r.State())
	}
}

func TestSealedToAKey(t *testing.T) {
	for _, curve := range []dcrypt.Curve{dcrypt.Secp384r1, dcrypt.X25519, dcrypt.X448} {
		seal, err := dcrypt.GenerateKey(curve)
		if err != nil {
			t.Fatal(err)
		}
		d := openDict(t)
		k := New(d, inbox, config(Config{SealKeys: []*dcrypt.PrivateKey{seal}, RequireSealed: true, Curve: curve}), nil)
		pub, err := k.PublicKey(context.Background(), inbox, Secret{})
		if err != nil {
			t.Fatal("a delivery needs the public half alone: ", err)
		}
		if err := readable(t, pub, unlock(t, k, Secret{})); err != nil {
			t.Error(err)
		}
		without := New(d, inbox, config(Config{}), nil)
		if r := unlock(t, without, Secret{}); !r.State().Locked() {
			t.Error("the user key opens without the key that seals it")
		}
	}
}

func TestClosedRing(t *testing.T) {
	d := openDict(t)
	k := New(d, inbox, config(Config{}), nil)
	r := unlock(t, k, Secret{})
	pub, _ := k.PublicKey(context.Background(), inbox, Secret{})
	r.Close()
	if _, err := r.PrivateKey(pub.ID()); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed ring: %v, want ErrClosed", err)
	}
}

// TestKeyOfAnotherFolder puts one folder's private key in the place of another's: the first
// folder's mail must stay readable.
func TestKeyOfAnotherFolder(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	k := New(d, inbox, config(Config{Password: password("pw")}), nil)
	unlock(t, k, Secret{})
	side := mailbox.NewGUID()
	inboxKey, err := k.PublicKey(ctx, inbox, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	sideKey, err := k.PublicKey(ctx, side, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	text := value(t, d, folderLevel(side).private(sideKey.ID().String()))
	set(t, d, folderLevel(inbox).private(inboxKey.ID().String()), text)
	r := unlock(t, k, Secret{})
	if err := readable(t, inboxKey, r); !errors.Is(err, dcrypt.ErrNoKey) {
		t.Errorf("INBOX, whose key is gone: %v, want ErrNoKey", err)
	}
	if err := readable(t, sideKey, r); err != nil {
		t.Error("the folder whose key stands twice: ", err)
	}
}
