package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testMbsync synchronises both ways, first with what the server offers and mbsync knows,
// then with each extension of mbsync's left out.
func testMbsync(t *testing.T, b *box) {
	for _, disabled := range []string{"", "LITERAL+ UIDPLUS MOVE NAMESPACE SASL-IR COMPRESS=DEFLATE", "UIDPLUS"} {
		t.Run("without "+cond(disabled, "nothing"), func(t *testing.T) {
			b := b
			if disabled != "" {
				b = newBox(t)
			}
			b.t = t
			syncWithMbsync(b, disabled)
		})
	}
}

func syncWithMbsync(b *box, disabled string) {
	t := b.t
	line := ""
	for _, name := range strings.Fields(disabled) {
		line += "DisableExtension " + name + "\n"
	}
	rc := b.file("rc", `IMAPAccount a
Host localhost
Port %d
User u
Pass secret
SSLType IMAPS
CertificateFile %s
%s
IMAPStore far
Account a

MaildirStore near
Path %[4]s/mail/
Inbox %[4]s/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
`, b.port, b.cert, line, b.tmp)
	b.file("mail/.keep", "")
	sync := func() { t.Helper(); b.run("mbsync", "-q", "-c", rc, "c") }
	sync()
	near := b.maildir("mail/INBOX")
	for _, m := range boxMail {
		if withoutLine(near[m.subject].text, "X-TUID: ") != lf(m.message) {
			t.Errorf("%s did not arrive as it is", m.subject)
		}
	}
	if _, err := os.Stat(filepath.Join(b.tmp, "mail", umlautUTF7, "cur")); err != nil {
		t.Error(err)
	}

	// New messages, a flag, a move, a removal and a folder on the client's side, while the
	// server is down for a moment; flags and a message on the other.
	small, large := mail("small by mbsync", 3000), mail("large by mbsync", 2<<20)
	b.file("mail/INBOX/new/1700000000.1_1.x", "%s", lf(small))
	b.file("mail/"+umlautUTF7+"/cur/1700000000.2_1.x:2,S", "%s", lf(large))
	os.Rename(near["message 0"].path, near["message 0"].named("cur", "FS"))
	b.file("mail/Work/cur/1700000001.1_1.x:2,S", "%s", near["message 1"].text)
	os.Remove(near["message 1"].path)
	for _, sub := range []string{"cur", "new", "tmp"} {
		b.file("mail/Neu/"+sub+"/.keep", "")
	}
	b.restart()
	b.c.do("SELECT INBOX")
	b.c.do(`STORE 3 +FLAGS (\Answered)`)
	b.c.do(`STORE 5 +FLAGS (\Deleted)`)
	b.c.do("EXPUNGE")
	b.deliver(eightBitMail("delivered"))
	sync()
	got := b.has("INBOX", "message 0", "eight bits", "parts", "small by mbsync", "delivered")
	if withoutLine(string(got["small by mbsync"].body), "X-TUID: ") != string(small) {
		t.Error("what mbsync uploaded is not what is there")
	}
	b.flags("INBOX", "message 0", `\Flagged`, `\Seen`)
	b.has("Work", "message 1")
	if got := b.has(umlautUTF7, "large by mbsync"); withoutLine(string(got["large by mbsync"].body), "X-TUID: ") != string(large) {
		t.Error("the large message is not what mbsync uploaded")
	}
	b.has("Neu")
	near = b.maildir("mail/INBOX")
	if len(near) != 5 || !strings.Contains(near["eight bits"].flags, "R") || !strings.HasSuffix(withoutLine(near["delivered"].text, "X-TUID: "), lf(eightBitMail("delivered"))) {
		t.Errorf("mbsync has %d messages; the flags of one are %q", len(near), near["eight bits"].flags)
	}

	// A synchronisation without a change changes nothing.
	before := b.c.fetchAll("INBOX")
	sync()
	for uid, f := range b.c.fetchAll("INBOX") {
		if g, ok := before[uid]; !ok || !sameFlags(f.flags, g.flags) {
			t.Errorf("UID %d: %q, before: %q", uid, f.flags, g.flags)
		}
	}
	os.Remove(b.maildir("mail/INBOX")["parts"].path)
	sync()
	b.has("INBOX", "message 0", "eight bits", "small by mbsync", "delivered")
}
