package imapd

import "testing"

// TestRenameSelected: a mailbox stays selected when its session renames it, and is known
// by the new name.
func TestRenameSelected(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.script(`
C: a CREATE one/two
S~ a OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Create completed\.
`)
	f.add("one/two", simple)
	c.script(`
C: b SELECT one/two
S* b OK
C: c RENAME one three
S: c OK Rename completed.
C: d UID SEARCH ALL
S: * SEARCH 1
S: d OK Search completed.
C: e DELETE three/two
S: e OK Delete completed.
C: f NOOP
S: f OK Noop completed.
C: g FETCH 1 FLAGS
S: g BAD No mailbox selected.
`)
}

// TestSaveFails: a SEARCH that ends in NO empties the saved result, one that ends in BAD
// leaves it (RFC 5182 section 2.1).
func TestSaveFails(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.selected("INBOX").script(`
C: a SEARCH RETURN (SAVE) ALL
S: a OK Search completed.
C: b SEARCH RETURN (SAVE) NONSENSE
S~ b BAD .*
C: c UID SEARCH UID $
S: * SEARCH 1
S: c OK Search completed.
C: d SEARCH RETURN (SAVE) CHARSET X-NONE ALL
S~ d NO \[BADCHARSET .*
C: e UID SEARCH UID $
S: * SEARCH
S: e OK Search completed.
`)
}
