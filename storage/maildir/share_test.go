package maildir

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
	"mailcrypt/mailbox"
)

// Two openings of one tree are to each other what two programs are.
func two(t *testing.T) (a, b *Mailbox) {
	l := newLocation(t)
	return openBox(t, openTree(t, l, Options{Host: "one"}), "INBOX"), openBox(t, openTree(t, l, Options{Host: "two"}), "INBOX")
}

// settled is resync without \Recent, which of a message with flags only the program knows that
// saved it.
func settled(t *testing.T, m *Mailbox) []string {
	t.Helper()
	all := resync(t, m)
	for i := range all {
		all[i] = strings.Replace(all[i], ` \Recent`, "", 1)
	}
	return all
}

func TestTwoPrograms(t *testing.T) {
	a, b := two(t)
	if a.GUID() != b.GUID() {
		t.Fatalf("GUIDs %v and %v", a.GUID(), b.GUID())
	}
	for i := 1; i <= 20; i += 2 {
		if uid := save(t, a, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)}); uid != mailbox.UID(i) {
			t.Fatalf("UID %d, want %d", uid, i)
		}
		if uid := save(t, b, "x", mailbox.SaveInfo{Flags: flags("b")}); uid != mailbox.UID(i+1) {
			t.Fatalf("UID %d, want %d", uid, i+1)
		}
	}
	if x, y := settled(t, a), settled(t, b); len(x) != 20 || !slices.Equal(x, y) {
		t.Errorf("a shows %q, b %q", x, y)
	}
	change := func(m *Mailbox, op mailbox.FlagOp, uid mailbox.UID, names ...string) {
		t.Helper()
		if err := setFlags(t.Context(), m, []mailbox.UID{uid}, mailbox.FlagChange{Op: op, Flags: flags(names...)}); err != nil {
			t.Fatal(err)
		}
	}
	// Both change the same messages without looking: the changes merge.
	change(a, mailbox.AddFlags, 1, `\Flagged`, "ka")
	change(b, mailbox.AddFlags, 1, `\Draft`, "kb")
	change(a, mailbox.RemoveFlags, 1, `\Seen`)
	change(b, mailbox.AddFlags, 1, `\Answered`)
	want := `1 \Answered \Flagged \Draft ka kb`
	if x, y := settled(t, a)[0], settled(t, b)[0]; x != want || y != want {
		t.Errorf("a shows %q, b %q, want %q", x, y, want)
	}
	// One reads, changes and expunges what the other has renamed or removed.
	change(a, mailbox.AddFlags, 2, `\Flagged`)
	if _, err := b.Open(t.Context(), 2); err != nil {
		t.Error(err)
	}
	change(a, mailbox.AddFlags, 3, `\Flagged`)
	if err := b.Expunge(t.Context(), []mailbox.UID{3, 4}); err != nil {
		t.Error(err)
	}
	change(a, mailbox.AddFlags, 3, `\Deleted`)
	if _, err := a.Stat(t.Context(), 4); !errors.Is(err, mailbox.ErrNotFound) {
		t.Errorf("Stat: %v", err)
	}
	if err := a.Expunge(t.Context(), []mailbox.UID{3, 4, 5}); err != nil {
		t.Error(err)
	}
	if x, y := settled(t, a), settled(t, b); len(x) != 17 || !slices.Equal(x, y) {
		t.Errorf("a shows %q, b %q", x, y)
	}
}

func TestSharedState(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	a, b := openBox(t, h, "INBOX"), openBox(t, h, "INBOX")
	v := a.View()
	changed := changedOf(t, b)
	save(t, a, "x", mailbox.SaveInfo{})
	select {
	case <-changed:
	default:
		t.Error("the other session was not told")
	}
	if b.View() != a.View() || b.View() == v {
		t.Error("two sessions have different views")
	}
	a.Close()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	save(t, b, "y", mailbox.SaveInfo{})
	b.Close()
	if len(h.boxes) != 0 {
		t.Errorf("%d mailboxes stay open", len(h.boxes))
	}
}

