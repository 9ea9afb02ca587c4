package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/admin"
	"mailcrypt/index"
)

// TestKillPointsMdbox is TestKillPoints for what is done with the mail of an mdbox store.
// After each kill, besides,
//
//   - the files and the counts of references are what the catalog says, and it is whole,
//   - what only moves bytes has changed no folder, UID or flag,
//   - a rebuild from the message files alone, without the catalog, brings back every
//     message, and all of them open, for the GUIDs that their keys hang on are with the keys.
func TestKillPointsMdbox(t *testing.T) {
	kills := killCount(t)
	w := newKillWorld(t, "file:~/attributes", "mail_location = \"mdbox:~/mdbox:ALT=~/alt\"\nmdbox_rotate_size = \"2k\"\n")
	s := &killStates{killWorld: w, made: map[string]map[string][]byte{}, alsoLook: lookAtMdbox}
	s.afterRound = s.rebuild
	operations := mdboxOperations()
	if kills == 0 {
		rand.Shuffle(len(operations), func(i, j int) { operations[i], operations[j] = operations[j], operations[i] })
		operations = operations[:6]
	}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) { s.operation(t, op, kills) })
	}
}

// mdboxOperations are what changes the mail of an mdbox store.
func mdboxOperations() []killOperation {
	list := []killOperation{
		{name: "delivery", from: "shared", adds: "added", work: delivered("added")},
		{name: "delivery-large", from: "shared", adds: "large", work: delivered("large")},
		{name: "append", from: "shared", adds: "added", work: loggedIn("APPEND Box added")},
		{name: "multiappend", from: "shared", adds: "a1 a2 a3 a4 a5", look: allOrNone, work: loggedIn("APPEND INBOX a1 a2 a3 a4 a5")},
		{name: "copy", from: "shared", adds: "inbox-2 inbox-4", work: loggedIn("SELECT INBOX", "UID COPY 2,4 Box")},
		{name: "move", from: "shared", adds: "inbox-2 inbox-4", work: loggedIn("SELECT INBOX", "UID MOVE 2,4 Box")},
		{name: "expunge", from: "shared", may: []string{"inbox-2", "inbox-4"}, loses: []string{"inbox-2", "inbox-4"},
			work: loggedIn("SELECT INBOX", `UID STORE 1,2,4 +FLAGS (\Deleted)`, "UID EXPUNGE 1,2,4")},
		{name: "store", from: "shared", look: searched("INBOX", `FLAGGED KEYWORD $new`, "1 2 4"),
			work: loggedIn("SELECT INBOX (CONDSTORE)", `UID STORE 1,2,4 +FLAGS (\Flagged $new)`)},
		{name: "create", from: "shared", makes: []string{"New/Deep"}, look: hasFolder("New/Deep", true), work: loggedIn("CREATE New/Deep")},
		{name: "rename", from: "shared", makes: []string{"Moved/Deep"}, gone: []string{"Tree/Deep"}, look: hasFolder("Tree/Deep", false),
			work: loggedIn("RENAME Tree Moved")},
		{name: "rename-inbox", from: "shared", adds: "inbox-1 inbox-2 inbox-3 inbox-4", makes: []string{"Former"}, look: hasFolder("Former", true),
			work: loggedIn("RENAME INBOX Former")},
		{name: "delete", from: "shared", may: []string{"box-1"}, loses: []string{"box-1"}, gone: []string{"Box"},
			look: hasFolder("Box", false), work: loggedIn("DELETE Box")},
		{name: "subscribe", from: "shared", look: subscribed("Box"), work: loggedIn("SUBSCRIBE Box")},
		{name: "purge", from: "dead", look: unchanged, args: []string{"purge", "-u", "u"}},
		{name: "altmove", from: "dead", look: unchanged, args: []string{"altmove", "-u", "u", "INBOX"}},
		{name: "altmove-back", from: "apart", look: unchanged, args: []string{"altmove", "-u", "u", "-r", "*"}},
		{name: "resync", from: "dead", look: unchanged, args: []string{"force-resync", "-u", "u"}},
		{name: "resync-lost", from: "lost", shut: true, unchecked: true, args: []string{"force-resync", "-u", "u"}},
	}
	for i := range list {
		list[i].old, list[i].new = s0, s0
		if list[i].look != nil && list[i].args != nil { // what is expunged already
			list[i].may, list[i].loses = []string{"inbox-3", "deep-1"}, []string{"inbox-3", "deep-1"}
		}
		if !strings.Contains(list[i].adds, "inbox-1") {
			list[i].adds = strings.TrimSpace(list[i].adds + " inbox-1") // which is in two folders
		}
	}
	return list
}

