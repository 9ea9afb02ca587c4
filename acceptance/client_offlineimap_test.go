package acceptance

import (
	"os"
	"strings"
	"testing"
)

func testOfflineimap(t *testing.T, b *box) {
	rc := b.file("rc", `[general]
accounts = a
metadata = %[1]s/meta
ui = quiet
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %[1]s/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %[2]d
remoteuser = u
remotepass = secret
ssl = yes
sslcacertfile = %[3]s
auth_mechanisms = PLAIN
`, b.tmp, b.port, b.cert)
	sync := func() { t.Helper(); b.run("offlineimap", "-c", rc, "-o") }
	sync()
	near := b.maildir("mail/INBOX")
	for _, m := range boxMail {
		if near[m.subject].text != lf(m.message) {
			t.Errorf("%s did not arrive as it is", m.subject)
		}
	}
	if _, err := os.Stat(b.tmp + "/mail/" + umlautUTF7 + "/cur"); err != nil {
		t.Error(err)
	}

	small, large := mail("small by offlineimap", 3000), mail("large by offlineimap", 2<<20)
	b.file("mail/INBOX/new/1700000000.1_1.x", "%s", lf(small))
	b.file("mail/"+umlautUTF7+"/cur/1700000000.2_1.x:2,S", "%s", lf(large))
	b.file("mail/Neu/cur/1700000000.3_1.x:2,S", "%s", lf(eightBitMail("eight by offlineimap")))
	for _, sub := range []string{"new", "tmp"} {
		b.file("mail/Neu/"+sub+"/.keep", "")
	}
	os.Remove(near["message 0"].path)
	os.Rename(near["message 1"].path, near["message 1"].named("cur", "FS"))
	b.restart()
	b.c.do("SELECT INBOX")
	b.c.do(`STORE 3 +FLAGS (\Answered)`)
	b.c.do(`UID MOVE 5 Work`)
	b.deliver(eightBitMail("delivered"))
	sync()
	b.has("INBOX", "message 1", "eight bits", "parts", "small by offlineimap", "delivered")
	b.flags("INBOX", "message 1", `\Flagged`, `\Seen`)
	for mailbox, want := range map[string][]byte{"INBOX": small, umlautUTF7: large, "Neu": eightBitMail("eight by offlineimap")} {
		got := b.bySubject(mailbox)[subjectOf(want)]
		if withoutLine(string(got.body), "X-OfflineIMAP: ") != string(want) {
			t.Errorf("what offlineimap uploaded to %s is not what is there", mailbox)
		}
	}
	near = b.maildir("mail/INBOX")
	if len(near) != 5 || !strings.Contains(near["eight bits"].flags, "R") || !strings.HasSuffix(near["delivered"].text, lf(eightBitMail("delivered"))) {
		t.Errorf("offlineimap has %d messages; the flags of one are %q", len(near), near["eight bits"].flags)
	}
	if b.maildir("mail/Work")["big"].text != lf(mail("big", 2<<20)) {
		t.Error("the large message was not moved as it is")
	}
	sync()
	b.has("INBOX", "message 1", "eight bits", "parts", "small by offlineimap", "delivered")
}
