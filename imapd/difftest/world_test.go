package difftest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/imapd"
	"mailcrypt/userdb"
)

// A config is a setting of both servers, which scripts name.
type config struct {
	dovecot string            // lines of its configuration
	fields  map[string]string // of our user
}

var configs = map[string]config{
	"": {},
	"metadata": {
		dovecot: "imap_metadata=yes\nmail_attribute_dict=file:%h/attributes\n",
		fields:  map[string]string{"imap_metadata": "yes"},
	},
	"quota": {
		dovecot: `mail_plugins=quota
protocol imap {
  mail_plugins=quota imap_quota
}
plugin {
  quota=count:User quota
  quota_vsizes=yes
  quota_rule=*:storage=10k:messages=16
  quota_rule2=Work:storage=+1k:messages=+2
  quota_rule3=Sent:ignore
  quota_rule4=Lists/*:storage=-50%%
}
`,
		fields: map[string]string{"quota": "count:User quota", "quota_rule": "*:storage=10k:messages=16",
			"quota_rule2": "Work:storage=+1k:messages=+2", "quota_rule3": "Sent:ignore", "quota_rule4": "Lists/*:storage=-50%%"},
	},
}

// The folders with a role, for both.
var roles = []account.Folder{
	{Name: "Sent", SpecialUse: `\Sent`},
	{Name: "Junk", SpecialUse: `\Junk`},
	{Name: "Archive", SpecialUse: `\Archive`},
}

// A world is both servers, and the Maildirs that scripts begin with.
type world struct {
	dir      string
	doveadm  string
	imap     string // Dovecot's
	uid, gid int    // of Dovecot
	registry *account.Registry
	server   *imapd.Server
	addr     string
	root     string // of a store in a home: Maildir or mdbox

	mu        sync.Mutex
	count     int
	templates map[string]string
	users     map[string]*userdb.User
}

// newWorld starts both over Maildir, or skips the test.
func newWorld(t testing.TB) *world { return newWorldOf(t, "Maildir") }

