package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/durable"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/userdb"
)

// TestTroubles gives each operation a dictionary that cannot be written, and wants an error
// of the right kind and nothing changed.
func TestTroubles(t *testing.T) {
	inbox := mailbox.GUID{1}
	c := keys.Config{Curve: dcrypt.Prime256v1, Password: keys.AbsentSecret(), RequireSealed: true, Seal: dcrypt.SealOptions{Rounds: 1}}
	secret := keys.NewSecret([]byte("old"))
	operations := map[string]func(k *keys.Keys) error{
		"reseal": func(k *keys.Keys) error {
			_, err := k.Reseal(ctx, []keys.Secret{secret}, keys.Seal{Password: keys.NewSecret([]byte("new"))})
			return err
		},
		"rotate": func(k *keys.Keys) error { _, err := k.GenerateUserKey(ctx, secret, true); return err },
		"folders": func(k *keys.Keys) error {
			_, err := k.GenerateFolderKeys(ctx, []mailbox.GUID{inbox}, true, nil)
			return err
		},
		"rewrap": func(k *keys.Keys) error {
			_, _, err := k.Rewrap(ctx, []keys.Secret{secret}, nil, false, nil)
			return err
		},
		"retire": func(k *keys.Keys) error {
			inv, err := k.Inventory(ctx)
			if err != nil {
				return err
			}
			var list []*keys.Stored
			for _, st := range inv.Keys {
				if !st.Active && !st.User {
					list = append(list, st)
				}
			}
			return k.SetAside(ctx, list)
		},
	}
	make := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "dovecot-attributes")
		d, err := attrdict.OpenFile(path, attrdict.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		k := keys.New(d, inbox, c, nil)
		for _, rotate := range []bool{false, true} {
			if _, err := k.GenerateUserKey(ctx, secret, rotate); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := k.GenerateFolderKeys(ctx, []mailbox.GUID{inbox}, true, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		return path
	}
	for name, do := range operations {
		for _, tt := range []struct {
			trouble string
			options attrdict.FileOptions
			before  func(path string)
			want    []error
		}{
			{"full disk", attrdict.FileOptions{Faults: durable.FaultAt(2, durable.Fail, syscall.ENOSPC)}, func(string) {}, []error{ErrFull, ErrTemporary}},
			{"read-only file system", attrdict.FileOptions{Faults: durable.FaultAt(1, durable.Fail, syscall.EROFS)}, func(string) {}, []error{ErrReadOnly, ErrTemporary}},
			{"no permission", attrdict.FileOptions{Faults: durable.FaultAt(1, durable.Fail, syscall.EACCES)}, func(string) {}, []error{ErrPermission, ErrTemporary}},
			{"locked by another", attrdict.FileOptions{Wait: time.Millisecond}, func(path string) { os.WriteFile(path+".lock", []byte("1:host"), 0o600) }, []error{ErrLocked, ErrTemporary}},
			{"a link", attrdict.FileOptions{}, func(path string) {
				os.Rename(path, path+".real")
				os.Symlink(path+".real", path)
			}, []error{ErrDamaged}},
		} {
			t.Run(name+", "+tt.trouble, func(t *testing.T) {
				path := make(t)
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				tt.before(path)
				d, err := attrdict.OpenFile(path, tt.options)
				if err == nil {
					defer d.Close()
					err = do(keys.New(d, inbox, c, nil))
				}
				for _, want := range tt.want {
					if !errors.Is(classify(err), want) {
						t.Errorf("%v, want %v", classify(err), want)
					}
				}
				if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
					t.Errorf("the dictionary was changed: %v", err)
				}
			})
		}
	}
}

// TestNobodysKeys asks everything of a user who has no keys, and of nobody.
func TestNobodysKeys(t *testing.T) {
	w := newWorld(t, dicts[0])
	w.reopen()
	p := []Password{raw("x")}
	do := map[string]func(user string) error{
		"list":   func(u string) error { _, err := w.List(ctx, ListRequest{User: u, Count: true}); return err },
		"check":  func(u string) error { _, err := w.Check(ctx, CheckRequest{User: u, Secrets: p}); return err },
		"reseal": func(u string) error { _, err := w.Reseal(ctx, ResealRequest{User: u, Old: p, Open: true}); return err },
		"export": func(u string) error { _, err := w.Export(ctx, ExportRequest{User: u}); return err },
		"rewrap": func(u string) error { _, err := w.Rewrap(ctx, RewrapRequest{User: u, Secrets: p}); return err },
		"retire": func(u string) error { _, err := w.Retire(ctx, RetireRequest{User: u, Unneeded: true}); return err },
		"generate": func(u string) error {
			_, err := w.Generate(ctx, GenerateRequest{User: u, Folders: []string{"*"}})
			return err
		},
		"undo": func(u string) error { _, err := w.UndoReseal(ctx, UndoResealRequest{User: u}); return err },
		"end":  func(u string) error { _, err := w.EndReseal(ctx, EndResealRequest{User: u}); return err },
		"import": func(u string) error {
			_, err := w.Import(ctx, ImportRequest{User: u, Keys: []ExportedKey{{}}})
			return err
		},
	}
	want := map[string]error{"export": ErrNoKey, "rewrap": ErrNoKey, "generate": ErrNeedPassword, "undo": ErrNoKey, "end": ErrUsage, "import": ErrUsage}
	for name, fn := range do {
		if err := fn("nobody"); !errors.Is(err, ErrNoUser) {
			t.Errorf("%s of nobody: %v", name, err)
		}
		if err := fn("locked"); !errors.Is(err, want[name]) {
			t.Errorf("%s of a user without keys: %v, want %v", name, err, want[name])
		}
	}
}

