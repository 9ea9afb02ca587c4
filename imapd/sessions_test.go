package imapd

import (
	"strings"
	"testing"
)

// TestSessionsAndKick looks at sessions in each state and ends some, the others going on.
func TestSessionsAndKick(t *testing.T) {
	f := newFixture(t)
	before := f.dial()
	before.line()
	idle := f.selected("INBOX")
	idle.send("i IDLE")
	idle.until("+ ")
	stays := f.login()

	list := f.srv.Sessions()
	if len(list) != 3 {
		t.Fatalf("%d sessions, want 3: %+v", len(list), list)
	}
	for i, want := range []SessionInfo{{}, {User: "alice", Mailbox: "INBOX", Command: "IDLE"}, {User: "alice"}} {
		got := list[i]
		if got.User != want.User || got.Mailbox != want.Mailbox || got.Command != want.Command || got.Remote != "127.0.0.1" || got.Since.IsZero() || got.ID == 0 {
			t.Errorf("session %d: %+v, want %+v", i, got, want)
		}
	}
	kicked := f.srv.Kick(func(s SessionInfo) bool { return s.User == "" || s.Mailbox == "INBOX" })
	if len(kicked) != 2 || kicked[0].ID != list[0].ID || kicked[1].ID != list[1].ID {
		t.Errorf("kicked %+v", kicked)
	}
	for _, c := range []*client{before, idle} {
		if got := c.line(); !strings.HasPrefix(got, "* BYE [UNAVAILABLE] Disconnected by the administrator") || !c.eof() {
			t.Errorf("a kicked client is told %q", got)
		}
	}
	stays.send("n SELECT INBOX")
	stays.until("n OK")
	if list := f.srv.Sessions(); len(list) == 0 || list[len(list)-1].Mailbox != "INBOX" || list[len(list)-1].Command != "" {
		t.Errorf("%+v", list)
	}
	stays.send("u UNAUTHENTICATE")
	stays.until("u OK")
	stays.send("n NOOP")
	stays.until("n OK")
	if list := f.srv.Sessions(); list[len(list)-1].User != "" || list[len(list)-1].Mailbox != "" {
		t.Errorf("after UNAUTHENTICATE: %+v", list)
	}
}

// TestKickInCommand kicks a client in the middle of a command: it may end it.
func TestKickInCommand(t *testing.T) {
	f := newFixture(t)
	c := f.login()
	c.send("a APPEND INBOX {5}")
	c.until("+ ")
	f.srv.Kick(func(SessionInfo) bool { return true })
	c.send("hello")
	got := c.until("* BYE")
	if !strings.HasPrefix(got[len(got)-2], "a OK") {
		t.Errorf("the command under way ends with %q", got)
	}
}
