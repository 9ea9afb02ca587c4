package imapd

import (
	"errors"
	"fmt"
	"testing"

	"mailcrypt/mailbox"
)

// threeMessages is a fixture whose messages 1 to 3 have the modseqs 2 to 4.
func threeMessages(t *testing.T) *fixture {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple)
	}
	return f
}

// TestCondstoreEnabling: each CONDSTORE enabling command makes later FETCH responses carry UID
// and MODSEQ, and the first tells HIGHESTMODSEQ (RFC 7162 sections 3.1 and 3.2.4).
func TestCondstoreEnabling(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"none", `
C: a NOOP
S: a OK Noop completed.
C: b STORE 1 +FLAGS (\Seen)
S: * 1 FETCH (FLAGS (\Seen \Recent))
S: b OK Store completed.`},
		{"ENABLE", `
C: a ENABLE CONDSTORE
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * ENABLED CONDSTORE
S: a OK Enable completed.
C: a ENABLE CONDSTORE
S: * ENABLED CONDSTORE
S: a OK Enable completed.`},
		{"ENABLE QRESYNC", `
C: a ENABLE QRESYNC
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * ENABLED QRESYNC
S: a OK Enable completed.`},
		{"ENABLE both", `
C: a ENABLE CONDSTORE X-NONE QRESYNC
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * ENABLED CONDSTORE QRESYNC
S: a OK Enable completed.`},
		{"SELECT", `
C: a SELECT INBOX (CONDSTORE)
S: * OK [CLOSED] Previous mailbox closed.
S* * OK [HIGHESTMODSEQ 4] Highest.
S: a OK [READ-WRITE] Mailbox opened.`},
		{"FETCH MODSEQ", `
C: a FETCH 2:3 (MODSEQ)
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * 2 FETCH (MODSEQ (3))
S: * 3 FETCH (MODSEQ (4))
S: a OK Fetch completed.`},
		{"FETCH CHANGEDSINCE", `
C: a FETCH 1:3 (FLAGS) (CHANGEDSINCE 3)
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * 3 FETCH (FLAGS (\Recent) MODSEQ (4))
S: a OK Fetch completed.`},
		{"STORE UNCHANGEDSINCE", `
C: a STORE 3 (UNCHANGEDSINCE 1) FLAGS.SILENT ($x)
S: * OK [HIGHESTMODSEQ 4] Highest.
S: a OK [MODIFIED 3] Conditional store failed.`},
		{"STATUS", `
C: a STATUS INBOX (HIGHESTMODSEQ)
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * STATUS INBOX (HIGHESTMODSEQ 4)
S: a OK Status completed.`},
		{"LIST STATUS", `
C: a LIST "" INBOX RETURN (STATUS (HIGHESTMODSEQ))
S: * LIST () "/" INBOX
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * STATUS INBOX (HIGHESTMODSEQ 4)
S: a OK List completed.`},
		{"SEARCH", `
C: a SEARCH MODSEQ 3
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * SEARCH 2 3 (MODSEQ 4)
S: a OK Search completed.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := threeMessages(t)
			c := f.selected("INBOX")
			c.script(tt.script)
			if tt.name == "none" {
				return
			}
			other := f.selected("INBOX")
			other.script(`
C: x STORE 1 +FLAGS (\Flagged)
S: * 1 FETCH (FLAGS (\Flagged))
S: x OK Store completed.
C: x STORE 2 +FLAGS (\Flagged)
S: * 2 FETCH (FLAGS (\Flagged))
S: x OK Store completed.
C: x STORE 2 -FLAGS (\Flagged)
S: * 2 FETCH (FLAGS ())
S: x OK Store completed.
`)
			c.script(`
C: x NOOP
S~ \* 1 FETCH \(UID 1 MODSEQ \(5\) FLAGS \(\\Flagged( \\Recent)?\)\)
S~ \* 2 FETCH \(UID 2 MODSEQ \(7\) FLAGS \((\\Recent)?\)\)
S: x OK Noop completed.
C: y STORE 3 +FLAGS.SILENT (\Deleted)
S: * 3 FETCH (UID 3 MODSEQ (8))
S: y OK Store completed.
C: z FETCH 3 (UID)
S: * 3 FETCH (UID 3)
S: z OK Fetch completed.
`)
		})
	}
}

func TestConditionalStore(t *testing.T) {
	f := threeMessages(t)
	f.add("INBOX", simple, "$old")
	c := f.selected("INBOX")
	other := f.selected("INBOX")
	c.script(`
C: a ENABLE CONDSTORE
S* a OK
C: b UID STORE 1,3 (UNCHANGEDSINCE 3) +FLAGS (\Draft)
S: * 1 FETCH (UID 1 MODSEQ (6) FLAGS (\Draft \Recent))
S: b OK [MODIFIED 3] Conditional store failed.
C: c STORE 1:4 (UNCHANGEDSINCE 3) FLAGS.SILENT (\Answered)
S: * 2 FETCH (UID 2 MODSEQ (7))
S: c OK [MODIFIED 1,3:4] Conditional store failed.
C: d STORE 2 (UNCHANGEDSINCE 7) +FLAGS.SILENT (\Answered)
S: * 2 FETCH (UID 2 MODSEQ (7))
S: d OK Store completed.
C: e STORE 2 (UNCHANGEDSINCE 9223372036854775807) -FLAGS.SILENT (\Answered)
S: * 2 FETCH (UID 2 MODSEQ (8))
S: e OK Store completed.
C: f STORE 2,3:2 (UNCHANGEDSINCE 8) +FLAGS.SILENT (\Deleted)
S: * 2 FETCH (UID 2 MODSEQ (9))
S: * 3 FETCH (UID 3 MODSEQ (9))
S: f OK Store completed.
`)
	// Another session's changes: of the flag in question, and of others.
	other.script(`
C: a STORE 2 +FLAGS.SILENT (\Flagged)
S* a OK
C: b STORE 3 +FLAGS.SILENT (\Seen)
S* b OK
`)
	c.script(`
C: g STORE 2:3 (UNCHANGEDSINCE 9) +FLAGS (\Seen)
S: * 2 FETCH (UID 2 MODSEQ (12) FLAGS (\Flagged \Deleted \Seen \Recent))
S: * 3 FETCH (UID 3 MODSEQ (11) FLAGS (\Deleted \Seen \Recent))
S: g OK [MODIFIED 3] Conditional store failed.
`)
	// A modseq of 0 is that of what does not exist, and system flags always do.
	c.script(`
C: h STORE 1:4 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($old)
S: * 1 FETCH (UID 1 MODSEQ (13))
S: * 2 FETCH (UID 2 MODSEQ (13))
S: * 3 FETCH (UID 3 MODSEQ (13))
S: h OK [MODIFIED 4] Conditional store failed.
C: i STORE 4 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\Flagged)
S: i OK [MODIFIED 4] Conditional store failed.
C: i STORE 4 (UNCHANGEDSINCE 0) FLAGS.SILENT ($x)
S: i OK [MODIFIED 4] Conditional store failed.
`)
	// RFC 7162 example 11: some are gone.
	other.script(`
