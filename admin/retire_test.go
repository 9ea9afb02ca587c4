package admin

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"mailcrypt/account"
	"mailcrypt/mailbox"
)

func (w *world) delete(folder string) {
	w.t.Helper()
	w.login("old", func(l *account.Login) {
		if err := l.Delete(ctx, folder); err != nil {
			w.t.Fatal(err)
		}
	})
}

// TestUserKeyAnew is the whole way of a user key: made anew, all folder keys under it, the
// old one destroyed, every message readable at every step.
func TestUserKeyAnew(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.RetireDelay = -1
		w.create("Work", "Gone")
		w.deliver("Work")
		w.deliver("Gone")
		w.delete("Gone")
		old := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys[0].ID
		retire := func(want error) RetireResult {
			t.Helper()
			r, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{old}})
			if !errors.Is(err, want) || len(r.Keys) != 1 || (err == nil) != (r.Keys[0].Done == Destroyed) {
				t.Errorf("retiring: %+v, %v, want %v", r, err, want)
			}
			return r
		}
		if r := retire(ErrInUse); r.Keys[0].Confirm != "" {
			t.Error("an active key can be destroyed by confirming it")
		}
		w.rotate("old")
		if r := retire(ErrInUse); r.Keys[0].Wraps != 3 || r.Keys[0].Confirm == "" {
			t.Errorf("%+v", r)
		}
		p := []Password{loginPassword("old")}
		if r, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: p}); err != nil || r.Count(Rewrapped) != 3 {
			t.Errorf("%+v, %v", r, err)
		}
		retire(nil)
		w.deliver("Work")
		w.readsAll("old", 3)
		if k := w.list(ListRequest{}).Keys; len(k) != 4 || slices.ContainsFunc(k, func(k KeyInfo) bool { return k.Problem != "" }) {
			t.Errorf("%+v", k)
		}
		if c, err := w.Check(ctx, CheckRequest{User: "alice", Secrets: p}); err != nil || !c.Healthy {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestRetireFolderKeys(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work", "Gone")
		w.deliver("Work")
		w.deliver("Gone")
		id := func(folder string) string {
			for _, k := range w.list(ListRequest{}).Keys {
				if k.Folder == folder && !k.User && k.Active {
					return k.ID
				}
			}
			t.Fatal("no key of ", folder)
			return ""
		}
		work, gone := id("Work"), id("Gone")
		// A message that moves takes its key along.
		w.login("old", func(l *account.Login) {
			m, err := l.Open(ctx, "Gone", false)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if _, err := m.Copy(ctx, uids(m), "INBOX"); err != nil {
				t.Fatal(err)
			}
		})
		w.delete("Gone")
		if _, err := w.Generate(ctx, GenerateRequest{User: "alice", Folders: []string{"Work"}, Force: true}); err != nil {
			t.Fatal(err)
		}
		if r, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work}}); !errors.Is(err, ErrInUse) || r.Keys[0].Confirm != "" {
			t.Errorf("just rotated: %+v, %v", r, err)
		}
		w.RetireDelay = -1
		r, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work, gone}})
		if !errors.Is(err, ErrInUse) || len(r.Keys) != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, k := range r.Keys {
			if k.Messages != 1 || k.Done != Left || k.Confirm == "" {
				t.Errorf("%+v", k)
			}
		}
		w.readsAll("old", 3)
		// What an earlier call has told can be confirmed, as long as nothing has changed.
		one, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work}})
		if !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
		for code, want := range map[string]error{"0123456789abcdef": ErrInUse, one.Keys[0].Confirm: nil} {
			if code == one.Keys[0].Confirm {
				continue
			}
			if _, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work}, Confirm: code}); !errors.Is(err, want) {
				t.Errorf("code %s: %v", code, err)
			}
		}
		if _, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work, gone}, Confirm: one.Keys[0].Confirm}); !errors.Is(err, ErrUsage) {
			t.Errorf("two keys with one code: %v", err)
		}
		if r, err := w.Retire(ctx, RetireRequest{User: "alice", IDs: []string{work}, Confirm: one.Keys[0].Confirm}); err != nil || r.Keys[0].Done != Destroyed {
			t.Errorf("confirmed: %+v, %v", r, err)
		}
		if all, open := w.readAll("old"); all != 3 || open != 2 {
			t.Errorf("%d of %d open", open, all)
		}
		// Without its messages, the key of the deleted folder goes.
		w.login("old", func(l *account.Login) {
			m, err := l.Open(ctx, "INBOX", false)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.Expunge(ctx, uids(m)); err != nil {
				t.Fatal(err)
			}
		})
		dry, err := w.Retire(ctx, RetireRequest{User: "alice", Unneeded: true, DryRun: true})
		if err != nil || len(dry.Keys) != 2 {
			t.Errorf("dry run: %+v, %v", dry, err)
		}
		r, err = w.Retire(ctx, RetireRequest{User: "alice", Unneeded: true})
		if err != nil || len(r.Keys) != 2 || r.Keys[0].Done != Destroyed || r.Keys[0].ID != gone {
			t.Errorf("all that nobody needs: %+v, %v", r, err)
		}
		w.deliver("Work")
		if all, open := w.readAll("old"); all != 2 || open != 1 {
			t.Errorf("%d of %d open", open, all)
		}
	})
}

