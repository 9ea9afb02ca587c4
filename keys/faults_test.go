package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// A scenario is one operation on keys that may stop anywhere.
type scenario struct {
	name string
	// before makes the state in which the operation begins.
	before func(t *testing.T, d attrdict.Dict)
	// do is the operation. A key that it returns may have mail encrypted to it.
	do func(d attrdict.Dict) (*dcrypt.PublicKey, error)
	// secrets, of which one must open everything afterwards, whatever happened.
	secrets []string
	// done says whether the repeated operation has come to its end.
	done func(t *testing.T, d attrdict.Dict) bool
}

var other = mailbox.GUID{9, 9, 9}

func userConfig(s string) Config {
	return config(Config{Password: password(s), RequireSealed: true})
}

// login is a login that lasts only as long as it takes to open the keys.
func login(d attrdict.Dict, c Config) error {
	r, err := New(d, inbox, c, nil).Unlock(context.Background(), Secret{})
	if err != nil {
		return err
	}
	return r.Close()
}

func firstLogin(t *testing.T, d attrdict.Dict) {
	t.Helper()
	if err := login(d, userConfig("old")); err != nil {
		t.Fatal(err)
	}
}

func change(d attrdict.Dict, end func(*Change) error) (*dcrypt.PublicKey, error) {
	c, err := New(d, inbox, config(Config{Password: AbsentSecret()}), nil).Prepare(context.Background(), []Secret{password("old")}, Seal{Password: password("new")})
	if err != nil {
		return nil, err
	}
	return nil, end(c)
}

var scenarios = []scenario{
	{
		name:    "first login",
		before:  func(*testing.T, attrdict.Dict) {},
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return nil, login(d, userConfig("old")) },
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return value(t, d, userLevel(inbox).active()) != ""
		},
	},
	{
		name:   "delivery that makes a folder key",
		before: firstLogin,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			return New(d, inbox, config(Config{Password: AbsentSecret()}), nil).PublicKey(context.Background(), other, Secret{})
		},
		secrets: []string{"old"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return value(t, d, folderLevel(other).active()) != "" },
	},
	{
		name:   "delivery before the first login",
		before: func(*testing.T, attrdict.Dict) {},
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			c := config(Config{Password: AbsentSecret(), RequireSealed: true, UnsealedFirst: true})
			return New(d, inbox, c, nil).PublicKey(context.Background(), other, Secret{})
		},
		secrets: []string{"old"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return value(t, d, folderLevel(other).active()) != "" },
	},
	{
		name:    "password change, prepared",
		before:  firstLogin,
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return change(d, func(*Change) error { return nil }) },
		secrets: []string{"old"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return opens(t, d, "new") && opens(t, d, "old") },
	},
	{
		name:   "password change, committed",
		before: firstLogin,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			if opensStored(d, "new") {
				return nil, nil
			}
			return change(d, func(c *Change) error { return c.Commit(context.Background()) })
		},
		secrets: []string{"old", "new"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return opens(t, d, "new") && !opens(t, d, "old") },
	},
	{
		name:   "password change, rolled back",
		before: firstLogin,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			return change(d, func(c *Change) error { return c.Rollback(context.Background()) })
		},
		secrets: []string{"old"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return !opens(t, d, "new") && opens(t, d, "old") },
	},
	{
		name: "password change, completed by a login",
		before: func(t *testing.T, d attrdict.Dict) {
			firstLogin(t, d)
			if _, err := change(d, func(*Change) error { return nil }); err != nil {
				t.Fatal(err)
			}
		},
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return nil, login(d, userConfig("new")) },
		secrets: []string{"new"},
		done:    func(t *testing.T, d attrdict.Dict) bool { return opens(t, d, "new") && !opens(t, d, "old") },
	},
	{
		name:   "seal raised",
		before: firstLogin,
		do: func(d attrdict.Dict) (*dcrypt.PublicKey, error) {
			c := userConfig("old")
			c.Seal.Rounds = 50
			return nil, login(d, c)
		},
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			info, err := dcrypt.Inspect([]byte(value(t, d, userLevel(inbox).private(value(t, d, userLevel(inbox).active())))))
			return err == nil && info.Rounds == 50
		},
	},
	{
		name: "open key sealed",
		before: func(t *testing.T, d attrdict.Dict) {
			if err := login(d, config(Config{})); err != nil {
				t.Fatal(err)
			}
		},
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return nil, login(d, userConfig("old")) },
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return !isOpenText([]byte(value(t, d, userLevel(inbox).private(value(t, d, userLevel(inbox).active())))))
		},
	},
	{
		name: "open keys sealed",
		before: func(t *testing.T, d attrdict.Dict) {
			rotated(t, d, "old")
			if _, err := adminKeys(d).Reseal(context.Background(), []Secret{password("old")}, Seal{Open: true}); err != nil {
				t.Fatal(err)
			}
		},
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return nil, login(d, userConfig("old")) },
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return count(t, d, func(st *Stored) bool { return st.User && isOpenText(st.Text) }) == 0
		},
	},
	{
		name: "foreign active keys replaced",
		before: func(t *testing.T, d attrdict.Dict) {
			firstLogin(t, d)
			for _, l := range []level{userLevel(inbox), folderLevel(inbox)} {
				set(t, d, l.public(foreign.ID().String()), foreign.Public().Text())
				set(t, d, l.active(), foreign.ID().String())
			}
		},
		do:      func(d attrdict.Dict) (*dcrypt.PublicKey, error) { return nil, login(d, userConfig("old")) },
		secrets: []string{"old"},
		done: func(t *testing.T, d attrdict.Dict) bool {
			return value(t, d, userLevel(inbox).active()) != foreign.ID().String() && value(t, d, folderLevel(inbox).active()) != foreign.ID().String()
		},
	},
}

