package imapd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// expunged removes messages as another program would.
func (f *fixture) expunged(name string, uids ...mailbox.UID) {
	f.t.Helper()
	b, err := f.user.Open(context.Background(), name, false)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := b.Expunge(context.Background(), uids); err != nil {
		f.t.Fatal(err)
	}
}

// tenMessages is a fixture whose messages 1 to 10 have the modseqs 2 to 11, of which 3, 4 and 10
// were expunged then, with 12 and 13, and 5 was flagged, with 14.
func tenMessages(t *testing.T) *fixture {
	f := newFixture(t)
	for range 10 {
		f.add("INBOX", simple)
	}
	f.selected("INBOX") // takes \Recent
	f.expunged("INBOX", 3, 4)
	f.expunged("INBOX", 10)
	f.selected("INBOX").script(`
C: a UID STORE 5 +FLAGS.SILENT (\Flagged)
S* a OK
`)
	return f
}

func TestQresync(t *testing.T) {
	const seven = `
S~ \* FLAGS .*
S~ \* OK \[PERMANENTFLAGS .*
S: * 7 EXISTS
S: * 0 RECENT
S: * OK [UNSEEN 1] First unseen.
S: * OK [UIDVALIDITY 2] UIDs valid.
S: * OK [UIDNEXT 11] Predicted next UID.
S~ \* OK \[MAILBOXID .*
S: * OK [HIGHESTMODSEQ 14] Highest.`
	const flagged = `
S: * 3 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (14))`
	for _, tt := range []struct {
		args      string
		vanished  string // where the store knows
		forgotten string // where it does not
		fetched   string
	}{
		{"2 11", "3:4,10", "3:4,10", flagged},
		{"2 12", "10", "3:4,10", flagged},
		{"2 13", "", "3:4,10", flagged},
		{"2 14", "", "3:4,10", ""},
		{"2 13 1:4", "", "3:4", ""},
		{"2 11 1:3,5:9", "3", "3", flagged},
		{"2 11 4294967295,7:4", "4", "4", flagged},
		{"2 11 11:4294967295", "", "", ""},
		{"2 10 9:20", "10", "10", ""},
		{"2 11 1:10 (1:2 1:2)", "3:4,10", "3:4,10", flagged},
		{"2 11 1:10 (1,2,3 1,2,5)", "3:4,10", "10", flagged},
		{"2 11 (1:7 1:2,5:9)", "3:4,10", "10", flagged},
		{"2 11 (1:7 1,5:10)", "3:4,10", "3:4,10", flagged},
		{"2 11 (1:4294967295 1:4294967295)", "3:4,10", "3:4,10", flagged},
		{"2 11 (7,8 9,10)", "3:4,10", "10", flagged},
		{"3 1 1:9", "", "", ""},
		{"0 0", "", "", ""},
	} {
		for _, forgetful := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", tt.args, forgetful), func(t *testing.T) {
				f := tenMessages(t)
				f.user.forgetful.Store(forgetful)
				want := tt.vanished
				if forgetful {
					want = tt.forgotten
				}
				if want != "" {
					want = "\nS: * VANISHED (EARLIER) " + want
				}
				c := f.login()
				c.script(`
C: a ENABLE QRESYNC
S: * ENABLED QRESYNC
S: a OK Enable completed.
C: b SELECT INBOX (QRESYNC (` + tt.args + `))` + seven + want + tt.fetched + `
S: b OK [READ-WRITE] Mailbox opened.
C: c EXAMINE INBOX (CONDSTORE QRESYNC (` + tt.args + `))
S: * OK [CLOSED] Previous mailbox closed.` + seven + want + tt.fetched + `
S: c OK [READ-ONLY] Mailbox opened read-only.
`)
			})
		}
	}
}

// TestQresyncRestored: a client that comes with a modseq of the future is told everything.
func TestQresyncRestored(t *testing.T) {
	f := tenMessages(t)
	f.login().script(`
C: a ENABLE QRESYNC
S* a OK
C: b SELECT INBOX (QRESYNC (2 99 4:6))
S* * OK [HIGHESTMODSEQ 14] Highest.
S: * 3 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (14))
S: * 4 FETCH (UID 6 FLAGS () MODSEQ (7))
S: b OK [READ-WRITE] Mailbox opened.
`)
}

