package keys

import (
	"context"
	"errors"
	"testing"

	"mailcrypt/attrdict"
)

// opens reports whether a secret opens the user's keys and reads INBOX.
func opens(t *testing.T, d attrdict.Dict, s string) bool {
	t.Helper()
	k := New(d, inbox, config(Config{Password: AbsentSecret()}), nil)
	records, _, err := k.userRecords(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		for _, text := range [][]byte{rec.text, rec.pending} {
			one := rec
			one.text = text
			if key, err := openWithAny(one.record.id, one.text, []Secret{password(s)}, Config{}); err == nil {
				key.Destroy()
				return true
			}
		}
	}
	return false
}

func TestReseal(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	k := New(d, inbox, config(Config{Password: password("old")}), nil)
	unlock(t, k, Secret{})
	pub, _ := k.PublicKey(ctx, inbox, Secret{})
	if results, err := k.Reseal(ctx, []Secret{password("wrong")}, Seal{Password: password("new")}); !errors.Is(err, ErrPassword) || len(results) != 1 {
		t.Fatalf("a wrong old password: %v, %v", results, err)
	}
	if !opens(t, d, "old") || opens(t, d, "new") {
		t.Fatal("a wrong old password changed the seal")
	}
	if _, err := k.Reseal(ctx, []Secret{password("wrong"), password("old")}, Seal{Password: password("new")}); err != nil {
		t.Fatal(err)
	}
	if opens(t, d, "old") || !opens(t, d, "new") {
		t.Fatal("the seal was not changed")
	}
	r := unlock(t, New(d, inbox, config(Config{Password: password("new")}), nil), Secret{})
	if err := readable(t, pub, r); err != nil {
		t.Error("mail from before the change: ", err)
	}
	if _, err := k.Reseal(ctx, []Secret{password("new")}, Seal{Open: true}); err != nil {
		t.Fatal(err)
	}
	if r := unlock(t, New(d, inbox, config(Config{}), nil), Secret{}); r.State().Opened != 1 {
		t.Error("an open key does not open")
	}
}

// TestTwoPhases stops a change after each phase: one of the two secrets always opens, and a
// login with the new one completes the change.
func TestTwoPhases(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	k := New(d, inbox, config(Config{Password: password("old")}), nil)
	unlock(t, k, Secret{})
	if _, err := k.Prepare(ctx, []Secret{password("old")}, Seal{Password: password("new")}); err != nil {
		t.Fatal(err)
	}
	if r := unlock(t, k, Secret{}); r.State().Opened != 1 {
		t.Fatal("after the first phase the old password does not open")
	}
	if !opens(t, d, "new") {
		t.Fatal("after the first phase the new password does not open")
	}
	healed := New(d, inbox, config(Config{Password: password("new")}), nil)
	if r := unlock(t, healed, Secret{}); r.State().Opened != 1 || len(r.State().Repaired) != 1 {
		t.Fatalf("a login with the new password does not complete the change: %+v", r.State())
	}
	if opens(t, d, "old") {
		t.Error("the old password still opens after the change is complete")
	}
	change, err := healed.Prepare(ctx, []Secret{password("new")}, Seal{Password: password("newer")})
	if err != nil {
		t.Fatal(err)
	}
	if err := change.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if opens(t, d, "newer") || !opens(t, d, "new") {
		t.Error("the change was not rolled back")
	}
}

// TestSomeKeysOpen has two user keys under different passwords.
func TestSomeKeysOpen(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	k := New(d, inbox, config(Config{Password: password("p1")}), nil)
	unlock(t, k, Secret{})
	first := value(t, d, userLevel(inbox).active())
	if _, err := k.newUserKey(ctx, password("p2"), k.Config(), []byte(first), true); err != nil {
		t.Fatal(err)
	}
	results, err := k.Reseal(ctx, []Secret{password("p1")}, Seal{Password: password("new")})
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	failed := 0
	for _, r := range results {
		if errors.Is(r.Err, ErrPassword) {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d keys are reported as not opened, want 1", failed)
	}
	results, err = k.Reseal(ctx, []Secret{password("new"), password("p2")}, Seal{Password: password("both")})
	if err != nil || results[0].Err != nil || results[1].Err != nil {
		t.Errorf("two old secrets in one call: %v %v", results, err)
	}
}
