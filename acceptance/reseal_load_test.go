package acceptance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/admin"
	"mailcrypt/userdb"
)

// loadTime is how long each case of the load tests takes.
func loadTime(t testing.TB) time.Duration {
	d, err := time.ParseDuration(os.Getenv("LOAD"))
	switch {
	case err == nil:
		return d
	case testing.Short():
		return 3 * time.Second
	}
	return 10 * time.Second
}

// TestPasswordChangeUnderLoad changes passwords, seals and keys again and again, in every way
// that there is, while sixty sessions read and save, mail is delivered, and somebody guesses
// passwords. No session and no delivery may see an error. LOAD=5m makes it long; RACE=1 has
// the programs look for data races.
func TestPasswordChangeUnderLoad(t *testing.T) {
	for _, dict := range []string{"bolt:~/keys.db", "file:~/Maildir/dovecot-attributes"} {
		t.Run(dict[:4], func(t *testing.T) {
			count := &loadCount{}
			var passwd strings.Builder
			var users []*loadUser
			for _, name := range []string{"many", "u1", "u2", "u3", "u4"} {
				fmt.Fprintf(&passwd, "%s:{PLAIN}first::::::mail_crypt_save_version=2\n", name)
				users = append(users, newLoadUser(name, "first", "", count))
			}
			d := setup{
				dir: scratch(t), users: passwd.String(),
				top:   fmt.Sprintf("mail_attribute_dict = %q\n", dict),
				crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 2048\n",
				rest:  "[auth]\nfailure_delay = \"50ms\"\nmax_delay = \"500ms\"\n",
				imap:  "mail_max_userip_connections = 0\n",
			}.start(t)
			for _, u := range users {
				u.address = d.imap
				c, err := u.login(t) // makes the user key; and the address is one that the user comes from
				if err != nil {
					t.Fatal(err)
				}
				c.close()
			}
			db, err := userdb.OpenPasswdFile(filepath.Join(d.dir, "users"), userdb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			load := startLoad(t, d, users, 20, 6)
			for _, u := range users {
				l := &loadAdmin{d, d.dialAdmin(t), db}
				load.until("changes of "+u.name, func(n int) error { return l.change(u, n) })
			}
			l := &loadAdmin{d, d.dialAdmin(t), db}
			load.until("operations", func(n int) error { return l.beside(users[n%len(users)], n/len(users)) })
			load.end(loadTime(t))
			after(t, d, dict, users)
			t.Log(count)
			if count.during.Load() == 0 || count.changes.Load() == 0 || count.woken.Load() == 0 || count.delivered.Load() == 0 || count.storms.Load() == 0 {
				t.Error("there was no load")
			}
		})
	}
}

// A load is what goes on until it is ended, or something in it fails.
type load struct {
	t      *testing.T
	wg     sync.WaitGroup
	stop   chan struct{}
	failed chan struct{}
	once   sync.Once
}

// startLoad has many clients of the first user and some of each other user read and save,
// idle for all of them, deliveries to all, and guesses of the passwords of two.
func startLoad(t *testing.T, d *daemon, users []*loadUser, many, some int) *load {
	l := &load{t: t, stop: make(chan struct{}), failed: make(chan struct{})}
	for i, u := range users {
		n := some
		if i == 0 {
			n = many
		}
		for client := range n {
			l.run(u.name+" at work", func() error { return u.work(t, client, l.stop) })
		}
		for range max(2, n/3) {
			l.run(u.name+" idle", func() error { return u.idle(t, l.stop) })
		}
	}
	for client := range 3 {
		l.run("deliveries", func() error { return deliver(d.lmtp, client, users, l.stop) })
	}
	l.run("guesses", func() error { return users[0].guess(l.stop) })
	l.run("guesses", func() error { return users[len(users)-1].guess(l.stop) })
	return l
}

func (l *load) run(name string, fn func() error) {
	l.wg.Go(func() {
		if err := fn(); err != nil {
			l.t.Errorf("%s: %v", name, err)
			l.once.Do(func() { close(l.failed) })
		}
	})
}

// until calls fn again and again.
func (l *load) until(name string, fn func(n int) error) {
	l.run(name, func() error {
		for n := 0; ; n++ {
			if err := fn(n); err != nil {
				return err
			}
			select {
			case <-l.stop:
				return nil
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
}

// end lets it go on for a while, or until the first failure, and waits for the end of all.
func (l *load) end(d time.Duration) {
	select {
	case <-l.failed:
	case <-time.After(d):
	}
	close(l.stop)
	l.wg.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// after looks at what a load has left: all mail once and whole, under the last password alone;
// nothing half done in the dictionary; no complaint in the log; nothing held.
func after(t *testing.T, d *daemon, dict string, users []*loadUser) {
	t.Helper()
	who, err := d.dialAdmin(t).Who(context.Background(), admin.WhoRequest{})
	for end := time.Now().Add(20 * time.Second); err == nil && len(who.Sessions) != 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		// The server notices a moment later that a client is gone.
		who, err = d.dialAdmin(t).Who(context.Background(), admin.WhoRequest{})
	}
	if err != nil || len(who.Sessions) != 0 {
		t.Errorf("sessions are left: %+v, %v", who, err)
	}
	d.bounded(t)
	for _, u := range users {
		u.verify(t, d.imap)
		r, err := d.dialAdmin(t).Check(context.Background(), admin.CheckRequest{User: u.name, Secrets: []admin.Password{u.seal()}})
		if err != nil || !r.Healthy {
			t.Errorf("check of %s: %+v, %v", u.name, r, err)
		}
	}
	d.stop(t)
	for _, line := range strings.Split(d.log.String(), "\n") {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") || strings.Contains(line, "DATA RACE") {
			t.Errorf("the log says: %s", line)
		}
	}
	for _, u := range users {
		u.dictionary(t, d, dict)
	}
}
