package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildKillat builds the program that kills others; it is the same for all tests.
var buildKillat = sync.OnceValues(func() (string, error) {
	path := filepath.Join(bin, "killat")
	out, err := exec.Command("go", "build", "-o", path, "mailcrypt/acceptance/killat").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building killat: %w\n%s", err, out)
	}
	return path, nil
})

// A killWorld is a store and its daemon, which are killed and brought back to where they
// were, again and again.
type killWorld struct {
	*daemon
	killat  string
	arm     string // the file whose presence makes killat count
	report  string // what killat has counted
	saved   string // directory of saved states
	dictURI string
	fields  string // of the user, beside the secret
	mails   map[string][]byte
	aged    map[string]bool   // what a killed process has left: who next wants the lock, or replaces the file, removes it
	vars    map[string]string // what $NAME stands for in arguments and fields
}

// newKillWorld makes the configuration of a store; more are further lines of it.
func newKillWorld(t *testing.T, dict, more string) *killWorld {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" || !isRoot() {
		t.Skip("killat needs Linux on amd64, and root, for the daemon is not dumpable")
	}
	killat, err := buildKillat()
	if err != nil {
		t.Fatal(err)
	}
	aside := scratch(t) // not below what is counted
	w := &killWorld{
		killat: killat, arm: filepath.Join(aside, "arm"), report: filepath.Join(aside, "report"), saved: filepath.Join(aside, "saved"),
		dictURI: dict, mails: map[string][]byte{}, vars: map[string]string{"DICT": dict, "OTHER": "bolt:~/other.db"},
	}
	w.daemon = setup{
		dir: scratch(t), users: "u:{PLAIN}pw::::::\n", top: fmt.Sprintf("mail_attribute_dict = %q\n", dict) + more,
		crypt: "curve = \"prime256v1\"\nseal_rounds = 60\n",
		rest:  "[auth]\nfailure_delay = \"0s\"\nmax_delay = \"0s\"\n",
	}.configure(t)
	w.moveAway(t)
	return w
}

// moveAway gives the daemon a loopback address of its own: on the usual one a client of
// somebody's may have its port when the daemon starts again.
func (w *daemon) moveAway(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	address := fmt.Sprintf("127.77.%d.%d:", pid>>8&255, pid&255)
	writeFile(t, w.config, strings.ReplaceAll(string(b), "127.0.0.1:", address))
	for _, a := range []*string{&w.imap, &w.imaps, &w.lmtp} {
		*a = strings.Replace(*a, "127.0.0.1:", address, 1)
	}
}

// An opener is one way to the keys: as fields of the user, and as options of the tool.
type opener struct {
	name     string
	password string   // of the login
	fields   string   // of the user; the line is left alone where password is not "pw"
	options  []string // of the tool, which open the keys
	stdin    string
}

// secretOf is the opener of a seal by a password.
func secretOf(s string) opener {
	return opener{name: s, password: "pw", fields: "userdb_mail_crypt_private_password=" + s,
		options: []string{"--raw", "--password-file", "-"}, stdin: s + "\n"}
}

// openKeys is the opener of keys that lie open: a secret that nobody has opens them.
func openKeys() opener {
	return opener{name: "none", password: "pw", options: []string{"--raw", "--password-file", "-"}, stdin: "nobody's\n"}
}

