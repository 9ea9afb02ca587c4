package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/admin"
	"mailcrypt/userdb"
)

// TestLoginWhileThePasswordChanges: a login whose password was right when it was checked opens
// the keys, though the password has changed by then, and one with the new password has come.
func TestLoginWhileThePasswordChanges(t *testing.T) {
	ctx := context.Background()
	s, err := Open(configure(t, "alice:{PLAIN}old::::::\n", ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := login(s, "alice", "old", nil); err != nil { // makes the user key
		t.Fatal(err)
	}
	entered := s.Accounts.Entering(s.Users.Key("Alice"))
	u, err := s.Users.Authenticate(ctx, "Alice", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	go func() {
		_, err := s.Admin(nil).SetPassword(ctx, admin.SetPasswordRequest{User: "alice", Old: []byte("old"), New: []byte("new"), Scheme: "PLAIN"})
		changed <- err
	}()
	unlocks := func(password string) bool {
		l, err := s.Accounts.Login(ctx, u, []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return !l.Locked()
	}
	// The hash changes while we are between the check and the keys.
	for end := time.Now().Add(time.Minute); login(s, "alice", "old", nil) == nil; {
		if time.Now().After(end) {
			t.Fatal("the password does not change")
		}
	}
	if err := login(s, "alice", "new", nil); err != nil {
		t.Error("with the new password: ", err)
	}
	if !unlocks("old") || !unlocks("new") {
		t.Error("a password that was right when it was checked does not open the keys")
	}
	entered()
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if unlocks("old") || !unlocks("new") {
		t.Error("the change has not ended")
	}
	if err := login(s, "alice", "old", nil); !errors.Is(err, account.ErrAuth) {
		t.Errorf("with the old password: %v, want ErrAuth", err)
	}
}

// TestLoginFollowsChangedFields: where the keys do not open because somebody has changed the
// secret between the check and the keys, the login asks again.
func TestLoginFollowsChangedFields(t *testing.T) {
	ctx := context.Background()
	line := func(secret string) string {
		return "alice:{PLAIN}pw::::::mail_crypt_private_password=" + secret + "\n"
	}
	c := configure(t, line("one"), "")
	s, err := Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := login(s, "alice", "pw", nil); err != nil {
		t.Fatal(err)
	}
	u, err := s.authenticate(ctx, "alice", []byte("pw"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Admin(nil).Reseal(ctx, admin.ResealRequest{User: "alice", Old: []admin.Password{{Secret: []byte("one")}}, New: &admin.Password{Secret: []byte("two")}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(c.Path), "users"), []byte(line("two")), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := s.open(ctx, u, func() (*userdb.User, error) { return s.authenticate(ctx, "alice", []byte("pw"), nil) }, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Locked() {
		t.Error("the login has the old secret")
	}
}
