package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/mailbox"
	"mailcrypt/userdb"
)

var ctx = context.Background()

// A world is a user alice with a message, and the administration of her.
type world struct {
	*Local
	t     *testing.T
	dir   string
	dict  string
	users *userdb.PasswdFile
}

// registry opens the users' mail.
func (w *world) registry() *account.Registry {
	return account.NewRegistry(account.Options{Defaults: account.Defaults{
		MailHome: w.dir + "/%u", MailLocation: "maildir:~/Maildir", AttributeDict: w.dict,
		Crypt: map[string]string{"curve": "prime256v1", "private_password": "%{password}", "seal_rounds": "1", "save_version": "2"},
	}})
}

// reopen closes all files, as a restart does.
func (w *world) reopen() {
	w.t.Helper()
	if err := w.Accounts.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.Accounts = w.registry()
}

func newWorld(t *testing.T, dict string) *world {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	if err := os.WriteFile(path, []byte("alice:{PLAIN}old::::::\nlocked:{PLAIN}old::::::nologin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := userdb.OpenPasswdFile(path, userdb.Options{NoWatch: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{&Local{Users: users, Build: "test"}, t, dir, dict, users}
	w.Accounts = w.registry()
	t.Cleanup(func() {
		if err := errors.Join(w.Accounts.Close(), users.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.inbox("old"); err != nil { // makes the keys
		t.Fatal(err)
	}
	u, err := users.Lookup(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.Accounts.Deliver(ctx, u)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := d.Append(ctx, "INBOX", mailbox.SaveInfo{})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(a, "Subject: kept\n\n")
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	return w
}

var errUnreadable = errors.New("a message is not readable")

// inbox logs alice in as imapd does and reads her messages.
func (w *world) inbox(password string) (n int, err error) {
	u, err := w.users.Authenticate(ctx, "alice", []byte(password))
	if err != nil {
		return 0, err
	}
	l, err := w.Accounts.Login(ctx, u, []byte(password))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	m, err := l.Open(ctx, "INBOX", true)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	v, err := m.Sync(ctx)
	if err != nil {
		return 0, err
	}
	for _, msg := range v.All() {
		r, err := m.Read(ctx, msg.UID)
		if err != nil {
			return n, fmt.Errorf("%w: %w", errUnreadable, err)
		}
		r.Close()
		n++
	}
	return n, nil
}

// reads wants a password to log in and to read the message.
func (w *world) reads(password string) {
	w.t.Helper()
	if n, err := w.inbox(password); n != 1 || err != nil {
		w.t.Errorf("with %q: %d messages read, %v", password, n, err)
	}
}

// refuses wants a password to be refused at the login.
func (w *world) refuses(password string) {
	w.t.Helper()
	if _, err := w.inbox(password); !errors.Is(err, userdb.ErrAuth) {
		w.t.Errorf("with %q: %v, want ErrAuth", password, err)
	}
}

func (w *world) set(old, fresh string) (ResealResult, error) {
	return w.SetPassword(ctx, SetPasswordRequest{User: "alice", Old: []byte(old), New: []byte(fresh), Scheme: "SHA256"})
}

func TestSetPassword(t *testing.T) {
	for _, dict := range []string{"bolt:~/keys.db", "file:~/dovecot-attributes"} {
		w := newWorld(t, dict)
		r, err := w.set("old", "new")
		if err != nil || !r.LoginChanged || r.Changed() != 1 {
			t.Fatal(r, err)
		}
		w.reads("new")
		w.refuses("old")
		if _, err := w.set("old", "newer"); !errors.Is(err, ErrPassword) {
			t.Errorf("the old password again: %v, want ErrPassword", err)
		}
		if r, err := w.set("new", "new"); err != nil || !r.LoginChanged {
			t.Errorf("the same password: %+v, %v", r, err)
		}
		w.reads("new")
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db")
	secret := func(s string) *Password { return &Password{Secret: []byte(s)} }
	for _, tt := range []struct {
		name string
		do   func() error
		want error
	}{
		{"empty new password", func() error { _, err := w.set("old", ""); return err }, ErrUsage},
		{"wrong old password", func() error { _, err := w.set("wrong", "new"); return err }, ErrPassword},
		{"unknown scheme", func() error {
			_, err := w.SetPassword(ctx, SetPasswordRequest{User: "alice", Old: []byte("old"), New: []byte("x"), Scheme: "NOPE"})
			return err
		}, ErrUsage},
		{"no such user", func() error {
			_, err := w.SetPassword(ctx, SetPasswordRequest{User: "carol", Old: []byte("old"), New: []byte("x")})
			return err
		}, ErrNoUser},
		{"user who may not log in", func() error {
			_, err := w.SetPassword(ctx, SetPasswordRequest{User: "locked", Old: []byte("old"), New: []byte("x")})
			return err
		}, ErrPassword},
		{"reseal to nothing", func() error { _, err := w.Reseal(ctx, ResealRequest{User: "alice"}); return err }, ErrUsage},
		{"reseal to both", func() error {
			_, err := w.Reseal(ctx, ResealRequest{User: "alice", New: secret("x"), Open: true})
			return err
		}, ErrUsage},
		{"reseal to an empty password", func() error {
			_, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{*secret("old")}, New: secret("")})
			return err
		}, ErrUsage},
		{"reseal with a wrong one", func() error {
			_, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{*secret("wrong")}, New: secret("x")})
			return err
		}, ErrPassword},
		{"reseal nobody's", func() error { _, err := w.Reseal(ctx, ResealRequest{User: "carol", New: secret("x")}); return err }, ErrNoUser},
	} {
		if err := tt.do(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		w.reads("old")
	}
}

func TestReseal(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db")
	old, fresh := Password{Secret: []byte("old"), Login: true}, Password{Secret: []byte("raw")}
	if r, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{old}, New: &fresh}); err != nil || r.Changed() != 1 {
		t.Fatal(r, err)
	}
	if _, err := w.inbox("old"); !errors.Is(err, errUnreadable) {
		t.Errorf("the old password still opens the keys: %v", err)
	}
	if _, err := w.set("old", "new"); !errors.Is(err, ErrPassword) {
		t.Errorf("a login password that opens no key was changed: %v", err)
	}
	if _, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{{Secret: []byte("raw")}}, Open: true}); err != nil {
		t.Fatal(err)
	}
	w.reads("old") // an open key is sealed at the login
	if _, err := w.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{{Secret: []byte("old")}}, New: &Password{Secret: []byte("x")}}); err != nil {
		t.Error("the login did not seal the open key: ", err)
	}
}