// mdboxStateTable says how the states of mdbox stores come about.
func mdboxStateTable() map[string]killState {
	return map[string]killState{
		"boxes": {"fresh", func(t *testing.T, w *killStates) {
			// It is never made: it may be a file system that is not mounted.
			if err := os.MkdirAll(filepath.Join(w.dir, "u/alt"), 0o700); err != nil {
				t.Fatal(err)
			}
			own(t, w.dir)
			w.session(t, s0, func(c *imapConn) {
				for _, cmd := range []string{"CREATE Box", "CREATE Tree/Deep"} {
					c.do("%s", cmd)
				}
				for n := range 4 {
					w.append(t, c, "INBOX", fmt.Sprint("inbox-", n+1))
				}
				w.append(t, c, "Box", "box-1")
				w.append(t, c, "Tree/Deep", "deep-1")
			})
		}},
		// One message is in two folders.
		"shared": {"boxes", func(t *testing.T, w *killStates) {
			w.session(t, s0, func(c *imapConn) {
				c.do("SELECT INBOX")
				c.do("UID COPY 1 Box")
				c.do(`UID STORE 2 FLAGS (\Seen work)`)
				c.do("STATUS INBOX (HIGHESTMODSEQ)")
			})
		}},
		// Some are expunged.
		"dead": {"shared", func(t *testing.T, w *killStates) {
			w.session(t, s0, func(c *imapConn) {
				c.do("SELECT INBOX")
				c.do(`UID STORE 3 +FLAGS (\Deleted)`)
				c.do("EXPUNGE")
				c.do("SELECT Tree/Deep")
				c.do(`UID STORE 1 +FLAGS (\Deleted)`)
				c.do("EXPUNGE")
			})
		}},
		"apart": {"dead", func(t *testing.T, w *killStates) { w.run(t, "", "altmove", "-u", "u", "INBOX") }},
		"lost": {"shared", func(t *testing.T, w *killStates) {
			if err := os.Remove(filepath.Join(w.dir, "u/mdbox/storage", index.CatalogName)); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// storeStat is what "mdbox stat" says, through the daemon.
func (w *killWorld) storeStat(t *testing.T) (st admin.StoreStatResult, err error) {
	out, status := w.mine(t, nil, "", "--format", "json", "mdbox", "stat", "-u", "u")
	if status != 0 {
		return st, fmt.Errorf("mdbox stat: status %d: %s", status, out)
	}
	return st, json.Unmarshal([]byte(out), &st)
}

// lookAtMdbox compares the catalog with the files and with what clients see.
func lookAtMdbox(t *testing.T, w *killStates, _ bool) error {
	st, err := w.storeStat(t)
	if err != nil {
		return err
	}
	for _, f := range st.Files {
		if f.State == "short" || f.State == "missing" || f.State == "purged" {
			return fmt.Errorf("%s is %s: %+v", f.File, f.State, st)
		}
	}
	messages, emails := mailsByID(t, w.imap, "pw")
	if st.Messages != messages || st.Stored != emails {
		return fmt.Errorf("the catalog counts %d messages and %d in the files, there are %d and %d", st.Messages, st.Stored, messages, emails)
	}
	return nil
}

// mailsByID counts all messages of u, and the different ones: copies have one EMAILID.
func mailsByID(t *testing.T, address, password string) (messages, emails int) {
	t.Helper()
	c := login(t, address, "u", password)
	defer c.close()
	ids := map[string]bool{}
	for _, folder := range listed(c.do(`LIST "" "*"`)) {
		c.do("EXAMINE %s", folder)
		for _, u := range c.do("UID FETCH 1:* (EMAILID)").untagged {
			if _, id, ok := strings.Cut(u.line, "EMAILID ("); ok {
				messages++
				ids[id] = true
			}
		}
	}
	return messages, len(ids)
}

// allOrNone wants all messages of an APPEND to be there, or none.
func allOrNone(t *testing.T, w *killStates, acked bool) error {
	v := w.read(t, s0)
	counts := map[int]bool{}
	for n := range 5 {
		counts[v.opened[fmt.Sprint("a", n+1)]] = true
	}
	if len(counts) != 1 || acked && counts[0] {
		return fmt.Errorf("of the messages of an APPEND there are %v", v)
	}
	return nil
}

// searched wants UIDs to be found by SEARCH.
func searched(folder, criteria, uids string) func(*testing.T, *killStates, bool) error {
	return func(t *testing.T, w *killStates, acked bool) error {
		c := login(t, w.imap, "u", "pw")
		defer c.close()
		c.do("EXAMINE %s", folder)
		for _, u := range c.do("UID SEARCH %s", criteria).untagged {
			if rest, ok := strings.CutPrefix(u.line, "* SEARCH"); ok && acked && !strings.HasPrefix(strings.TrimSpace(rest), uids) {
				return fmt.Errorf("%s finds%s, want %s", criteria, rest, uids)
			}
		}
		return nil
	}
}

func hasFolder(name string, want bool) func(*testing.T, *killStates, bool) error {
	return func(t *testing.T, w *killStates, acked bool) error {
		c := login(t, w.imap, "u", "pw")
		defer c.close()
		names := listed(c.do(`LIST "" "*"`))
		if got := slices.Contains(names, name) || slices.Contains(names, quote(name)); acked && got != want {
			return fmt.Errorf("folder %s is there: %v, want %v; there are %v", name, got, want, names)
		}
		return nil
	}
}

func subscribed(name string) func(*testing.T, *killStates, bool) error {
	return func(t *testing.T, w *killStates, acked bool) error {
		c := login(t, w.imap, "u", "pw")
		defer c.close()
		if a := c.do(`LSUB "" "*"`); acked && !strings.Contains(fmt.Sprint(a.untagged), name) {
			return fmt.Errorf("%s is not subscribed to: %v", name, a.untagged)
		}
		return nil
	}
}

// unchanged wants what the state had, with UIDs and flags, in the folders of the state "dead".
func unchanged(t *testing.T, w *killStates, _ bool) error {
	c := login(t, w.imap, "u", "pw")
	defer c.close()
	got, want := map[string]string{}, map[string]string{
		"INBOX 1": "inbox-1 []", "INBOX 2": `inbox-2 [\Seen work]`, "INBOX 4": "inbox-4 []", "Box 1": "box-1 []", "Box 2": "inbox-1 []",
	}
	for _, folder := range listed(c.do(`LIST "" "*"`)) {
		for uid, f := range c.fetchAll(strings.Trim(folder, `"`)) {
			f.flags = slices.DeleteFunc(f.flags, func(s string) bool { return s == `\Recent` })
			slices.Sort(f.flags)
			_, subject, _ := strings.Cut(string(f.body), "Subject: ")
			subject, _, _ = strings.Cut(subject, "\r\n")
			got[fmt.Sprint(folder, " ", uid)] = fmt.Sprint(subject, " ", f.flags)
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("there is %v, want %v", got, want)
	}
	return nil
}

// rebuild wants a rebuild to find nothing wrong with the store as it was left, and one
// without the catalog to bring everything back.
func (w *killStates) rebuild(t *testing.T, op killOperation, p killPoint, acked bool) {
	t.Helper()
	resync := func(more ...string) (r admin.ResyncResult) {
		out := w.run(t, "", append([]string{"--format", "json", "force-resync", "-u", "u"}, more...)...)
		if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):strings.LastIndex(out, "}")+1]), &r); err != nil {
			t.Fatalf("force-resync: %v: %s", err, out)
		}
		return r
	}
	if r := resync("--dry-run"); len(r.Missing) > 0 || r.LostCopies > 0 || len(r.Unreadable) > 0 || len(r.Created) > len(op.gone) || r.NoCatalog {
		t.Errorf("%v: in the end the catalog is not whole: %+v", p, r)
	}
	w.restore(t, "killed")
	catalog := filepath.Join(w.dir, "u/mdbox/storage", index.CatalogName)
	if err := os.Remove(catalog); err != nil && !op.shut {
		t.Error(err)
	}
	r := resync()
	// What was made has its identity, and what is gone may come back with its messages.
	created := slices.DeleteFunc(r.Created, func(name string) bool {
		return slices.Contains(op.gone, name) || !acked && slices.Contains(op.makes, name)
	})
	if len(created) > 0 || len(r.Missing) > 0 {
		t.Errorf("%v (acknowledged: %v): without a catalog: %+v", p, acked, r)
	}
	w.serve(t)
	v := w.read(t, s0)
	missing := w.missing(v, op.may)
	if acked {
		missing = w.missing(v, op.loses)
	}
	if len(missing) > 0 || !v.opensAll() {
		t.Errorf("%v (acknowledged: %v): rebuilt without the catalog %v: missing %v", p, acked, v, missing)
	}
	if status := w.check(t, s0); status != 0 {
		t.Errorf("%v: rebuilt without the catalog, check says %d", p, status)
	}
	w.stop(t)
}
