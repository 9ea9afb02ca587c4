package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A dovecot runs doveadm with a configuration and a home of its own.
type dovecot struct {
	dir  string
	attr *syscall.SysProcAttr
}

// newDovecot skips the test where Dovecot with mail-crypt is not installed. Dovecot refuses
// root as a mail user, so root hands the home to nobody.
func newDovecot(t *testing.T, lock string) *dovecot {
	t.Helper()
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("doveadm is not installed")
	}
	modules := ""
	for _, m := range []string{"/usr/lib/dovecot/modules", "/usr/lib64/dovecot"} {
		if found, _ := filepath.Glob(filepath.Join(m, "lib*_mail_crypt_plugin.so")); len(found) > 0 {
			modules = m
		}
	}
	if modules == "" {
		t.Skip("Dovecot's mail-crypt plugin is not installed")
	}
	dir, err := os.MkdirTemp("", "attrdict")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &dovecot{dir: dir}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65534, 65534
		d.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
	}
	conf := fmt.Sprintf(`base_dir = %[1]s/run
log_path = %[1]s/log
ssl = no
mail_uid = %[2]d
mail_gid = %[3]d
first_valid_uid = 1
first_valid_gid = 0
mail_location = maildir:~/Maildir
mail_attribute_dict = file:%%h/attr%[4]s
mail_plugin_dir = %[5]s
mail_plugins = mail_crypt
namespace inbox {
  inbox = yes
}
plugin {
  mail_crypt_save_version = 2
  mail_crypt_curve = prime256v1
}
`, dir, uid, gid, lock, modules)
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(conf), 0o644),
		os.Mkdir(filepath.Join(dir, "run"), 0o755),
		os.Chown(dir, uid, gid),
		os.Chown(filepath.Join(dir, "run"), uid, gid),
	)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *dovecot) run(args ...string) (string, error) {
	cmd := exec.Command("doveadm", append([]string{"-c", filepath.Join(d.dir, "dovecot.conf")}, args...)...)
	cmd.Env = []string{"HOME=" + d.dir, "USER=tester", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = d.attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("doveadm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// TestFileWithDovecot lets Dovecot and us write one dictionary file at the same time, with
// each of the lock methods: nothing of either side is lost, and each reads the other's.
func TestFileWithDovecot(t *testing.T) {
	for _, tt := range []struct {
		param string
		lock  LockMethod
	}{{"", LockDotlock}, {":lock=fcntl", LockFcntl}, {":lock=flock", LockFlock}} {
		t.Run("lock"+tt.param, func(t *testing.T) {
			t.Parallel()
			dove := newDovecot(t, tt.param)
			if _, err := dove.run("mailbox", "cryptokey", "generate", "-U"); err != nil {
				t.Skipf("Dovecot does not run here: %v", err)
			}
			d, err := OpenFile(filepath.Join(dove.dir, "attr"), FileOptions{Lock: tt.lock})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			guid := ""
			err = d.View(context.Background(), func(r Reader) error {
				return r.Iterate("priv/", func(k string, _ []byte) error {
					guid = strings.Split(k, "/")[1]
					return nil
				})
			})
			if err != nil || len(guid) != 32 {
				t.Fatalf("no GUID in what Dovecot wrote: %q, %v", guid, err)
			}
			hammer(t, dove, d, guid)
		})
	}
}

func hammer(t *testing.T, dove *dovecot, d Dict, guid string) {
	const workers, each = 2, 12
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("/private/theirs/%d.%d", w, i)
				if _, err := dove.run("mailbox", "metadata", "set", "INBOX", key, value(w, i)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i := range each {
				err := d.Update(context.Background(), func(tx Tx) error {
					v, err := tx.Get("priv/" + guid + "/count")
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
					return errors.Join(
						tx.Set(fmt.Sprintf("priv/%s/ours/%d.%d", guid, w, i), []byte(value(w, i))),
						tx.Set("priv/"+guid+"/count", append(bytes.Clone(v), '+')))
				})
				if err != nil {
					t.Error(err)
				}
				// Dovecot polls every 0.1 s and more: leave it a gap.
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		if _, err := dove.run("mailbox", "cryptokey", "generate", "INBOX"); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	check := func(kind string, get func(w, i int) (string, error)) {
		for w := range workers {
			for i := range each {
				if got, err := get(w, i); err != nil || got != value(w, i) {
					t.Errorf("%s %d.%d: %q, %v; want %q", kind, w, i, got, err, value(w, i))
				}
			}
		}
	}
	err := d.View(context.Background(), func(r Reader) error {
		check("theirs", func(w, i int) (string, error) {
			v, err := r.Get(fmt.Sprintf("priv/%s/theirs/%d.%d", guid, w, i))
			return string(v), err
		})
		if v, err := r.Get("priv/" + guid + "/count"); len(v) != workers*each || err != nil {
			t.Errorf("counted %d, %v; want %d", len(v), err, workers*each)
		}
		_, err := r.Get("shared/" + guid + "/vendor/vendor.dovecot/pvt/crypt/active")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	check("ours", func(w, i int) (string, error) {
		out, err := dove.run("-f", "tab", "mailbox", "metadata", "get", "INBOX", fmt.Sprintf("/private/ours/%d.%d", w, i))
		// doveadm prints a line break as it is, after a heading.
		_, out, _ = strings.Cut(out, "\n")
		return strings.TrimSuffix(strings.ReplaceAll(out, "\\n", "\n"), "\n"), err
	})
	if left, _ := filepath.Glob(filepath.Join(dove.dir, "attr?*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// value has what must be escaped, as far as a command line and METADATA carry it.
func value(w, i int) string { return fmt.Sprintf("worker %d\nline %d", w, i) }
