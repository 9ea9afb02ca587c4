package acceptance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/admin"
)

// dialAdmin connects to the admin socket of a daemon.
func (d *daemon) dialAdmin(t testing.TB) *admin.Client {
	t.Helper()
	path := filepath.Join(d.dir, "state", admin.SocketName)
	c, err := admin.Dial(context.Background(), path)
	// The socket is the last thing that a daemon opens.
	for end := time.Now().Add(20 * time.Second); errors.Is(err, admin.ErrNoDaemon) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c, err = admin.Dial(context.Background(), path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestKeyLifeOfVectors takes the keys of each recorded store through their life: listed,
// checked, exported, sealed anew; then a new user key, all folder keys under it, the old one
// destroyed. Real Dovecot reads every message with the new secret afterwards, and none with
// the old one.
func TestKeyLifeOfVectors(t *testing.T) {
	for _, v := range loadVectors(t, func(v *vector) bool {
		return !v.Damaged && !v.WrongKeys && v.Crypt.Protection != "global" && v.Crypt.Protection != ""
	}) {
		t.Run(v.Case, func(t *testing.T) {
			d := v.serve(t)
			c := d.dialAdmin(t)
			for _, u := range v.Users {
				takeThroughLife(t, c, v, u)
			}
			checkByOurs(t, c, v)
			d.stop(t)
			checkByDovecot(t, d.dir, v)
		})
	}
}

// newSecret is of hex digits, as the keys of version 1 need it.
func newSecret(u vectorUser) []byte { return fmt.Appendf(nil, "%x", "new-secret-of-"+u.Name) }

func takeThroughLife(t *testing.T, c *admin.Client, v *vector, u vectorUser) {
	t.Helper()
	ctx := context.Background()
	var old []admin.Password
	if p := u.UserDB["mail_crypt_private_password"]; p != "" {
		old = []admin.Password{{Secret: []byte("not this one")}, {Secret: []byte(p)}}
	}
	list, err := c.List(ctx, admin.ListRequest{User: u.Name, Count: true})
	if err != nil || len(list.Keys) == 0 {
		t.Fatalf("list: %+v, %v", list, err)
	}
	counted, active := int64(0), 0
	var userKeys []string
	for _, k := range list.Keys {
		if k.Problem != "" || k.State != "" || k.OldID == "" || k.Curve == "" {
			t.Errorf("listed: %+v", k)
		}
		if !k.User {
			counted += *k.Messages
		} else {
			userKeys = append(userKeys, k.ID)
		}
		if k.Active {
			active++
		}
	}
	if counted != list.Scan.Encrypted || active < 1 {
		t.Errorf("%d messages are counted, %d are encrypted; %d keys active", counted, list.Scan.Encrypted, active)
	}
	if v.Crypt.SaveVersion == 1.0 {
		r, err := c.Reseal(ctx, admin.ResealRequest{User: u.Name, Old: old, New: &admin.Password{Secret: []byte("no hex")}})
		if !errors.Is(err, admin.ErrUsage) || r.Changed() != 0 {
			t.Errorf("a key of version 1 under a password that Dovecot cannot use: %+v, %v", r, err)
		}
	}
	if r, err := c.Check(ctx, admin.CheckRequest{User: u.Name, Secrets: old}); err != nil || !r.Healthy {
		t.Errorf("check: %+v, %v", r, err)
	}
	clear, err := c.Export(ctx, admin.ExportRequest{User: u.Name, Clear: true, Secrets: old})
	if err != nil || len(clear.Keys) != len(list.Keys) {
		t.Errorf("export: %d keys of %d, %v", len(clear.Keys), len(list.Keys), err)
	}
	seal, err := c.Reseal(ctx, admin.ResealRequest{User: u.Name, Old: old, New: &admin.Password{Secret: newSecret(u)}, All: true})
	if err != nil || seal.Changed() != len(userKeys) {
		t.Fatalf("reseal: %+v, %v", seal, err)
	}
	secret := admin.Password{Secret: newSecret(u)}
	g, err := c.Generate(ctx, admin.GenerateRequest{User: u.Name, UserKey: true, Force: true, Password: &secret})
	if err != nil {
		// Curves that are read only, and version 1, which has keys of its own.
		t.Logf("no new user key: %v", err)
		return
	}
	if v.Crypt.Protection == "private_key" {
		// A new key is sealed to the configured one; Dovecot shall do with the password here.
		key := g.Keys[0].ID
		if _, err := c.Reseal(ctx, admin.ResealRequest{User: u.Name, New: &secret, Keys: []string{key}}); err != nil {
			t.Errorf("reseal of the new key: %v", err)
		}
	}
	r, err := c.Rewrap(ctx, admin.RewrapRequest{User: u.Name, Secrets: []admin.Password{secret}})
	if err != nil || r.Count(admin.Rewrapped) != len(list.Keys)-len(userKeys) {
		t.Errorf("rewrap: %+v, %v", r, err)
	}
	if strings.Contains(v.Case, "shared") {
		return // other users' dictionaries have copies of folder keys under the old user key
	}
	if r, err := c.Retire(ctx, admin.RetireRequest{User: u.Name, IDs: userKeys}); err != nil || len(r.Keys) != len(userKeys) || r.Keys[0].Done != admin.Destroyed {
		t.Errorf("retire: %+v, %v", r, err)
	}
}

// checkByOurs wants every message to have its key under the new secret, and none under
// the old one.
func checkByOurs(t *testing.T, c *admin.Client, v *vector) {
	t.Helper()
	for _, u := range v.Users {
		r, err := c.Check(context.Background(), admin.CheckRequest{User: u.Name, Secrets: []admin.Password{{Secret: newSecret(u)}}})
		if err != nil || !r.Healthy {
			t.Errorf("%s with the new secret: %+v, %v", u.Name, r, err)
		}
	}
}

// checkByDovecot reads the store with real Dovecot. The user "old" has the same home, and the
// secrets from before.
func checkByDovecot(t *testing.T, dir string, v *vector) {
	t.Helper()
	var users string
	for _, u := range v.Users {
		users += fmt.Sprintf("%s:{PLAIN}pass::::::userdb_mail_crypt_private_password=%s\n", u.Name, newSecret(u))
		users += fmt.Sprintf("old-%s:{PLAIN}pass::::::userdb_mail_crypt_private_password=%s\n", u.Name, cond(u.UserDB["mail_crypt_private_password"], "none"))
		if err := os.Symlink(filepath.Join(dir, u.Home), filepath.Join(dir, "old-"+u.Name)); err != nil {
			t.Fatal(err)
		}
	}
	dove := dovecotSetup{homes: dir, users: users, dict: "file:%h/" + v.AttributesFile,
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\n"}.start(t)
	for _, u := range v.Users {
		c := login(t, dove.imap, u.Name, "pass")
		o := login(t, dove.imap, "old-"+u.Name, "pass")
		for _, m := range u.Mailboxes {
			if strings.HasPrefix(m.Name, "shared.") || len(m.Messages) == 0 {
				continue
			}
			got := c.fetchAll(m.IMAPName)
			for _, want := range m.Messages {
				if f := got[want.UID]; !f.haveBody || sha(f.body) != want.SHA256 {
					t.Errorf("Dovecot does not read %s/%d with the new secret", m.Name, want.UID)
				}
			}
			if a := o.do("EXAMINE %s", quote(m.IMAPName)); !a.ok() {
				t.Errorf("EXAMINE with the old secret: %s", a.tagged)
				continue
			}
			encrypted := slices.IndexFunc(m.Messages, func(m vectorMessage) bool { return m.Stored == "" || strings.Contains(m.Stored, "encrypted") })
			if encrypted >= 0 {
				o.mustNotRead(t, m.Messages[encrypted].UID)
				o = login(t, dove.imap, "old-"+u.Name, "pass")
			}
		}
	}
}

// mustNotRead wants a message not to be given out. Dovecot ends the session over it.
func (i *imapConn) mustNotRead(t *testing.T, uid int) {
	t.Helper()
	if _, err := fmt.Fprintf(i.c, "x UID FETCH %d (BODY.PEEK[])\r\n", uid); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := i.r.ReadString('\n')
		switch {
		case err != nil, strings.HasPrefix(line, "* BYE"), strings.HasPrefix(line, "x NO"):
			return
		case strings.HasPrefix(line, "x OK"):
			t.Errorf("Dovecot reads UID %d with the old secret", uid)
			return
		}
	}
}

// TestKillKeyOperations kills the daemon with signal 9 in the middle of operations on keys,
// at moments drawn over the time that they take. Afterwards every message is there and opens,
// and the operation asked for again completes.
func TestKillKeyOperations(t *testing.T) {
	rounds := 16
	if testing.Short() {
		rounds = 4
	}
	for _, dict := range []string{"bolt:~/keys.db", "file:~/Maildir/dovecot-attributes"} {
		t.Run(dict[:4], func(t *testing.T) {
			d := setup{
				dir: scratch(t), users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
				top:   fmt.Sprintf("mail_attribute_dict = %q\n", dict),
				crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 60\n",
			}.start(t)
			c := login(t, d.imap, "u", "pw")
			m := mail("kept", 2000)
			folders := []string{"INBOX"}
			for i := range 12 {
				f := fmt.Sprintf("F%d", i)
				if a := c.do("CREATE %s", f); !a.ok() {
					t.Fatal(a.tagged)
				}
				folders = append(folders, f)
			}
			for _, f := range folders {
				if a := c.appendMail(f, "", m); !a.ok() {
					t.Fatal(a.tagged)
				}
			}
			c.close()
			secret := admin.Password{Secret: []byte("pw"), Login: true}
			operations := []func(ctx context.Context, s admin.Service) error{
				func(ctx context.Context, s admin.Service) error {
					_, err := s.Generate(ctx, admin.GenerateRequest{User: "u", UserKey: true, Force: true, Password: &secret, Rewrap: true})
					return err
				},
				func(ctx context.Context, s admin.Service) error {
					_, err := s.Retire(ctx, admin.RetireRequest{User: "u", Unneeded: true})
					return err
				},
				func(ctx context.Context, s admin.Service) error {
					_, err := s.Generate(ctx, admin.GenerateRequest{User: "u", Folders: []string{"*"}, Force: true})
					return err
				},
				func(ctx context.Context, s admin.Service) error {
					_, err := s.Reseal(ctx, admin.ResealRequest{User: "u", Old: []admin.Password{secret}, New: &secret, KeepOld: 60})
					return err
				},
			}
			cut := 0
			for round := range rounds {
				do := operations[round%len(operations)]
				begin := time.Now()
				if err := do(context.Background(), d.dialAdmin(t)); err != nil {
					t.Fatalf("operation %d: %v", round%len(operations), err)
				}
				whole := time.Since(begin)
				ended := make(chan error, 1)
				s := d.dialAdmin(t)
				go func() { ended <- do(context.Background(), s) }()
				time.Sleep(time.Duration(rand.Int64N(int64(whole) + 1)))
				d.kill()
				if <-ended != nil {
					cut++
				}
				os.Remove(filepath.Join(d.dir, "u", "Maildir", "dovecot-attributes.lock")) // it would be waited for
				d.start(t)
				s = d.dialAdmin(t)
				if r, err := s.Check(context.Background(), admin.CheckRequest{User: "u", Secrets: []admin.Password{secret}}); err != nil || r.Scan.Messages != int64(len(folders)) {
					t.Fatalf("round %d: %+v, %v", round, r, err)
				}
				if err := do(context.Background(), s); err != nil {
					t.Errorf("round %d, asked for again: %v", round, err)
				}
				c := login(t, d.imap, "u", "pw")
				for _, f := range folders {
					if got := c.fetchAll(f); len(got) != 1 || sha(got[1].body) != sha(m) {
						t.Fatalf("round %d: the mail in %s is not what it was", round, f)
					}
				}
				c.close()
			}
			t.Logf("%d of %d operations were cut off", cut, rounds)
		})
	}
}
