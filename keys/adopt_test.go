package keys

import (
	"context"
	"testing"

	"mailcrypt/dcrypt"
)

// TestFolderOfAKeyThatWasJustStored: a session that has been handed a new user key, but not told
// yet that it is stored, leaves a folder alone whose key another login made under it.
func TestFolderOfAKeyThatWasJustStored(t *testing.T) {
	ctx := context.Background()
	d := openDict(t)
	firstLogin(t, d)
	session := New(d, inbox, userConfig("old"), nil)
	r := unlock(t, session, Secret{})
	k := New(d, inbox, userConfig("old"), nil)
	looked := false
	k.OnUserKey = func(key *dcrypt.PrivateKey, was string, stored bool) {
		if stored {
			looked = true
			later := unlock(t, session, Secret{})
			made, err := session.SaveKey(ctx, later, other)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // opening it, and remembering that it was opened
				if err := session.VerifyFolder(ctx, r, other); err != nil {
					t.Error(err)
				}
			}
			pub, err := session.SaveKey(ctx, r, other)
			if err != nil || !pub.Equal(made) {
				t.Errorf("the session saves to another key: %v", err)
			}
			if err := readable(t, made, r); err != nil {
				t.Error(err)
			}
		}
		if err := r.Adopt(key, was, stored); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.GenerateUserKey(ctx, password("old"), true); err != nil {
		t.Fatal(err)
	}
	if !looked {
		t.Fatal("no key was stored")
	}
	if _, err := session.SaveKey(ctx, r, inbox); err != nil {
		t.Error(err)
	}
}
