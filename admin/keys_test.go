package admin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"mailcrypt/account"
	"mailcrypt/mailbox"
)

// deliver saves a message in a folder, as LMTP does.
func (w *world) deliver(folder string) {
	w.t.Helper()
	u, err := w.users.Lookup(ctx, "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.Accounts.Deliver(ctx, u)
	if err != nil {
		w.t.Fatal(err)
	}
	defer d.Close()
	a, err := d.Append(ctx, folder, mailbox.SaveInfo{})
	if err != nil {
		w.t.Fatal(err)
	}
	io.WriteString(a, "Subject: to "+folder+"\n\n")
	if _, err := a.Commit(); err != nil {
		w.t.Fatal(err)
	}
}

// login logs alice in, for as long as fn runs.
func (w *world) login(password string, fn func(*account.Login)) {
	w.t.Helper()
	u, err := w.users.Authenticate(ctx, "alice", []byte(password))
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := w.Accounts.Login(ctx, u, []byte(password))
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	fn(l)
}

func (w *world) create(folders ...string) {
	w.t.Helper()
	w.login("old", func(l *account.Login) {
		for _, f := range folders {
			if err := l.Create(ctx, f); err != nil {
				w.t.Fatal(err)
			}
		}
	})
}

// readAll reads every message of every folder with a password and returns how many there
// are, and how many open.
func (w *world) readAll(password string) (all, open int) {
	w.t.Helper()
	w.login(password, func(l *account.Login) {
		folders, err := l.List(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range folders {
			if !f.Selectable {
				continue
			}
			m, err := l.Open(ctx, f.Name, true)
			if err != nil {
				w.t.Fatal(err)
			}
			v, err := m.Sync(ctx)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, msg := range v.All() {
				all++
				if r, err := m.Read(ctx, msg.UID); err == nil {
					open++
					r.Close()
				}
			}
			m.Close()
		}
	})
	return all, open
}

func (w *world) readsAll(password string, want int) {
	w.t.Helper()
	if all, open := w.readAll(password); all != want || open != want {
		w.t.Errorf("with %q: %d of %d messages open, want %d of %d", password, open, all, want, want)
	}
}

func loginPassword(s string) Password { return Password{Secret: []byte(s), Login: true} }

func (w *world) list(r ListRequest) ListResult {
	w.t.Helper()
	r.User = "alice"
	l, err := w.List(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

var dicts = []string{"bolt:~/keys.db", "file:~/dovecot-attributes"}

func eachDict(t *testing.T, fn func(*testing.T, *world)) {
	for _, dict := range dicts {
		t.Run(dict[:4], func(t *testing.T) { fn(t, newWorld(t, dict)) })
	}
}

// TestRotateAndRewrap: a new user key, with which Dovecot's own command stops, and all folder
// keys under it.
func TestRotateAndRewrap(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work", "Work.Old", "Lists")
		for _, f := range []string{"Work", "Work.Old", "Lists"} {
			w.deliver(f)
		}
		old := w.list(ListRequest{Selection: Selection{UserKeys: true}}).Keys
		if len(old) != 1 || !old[0].Active || old[0].Wraps != 4 || old[0].Seal.By != "password" || old[0].Curve != "prime256v1" || old[0].OldID == "" {
			t.Fatalf("user keys at first: %+v", old)
		}
		for _, tt := range []struct {
			p    *Password
			want error
		}{{nil, ErrNeedPassword}, {&Password{Secret: []byte("wrong")}, ErrPassword}, {&Password{Secret: []byte("wrong"), Login: true}, ErrPassword}} {
			if _, err := w.Generate(ctx, GenerateRequest{User: "alice", UserKey: true, Force: true, Password: tt.p}); !errors.Is(err, tt.want) {
				t.Errorf("rotating with %v: %v, want %v", tt.p, err, tt.want)
			}
		}
		if n := len(w.list(ListRequest{}).Keys); n != 5 {
			t.Fatalf("%d keys after refusals, want 5", n)
		}
		if r, err := w.Generate(ctx, GenerateRequest{User: "alice", UserKey: true}); err != nil || len(r.Keys) != 1 || r.Keys[0].Made || r.Keys[0].ID != old[0].ID {
			t.Errorf("without force: %+v, %v", r, err)
		}
		p := loginPassword("old")
		g, err := w.Generate(ctx, GenerateRequest{User: "alice", UserKey: true, Force: true, Password: &p})
		if err != nil || len(g.Keys) != 1 || !g.Keys[0].Made || g.Keys[0].Was != old[0].ID || g.Keys[0].Seal.By != "password" {
			t.Fatalf("rotating: %+v, %v", g, err)
		}
		w.readsAll("old", 4)
		w.deliver("Work")
		if _, err := w.Rewrap(ctx, RewrapRequest{User: "alice"}); !errors.Is(err, ErrNeedPassword) {
			t.Errorf("without a secret: %v", err)
		}
		if _, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: []Password{{Secret: []byte("wrong")}}}); !errors.Is(err, ErrPassword) {
			t.Errorf("with a wrong secret: %v", err)
		}
		dry, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: []Password{p}, DryRun: true})
		if err != nil || dry.Count(WouldBe) != 4 {
			t.Errorf("dry run: %+v, %v", dry, err)
		}
		some, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: []Password{p}, Folders: []string{"Work%"}})
		if err != nil || some.Count(Rewrapped) != 1 || len(some.Keys) != 1 || some.Keys[0].Folder != "Work" || some.Keys[0].From != old[0].ID || some.To != g.Keys[0].ID {
			t.Errorf("of one folder: %+v, %v", some, err)
		}
		all, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: []Password{p}})
		if err != nil || all.Count(Rewrapped) != 3 || all.Count(Already) != 1 {
			t.Errorf("of all: %+v, %v", all, err)
		}
		if again, err := w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: []Password{p}}); err != nil || again.Count(Already) != 4 {
			t.Errorf("again: %+v, %v", again, err)
		}
		for _, k := range w.list(ListRequest{}).Keys {
			want := map[bool]int{true: 4, false: 0}[k.Active]
			if k.User && k.Wraps != want || !k.User && (k.Seal.Key != g.Keys[0].ID || k.Problem != "") {
				t.Errorf("%+v", k)
			}
		}
		w.readsAll("old", 5)
	})
}

