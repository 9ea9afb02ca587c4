package imapd

import (
	"strings"
	"testing"
)

const simple = "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: Hello\n" +
	"Date: Mon, 5 Feb 2024 10:00:00 +0000\nMessage-ID: <1@example.org>\n\nFirst line\nSecond line\n"

func TestGreetingAndCapability(t *testing.T) {
	f := newFixture(t)
	f.dial().script(`
S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN AUTH=LOGIN] mailcryptd ready.
C: a CAPABILITY
S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN AUTH=LOGIN
S: a OK Capability completed.
C: b ID NIL
S: * ID ("name" "mailcryptd")
S: b OK Id completed.
C: c NOOP
S: c OK Noop completed.
C: d SELECT INBOX
S: d BAD Please log in first.
C: e LOGOUT
S: * BYE Logging out.
S: e OK Logout completed.
`)
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"LOGIN", `
C: a LOGIN alice secret
S~ a OK \[CAPABILITY IMAP4rev1 .*\] Logged in\.`},
		{"LOGIN quoted", `
C: a LOGIN "alice" "secret"
S~ a OK .*`},
		{"LOGIN literals", `
C: a LOGIN {5}
S: + OK
C: alice {6+}
C: secret
S~ a OK .*`},
		{"wrong password", `
C: a LOGIN alice wrong
S: a NO [AUTHENTICATIONFAILED] Authentication failed.
C: b LOGIN alice secret
S~ b OK .*`},
		{"temporary", `
C: a LOGIN later secret
S: a NO [UNAVAILABLE] Temporary internal error.`},
		{"PLAIN with initial response", `
C: a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
S~ a OK .*`},
		{"PLAIN", `
C: a authenticate plain
S: + 
C: AGFsaWNlAHNlY3JldA==
S~ a OK .*`},
		{"PLAIN own authzid", `
C: a AUTHENTICATE PLAIN YWxpY2UAYWxpY2UAc2VjcmV0
S~ a OK .*`},
		{"PLAIN foreign authzid", `
C: a AUTHENTICATE PLAIN Ym9iAGFsaWNlAHNlY3JldA==
S: a NO [AUTHORIZATIONFAILED] Authorization failed.`},
		{"PLAIN cancelled", `
C: a AUTHENTICATE PLAIN
S: + 
C: *
S: a BAD Authentication cancelled.
C: b NOOP
S: b OK Noop completed.`},
		{"PLAIN bad base64", `
C: a AUTHENTICATE PLAIN ?
S: a BAD Invalid base64.
C: b AUTHENTICATE PLAIN AAA
S: b BAD Invalid base64.
C: c AUTHENTICATE PLAIN =
S: c BAD Invalid response.
C: d AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldAAA
S: d BAD Invalid response.`},
		{"LOGIN mechanism", `
C: a AUTHENTICATE LOGIN
S: + VXNlcm5hbWU6
C: YWxpY2U=
S: + UGFzc3dvcmQ6
C: c2VjcmV0
S~ a OK .*`},
		{"unknown mechanism", `
C: a AUTHENTICATE GSSAPI
S: a NO [CANNOT] Unsupported authentication mechanism.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			c := f.dial()
			c.line()
			c.script(tt.script)
		})
	}
}

func TestAlert(t *testing.T) {
	f := newFixture(t)
	f.user.alert = "Your key could not be opened."
	f.dial().script(`
S* * OK
C: a LOGIN alice secret
S: * OK [ALERT] Your key could not be opened.
S~ a OK .*
`)
}

func TestSelect(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple, `\Seen`, "$Work")
	f.add("INBOX", simple)
	c := f.login()
	c.script(`
C: a SELECT inbox
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] Flags permitted.
S: * 2 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY 2] UIDs valid.
S: * OK [UIDNEXT 3] Predicted next UID.
S~ \* OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Mailbox identifier\.
S: * OK [HIGHESTMODSEQ 3] Highest.
S: a OK [READ-WRITE] Mailbox opened.
C: b EXAMINE INBOX
S: * OK [CLOSED] Previous mailbox closed.
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)
S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
S: * 2 EXISTS
S: * 0 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY 2] UIDs valid.
S: * OK [UIDNEXT 3] Predicted next UID.
S~ \* OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Mailbox identifier\.
S: * OK [HIGHESTMODSEQ 3] Highest.
S: b OK [READ-ONLY] Mailbox opened read-only.
C: c STORE 1 +FLAGS (\Deleted)
S: c NO [READ-ONLY] Mailbox is read-only.
C: d EXPUNGE
S: d NO [READ-ONLY] Mailbox is read-only.
C: e SELECT nowhere
S: * OK [CLOSED] Previous mailbox closed.
S: e NO [NONEXISTENT] Mailbox doesn't exist.
C: f FETCH 1 FLAGS
S: f BAD No mailbox selected.
C: g ENABLE IMAP4rev2 X-NONE
S: * ENABLED IMAP4rev2
S: g OK Enable completed.
C: h SELECT INBOX
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] Flags permitted.
S: * 2 EXISTS
S: * OK [UIDVALIDITY 2] UIDs valid.
S: * OK [UIDNEXT 3] Predicted next UID.
S~ \* OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Mailbox identifier\.
S: * OK [HIGHESTMODSEQ 3] Highest.
S: * LIST () "/" INBOX
S: h OK [READ-WRITE] Mailbox opened.
C: i UNSELECT
S: i OK Unselect completed.
`)
}

func TestFetch(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	c := f.selected("INBOX")
	c.script(`
