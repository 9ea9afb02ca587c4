package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

func TestSave(t *testing.T) {
	m := newInbox(t)
	dir := m.b.f().dir
	when := time.Unix(1_600_000_000, 0)
	for _, tt := range []struct {
		name string
		info mailbox.SaveInfo
		want string // flags
		dir  string
		guid string
	}{
		{"plain", mailbox.SaveInfo{}, `\Recent`, "new", ""},
		{"flags and date", mailbox.SaveInfo{Received: when, Flags: flags(`\Seen`, `\Draft`)}, `\Seen \Draft \Recent`, "cur", ""},
		{"keywords", mailbox.SaveInfo{Flags: flags("Work", "$Junk", `\Flagged`)}, `\Flagged \Recent $Junk Work`, "cur", ""},
		{"GUID", mailbox.SaveInfo{GUID: "0123456789abcdef"}, `\Recent`, "new", "0123456789abcdef"},
		{"Recent is not saved", mailbox.SaveInfo{Flags: flags(`\Recent`)}, `\Recent`, "new", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now()
			uid := save(t, m, "a\nbc\n", tt.info)
			v := m.View() // the UID is there without another sync
			msg, err := m.Stat(t.Context(), uid)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(msg.Flags.Names(), " "); got != tt.want || v.Get(uid) == nil || v.UIDNext != uid+1 {
				t.Errorf("flags %q, UIDNEXT %d after UID %d, want %q", got, v.UIDNext, uid, tt.want)
			}
			if msg.Sizes != (mailbox.Sizes{Physical: 5, Virtual: 7, Stored: 5}) {
				t.Errorf("sizes %+v", msg.Sizes)
			}
			if tt.guid != "" && msg.GUID != tt.guid {
				t.Errorf("GUID %q, want %q", msg.GUID, tt.guid)
			}
			if !tt.info.Received.IsZero() && !msg.Received.Equal(when) || msg.Saved.Before(before.Add(-time.Second)) {
				t.Errorf("received %v saved %v", msg.Received, msg.Saved)
			}
			if path := m.b.path(m.b.find(uid)); !strings.Contains(path, "/"+tt.dir+"/") || !strings.Contains(path, ",S=5,W=7") {
				t.Errorf("file %s, want it in %s", path, tt.dir)
			}
		})
	}
	if got := readFile(t, filepath.Join(dir, keywordsName)); got != "0 $Junk\n1 Work\n" {
		t.Errorf("keywords %q", got)
	}
	list := readFile(t, filepath.Join(dir, uidlistName))
	p, err := parseUIDList(strings.NewReader(list))
	if err != nil || p.damage != nil || len(p.records) != 5 {
		t.Errorf("uidlist %q: %v, %v", list, err, p.damage)
	}
	if n := inTmp(t, filepath.Join(dir, "tmp")); len(n) != 0 {
		t.Errorf("tmp holds %q", n)
	}
}

func TestDeliveryWithoutUID(t *testing.T) {
	m := newInbox(t)
	m.View()
	uid, err := trySave(m, "x", mailbox.SaveInfo{})
	if uid != 0 || err != nil {
		t.Fatalf("UID %d, %v", uid, err)
	}
	if uid, err = trySave(m, "y", mailbox.SaveInfo{Flags: flags(`\Seen`)}); uid != 0 || err != nil {
		t.Fatalf("UID %d, %v", uid, err)
	}
	wantShown(t, m, `1 \Recent`, `2 \Seen`)
}

// What was delivered first has the lower UID, also where the mailbox has been read already and
// the second message gets its UID at once.
func TestDeliveryBeforeAppend(t *testing.T) {
	m := newInbox(t)
	resync(t, m)
	if _, err := trySave(m, "delivered", mailbox.SaveInfo{}); err != nil {
		t.Fatal(err)
	}
	if uid := save(t, m, "appended", mailbox.SaveInfo{}); uid != 2 {
		t.Errorf("UID %d of the message that came second", uid)
	}
}