func TestRetireUsage(t *testing.T) {
	w := newWorld(t, dicts[0])
	for _, r := range []RetireRequest{{}, {IDs: []string{"x"}, Unneeded: true}, {IDs: []string{"a", "b"}, Confirm: "c"}, {IDs: []string{"zz"}}} {
		r.User = "alice"
		if _, err := w.Retire(ctx, r); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestCheck(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work")
		w.deliver("Work")
		for _, tt := range []struct {
			name    string
			secrets []Password
			healthy bool
			locked  int
		}{
			{"without a secret", nil, true, 0},
			{"with the right one", []Password{loginPassword("old")}, true, 0},
			{"with a wrong one", []Password{raw("wrong")}, false, 3},
			{"with both", []Password{raw("wrong"), raw("old")}, true, 0},
		} {
			c, err := w.Check(ctx, CheckRequest{User: "alice", Secrets: tt.secrets})
			locked := 0
			for _, k := range c.Keys {
				if k.Condition == KeyLocked {
					locked++
				}
			}
			if c.Healthy != tt.healthy || (err == nil) != tt.healthy || err != nil && !errors.Is(err, ErrUnhealthy) || locked != tt.locked || len(c.Keys) != 3 || c.Scan.Messages != 2 {
				t.Errorf("%s: %+v, %v", tt.name, c, err)
			}
		}
		// One folder key is gone, and the text of another is damaged.
		exported, err := w.Export(ctx, ExportRequest{User: "alice", Selection: Selection{Folders: []string{"*"}}})
		if err != nil || len(exported.Keys) != 2 {
			t.Fatal(exported, err)
		}
		for _, k := range exported.Keys {
			value := []byte("2:damaged:" + k.ID)
			if k.Folder == "Work" {
				value = nil
			}
			w.spoil("priv/"+k.GUID+"/vendor/vendor.dovecot/pvt/crypt/privkeys/"+k.ID, value)
		}
		c, err := w.Check(ctx, CheckRequest{User: "alice", Rows: 1})
		if !errors.Is(err, ErrUnhealthy) || c.Healthy || len(c.Missing) != 1 || c.MoreMissing != 1 {
			t.Fatalf("%+v, %v", c, err)
		}
		if c.Keys[0].Condition != KeyMissing || c.Keys[0].Folder != "Work" || c.Keys[1].Condition != KeyDamaged || c.Keys[1].Folder != "INBOX" || c.Keys[2].Condition != KeyOK {
			t.Errorf("%+v", c.Keys)
		}
		if c, err := w.Check(ctx, CheckRequest{User: "alice", Folders: []string{"Work"}}); !errors.Is(err, ErrUnhealthy) || len(c.Missing) != 1 || c.Missing[0].Folder != "Work" || c.Missing[0].UID != 1 || len(c.Missing[0].Keys) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
		// The export heals it.
		im, err := w.Import(ctx, ImportRequest{User: "alice", Keys: exported.Keys, Secrets: []Password{raw("old")}})
		if !errors.Is(err, ErrPartly) || im.Keys[0].Done == im.Keys[1].Done {
			t.Errorf("a damaged record is not overwritten: %+v, %v", im, err)
		}
		for _, k := range exported.Keys {
			w.spoil("priv/"+k.GUID+"/vendor/vendor.dovecot/pvt/crypt/privkeys/"+k.ID, nil)
		}
		if im, err = w.Import(ctx, ImportRequest{User: "alice", Keys: exported.Keys, Secrets: []Password{raw("old")}}); err != nil || !im.Keys[0].Verified {
			t.Errorf("%+v, %v", im, err)
		}
		if c, err := w.Check(ctx, CheckRequest{User: "alice"}); err != nil || !c.Healthy {
			t.Errorf("%+v, %v", c, err)
		}
		w.readsAll("old", 2)
	})
}

