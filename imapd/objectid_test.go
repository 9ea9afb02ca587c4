package imapd

import (
	"regexp"
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

// Identifiers follow a mailbox when it is renamed, and a message when it is copied.
func TestObjectID(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	c := f.login()
	id := func(command, want string) string {
		t.Helper()
		c.send("t " + command)
		for _, line := range c.until("t ") {
			if m := regexp.MustCompile(want).FindStringSubmatch(line); m != nil {
				return m[1]
			}
		}
		t.Fatalf("%s: no %s", command, want)
		return ""
	}
	const mailboxID = `MAILBOXID \((F[0-9a-f]{32})\)`
	made := id("CREATE box", `^t OK \[`+mailboxID+`\]`)
	for command, want := range map[string]string{
		"SELECT box":             `^\* OK \[` + mailboxID + `\]`,
		"EXAMINE box":            `^\* OK \[` + mailboxID + `\]`,
		"STATUS box (MAILBOXID)": `^\* STATUS box \(` + mailboxID + `\)`,
		`LIST "" box RETURN (STATUS (MAILBOXID))`: `^\* STATUS box \(` + mailboxID + `\)`,
	} {
		if got := id(command, want); got != made {
			t.Errorf("%s: %s, and was made as %s", command, got, made)
		}
	}
	if other := id("STATUS INBOX (MAILBOXID)", mailboxID); other == made {
		t.Error("two mailboxes of one id")
	}
	id("RENAME box new", "^t (OK)")
	if got := id("STATUS new (MAILBOXID)", mailboxID); got != made {
		t.Errorf("renamed: %s, was %s", got, made)
	}

	id("SELECT INBOX", "^t (OK)")
	const emailID = `EMAILID \((M[0-9a-f]{32})\)`
	first := id("FETCH 1 (EMAILID THREADID)", `^\* 1 FETCH \(`+emailID+` THREADID NIL\)`)
	if second := id("UID FETCH 2 EMAILID", `^\* 2 FETCH \(UID 2 `+emailID+`\)`); second == first {
		t.Error("two messages of one id")
	}
	c.script(`
C: a SEARCH EMAILID ` + first + `
S: * SEARCH 1
S: a OK Search completed.
C: b SEARCH NOT EMAILID ` + first + ` NOT THREADID T1
S: * SEARCH 2
S: b OK Search completed.
C: c SEARCH EMAILID ` + strings.ToUpper(first) + `
S: * SEARCH
S: c OK Search completed.
C: d SEARCH THREADID T1
S: * SEARCH
S: d OK Search completed.
C: e SEARCH EMAILID ""
S: e BAD Invalid object identifier.
C: f SEARCH EMAILID a.b
S: f BAD Invalid object identifier.
C: g SEARCH THREADID
S~ g BAD .*
C: h CAPABILITY
S~ .* OBJECTID .*
S: h OK Capability completed.
`)
}

// No identifier can be taken for another kind or for NIL, whatever a store calls a message.
func TestObjectIDForm(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,254}$`)
	for _, guid := range []string{"", "NIL", "1700000000.M1P1.host,S=10,W=11", strings.Repeat("x", 5000), "ü\r\n)"} {
		if id := emailID(guid); !valid.MatchString(id) || id[0] != 'M' {
			t.Errorf("emailID(%.20q) = %q", guid, id)
		}
	}
	if id := mailboxID(mailbox.NewGUID()); !valid.MatchString(id[1 : len(id)-1]) {
		t.Errorf("mailboxID = %q", id)
	}
}

func TestSaveDate(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.selected("INBOX").script(`
C: a FETCH 1 (INTERNALDATE SAVEDATE)
S~ \* 1 FETCH \(INTERNALDATE " 3-Feb-2024 [^"]+" SAVEDATE "[ 0-9]\d-...-20[2-9]\d \d\d:\d\d:\d\d [-+]\d{4}"\)
S: a OK Fetch completed.
C: b CAPABILITY
S~ .* SAVEDATE .*
S: b OK Capability completed.
`)
}