C: a FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE)
S: * 1 FETCH (UID 1 FLAGS (\Recent) INTERNALDATE " 3-Feb-2024 04:05:06 +0000" RFC822.SIZE 160)
S: a OK Fetch completed.
C: b FETCH 1 ENVELOPE
S: * 1 FETCH (ENVELOPE ("Mon, 5 Feb 2024 10:00:00 +0000" "Hello" (("Ann" NIL "ann" "example.org")) (("Ann" NIL "ann" "example.org")) (("Ann" NIL "ann" "example.org")) ((NIL NIL "bob" "example.org")) NIL NIL NIL "<1@example.org>"))
S: b OK Fetch completed.
C: c FETCH 1 (BODYSTRUCTURE BODY)
S: * 1 FETCH (BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 25 2 NIL NIL NIL NIL) BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 25 2))
S: c OK Fetch completed.
C: d FETCH 1 BODY.PEEK[HEADER.FIELDS (subject "to")]
S: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT TO)] {39}
S: To: bob@example.org
S: Subject: Hello
S: 
S: )
S: d OK Fetch completed.
C: e FETCH 1 (BODY.PEEK[TEXT]<6.4> BODY.PEEK[9] BODY.PEEK[1.MIME]<0.5>)
S: * 1 FETCH (BODY[TEXT]<6> {4}
S: line BODY[9] {0}
S:  BODY[1.MIME]<0> {5}
S: From:)
S: e OK Fetch completed.
C: f UID FETCH 1 BODY[TEXT]<20.9223372036854775807>
S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent) BODY[TEXT]<20> {5}
S: ine
S: )
S: f OK Fetch completed.
C: g FETCH 1 BODY[]<9223372036854775807.9223372036854775807>
S: * 1 FETCH (BODY[]<9223372036854775807> {0}
S: )
S: g OK Fetch completed.
C: h FETCH 1 FAST
S: * 1 FETCH (FLAGS (\Seen \Recent) INTERNALDATE " 3-Feb-2024 04:05:06 +0000" RFC822.SIZE 160)
S: h OK Fetch completed.
C: i FETCH 1 RFC822.HEADER
S: * 1 FETCH (RFC822.HEADER {135}
S* Message-ID
S: 
S: )
S: i OK Fetch completed.
C: j UID FETCH 77 FLAGS
S: j OK Fetch completed.
C: k FETCH 2 FLAGS
S: k BAD Invalid message set.
C: l FETCH 1 (BODY.PEEK[1] BODY.PEEK[1] BODY.PEEK[1])
S: * 1 FETCH (BODY[1] {25}
S: First line
S: Second line
S: )
S: l OK Fetch completed.
C: m FETCH 1 BODY[]<0.0>
S: m BAD Partial fetch of nothing.
C: n FETCH 1 BODY[1.MIME.2]
S~ n BAD .*
C: o FETCH 1 BINARY.SIZE[1]
S: * 1 FETCH (BINARY.SIZE[1] 25)
S: o OK Fetch completed.
`)
}

func TestFetchNUL(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", "MIME-Version: 1.0\nSubject: a\x00b\nContent-Transfer-Encoding: base64\n\nYQBi\n")
	c := f.selected("INBOX")
	c.script("C: a FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]\n" +
		"S: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {16}\nS: Subject: a\x80b\nS: \nS: )\nS: a OK Fetch completed.\n" +
		"C: b FETCH 1 BINARY.PEEK[1]\nS: * 1 FETCH (BINARY[1] ~{3}\nS: a\x00b)\nS: b OK Fetch completed.")
}

func TestStore(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	c := f.selected("INBOX")
	other := f.selected("INBOX")
	c.script(`
