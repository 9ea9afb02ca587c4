package dovecotindex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
)

// sample is a mailbox with everything that can be written.
func sample(n int) *Mailbox {
	m := &Mailbox{
		GUID: mailbox.NewGUID(), UIDValidity: 1234, NextUID: mailbox.UID(10 * n), FirstRecentUID: mailbox.UID(2 * n),
		HighestModSeq: 1 << 40, MapUIDValidity: 77, HasUIDLs: true,
	}
	for i := range n {
		g := Message{
			UID: mailbox.UID(3*i + 1), GUID: mailbox.NewGUID(), MapUID: uint32(i + 1), Saved: time.Unix(1_600_000_000+int64(i), 0).UTC(),
			ModSeq: mailbox.ModSeq(1 + i*i),
		}
		g.Flags.System = mailbox.SystemFlags(i) & imapFlags
		for k := range 20 {
			if i&(1<<(k%5)) != 0 && k%3 == i%3 {
				g.Flags.Keywords = append(g.Flags.Keywords, fmt.Sprintf("kw%02d", k))
			}
		}
		if g.UID >= m.FirstRecentUID {
			g.Flags.System |= mailbox.Recent
		}
		m.Messages = append(m.Messages, g)
	}
	return m
}

func parsed(t testing.TB, log []byte, err error) *Index {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	x, err := Parse(Files{Log: log})
	if err != nil || x.Damage != nil || x.Unfinished != 0 || x.LogTail != x.LogOffset {
		t.Fatal(err, x)
	}
	return x
}

// What is written is what is read.
func TestLogsRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 7, 200, chunk + 5} {
		want := sample(n)
		log, err := want.MdboxLog(LogOptions{})
		got, err := parsed(t, log, err).Mdbox()
		if want.NextUID == 0 {
			want.NextUID, want.FirstRecentUID = 1, 1
		}
		if err != nil || !equalMailbox(got, want) {
			t.Errorf("%d messages of mdbox: %v\n%.2000v\n%.2000v", n, err, got, want)
		}
		want.MapUIDValidity, want.RebuildCount = 0, 5
		for i := range want.Messages {
			g := &want.Messages[i]
			g.Alt, g.MapUID, g.Saved, g.GUID = i%2 == 1, 0, time.Time{}, mailbox.GUID{}
		}
		log, err = want.SdboxLog(LogOptions{})
		if got, err = parsed(t, log, err).Sdbox(); err != nil || !equalMailbox(got, want) {
			t.Errorf("%d messages of sdbox: %v\n%.2000v\n%.2000v", n, err, got, want)
		}
		maps := &Map{UIDValidity: 77, NextUID: uint32(2*n + 5), HighestFileID: 9, RebuildCount: 3, Messages: []MapMessage{}}
		for i := range n {
			maps.Messages = append(maps.Messages, MapMessage{uint32(2*i + 1), uint32(i%9 + 1), uint32(i * 100), 100, uint16(i % 5)})
		}
		log, err = maps.Log(LogOptions{Created: time.Unix(1_700_000_000, 0)})
		if got, err := parsed(t, log, err).Map(); err != nil || !reflect.DeepEqual(got, maps) {
			t.Errorf("map of %d: %v\n%.2000v\n%.2000v", n, err, got, maps)
		}
	}
}

func equalMailbox(a, b *Mailbox) bool {
	x, y := *a, *b
	x.Messages, y.Messages = nil, nil
	return reflect.DeepEqual(x, y) && slices.EqualFunc(a.Messages, b.Messages, func(g, h Message) bool {
		if !g.Flags.Equal(h.Flags) {
			return false
		}
		g.Flags, h.Flags = mailbox.Flags{}, mailbox.Flags{}
		return reflect.DeepEqual(g, h)
	})
}