C: a UID EXPUNGE 2
S* a OK
C: b STORE 1 +FLAGS.SILENT (\Seen)
S* b OK
`)
	c.script(`
C: j STORE 1:3 (UNCHANGEDSINCE 13) +FLAGS (\Seen)
S~ \* 3 FETCH \(UID 3 MODSEQ \(\d+\) FLAGS \(\\Deleted \\Seen \\Recent \$old\)\)
S~ \* 1 FETCH \(UID 1 MODSEQ \(\d+\) FLAGS \(\\Seen \\Draft \\Recent \$old\)\)
S: j NO [MODIFIED 1] Some of the messages no longer exist.
C: k NOOP
S: * 2 EXPUNGE
S: * 3 RECENT
S: k OK Noop completed.
C: l EXAMINE INBOX
S* l OK
C: m STORE 1 (UNCHANGEDSINCE 99) +FLAGS (\Seen)
S: m NO [READ-ONLY] Mailbox is read-only.
`)
}

// TestModSeqSyntax: what is not understood enables nothing.
func TestModSeqSyntax(t *testing.T) {
	f := threeMessages(t)
	c := f.selected("INBOX")
	for _, cmd := range []string{
		"FETCH 1 FLAGS (CHANGEDSINCE)", "FETCH 1 FLAGS (CHANGEDSINCE x)", "FETCH 1 FLAGS (CHANGEDSINCE -1)",
		"FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", "FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
		"FETCH 1 FLAGS CHANGEDSINCE 1", "FETCH 1 FLAGS (CHANGEDSINCE 1) x", "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
		"UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (VANISHED)", "FETCH 1 MODSEQ[]",
		"STORE 1 (UNCHANGEDSINCE) FLAGS (x)", "STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 1) FLAGS (x)",
		"STORE 1 (UNCHANGEDSINCE -1) FLAGS (x)", "STORE 1 (CHANGEDSINCE 1) FLAGS (x)", "STORE 1 (UNCHANGEDSINCE 1)FLAGS (x)",
		"SEARCH MODSEQ", "SEARCH MODSEQ x", `SEARCH MODSEQ "/flags/x" 5`, `SEARCH MODSEQ "/flags/x" some 5`,
		`SEARCH MODSEQ "/x" all 5`, "SEARCH MODSEQ 9223372036854775808", "SELECT INBOX (QRESYNC (1 1))",
		"SELECT INBOX (CONDSTORE", "SELECT INBOX CONDSTORE", "SELECT INBOX (FOO)", "STATUS INBOX (MODSEQ)",
	} {
		c.send("a " + cmd)
		if l := c.line(); len(l) < 5 || l[:5] != "a BAD" {
			t.Errorf("%s: %q", cmd, l)
		}
		c.send("b NOOP") // too many bad commands in a row end a session
		c.until("b ")
	}
	c.script(`
