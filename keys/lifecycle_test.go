package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

var manyFolders = []mailbox.GUID{inbox, other, {3}, {4}}

func adminKeys(d attrdict.Dict) *Keys {
	return New(d, inbox, config(Config{Password: AbsentSecret(), RequireSealed: true}), nil)
}

// withFolders is a user with keys of some folders.
func withFolders(t *testing.T, d attrdict.Dict) {
	t.Helper()
	firstLogin(t, d)
	if _, err := adminKeys(d).GenerateFolderKeys(context.Background(), manyFolders, false, nil); err != nil {
		t.Fatal(err)
	}
}

// rotated is one who has another user key, too, sealed by a secret of its own.
func rotated(t *testing.T, d attrdict.Dict, sealedBy string) {
	t.Helper()
	withFolders(t, d)
	ctx := context.Background()
	g, err := adminKeys(d).GenerateUserKey(ctx, password("old"), true)
	if err != nil || !g.Made {
		t.Fatal(g, err)
	}
	if sealedBy != "old" {
		if _, err := adminKeys(d).Reseal(ctx, []Secret{password("old")}, Seal{Password: password(sealedBy), Only: []string{g.ID}}); err != nil {
			t.Fatal(err)
		}
	}
}

func inventory(t *testing.T, d attrdict.Dict) *Inventory {
	t.Helper()
	inv, err := adminKeys(d).Inventory(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// count counts keys.
func count(t *testing.T, d attrdict.Dict, want func(*Stored) bool) (n int) {
	t.Helper()
	for _, st := range inventory(t, d).Keys {
		if want(st) {
			n++
		}
	}
	return n
}

var lifeScenarios = []scenario{
	{
		name:   "user key rotated",
		before: firstLogin,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			_, err := adminKeys(d).GenerateUserKey(context.Background(), password("old"), true)
			return nil, err
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return count(t, d, func(st *Stored) bool { return st.User }) > 1
		},
	},
	{
		name:   "folder keys rotated",
		before: withFolders,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			_, err := adminKeys(d).GenerateFolderKeys(context.Background(), manyFolders, true, nil)
			return nil, err
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return count(t, d, func(st *Stored) bool { return !st.User && !st.Active }) >= len(manyFolders)
		},
	},
	{
		name:   "rewrap",
		before: func(t *testing.T, d attrdict.Dict) { rotated(t, d, "old") },
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			_, rows, err := adminKeys(d).Rewrap(context.Background(), []Secret{password("old")}, nil, false, nil)
			for _, row := range rows {
				err = errors.Join(err, row.Err)
			}
			return nil, err
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			active := inventory(t, d).ActiveUser
			return count(t, d, func(st *Stored) bool { by, _ := st.Wrapper(); return !st.User && by.String() != active }) == 0
		},
	},
	{
		name:   "two secrets, kept for a while",
		before: func(t *testing.T, d attrdict.Dict) { rotated(t, d, "p2") },
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			rows, err := adminKeys(d).Reseal(context.Background(), []Secret{password("old"), password("p2")}, Seal{Password: password("new"), KeepOld: time.Hour})
			for _, row := range rows {
				err = errors.Join(err, row.Err)
			}
			return nil, err
		},
		secrets: []string{"old", "new"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			inv := inventory(t, d)
			o, err := adminKeys(d).Open(context.Background(), inv, []Secret{password("new")})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			return !slices.ContainsFunc(inv.Keys, func(st *Stored) bool {
				_, err := o.UserKey(st)
				return st.User && (err != nil || st.Pending != nil)
			})
		},
	},
	{
		name: "undo",
		before: func(t *testing.T, d attrdict.Dict) {
			withFolders(t, d)
			if _, err := adminKeys(d).Reseal(context.Background(), []Secret{password("old")}, Seal{Password: password("new"), KeepOld: time.Hour}); err != nil {
				t.Fatal(err)
			}
		},
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			rows, err := adminKeys(d).Undo(context.Background(), false)
			if err == nil && (len(rows) != 1 || rows[0].Err != nil) {
				err = fmt.Errorf("%+v", rows)
			}
			return nil, err
		},
		secrets: []string{"old", "new"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return opensStored(d, "old") },
	},
	{
		name:   "key destroyed",
		before: func(t *testing.T, d attrdict.Dict) { withFolders(t, d); rotateInbox(t, d) },
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			k, ctx := adminKeys(d), context.Background()
			inv, err := k.Inventory(ctx)
			if err != nil {
				return nil, err
			}
			var list []*Stored
			for _, st := range inv.Keys {
				if !st.User && st.GUID == inbox && !st.Active {
					list = append(list, st)
				}
			}
			if err := k.SetAside(ctx, list); err != nil {
				return nil, err
			}
			return nil, k.Destroy(ctx, list)
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return count(t, d, func(st *Stored) bool { return st.GUID == inbox && !st.User }) == 1
		},
	},
	{
		name: "import",
		before: func(t *testing.T, d attrdict.Dict) {
			withFolders(t, d)
			for _, st := range inventory(t, d).Keys {
				if !st.User && st.GUID == inbox {
					set(t, d, folderLevel(mailbox.GUID{7}).private("spare"), string(st.Text)) // what a backup has
				}
			}
		},
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			k, ctx := adminKeys(d), context.Background()
			inv, err := k.Inventory(ctx)
			if err != nil {
				return nil, err
			}
			o, err := k.Open(ctx, inv, []Secret{password("old")})
			if err != nil {
				return nil, err
			}
			defer o.Close()
			var text []byte
			err = d.View(ctx, func(r attrdict.Reader) error {
				v, err := r.Get(folderLevel(mailbox.GUID{7}).private("spare"))
				text = slices.Clone(v)
				return err
			})
			if err != nil {
				return nil, err
			}
			im := k.PrepareImport(inv, o, ImportSource{GUID: mailbox.GUID{8}, Private: text, Activate: true}, nil, Seal{}, false)
			if im.Err != nil {
				return nil, im.Err
			}
			return nil, k.StoreImports(ctx, []Import{im})
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return count(t, d, func(st *Stored) bool { return st.GUID == mailbox.GUID{8} && st.Active && st.Text != nil }) == 1
		},
	},
}

