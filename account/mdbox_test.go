package account

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
	"mailcrypt/storage/mdbox/mfile"
	"mailcrypt/userdb"
)

func mdboxUser(name string, fields ...string) *userdb.User {
	return user(name, append(fields, "mail=mdbox:~/mdbox")...)
}

// bodies are the stored bytes of all messages of a user's mdbox.
func bodies(t *testing.T, home string) (all []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(home, "mdbox/storage/m.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		s, err := mfile.NewScanner(f, st.Size())
		if err != nil {
			t.Fatal(err)
		}
		for {
			r, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, r.Size)
			if _, err := f.ReadAt(b, r.Body); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
	}
	return all
}

// A user's mail in mdbox is encrypted, read, copied without a further byte, and moved.
func TestMdbox(t *testing.T) {
	for name, dict := range map[string]string{"file": fileDict, "bolt": "bolt:~/keys.db"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dict, 0)
			alice := mdboxUser("alice")
			l := w.login(t, alice, "pw")
			in := open(t, l, "INBOX")
			uids, want := mails(t, in)
			if err := w.deliver(t, alice, "Subject: canaryword\r\n\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			want = append(want, "Subject: canaryword\r\n\r\n\r\n")
			uids = append(uids, in.View().At(in.View().Len()-1).UID)
			if err := l.Create(ctx, "Target"); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Copy(ctx, append(slices.Clone(uids), 99), "Target"); !errors.Is(err, mailbox.ErrExpunged) {
				t.Errorf("copying a message that is gone: %v", err)
			}
			result, err := in.Copy(ctx, uids, "Target")
			if err != nil || !slices.Equal(result.From, uids) || len(result.To) != len(uids) || !slices.IsSorted(result.To) {
				t.Fatalf("copied %+v, %v", result, err)
			}
			moved, err := in.Move(ctx, uids[1:3], "Target")
			if err != nil || !slices.Equal(moved.From, uids[1:3]) {
				t.Errorf("moved %+v, %v", moved, err)
			}
			l.Close()
			l = w.login(t, alice, "pw")
			if got, want := texts(t, open(t, l, "INBOX")), append(slices.Clone(want[:1]), want[3:]...); !slices.Equal(got, want) {
				t.Errorf("%d messages in INBOX, want %d", len(got), len(want))
			}
			if got, want := texts(t, open(t, l, "Target")), append(slices.Clone(want), want[1:3]...); !slices.Equal(got, want) {
				t.Errorf("%d messages in Target, want %d", len(got), len(want))
			}
			home := filepath.Join(w.dir, "alice")
			noWord(t, home, "canaryword")
			stored := bodies(t, home)
			for _, b := range stored {
				if b != "" && !dcrypt.IsEncrypted([]byte(b)) {
					t.Error("a message is stored in clear")
				}
			}
			if len(stored) != len(want) {
				t.Errorf("%d messages are stored, want %d: copies share their bytes", len(stored), len(want))
			}
			if _, err := os.Stat(filepath.Join(home, "Maildir")); err == nil {
				t.Error("there is a Maildir")
			}
		})
	}
}

// What is in clear and is to be encrypted is saved anew, among others that are linked.
func TestMdboxCopyBetweenSettings(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	w.login(t, mdboxUser("alice"), "pw").Close()
	var uids []mailbox.UID
	var want []string
	for i := range 6 {
		l := w.login(t, mdboxUser("alice", fmt.Sprintf("mail_crypt_save_version=%d", i%2*2)), "pw")
		text := fmt.Sprintf("Subject: %d\r\n\r\n\r\n", i)
		uids, want = append(uids, save(t, open(t, l, "INBOX"), text)), append(want, text)
		l.Close()
	}
	l := w.login(t, mdboxUser("alice"), "pw")
	if err := l.Create(ctx, "Target"); err != nil {
		t.Fatal(err)
	}
	result, err := open(t, l, "INBOX").Copy(ctx, uids, "Target")
	if err != nil || !slices.Equal(result.From, uids) || !slices.IsSorted(result.To) {
		t.Fatalf("copied %+v, %v", result, err)
	}
	target := open(t, l, "Target")
	if got := texts(t, target); !slices.Equal(got, want) {
		t.Errorf("copies are %q", got)
	}
	for _, m := range target.View().All() {
		if h, err := target.store.Header(ctx, m.UID); err != nil || h == nil {
			t.Errorf("copy %d is in clear: %v", m.UID, err)
		}
	}
}