// A stoppingUsers fails, before or after the change, or panics as if the process had ended.
type stoppingUsers struct {
	Users
	before, after func()
	err           error
	change        bool
}

func (s *stoppingUsers) SetPassword(ctx context.Context, name, hash string) error {
	if s.before != nil {
		s.before()
	}
	if s.change {
		if err := s.Users.SetPassword(ctx, name, hash); err != nil {
			return err
		}
	}
	if s.after != nil {
		s.after()
	}
	return s.err
}

type death struct{}

// TestStoppedBetweenPhases stops the change before and after the login hash, by an error and
// by the end of the process, and lets logins come in between.
func TestStoppedBetweenPhases(t *testing.T) {
	die := func() { panic(death{}) }
	for _, tt := range []struct {
		name string
		how  stoppingUsers
		// works is the password that must log in and read afterwards.
		works string
	}{
		{"an error before", stoppingUsers{err: errors.New("disk full")}, "old"},
		{"an error after the rename", stoppingUsers{change: true, err: errors.New("sync failed")}, "new"},
		{"the end before", stoppingUsers{before: die}, "old"},
		{"the end after", stoppingUsers{change: true, after: die}, "new"},
	} {
		for _, dict := range []string{"bolt:~/keys.db", "file:~/dovecot-attributes"} {
			t.Run(tt.name+", "+dict[:4], func(t *testing.T) {
				w := newWorld(t, dict)
				how := tt.how
				how.Users = w.users
				w.Local = &Local{Accounts: w.Accounts, Users: &how}
				func() {
					defer func() {
						if p := recover(); p != nil && p != (death{}) {
							panic(p)
						}
					}()
					if _, err := w.set("old", "new"); err == nil {
						t.Error("the change reports success")
					}
				}()
				w.Local = &Local{Accounts: w.Accounts, Users: w.users}
				w.reads(tt.works)
				if r, err := w.set(tt.works, "final"); err != nil || r.Changed() != 1 {
					t.Error("a later change: ", r, err)
				}
				w.reads("final")
			})
		}
	}
}