func TestListRoundTrip(t *testing.T) {
	want := &List{Refresh: true, Mailboxes: []ListedMailbox{
		{ID: 1, Name: []string{"INBOX"}, GUID: mailbox.NewGUID(), UIDValidity: 5},
		{ID: 2, Name: []string{"A"}, NoSelect: true},
		{ID: 5, Parent: 2, Name: []string{"A", "B"}, GUID: mailbox.NewGUID(), UIDValidity: 6, NoInferiors: true},
		{ID: 6, Parent: 7, Name: []string{"C", "A"}, GUID: mailbox.NewGUID(), BadName: true},
		{ID: 7, Name: []string{"C"}, Nonexistent: true},
	}}
	log, err := want.Log(LogOptions{})
	if got, err := parsed(t, log, err).List(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
	want.Mailboxes[0].Name[0] = strings.Repeat("x", 70_000) // a header of more than 16 bits
	log, err = want.Log(LogOptions{})
	if got, err := parsed(t, log, err).List(); err != nil || !reflect.DeepEqual(got, want) {
		t.Error("a long header came back otherwise:", err)
	}
}

// What Dovecot would not take is refused.
func TestLogsRefused(t *testing.T) {
	for name, spoil := range map[string]func(m *Mailbox){
		"no UIDVALIDITY": func(m *Mailbox) { m.UIDValidity = 0 },
		"no GUID":        func(m *Mailbox) { m.GUID = mailbox.GUID{} },
		"UIDs descend":   func(m *Mailbox) { m.Messages[3].UID = 2 },
		"UID 0":          func(m *Mailbox) { m.Messages[0].UID = 0 },
		"last UID":       func(m *Mailbox) { m.Messages[6].UID = 1<<32 - 1 },
		"no keyword":     func(m *Mailbox) { m.Messages[2].Flags.Keywords = []string{""} },
	} {
		m := sample(7)
		spoil(m)
		if _, err := m.MdboxLog(LogOptions{}); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if _, err := (&Map{UIDValidity: 1, Messages: []MapMessage{{UID: 1}}}).Log(LogOptions{}); err == nil {
		t.Error("a message in no file was written")
	}
	if _, err := (&List{Mailboxes: []ListedMailbox{{ID: 1, Parent: 2, Name: []string{"a"}}}}).Log(LogOptions{}); err == nil {
		t.Error("a mailbox without its parent was written")
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dovecot.index")
	m := sample(3)
	log, err := m.MdboxLog(LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(path, log); err != nil {
		t.Fatal(err)
	}
	x, err := Read(t.Context(), path)
	if err != nil || x.Len() != 3 {
		t.Fatal(x, err)
	}
	if err := Create(path, log); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second index: %v", err)
	}
}

// Dovecot takes a store that we wrote, without repairing it, and what it then changes we
// read again.
func TestDovecotTakesMdbox(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", small, func(t *testing.T, d *dovetest.Dovecot) {
		rewritten(t, d, "mdbox", func(old string, boxes []string) {
			root := filepath.Join(d.Home, "mdbox")
			must(t, os.MkdirAll(filepath.Join(root, "storage"), 0o700))
			files, err := filepath.Glob(filepath.Join(old, "storage", "m.*"))
			must(t, err)
			for _, f := range files {
				must(t, os.Rename(f, filepath.Join(root, "storage", filepath.Base(f))))
			}
			x, err := Read(t.Context(), filepath.Join(old, "storage", "dovecot.map.index"))
			must(t, err)
			maps, err := x.Map()
			must(t, err)
			log, err := maps.Log(LogOptions{})
			must(t, err)
			must(t, Create(filepath.Join(root, "storage", "dovecot.map.index"), log))
			for _, b := range boxes {
				rewrite(t, old, root, b, (*Index).Mdbox, (*Mailbox).MdboxLog)
			}
		})
	})
}

func TestDovecotTakesSdbox(t *testing.T) {
	dovetest.Run(t, "sdbox:~/sdbox", small, func(t *testing.T, d *dovetest.Dovecot) {
		rewritten(t, d, "sdbox", func(old string, boxes []string) {
			for _, b := range boxes {
				root := filepath.Join(d.Home, "sdbox")
				rewrite(t, old, root, b, (*Index).Sdbox, (*Mailbox).SdboxLog)
				files, err := filepath.Glob(filepath.Join(old, "mailboxes", b, "dbox-Mails", "u.*"))
				must(t, err)
				for _, f := range files {
					must(t, os.Rename(f, filepath.Join(root, "mailboxes", b, "dbox-Mails", filepath.Base(f))))
				}
			}
		})
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rewrite writes a mailbox's index anew.
func rewrite(t *testing.T, old, root, box string, read func(*Index) (*Mailbox, error), write func(*Mailbox, LogOptions) ([]byte, error)) {
	t.Helper()
	dir := filepath.Join("mailboxes", box, "dbox-Mails")
	x, err := Read(t.Context(), filepath.Join(old, dir, "dovecot.index"))
	must(t, err)
	m, err := read(x)
	must(t, err)
	log, err := write(m, LogOptions{})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(root, dir), 0o700))
	must(t, Create(filepath.Join(root, dir, "dovecot.index"), log))
}

// rewritten plays with a store, has it written anew by build, and plays on.
func rewritten(t *testing.T, d *dovetest.Dovecot, driver string, build func(old string, boxes []string)) {
	s := d.IMAP()
	boxes := []string{"INBOX", "Work", "Work/Sub"}
	for _, b := range boxes[1:] {
		s.OK("CREATE %s", b)
	}
	s.OK("ENABLE QRESYNC")
	p := newPlayer(t, d, s)
	for range 40 {
		p.step(boxes)
	}
	if bad := dovetest.Troubles(s.Close()); bad != nil {
		t.Fatal(bad)
	}
	before := compare(t, d, driver, boxes...)
	old := filepath.Join(d.Home, "old")
	must(t, os.Rename(filepath.Join(d.Home, driver), old))
	build(old, boxes)
	for b, after := range compare(t, d, driver, boxes...) { // doveadm complains of nothing, or the test fails
		if !equalMailbox(before[b], after) {
			t.Errorf("%s was\n%+v\nand is\n%+v", b, before[b], after)
		}
	}
	p.s = d.IMAP()
	for range 3 {
		for range 15 {
			p.step(boxes)
		}
		if driver == "mdbox" {
			p.s.OK("UNSELECT")
			d.Doveadm("", "purge")
		}
		compare(t, d, driver, boxes...)
	}
	if bad := dovetest.Troubles(p.s.Close()); bad != nil {
		t.Errorf("Dovecot complains: %q", bad)
	}
}
