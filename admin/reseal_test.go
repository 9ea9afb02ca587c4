package admin

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
)

func raw(s string) Password   { return Password{Secret: []byte(s)} }
func rawp(s string) *Password { p := raw(s); return &p }

// keysOf gives fn alice's keys under her settings.
func (w *world) keysOf(fn func(k *keys.Keys) error) {
	w.t.Helper()
	u, err := w.users.Lookup(ctx, "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Accounts.Admin(ctx, u, func(a *account.Admin) error { return fn(a.Keys) }); err != nil {
		w.t.Fatal(err)
	}
}

// rotate gives alice another user key, sealed by a secret of its own.
func (w *world) rotate(sealedBy string) string {
	w.t.Helper()
	p := loginPassword("old")
	g, err := w.Generate(ctx, GenerateRequest{User: "alice", UserKey: true, Force: true, Password: &p})
	if err != nil {
		w.t.Fatal(err)
	}
	id := g.Keys[0].ID
	if sealedBy != "old" {
		r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("old")}, New: rawp(sealedBy), Keys: []string{id}})
		if err != nil || len(r.Keys) != 1 || r.Keys[0].ID != id || r.Keys[0].Done != SealedAnew {
			w.t.Fatalf("%+v, %v", r, err)
		}
	}
	return id
}

// TestTwoUserKeysUnderTwoPasswords: one call with both secrets, where Dovecot refuses.
func TestTwoUserKeysUnderTwoPasswords(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		second := w.rotate("p2")
		w.create("Work")
		w.deliver("Work")
		// With one of them alone, what opens is changed and the other is listed.
		r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("p2")}, New: rawp("p3"), All: true})
		if !errors.Is(err, ErrPartly) || r.Changed() != 0 && !slices.ContainsFunc(r.Keys, func(k KeyResult) bool { return k.Error != "" }) {
			t.Errorf("all or nothing: %+v, %v", r, err)
		}
		r, err = w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("p2")}, New: rawp("p3")})
		if !errors.Is(err, ErrPartly) || r.Changed() != 1 {
			t.Errorf("with one secret: %+v, %v", r, err)
		}
		for _, k := range r.Keys {
			if (k.ID == second) != (k.Done == SealedAnew) || (k.Error == "") != (k.Done == SealedAnew) {
				t.Errorf("%+v", k)
			}
		}
		r, err = w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("nothing"), raw("p3"), loginPassword("old")}, New: rawp("both")})
		if err != nil || r.Changed() != 2 {
			t.Fatalf("with both: %+v, %v", r, err)
		}
		again, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("p3"), raw("old")}, New: rawp("both")})
		if err != nil || again.Changed() != 2 || again.Keys[0].Done != Already || again.Keys[1].Done != Already {
			t.Errorf("repeated: %+v, %v", again, err)
		}
		if _, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("both")}, New: rawp("old")}); err != nil {
			t.Fatal(err)
		}
		w.readsAll("old", 2)
	})
}

// TestResealToKeysAndBack goes from a password to none, to a key, to another, and back.
func TestResealToKeysAndBack(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		var pem [2][]byte
		var public [2][]byte
		for i := range pem {
			key, err := dcrypt.GenerateKey(dcrypt.Secp384r1)
			if err != nil {
				t.Fatal(err)
			}
			pem[i], public[i] = key.PEM(), []byte(key.Public().PEM())
		}
		for _, tt := range []struct {
			name string
			r    ResealRequest
			by   string
			want error
		}{
			{"to none", ResealRequest{Old: []Password{raw("old")}, Open: true}, "none", nil},
			{"to none again", ResealRequest{Open: true}, "none", nil},
			{"to a key", ResealRequest{ToKey: public[0]}, "key", nil},
			{"without the key", ResealRequest{Old: []Password{raw("old")}, New: rawp("x")}, "key", ErrPassword},
			{"with another key", ResealRequest{Old: []Password{{Key: pem[1]}}, New: rawp("x")}, "key", ErrPassword},
			{"to another key", ResealRequest{Old: []Password{{Key: pem[0]}}, ToKey: public[1]}, "key", nil},
			{"to one that is not configured", ResealRequest{Old: []Password{{Key: pem[1]}}, ToConfigured: true}, "key", ErrUsage},
			{"to no key", ResealRequest{ToKey: []byte("2:no")}, "key", ErrUsage},
			{"with no key", ResealRequest{Old: []Password{{Key: []byte("x")}}, Open: true}, "key", ErrUsage},
			{"to two", ResealRequest{Old: []Password{{Key: pem[1]}}, Open: true, New: rawp("x")}, "key", ErrUsage},
			{"a key that is not there", ResealRequest{Keys: []string{"x"}, Open: true}, "key", ErrNoKey},
			{"back", ResealRequest{Old: []Password{{Key: pem[1]}}, New: rawp("old")}, "password", nil},
		} {
			tt.r.User = "alice"
			r, err := w.Reseal(ctx, tt.r)
			if !errors.Is(err, tt.want) || (err == nil) != (r.Changed() == 1) {
				t.Errorf("%s: %+v, %v, want %v", tt.name, r, err, tt.want)
			}
			k := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys[0]
			if k.Seal.By != tt.by || k.Pending != nil || err == nil && *r.Keys[0].Is != k.Seal {
				t.Errorf("%s: sealed by %+v, want %s", tt.name, k.Seal, tt.by)
			}
		}
		w.readsAll("old", 1)
	})
}

