package mdbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

func TestParseLocation(t *testing.T) {
	for in, want := range map[string]Location{
		"mdbox:~/mdbox": {Root: "/home/u/mdbox"},
		"mdbox:/m/:ALT=/slow:INDEX=~/ix:CONTROL=/ct:UTF-8":      {Root: "/m", Alt: "/slow", Index: "/home/u/ix", Control: "/ct", UTF8: true},
		"mdbox:/m:LAYOUT=fs:DIRNAME=dbox-Mails:SUBSCRIPTIONS=s": {Root: "/m", Subscriptions: "s"},
		"mdbox:/a::b:LISTINDEX=x:NO-NOSELECT":                   {Root: "/a:b"},
	} {
		if got, err := ParseLocation(in, "/home/u"); got != want || err != nil {
			t.Errorf("ParseLocation(%q) = %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "mdbox", "maildir:/m", "mdbox:rel", "mdbox:/m:INDEX=MEMORY", "mdbox:/m:LAYOUT=index",
		"mdbox:/m:INBOX=/x", "mdbox:/m:FOO", "mdbox:/m:ALT=rel", "mdbox:/m:ALT=/m", "mdbox:/m:SUBSCRIPTIONS=a/b", "mdbox:/m:DIRNAME=x"} {
		if _, err := ParseLocation(in, "/home/u"); !errors.Is(err, ErrLocation) {
			t.Errorf("ParseLocation(%q) gives %v", in, err)
		}
	}
}

func TestParseSettings(t *testing.T) {
	parse := func(size, interval, space string) (Settings, error) {
		return ParseSettings(func(name string) (string, bool) {
			v := map[string]string{"mdbox_rotate_size": size, "mdbox_rotate_interval": interval, "mdbox_preallocate_space": space}[name]
			return v, v != ""
		})
	}
	for in, want := range map[[3]string]Settings{
		{}:                        {},
		{"10M", "1d", "yes"}:      {10 << 20, 24 * time.Hour, true},
		{"512 KiB", "0", "no"}:    {RotateSize: 512 << 10},
		{"1000", "2 weeks", "on"}: {1000, 14 * 24 * time.Hour, true},
		{"3G", "90 mins", "n"}:    {RotateSize: 3 << 30, RotateInterval: 90 * time.Minute},
	} {
		if got, err := parse(in[0], in[1], in[2]); got != want || err != nil {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range [][3]string{{"4G"}, {"0"}, {"x"}, {"5T"}, {"", "1"}, {"", "d"}, {"", "1y"}, {"", "", "maybe"}} {
		if got, err := parse(in[0], in[1], in[2]); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// What Dovecot has written, or whose catalog is lost, is not touched.
func TestOpenRefuses(t *testing.T) {
	l := newLocation(t)
	put := func(name string) {
		t.Helper()
		path := filepath.Join(l.Root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want error) {
		t.Helper()
		if h, err := Open(t.Context(), l, Options{}); !errors.Is(err, want) {
			t.Errorf("Open: %v, want %v", err, want)
			if err == nil {
				h.Close()
			}
		}
	}
	put("storage/dovecot.map.index.log")
	want(ErrDovecot)
	os.Remove(filepath.Join(l.Root, "storage/dovecot.map.index.log"))
	put("storage/m.7")
	want(ErrNoCatalog)
	os.Remove(filepath.Join(l.Root, "storage/m.7"))
	h := openStore(t, l, Options{})
	want(index.ErrCatalogBusy) // a second process
	if err := h.catalog.Update(t.Context(), func(tx *index.CatalogTx) error {
		m, err := tx.Meta()
		m.HandedOver = true
		return errors.Join(err, tx.SetMeta(m))
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	want(ErrDovecot)
	put("storage/" + index.CatalogName)
	want(index.ErrCatalogDamaged)
}

// Who loses everything but what is beside the keys loses no GUID.
func TestIdentities(t *testing.T) {
	l, ids := newLocation(t), &memoryIdentities{}
	h := openStore(t, l, Options{Identities: ids})
	if err := h.Create(t.Context(), "A/B"); err != nil {
		t.Fatal(err)
	}
	in, ab := openBox(t, h, "INBOX"), openBox(t, h, "A/B")
	if err := h.Rename(t.Context(), "A", "Zwölf"); err != nil {
		t.Fatal(err)
	}
	validity := ab.View().UIDValidity
	ids.fail = errors.New("no dictionary")
	if err := h.Create(t.Context(), "C"); !errors.Is(err, ids.fail) {
		t.Errorf("Create without a place for the GUID: %v", err)
	}
	if err := h.Rename(t.Context(), "Zwölf", "D"); !errors.Is(err, ids.fail) {
		t.Errorf("Rename without: %v", err)
	}
	ids.fail = nil
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ids.known["Zw&APY-lf/B"]; got.GUID != ab.GUID() || len(ids.known) != 2 {
		t.Errorf("kept: %v", ids.known)
	}
	// What a crash has left is put right.
	ids.known["Gone"] = Identity{GUID: mailbox.GUID{1}, UIDValidity: 1}
	delete(ids.known, "INBOX")
	h = openStore(t, l, Options{Identities: ids})
	if len(ids.known) != 2 || ids.known["INBOX"].GUID != in.GUID() {
		t.Errorf("kept: %v", ids.known)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(l.Root, storageDir)); err != nil {
		t.Fatal(err)
	}
	h = openStore(t, l, Options{Identities: ids})
	again := openBox(t, h, "Zwölf/B")
	if again.GUID() != ab.GUID() || openBox(t, h, "INBOX").GUID() != in.GUID() {
		t.Error("a GUID is lost with the catalog")
	}
	if v := again.View().UIDValidity; v <= validity {
		t.Errorf("UIDVALIDITY %d, was %d", v, validity)
	}
}

// Directories are what the catalog says.
func TestDirectories(t *testing.T) {
	l := newLocation(t)
	h := openStore(t, l, Options{})
	openBox(t, h, "INBOX")
	dirs := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(l.Root, mailboxesDir, "*"))
		more, err2 := filepath.Glob(filepath.Join(l.Root, mailboxesDir, "*", "*"))
		deep, err3 := filepath.Glob(filepath.Join(l.Root, mailboxesDir, "*", "*", "*"))
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range slices.Concat(found, more, deep) {
			rel, _ := filepath.Rel(filepath.Join(l.Root, mailboxesDir), f)
			out = append(out, rel)
		}
		slices.Sort(out)
		return out
	}
	want := func(list ...string) {
		t.Helper()
		if got := dirs(); !slices.Equal(got, list) {
			t.Errorf("directories %q, want %q", got, list)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(h.Create(t.Context(), "Ä/x"))
	want("&AMQ-", "&AMQ-/x", "&AMQ-/x/dbox-Mails", "INBOX", "INBOX/dbox-Mails")
	must(h.Create(t.Context(), "Ä"))
	must(h.Rename(t.Context(), "Ä/x", "y/z"))
	want("&AMQ-", "&AMQ-/dbox-Mails", "INBOX", "INBOX/dbox-Mails", "y", "y/z", "y/z/dbox-Mails")
	must(h.Delete(t.Context(), "y/z"))
	must(h.Close())
	must(os.RemoveAll(filepath.Join(l.Root, mailboxesDir, "&AMQ-")))
	must(os.MkdirAll(filepath.Join(l.Root, mailboxesDir, "left/over", mailsDir), 0o700))
	must(os.MkdirAll(filepath.Join(l.Root, mailboxesDir, "full", mailsDir, "of"), 0o700))
	openStore(t, l, Options{})
	want("&AMQ-", "&AMQ-/dbox-Mails", "INBOX", "INBOX/dbox-Mails", "full", "full/dbox-Mails", "full/dbox-Mails/of")
}

// All that is saved at the same moment shares the syncs, and nothing is loaded for it.
func TestDeliveriesShare(t *testing.T) {
	l := newLocation(t)
	faults := &durable.Faults{}
	h := openStore(t, l, Options{Faults: faults})
	boxes := []*Mailbox{openBox(t, h, "INBOX")}
	for _, name := range []string{"A", "B"} {
		if err := h.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, openBox(t, h, name))
	}
	syncs := func() (n int) {
		for _, s := range faults.Steps() {
			if s.Op == durable.OpSync {
				n++
			}
		}
		return n
	}
	before := syncs()
	const each = 20
	var wg sync.WaitGroup
	h.commits.working.Lock() // so that all are waiting
	for i := range each * len(boxes) {
		wg.Go(func() {
			if _, err := trySave(boxes[i%len(boxes)], fmt.Sprintf("Subject: %d\n\n", i), mailbox.SaveInfo{}); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < each*len(boxes); time.Sleep(time.Millisecond) {
		h.commits.mu.Lock()
		waiting = len(h.commits.waiting)
		h.commits.mu.Unlock()
	}
	h.commits.working.Unlock()
	wg.Wait()
	if n := syncs() - before; n != 2 {
		t.Errorf("%d syncs for %d messages, want one of a file and one of the catalog", n, each*len(boxes))
	}
	for _, m := range boxes {
		if m.b.loaded() != nil {
			t.Errorf("%s was loaded for a delivery", m.b.f().key)
		}
		if n := m.View().Len(); n != each {
			t.Errorf("%d messages, want %d", n, each)
		}
	}
	checkStore(t, h)
}

// Copies are references, and what is too much to refer to is an error that says so.
func TestLinkLimits(t *testing.T) {
	h := openStore(t, newLocation(t), Options{})
	in := openBox(t, h, "INBOX")
	uid := mustSave(t, in, "Subject: x\n\n")
	msg, err := in.Stat(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	info := mailbox.SaveInfo{Received: msg.Received, GUID: msg.GUID}
	if err := h.catalog.Update(t.Context(), func(tx *index.CatalogTx) error {
		var m index.CatalogMessage
		var err error
		if m, _, err = tx.Message(in.GUID(), uid); err != nil {
			return err
		}
		msgs := make([]index.CatalogMessage, 32767)
		for i := range msgs {
			msgs[i] = m
		}
		return tx.AddMessages(in.GUID(), msgs)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Link(t.Context(), in, uid, info); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("reference 32769: %v", err)
	}
	other := info
	other.GUID = strings.Repeat("0", 32)
	if _, err := in.Link(t.Context(), in, uid, other); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("under another GUID: %v", err)
	}
	elsewhere := openBox(t, openStore(t, newLocation(t), Options{}), "INBOX")
	if _, err := elsewhere.Link(t.Context(), in, uid, info); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("to another store: %v", err)
	}
}

// A message whose file is damaged or gone says so, and the others can be read.
func TestDamagedFile(t *testing.T) {
	l := newLocation(t)
	h := openStore(t, l, Options{RotateSize: 1 << 10})
	in := openBox(t, h, "INBOX")
	big := strings.Repeat("x", 2000)
	first, second, third := mustSave(t, in, big), mustSave(t, in, big), mustSave(t, in, big)
	file := func(n int) string { return filepath.Join(l.Root, storageDir, fmt.Sprintf("m.%d", n)) }
	if err := os.WriteFile(file(1), []byte("2 M1e C0\n"+strings.Repeat("y", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readText(in, first); !errors.Is(err, mailbox.ErrDamaged) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := os.Remove(file(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := readText(in, second); err == nil || errors.Is(err, mailbox.ErrNotFound) {
		t.Errorf("a lost file: %v", err)
	}
	if text, err := readText(in, third); text != big || err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}