C: a STORE 1:2 +FLAGS (\Flagged $New)
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $New)
S* * OK [PERMANENTFLAGS
S: * 1 FETCH (FLAGS (\Flagged \Recent $New))
S: * 2 FETCH (FLAGS (\Flagged \Recent $New))
S: a OK Store completed.
C: b UID STORE 2 FLAGS.SILENT \Seen
S: b OK Store completed.
C: c FETCH 1:* FLAGS
S: * 1 FETCH (FLAGS (\Flagged \Recent $New))
S: * 2 FETCH (FLAGS (\Seen \Recent))
S: c OK Fetch completed.
C: d STORE 1 -FLAGS.SILENT (\Flagged)
S: d OK Store completed.
C: e STORE 1 +FLAGS (\Recent)
S: e BAD Invalid system flag.
C: f STORE 1 +FLAGS (\Deleted)
S: * 1 FETCH (FLAGS (\Deleted \Recent $New))
S: f OK Store completed.
`)
	other.script(`
C: a NOOP
S* * OK [PERMANENTFLAGS
S: * 1 FETCH (FLAGS (\Deleted $New))
S: * 2 FETCH (FLAGS (\Seen))
S: a OK Noop completed.
`)
	c.send("g STORE 1 +FLAGS (" + strings.Repeat("k", 5000) + ")")
	c.script(`S: g NO [LIMIT] Keyword too long or too many keywords.`)
}

// What another session expunges may be told only where message numbers cannot be
// under way.
func TestExpungeRules(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.add("INBOX", simple)
	}
	c := f.selected("INBOX")
	other := f.selected("INBOX")
	other.script(`
C: a STORE 1,3 +FLAGS.SILENT (\Deleted)
S: a OK Store completed.
C: b UID EXPUNGE 3:5
S: * 3 EXPUNGE
S: b OK Expunge completed.
C: c EXPUNGE
S: * 1 EXPUNGE
S: c OK Expunge completed.
C: d EXPUNGE
S: d OK Expunge completed.
`)
	f.add("INBOX", simple)
	c.script(`
C: a FETCH 2 UID
S: * 2 FETCH (UID 2)
S: * 4 EXISTS
S: * 4 RECENT
S: a OK Fetch completed.
C: b FETCH 1 BODY[]
S: b OK [EXPUNGEISSUED] Some of the messages no longer exist.
C: c STORE 1 +FLAGS.SILENT (\Seen)
S: c OK [EXPUNGEISSUED] Some of the messages no longer exist.
C: d SEARCH ALL
S: * SEARCH 1 2 3 4
S: d OK Search completed.
C: e NOOP
S: * 3 EXPUNGE
S: * 1 EXPUNGE
S: * 2 RECENT
S: e OK Noop completed.
C: f FETCH 1:* UID
S: * 1 FETCH (UID 2)
S: * 2 FETCH (UID 4)
S: f OK Fetch completed.
C: g STORE 1 +FLAGS.SILENT (\Deleted)
S: g OK Store completed.
C: h CLOSE
S: h OK Close completed.
C: i STATUS INBOX (MESSAGES UIDNEXT UNSEEN DELETED SIZE APPENDLIMIT)
S: * STATUS INBOX (MESSAGES 1 UIDNEXT 5 UNSEEN 1 DELETED 0 SIZE 160 APPENDLIMIT NIL)
S: i OK Status completed.
`)
}

func TestAppend(t *testing.T) {
	f := newFixture(t)
	f.user.limit = 1000
	c := f.selected("INBOX")
	c.script(`
C: a APPEND INBOX (\Seen $K) " 1-Jan-2020 00:00:00 +0100" {10}
S: + OK
C: A: b
C: 
C: hi
S* * OK [PERMANENTFLAGS
S: * 1 EXISTS
S: * 1 RECENT
S: a OK [APPENDUID 2 1] Append completed.
C: b FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])
S: * 1 FETCH (FLAGS (\Seen \Recent $K) INTERNALDATE " 1-Jan-2020 00:00:00 +0100" BODY[] {10}
S: A: b
S: 
S: hi)
S: b OK Fetch completed.
C: c APPEND INBOX {1001}
S: c NO [TOOBIG] Message is too large.
C: d APPEND nowhere {10}
S: d NO [TRYCREATE] Mailbox doesn't exist.
C: e APPEND INBOX {0}
S: e NO [CANNOT] Can't save a zero byte message.
C: f APPEND INBOX "1-Jan-2020 00:00:00 +0100" {10}
S: f BAD Invalid date and time.
C: g APPEND INBOX {3+}
C: A:b x
S: g BAD Expected a literal.
C: h APPEND INBOX UTF8 (~{6+}
C: A: b
C: )
S: * 2 EXISTS
S: * 2 RECENT
S: h OK [APPENDUID 2 2] Append completed.
`)
	c.raw("i APPEND INBOX {5+}\r\nA:\x00\r\n\r\n")
	c.script(`S: i NO [CANNOT] Message contains NUL; use a binary literal.`)
	c.raw("j APPEND INBOX ~{5+}\r\nA:\x00\r\n\r\n")
	c.script(`
S: * 3 EXISTS
S: * 3 RECENT
S: j OK [APPENDUID 2 3] Append completed.`)
	if f.user.committed != 3 {
		t.Errorf("%d messages committed, want 3", f.user.committed)
	}
}