// TestGenerateFolders makes keys ahead of the first mail, and others later.
func TestGenerateFolders(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.create("Work", "Work.Old", "Lists")
		g, err := w.Generate(ctx, GenerateRequest{User: "alice", Folders: []string{"Work*", "inbox"}})
		if err != nil || g.Matched != 3 || len(g.Keys) != 3 {
			t.Fatalf("%+v, %v", g, err)
		}
		for _, k := range g.Keys {
			if k.Made == (k.Folder == "INBOX") || k.Error != "" {
				t.Errorf("%+v", k)
			}
		}
		w.deliver("Work")
		g, err = w.Generate(ctx, GenerateRequest{User: "alice", Folders: []string{"*"}, Force: true})
		if err != nil || g.Matched != 4 {
			t.Fatalf("%+v, %v", g, err)
		}
		w.deliver("Work")
		w.readsAll("old", 3)
		l := w.list(ListRequest{Count: true, Selection: Selection{Folders: []string{"Work"}}})
		if len(l.Keys) != 2 || *l.Keys[0].Messages != 1 || *l.Keys[1].Messages != 1 || !l.Keys[0].Active || l.Keys[1].Active || l.Scan.Encrypted != 3 {
			t.Errorf("%+v, %+v", l.Keys, l.Scan)
		}
	})
}

// TestListDeletedFolder: the keys of a deleted folder stay, and show as such.
func TestListDeletedFolder(t *testing.T) {
	w := newWorld(t, dicts[0])
	w.create("Gone")
	w.deliver("Gone")
	w.login("old", func(l *account.Login) {
		if err := l.Delete(ctx, "Gone"); err != nil {
			t.Fatal(err)
		}
	})
	l := w.list(ListRequest{Selection: Selection{Deleted: true}, Count: true})
	if len(l.Keys) != 1 || l.Keys[0].Folder != "" || l.Keys[0].Active || *l.Keys[0].Messages != 0 {
		t.Errorf("%+v", l.Keys)
	}
	if _, err := w.List(ctx, ListRequest{User: "alice", Selection: Selection{IDs: []string{"xy"}}}); !errors.Is(err, ErrUsage) {
		t.Errorf("a wrong id: %v", err)
	}
	if _, err := w.List(ctx, ListRequest{User: "alice", Selection: Selection{IDs: []string{fmt.Sprintf("%064x", 1)}}}); !errors.Is(err, ErrNoKey) {
		t.Errorf("an unknown id: %v", err)
	}
}

// TestListShowsLostKeys: messages whose key is gone from the dictionary.
func TestListShowsLostKeys(t *testing.T) {
	w := newWorld(t, dicts[1])
	path := filepath.Join(w.dir, "alice", "dovecot-attributes")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l := w.list(ListRequest{Count: true})
	if len(l.Keys) != 1 || l.Keys[0].State != StateNeeded || *l.Keys[0].Messages != 1 || l.Keys[0].Folder != "INBOX" {
		t.Errorf("%+v", l.Keys)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true}, {"%", "a/b", false}, {"%", "a", true}, {"a/%", "a/b", true}, {"a/%", "a/b/c", false},
		{"a*c", "a/b/c", true}, {"", "", true}, {"", "a", false}, {"*b", "aab", true}, {"inbox", "INBOX", true},
		{"inbox/x", "INBOX/x", false}, {"a", "A", false}, {"***", "x", true}, {"a%c*", "abc/d", true},
	} {
		if got := match(tt.pattern, tt.name, '/'); got != tt.want {
			t.Errorf("match(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}
