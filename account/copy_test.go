package account

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// mails saves messages of several sizes, an empty one among them.
func mails(t *testing.T, m *Mailbox) (uids []mailbox.UID, want []string) {
	t.Helper()
	for i, size := range []int{10, 0, 3000, 200_000} {
		text := ""
		if size > 0 {
			text = fmt.Sprintf("Subject: m%d\r\n\r\n%s\r\n", i, strings.Repeat("y", size))
		}
		uids = append(uids, save(t, m, text))
		want = append(want, text)
	}
	return uids, want
}

func TestCopyBetweenSettings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to string // save_version when saved, and when copied
		clear    int    // of 3 copies that are not empty, those in clear
	}{
		{"encrypted stays encrypted", "2", "2", 0},
		{"clear becomes encrypted", "0", "2", 0},
		{"clear stays clear", "0", "0", 3},
		{"encrypted becomes clear", "2", "0", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, fileDict, 0)
			w.login(t, user("alice"), "pw").Close() // so that there is a key in any case
			l := w.login(t, user("alice", "mail_crypt_save_version="+tt.from), "pw")
			uids, want := mails(t, open(t, l, "INBOX"))
			l.Close()
			l = w.login(t, user("alice", "mail_crypt_save_version="+tt.to), "pw")
			if err := l.Create(ctx, "Target"); err != nil {
				t.Fatal(err)
			}
			m := open(t, l, "INBOX")
			if _, err := m.Copy(ctx, append(slices.Clone(uids), 99), "Target"); !errors.Is(err, mailbox.ErrExpunged) {
				t.Errorf("copying a message that is gone: %v", err)
			}
			if n := open(t, l, "Target").View().Len(); n != 0 {
				t.Errorf("%d messages are left of a copy that failed", n)
			}
			result, err := m.Copy(ctx, uids, "Target")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(result.From, uids) || len(result.To) != len(uids) {
				t.Fatalf("copied %v to %v, want %v", result.From, result.To, uids)
			}
			target := open(t, l, "Target")
			if got := texts(t, target); !slices.Equal(got, want) {
				t.Error("the copies read otherwise than the originals")
			}
			// EMAILID is made of the GUID (RFC 8474 section 5.1).
			for i, uid := range result.From {
				was, is := m.View().Get(uid).GUID, target.View().Get(result.To[i]).GUID
				if was == "" || is != was {
					t.Errorf("the copy of UID %d has the GUID %q, want %q", uid, is, was)
				}
			}
			clear := 0
			for _, text := range stored(t, filepath.Join(w.dir, "alice", "Maildir", ".Target")) {
				if text != "" && !encrypted(text) {
					clear++
				}
			}
			if clear != tt.clear {
				t.Errorf("%d copies are in clear, want %d", clear, tt.clear)
			}
			if target.View().UIDValidity != result.UIDValidity {
				t.Errorf("UIDVALIDITY %d, want %d", result.UIDValidity, target.View().UIDValidity)
			}
		})
	}
}

// TestCopiesSurvive deletes the folder that copies came from: they must be readable where
// they are, with the record of their key under their own GUID, as Dovecot looks for it.
func TestCopiesSurvive(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	l := w.login(t, user("alice"), "pw")
	for _, name := range []string{"Source", "Target"} {
		if err := l.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, l, "Source")
	uids, want := mails(t, m)
	if _, err := m.Copy(ctx, uids, "Target"); err != nil {
		t.Fatal(err)
	}
	source := m.GUID()
	m.Close()
	if err := l.Delete(ctx, "Source"); err != nil {
		t.Fatal(err)
	}
	if err := l.Create(ctx, "Source"); err != nil {
		t.Fatal(err)
	}
	if again := open(t, l, "Source"); again.GUID() == source {
		t.Error("a folder that was deleted and made again has the old GUID")
	} else if got := texts(t, again); len(got) != 0 {
		t.Errorf("it holds %d messages", len(got))
	}
	target := open(t, l, "Target")
	if got := texts(t, target); !slices.Equal(got, want) {
		t.Error("the copies are not readable any more")
	}
	carried := 0
	for name := range entries(t, filepath.Join(w.dir, "alice", "dovecot-attributes")) {
		if strings.HasPrefix(name, "priv/"+target.GUID().String()+"/vendor/vendor.dovecot/pvt/crypt/privkeys/") {
			carried++
		}
	}
	if carried != 1 {
		t.Errorf("%d records under the target's GUID, want 1", carried)
	}
}

