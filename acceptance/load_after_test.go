package acceptance

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/admin"
	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/secret"
)

// verify reads all mail of a user with the last password.
func (u *loadUser) verify(t *testing.T, address string) {
	t.Helper()
	now, next, _ := u.passwords()
	if next != "" {
		t.Fatalf("the password of %s still changes", u.name)
	}
	if a := dialIMAP(t, address).do("LOGIN %s first", u.name); a.ok() != (now == "first") {
		t.Errorf("LOGIN of %s with the first password: %s", u.name, a.tagged)
	}
	c := login(t, address, u.name, now)
	defer c.close()
	for folder, want := range u.folders() {
		got := map[string]int{}
		for uid, f := range c.fetchAll(folder) {
			id, err := u.whole(f.body)
			if err != nil {
				t.Errorf("%s: %s: UID %d: %v", u.name, folder, uid, err)
			}
			got[id]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %s: %d messages, want %d", u.name, folder, len(got), len(want))
			for id, n := range want {
				if got[id] != n {
					t.Errorf("%s: %s: %s is there %d times, want %d", u.name, folder, id, got[id], n)
				}
			}
		}
	}
}

// seal is what the user's keys are sealed by.
func (u *loadUser) seal() admin.Password {
	if u.secret != "" {
		return admin.Password{Secret: []byte(u.secret)}
	}
	now, _, _ := u.passwords()
	return *loginSecret(now)
}

// dictionary wants every user key to open with the last password and not with the first, and
// nothing of a change to be left. The daemon does not run.
func (u *loadUser) dictionary(t *testing.T, d *daemon, uri string) {
	t.Helper()
	dict, err := attrdict.Open(uri, filepath.Join(d.dir, u.name))
	if err != nil {
		t.Fatal(err)
	}
	defer dict.Close()
	now := string(u.seal().Secret)
	keys := 0
	err = dict.View(context.Background(), func(r attrdict.Reader) error {
		return r.Iterate("", func(name string, value []byte) error {
			for _, left := range []string{"/pending/", "/kept/", "/lost/", "/retired/", "/quarantine/"} {
				if strings.Contains(name, left) {
					t.Errorf("%s: %s is left", u.name, name)
				}
			}
			if !strings.Contains(name, "/server/") || !strings.Contains(name, "/privkeys/") {
				return nil
			}
			keys++
			for _, p := range []string{now, "first", "given-up"} {
				key, err := dcrypt.ParsePrivateKey(value, dcrypt.Opener{Password: secret.New([]byte(p))})
				if (err == nil) != (p == now) {
					t.Errorf("%s: user key %s with %s: %v", u.name, filepath.Base(name), p, err)
				}
				if err == nil {
					key.Destroy()
				}
			}
			return nil
		})
	})
	if err != nil || keys == 0 {
		t.Errorf("%s: %d user keys, %v", u.name, keys, err)
	}
}

// bounded wants the daemon, which has no client, to hold few files and not much memory. The
// files of five users that were used lately are open; those of a delivery close some seconds later.
func (d *daemon) bounded(t *testing.T) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", d.cmd.Process.Pid)
	fds, err := os.ReadDir(proc + "fd")
	for end := time.Now().Add(30 * time.Second); len(fds) > 100 && time.Now().Before(end); time.Sleep(time.Second) {
		fds, err = os.ReadDir(proc + "fd")
	}
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{}
	for _, l := range strings.Split(string(status), "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[2] == "kB" {
			sizes[strings.TrimSuffix(f[0], ":")], _ = strconv.Atoi(f[1])
		}
	}
	t.Logf("%d open files, %d MiB of memory, %d at most", len(fds), sizes["VmRSS"]>>10, sizes["VmHWM"]>>10)
	limit := 400 << 10
	if os.Getenv("RACE") != "" {
		limit *= 8
	}
	if len(fds) > 100 || sizes["VmHWM"] > limit {
		var names []string
		for _, f := range fds {
			n, _ := os.Readlink(proc + "fd/" + f.Name())
			names = append(names, n)
		}
		slices.Sort(names)
		t.Errorf("that is too much; open are\n%s", strings.Join(names, "\n"))
	}
}