func rotateInbox(t *testing.T, d attrdict.Dict) {
	t.Helper()
	if _, err := adminKeys(d).GenerateFolderKeys(context.Background(), []mailbox.GUID{inbox}, true, nil); err != nil {
		t.Fatal(err)
	}
}

// TestForceFaults goes past a lost key and stops anywhere. Until the key is set aside, its
// secret reads everything; afterwards the new secret logs in, and with the lost one found
// again everything is back.
func TestForceFaults(t *testing.T) {
	ctx := context.Background()
	force := func(d attrdict.Dict) error {
		c, err := adminKeys(d).Prepare(ctx, nil, Seal{Password: password("new"), PasswordOnly: true, All: true, Force: true})
		if err != nil {
			return err
		}
		return c.Commit(ctx)
	}
	verify := func(where string, d attrdict.Dict, mail []*dcrypt.PublicKey) {
		t.Helper()
		reads := func(secret string) bool {
			r, err := New(d, inbox, userConfig(secret), nil).Unlock(ctx, Secret{})
			if err != nil {
				t.Fatal(where, err)
			}
			defer r.Close()
			return !slices.ContainsFunc(mail, func(pub *dcrypt.PublicKey) bool { return readable(t, pub, r) != nil })
		}
		if !reads("old") {
			if count(t, d, func(st *Stored) bool { return st.Lost }) != 1 {
				t.Fatalf("%s: the lost secret reads nothing, and its key is not set aside", where)
			}
		}
		if err := force(d); err != nil {
			t.Fatalf("%s: again: %v", where, err)
		}
		k := New(d, inbox, userConfig("new"), nil)
		r := unlock(t, k, Secret{})
		if err := roundTrip(t, k, r, inbox); err != nil {
			t.Errorf("%s: new mail is not readable: %v", where, err)
		}
		if _, err := k.Reseal(ctx, []Secret{password("old"), password("new")}, Seal{Password: password("new")}); err != nil {
			t.Errorf("%s: the lost key does not come back: %v", where, err)
		}
		if !reads("new") {
			t.Errorf("%s: with the key back, mail is not readable", where)
		}
	}
	for _, kind := range faultKinds() {
		for n := 1; ; n++ {
			path := filepath.Join(t.TempDir(), "dovecot-attributes")
			good := openFile(t, path, nil)
			withFolders(t, good)
			mail := []*dcrypt.PublicKey{keptMail(t, good)}
			faults := durable.FaultAt(n, kind, nil)
			err := force(openFile(t, path, faults))
			if !faults.Hit() {
				if err != nil {
					t.Error(err)
				}
				break
			}
			os.Remove(path + ".lock")
			verify(fmt.Sprintf("step %d, kind %d", n, kind), openFile(t, path, nil), mail)
		}
	}
	for _, how := range []faultyDict{{}, {after: true}, {dead: true}, {after: true, dead: true}} {
		for n := 1; ; n++ {
			d := openDict(t)
			withFolders(t, d)
			mail := []*dcrypt.PublicKey{keptMail(t, d)}
			bad := &faultyDict{Dict: d, at: n, after: how.after, dead: how.dead}
			force(bad)
			if bad.n < n {
				break
			}
			verify(fmt.Sprintf("transaction %d, %v, %v", n, how.after, how.dead), d, mail)
		}
	}
}

