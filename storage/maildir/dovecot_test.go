package maildir

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
)

// A dovecot is the real thing on a tree of its own.
type dovecot struct {
	*dovetest.Dovecot
	loc Location
}

// withDovecot runs a test beside a real Dovecot.
func withDovecot(t *testing.T, location string, fn func(t *testing.T, d *dovecot)) {
	t.Helper()
	dovetest.Run(t, location, "", func(t *testing.T, d *dovetest.Dovecot) {
		loc, err := ParseLocation(location, d.Home)
		if err != nil {
			t.Fatal(err)
		}
		fn(t, &dovecot{d, loc})
	})
}

// A session is Dovecot's IMAP process, already logged in.
type session struct{ *dovetest.Session }

func (d *dovecot) imap() *session { return &session{d.IMAP()} }

var fetchLine = regexp.MustCompile(`^\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)`)

// flags returns "uid flags" of all messages, as shown does.
func (s *session) flags() []string {
	s.OK("NOOP")
	out := []string{}
	for _, line := range s.OK("UID FETCH 1:* (UID FLAGS)") {
		m := fetchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		f := withoutRecent(mailbox.ParseFlags(strings.Fields(m[2])))
		out = append(out, strings.TrimSpace(m[1]+" "+strings.Join(f.Names(), " ")))
	}
	return out
}

// bare is shown without \Recent, which each program counts for itself.
func bare(v *mailbox.View) []string {
	out := []string{}
	for _, m := range v.All() {
		out = append(out, strings.TrimSpace(fmt.Sprint(m.UID, " ", strings.Join(withoutRecent(m.Flags).Names(), " "))))
	}
	return out
}