// Losing the catalog loses no key, and is told as long as there is mail.
func TestMdboxWithoutCatalog(t *testing.T) {
	w := newWorld(t, fileDict, 1)
	alice := mdboxUser("alice")
	l := w.login(t, alice, "pw")
	save(t, open(t, l, "INBOX"), "Subject: x\r\n\r\n\r\n")
	guid := open(t, l, "INBOX").GUID()
	l.Close()
	if err := w.Registry.Close(); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(w.dir, "alice")
	before := 0
	for key := range entries(t, filepath.Join(home, "attributes")) {
		if strings.Contains(key, "privkeys") {
			before++
		}
	}
	if err := os.Remove(filepath.Join(home, "mdbox/storage/mailcryptd.mdbox.db")); err != nil {
		t.Fatal(err)
	}
	w.Registry = NewRegistry(Options{Defaults: defaults(w.dir, fileDict)})
	_, err := w.Login(ctx, alice, []byte("pw"))
	if !errors.Is(err, ErrTemporary) || !errors.Is(err, mdbox.ErrNoCatalog) {
		t.Errorf("login: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(home, "mdbox")); err != nil {
		t.Fatal(err)
	}
	l = w.login(t, alice, "pw")
	if got := open(t, l, "INBOX").GUID(); got != guid {
		t.Errorf("INBOX has GUID %s, had %s", got, guid)
	}
	save(t, open(t, l, "INBOX"), "Subject: x\r\n\r\n\r\n")
	after := 0
	for key := range entries(t, filepath.Join(home, "attributes")) {
		if strings.Contains(key, "privkeys") {
			after++
		}
	}
	if after != before {
		t.Errorf("%d private keys, were %d: the old ones were not found", after, before)
	}
}

// Two users of one home share a store, which can be open only once.
func TestMdboxShared(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	home := filepath.Join(w.dir, "common")
	a := w.login(t, mdboxUser("alice", "home="+home), "pw")
	b := w.login(t, mdboxUser("bob", "home="+home), "pw")
	save(t, open(t, a, "INBOX"), "Subject: x\r\n\r\n\r\n")
	a.Close()
	if got := texts(t, open(t, b, "INBOX")); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

func TestMdboxQuota(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	l := w.login(t, mdboxUser("alice", "quota_rule=*:storage=4k"), "pw")
	in := open(t, l, "INBOX")
	uid := save(t, in, "Subject: x\r\n\r\n"+strings.Repeat("x", 3000))
	a, err := in.Append(ctx, mailbox.SaveInfo{})
	if err == nil {
		if _, err = io.WriteString(a, "Subject: x\r\n\r\n"+strings.Repeat("x", 3000)); err == nil {
			_, err = a.Commit()
		} else {
			a.Abort()
		}
	}
	if err == nil {
		t.Error("more was saved than there is room for")
	}
	if err := in.Expunge(ctx, []mailbox.UID{uid}); err != nil {
		t.Fatal(err)
	}
	save(t, in, "Subject: x\r\n\r\n"+strings.Repeat("x", 3000))
	q, err := l.Quota(ctx)
	if err != nil || q.Used.Messages != 1 || q.Used.Bytes != 3014 {
		t.Errorf("quota %+v, %v", q, err)
	}
}

// The headers of all stored messages can be gone through without a secret.
func TestMdboxScan(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	alice := mdboxUser("alice")
	l := w.login(t, alice, "pw")
	if err := l.Create(ctx, "A/B"); err != nil {
		t.Fatal(err)
	}
	save(t, open(t, l, "INBOX"), "Subject: x\r\n\r\n\r\n")
	save(t, open(t, l, "A/B"), "Subject: y\r\n\r\n\r\n")
	err := w.Admin(ctx, alice, func(a *Admin) error {
		found := map[string]int{}
		n, err := a.Scan(nil).Round(ctx, func(h StoredHeader) error {
			if h.Header == nil || h.Err != nil {
				t.Errorf("%s: %v, %v", h.Folder.Name, h.Header, h.Err)
			}
			found[h.Folder.Name]++
			return nil
		})
		if n != 2 || found["INBOX"] != 1 || found["A/B"] != 1 {
			t.Errorf("%d headers: %v", n, found)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