// wait waits for a change and returns what the mailbox shows.
func wait(t *testing.T, m *Mailbox, enough func(*mailbox.View) bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	for !enough(m.View()) {
		changed := changedOf(t, m)
		if enough(m.View()) {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("nothing has changed: %q", shown(m.View()))
		}
	}
}

func TestWatch(t *testing.T) {
	for name, o := range map[string]WatcherOptions{"inotify": {}, "polling": {PollOnly: true, Interval: 20 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			w := NewWatcher(o)
			defer w.Close()
			l := newLocation(t)
			h := openTree(t, l, Options{Watcher: w})
			m := openBox(t, h, "INBOX")
			changedOf(t, m)
			put(t, filepath.Join(l.Root, "tmp", "1.a"), "x")
			mustRename(t, filepath.Join(l.Root, "tmp", "1.a"), filepath.Join(l.Root, "new", "1.a"))
			wait(t, m, func(v *mailbox.View) bool { return v.Len() == 1 })
			mustRename(t, filepath.Join(l.Root, "new", "1.a"), filepath.Join(l.Root, "cur", "1.a:2,S"))
			wait(t, m, func(v *mailbox.View) bool { return v.At(0).Flags.System == mailbox.Seen })
			// A delivery of our own, without UID.
			if _, err := trySave(m, "x", mailbox.SaveInfo{}); err != nil {
				t.Fatal(err)
			}
			wait(t, m, func(v *mailbox.View) bool { return v.Len() == 2 })
			mustRemove(t, filepath.Join(l.Root, "cur", "1.a:2,S"))
			wait(t, m, func(v *mailbox.View) bool { return v.Len() == 1 })
			m.Close()
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.dirs)+len(w.polled) != 0 {
				t.Errorf("still watching %d directories and %d mailboxes", len(w.dirs), len(w.polled))
			}
		})
	}
}

