package acceptance

import (
	"fmt"
	"strings"
	"testing"
)

// testNeomutt works in the full screen program as a person does: without the extensions
// for catching up, and with them and a cache of headers.
func testNeomutt(t *testing.T, b *box) {
	t.Run("plain", func(t *testing.T) {
		b.t = t
		useNeomutt(b, "set imap_condstore = no\nset imap_qresync = no\nset imap_idle = no\nset mail_check = 1\n")
	})
	t.Run("QRESYNC and IDLE", func(t *testing.T) {
		b := newBox(t)
		useNeomutt(b, fmt.Sprintf("set imap_condstore = yes\nset imap_qresync = yes\nset imap_idle = yes\nset mail_check = 1\nset header_cache = %s/headers\nset message_cachedir = %[1]s/bodies\n", b.tmp))
	})
}

func useNeomutt(b *box, extensions string) {
	t := b.t
	rc := b.file("rc", `set ssl_ca_certificates_file = %s
set certificate_file = %[1]s
set folder = imaps://localhost:%d/
set imap_user = u
set imap_pass = secret
set spoolfile = "+INBOX"
set quit = yes
set confirmappend = no
set confirmcreate = no
set delete = yes
set record = ""
set wait_key = no
set sleep_time = 0
set sort = mailbox-order
set timeout = 1
set pipe_decode = no
set mark_old = no
set mail_check_recent = no
%s`, b.cert, b.port, extensions)
	open := func(mailbox, shown string) *terminal {
		t.Helper()
		if !strings.HasPrefix(mailbox, "/") {
			mailbox = fmt.Sprintf("imaps://localhost:%d/%s", b.port, mailbox)
		}
		s := b.terminal("neomutt", "-n", "-d", "5", "-l", b.tmp+"/log", "-F", rc, "-f", mailbox)
		s.wait(shown)
		return s
	}
	quit := func(s *terminal) {
		t.Helper()
		s.keys("q")
		b.until("neomutt to end", s.ended)
	}

	s := open("INBOX", "message 0")
	s.wait("message 1", "eight bits", "parts", "big")
	s.text("1\n") // the first message
	s.text("F")   // flags it
	s.text("2\nC=Work\n")
	b.until("the copy", func() bool { return len(b.c.fetchAll("Work")) == 1 })
	s.text("3\n|cat >piped\n")
	b.until("neomutt to pipe the message", func() bool {
		return b.exists("piped") && b.read("piped") == lf(eightBitMail("eight bits"))
	})
	s.text("3\n\n")
	s.wait("schöne Öfen, 日本") // shown
	s.text("i")
	s.text("l=b Öfen\n") // the server searches
	s.wait("Msgs:1/5", "eight bits")
	s.text("lall\n")
	s.wait("message 0")
	s.text("4\ns=") // moves it; a space means itself only after ^V
	for i, word := range strings.Split(umlaut, " ") {
		if i > 0 {
			s.keys("C-v")
			s.text(" ")
		}
		s.text(word)
	}
	s.text("\n")
	s.text("2\nd")
	s.text("$")
	s.wait("Msgs:3")
	quit(s)
	b.has("INBOX", "message 0", "eight bits", "big")
	b.flags("INBOX", "message 0", `\Flagged`)
	b.has("Work", "message 1")
	if got := b.has(umlautUTF7, "parts"); string(got["parts"].body) != string(partsMail("parts")) {
		t.Error("the message that was moved differs")
	}

	// Others change the mailbox; neomutt catches up, from where its cache ends if it has one.
	quit(open("INBOX", "Msgs:3"))
	b.restart()
	b.c.do("SELECT INBOX")
	b.c.do("STORE 1 FLAGS (\\Seen \\Answered)")
	b.c.do("STORE 2 +FLAGS (\\Deleted)")
	b.c.do("EXPUNGE")
	b.deliver(mail("delivered", 700))
	s = open("INBOX", "delivered")
	if screen := s.screen(); strings.Contains(screen, "eight bits") || !strings.Contains(screen, "Msgs:3") {
		t.Errorf("neomutt did not catch up:\n%s", screen)
	}
	if strings.Contains(extensions, "header_cache") {
		// This neomutt counts the numbers behind a gap wrongly, says "QRESYNC failed" and looks
		// again by itself; with Dovecot it does the same, answer for answer.
		log := b.read("log0")
		if !strings.Contains(log, " VANISHED)\r\n") || !strings.Contains(log, "* VANISHED (EARLIER) 3\n") {
			t.Error("neomutt did not try to catch up by QRESYNC")
		}
	}
	// And what comes while it shows the mailbox.
	b.deliver(mail("while it looks on", 700))
	s.wait("while it looks on")
	b.c.do("SELECT INBOX")
	b.c.do("UID MOVE 5 Work.Sub")
	s.wait("Msgs:3")
	quit(s)

	// Upload from a local Maildir, small and large.
	for n, message := range [][]byte{eightBitMail("small by neomutt"), mail("large by neomutt", 2<<20)} {
		b.file(fmt.Sprintf("near/cur/170000000%d.1_1.x:2,S", n), "%s", lf(message))
	}
	b.file("near/new/.keep", "")
	b.file("near/tmp/.keep", "")
	s = open(b.tmp+"/near", "large by neomutt")
	s.text("T.\n;C=Work.Sub\n")
	b.until("the upload", func() bool { return len(b.c.fetchAll("Work.Sub")) == 3 })
	quit(s)
	got := b.has("Work.Sub", "big", "small by neomutt", "large by neomutt")
	for _, want := range [][]byte{eightBitMail("small by neomutt"), mail("large by neomutt", 2<<20)} {
		// It adds lines to the header, and none to the body.
		_, text, _ := strings.Cut(string(want), "\r\n\r\n")
		if !strings.HasSuffix(string(got[subjectOf(want)].body), "\r\n\r\n"+text) {
			t.Errorf("%s is not what was uploaded", subjectOf(want))
		}
	}
}