// newWorldOf starts both, or skips the test.
func newWorldOf(t testing.TB, root string) *world {
	t.Helper()
	doveadm, err := exec.LookPath("doveadm")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs Dovecot (doveadm, imap) and root: scripts/install-test-deps installs it")
	}
	libexec, err := exec.Command("doveconf", "-h", "libexec_dir").Output()
	if err != nil {
		t.Fatal(err)
	}
	mail, err := user.Lookup("mail")
	if err != nil {
		t.Skip("needs a user named mail, whom Dovecot serves")
	}
	dir, err := os.MkdirTemp("", "difftest") // t.TempDir is below a directory of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, root: root, doveadm: doveadm, imap: filepath.Join(strings.TrimSpace(string(libexec)), "imap"), templates: map[string]string{}, users: map[string]*userdb.User{}}
	w.uid, _ = strconv.Atoi(mail.Uid)
	w.gid, _ = strconv.Atoi(mail.Gid)
	for name, c := range configs {
		if err := os.WriteFile(w.conf(name), []byte(dovecotConf(dir, w.location(), c)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.serve(t)
	return w
}

func (w *world) conf(config string) string {
	return filepath.Join(w.dir, "dovecot-"+config+".conf")
}

func (w *world) location() string { return strings.ToLower(w.root) + ":~/" + w.root }

func dovecotConf(dir, location string, c config) string {
	conf := `base_dir=%[1]s/run
state_dir=%[1]s/run
log_path=%[1]s/dovecot.log
ssl=no
mail_location=%[2]s
mail_uid=mail
mail_gid=mail
first_valid_uid=1
first_valid_gid=1
mail_fsync=never
namespace inbox {
  inbox=yes
  separator=/
`
	for _, f := range roles {
		conf += fmt.Sprintf("  mailbox %s {\n    special_use=%s\n  }\n", f.Name, f.SpecialUse)
	}
	return fmt.Sprintf(conf+"}\n", dir, location) + c.dovecot
}

// serve starts ours, over everything that the daemon serves with but TLS and passwords.
func (w *world) serve(t testing.TB) {
	t.Helper()
	w.registry = account.NewRegistry(account.Options{Defaults: account.Defaults{
		MailLocation: w.location(), AttributeDict: "file:~/attributes", Separator: "/", Folders: roles,
		SealedCache: 1 << 20,
		// What is there is in clear, and what scripts save is encrypted.
		Crypt: map[string]string{"save_version": "2", "curve": "prime256v1"},
	}})
	w.server = imapd.NewServer(imapd.Options{Authenticator: w, Timeouts: imapd.Timeouts{AuthDelay: time.Millisecond}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	go w.server.Serve(l, false)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := w.registry.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Login is imapd.Authenticator.
func (w *world) Login(ctx context.Context, name string, password []byte, _ net.Addr) (*account.Login, error) {
	w.mu.Lock()
	u := w.users[name]
	w.mu.Unlock()
	if u == nil {
		return nil, account.ErrAuth
	}
	return w.registry.Login(ctx, u, password)
}

// A place is where one run of a script happens: both homes.
type place struct {
	world        *world
	config, user string
	ours, theirs string // homes
}

// newPlace copies a Maildir for both.
func (w *world) newPlace(maildir, configName string) (*place, error) {
	from, err := w.template(maildir)
	if err != nil {
		return nil, err
	}
	return w.newPlaceFrom(from, configName)
}

// newPlaceFrom copies any store.
func (w *world) newPlaceFrom(from, configName string) (*place, error) {
	c, ok := configs[configName]
	if !ok {
		return nil, fmt.Errorf("no config %q", configName)
	}
	w.mu.Lock()
	w.count++
	p := &place{world: w, config: configName, user: "user" + strconv.Itoa(w.count)}
	p.ours, p.theirs = filepath.Join(w.dir, p.user, "ours"), filepath.Join(w.dir, p.user, "theirs")
	w.users[p.user] = &userdb.User{Name: p.user, Home: p.ours, UID: -1, GID: -1, Fields: c.fields}
	w.mu.Unlock()
	if err := copyTree(from, filepath.Join(p.ours, w.root), -1, -1); err != nil {
		return nil, err
	}
	if err := copyTree(from, filepath.Join(p.theirs, w.root), w.uid, w.gid); err != nil {
		return nil, err
	}
	if err := os.Chown(p.theirs, w.uid, w.gid); err != nil {
		return nil, err
	}
	if w.root != "Maildir" {
		if err := takeOver(filepath.Join(p.ours, w.root)); err != nil {
			return nil, err
		}
	}
	return p, os.Chmod(filepath.Join(w.dir, p.user), 0o755)
}

func (p *place) remove() { os.RemoveAll(filepath.Join(p.world.dir, p.user)) }

// template builds a described Maildir once.
func (w *world) template(name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dir, ok := w.templates[name]; ok {
		return dir, nil
	}
	dir := filepath.Join(w.dir, "template-"+name)
	if err := buildMaildir(name, dir); err != nil {
		return "", err
	}
	if w.root != "Maildir" {
		var err error
		if dir, err = w.convert(dir); err != nil {
			return "", err
		}
	}
	w.templates[name] = dir
	return dir, nil
}

// do runs an action of another program on a Maildir. uid owns what is made.
func do(root string, text string, uid, gid int) error {
	f := strings.Fields(text)
	if len(f) < 2 {
		return fmt.Errorf("do: %q", text)
	}
	find := func() (string, error) {
		m, err := filepath.Glob(filepath.Join(folderPath(root, f[1]), "*", f[2]+"*"))
		if err != nil || len(m) != 1 {
			return "", fmt.Errorf("%s: %d files of that name", text, len(m))
		}
		return m[0], nil
	}
	switch {
	case f[0] == "deliver" && len(f) == 4:
		b, err := os.ReadFile(filepath.Join("testdata/mail", strings.TrimPrefix(f[3], "@")))
		if err != nil {
			return err
		}
		path := filepath.Join(folderPath(root, f[1]), "new", f[2])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
		if err := os.Chtimes(path, at, at); err != nil || uid < 0 {
			return err
		}
		return os.Chown(path, uid, gid)
	case f[0] == "flags" && len(f) >= 3:
		old, err := find()
		if err != nil {
			return err
		}
		base, _, _ := strings.Cut(filepath.Base(old), ":")
		letters := ""
		if len(f) > 3 {
			letters = f[3]
		}
		return os.Rename(old, filepath.Join(folderPath(root, f[1]), "cur", base+":2,"+letters))
	case f[0] == "remove" && len(f) == 3:
		old, err := find()
		if err != nil {
			return err
		}
		return os.Remove(old)
	case f[0] == "mkfolder":
		for _, d := range []string{"", "cur", "new", "tmp"} {
			path := filepath.Join(folderPath(root, f[1]), d)
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			if uid >= 0 {
				if err := os.Chown(path, uid, gid); err != nil {
					return err
				}
			}
		}
		return nil
	case f[0] == "rmfolder":
		return os.RemoveAll(folderPath(root, f[1]))
	case f[0] == "sleep":
		d, err := time.ParseDuration(f[1])
		time.Sleep(d)
		return err
	}
	return fmt.Errorf("do: %q", text)
}
