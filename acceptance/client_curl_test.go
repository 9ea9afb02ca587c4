package acceptance

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testCurl(t *testing.T, b *box) {
	curl := func(path string, args ...string) string {
		t.Helper()
		return b.run(append([]string{"curl", "-sS", "--cacert", b.cert, "-u", "u:secret",
			fmt.Sprintf("imaps://localhost:%d/%s", b.port, path)}, args...)...)
	}
	list := curl("")
	for _, name := range []string{"INBOX", "Work", "Work.Sub", umlautUTF7} {
		if !strings.Contains(list, name) {
			t.Errorf("LIST misses %s: %s", name, list)
		}
	}
	for i, m := range boxMail {
		if out := curl(fmt.Sprintf("INBOX;MAILINDEX=%d", i+1)); out != string(m.message) {
			t.Errorf("%s came as %d bytes that differ", m.subject, len(out))
		}
	}
	if out := curl("INBOX;MAILINDEX=4;SECTION=1.2"); out != "<p>words of <b>HTML</b></p>" {
		t.Errorf("section 1.2: %q", out)
	}
	for _, subject := range []string{"small by curl", "large by curl"} {
		message := mail(subject, 4000)
		if strings.HasPrefix(subject, "large") {
			message = mail(subject, 3<<20)
		}
		file := filepath.Join(b.tmp, "new.eml")
		os.WriteFile(file, message, 0o600)
		curl(url.PathEscape(umlautUTF7), "-T", file)
		if sha(b.bySubject(umlautUTF7)[subject].body) != sha(message) {
			t.Errorf("%s is not what was sent", subject)
		}
	}
	curl("INBOX", "-X", `STORE 1 +FLAGS (\Deleted \Seen)`)
	curl("INBOX", "-X", `MOVE 2 Work`)
	curl("INBOX", "-X", `COPY 2 Work.Sub`)
	curl("INBOX", "-X", `EXPUNGE`)
	b.has("INBOX", "eight bits", "parts", "big")
	b.has("Work", "message 1")
	b.has("Work.Sub", "eight bits")
	if out := curl("INBOX?SUBJECT%20parts"); strings.TrimSpace(out) != "* SEARCH 2" {
		t.Errorf("SEARCH: %q", out)
	}
	b.restart()
	out := b.run("curl", "-sS", "--ssl-reqd", "--cacert", b.cert, "-u", "u:secret",
		fmt.Sprintf("imap://localhost:%d/INBOX;MAILINDEX=1", port(b.d.imap)))
	if out != string(eightBitMail("eight bits")) {
		t.Errorf("fetch over STARTTLS: %d bytes", len(out))
	}
}