// TestPrepareAndEnd is for callers who keep the login hash elsewhere.
func TestPrepareAndEnd(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		prepare := func() string {
			r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("old")}, New: rawp("new"), PrepareOnly: true})
			if err != nil || r.Token == "" || r.Keys[0].Done != Prepared {
				t.Fatalf("%+v, %v", r, err)
			}
			return r.Token
		}
		seal := func() KeyInfo { return w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys[0] }
		token := prepare()
		if k := seal(); k.Pending == nil {
			t.Errorf("%+v", k)
		}
		w.readsAll("old", 1)
		for range 2 { // a call that was killed behind its end is asked for again
			if r, err := w.EndReseal(ctx, EndResealRequest{User: "alice", Token: token}); err != nil || len(r.Keys) != 1 || r.Keys[0].Done != Left || seal().Pending != nil {
				t.Errorf("rollback: %+v, %v", r, err)
			}
		}
		if _, err := w.EndReseal(ctx, EndResealRequest{User: "alice", Token: token, Commit: true}); !errors.Is(err, ErrConflict) {
			t.Errorf("commit after rollback: %v", err)
		}
		former := token
		token = prepare()
		if _, err := w.EndReseal(ctx, EndResealRequest{User: "alice", Token: former}); err != nil || seal().Pending == nil {
			t.Errorf("an old change was abandoned, and with it another one: %v", err)
		}
		for range 2 { // twice is as good as once
			if r, err := w.EndReseal(ctx, EndResealRequest{User: "alice", Token: token, Commit: true}); err != nil || r.Keys[0].Done != SealedAnew {
				t.Errorf("commit: %+v, %v", r, err)
			}
		}
		if all, open := w.readAll("old"); all != 1 || open != 0 {
			t.Errorf("the old secret still opens %d of %d", open, all)
		}
		if _, err := w.EndReseal(ctx, EndResealRequest{User: "alice", Token: "x"}); !errors.Is(err, ErrUsage) {
			t.Errorf("no token: %v", err)
		}
		// A login with the new secret ends it.
		if _, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("new")}, New: rawp("old"), PrepareOnly: true}); err != nil {
			t.Fatal(err)
		}
		w.readsAll("old", 1)
		if k := seal(); k.Pending != nil {
			t.Errorf("the login has not ended the change: %+v", k)
		}
	})
}

func TestUndo(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		reseal := func(from, to string, keep int64) error {
			r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw(from)}, New: rawp(to), KeepOld: keep})
			if err == nil && (r.KeptUntil == 0) != (keep == 0) {
				t.Errorf("kept until %d", r.KeptUntil)
			}
			return err
		}
		undo := func(forget bool) error {
			_, err := w.UndoReseal(ctx, UndoResealRequest{User: "alice", Forget: forget})
			return err
		}
		if err := undo(false); !errors.Is(err, ErrNoKey) {
			t.Errorf("nothing to undo: %v", err)
		}
		if err := reseal("old", "typo", 3600); err != nil {
			t.Fatal(err)
		}
		if all, open := w.readAll("old"); open != 0 || all != 1 {
			t.Errorf("a kept seal opens at a login: %d of %d", open, all)
		}
		if k := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys[0]; k.Kept == nil || k.KeptUntil < time.Now().Unix() {
			t.Errorf("%+v", k)
		}
		if err := undo(false); err != nil {
			t.Error(err)
		}
		w.readsAll("old", 1)
		// One that is changed again is not undone, and one whose time is over neither.
		if err := errors.Join(reseal("old", "a", 3600), reseal("a", "b", 0)); err != nil {
			t.Fatal(err)
		}
		if err := undo(false); !errors.Is(err, ErrNoKey) {
			t.Errorf("two steps back: %v", err)
		}
		if err := reseal("b", "c", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		if err := undo(false); !errors.Is(err, ErrPartly) {
			t.Errorf("after its time: %v", err)
		}
		if err := errors.Join(reseal("c", "d", 3600), undo(true)); err != nil {
			t.Error(err)
		}
		if err := errors.Join(reseal("d", "e", 1)); err != nil {
			t.Error(err)
		}
		time.Sleep(1100 * time.Millisecond)
		w.keysOf(func(k *keys.Keys) error { return k.Expire(context.Background()) })
		if k := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys[0]; k.Kept != nil {
			t.Errorf("still kept: %+v", k)
		}
		for _, keep := range []int64{-1, 31 * 24 * 3600} {
			if err := reseal("e", "f", keep); !errors.Is(err, ErrUsage) {
				t.Errorf("kept for %d s: %v", keep, err)
			}
		}
	})
}

