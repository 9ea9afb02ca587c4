package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// TestHostileActive has entries that are no ids, and longer than a name may be.
func TestHostileActive(t *testing.T) {
	for _, active := range []string{strings.Repeat("x", 5000), "\x00\n/", strings.Repeat("AB", 32)} {
		d := openDict(t)
		firstLogin(t, d)
		k := New(d, inbox, userConfig("old"), nil)
		for _, l := range []level{userLevel(inbox), folderLevel(inbox), folderLevel(other)} {
			set(t, d, l.active(), active)
		}
		r := unlock(t, k, Secret{})
		for _, folder := range []mailbox.GUID{inbox, other} {
			pub, err := k.SaveKey(context.Background(), r, folder)
			if err != nil {
				t.Errorf("active %.10q: %v", active, err)
				continue
			}
			if err := readable(t, pub, r); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCircles has folder keys that wrap themselves and each other, and user keys that do.
func TestCircles(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	pub := keptMail(t, d)
	a, b := mustKey(), mustKey()
	for _, l := range []level{folderLevel(inbox), userLevel(inbox)} {
		set(t, d, l.private(foreign.ID().String()), string(wrap(t, foreign, foreign.Public())))
		set(t, d, l.private(a.ID().String()), string(wrap(t, a, b.Public())))
		set(t, d, l.private(b.ID().String()), string(wrap(t, b, a.Public())))
	}
	r := unlock(t, New(d, inbox, userConfig("old"), nil), Secret{})
	for _, key := range []*dcrypt.PrivateKey{foreign, a, b} {
		if _, err := r.PrivateKey(key.ID()); !errors.Is(err, dcrypt.ErrNoKey) {
			t.Errorf("a key in a circle: %v, want ErrNoKey", err)
		}
	}
	if err := readable(t, pub, r); err != nil {
		t.Error(err)
	}
	if r.State().Opened != 1 {
		t.Errorf("%d user keys opened, want 1", r.State().Opened)
	}
}

// TestUserKeyChain opens user keys that hang on each other, whatever their order.
func TestUserKeyChain(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	to := activeUser(t, d)
	var last *dcrypt.PrivateKey
	for range 5 {
		last = mustKey()
		set(t, d, userLevel(inbox).private(last.ID().String()), string(wrap(t, last, to)))
		to = last.Public()
	}
	r := unlock(t, New(d, inbox, userConfig("old"), nil), Secret{})
	if r.State().Opened != 6 {
		t.Errorf("%d of 6 user keys opened", r.State().Opened)
	}
	if err := readable(t, last.Public(), r); err != nil {
		t.Error(err)
	}
}

// TestRoundsBombs stores seals that would take minutes to try. The user's own key opens
// all the same, and the bombs are left out.
func TestRoundsBombs(t *testing.T) {
	d := openDict(t)
	firstLogin(t, d)
	pub := keptMail(t, d)
	own := value(t, d, userLevel(inbox).active())
	sealed := value(t, d, userLevel(inbox).private(own))
	for i := range 20 {
		id := fmt.Sprintf("%064x", i)
		bomb := strings.Replace(sealed, ":1:", ":10000000:", 1)
		set(t, d, userLevel(inbox).private(id), strings.TrimSuffix(bomb, own)+id)
	}
	set(t, d, userLevel(inbox).active(), "") // so that the bombs are not behind the active key
	var log bytes.Buffer
	r, err := New(d, inbox, userConfig("old"), slog.New(slog.NewTextHandler(&log, nil))).Unlock(context.Background(), Secret{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := readable(t, pub, r); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "costs too much"); n < 18 {
		t.Errorf("%d of 20 bombs were left out, want 18 or more", n)
	}
}

// TestManyRecords has a dictionary of 100,000 folder keys that all have to be tried for a
// message whose key is missing.
func TestManyRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	small := openFile(t, path, nil)
	firstLogin(t, small)
	pub := keptMail(t, small)
	wrapped := wrap(t, foreign, activeUser(t, small))
	wrapped = bytes.Replace(wrapped, []byte(":2048:"), []byte(":100000:"), 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(text)
	for i := range 100_050 {
		id := fmt.Sprintf("%064x", i)
		fmt.Fprintf(b, "%s\n%s%s\n", folderLevel(mailbox.GUID{8}).private(id), wrapped[:len(wrapped)-64], id)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openFile(t, path, nil)
	r := unlock(t, New(d, inbox, userConfig("old"), nil), Secret{})
	if err := readable(t, pub, r); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := r.PrivateKey(dcrypt.KeyID{1, 2, 3}); !errors.Is(err, dcrypt.ErrNoKey) {
			t.Errorf("a missing key: %v, want ErrNoKey", err)
		}
	}
	if r.budget == searchRounds || r.budget < 0 {
		t.Errorf("the search has a budget of %d left of %d", r.budget, searchRounds)
	}
}