// TestExportImport takes all keys of a user away and brings them back, sealed and in the clear.
func TestExportImport(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work")
		w.deliver("Work")
		sealed, err := w.Export(ctx, ExportRequest{User: "alice"})
		if err != nil || len(sealed.Keys) != 3 || sealed.Keys[0].Clear || !sealed.Keys[0].User || sealed.Keys[0].Seal.By != "password" {
			t.Fatalf("%+v, %v", sealed, err)
		}
		for _, tt := range []struct {
			r    ExportRequest
			want error
		}{
			{ExportRequest{Clear: true}, ErrNeedPassword},
			{ExportRequest{Clear: true, Secrets: []Password{raw("wrong")}}, ErrPassword},
			{ExportRequest{Format: "pem"}, ErrUsage},
			{ExportRequest{Clear: true, Format: "der"}, ErrUsage},
			{ExportRequest{Selection: Selection{Folders: []string{"Nope"}}}, ErrNoKey},
		} {
			tt.r.User = "alice"
			r, err := w.Export(ctx, tt.r)
			if !errors.Is(err, tt.want) {
				t.Errorf("%+v: %v, want %v", tt.r, err, tt.want)
			}
			for _, k := range r.Keys {
				if k.Private != nil {
					t.Errorf("%+v: a private key beside an error", tt.r)
				}
			}
		}
		for _, format := range []string{"text", "pem"} {
			open, err := w.Export(ctx, ExportRequest{User: "alice", Clear: true, Format: format, Secrets: []Password{raw("old")}})
			if err != nil || len(open.Keys) != 3 || !open.Keys[2].Clear || bytes.Contains(open.Keys[0].Private, []byte("PRIVATE")) != (format == "pem") {
				t.Fatalf("%v", err)
			}
			p := loginPassword("old")
			for _, tt := range []struct {
				name string
				keys []ExportedKey
				r    ImportRequest
			}{
				{"sealed, unverified", sealed.Keys, ImportRequest{Unverified: true}},
				{"sealed", sealed.Keys, ImportRequest{Secrets: []Password{p}}},
				{"clear, " + format, open.Keys, ImportRequest{Password: &p}},
				{"clear to stay clear", open.Keys, ImportRequest{Open: true}},
			} {
				w.wipe()
				tt.r.User, tt.r.Keys, tt.r.Activate, tt.r.DryRun = "alice", tt.keys, true, true
				if r, err := w.Import(ctx, tt.r); err != nil || r.Keys[0].Done != WouldBe || len(w.list(ListRequest{}).Keys) != 0 {
					t.Errorf("%s, dry run: %+v, %v", tt.name, r, err)
				}
				tt.r.DryRun = false
				r, err := w.Import(ctx, tt.r)
				if err != nil || r.Keys[0].Done != Imported || !r.Keys[2].Activated || r.Keys[0].Verified == tt.r.Unverified {
					t.Errorf("%s: %+v, %v", tt.name, r, err)
				}
				tt.r.Secrets = []Password{p}
				if r, err := w.Import(ctx, tt.r); err != nil || r.Keys[0].Done != Already || r.Keys[2].Done != Already {
					t.Errorf("%s, again: %+v, %v", tt.name, r, err)
				}
				if c, err := w.Check(ctx, CheckRequest{User: "alice", Secrets: []Password{p}}); err != nil {
					t.Errorf("%s: %+v, %v", tt.name, c, err)
				}
				w.readsAll("old", 2)
			}
		}
	})
}

