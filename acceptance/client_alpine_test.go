package acceptance

import (
	"fmt"
	"strings"
	"testing"
)

// testAlpine works in the full screen program as a person does.
func testAlpine(t *testing.T, b *box) {
	folders := fmt.Sprintf("{localhost:%d/ssl/user=u}", b.port)
	rc := b.file("rc", `personal-name=Al Pine
user-domain=example.org
inbox-path=%[1]sINBOX
folder-collections=Far %[1]s[]
system-certs-file=%[2]s
feature-list=disable-password-file-saving,enable-aggregate-command-set,enable-flag-cmd,expunge-without-confirm,expunge-without-confirm-everywhere,quit-without-confirm,enable-jump-shortcut
sort-key=Arrival
character-set=UTF-8
mail-check-interval=15
last-version-used=6.26
`, folders, b.cert)
	open := func(shown string, args ...string) *terminal {
		t.Helper()
		s := b.terminal(append([]string{"alpine", "-p", rc}, args...)...)
		if len(args) == 1 {
			s.wait("ENTER PASSWORD")
			s.text("secret\n")
		}
		s.wait(shown)
		return s
	}
	quit := func(s *terminal) {
		t.Helper()
		s.text("q")
		b.until("alpine to end", s.ended)
	}

	s := open("eight bits", "-i")
	s.wait("message 0", "message 1", "parts", "big", "Jürgen")
	at := func(n string) {
		t.Helper()
		s.text(n)
		s.wait("Message number to jump to")
		s.text("\n")
		s.wait("Message " + n + " of 5")
	}
	at("3")
	s.text(">")
	s.wait("MESSAGE TEXT", "Grüße, schöne Öfen, 日本")
	s.text("<")
	s.wait("MESSAGE INDEX")
	at("1")
	s.text("*")
	s.wait("[Important]")
	s.text("*")
	s.wait(`Flagged message 1 "Important"`)
	at("2")
	s.text("s")
	s.wait("SAVE Msg #2")
	s.text("Work\n")
	s.wait("D   2")
	at("4")
	s.text("s")
	s.wait("SAVE Msg #4")
	s.text(umlaut + "\n")
	s.wait("D   4")
	s.text(";")
	s.wait("SELECT criteria")
	s.text("t")
	s.wait("All msg text")
	s.text("sbig\n") // the server searches
	s.wait("Select matched 1 message")
	s.text("ad") // apply: delete
	s.wait("marked for deletion")
	s.text("x")
	s.wait("of 2 ")
	b.has("INBOX", "message 0", "eight bits")
	b.flags("INBOX", "message 0", `\Flagged`)
	b.flags("INBOX", "eight bits", `\Seen`)
	if got := b.has("Work", "message 1"); string(got["message 1"].body) != string(mail("message 1", 2000)) {
		t.Error("the message that was saved differs")
	}
	b.has(umlautUTF7, "parts")

	// Folders.
	s.text("<")
	s.wait("FOLDER LIST", "Work", umlaut)
	s.text("a")
	s.wait("Folder name to add")
	s.text("Neu\n")
	s.wait("Neu[.]")
	s.text("r")
	s.wait("Rename")
	s.keys("C-u")
	s.text("Neuer\n")
	s.wait("Neuer[.]")
	s.text("d")
	s.wait("DELETE")
	s.text("y")
	s.wait("deleted")

	// New mail, and the end of the connection.
	s.text("i")
	s.wait("MESSAGE INDEX")
	b.deliver(mail("delivered", 700))
	s.keys("C-l")
	s.wait("delivered")
	b.restart()
	s.keys("C-l")
	s.wait("CLOSED")
	quit(s)

	// Upload from a local mailbox.
	mbox := ""
	for _, message := range [][]byte{eightBitMail("small by alpine"), mail("large by alpine", 2<<20)} {
		mbox += "From a@example.org Mon Jul  6 10:00:00 2026\n" + lf(message) + "\n"
	}
	s = open("large by alpine", "-i", "-f", b.file("near", "%s", mbox))
	s.text(";")
	s.wait("SELECT criteria")
	s.text("a")
	s.wait("X")
	s.text("as")
	s.wait("SAVE 2 msgs")
	s.text("Work.Sub\n")
	s.wait("ENTER PASSWORD")
	s.text("secret\n")
	b.until("the upload", func() bool { return len(b.c.fetchAll("Work.Sub")) == 2 })
	quit(s)
	got := b.has("Work.Sub", "small by alpine", "large by alpine")
	for _, want := range [][]byte{eightBitMail("small by alpine"), mail("large by alpine", 2<<20)} {
		_, text, _ := strings.Cut(string(want), "\r\n\r\n")
		if !strings.HasSuffix(string(got[subjectOf(want)].body), "\r\n\r\n"+text) {
			t.Errorf("%s is not what was uploaded", subjectOf(want))
		}
	}
}
