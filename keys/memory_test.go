package keys

import (
	"context"
	"slices"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/recent"
	"mailcrypt/mailbox"
)

// operations runs f and returns how many public points keys computed meanwhile, and how often
// they agreed with other points.
func operations(m *Memory, f func()) (computed, agreed int64) {
	c, a := m.Known().Operations()
	f()
	computed, agreed = m.Known().Operations()
	return computed - c, agreed - a
}

// threeFolders makes folder keys of INBOX and two others, as deliveries do.
func threeFolders(t *testing.T, d attrdict.Dict) []mailbox.GUID {
	t.Helper()
	firstLogin(t, d)
	folders := []mailbox.GUID{inbox, other, {9}}
	for _, g := range folders {
		if _, err := New(d, inbox, config(Config{Password: AbsentSecret()}), nil).PublicKey(context.Background(), g, Secret{}); err != nil {
			t.Fatal(err)
		}
	}
	return folders
}

// session is a login that verifies what is to be verified and saves to INBOX, and how many
// operations on curves each cost.
type session struct{ login, behind, save [2]int64 }

func (s *session) run(t *testing.T, d attrdict.Dict, m *Memory) (verified []mailbox.GUID) {
	t.Helper()
	ctx := context.Background()
	c := userConfig("old")
	c.Memory = m
	k := New(d, inbox, c, nil)
	var r *Ring
	s.login[0], s.login[1] = operations(m, func() { r = unlock(t, k, Secret{}) })
	defer r.Close()
	s.behind[0], s.behind[1] = operations(m, func() {
		var err error
		if verified, err = k.Unverified(ctx, r); err != nil {
			t.Fatal(err)
		}
		for _, g := range verified {
			if err := k.VerifyFolder(ctx, r, g); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.save[0], s.save[1] = operations(m, func() {
		if err := roundTripSave(k, r); err != nil {
			t.Fatal(err)
		}
	})
	return verified
}

func roundTripSave(k *Keys, r *Ring) error {
	_, err := k.SaveKey(context.Background(), r, inbox)
	return err
}

// TestCurveOperations counts what a login costs. The first one of a process computes the user
// key's point, and opens each folder key behind the login; those after it nothing at all.
func TestCurveOperations(t *testing.T) {
	d := openDict(t)
	folders := threeFolders(t, d)
	m := &Memory{}
	var first, second session
	if got := first.run(t, d, m); len(got) != len(folders) {
		t.Errorf("the first login verifies %v", got)
	}
	if want := (session{login: [2]int64{1, 0}, behind: [2]int64{3, 3}}); first != want {
		t.Errorf("first login: points computed and agreements %v, want %v", first, want)
	}
	if got := second.run(t, d, m); len(got) != 0 {
		t.Errorf("the second login verifies %v", got)
	}
	if second != (session{}) {
		t.Errorf("second login: points computed and agreements %v", second)
	}
	// Only what has changed is opened again.
	k := adminKeys(d)
	if _, err := k.GenerateFolderKeys(context.Background(), folders[1:2], true, nil); err != nil {
		t.Fatal(err)
	}
	var third session
	if got := third.run(t, d, m); !slices.Equal(got, folders[1:2]) || third.login != [2]int64{} || third.behind != [2]int64{2, 1} {
		t.Errorf("after a folder has got a new key, a login verifies %v, and costs %v", got, third)
	}
}

// TestSaveOperations: the first message of a session that has verified nothing opens the folder's
// key; a delivery opens none.
func TestSaveOperations(t *testing.T) {
	d := openDict(t)
	threeFolders(t, d)
	m := &Memory{}
	c := userConfig("old")
	c.Memory = m
	k := New(d, inbox, c, nil)
	r := unlock(t, k, Secret{})
	for round, want := range [][2]int64{{1, 1}, {0, 0}} {
		computed, agreed := operations(m, func() {
			if err := roundTripSave(k, r); err != nil {
				t.Fatal(err)
			}
		})
		if computed != want[0] || agreed != want[1] {
			t.Errorf("message %d: %d points computed, %d agreements, want %v", round, computed, agreed, want)
		}
	}
	c.Password = AbsentSecret()
	delivery := New(d, inbox, c, nil)
	if computed, agreed := operations(m, func() { delivery.PublicKey(context.Background(), inbox, Secret{}) }); computed+agreed != 0 {
		t.Errorf("a delivery: %d points computed, %d agreements", computed, agreed)
	}
}

// TestPasswordChangeOperations: a change of the password opens the user key, and no folder's.
func TestPasswordChangeOperations(t *testing.T) {
	d := openDict(t)
	threeFolders(t, d)
	m := &Memory{}
	k := New(d, inbox, config(Config{Password: AbsentSecret(), Memory: m}), nil)
	secrets := []string{"old", "new", "newer"}
	for i, want := range []int64{1, 0} {
		computed, agreed := operations(m, func() {
			rows, err := k.Reseal(context.Background(), []Secret{password(secrets[i])}, Seal{Password: password(secrets[i+1])})
			if err != nil || len(rows) != 1 || rows[0].Err != nil {
				t.Fatal(rows, err)
			}
		})
		if computed != want || agreed != 0 {
			t.Errorf("change %d: %d points computed, %d agreements, want %d and none", i, computed, agreed, want)
		}
	}
	if opens(t, d, "old") || !opens(t, d, "newer") {
		t.Error("the last password is not the one that opens")
	}
}

// TestRewrapOperations: each folder key is opened once, and its new text once.
func TestRewrapOperations(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	threeFolders(t, d)
	m := &Memory{}
	k := New(d, inbox, config(Config{RequireSealed: true, Memory: m}), nil)
	if _, err := k.GenerateUserKey(ctx, password("old"), true); err != nil {
		t.Fatal(err)
	}
	computed, agreed := operations(m, func() {
		if _, _, err := k.Rewrap(ctx, []Secret{password("old")}, nil, false, nil); err != nil {
			t.Fatal(err)
		}
	})
	// The points of the new user key and of three folder keys, and that of the old user key or
	// its agreement where its point is known already.
	if computed > 5 || agreed != 6 {
		t.Errorf("rewrapping three folder keys: %d points computed, %d agreements", computed, agreed)
	}
	var s session
	if got := s.run(t, d, m); len(got) != 3 || s.behind != [2]int64{} {
		t.Errorf("after it, a login looks at %v and opens keys again: %v", got, s)
	}
}

// TestMemoryNoticesChanges changes records that a process has verified by one bit each, and by
// whole keys. The next login must do what it would do without a memory.
func TestMemoryNoticesChanges(t *testing.T) {
	l := folderLevel(inbox)
	flip := func(name func(id string) string, field int) func(*testing.T, attrdict.Dict) {
		return func(t *testing.T, d attrdict.Dict) {
			n := name(value(t, d, l.active()))
			fields := strings.Split(value(t, d, n), ":")
			last := []byte(fields[field])
			if i := len(last) - 1; last[i] == '0' {
				last[i] = '1'
			} else {
				last[i] = '0'
			}
			fields[field] = string(last)
			set(t, d, n, strings.Join(fields, ":"))
		}
	}
	for name, damage := range map[string]func(*testing.T, attrdict.Dict){
		"private text": flip(l.private, 7),
		"public text":  flip(l.public, 1),
		"foreign key": func(t *testing.T, d attrdict.Dict) {
			plant(t, d, l, foreign, wrap(t, foreign, foreign.Public()))
		},
		"open key": func(t *testing.T, d attrdict.Dict) { plant(t, d, l, foreign, foreign.Text()) },
		"key of another folder": func(t *testing.T, d attrdict.Dict) {
			o := folderLevel(other)
			id := value(t, d, l.active())
			set(t, d, l.private(id), value(t, d, o.private(value(t, d, o.active()))))
		},
		"private text gone": func(t *testing.T, d attrdict.Dict) { set(t, d, l.private(value(t, d, l.active())), "") },
	} {
		t.Run(name, func(t *testing.T) {
			var after [2]string
			for i, m := range []*Memory{nil, {}} {
				d := openDict(t)
				threeFolders(t, d)
				var s session
				if m != nil {
					s.run(t, d, m)
				}
				was := value(t, d, l.active())
				damage(t, d)
				if m == nil {
					m = &Memory{}
				}
				s.run(t, d, m)
				pub, err := dcrypt.ParsePublicKey([]byte(value(t, d, l.public(value(t, d, l.active())))))
				if err != nil {
					t.Fatal(err)
				}
				c := userConfig("old")
				c.Memory = m
				k := New(d, inbox, c, nil)
				if err := readable(t, pub, unlock(t, k, Secret{})); err != nil {
					t.Errorf("new mail is not readable: %v", err)
				}
				s.run(t, d, m) // of a key that was made
				if again := s.run(t, d, m); len(again) != 0 || s != (session{}) {
					t.Errorf("the third login verifies %v, and costs %v", again, s)
				}
				after[i] = "kept"
				if value(t, d, l.active()) != was {
					after[i] = "replaced"
				}
			}
			if after[0] != after[1] {
				t.Errorf("the key is %s without a memory, and %s with one", after[0], after[1])
			}
		})
	}
}

// TestMemoryKnowsOneUserKey: that one user key opens a folder's records says nothing to a login
// that trusts another.
func TestMemoryKnowsOneUserKey(t *testing.T) {
	ctx := context.Background()
	m := &Memory{}
	d := openDict(t)
	threeFolders(t, d)
	var s session
	s.run(t, d, m)
	// The same records, in the dictionary of somebody with another user key.
	theirs := openDict(t)
	firstLogin(t, theirs)
	id := value(t, d, folderLevel(inbox).active())
	for _, name := range []string{folderLevel(inbox).private(id), folderLevel(inbox).public(id), folderLevel(inbox).active()} {
		set(t, theirs, name, value(t, d, name))
	}
	c := userConfig("old")
	c.Memory = m
	k := New(theirs, inbox, c, nil)
	r := unlock(t, k, Secret{})
	if pub, err := k.SaveKey(ctx, r, inbox); err != nil || pub.ID().String() == id {
		t.Errorf("mail goes on to a key that this user cannot open: %v", err)
	}
}

// TestMemoryIsBounded fills it beyond its bound; what is used stays.
func TestMemoryIsBounded(t *testing.T) {
	m := &Memory{}
	used := prove("used")
	m.add(used)
	for i := range 3 * recent.Generation {
		m.add(prove("other", []byte{byte(i), byte(i >> 8), byte(i >> 16)}))
		if i%1000 == 0 && !m.has(used) {
			t.Fatal("what is used was forgotten")
		}
	}
	if n := m.proofs.Len(); n > 2*recent.Generation {
		t.Errorf("%d proofs are kept", n)
	}
	if prove("a", []byte("bc"), []byte("d")) == prove("a", []byte("b"), []byte("cd")) {
		t.Error("a proof does not tell its parts apart")
	}
}