// Dovecot reads what we write.
func TestDovecotReadsOurs(t *testing.T) {
	for _, loc := range []string{"maildir:~/M", "maildir:~/M:LAYOUT=fs:CONTROL=~/C:INDEX=~/I", "maildir:~/M:UTF-8:CONTROL=~/C", "maildir:~/M:LAYOUT=fs:DIRNAME=mAil"} {
		withDovecot(t, loc, func(t *testing.T, d *dovecot) {
			h := openTree(t, d.loc, Options{Separator: '/'})
			when := time.Unix(1_600_000_000, 0)
			texts := map[string]int{}
			want := map[string][]string{}
			folders := []string{"INBOX", "A/Bü & co", "A", "INBOX/Child"}
			for i, name := range folders {
				m := openBox(t, h, name)
				for n, info := range []mailbox.SaveInfo{
					{Received: when}, {Received: when, Flags: flags(`\Seen`, "Work", "$Junk")}, {Received: when, GUID: "given-guid"},
					{Received: when, Flags: flags(`\Draft`, `\Flagged`, `\Answered`, `\Deleted`, "Other")},
				} {
					text := fmt.Sprintf("Subject: %d\n\nbody %d\n", i, n)
					texts[text]++
					save(t, m, text, info)
				}
				first, err := m.Stat(t.Context(), 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Link(t.Context(), m, 1, mailbox.SaveInfo{GUID: first.GUID, Received: first.Received}); err != nil {
					t.Fatal(err)
				}
				if err := setFlags(t.Context(), m, []mailbox.UID{2}, mailbox.FlagChange{Op: mailbox.RemoveFlags, Flags: flags("Work")}); err != nil {
					t.Fatal(err)
				}
				if err := m.Expunge(t.Context(), []mailbox.UID{3}); err != nil {
					t.Fatal(err)
				}
				if i != 2 {
					if err := h.Subscribe(t.Context(), name, true); err != nil {
						t.Fatal(err)
					}
				}
				for _, msg := range m.View().All() {
					f := withoutRecent(msg.Flags).Names()
					slices.Sort(f)
					want[name] = append(want[name], fmt.Sprintf("%d\t%s\t%s\t%d\t%d\t%d", msg.UID, strings.Join(f, " "), msg.GUID, msg.Sizes.Physical, msg.Sizes.Virtual, when.Unix()))
				}
			}
			for _, name := range folders {
				var got []string
				for _, row := range d.Fetch("uid flags guid size.physical size.virtual date.received.unixtime", "mailbox", name) {
					col := strings.Split(row, "\t")
					f := withoutRecent(mailbox.ParseFlags(strings.Fields(col[1]))).Names()
					slices.Sort(f)
					col[1] = strings.Join(f, " ")
					got = append(got, strings.Join(col, "\t"))
				}
				if !slices.Equal(got, want[name]) {
					t.Errorf("%s %s: Dovecot shows\n%s\nwant\n%s", loc, name, strings.Join(got, "\n"), strings.Join(want[name], "\n"))
				}
				status := d.Doveadm("", "mailbox", "status", "uidnext uidvalidity guid", name)[1]
				m := openBox(t, h, name)
				if v := m.View(); status != fmt.Sprintf("%s\t%d\t%d\t%v", name, v.UIDNext, v.UIDValidity, v.GUID) {
					t.Errorf("%s: status %q, ours is %d %d %v", name, status, v.UIDValidity, v.UIDNext, v.GUID)
				}
			}
			got := d.Doveadm("", "mailbox", "list")[1:]
			slices.Sort(got)
			if want := []string{"A", "A/Bü & co", "INBOX", "INBOX/Child"}; !slices.Equal(got, want) {
				t.Errorf("%s: Dovecot lists %q", loc, got)
			}
			got = d.Doveadm("", "mailbox", "list", "-s")[1:]
			slices.Sort(got)
			if want := []string{"A/Bü & co", "INBOX", "INBOX/Child"}; !slices.Equal(got, want) {
				t.Errorf("%s: Dovecot lists as subscribed %q", loc, got)
			}
		})
		if os.Geteuid() == 0 {
			return // the other user has run all of it
		}
	}
}

// Both add, flag, expunge and rename, one after the other, and agree after each step.
func TestDovecotInTurns(t *testing.T) {
	withDovecot(t, "maildir:~/M", func(t *testing.T, d *dovecot) {
		s := d.imap()
		defer func() {
			if log := s.Close(); strings.Contains(log, "Error") || strings.Contains(log, "Warning") {
				t.Errorf("Dovecot logs: %s", log)
			}
		}()
		s.OK("CREATE A")
		s.OK("SUBSCRIBE A")
		s.OK("SELECT A")
		h := openTree(t, d.loc, Options{Separator: '/'})
		m, err := h.OpenMailbox(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		agree := func(step string, want ...string) {
			t.Helper()
			v, err := m.Sync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if ours, theirs := bare(v), s.flags(); !slices.Equal(ours, theirs) || !slices.Equal(ours, want) {
				t.Errorf("%s: we show %q, Dovecot %q, want %q", step, ours, theirs, want)
			}
		}
		agree("empty")
		appendMsg := func(f string) { s.OK("APPEND A (%s) {5+}\r\nabcde", f) }
		appendMsg(`\Seen`)
		agree("Dovecot appends", `1 \Seen`)
		save(t, m, "x", mailbox.SaveInfo{Flags: flags("ours", `\Flagged`)})
		agree("we append", `1 \Seen`, `2 \Flagged ours`)
		appendMsg(`theirs \Draft`)
		agree("keywords of both", `1 \Seen`, `2 \Flagged ours`, `3 \Draft theirs`)
		if _, err := trySave(m, "y", mailbox.SaveInfo{}); err != nil {
			t.Fatal(err)
		}
		agree("we deliver", `1 \Seen`, `2 \Flagged ours`, `3 \Draft theirs`, `4`)
		s.OK(`UID STORE 2 +FLAGS (\Answered theirs)`)
		set := func(op mailbox.FlagOp, uid mailbox.UID, names ...string) {
			t.Helper()
			if err := setFlags(t.Context(), m, []mailbox.UID{uid}, mailbox.FlagChange{Op: op, Flags: flags(names...)}); err != nil {
				t.Fatal(err)
			}
		}
		set(mailbox.RemoveFlags, 2, `\Flagged`)
		set(mailbox.AddFlags, 2, `\Deleted`)
		agree("both flag", `1 \Seen`, `2 \Answered \Deleted ours theirs`, `3 \Draft theirs`, `4`)
		s.OK(`EXPUNGE`)
		agree("Dovecot expunges", `1 \Seen`, `3 \Draft theirs`, `4`)
		if err := m.Expunge(t.Context(), []mailbox.UID{3}); err != nil {
			t.Fatal(err)
		}
		agree("we expunge", `1 \Seen`, `4`)
		if _, err := m.ClaimRecent(t.Context()); err != nil {
			t.Fatal(err)
		}
		appendMsg("")
		agree("and on", `1 \Seen`, `4`, `5`)
		guid := m.GUID()

		if err := h.Rename(t.Context(), "A", "B"); err != nil {
			t.Fatal(err)
		}
		s.OK("SELECT B")
		agree("we rename", `1 \Seen`, `4`, `5`)
		s.OK("CLOSE")
		s.OK("RENAME B C/D")
		n, err := h.OpenMailbox(t.Context(), "C/D")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if n.GUID() != guid || n.View().Len() != 3 {
			t.Errorf("after Dovecot's rename: GUID %v, was %v; %q", n.GUID(), guid, shown(n.View()))
		}
		s.OK("DELETE C/D")
		if _, err := n.Sync(t.Context()); err == nil {
			t.Error("a mailbox that Dovecot has deleted can be synced")
		}
		if got, err := h.Subscriptions(t.Context()); err != nil || !slices.Equal(got, []string{"A"}) {
			t.Errorf("subscriptions %q, %v", got, err)
		}
		if err := h.Create(t.Context(), "C/D"); err != nil {
			t.Error(err)
		}
		s.OK("SELECT C/D")
	})
}

// Dovecot and we work on one mailbox at full speed: nothing that was acknowledged is lost
// or double, and in the end both show the same.
func TestDovecotHammer(t *testing.T) {
	withDovecot(t, "maildir:~/M", func(t *testing.T, d *dovecot) {
		duration := 4 * time.Second
		if testing.Short() {
			duration = time.Second
		}
		m := openBox(t, openTree(t, d.loc, Options{}), "INBOX")
		acked := newLedger(t)
		end := time.Now().Add(duration)
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() { hammerDovecot(d, fmt.Sprint("dovecot", w), end, acked) })
			wg.Go(func() { hammerOurs(m, fmt.Sprint("ours", w), end, acked) })
		}
		wg.Wait()
		s := d.imap()
		defer s.Close()
		s.OK("SELECT INBOX")
		v, err := m.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		theirs := s.flags()
		if ours := bare(v); !slices.Equal(ours, theirs) {
			t.Errorf("we show %d messages, Dovecot %d, or with other flags", len(ours), len(theirs))
			for _, x := range ours {
				if !slices.Contains(theirs, x) {
					t.Logf("only ours: %s", x)
				}
			}
			for _, x := range theirs {
				if !slices.Contains(ours, x) {
					t.Logf("only Dovecot's: %s", x)
				}
			}
		}
		seen := map[string]int{}
		for _, msg := range v.All() {
			st, err := m.Open(t.Context(), msg.UID)
			if err != nil {
				t.Error(err)
				continue
			}
			b := make([]byte, st.Size())
			st.ReadAt(b, 0)
			st.Close()
			seen[strings.TrimSpace(string(b))]++
		}
		acked.check(seen)
		t.Logf("%d messages saved, %d there in the end", len(acked.saved), v.Len())
	})
}