// TestRewrapRefuses: an active user key that a secret does not open gets no folder key, nor
// one that lies open beside others that do not.
func TestRewrapRefuses(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	withFolders(t, d)
	planted := mustKey()
	l := userLevel(inbox)
	set(t, d, l.private(planted.ID().String()), string(planted.Text()))
	set(t, d, l.public(planted.ID().String()), planted.Public().Text())
	was := value(t, d, l.active())
	set(t, d, l.active(), planted.ID().String())
	k := adminKeys(d)
	if _, _, err := k.Rewrap(ctx, []Secret{password("old")}, nil, false, nil); !errors.Is(err, ErrBadKey) {
		t.Errorf("under a planted key: %v, want ErrBadKey", err)
	}
	set(t, d, l.active(), was)
	if _, _, err := k.Rewrap(ctx, []Secret{password("wrong")}, nil, false, nil); !errors.Is(err, ErrPassword) {
		t.Errorf("with a wrong secret: %v, want ErrPassword", err)
	}
	set(t, d, l.public(was), planted.Public().Text())
	if _, _, err := k.Rewrap(ctx, []Secret{password("old")}, nil, false, nil); !errors.Is(err, ErrBadKey) {
		t.Errorf("a public half of another key: %v, want ErrBadKey", err)
	}
	if _, _, err := New(openDict(t), inbox, Config{}, nil).Rewrap(ctx, nil, nil, false, nil); !errors.Is(err, ErrNoUserKey) {
		t.Errorf("no user key: %v, want ErrNoUserKey", err)
	}
}