C: c ENABLE QRESYNC
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * ENABLED QRESYNC
S: c OK Enable completed.
`)
	for _, arg := range []string{
		"", " ()", " (1)", " 1 1", " (x 1)", " (1 x)", " (1 1 *)", " (1 1 1:*)", " (1 1 $)", " (1 1 1 1)", " (1 1 1 ())",
		" (1 1 1 (1))", " (1 1 1 (1 1 1))", " (1 1 1 (1:2 1))", " (1 1 1 (1,2 1,1))", " (1 1 1 (2:1 1:2))", " (1 1 1 (1 *))",
		" (1 1 1 (1 1) 1)", " (1 1 (1 1) 1)", " (1 1 (1 1) (1 1))", " (4294967296 1)", " (1 9223372036854775808)",
		" (1 1)) (QRESYNC (1 1)", " (1 1) QRESYNC (1 1)",
	} {
		c.send("a SELECT INBOX (QRESYNC" + arg + ")")
		if l := c.line(); len(l) < 5 || l[:5] != "a BAD" {
			t.Errorf("QRESYNC%s: %q", arg, l)
			c.until("a ")
		}
		c.send("b NOOP")
		c.until("b ")
	}
}

func TestSearchModSeq(t *testing.T) {
	f := threeMessages(t)
	c := f.selected("INBOX")
	c.script(`
C: a ENABLE CONDSTORE
S* a OK
C: b SEARCH MODSEQ "/flags/\\draft" all 3
S: * SEARCH 2 3 (MODSEQ 4)
S: b OK Search completed.
C: c UID SEARCH MODSEQ /flags/$x PRIV 4
S: * SEARCH 3 (MODSEQ 4)
S: c OK Search completed.
C: d SEARCH MODSEQ 5
S: * SEARCH
S: d OK Search completed.
C: e SEARCH OR NOT MODSEQ 3 LARGER 50000
S: * SEARCH 1 (MODSEQ 2)
S: e OK Search completed.
C: f SEARCH RETURN (MIN) MODSEQ 0
S: * ESEARCH (TAG "f") MIN 1 MODSEQ 2
S: f OK Search completed.
C: g SEARCH RETURN (MIN MAX) MODSEQ 0
S: * ESEARCH (TAG "g") MIN 1 MAX 3 MODSEQ 4
S: g OK Search completed.
C: h SEARCH RETURN (MIN COUNT) 1:2 MODSEQ 0
S: * ESEARCH (TAG "h") MIN 1 COUNT 2 MODSEQ 3
S: h OK Search completed.
C: i SEARCH RETURN () MODSEQ 3
S: * ESEARCH (TAG "i") ALL 2:3 MODSEQ 4
S: i OK Search completed.
C: j SEARCH RETURN (ALL) MODSEQ 9
S: * ESEARCH (TAG "j")
S: j OK Search completed.
C: k SEARCH RETURN (SAVE) MODSEQ 3
S: * ESEARCH (TAG "k") MODSEQ 4
S: k OK Search completed.
C: l UID FETCH $ (FLAGS) (CHANGEDSINCE 3)
S: * 3 FETCH (UID 3 FLAGS (\Recent) MODSEQ (4))
S: l OK Fetch completed.
`)
}

// TestFetchModSeq: the order of items, and \Seen that a FETCH sets.
func TestFetchModSeq(t *testing.T) {
	f := threeMessages(t)
	c := f.selected("INBOX")
	c.script(`