func TestFetchVanished(t *testing.T) {
	f := tenMessages(t)
	c := f.login()
	c.script(`
C: a ENABLE QRESYNC
S* a OK
C: b SELECT INBOX
S* b OK
C: c UID FETCH 1:* (FLAGS) (CHANGEDSINCE 11 VANISHED)
S: * VANISHED (EARLIER) 3:4,10
S: * 3 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (14))
S: c OK Fetch completed.
C: d UID FETCH 4:9 (UID) (VANISHED CHANGEDSINCE 1)
S: * VANISHED (EARLIER) 4
S: * 3 FETCH (UID 5 MODSEQ (14))
S: * 4 FETCH (UID 6 MODSEQ (7))
S: * 5 FETCH (UID 7 MODSEQ (8))
S: * 6 FETCH (UID 8 MODSEQ (9))
S: * 7 FETCH (UID 9 MODSEQ (10))
S: d OK Fetch completed.
`)
	// What this client has not been told yet comes without EARLIER, and after.
	f.expunged("INBOX", 5, 9)
	c.script(`
C: e UID FETCH 5:* (FLAGS) (CHANGEDSINCE 13 VANISHED)
S: * 3 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (14))
S: * VANISHED 5,9
S: e OK [HIGHESTMODSEQ 15] Fetch completed.
C: f UID FETCH 5:* (FLAGS) (CHANGEDSINCE 13 VANISHED)
S: * VANISHED (EARLIER) 5,9
S: f OK Fetch completed.
`)
}

// TestVanished: VANISHED in the place of EXPUNGE, and HIGHESTMODSEQ with it.
func TestVanished(t *testing.T) {
	f := newFixture(t)
	for range 12 {
		f.add("INBOX", simple)
	}
	if err := f.user.Create(context.Background(), "other"); err != nil {
		t.Fatal(err)
	}
	c := f.login()
	c.script(`
C: a ENABLE QRESYNC
S* a OK
C: b SELECT INBOX
S* b OK
C: c STORE 1,3:4 +FLAGS.SILENT (\Deleted)
S: * 1 FETCH (UID 1 MODSEQ (14))
S: * 3 FETCH (UID 3 MODSEQ (14))
S: * 4 FETCH (UID 4 MODSEQ (14))
S: c OK Store completed.
C: d UID EXPUNGE 3:*
S: * VANISHED 3:4
S: * 10 RECENT
S: d OK [HIGHESTMODSEQ 15] Expunge completed.
C: e EXPUNGE
S: * VANISHED 1
S: * 9 RECENT
S: e OK [HIGHESTMODSEQ 16] Expunge completed.
C: f EXPUNGE
S: f OK Expunge completed.
C: g UID MOVE 5:6 other
S~ \* OK \[COPYUID \d+ 5:6 1:2\] Moved UIDs\.
S: * VANISHED 5:6
S: * 7 RECENT
S: g OK [HIGHESTMODSEQ 17] Move completed.
C: h APPEND INBOX {1+}
C: x
S: * 8 EXISTS
S: * 8 RECENT
S: * OK [HIGHESTMODSEQ 18] Highest.
S: h OK [APPENDUID 2 13] Append completed.
C: i IDLE
S: + idling
`)
	f.expunged("INBOX", 2, 13)
	c.script(`
S: * VANISHED 2,13
S: * 6 RECENT
S: * OK [HIGHESTMODSEQ 19] Highest.
`)
	other := f.selected("INBOX")
	other.script("C: a UID STORE 7 +FLAGS.SILENT (\\Seen)\nS* a OK")
	c.script(`
S: * 1 FETCH (UID 7 MODSEQ (20) FLAGS (\Seen \Recent))
S: * OK [HIGHESTMODSEQ 20] Highest.
C: DONE
S: i OK Idle completed.
C: j STORE 1 +FLAGS.SILENT (\Deleted)
S: * 1 FETCH (UID 7 MODSEQ (21))
S: j OK Store completed.
C: k CLOSE
S: k OK Close completed.
C: l STATUS INBOX (HIGHESTMODSEQ MESSAGES)
S: * STATUS INBOX (MESSAGES 5 HIGHESTMODSEQ 22)
S: l OK Status completed.
`)
}

// TestHeldBack: while an expunge cannot be told, no HIGHESTMODSEQ covers it (RFC 7162 section 6).
func TestHeldBack(t *testing.T) {
	f := threeMessages(t)
	f.add("INBOX", simple)
	c := f.login()
	c.script(`
C: a ENABLE QRESYNC
S* a OK
C: b SELECT INBOX
S* * OK [HIGHESTMODSEQ 5] Highest.
S: b OK [READ-WRITE] Mailbox opened.
`)
	f.expunged("INBOX", 2)
	other := f.selected("INBOX")
	other.script("C: a UID STORE 3 +FLAGS.SILENT (\\Seen)\nS* a OK")
	c.script(`
C: c FETCH 1 (FLAGS)
S: * 1 FETCH (FLAGS (\Recent))
S: * 3 FETCH (UID 3 MODSEQ (7) FLAGS (\Seen \Recent))
S: c OK [HIGHESTMODSEQ 5] Fetch completed.
C: d STORE 4 +FLAGS.SILENT (\Seen)
S: * 4 FETCH (UID 4 MODSEQ (8))
S: d OK [HIGHESTMODSEQ 5] Store completed.
C: e STORE 4 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\Seen)
S: e OK [MODIFIED 4] Conditional store failed.
C: f SEARCH MODSEQ 6
S: * SEARCH 3 4 (MODSEQ 8)
S: f OK Search completed.
C: g UID SEARCH 1:4
S: * SEARCH 1 2 3 4
S: g OK Search completed.
C: h STATUS INBOX (HIGHESTMODSEQ MESSAGES)
S: * STATUS INBOX (MESSAGES 3 HIGHESTMODSEQ 5)
S: * VANISHED 2
S: * 3 RECENT
S: h OK [HIGHESTMODSEQ 8] Status completed.
`)
}

