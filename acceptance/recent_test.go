package acceptance

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var recentLine = regexp.MustCompile(`^\* (\d+ RECENT|STATUS .* \(RECENT \d+\))$`)

// recents sends a command and returns what its answer says of RECENT, and of \Recent in
// FLAGS: "2 RECENT; \Recent of 1,2".
func (i *imapConn) recents(command string) string {
	i.t.Helper()
	a := i.do("%s", command)
	if !a.ok() {
		i.t.Fatalf("%s: %s", command, a.tagged)
	}
	var out, of []string
	for _, u := range a.untagged {
		if m := recentLine.FindStringSubmatch(u.line); m != nil {
			out = append(out, m[1])
		}
		if strings.Contains(u.line, `\Recent`) && strings.Contains(u.line, " FETCH ") {
			of = append(of, strings.Fields(u.line)[1])
		}
	}
	if of != nil {
		out = append(out, `\Recent of `+strings.Join(of, ","))
	}
	return strings.Join(out, "; ")
}

// TestRecent: a message is recent in the first session that selects its mailbox to write,
// and in no other (RFC 3501 section 2.3.2). STATUS and EXAMINE take it from nobody.
func TestRecent(t *testing.T) {
	d := hostileDaemon(t) // one message in INBOX
	deliver := func() {
		t.Helper()
		replies, err := deliverLMTP(d.lmtp, "a@b", []string{"u"}, mail("recent", 500))
		if err != nil || !strings.HasPrefix(replies[0], "250") {
			t.Fatal(replies, err)
		}
	}
	status := login(t, d.imap, "u", "pass")
	defer status.close()
	look := login(t, d.imap, "u", "pass")
	defer look.close()
	first := login(t, d.imap, "u", "pass")
	defer first.close()
	second := login(t, d.imap, "u", "pass")
	defer second.close()

	first.do("SELECT INBOX") // so the first message is recent no more
	first.do("UNSELECT")
	steps := []struct {
		c    *imapConn
		do   string
		want string
	}{
		{status, "STATUS INBOX (RECENT)", "STATUS INBOX (RECENT 0)"},
		{nil, "deliver", ""},
		{nil, "deliver", ""},
		{status, "STATUS INBOX (RECENT)", "STATUS INBOX (RECENT 2)"},
		{status, "STATUS INBOX (RECENT)", "STATUS INBOX (RECENT 2)"},
		{look, "EXAMINE INBOX", "2 RECENT"},
		{look, "FETCH 1:* FLAGS", `\Recent of 2,3`},
		{look, "FETCH 3 BODY[]", ""},
		{status, "STATUS INBOX (RECENT)", "STATUS INBOX (RECENT 2)"},
		{first, "SELECT INBOX", "2 RECENT"},
		{first, "FETCH 1:* FLAGS", `\Recent of 2,3`},
		{status, "STATUS INBOX (RECENT)", "STATUS INBOX (RECENT 0)"},
		// What was shown as recent stays so until the session's end.
		{look, "NOOP", ""},
		{look, "FETCH 1:* FLAGS", `\Recent of 2,3`},
		{second, "SELECT INBOX", "0 RECENT"},
		{second, "FETCH 1:* FLAGS", ""},
		{second, "SELECT INBOX", "0 RECENT"},
		{nil, "deliver", ""},
		{second, "NOOP", "1 RECENT"},
		{first, "NOOP", ""}, // still 2
		{first, "FETCH 1:* FLAGS", `\Recent of 2,3`},
		{second, "UID FETCH 1:* FLAGS", `\Recent of 4`},
		{look, "NOOP", ""},
		// A STORE does not touch it, and no client may set it.
		{first, `STORE 2 FLAGS (\Seen)`, `\Recent of 2`},
		{first, `STORE 2 FLAGS (\Deleted)`, `\Recent of 2`},
		{first, "EXPUNGE", "1 RECENT"},
		{look, "NOOP", "1 RECENT"},
		{second, "NOOP", ""},
		// A copy is recent again.
		{first, "COPY 2 INBOX", "2 RECENT"},
		{first, "CLOSE", ""},
		{first, "SELECT INBOX", "0 RECENT"},
	}
	for n, s := range steps {
		if s.c == nil {
			deliver()
			continue
		}
		if got := s.c.recents(s.do); got != s.want {
			t.Errorf("step %d, %s: %q, want %q", n, s.do, got, s.want)
		}
	}
	if a := first.do(`STORE 1 +FLAGS (\Recent)`); a.ok() {
		t.Error(`a client set \Recent: `, fmt.Sprint(a))
	}
}