func TestLoginBetweenPhases(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db")
	w.Local = &Local{Accounts: w.Accounts, Users: &stoppingUsers{Users: w.users, change: true,
		before: func() { w.reads("old") }, after: func() { w.reads("new") }}}
	if r, err := w.set("old", "new"); err != nil || !r.LoginChanged {
		t.Fatal(r, err)
	}
	w.reads("new")
}

// TestConcurrentChanges: of several changes with one old password, one is made, and the
// others are told that it is wrong by then.
func TestConcurrentChanges(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db")
	var mu sync.Mutex
	var made []string
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			fresh := fmt.Sprintf("new%d", i)
			_, err := w.set("old", fresh)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, fresh)
			} else if !errors.Is(err, ErrPassword) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Fatalf("%q were all made", made)
	}
	w.reads(made[0])
}

// serve offers a service on a socket.
func serve(t *testing.T, s Service) (*Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "adm") // t.TempDir's names may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, SocketName)
	srv, err := Listen(path, s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv, path
}

func TestOverTheSocket(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db")
	srv, path := serve(t, w.Local)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v, want mode 0600", fi, err)
	}
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.Status(ctx); err != nil || s.PID != os.Getpid() || s.Version != "test" {
		t.Errorf("status %+v, %v", s, err)
	}
	for _, tt := range []struct {
		old  string
		want error
	}{{"wrong", ErrPassword}, {"old", nil}} {
		r, err := c.SetPassword(ctx, SetPasswordRequest{User: "alice", Old: []byte(tt.old), New: []byte("new\xff \"")})
		if !errors.Is(err, tt.want) || r.LoginChanged != (tt.want == nil) {
			t.Errorf("%q: %+v, %v, want %v", tt.old, r, err, tt.want)
		}
	}
	w.reads("new\xff \"")
	if r, err := c.Reseal(ctx, ResealRequest{User: "alice", Old: []Password{{Secret: []byte("no")}}, Open: true}); !errors.Is(err, ErrPassword) || len(r.Keys) != 1 {
		t.Errorf("the result beside an error: %+v, %v", r, err)
	}
	if _, err := c.Reseal(ctx, ResealRequest{User: "nobody", Open: true}); !errors.Is(err, ErrNoUser) {
		t.Errorf("%v, want ErrNoUser", err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Status(ctx); !errors.Is(err, ErrTemporary) {
		t.Errorf("after the daemon has gone: %v, want ErrTemporary", err)
	}
	if _, err := Dial(ctx, path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("dialling then: %v, want ErrNoDaemon", err)
	}
}

func TestGarbageRequests(t *testing.T) {
	_, path := serve(t, newWorld(t, "bolt:~/keys.db").Local)
	for _, tt := range []struct {
		name, send, want string
	}{
		{"no JSON", "hello\n", "not a line of JSON"},
		{"unknown", `{"do":"Reboot","version":3}` + "\n", "does not know how"},
		{"no arguments", `{"do":"Reseal","version":3}` + "\n", "do not fit"},
		{"arguments of another form", `{"do":"SetPassword","version":3,"args":[1,2]}` + "\n", "do not fit"},
		{"of an older client", `{"do":"Status"}` + "\n", "the client version 0"},
		{"nothing", "\n", "not a line of JSON"},
		{"deep", strings.Repeat("[", 200_000) + "\n", "not a line of JSON"},
		{"too long", `{"do":"` + strings.Repeat("x", maxLine) + `"}` + "\n", ""},
		{"cut off", `{"do":"Status"`, "not a line of JSON"},
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		in := bufio.NewReader(c)
		if hello, err := in.ReadString('\n'); hello != fmt.Sprintf("mailcryptd-admin %d\n", Version) {
			t.Fatalf("greeted with %q, %v", hello, err)
		}
		io.WriteString(c, tt.send)
		c.(*net.UnixConn).CloseWrite()
		answer, _ := io.ReadAll(in)
		if !strings.Contains(string(answer), tt.want) || tt.want == "" && len(answer) > 0 {
			t.Errorf("%s: answered with %q, want %q in it", tt.name, answer, tt.want)
		}
		c.Close()
	}
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal("the server does not go on: ", err)
	}
	c.Close()
}