var foreign = mustKey()

func mustKey() *dcrypt.PrivateKey {
	k, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		panic(err)
	}
	return k
}

// opensStored reports whether a secret opens a stored user key, pending seals aside.
func opensStored(d attrdict.Dict, s string) bool {
	records, _, err := New(d, inbox, Config{}, nil).userRecords(context.Background())
	if err != nil {
		return false
	}
	for _, rec := range records {
		if key, err := openWithAny(rec.record.id, rec.text, []Secret{password(s)}, Config{}); err == nil {
			key.Destroy()
			return true
		}
	}
	return false
}

// keptMail encrypts to what the scenario's state has, so that the test can tell later
// whether it stays readable.
func keptMail(t *testing.T, d attrdict.Dict) *dcrypt.PublicKey {
	t.Helper()
	if value(t, d, userLevel(inbox).active()) == "" || value(t, d, userLevel(inbox).active()) == foreign.ID().String() {
		return nil
	}
	pub, err := New(d, inbox, config(Config{Password: AbsentSecret()}), nil).PublicKey(context.Background(), inbox, Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// verify wants every key of mail to be readable with one of the secrets, and new mail too,
// and the operation to complete when it is repeated.
func (s scenario) verify(t *testing.T, d attrdict.Dict, mails []*dcrypt.PublicKey, where string) {
	t.Helper()
	readableByOne := false
	for _, secret := range s.secrets {
		k := New(d, inbox, userConfig(secret), nil)
		r, err := k.Unlock(context.Background(), Secret{})
		if err != nil {
			t.Fatalf("%s: the dictionary does not open: %v", where, err)
		}
		all := !r.State().Locked()
		for _, pub := range mails {
			all = all && readable(t, pub, r) == nil
		}
		if all && roundTrip(t, k, r, inbox) != nil {
			t.Errorf("%s: new mail is not readable with %q", where, secret)
		}
		readableByOne = readableByOne || all
		r.Close()
	}
	if !readableByOne {
		t.Errorf("%s: none of %q opens everything", where, s.secrets)
	}
	if s.done(t, d) {
		return
	}
	if _, err := s.do(d); err != nil {
		t.Errorf("%s: repeating the operation: %v", where, err)
	}
	if !s.done(t, d) {
		t.Errorf("%s: the repeated operation does not complete", where)
	}
}

// faultKinds are the ways to spoil a step, fewer with -short.
func faultKinds() []durable.Kind {
	if testing.Short() {
		return []durable.Kind{durable.Fail, durable.PowerCut}
	}
	return []durable.Kind{durable.Fail, durable.Short, durable.Crash, durable.PowerCut}
}

// TestFileFaults spoils each step on the file system, in each way, over Dovecot's file
// dictionary.
func TestFileFaults(t *testing.T) {
	for _, s := range slices.Concat(scenarios, lifeScenarios) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range faultKinds() {
				steps := 0
				for n := 1; ; n++ {
					path := filepath.Join(t.TempDir(), "dovecot-attributes")
					good := openFile(t, path, nil)
					s.before(t, good)
					var mails []*dcrypt.PublicKey
					if pub := keptMail(t, good); pub != nil {
						mails = append(mails, pub)
					}
					faults := durable.FaultAt(n, kind, nil)
					bad := openFile(t, path, faults)
					pub, err := s.do(bad)
					if pub != nil && err == nil {
						mails = append(mails, pub)
					}
					if !faults.Hit() {
						break
					}
					steps++
					os.Remove(path + ".lock") // of the process that died; Dovecot waits a minute
					s.verify(t, openFile(t, path, nil), mails, fmt.Sprintf("step %d, kind %d", n, kind))
				}
				if steps < 4 {
					t.Errorf("only %d steps were spoilt", steps)
				}
			}
		})
	}
}

func openFile(t *testing.T, path string, f *durable.Faults) attrdict.Dict {
	t.Helper()
	d, err := attrdict.OpenFile(path, attrdict.FileOptions{Faults: f, Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// A faultyDict fails its n-th transaction, before anything is done or after all is: a
// caller cannot know which.
type faultyDict struct {
	attrdict.Dict
	at    int
	after bool
	dead  bool // every later one fails, too
	n     int
}

var errFaulty = errors.New("injected")

func (d *faultyDict) step(do func() error) error {
	d.n++
	switch {
	case d.n == d.at && d.after:
		return errors.Join(do(), errFaulty)
	case d.n == d.at, d.n > d.at && d.dead:
		return errFaulty
	}
	return do()
}

func (d *faultyDict) View(ctx context.Context, fn func(attrdict.Reader) error) error {
	return d.step(func() error { return d.Dict.View(ctx, fn) })
}

func (d *faultyDict) Update(ctx context.Context, fn func(attrdict.Tx) error) error {
	return d.step(func() error { return d.Dict.Update(ctx, fn) })
}

// TestTransactionFaults fails each transaction over a bolt dictionary.
func TestTransactionFaults(t *testing.T) {
	for _, s := range slices.Concat(scenarios, lifeScenarios) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []faultyDict{{}, {after: true}, {dead: true}, {after: true, dead: true}} {
				for n := 1; ; n++ {
					d := openDict(t)
					s.before(t, d)
					var mails []*dcrypt.PublicKey
					if pub := keptMail(t, d); pub != nil {
						mails = append(mails, pub)
					}
					bad := &faultyDict{Dict: d, at: n, after: how.after, dead: how.dead}
					pub, err := s.do(bad)
					if pub != nil && err == nil {
						mails = append(mails, pub)
					}
					if bad.n < n {
						break
					}
					s.verify(t, d, mails, fmt.Sprintf("transaction %d, after %v, dead %v", n, how.after, how.dead))
				}
			}
		})
	}
}