func TestAbort(t *testing.T) {
	m := newInbox(t)
	p, err := m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(p, "text")
	if err := p.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := p.Commit(mailbox.Sizes{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
	if err := p.Abort(); err != nil {
		t.Error(err)
	}
	wantShown(t, m)
	if n := inTmp(t, filepath.Join(m.b.f().dir, "tmp")); len(n) != 0 {
		t.Errorf("tmp holds %q", n)
	}
	p, _ = m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
	if _, err := p.Commit(mailbox.UnknownSizes); err != nil {
		t.Fatal(err)
	}
	if err := p.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if v := m.View(); v.Len() != 1 || v.At(0).Sizes != mailbox.UnknownSizes || strings.Contains(v.At(0).GUID, ",") {
		t.Errorf("without sizes: %+v", v.At(0))
	}
}

func TestRefusedInfo(t *testing.T) {
	m := newInbox(t)
	for _, info := range []mailbox.SaveInfo{
		{GUID: "with space"}, {GUID: "line\nend"}, {GUID: strings.Repeat("x", 2000)},
		{Flags: mailbox.Flags{Keywords: []string{"a b"}}}, {Flags: mailbox.Flags{Keywords: []string{strings.Repeat("k", 300)}}},
	} {
		if _, err := m.Create(t.Context(), info); !errors.Is(err, mailbox.ErrName) && !errors.Is(err, mailbox.ErrLimit) {
			t.Errorf("Create(%.40q) = %v", fmt.Sprint(info), err)
		}
	}
}

func TestSetFlags(t *testing.T) {
	m := newInbox(t)
	dir := m.b.f().dir
	for range 3 {
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	}
	// Letters and text of other programs survive every change.
	e := m.b.find(2)
	mustRename(t, m.b.path(e), filepath.Join(dir, "cur", e.base+":2,SPb,x=1"))
	wantShown(t, m, `1 \Seen \Recent`, `2 \Seen \Recent unknown-1`, `3 \Seen \Recent`)
	set := func(op mailbox.FlagOp, f mailbox.Flags, uids ...mailbox.UID) {
		t.Helper()
		if err := setFlags(t.Context(), m, uids, mailbox.FlagChange{Op: op, Flags: f}); err != nil {
			t.Fatal(err)
		}
	}
	first := m.View()
	set(mailbox.AddFlags, flags(`\Flagged`, "Work"), 1, 2, 99)
	if got := shown(m.View()); !slices.Equal(got, []string{`1 \Flagged \Seen \Recent Work`, `2 \Flagged \Seen \Recent unknown-1 Work`, `3 \Seen \Recent`}) {
		t.Errorf("after adding: %q", got)
	}
	if v := m.View(); v.Get(1).ModSeq <= first.HighestModSeq || v.Get(3).ModSeq != first.Get(3).ModSeq || v.HighestModSeq < v.Get(1).ModSeq {
		t.Errorf("modseqs %d, %d after %d", v.Get(1).ModSeq, v.Get(3).ModSeq, first.HighestModSeq)
	}
	if got := readFile(t, filepath.Join(dir, keywordsName)); got != "0 Work\n1 unknown-1\n" {
		t.Errorf("keywords %q", got)
	}
	if name := filepath.Base(m.b.path(m.b.find(2))); !strings.HasSuffix(name, ":2,FPSab,x=1") {
		t.Errorf("name %q", name)
	}
	set(mailbox.RemoveFlags, flags(`\Seen`, "WORK", "never"), 1, 2)
	wantShown(t, m, `1 \Flagged \Recent`, `2 \Flagged \Recent unknown-1`, `3 \Seen \Recent`)
	set(mailbox.ReplaceFlags, flags(`\Answered`, "new"), 1, 2, 3)
	wantShown(t, m, `1 \Answered \Recent new`, `2 \Answered \Recent new`, `3 \Answered \Recent new`)
	if name := filepath.Base(m.b.path(m.b.find(2))); !strings.HasSuffix(name, ":2,PRc,x=1") {
		t.Errorf("name %q", name)
	}
	// No change makes no new modseq.
	before := m.View()
	set(mailbox.AddFlags, flags(`\Answered`), 1, 2, 3)
	if m.View() != before && m.View().HighestModSeq != before.HighestModSeq {
		t.Error("a change that changes nothing has a modseq")
	}
}

func TestKeywordLimit(t *testing.T) {
	m := newInbox(t)
	uid := save(t, m, "x", mailbox.SaveInfo{})
	var all []string
	for i := range 26 {
		all = append(all, fmt.Sprintf("k%02d", i))
	}
	add := func(names ...string) error {
		return setFlags(t.Context(), m, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: flags(names...)})
	}
	if err := add(all...); err != nil {
		t.Fatal(err)
	}
	if err := add(`\Seen`, "one-more"); !errors.Is(err, mailbox.ErrLimit) {
		t.Errorf("the 27th keyword: %v", err)
	}
	if err := add("K03"); err != nil {
		t.Errorf("a known keyword: %v", err)
	}
	if got := m.View().Get(uid).Flags; len(got.Keywords) != 26 || got.System&mailbox.Seen != 0 {
		t.Errorf("flags %q", got.Names())
	}
	if _, err := trySave(m, "x", mailbox.SaveInfo{Flags: flags("one-more")}); !errors.Is(err, mailbox.ErrLimit) {
		t.Errorf("saving with the 27th keyword: %v", err)
	}
	wantShown(t, m, strings.TrimSpace(`1 \Recent `+strings.Join(all, " ")))
}

func TestKeywordMtime(t *testing.T) {
	m := newInbox(t)
	path := filepath.Join(m.b.f().dir, keywordsName)
	save(t, m, "x", mailbox.SaveInfo{Flags: flags("a")})
	for i, k := range []string{"b", "c"} {
		st, _ := os.Stat(path)
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(k)})
		if now, _ := os.Stat(path); now.ModTime().Unix() <= st.ModTime().Unix() {
			t.Errorf("change %d: mtime %v after %v", i, now.ModTime(), st.ModTime())
		}
	}
	// A name that another program gives to a letter shows.
	wantShown(t, m, `1 \Recent a`, `2 \Recent b`, `3 \Recent c`)
	put(t, path, "0 a\n1 bee\n2 c\n")
	wantShown(t, m, `1 \Recent a`, `2 \Recent bee`, `3 \Recent c`)
}