// A ledger knows what was acknowledged.
type ledger struct {
	t       *testing.T
	mu      sync.Mutex
	saved   map[string]bool
	removed map[string]bool
	byUID   map[string]string
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, saved: map[string]bool{}, removed: map[string]bool{}, byUID: map[string]string{}}
}

func (l *ledger) save(text, uid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved[text] = true
	if uid == "" {
		return
	}
	if was, ok := l.byUID[uid]; ok {
		l.t.Errorf("UID %s given to %q and %q", uid, was, text)
	}
	l.byUID[uid] = text
}

func (l *ledger) remove(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed[text] = true
}

func (l *ledger) check(seen map[string]int) {
	for text := range l.saved {
		switch n := seen[text]; {
		case l.removed[text] && n != 0:
			l.t.Errorf("%q is there after it was expunged", text)
		case !l.removed[text] && n != 1:
			l.t.Errorf("%q is there %d times", text, n)
		}
	}
	for text := range seen {
		if !l.saved[text] {
			l.t.Errorf("%q was never acknowledged", text)
		}
	}
}

var appendUID = regexp.MustCompile(`\[APPENDUID \d+ (\d+)\]`)

func hammerDovecot(d *dovecot, name string, end time.Time, l *ledger) {
	s := d.imap()
	defer func() {
		log := s.Close()
		for line := range strings.Lines(log) {
			// Dovecot repairs a name that it has read twice, and says so.
			if (strings.Contains(line, "Error") || strings.Contains(line, "Panic")) && !strings.Contains(line, "duplicate") {
				l.t.Errorf("Dovecot logs: %s", line)
			}
		}
	}()
	s.OK("SELECT INBOX")
	var mine []string // UIDs
	texts := map[string]string{}
	for i := 0; time.Now().Before(end); i++ {
		text := fmt.Sprintf("%s message %d", name, i)
		f := ""
		if i%3 == 0 {
			f = `\Seen k` + name
		}
		_, result := s.Do("APPEND INBOX (%s) {%d+}\r\n%s", f, len(text), text)
		uid := appendUID.FindStringSubmatch(result)
		if uid == nil {
			l.t.Errorf("APPEND: %s", result)
			return
		}
		l.save(text, uid[1])
		mine, texts[uid[1]] = append(mine, uid[1]), text
		switch i % 4 {
		case 0:
			s.OK(`UID STORE 1:* +FLAGS (\Flagged)`)
		case 1:
			s.OK(`UID STORE %s -FLAGS.SILENT (\Seen)`, mine[rand.IntN(len(mine))])
		case 2:
			n := rand.IntN(len(mine))
			gone := mine[n]
			mine = slices.Delete(mine, n, n+1)
			s.OK(`UID STORE %s +FLAGS (\Deleted)`, gone)
			s.OK(`UID EXPUNGE %s`, gone)
			l.remove(texts[gone])
		default:
			s.OK("NOOP")
		}
	}
}