// TestChangesUnderLoad changes password, seals and keys again and again, while sessions
// read, clients log in with the password of the moment and mail comes. No error reaches any
// of them.
func TestChangesUnderLoad(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.RetireDelay = -1
		w.create("Work")
		ctx, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var delivered atomic.Int64
		again := func(what string, fn func() error) {
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := fn(); err != nil && ctx.Err() == nil {
						t.Errorf("%s: %v", what, err)
						stop()
					}
				}
			})
		}
		var mu sync.RWMutex // of which password counts: a client knows when its own changes
		password := "old"
		user, err := w.users.Lookup(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{"INBOX", "Work"} {
			again("delivery to "+folder, func() error {
				d, err := w.Accounts.Deliver(ctx, user)
				if err != nil {
					return err
				}
				defer d.Close()
				a, err := d.Append(ctx, folder, mailbox.SaveInfo{})
				if err != nil {
					return err
				}
				io.WriteString(a, "Subject: under load\n\n")
				_, err = a.Commit()
				delivered.Add(1)
				time.Sleep(5 * time.Millisecond)
				return err
			})
		}
		again("login", func() error {
			mu.RLock()
			defer mu.RUnlock()
			u, err := w.users.Authenticate(ctx, "alice", []byte(password))
			if err != nil {
				return err
			}
			l, err := w.Accounts.Login(ctx, u, []byte(password))
			if err != nil {
				return err
			}
			defer l.Close()
			return readSome(ctx, l)
		})
		l, err := w.Accounts.Login(ctx, user, []byte("old"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		again("session", func() error { return readSome(ctx, l) })
		for n := range 12 {
			next := fmt.Sprint("pw", n)
			mu.Lock()
			_, err := w.SetPassword(ctx, SetPasswordRequest{User: "alice", Old: []byte(password), New: []byte(next), Scheme: "PLAIN", KeepOld: int64(n % 2)})
			password = next
			mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			p := loginPassword(next)
			secrets := []Password{p}
			switch n % 4 {
			case 0:
				_, err = w.Generate(ctx, GenerateRequest{User: "alice", UserKey: true, Folders: []string{"*"}, Force: true, Password: &p, Rewrap: true})
			case 1:
				_, err = w.Check(ctx, CheckRequest{User: "alice", Secrets: secrets})
			case 2:
				_, err = w.Rewrap(ctx, RewrapRequest{User: "alice", Secrets: secrets})
			case 3:
				_, err = w.Retire(ctx, RetireRequest{User: "alice", Unneeded: true})
			}
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrInUse) {
				t.Errorf("%d: %v", n, err)
			}
		}
		stop()
		wg.Wait()
		ctx = context.Background()
		w.readsAll(password, int(delivered.Load())+1)
	})
}

func readSome(ctx context.Context, l *account.Login) error {
	for _, folder := range []string{"INBOX", "Work"} {
		m, err := l.Open(ctx, folder, true)
		if err != nil {
			return err
		}
		v, err := m.Sync(ctx)
		if err != nil {
			return errors.Join(err, m.Close())
		}
		for i := max(0, v.Len()-5); i < v.Len(); i++ {
			r, err := m.Read(ctx, v.At(i).UID)
			if err != nil {
				return errors.Join(err, m.Close())
			}
			r.Close()
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryErrorHasItsKind classifies what the layers below say.
func TestEveryErrorHasItsKind(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want []error
	}{
		{keys.ErrPassword, []error{ErrPassword}}, {keys.ErrNoUserKey, []error{ErrNeedPassword}}, {keys.ErrNoGeneration, []error{ErrUsage}},
		{attrdict.ErrLocked, []error{ErrLocked, ErrTemporary}}, {attrdict.ErrCorrupt, []error{ErrDamaged}}, {attrdict.ErrChanged, []error{ErrConflict, ErrTemporary}},
		{context.Canceled, []error{ErrCanceled}}, {io.ErrUnexpectedEOF, []error{ErrTemporary}}, {userdb.ErrNoUser, []error{ErrTemporary}},
	} {
		err := toWire(classify(fmt.Errorf("somewhere: %w", tt.err)))
		for _, want := range tt.want {
			if !errors.Is(err, want) {
				t.Errorf("%v becomes %v of %v, want %v", tt.err, err, err.Kinds, want)
			}
		}
	}
	if classify(nil) != nil || toWire(nil) != nil {
		t.Error("no error becomes one")
	}
}