func TestExpunge(t *testing.T) {
	m := newInbox(t)
	for range 4 {
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	}
	was := m.View()
	if err := m.Expunge(t.Context(), []mailbox.UID{4, 2, 77}); err != nil {
		t.Fatal(err)
	}
	if got := shown(m.View()); !slices.Equal(got, []string{`1 \Seen \Recent`, `3 \Seen \Recent`}) {
		t.Errorf("after expunging: %q", got)
	}
	if v := m.View(); v.HighestModSeq <= was.HighestModSeq || v.UIDNext != 5 {
		t.Errorf("HighestModSeq %d after %d, UIDNEXT %d", v.HighestModSeq, was.HighestModSeq, v.UIDNext)
	}
	for _, f := range []func() error{
		func() error { _, err := m.Open(t.Context(), 2); return err },
		func() error { _, err := m.Stat(t.Context(), 4); return err },
		func() error { return m.RecordSizes(t.Context(), 2, mailbox.Sizes{}) },
	} {
		if err := f(); !errors.Is(err, mailbox.ErrNotFound) {
			t.Errorf("of an expunged message: %v", err)
		}
	}
	if uid := save(t, m, "x", mailbox.SaveInfo{}); uid != 5 {
		t.Errorf("next UID %d, want 5", uid)
	}
	if err := m.Expunge(t.Context(), []mailbox.UID{5}); err != nil {
		t.Fatal(err)
	}
}

func TestClaimRecent(t *testing.T) {
	h := openTree(t, newLocation(t), Options{})
	m, other := openBox(t, h, "INBOX"), openBox(t, h, "INBOX")
	save(t, m, "x", mailbox.SaveInfo{})
	save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
	trySave(m, "x", mailbox.SaveInfo{})
	// A flag change moves the file to cur, and yet nobody has been told of the message.
	if err := setFlags(t.Context(), m, []mailbox.UID{1}, mailbox.FlagChange{Flags: flags(`\Flagged`)}); err != nil {
		t.Fatal(err)
	}
	wantShown(t, m, `1 \Flagged \Recent`, `2 \Seen \Recent`, `3 \Recent`)
	got, err := m.ClaimRecent(t.Context())
	if err != nil || !slices.Equal(got, []mailbox.UID{1, 2, 3}) {
		t.Errorf("claimed %d, %v", got, err)
	}
	if got, err := other.ClaimRecent(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("claimed twice: %d, %v", got, err)
	}
	wantShown(t, other, `1 \Flagged`, `2 \Seen`, `3`)
	if n := names(t, filepath.Join(m.b.f().dir, "new")); len(n) != 0 {
		t.Errorf("new holds %q", n)
	}
}

