package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// unsealedFirst is s0 where deliveries may come before the first login.
func unsealedFirst() opener {
	o := s0
	o.fields += " userdb_mail_crypt_before_first_login=unsealed"
	return o
}

// stronger is s0 where seals want more rounds than they have.
func stronger() opener {
	o := s0
	o.fields += " userdb_mail_crypt_seal_rounds=70"
	return o
}

// serverOperations are what clients do by which the daemon makes or changes keys, or moves
// mail and keys.
func serverOperations() []killOperation {
	return []killOperation{
		{name: "first-login", from: "fresh", old: s0, new: s0, unchecked: true, work: loggedIn()},
		{name: "first-delivery", from: "fresh", old: unsealedFirst(), new: unsealedFirst(), unchecked: true, adds: "added", work: delivered("added")},
		{name: "login-seals-open", from: "unsealed", old: s0, new: s0, work: loggedIn()},
		{name: "login-after-none", from: "open", old: openKeys(), new: s1, work: loggedIn()},
		{name: "login-completes", from: "prepared", old: s0, new: s1, work: loggedIn()},
		{name: "login-strengthens", from: "several", old: s0, new: stronger(), work: loggedIn()},
		{name: "login-mends", from: "foisted", old: s0, new: s0, unchecked: true, behind: true, adds: "added",
			work: loggedIn("CREATE New", "APPEND Box added")},
		{name: "append-new-folder", from: "several", old: s0, new: s0, adds: "added", work: loggedIn("CREATE New", "APPEND New added")},
		{name: "delivery", from: "several", old: s0, new: s0, adds: "added", work: delivered("added")},
		{name: "copy", from: "several", old: s0, new: s0, adds: "inbox-1", work: loggedIn("SELECT INBOX", "UID COPY 1 Box")},
		{name: "move", from: "several", old: s0, new: s0, adds: "late-1", work: loggedIn("SELECT Late", "UID MOVE 1 Box")},
		{name: "rename", from: "several", old: s0, new: s0, work: loggedIn("RENAME Box Moved")},
		{name: "rename-inbox", from: "several", old: s0, new: s0, adds: "inbox-1", work: loggedIn("RENAME INBOX Former")},
		{name: "delete", from: "several", old: s0, new: s0, may: []string{"late-1"}, loses: []string{"late-1"}, work: loggedIn("DELETE Late")},
	}
}

// loggedIn is the work of a client: commands, of which some have been done by an earlier call
// that was not acknowledged.
func loggedIn(commands ...string) func(*testing.T, *killWorld) error {
	return func(t *testing.T, w *killWorld) error {
		c, err := tryIMAP(t, w.imap)
		if err != nil {
			return err
		}
		defer c.c.Close()
		for _, command := range append([]string{"LOGIN u pw"}, commands...) {
			var a answer
			if rest, ok := strings.CutPrefix(command, "APPEND "); ok {
				folder, subject, _ := strings.Cut(rest, " ")
				if subjects := strings.Fields(subject); len(subjects) > 1 {
					var messages [][]byte
					for _, s := range subjects {
						messages = append(messages, w.mails[s])
					}
					a, err = c.multiAppend(folder, messages)
				} else {
					a, err = c.tryAppend(folder, "", w.mails[subject])
				}
			} else {
				a, err = c.try("%s", command)
			}
			done := strings.HasPrefix(a.tagged, "NO [ALREADYEXISTS]") || strings.HasPrefix(a.tagged, "NO [NONEXISTENT]")
			if err == nil && !a.ok() && !done {
				err = errors.New(command + ": " + a.tagged)
			}
			if err != nil {
				return err
			}
		}
		// What goes on behind the login ends with the session.
		if _, err = c.try("LOGOUT"); err != nil {
			return err
		}
		io.Copy(io.Discard, c.r)
		return nil
	}
}

// delivered is the work of a server that delivers a message.
func delivered(subject string) func(*testing.T, *killWorld) error {
	return func(_ *testing.T, w *killWorld) error {
		replies, err := deliverLMTP(w.lmtp, "s@example.org", []string{"u"}, w.mails[subject])
		if err == nil && !strings.HasPrefix(replies[0], "250") {
			err = fmt.Errorf("delivery: %s", replies[0])
		}
		return err
	}
}

// foist makes a key the active one of Box of which nobody has the private half: what who can
// write to the dictionary could do.
func (w *killStates) foist(t *testing.T) {
	t.Helper()
	d, err := attrdict.Open(w.dictURI, filepath.Join(w.dir, "u"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	key, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	err = d.Update(context.Background(), func(tx attrdict.Tx) error {
		return tx.Iterate("shared/", func(name string, _ []byte) error {
			level, ok := strings.CutSuffix(name, "/vendor/vendor.dovecot/pvt/crypt/active")
			if !ok || strings.Contains(level, "server") {
				return nil
			}
			level += "/vendor/vendor.dovecot/pvt/crypt/"
			return errors.Join(tx.Set(level+"active", []byte(public.ID().String())),
				tx.Set(level+"pubkeys/"+public.ID().String(), []byte(public.Text())))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	own(t, w.dir)
}