// Modseqs go up over restarts, a lost index and changes by others meanwhile.
func TestModSeqs(t *testing.T) {
	l := newLocation(t)
	var last mailbox.ModSeq
	for round := range 6 {
		h := openTree(t, l, Options{})
		m := openBox(t, h, "INBOX")
		v := m.View()
		if v.HighestModSeq < last {
			t.Errorf("round %d: HighestModSeq %d after %d", round, v.HighestModSeq, last)
		}
		uid := save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`)})
		if got := m.View().Get(uid).ModSeq; got <= last {
			t.Errorf("round %d: modseq %d after %d", round, got, last)
		}
		last = m.View().HighestModSeq
		m.Close()
		h.Close()
		switch round {
		case 1:
			mustRemove(t, filepath.Join(l.Root, index.FileName))
		case 3:
			put(t, filepath.Join(l.Root, index.FileName), "garbage")
		case 4: // another program changes a flag while we are away
			for _, n := range names(t, filepath.Join(l.Root, "cur")) {
				mustRename(t, filepath.Join(l.Root, "cur", n), filepath.Join(l.Root, "cur", n+"T"))
				break
			}
		}
	}
}

func TestIndexKeepsModSeqs(t *testing.T) {
	l := newLocation(t)
	h := openTree(t, l, Options{})
	m := openBox(t, h, "INBOX")
	for range 3 {
		save(t, m, "x", mailbox.SaveInfo{Flags: flags(`\Seen`, "k")})
	}
	was := m.View()
	m.Close()
	h.Close()
	base := was.Get(2).GUID
	mustRename(t, filepath.Join(l.Root, "cur", base+":2,Sa"), filepath.Join(l.Root, "cur", base+":2,S"))
	m = openBox(t, openTree(t, l, Options{}), "INBOX")
	now := m.View()
	for _, uid := range []mailbox.UID{1, 3} {
		if now.Get(uid).ModSeq != was.Get(uid).ModSeq {
			t.Errorf("UID %d: modseq %d, was %d", uid, now.Get(uid).ModSeq, was.Get(uid).ModSeq)
		}
	}
	if now.Get(2).ModSeq <= was.HighestModSeq {
		t.Errorf("a changed message has modseq %d, HighestModSeq was %d", now.Get(2).ModSeq, was.HighestModSeq)
	}
}

func TestLink(t *testing.T) {
	h := openTree(t, newLocation(t), Options{})
	a, b := openBox(t, h, "A"), openBox(t, h, "B")
	when := time.Unix(1_500_000_000, 0)
	plain := save(t, a, "one\n", mailbox.SaveInfo{Received: when})
	withGUID := save(t, a, "two\n", mailbox.SaveInfo{GUID: "my-guid", Received: when})
	link := func(to *Mailbox, from *Mailbox, uid mailbox.UID, change func(*mailbox.SaveInfo)) mailbox.Message {
		t.Helper()
		src, err := from.Stat(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		info := mailbox.SaveInfo{Received: src.Received, Flags: flags(`\Seen`, "copied"), GUID: src.GUID}
		if change != nil {
			change(&info)
		}
		got, err := to.Link(t.Context(), from, uid, info)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := to.Stat(t.Context(), got)
		if err != nil {
			t.Fatal(err)
		}
		if !withoutRecent(msg.Flags).Equal(info.Flags) || !msg.Received.Equal(when) || msg.Sizes != src.Sizes || time.Since(msg.Saved) > time.Minute {
			t.Errorf("the link is %+v of %+v", msg, src)
		}
		return msg
	}
	srcGUID := a.View().Get(plain).GUID
	if m := link(b, a, plain, nil); m.GUID != srcGUID || b.b.find(m.UID).base != srcGUID {
		t.Errorf("GUID %q, want %q", m.GUID, srcGUID)
	}
	// The name is taken now: another one, and the GUID in the record.
	second := link(b, a, plain, nil)
	if second.GUID != srcGUID || b.b.find(second.UID).base == srcGUID {
		t.Errorf("GUID %q at %q", second.GUID, b.b.find(second.UID).base)
	}
	if m := link(a, a, plain, nil); m.GUID != srcGUID {
		t.Errorf("GUID of a copy in the same mailbox: %q", m.GUID)
	}
	if m := link(b, a, withGUID, nil); m.GUID != "my-guid" {
		t.Errorf("GUID %q", m.GUID)
	}
	if m := link(b, a, plain, func(i *mailbox.SaveInfo) { i.GUID = "" }); m.GUID == srcGUID {
		t.Errorf("a new GUID was wanted")
	}
	if m := link(b, b, second.UID, nil); m.GUID != srcGUID {
		t.Errorf("a link of a link: %q", m.GUID)
	}
	if _, err := b.Link(t.Context(), a, plain, mailbox.SaveInfo{Received: when.Add(time.Hour)}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("with another date: %v", err)
	}
	if _, err := b.Link(t.Context(), nil, plain, mailbox.SaveInfo{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("from another kind: %v", err)
	}
	if _, err := b.Link(t.Context(), a, 999, mailbox.SaveInfo{}); !errors.Is(err, mailbox.ErrNotFound) {
		t.Errorf("of no message: %v", err)
	}
	n := b.View().Len()
	if v, err := b.Sync(t.Context()); err != nil || v.Len() != n || n != 5 {
		t.Errorf("%d messages, then %v, %v", n, shown(v), err)
	}
}

func TestLinkAcrossFileSystems(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "maildir-test-")
	if err != nil {
		t.Skip("no second file system")
	}
	defer os.RemoveAll(shm)
	a := newInbox(t)
	b := openBox(t, openTree(t, Location{Root: filepath.Join(shm, "M"), Layout: PlusPlus}, Options{}), "INBOX")
	uid := save(t, a, "x", mailbox.SaveInfo{})
	if _, err := b.Link(t.Context(), a, uid, mailbox.SaveInfo{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Link: %v", err)
	}
	if v := b.View(); v.Len() != 0 {
		t.Errorf("%q", shown(v))
	}
}

// Many at once, in two openings: nothing is lost, nothing is double, UIDs agree.
func TestParallel(t *testing.T) {
	a, b := two(t)
	const workers, each = 4, 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	uids := map[mailbox.UID]string{}
	for w := range workers {
		for who, m := range map[string]*Mailbox{"a": a, "b": b} {
			wg.Go(func() {
				for i := range each {
					text := fmt.Sprintf("%s %d %d", who, w, i)
					info := mailbox.SaveInfo{NeedUID: i%5 != 0}
					if i%3 == 0 {
						info.Flags = flags(`\Seen`, "k"+who)
					}
					uid, err := trySave(m, text, info)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if uid != 0 && uids[uid] != "" {
						t.Errorf("UID %d given to %q and %q", uid, uids[uid], text)
					}
					if uid != 0 {
						uids[uid] = text
					}
					mu.Unlock()
					switch i % 4 {
					case 0:
						_, err = m.Sync(t.Context())
					case 1:
						err = setFlags(t.Context(), m, []mailbox.UID{uid}, mailbox.FlagChange{Flags: flags(`\Flagged`)})
					case 2:
						_, err = m.ClaimRecent(t.Context())
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	x, y := settled(t, a), settled(t, b)
	if len(x) != 2*workers*each || !slices.Equal(x, y) {
		t.Errorf("a shows %d messages, b %d, want %d; %d files in cur, %d in new", len(x), len(y), 2*workers*each,
			len(names(t, a.b.dirPath(curDir))), len(names(t, a.b.dirPath(newDir))))
	}
	texts := map[string]bool{}
	for _, m := range a.View().All() {
		s, err := b.Open(t.Context(), m.UID)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, s.Size())
		s.ReadAt(buf, 0)
		s.Close()
		if texts[string(buf)] {
			t.Errorf("%q is there twice", buf)
		}
		texts[string(buf)] = true
		if want := uids[m.UID]; want != "" && want != string(buf) {
			t.Errorf("UID %d is %q, was announced for %q", m.UID, buf, want)
		}
	}
	p, err := parseUIDList(strings.NewReader(readFile(t, a.b.listPath())))
	if err != nil || p.damage != nil || p.torn || len(p.records) != len(x) {
		t.Errorf("uidlist: %d records, %v, %v", len(p.records), p.damage, err)
	}
}

// Names that another program makes and subscribes are told of, and nothing else is.
func TestWatchNames(t *testing.T) {
	w := NewWatcher(WatcherOptions{Interval: 50 * time.Millisecond})
	defer w.Close()
	eachLayout(t, func(t *testing.T, l Location) {
		h := openTree(t, l, Options{Watcher: w})
		openBox(t, h, "INBOX")
		told := make(chan struct{}, 10)
		stop := h.Watch(func() { told <- struct{}{} })
		wait := func(what string) {
			t.Helper()
			select {
			case <-told:
			case <-time.After(20 * time.Second):
				t.Fatalf("nobody is told of %s", what)
			}
		}
		put(t, filepath.Join(l.Root, "dovecot-uidlist.lock"), "x")
		mustRemove(t, filepath.Join(l.Root, "dovecot-uidlist.lock"))
		dir := h.dirIn(l.Root, "Other")
		for _, sub := range []string{"", "cur", "new", "tmp"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		wait("a new folder")
		put(t, h.control.SubscriptionsPath(), "Other\n")
		wait("a subscription")
		stop()
		h.watching.mu.Lock()
		defer h.watching.mu.Unlock()
		if h.watching.watch != nil || len(h.watching.waiting) != 0 {
			t.Error("still watching")
		}
	})
}
