package acceptance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/attrdict"
)

// A troubled is a store with which something will be wrong, and the commands to meet it.
type troubled struct {
	*daemon
	dict string // URI of the dictionaries
}

const (
	boltDict = "bolt:~/keys.db"
	fileDict = "file:~/dovecot-attributes"
)

// troubleConfig is written into dir; homes and users are below it.
func troubleConfig(t testing.TB, dir, dict string) *troubled {
	t.Helper()
	s := setup{
		dir:   dir,
		users: "alice:{PLAIN}old::::::\nbob:{PLAIN}old::::::\ncarol:{PLAIN}old::::::\n",
		top:   fmt.Sprintf("mail_home = \"homes/%%u\"\nmail_attribute_dict = %q\n", dict),
		crypt: "save_version = 2\ncurve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1\n",
	}
	return &troubled{s.configure(t), dict}
}

// newTroubled makes the store: alice has mail, two user keys of which one is needed by
// nothing, folder keys, a prepared change and an old seal that is kept; carol has keys; bob
// has none.
func newTroubled(t testing.TB, dict string) *troubled {
	t.Helper()
	s := troubleConfig(t, scratch(t), dict)
	s.start(t)
	for _, user := range []string{"alice", "carol"} {
		c := login(t, s.imap, user, "old")
		if a := c.do("CREATE Work"); !a.ok() {
			t.Fatal(a.tagged)
		}
		for _, folder := range []string{"INBOX", "Work"} {
			if a := c.appendMail(folder, "", mail("kept", 500)); !a.ok() {
				t.Fatal(a.tagged)
			}
		}
		c.close()
	}
	s.stop(t)
	for name, text := range map[string]string{"old": "old\n", "new": "new\n", "wrong": "wrong\n", "names": "alice\n"} {
		writeFile(t, filepath.Join(s.dir, name), text)
	}
	for _, args := range []string{
		"cryptokey generate -u alice -U --force --password-file DIR/old",
		"cryptokey generate -u carol -U --force --rewrap --password-file DIR/old",
		"cryptokey list -u bob", // makes the home
		"cryptokey export -u carol --clear --password-file DIR/old --output DIR/exported",
		"cryptokey password -u alice --keep-old 1h --old-password-file DIR/old --new-password-file DIR/old",
		"cryptokey password -u alice --prepare --old-password-file DIR/old --new-password-file DIR/new",
	} {
		out, status := s.run(t, "", args)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", args, status, out)
		}
		if _, token, ok := strings.Cut(out, "token: "); ok {
			writeFile(t, filepath.Join(s.dir, "token"), token)
		}
	}
	return s
}

// copyTo copies the store, times and owners too, to an empty directory.
func (s *troubled) copyTo(t testing.TB, dir string) *troubled {
	t.Helper()
	if out, err := exec.Command("cp", "-a", s.dir+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the store: %v: %s", err, out)
	}
	c := *s.daemon
	c.dir, c.config, c.started = dir, filepath.Join(dir, "mailcryptd.toml"), false
	return &troubled{&c, s.dict}
}

// move gives the daemon other addresses: somebody may have taken those of the store that this
// is a copy of.
func (s *troubled) move(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*string{&s.imap, &s.imaps, &s.lmtp} {
		is := freeAddress(t)
		text = bytes.ReplaceAll(text, []byte(*a), []byte(is))
		*a = is
	}
	writeFile(t, s.config, string(text))
}

// run runs doveadm-crypt. DIR in the arguments is the directory, TOKEN that of the prepared
// change.
func (s *troubled) run(t testing.TB, stdin, args string) (string, int) {
	t.Helper()
	stdout, stderr, status := s.separate(t, stdin, args)
	return stdout + stderr, status
}

func (s *troubled) separate(t testing.TB, stdin, args string) (stdout, stderr string, status int) {
	t.Helper()
	token, _ := os.ReadFile(filepath.Join(s.dir, "token"))
	args = strings.NewReplacer("DIR", s.dir, "TOKEN", strings.TrimSpace(string(token))).Replace(args)
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", s.config}, strings.Fields(args)...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = credential()
	cmd.Dir = "/"
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// state is what the store is: of each file its bytes, mode, owner and time of change; of each
// directory what is in it. The lock of the instance says who held it last, and is left out.
func (s *troubled) state(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(s.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.dir, p)
		owner := fi.Sys().(*syscall.Stat_t).Uid
		switch {
		case rel == filepath.Join("state", "instance.lock"), filepath.Base(p) == "mailcryptd.index.db", fi.Mode().Type() == fs.ModeSocket:
		case fi.Mode().IsRegular():
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if pairs, ok := boltPairs(t, p, text); ok {
				all[rel] = fmt.Sprintf("%v %d %x", fi.Mode(), owner, pairs)
				return nil
			}
			all[rel] = fmt.Sprintf("%v %d %x %v", fi.Mode(), owner, sha256.Sum256(text), fi.ModTime().UnixNano())
		default:
			all[rel] = fmt.Sprintf("%v %d", fi.Mode(), owner)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// boltPairs is a digest of what a bolt dictionary holds. Its pages are another matter: a
// change that finds no room has written to pages that nothing refers to.
func boltPairs(t testing.TB, path string, text []byte) (sum [32]byte, ok bool) {
	if filepath.Base(path) != "keys.db" {
		return sum, false
	}
	copied := filepath.Join(t.TempDir(), "keys.db") // the file may be locked
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := attrdict.OpenBolt(copied, attrdict.BoltOptions{ReadOnly: true})
	if err != nil {
		return sum, false // damaged: every byte counts
	}
	defer d.Close()
	h := sha256.New()
	err = d.View(context.Background(), func(r attrdict.Reader) error {
		return r.Iterate("", func(key string, value []byte) error {
			fmt.Fprintf(h, "%d %s %d ", len(key), key, len(value))
			h.Write(value)
			return nil
		})
	})
	h.Sum(sum[:0])
	return sum, err == nil
}

// changes says how two states differ.
func changes(before, after map[string]string) []string {
	var list []string
	for p, was := range before {
		switch is, ok := after[p]; {
		case !ok:
			list = append(list, p+" is gone")
		case is != was:
			list = append(list, p+" was changed")
		}
	}
	for p := range after {
		if _, ok := before[p]; !ok {
			list = append(list, p+" is new")
		}
	}
	return list
}

// disk mounts a file system of its own, which only root can have.
func disk(t testing.TB, options string) string {
	t.Helper()
	dir := scratch(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a disk of its own needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	own(t, dir)
	return dir
}

// fill leaves about free octets.
func fill(t testing.TB, dir string, free int) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	n := int64(st.Bavail)*st.Bsize - int64(free)
	if n <= 0 {
		return
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
		t.Fatal(err)
	}
	// The file is part of what must not change.
	os.Chtimes(f.Name(), time.Time{}, time.Now())
}