// TestInsertedBelow: a message below the last UID waits for the next SELECT, and till then no
// HIGHESTMODSEQ covers it, whatever else is told.
func TestInsertedBelow(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	b, err := f.user.Open(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	view := func(highest mailbox.ModSeq, msgs ...*mailbox.Message) *mailbox.View {
		return mailbox.NewView(mailbox.View{UIDValidity: 1, UIDNext: 6, HighestModSeq: highest}, msgs)
	}
	msg := func(uid mailbox.UID, modseq mailbox.ModSeq) *mailbox.Message {
		return &mailbox.Message{UID: uid, ModSeq: modseq}
	}
	seen := msg(4, 6)
	seen.Flags.System = mailbox.Seen
	steps := []struct {
		next *mailbox.View
		want string
	}{
		{view(5, msg(2, 2), msg(3, 5), msg(4, 3)), ""},
		{view(6, msg(2, 2), msg(3, 5), seen), "* 2 FETCH (UID 4 MODSEQ (6) FLAGS (\\Seen))\r\n* OK [HIGHESTMODSEQ 4] Highest.\r\n"},
		{view(7, msg(3, 5), seen), "* VANISHED 2\r\n* OK [HIGHESTMODSEQ 4] Highest.\r\n"},
		{view(8, seen), "* OK [HIGHESTMODSEQ 8] Highest.\r\n"},
	}
	left, _ := net.Pipe()
	s := newSession(f.srv, left)
	var out strings.Builder
	s.enc.Reset(&out)
	s.condstore, s.qresync = true, true
	s.box = &selected{box: b, view: view(4, msg(2, 2), msg(4, 3)), readOnly: true, keywords: map[string]string{}}
	s.box.modseqs.told = 4
	for n, step := range steps {
		out.Reset()
		s.announceView(step.next, true, true, nil)
		if s.highest() {
			s.writeHighest()
		}
		s.enc.Flush()
		if out.String() != step.want {
			t.Errorf("step %d: got %q, want %q", n, out.String(), step.want)
		}
	}
}

// TestManyVanished: sets stay short, and lines too.
func TestManyVanished(t *testing.T) {
	f := newFixtureQuiet(t)
	s := &session{srv: f.srv, perUser: perUser{qresync: true}}
	var out strings.Builder
	s.enc = imapwire.NewEncoder(&out)
	var uids []mailbox.UID
	for uid := mailbox.UID(1_000_000); uid < 1_020_000; uid += 2 {
		uids = append(uids, uid)
	}
	s.writeVanished(" ", uidRanges(append(uids, 2_000_000, 2_000_001, 2_000_002)))
	s.enc.Flush()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\r\n"), "\r\n")
	var all []string
	for _, l := range lines {
		set, ok := strings.CutPrefix(l, "* VANISHED ")
		if !ok || len(l) > 8192 {
			t.Fatalf("%d octets: %.40q", len(l), l)
		}
		all = append(all, set)
	}
	want := string(imapwire.AppendSet(nil, append(uids, 2_000_000, 2_000_001, 2_000_002)))
	if strings.Join(all, ",") != want || !strings.HasSuffix(want, ",2000000:2000002") {
		t.Errorf("not the set that was to be sent")
	}
}

// TestMissing: what is not there, of ranges that span everything.
func TestMissing(t *testing.T) {
	var msgs []*mailbox.Message
	for _, uid := range []mailbox.UID{2, 3, 7, 9} {
		msgs = append(msgs, &mailbox.Message{UID: uid})
	}
	v := mailbox.NewView(mailbox.View{UIDNext: 12}, msgs)
	for _, tt := range []struct {
		set  string
		seen mailbox.UID
		want string
	}{
		{"1:4294967295", 0, "1,4:6,8,10:11"},
		{"1:4294967295", 7, "8,10:11"},
		{"1:4294967295", 11, ""},
		{"2:3", 0, ""},
		{"4:5,6:8", 0, "4:6,8"},
		{"11:20", 0, "11"},
		{"12:20", 0, ""},
		{"1,5,9:10", 2, "5,10"},
	} {
		d := imapwire.NewDecoder(strings.NewReader(tt.set+"\r\n"), imapwire.Limits{})
		if err := d.Next(); err != nil {
			t.Fatal(err)
		}
		set, err := d.Set()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range missing(v, set.Resolve(1<<32-1), tt.seen) {
			got = append(got, formatRange(r))
		}
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%s above %d: %v, want %s", tt.set, tt.seen, got, tt.want)
		}
	}
	if got := missing(mailbox.NewView(mailbox.View{UIDNext: 1}, nil), []imapwire.Range{{Start: 1, Stop: 1<<32 - 1}}, 0); len(got) > 0 {
		t.Errorf("of a mailbox that never had a message: %v", got)
	}
}