C: a UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 3)
S: * OK [HIGHESTMODSEQ 4] Highest.
S: * 3 FETCH (UID 3 FLAGS (\Recent) MODSEQ (4))
S: a OK Fetch completed.
C: b FETCH 1 (MODSEQ FLAGS UID)
S: * 1 FETCH (MODSEQ (2) FLAGS (\Recent) UID 1)
S: b OK Fetch completed.
C: c FETCH 1:* FAST (CHANGEDSINCE 4)
S: c OK Fetch completed.
C: d FETCH 1 (BODY[]<0.4> FLAGS)
S: * 1 FETCH (FLAGS (\Recent) BODY[]<0> {4}
S: From)
S: * 1 FETCH (UID 1 MODSEQ (5) FLAGS (\Seen \Recent))
S: d OK Fetch completed.
C: e FETCH 1 (BODY[]<0.4>)
S: * 1 FETCH (BODY[]<0> {4}
S: From)
S: e OK Fetch completed.
C: f FETCH 9 (FLAGS) (CHANGEDSINCE 1)
S: f BAD Invalid message set.
C: g UID FETCH 9 (FLAGS) (CHANGEDSINCE 0)
S: g OK Fetch completed.
`)
}

// TestNoModSeq: where modseqs cannot be kept, no client hears of one.
func TestNoModSeq(t *testing.T) {
	f := threeMessages(t)
	f.user.noModSeqs.Store(ptr(fmt.Errorf("index: %w", mailbox.ErrNoModSeqs)))
	c := f.login()
	c.script(`
C: a ENABLE QRESYNC
S: * ENABLED QRESYNC
S: a OK Enable completed.
C: b SELECT INBOX (QRESYNC (2 1 1:3))
S* * OK [UIDNEXT
S* * OK [NOMODSEQ] No permanent mod-sequences.
S: b OK [READ-WRITE] Mailbox opened.
C: c FETCH 1 (MODSEQ)
S: c BAD No mod-sequences for this mailbox.
C: d UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)
S: d BAD No mod-sequences for this mailbox.
C: e STORE 1 (UNCHANGEDSINCE 5) FLAGS (x)
S: e BAD No mod-sequences for this mailbox.
C: f SEARCH MODSEQ 1
S: f BAD No mod-sequences for this mailbox.
C: g STATUS INBOX (HIGHESTMODSEQ)
S: * STATUS INBOX (HIGHESTMODSEQ 0)
S: g OK Status completed.
C: h STORE 1 +FLAGS (\Deleted)
S: * 1 FETCH (UID 1 FLAGS (\Deleted \Recent))
S: h OK Store completed.
C: i EXPUNGE
S: * 1 EXPUNGE
S: * 2 RECENT
S: i OK Expunge completed.
`)
}

// TestModSeqFault: while modseqs cannot be stored for now, changes wait that would be told
// with one.
func TestModSeqFault(t *testing.T) {
	f := threeMessages(t)
	c := f.login()
	c.script(`
C: a SELECT INBOX (CONDSTORE)
S* a OK
`)
	f.user.noModSeqs.Store(ptr(errors.New("disk full")))
	other := f.selected("INBOX") // HIGHESTMODSEQ is not for this one
	other.script(`
C: a STORE 1 +FLAGS (\Seen)
S: * 1 FETCH (FLAGS (\Seen))
S: a OK Store completed.
`)
	c.script(`
C: b NOOP
S: b OK Noop completed.
C: c STORE 2 +FLAGS (\Seen)
S~ c NO .*
C: d SEARCH MODSEQ 1
S~ d NO .*
`)
	f.user.noModSeqs.Store(nil)
	c.script(`
C: e NOOP
S: * 1 FETCH (UID 1 MODSEQ (5) FLAGS (\Seen \Recent))
S: * 2 FETCH (UID 2 MODSEQ (6) FLAGS (\Seen \Recent))
S: e OK Noop completed.
`)
}

func ptr[T any](v T) *T { return &v }