func TestOpenReadsWholeMessage(t *testing.T) {
	m := newInbox(t)
	uid := save(t, m, "0123456789", mailbox.SaveInfo{})
	s, err := m.Open(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// The message stays readable while others rename and remove it.
	if err := m.Expunge(t.Context(), []mailbox.UID{uid}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := s.ReadAt(b, 6); err != nil || string(b) != "6789" || s.Size() != 10 {
		t.Errorf("%q, %v, size %d", b, err, s.Size())
	}
	if _, err := s.ReadAt(b, 8); err != io.EOF {
		t.Errorf("beyond the end: %v", err)
	}
	if s.Message().UID != uid || s.Message().Received.IsZero() {
		t.Errorf("%+v", s.Message())
	}
}

func TestRecordSizes(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	put(t, filepath.Join(l.Root, "cur", "1.a:2,"), "x")
	put(t, filepath.Join(l.Root, "cur", "2.b,S=10,W=12:2,"), "x")
	put(t, filepath.Join(l.Root, "cur", "3.c,S=,W=1x:2,"), "x")
	v, err := m.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := mailbox.Unknown
	of := func(physical, virtual int64) mailbox.Sizes {
		return mailbox.Sizes{Physical: physical, Virtual: virtual, Stored: u}
	}
	sizes := func(v *mailbox.View) (s []mailbox.Sizes) {
		for _, msg := range v.All() {
			s = append(s, msg.Sizes)
		}
		return s
	}
	if got := sizes(v); !slices.Equal(got, []mailbox.Sizes{of(u, u), of(10, 12), of(u, u)}) {
		t.Fatalf("sizes %v", got)
	}
	seq := v.HighestModSeq
	for uid, s := range map[mailbox.UID]mailbox.Sizes{1: of(5, 6), 2: of(11, 13), 3: of(7, 7)} {
		if err := m.RecordSizes(t.Context(), uid, s); err != nil {
			t.Fatal(err)
		}
	}
	want := []mailbox.Sizes{of(5, 6), of(11, 13), of(7, 7)}
	if got := sizes(m.View()); !slices.Equal(got, want) || m.View().HighestModSeq != seq {
		t.Errorf("sizes %v, modseq %d after %d", got, m.View().HighestModSeq, seq)
	}
	// They and the modseqs outlive the process.
	modseq := m.View().Get(2).ModSeq
	m.Close()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	if got := sizes(m.View()); !slices.Equal(got, want) || m.View().Get(2).ModSeq != modseq || m.View().HighestModSeq != seq {
		t.Errorf("after reopening: %v modseq %d highest %d, want %v %d %d", got,
			m.View().Get(2).ModSeq, m.View().HighestModSeq, want, modseq, seq)
	}
}

func TestSavedDateSurvivesFlags(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	trySave(m, "x", mailbox.SaveInfo{Received: time.Unix(1e9, 0)})
	if _, err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	was, err := m.Stat(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // so that a new ctime differs
	if err := setFlags(t.Context(), m, []mailbox.UID{1}, mailbox.FlagChange{Flags: flags(`\Seen`)}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	h.Close()
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	m.View()
	if now, err := m.Stat(t.Context(), 1); err != nil || !now.Saved.Equal(was.Saved) || now.Received.Unix() != 1e9 {
		t.Errorf("saved %v, was %v; received %v (%v)", now.Saved, was.Saved, now.Received, err)
	}
}

func TestNoMessages(t *testing.T) {
	m := newInbox(t)
	cur := filepath.Join(m.b.f().dir, "cur")
	put(t, filepath.Join(cur, "1.regular"), "x")
	put(t, filepath.Join(cur, ".hidden"), "x")
	put(t, filepath.Join(cur, "2.line\nend"), "x")
	for _, err := range []error{
		os.Symlink("/etc/passwd", filepath.Join(cur, "3.link")),
		unix.Mkfifo(filepath.Join(cur, "4.fifo"), 0o600),
		os.Mkdir(filepath.Join(cur, "5.dir"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantShown(t, m, "1")
	// What was a message and is now something else is not opened.
	mustRemove(t, filepath.Join(cur, "1.regular"))
	if err := unix.Mkfifo(filepath.Join(cur, "1.regular"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(t.Context(), 1); err == nil {
		t.Error("a FIFO was opened")
	}
	if _, err := m.Stat(t.Context(), 1); err == nil {
		t.Error("a FIFO has a Stat")
	}
}

func TestOddNames(t *testing.T) {
	m := newInbox(t)
	cur, nw := filepath.Join(m.b.f().dir, "cur"), filepath.Join(m.b.f().dir, "new")
	put(t, filepath.Join(cur, "no number:2,F"), "a")
	put(t, filepath.Join(cur, "x:1,ab"), "a")
	put(t, filepath.Join(cur, "5.M7P1.h:x:2,S"), "a")
	put(t, filepath.Join(nw, "5.M6P1.h:2,R"), "a")
	put(t, filepath.Join(nw, "\xff\xfe"), "a")
	put(t, filepath.Join(cur, ":2,S"), "empty base")
	got := resync(t, m)
	want := []string{`1 \Flagged`, `2`, `3 \Recent`, `4 \Answered \Recent`, `5 \Seen`, `6 \Recent`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := setFlags(t.Context(), m, []mailbox.UID{1, 2, 3, 4, 5, 6}, mailbox.FlagChange{Flags: flags(`\Draft`)}); err != nil {
		t.Fatal(err)
	}
	wantShown(t, m, `1 \Flagged \Draft`, `2 \Draft`, `3 \Draft \Recent`, `4 \Answered \Draft \Recent`, `5 \Seen \Draft`, `6 \Draft \Recent`)
}

// Doubles of a base name: of one file one goes, of two both become messages.
func TestDoubles(t *testing.T) {
	m := newInbox(t)
	cur, nw := filepath.Join(m.b.f().dir, "cur"), filepath.Join(m.b.f().dir, "new")
	put(t, filepath.Join(cur, "1.a:2,S"), "one")
	put(t, filepath.Join(cur, "1.a:2,F"), "two")
	put(t, filepath.Join(nw, "2.b"), "three")
	if err := os.Link(filepath.Join(nw, "2.b"), filepath.Join(cur, "2.b:2,S")); err != nil {
		t.Fatal(err)
	}
	if v, err := m.Sync(t.Context()); err != nil || v.Len() != 3 {
		t.Fatalf("%q, %v", shown(v), err)
	}
	texts := map[string]int{}
	for _, msg := range m.View().All() {
		s, err := m.Open(t.Context(), msg.UID)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
		texts[string(b)]++
		s.Close()
	}
	if texts["one"] != 1 || texts["two"] != 1 || texts["three"] != 1 {
		t.Errorf("messages %v", texts)
	}
	wantShown(t, m, resync(t, m)...)
}

func TestTmpIsSwept(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	openBox(t, h, "INBOX").Close()
	tmp := filepath.Join(l.Root, "tmp")
	put(t, filepath.Join(tmp, "fresh"), "x")
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(tmp, old, old); err != nil {
		t.Fatal(err)
	}
	openBox(t, h, "INBOX").Close()
	if got := names(t, tmp); !slices.Equal(got, []string{"fresh"}) { // its ctime is young
		t.Errorf("tmp holds %q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(tmp, &st); err != nil || time.Since(time.Unix(st.Atim.Unix())) > time.Hour {
		t.Errorf("the sweep is not noted: atime %v, %v", time.Unix(st.Atim.Unix()), err)
	}
}

func TestContext(t *testing.T) {
	m := newInbox(t)
	save(t, m, "x", mailbox.SaveInfo{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, fn := range map[string]func() error{
		"Sync":        func() error { _, err := m.Sync(ctx); return err },
		"SetFlags":    func() error { return setFlags(ctx, m, []mailbox.UID{1}, mailbox.FlagChange{Flags: flags(`\Seen`)}) },
		"Expunge":     func() error { return m.Expunge(ctx, []mailbox.UID{1}) },
		"ClaimRecent": func() error { _, err := m.ClaimRecent(ctx); return err },
	} {
		if err := fn(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantShown(t, m, `1 \Recent`)
}

func TestPermissions(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	save(t, m, "x", mailbox.SaveInfo{Flags: flags("k")})
	if err := h.Subscribe(t.Context(), "INBOX", true); err != nil {
		t.Fatal(err)
	}
	openBox(t, h, "A")
	for path, desc := range snapshot(t, l.Root) {
		if path != filepath.Join(l.Root, "dovecot-uidvalidity") && !strings.HasPrefix(desc[1:], "rw-------") &&
			!strings.HasPrefix(desc, "drwx------") && !strings.Contains(path, "dovecot-uidvalidity.") {
			t.Errorf("%s has mode %.10s", path, desc)
		}
	}
	// A folder that is open to a group stays so.
	if err := os.Chmod(filepath.Join(l.Root, ".A"), 0o770); err != nil {
		t.Fatal(err)
	}
	h.Close()
	a := openBox(t, openTree(t, l, Options{}), "A")
	save(t, a, "x", mailbox.SaveInfo{Flags: flags("k")})
	for _, path := range []string{"cur/" + filepath.Base(a.b.path(a.b.find(1))), keywordsName} {
		if st, err := os.Stat(filepath.Join(l.Root, ".A", path)); err != nil || st.Mode().Perm() != 0o660 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}
