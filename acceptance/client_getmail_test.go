package acceptance

import (
	"fmt"
	"slices"
	"testing"
)

// testGetmail retrieves everything into a Maildir, again only what is new, and deletes.
func testGetmail(t *testing.T, b *box) {
	for _, sub := range []string{"cur", "new", "tmp"} {
		b.file("near/"+sub+"/.keep", "")
	}
	config := func(name, options string) []string {
		return []string{"getmail", "--getmaildir", b.tmp, "--rcfile", b.file(name, `[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = %d
username = u
password = secret
mailboxes = ("INBOX", "Work", "%s")
ca_certs = %s
[destination]
type = Maildir
path = %s/near/
[options]
verbose = 1
delivered_to = false
received = false
%s
`, b.port, umlaut, b.cert, b.tmp, options)}
	}
	read, remove := config("read", "read_all = false"), config("remove", "read_all = true\ndelete = true")
	if a := b.c.appendMail(umlautUTF7, "", mail("elsewhere", 900)); !a.ok() {
		t.Fatal(a.tagged)
	}
	b.unprivileged() // it delivers to no Maildir as root
	b.run(read...)
	near := b.maildir("near")
	for _, m := range append(slices.Clone(boxMail), boxMessage{"elsewhere", mail("elsewhere", 900)}) {
		// It adds two lines to the header.
		got := withoutLine(withoutLine(near[m.subject].text, "Return-Path: <unknown>"), "X-getmail-retrieved-from-mailbox: ")
		if got != lf(m.message) {
			t.Errorf("%s did not arrive as it is: %d bytes", m.subject, len(got))
		}
	}
	b.restart()
	b.deliver(mail("delivered", 700))
	b.run(read...)
	if n := len(b.maildir("near")); n != 7 {
		t.Errorf("after one more message getmail has %d, want 7", n)
	}
	b.has("INBOX", "message 0", "message 1", "eight bits", "parts", "big", "delivered")
	b.run(remove...)
	b.has("INBOX")
	b.has(umlautUTF7)

	// It looks again after five minutes; only IDLE can tell it in time.
	idle := config("idle", "read_all = false")
	b.unprivileged()
	b.background(append(idle, "--idle", "INBOX")...)
	for n := range 2 {
		had := len(b.maildir("near"))
		b.told(fmt.Sprintf("getmail to fetch news, turn %d", n), func() bool { return len(b.maildir("near")) > had })
	}
}