// TestCopyFailsInTheMiddle copies good messages and one that cannot be saved anew: nothing
// is left in the target, and everything in the source.
func TestCopyFailsInTheMiddle(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	w.login(t, user("alice"), "pw").Close()
	l := w.login(t, user("alice", "mail_crypt_save_version=0"), "pw")
	if err := l.Create(ctx, "Target"); err != nil {
		t.Fatal(err)
	}
	m := open(t, l, "INBOX")
	var uids []mailbox.UID
	for i := range 60 {
		uids = append(uids, save(t, m, fmt.Sprintf("Subject: %d\n\ntext\n", i)))
	}
	l.Close()
	// The 50th is what is left of a stream: it cannot be read, and so not saved anew.
	n := 0
	for p := range stored(t, filepath.Join(w.dir, "alice", "Maildir")) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "Subject: 49\n") {
			n++
			if err := os.Truncate(p, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, append([]byte("Subject"), 0, 1, 2), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 1 {
		t.Fatalf("%d files were damaged", n)
	}
	l = w.login(t, user("alice"), "pw")
	m = open(t, l, "INBOX")
	for name, transfer := range map[string]func() (CopyResult, error){
		"copy": func() (CopyResult, error) { return m.Copy(ctx, uids, "Target") },
		"move": func() (CopyResult, error) { return m.Move(ctx, uids, "Target") },
	} {
		var re *storage.ReadError
		if result, err := transfer(); !errors.As(err, &re) || len(result.To) != 0 {
			t.Errorf("%s: %v, %v, want a ReadError and no copies", name, result, err)
		}
		if got := texts(t, open(t, l, "Target")); len(got) != 0 {
			t.Errorf("%s: %d copies are left in the target", name, len(got))
		}
		if v, err := m.Sync(ctx); err != nil || v.Len() != 60 {
			t.Errorf("%s: %d messages are left in the source, want 60: %v", name, v.Len(), err)
		}
	}
}

// TestUnreadableMessagesMove moves messages whose key is gone, and one that is damaged.
func TestUnreadableMessagesMove(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	l := w.login(t, user("alice"), "pw")
	if err := l.Create(ctx, "Target"); err != nil {
		t.Fatal(err)
	}
	m := open(t, l, "INBOX")
	uid := save(t, m, "Subject: x\n\n"+strings.Repeat("z", 500)+"\n")
	for p, text := range stored(t, filepath.Join(w.dir, "alice", "Maildir")) {
		if err := os.WriteFile(p, []byte(text[:len(text)-20]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result, err := m.Move(ctx, []mailbox.UID{uid}, "Target")
	if err != nil || len(result.To) != 1 {
		t.Fatal(result, err)
	}
	var re *storage.ReadError
	if _, err := read(open(t, l, "Target"), result.To[0]); !errors.As(err, &re) || re.Kind != storage.Damaged {
		t.Errorf("a damaged message in its new place: %v, want Damaged", err)
	}
}

func TestRenameInbox(t *testing.T) {
	w := newWorld(t, fileDict, 0)
	l := w.login(t, user("alice"), "pw")
	m := open(t, l, "INBOX")
	guid := m.GUID()
	_, want := mails(t, m)
	if err := l.Rename(ctx, "inbox", "Archive"); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, open(t, l, "Archive")); !slices.Equal(got, want) {
		t.Error("the messages of INBOX are not in the new folder")
	}
	if again := open(t, l, "INBOX"); again.GUID() != guid || len(texts(t, again)) != 0 {
		t.Error("INBOX is not empty, or has another GUID")
	}
	if err := l.Rename(ctx, "INBOX", "Archive"); !errors.Is(err, mailbox.ErrExists) {
		t.Errorf("renaming INBOX to a folder that exists: %v, want ErrExists", err)
	}
	l.Close()
	again := w.login(t, user("alice"), "pw")
	if got := texts(t, open(t, again, "Archive")); !slices.Equal(got, want) {
		t.Error("a later login cannot read them")
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t, boltDict, 0)
	l := w.login(t, user("alice"), "pw")
	uid := save(t, open(t, l, "INBOX"), "Subject: x\n\n")
	m, err := l.Open(ctx, "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, appendErr := m.Append(ctx, mailbox.SaveInfo{})
	_, moveErr := m.Move(ctx, []mailbox.UID{uid}, "INBOX")
	_, flagsErr := m.SetFlags(ctx, []mailbox.UID{uid}, mailbox.FlagChange{})
	for what, err := range map[string]error{
		"append": appendErr, "move": moveErr, "expunge": m.Expunge(ctx, []mailbox.UID{uid}),
		"flags": flagsErr,
	} {
		if !errors.Is(err, mailbox.ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
}
