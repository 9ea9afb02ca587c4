package imapd

import (
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	for _, n := range []string{"Archive/2023", "Archive/2024/Q1", "Sent", "Entwürfe", "a b"} {
		if err := f.user.Create(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	f.add("INBOX", simple)
	f.user.special["Sent"] = `\Sent`
	for _, n := range []string{"INBOX", "Archive/2024/Q1", "Gone/Box"} {
		f.user.Subscribe(ctx, n, true)
	}
	for _, tt := range []struct{ name, script string }{
		{"root", `
C: a LIST "" ""
S: * LIST (\Noselect) "/" ""
S: a OK List completed.`},
		{"all", `
C: a LIST "" *
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\Noselect \HasChildren) "/" Archive
S: * LIST (\HasNoChildren) "/" Archive/2023
S: * LIST (\Noselect \HasChildren) "/" Archive/2024
S: * LIST (\HasNoChildren) "/" Archive/2024/Q1
S: * LIST (\HasNoChildren) "/" Entw&APw-rfe
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren) "/" "a b"
S: a OK List completed.`},
		{"one level", `
C: a LIST Archive/ %
S: * LIST (\HasNoChildren) "/" Archive/2023
S: * LIST (\Noselect \HasChildren) "/" Archive/2024
S: a OK List completed.`},
		{"inbox in any case", `
C: a LIST "" iNboX
S: * LIST (\HasNoChildren) "/" INBOX
S: a OK List completed.`},
		{"mUTF-7 pattern", `
C: a LIST "" Entw&APw-*
S: * LIST (\HasNoChildren) "/" Entw&APw-rfe
S: a OK List completed.
C: b LIST "" &*
S: b OK List completed.`},
		{"UTF-8", `
C: a ENABLE UTF8=ACCEPT
S: * ENABLED UTF8=ACCEPT
S: a OK Enable completed.
C: b LIST "" "Entwü*"
S: * LIST (\HasNoChildren) "/" "Entwürfe"
S: b OK List completed.`},
		{"several patterns", `
C: a LIST "" (INBOX Sent)
S: * LIST () "/" INBOX
S: * LIST () "/" Sent
S: a OK List completed.`},
		{"subscribed", `
C: a LIST (SUBSCRIBED) "" *
S: * LIST (\Subscribed) "/" INBOX
S: * LIST (\Subscribed) "/" Archive/2024/Q1
S: * LIST (\NonExistent \Subscribed) "/" Gone/Box
S: a OK List completed.`},
		{"recursive match", `
C: a LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (CHILDREN)
S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
S: * LIST (\NonExistent \HasChildren) "/" Archive (CHILDINFO ("SUBSCRIBED"))
S: * LIST (\NonExistent \HasNoChildren) "/" Gone (CHILDINFO ("SUBSCRIBED"))
S: a OK List completed.
C: b LIST (RECURSIVEMATCH) "" %
S: b BAD RECURSIVEMATCH needs another selection option.`},
		{"special use and status", `
C: a LIST (SPECIAL-USE) "" * RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES))
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * STATUS Sent (MESSAGES 0)
S: a OK List completed.`},
		{"LSUB", `
C: a LSUB "" *
S: * LSUB () "/" INBOX
S: * LSUB () "/" Archive/2024/Q1
S: * LSUB () "/" Gone/Box
S: a OK Lsub completed.
C: b LSUB "" %
S: * LSUB () "/" INBOX
S: * LSUB (\Noselect) "/" Archive
S: * LSUB (\Noselect) "/" Gone
S: b OK Lsub completed.`},
		{"bad", `
C: a LIST (BOGUS) "" *
S: a BAD Unknown LIST selection option.
C: b LIST "" * RETURN (BOGUS)
S: b BAD Unknown LIST return option.
C: c LIST "" * RETURN (STATUS (BOGUS))
S: c BAD Unknown STATUS item.`},
		{"namespace", `
C: a NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: a OK Namespace completed.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			f.login().script(tt.script)
		})
	}
}

func TestMailboxCommands(t *testing.T) {
	f := newFixture(t)
	f.login().script(`
C: a CREATE Work/
S~ a OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Create completed\.
C: b CREATE Work
S: b NO [ALREADYEXISTS] Mailbox already exists.
C: c CREATE Entw&APw-rfe (USE (\Drafts))
S: c NO [USEATTR] Special uses cannot be set.
C: d CREATE Trash (USE ())
S~ d OK \[MAILBOXID \(F[0-9a-f]{32}\)\] Create completed\.
C: e RENAME Work Play
S: e OK Rename completed.
C: f DELETE Work
S: f NO [NONEXISTENT] Mailbox doesn't exist.
C: g DELETE INBOX
S: g NO [CANNOT] INBOX can't be deleted.
C: h SUBSCRIBE Play
S: h OK Subscribe completed.
C: i UNSUBSCRIBE Play
S: i OK Unsubscribe completed.
C: j SELECT Play
S* j OK
C: k DELETE Play
S: k OK Delete completed.
C: l CHECK
S: l BAD No mailbox selected.
C: m STATUS Play (MESSAGES)
S: m NO [NONEXISTENT] Mailbox doesn't exist.
`)
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true}, {"%", "a/b", false}, {"%", "a", true}, {"%/%", "a/b", true},
		{"a*c", "abbbc", true}, {"a%c", "ab/c", false}, {"a*/c", "ab/c", true},
		{"", "", true}, {"", "a", false}, {"%%*", "a/b", true}, {"a%", "a", true},
		{"inbox", "INBOX", true}, {"inb%", "INBOX", true}, {"InBoX/x", "INBOX/x", true},
		{"inbox/X", "INBOX/x", false}, {"sent", "Sent", false}, {"inboxes", "INBOXES", false},
		{"%a%a", "xaxa", true}, {"%a%a", "xa/a", false}, {"*a%b", "a/a/axb", true},
	} {
		if got := newPattern(tt.pattern, '/').match(tt.name); got != tt.want {
			t.Errorf("%q against %q: %v", tt.pattern, tt.name, got)
		}
	}
}

// slowMatch is the definition, for short strings.
func slowMatch(p, name string) bool {
	if p == "" {
		return name == ""
	}
	switch p[0] {
	case '*', '%':
		for i := 0; ; i++ {
			if slowMatch(p[1:], name[i:]) {
				return true
			}
			if i == len(name) || p[0] == '%' && name[i] == '/' {
				return false
			}
		}
	}
	return name != "" && name[0] == p[0] && slowMatch(p[1:], name[1:])
}

func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"*", "a/b"}, {"%a*%b", "xa/yb"}, {"%%**%", "a"}, {"a/%", "a/b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, p, name string) {
		if len(p) > 12 || len(name) > 12 || strings.HasPrefix(name, "INBOX") {
			return
		}
		if got, want := newPattern(p, '/').match(name), slowMatch(p, name); got != want {
			t.Errorf("%q against %q: %v, want %v", p, name, got, want)
		}
	})
}