func hammerOurs(m *Mailbox, name string, end time.Time, l *ledger) {
	ctx := l.t.Context()
	var mine []mailbox.UID
	texts := map[mailbox.UID]string{}
	check := func(err error) {
		if err != nil {
			l.t.Error(err)
		}
	}
	for i := 0; time.Now().Before(end); i++ {
		text := fmt.Sprintf("%s message %d", name, i)
		info := mailbox.SaveInfo{NeedUID: i%4 != 3}
		if i%3 == 0 && info.NeedUID {
			info.Flags = flags(`\Seen`, "k"+name)
		}
		uid, err := trySave(m, text, info)
		if err != nil {
			l.t.Error(err)
			return
		}
		if uid == 0 {
			l.save(text, "")
		} else {
			l.save(text, fmt.Sprint(uid))
			mine, texts[uid] = append(mine, uid), text
		}
		switch i % 5 {
		case 0:
			var all []mailbox.UID
			for _, msg := range m.View().All() {
				all = append(all, msg.UID)
			}
			check(setFlags(ctx, m, all, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: flags(`\Answered`)}))
		case 1:
			check(setFlags(ctx, m, mine[:1], mailbox.FlagChange{Op: mailbox.RemoveFlags, Flags: flags(`\Seen`)}))
		case 2:
			n := rand.IntN(len(mine))
			gone := mine[n]
			mine = slices.Delete(mine, n, n+1)
			check(m.Expunge(ctx, []mailbox.UID{gone}))
			l.remove(texts[gone])
		case 3:
			_, err := m.ClaimRecent(ctx)
			check(err)
		default:
			_, err := m.Sync(ctx)
			check(err)
		}
		if len(mine) == 0 {
			mine = append(mine, 0)
		}
	}
}