// A slowService takes its time.
type slowService struct {
	Service
	began chan struct{}
	end   chan struct{}
}

func (s *slowService) Status(context.Context) (Status, error) {
	close(s.began)
	<-s.end
	return Status{PID: 7}, nil
}

// TestCloseAnswers closes the server in mid request: the request is answered first.
func TestCloseAnswers(t *testing.T) {
	slow := &slowService{began: make(chan struct{}), end: make(chan struct{})}
	srv, path := serve(t, slow)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan error, 1)
	go func() {
		s, err := c.Status(ctx)
		if s.PID != 7 {
			err = errors.Join(err, errors.New("no answer"))
		}
		got <- err
	}()
	<-slow.began
	closed := make(chan error, 1)
	go func() { closed <- srv.Close() }()
	for { // until the listener is gone, so that closing has begun
		probe, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		probe.Close()
	}
	close(slow.end)
	if err := <-got; err != nil {
		t.Error("the request under way: ", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	srv, path := serve(t, &Local{})
	srv.Close()
	// The socket of a daemon that was killed.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Dial(ctx, path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a stale socket: %v, want ErrNoDaemon", err)
	}
	again, err := Listen(path, &Local{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal("over a stale socket: ", err)
	}
	again.Close()
	for mode, ok := range map[os.FileMode]bool{0o755: true, 0o770: false, 0o777: false} {
		if err := os.Chmod(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		srv, err := Listen(path, &Local{}, slog.New(slog.DiscardHandler))
		if (err == nil) != ok {
			t.Errorf("in a directory of mode %o: %v", mode, err)
		}
		if err == nil {
			if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("the socket: %v, %v", fi.Mode(), err)
			}
			srv.Close()
		}
	}
}

// TestStrangeServers: what answers on the socket may be another program, or an older one.
func TestStrangeServers(t *testing.T) {
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for i, hello := range []string{"", "mailcryptd-admin 1\n", "220 smtp\r\n", "mailcryptd-admin 2\nnot json\n", "mailcryptd-admin 2\n{}\n"} {
		path := filepath.Join(dir, fmt.Sprint(i))
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, hello)
			if strings.Count(hello, "\n") == 2 {
				bufio.NewReader(c).ReadString('\n')
			}
			c.Close()
		}()
		c, err := Dial(ctx, path)
		if err == nil {
			_, err = c.SetPassword(ctx, SetPasswordRequest{})
			c.Close()
			if hello == "mailcryptd-admin 2\n{}\n" && err == nil {
				t.Error("an answer without result and error is taken for success")
			}
		}
		if err == nil {
			t.Errorf("%q passes", hello)
		}
		l.Close()
	}
}

// TestErrorsKeepTheirKind sends every kind across.
func TestErrorsKeepTheirKind(t *testing.T) {
	for name, kind := range kinds {
		b, err := json.Marshal(response{Error: toWire(fmt.Errorf("%w: more", kind))})
		if err != nil {
			t.Fatal(err)
		}
		var r response
		if err := json.Unmarshal(b, &r); err != nil || !errors.Is(r.Error, kind) || !strings.Contains(r.Error.Error(), "more") {
			t.Errorf("%s: %v, %v", name, r.Error, err)
		}
	}
}