// TestForcePastLostKey resets the password of a user whose key nobody can open.
func TestForcePastLostKey(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work")
		w.deliver("Work")
		if _, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("old")}, New: rawp("forgotten")}); err != nil {
			t.Fatal(err)
		}
		reset := SetPasswordRequest{User: "alice", New: []byte("new"), Scheme: "SHA256", Reset: true}
		if r, err := w.SetPassword(ctx, reset); !errors.Is(err, ErrPassword) || r.LoginChanged {
			t.Errorf("without force: %+v, %v", r, err)
		}
		if _, err := w.users.Authenticate(ctx, "alice", []byte("old")); err != nil {
			t.Error("the login was changed: ", err)
		}
		reset.Force = true
		r, err := w.SetPassword(ctx, reset)
		if err != nil || !r.LoginChanged || len(r.Keys) != 2 || len(r.FoldersReset) != 2 {
			t.Fatalf("with force: %+v, %v", r, err)
		}
		if r.Keys[0].Done != SetAside || r.Keys[0].FolderKeys != 2 || r.Keys[1].Done != Made {
			t.Errorf("%+v", r.Keys)
		}
		w.deliver("Work")
		w.deliver("INBOX")
		if all, open := w.readAll("new"); all != 4 || open != 2 {
			t.Errorf("%d of %d open, want the two new ones", open, all)
		}
		if k := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys; len(k) != 2 || k[0].State == StateLost == (k[1].State == StateLost) {
			t.Errorf("%+v", k)
		}
		// A later change does not stumble over the lost key.
		if r, err := w.set("new", "newer"); err != nil || r.Changed() != 1 {
			t.Errorf("a later change: %+v, %v", r, err)
		}
		// The secret is found again.
		back, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("forgotten"), raw("newer")}, New: rawp("newer")})
		if err != nil || !slices.ContainsFunc(back.Keys, func(k KeyResult) bool { return k.Done == Restored }) {
			t.Fatalf("%+v, %v", back, err)
		}
		w.readsAll("newer", 4)
	})
}

// TestRepeatAfterCut repeats a change that was cut off after the login hash, by the next
// change and by itself, with no login in between.
func TestRepeatAfterCut(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		for _, tt := range []struct{ from, to, last string }{{"old", "b", "b"}, {"b", "c", "d"}} {
			how := &stoppingUsers{Users: w.users, change: true, after: func() { panic(death{}) }}
			cut := &Local{Accounts: w.Accounts, Users: how}
			func() {
				defer func() {
					if p := recover(); p != (death{}) {
						t.Error(p)
					}
				}()
				cut.SetPassword(ctx, SetPasswordRequest{User: "alice", Old: []byte(tt.from), New: []byte(tt.to), Scheme: "SHA256"})
			}()
			from := tt.from
			if tt.last != tt.to {
				from = tt.to
			}
			if r, err := w.set(from, tt.last); err != nil || r.Changed() != 1 {
				t.Fatalf("%+v: %+v, %v", tt, r, err)
			}
			w.readsAll(tt.last, 1)
		}
	})
}

// TestAbandonAgain forgets new seals twice, as who does not know whether it was done asks
// again, and not once they count.
func TestAbandonAgain(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		to := raw("new")
		prepare := func() EndResealRequest {
			t.Helper()
			r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{raw("old")}, New: &to, PrepareOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			return EndResealRequest{User: "alice", Token: r.Token}
		}
		first := prepare()
		for range 2 {
			if _, err := w.EndReseal(ctx, first); err != nil {
				t.Error(err)
			}
		}
		first.Commit = true
		if _, err := w.EndReseal(ctx, first); !errors.Is(err, ErrConflict) {
			t.Errorf("committed after it was forgotten: %v", err)
		}
		w.reads("old")
		r := prepare()
		r.Commit = true
		for range 2 {
			if _, err := w.EndReseal(ctx, r); err != nil {
				t.Error(err)
			}
		}
		r.Commit = false
		if _, err := w.EndReseal(ctx, r); !errors.Is(err, ErrConflict) {
			t.Errorf("forgotten after it was committed: %v", err)
		}
		if _, err := w.Fetch(ctx, FetchRequest{User: "alice", Mailbox: "INBOX", UID: 1, Secrets: []Password{to}}, io.Discard); err != nil {
			t.Errorf("with the new secret: %v", err)
		}
	})
}