// become makes the user one who has an opener.
func (w *killWorld) become(t *testing.T, c opener) {
	t.Helper()
	if c.password != "pw" {
		return // the line says who has logged in, and is what the operation changes
	}
	line := "u:{PLAIN}pw::::::mail_crypt_save_version=2 " + strings.TrimSpace(w.fields+" "+w.expand(c.fields)[0]) + "\n"
	path := filepath.Join(w.dir, "users")
	if b, err := os.ReadFile(path); err == nil && string(b) == line {
		return
	}
	writeFile(t, path+".next", line)
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// expand fills variables in.
func (w *killWorld) expand(args ...string) []string {
	list := slices.Clone(args)
	for i, a := range list {
		if name, ok := strings.CutPrefix(a, "$"); ok {
			list[i] = w.vars[name]
		}
	}
	return list
}

// serve starts the daemon, and waits for the last of its sockets.
func (w *killWorld) serve(t *testing.T) {
	t.Helper()
	w.start(t)
	w.dialAdmin(t).Close()
}

// save keeps the state of the store under a name; the daemon must not run.
func (w *killWorld) save(t *testing.T, name string) {
	t.Helper()
	os.RemoveAll(filepath.Join(w.saved, name))
	copyTree(t, w.dir, filepath.Join(w.saved, name))
}

// restore brings a state back.
func (w *killWorld) restore(t *testing.T, name string) {
	t.Helper()
	list, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(w.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	copyTree(t, filepath.Join(w.saved, name), w.dir)
	os.Remove(w.arm)
	os.Remove(w.report)
}

// copyTree copies with owners, modes and times.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// under is the command line that kills what follows it.
func (w *killWorld) underKillat(at int, how string, more ...string) []string {
	args := []string{w.killat, "-root", w.dir, "-at", strconv.Itoa(at), "-how", how, "-report", w.report, "-as", strconv.Itoa(mailUID)}
	return append(args, more...)
}

// steps are what killat has counted.
func (w *killWorld) steps(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(w.report)
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// mine runs the tool as the mail user, under another program where there is one.
func (w *killWorld) mine(t *testing.T, under []string, stdin string, args ...string) (string, int) {
	t.Helper()
	attr := credential()
	if under != nil {
		attr.Credential = nil
	}
	args = slices.Concat(under, []string{filepath.Join(bin, "doveadm-crypt"), "-c", w.config}, w.expand(args...))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(stdin), attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() == 125 {
		t.Fatalf("killat: %s", out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// A killView is what one opener shows of the mail.
type killView struct {
	in     bool // the login was let in
	total  int
	opened map[string]int // how often each message is there and opens, by its subject
}

// opensAll reports whether all messages are seen.
func (v killView) opensAll() bool {
	opened := 0
	for _, n := range v.opened {
		opened += n
	}
	return v.in && opened == v.total
}

func (v killView) String() string {
	return fmt.Sprintf("login %v, opens %v of %d", v.in, slices.Sorted(maps.Keys(v.opened)), v.total)
}

// read reads all mail as one who has an opener.
func (w *killWorld) read(t *testing.T, who opener) killView {
	t.Helper()
	w.become(t, who)
	c := dialIMAP(t, w.imap)
	defer c.close()
	if a := c.do("LOGIN u %s", quote(who.password)); !a.ok() {
		return killView{}
	}
	v := killView{in: true, opened: map[string]int{}}
	for _, folder := range listed(c.do(`LIST "" "*"`)) {
		if a := c.do("EXAMINE %s", folder); !a.ok() {
			t.Fatalf("EXAMINE %s: %s", folder, a.tagged)
		}
		v.total += len(c.do("UID FETCH 1:* (UID)").fetches())
		for uid, f := range c.do("UID FETCH 1:* (UID BODY.PEEK[])").fetches() {
			if !f.haveBody || len(f.body) == 0 {
				continue
			}
			subject := "?"
			for s, m := range w.mails {
				if bytes.HasSuffix(f.body, m) {
					subject = s
				}
			}
			if subject == "?" {
				t.Errorf("UID %d of %s is no message that was sent", uid, folder)
			}
			v.opened[subject]++
		}
	}
	return v
}

// listed are the names in an answer to LIST, quoted as they came.
func listed(a answer) []string {
	var names []string
	for _, u := range a.untagged {
		if rest, ok := strings.CutPrefix(u.line, "* LIST ("); ok && !strings.Contains(rest, `\Noselect`) && !strings.Contains(rest, `\NonExistent`) {
			fields := strings.Fields(rest)
			names = append(names, fields[len(fields)-1])
		}
	}
	return names
}

// append puts a new message into a folder.
func (w *killWorld) append(t *testing.T, c *imapConn, folder, subject string) {
	t.Helper()
	w.mails[subject] = mail(subject, killSize(subject))
	if a := c.appendMail(folder, "", w.mails[subject]); !a.ok() {
		t.Fatalf("APPEND to %s: %s", folder, a.tagged)
	}
}

// killSize is how large the message of a subject is.
func killSize(subject string) int {
	if strings.HasPrefix(subject, "large") {
		return 1_200_000 // more than is kept in memory
	}
	return 500
}

// age makes what a killed process has left older than it is: locks older than the two
// seconds after which their pid is looked at, temporary files so old that they are swept. A
// lock without a pid, because it was about to become the file, counts as left behind only
// after a minute or two, as in Dovecot, and is removed here.
func (w *killWorld) age(t *testing.T) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	w.aged = map[string]bool{}
	filepath.WalkDir(w.dir, func(p string, e fs.DirEntry, err error) error {
		isLock := strings.HasSuffix(p, ".lock") && filepath.Base(p) != "instance.lock"
		isTmp := strings.Contains(e.Name(), ".tmp-") || strings.HasSuffix(e.Name(), ".tmp")
		if err != nil || !isLock && !isTmp {
			return nil
		}
		if b, err := os.ReadFile(p); isLock && (err != nil || string(bytes.TrimLeft(b, "0123456789")) != ":"+host) {
			os.Remove(p)
			return nil
		}
		w.aged[p] = true
		os.Chtimes(p, then, then)
		return nil
	})
}

// leftovers names the files of a store that are there by accident, or too open.
func (w *killWorld) leftovers(t *testing.T) []string {
	t.Helper()
	var list []string
	filepath.WalkDir(w.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		fi, err := e.Info()
		if err != nil {
			return nil
		}
		name := e.Name()
		if w.aged[p] {
			return nil
		}
		inTmp := filepath.Base(filepath.Dir(p)) == "tmp" // a Maildir's, which is swept after a day and a half
		switch {
		case fi.Mode().Type() == fs.ModeSocket:
		case p == w.dir, strings.HasPrefix(name, "dovecot-uidvalidity."): // empty, and 0444 as Dovecot has it
		case fi.Mode().Perm()&0o077 != 0:
			list = append(list, fmt.Sprintf("%s has mode %v", p, fi.Mode()))
		case fi.Sys().(*syscall.Stat_t).Uid != mailUID:
			list = append(list, p+" belongs to root")
		case !inTmp && name != "tmp" && (strings.HasPrefix(name, ".temp.") || strings.Contains(name, ".tmp") || strings.Contains(name, ".new-") || strings.HasSuffix(name, ".lock") && name != "instance.lock"):
			list = append(list, p)
		}
		return nil
	})
	return list
}
