package imapd

import (
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

func TestNotifySyntax(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct{ args, want string }{
		{"NONE", "OK"},
		{"SET (SELECTED (MessageNew MessageExpunge))", "OK"},
		{"set (selected-delayed (messagenew (uid body.peek[header.fields (from)]) messageexpunge flagchange))", "OK"},
		{"SET STATUS (INBOXES (MessageNew MessageExpunge)) (SUBTREE (a b) (MailboxName)) (MAILBOXES INBOX NONE)", "OK"},
		{"SET (PERSONAL (MailboxName SubscriptionChange))", "OK"},
		{"SET (SUBSCRIBED (MessageNew MessageExpunge))", "OK"},
		{"", "BAD"},
		{"SET", "BAD"},
		{"SET (SELECTED)", "BAD"},
		{"SET (SELECTED ())", "BAD"},
		{"SET (ELSEWHERE (MessageNew MessageExpunge))", "BAD"},
		{"SET (MAILBOXES (MessageNew MessageExpunge))", "BAD"},
		{"SET (MAILBOXES () (MessageNew MessageExpunge))", "BAD"},
		{"SET (SELECTED (MessageNew))", "BAD"},
		{"SET (PERSONAL (MessageExpunge))", "BAD"},
		{"SET (SELECTED (FlagChange))", "BAD"},
		{"SET (SELECTED (MailboxName))", "BAD"},
		{"SET (SELECTED NONE) (SELECTED-DELAYED NONE)", "BAD"},
		{"SET (PERSONAL (MessageNew (UID) MessageExpunge))", "BAD"},
		{"SET (SELECTED (MessageNew (FOO) MessageExpunge))", "BAD"},
		{"SET (PERSONAL (Foo))", "BAD"},
		{"SET (PERSONAL (AnnotationChange MessageNew MessageExpunge))", "NO [BADEVENT ("},
		{"SET (PERSONAL (ServerMetadataChange))", "NO [BADEVENT ("},
		{"SET (MAILBOXES (" + strings.TrimSpace(strings.Repeat("x ", 1001)) + ") (MailboxName))", "NO [NOTIFICATIONOVERFLOW]"},
	} {
		c := f.login()
		c.send(strings.TrimSpace("n NOTIFY " + tt.args))
		lines := c.until("n ")
		if got := lines[len(lines)-1]; !strings.HasPrefix(got, "n "+tt.want) {
			t.Errorf("%.80s: %q, want %s", tt.args, got, tt.want)
		}
	}
}

// What is asked for of the selected mailbox comes without any command.
func TestNotifySelected(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	a, b := f.selected("INBOX"), f.selected("INBOX")
	a.script(`
		C: n NOTIFY SET (SELECTED (MessageNew (UID BODY[HEADER.FIELDS (Subject)]) MessageExpunge FlagChange))
		S~ n OK .*`)
	f.add("INBOX", simple)
	a.script(`
		S: * 3 EXISTS
		S~ \* \d RECENT
		S~ \* 3 FETCH \(UID 3 BODY\[HEADER.FIELDS \(SUBJECT\)\] \{\d+\}
		S~ Subject: .*
		S: 
		S: )`)
	b.script(`
		C: s STORE 1 +FLAGS.SILENT (\Flagged \Deleted)
		S* s OK`)
	a.script(`S~ \* 1 FETCH \(FLAGS \(.*\)\)`)
	b.script(`
		C: e EXPUNGE
		S* e OK`)
	a.script(`
		S: * 1 EXPUNGE
		S~ \* \d RECENT
		C: f UID FETCH 3 FLAGS
		S~ \* 2 FETCH \(UID 3 FLAGS \(.*\)\)
		S~ f OK .*`)
	b2, err := f.user.Open(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	if got := b2.View().Get(3).Flags.System; got&mailbox.Seen != 0 {
		t.Error("a notification set \\Seen")
	}
}

func TestNotifySelectedDelayed(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple, `\Deleted`)
	a, b := f.selected("INBOX"), f.selected("INBOX")
	a.script(`
		C: n NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))
		S~ n OK .*`)
	b.script(`
		C: s STORE 1 +FLAGS.SILENT (\Flagged)
		S* s OK
		C: e EXPUNGE
		S* e OK`)
	f.add("INBOX", simple)
	a.script(`
		S: * 3 EXISTS
		S~ \* \d RECENT
		C: n NOOP
		S: * 2 EXPUNGE
		S* n OK`)
}

// Without the selected mailbox among what is asked for, nothing is said of it, but for what
// the session itself does.
func TestNotifyNone(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", simple)
	a, b := f.selected("INBOX"), f.selected("INBOX")
	a.script(`
		C: n NOTIFY NONE
		S~ n OK .*`)
	b.script(`
		C: s STORE 1 +FLAGS.SILENT (\Deleted)
		S* s OK
		C: e EXPUNGE
		S* e OK`)
	f.add("INBOX", simple)
	a.script(`
		C: n NOOP
		S~ n OK .*
		C: s STORE 2 +FLAGS (\Deleted)
		S~ \* 2 FETCH .*
		S~ s OK .*
		C: e EXPUNGE
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE
		S* e OK
		C: n NOTIFY SET (SELECTED (MessageNew MessageExpunge))
		S: * 1 EXISTS
		S: * 1 RECENT
		S~ n OK .*`)
}

func TestNotifyOthers(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	a, b := f.login(), f.login()
	b.script(`
		C: c CREATE Work
		S~ c OK .*
		C: c CREATE Quiet
		S~ c OK .*`)
	a.script(`
		C: n NOTIFY SET STATUS (MAILBOXES (INBOX Work) (MessageNew MessageExpunge FlagChange)) (PERSONAL (MailboxName SubscriptionChange))
		S: * STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 2 UNSEEN 1)
		S: * STATUS Work (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 3 UNSEEN 0)
		S~ n OK .*`)
	f.add("Quiet", simple)
	f.add("Work", simple)
	a.script(`S: * STATUS Work (MESSAGES 1 UIDNEXT 2 UNSEEN 1)`)
	b.script(`
		C: s SELECT Work
		S* s OK
		C: s STORE 1 +FLAGS (\Seen)
		S* s OK`)
	a.script(`S: * STATUS Work (UNSEEN 0)`)
	b.script(`
		C: s STORE 1 +FLAGS (\Deleted)
		S* s OK
		C: e EXPUNGE
		S* e OK`)
	a.script(`S: * STATUS Work (MESSAGES 0 UIDNEXT 2 UNSEEN 0)`)
	b.script(`
		C: c CREATE New
		S~ c OK .*`)
	a.script(`S: * LIST (\HasNoChildren) "/" New`)
	b.script(`
		C: s SUBSCRIBE New
		S~ s OK .*`)
	a.script(`S: * LIST (\HasNoChildren \Subscribed) "/" New`)
	b.script(`
		C: r RENAME Work Works
		S~ r OK .*`)
	a.script(`S: * LIST (\HasNoChildren) "/" Works ("OLDNAME" (Work))`)
	b.script(`
		C: d DELETE Quiet
		S~ d OK .*`)
	a.script(`S: * LIST (\NonExistent \HasNoChildren) "/" Quiet`)
	// In IDLE too, and the selected mailbox is not told of by STATUS.
	a.script(`
		C: s SELECT INBOX
		S* s OK
		C: i IDLE
		S: + idling`)
	f.add("INBOX", simple)
	b.script(`
		C: c CREATE Last
		S~ c OK .*`)
	a.script(`
		S: * LIST (\HasNoChildren) "/" Last
		C: DONE
		S~ i OK .*`)
}