// TestRewrapLeavesWhatDoesNotOpen has a damaged record, one of a key that is gone and one in
// the clear among good ones.
func TestRewrapLeavesWhatDoesNotOpen(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	rotated(t, d, "old")
	stranger, open := mustKey(), mustKey()
	folder := mustKey()
	text, err := dcrypt.SealKey(folder, stranger.Public(), dcrypt.SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l := folderLevel(other)
	set(t, d, l.private(folder.ID().String()), string(text))
	set(t, d, l.private(open.ID().String()), string(open.Text()))
	damaged := value(t, d, folderLevel(inbox).active())
	set(t, d, folderLevel(inbox).private(damaged), "2:x:"+damaged)
	_, rows, err := adminKeys(d).Rewrap(ctx, []Secret{password("old")}, nil, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, row := range rows {
		switch {
		case row.Err != nil:
			got["left"]++
		case row.Clear && row.Changed:
			got["clear"]++
		case row.Changed:
			got["changed"]++
		}
	}
	if got["left"] != 2 || got["clear"] != 1 || got["changed"] != 3 {
		t.Errorf("%v", got)
	}
	if value(t, d, l.private(folder.ID().String())) != string(text) || value(t, d, folderLevel(inbox).private(damaged)) != "2:x:"+damaged {
		t.Error("what does not open was changed")
	}
}

// TestSetAsideAndPutBack: a key that is out of use opens nothing, and comes back as it was.
func TestSetAsideAndPutBack(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	withFolders(t, d)
	pub := keptMail(t, d)
	rotateInbox(t, d)
	k := adminKeys(d)
	var list []*Stored
	for _, st := range inventory(t, d).Keys {
		if st.ID == pub.ID().String() {
			list = append(list, st)
		}
	}
	if err := k.SetAside(ctx, list); err != nil {
		t.Fatal(err)
	}
	if r := unlock(t, New(d, inbox, userConfig("old"), nil), Secret{}); readable(t, pub, r) == nil {
		t.Error("a key that is set aside opens")
	}
	if err := k.SetAside(ctx, list); !errors.Is(err, attrdict.ErrChanged) {
		t.Errorf("twice: %v", err)
	}
	if err := k.PutBack(ctx, list); err != nil {
		t.Fatal(err)
	}
	if r := unlock(t, New(d, inbox, userConfig("old"), nil), Secret{}); readable(t, pub, r) != nil {
		t.Error("a key that was put back does not open")
	}
	if err := k.Destroy(ctx, list); !errors.Is(err, ErrInUse) {
		t.Errorf("destroying what is in use: %v", err)
	}
	for _, st := range inventory(t, d).Keys {
		if st.Active {
			if err := k.SetAside(ctx, []*Stored{st}); !errors.Is(err, ErrInUse) {
				t.Errorf("an active key: %v", err)
			}
		}
	}
}

// TestDeliveryWhileUserKeyGoes: no folder key is wrapped by a user key that was destroyed
// after it was read.
func TestDeliveryWhileUserKeyGoes(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	k := adminKeys(d)
	user, err := k.userPublicKey(ctx, Secret{}, k.Config())
	if err != nil {
		t.Fatal(err)
	}
	gone := &vanishing{Dict: d, name: userLevel(inbox).private(user.ID().String()), t: t}
	_, err = New(gone, inbox, k.Config(), nil).newFolderKey(ctx, other, user, k.Config(), nil)
	if !errors.Is(err, attrdict.ErrChanged) || value(t, d, folderLevel(other).active()) != "" {
		t.Errorf("%v, want ErrChanged", err)
	}
}

// vanishing removes a name before the next Update.
type vanishing struct {
	attrdict.Dict
	t    *testing.T
	name string
}

func (v *vanishing) Update(ctx context.Context, fn func(attrdict.Tx) error) error {
	set(v.t, v.Dict, v.name, "")
	return v.Dict.Update(ctx, fn)
}

// FuzzNames parses names of foreign dictionaries, and of ours.
func FuzzNames(f *testing.F) {
	id := mustKey().ID().String()
	for _, l := range []level{userLevel(inbox), folderLevel(inbox)} {
		f.Add(l.active(), "")
		f.Add(l.private(id), "2:x")
		f.Add(l.public(id), "2:x")
		f.Add(l.rotated(id), "12")
		f.Add(l.quarantine(id), "1")
		for _, kind := range []string{"pending", "kept", "lost", "retired"} {
			f.Add(l.own(kind, id), "12 ab\n2:x")
		}
	}
	f.Add("priv/", "shared/a/b")
	f.Fuzz(func(t *testing.T, s, v string) {
		if n, ok := parseName(s); ok {
			l := folderLevel(n.guid)
			if n.user {
				l = userLevel(n.guid)
			}
			if !slices.Contains([]string{l.active(), l.private(n.id), l.public(n.id), l.rotated(n.id), l.quarantine(n.id), l.own(n.kind, n.id)}, s) {
				t.Errorf("%q is taken for %+v", s, n)
			}
			st := &Stored{GUID: n.guid, User: n.user, ID: n.id}
			st.fill(n.kind, []byte(v))
			st.Check()
			st.IDs()
			st.Wrapper()
		}
		if kept, ok := parseKept([]byte(v)); ok && kept.until.Unix() >= 0 {
			if again, ok := parseKept([]byte(kept.String())); !ok || string(again.text) != string(kept.text) || again.by != kept.by {
				t.Errorf("%q does not come back", v)
			}
		}
	})
}