// TestImportRefuses hands in keys that are not what they say.
func TestImportRefuses(t *testing.T) {
	w := newWorld(t, dicts[0])
	w.create("Work")
	w.deliver("Work")
	open, err := w.Export(ctx, ExportRequest{User: "alice", Clear: true, Secrets: []Password{raw("old")}})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := w.Export(ctx, ExportRequest{User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	before := w.list(ListRequest{})
	change := func(k ExportedKey, fn func(*ExportedKey)) []ExportedKey {
		fn(&k)
		return []ExportedKey{k}
	}
	for _, tt := range []struct {
		name string
		keys []ExportedKey
		want error
	}{
		{"none", nil, ErrUsage},
		{"another id", change(open.Keys[1], func(k *ExportedKey) { k.ID = open.Keys[2].ID }), ErrUsage},
		{"no id", change(open.Keys[1], func(k *ExportedKey) { k.ID = "xy" }), ErrUsage},
		{"another public half", change(open.Keys[1], func(k *ExportedKey) { k.Public = open.Keys[2].Public }), ErrUsage},
		{"a public key", change(open.Keys[1], func(k *ExportedKey) { k.Private = []byte(k.Public) }), ErrUsage},
		{"rubbish", change(open.Keys[1], func(k *ExportedKey) { k.Private = []byte("rubbish") }), ErrUsage},
		{"nothing", change(open.Keys[1], func(k *ExportedKey) { k.Private = nil }), ErrUsage},
		{"too long", change(open.Keys[1], func(k *ExportedKey) { k.Private = bytes.Repeat([]byte("2:"), 1<<20) }), ErrUsage},
		{"no folder", change(open.Keys[1], func(k *ExportedKey) { k.GUID, k.Folder = "", "" }), ErrUsage},
		{"no such folder", change(open.Keys[1], func(k *ExportedKey) { k.GUID, k.Folder = "", "Nope" }), ErrUsage},
		{"no GUID", change(open.Keys[1], func(k *ExportedKey) { k.GUID, k.Folder = "12", "" }), ErrUsage},
		{"sealed, and no secret", change(sealed.Keys[0], func(k *ExportedKey) {}), ErrPassword},
	} {
		if r, err := w.Import(ctx, ImportRequest{User: "alice", Keys: tt.keys, Activate: true}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v, want %v", tt.name, r, err, tt.want)
		}
	}
	after := w.list(ListRequest{})
	if !slices.EqualFunc(before.Keys, after.Keys, func(a, b KeyInfo) bool { return a.ID == b.ID && a.Seal == b.Seal && a.Active == b.Active }) {
		t.Error("refused keys have changed something")
	}
	// Somebody else's text under the id of a key that is there, which nothing can verify.
	forged := change(sealed.Keys[0], func(k *ExportedKey) { k.Private = bytes.Replace(k.Private, []byte("aes-256"), []byte("aes-128"), 1) })
	if r, err := w.Import(ctx, ImportRequest{User: "alice", Keys: forged, Unverified: true}); !errors.Is(err, ErrConflict) {
		t.Errorf("%+v, %v, want ErrConflict", r, err)
	}
	w.readsAll("old", 2)
}

func uids(m *account.Mailbox) (list []mailbox.UID) {
	for _, msg := range m.View().All() {
		list = append(list, msg.UID)
	}
	return list
}
