package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testFetchmail retrieves by a script that takes the mail, once and then idling.
func testFetchmail(t *testing.T, b *box) {
	os.Mkdir(filepath.Join(b.tmp, "near"), 0o700)
	mda := b.file("mda", "#!/bin/sh\nf=$(mktemp %[1]s/near/XXXXXX) && cat >$f && mv $f $f.eml\n", b.tmp)
	os.Chmod(mda, 0o700)
	// What arrived, by subject; fetchmail ends lines as Unix does.
	arrived := func() map[string]string {
		m := map[string]string{}
		files, _ := filepath.Glob(b.tmp + "/near/*.eml")
		for _, f := range files {
			text, _ := os.ReadFile(f)
			m[subjectOf([]byte(strings.ReplaceAll(string(text), "\n", "\r\n")))] = string(text)
		}
		return m
	}
	config := func(name, folder, options string) []string {
		return []string{"fetchmail", "-f", b.file(name, `set no syslog
poll localhost service %d protocol imap auth password
  user "u" password "secret" is "root" here
  folder %s
  ssl sslcertck sslcertfile %s
  mda %q
  no rewrite no mimedecode no forcecr %s
`, b.port, folder, b.cert, mda, options), "--pidfile", filepath.Join(b.tmp, "pid"), "--invisible", "-v"}
	}
	run := func(args []string) {
		t.Helper()
		if out, err := b.command(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("fetchmail: %v\n%s", err, tail(string(out), 4000))
		}
	}
	if a := b.c.appendMail(umlautUTF7, "", mail("elsewhere", 900)); !a.ok() {
		t.Fatal(a.tagged)
	}
	keep := config("keep", fmt.Sprintf(`"INBOX", %q`, umlautUTF7), "keep")
	run(keep)
	for _, m := range boxMail {
		if got := arrived()[m.subject]; got != lf(m.message) {
			t.Errorf("%s did not arrive as it is: %d bytes, %d sent", m.subject, len(got), len(m.message))
		}
	}
	if got := arrived()["elsewhere"]; got != lf(mail("elsewhere", 900)) {
		t.Errorf("the message of the folder did not arrive: %d bytes", len(got))
	}
	b.flags("INBOX", "big", `\Seen`)
	b.restart()
	b.deliver(mail("delivered", 700))
	run(keep)
	if arrived()["delivered"] == "" {
		t.Error("the new message did not arrive")
	}
	run(config("all", `"INBOX"`, "fetchall no keep"))
	b.has("INBOX")

	b.background(append(config("idle", `"INBOX"`, "no keep idle"), "--nodetach", "--daemon", "60")...)
	for _, subject := range []string{"idle 1", "idle 2", "idle 3"} {
		b.deliver(mail(subject, 600))
		b.until("fetchmail to fetch "+subject, func() bool { return arrived()[subject] != "" })
	}
	b.until("fetchmail to expunge what it fetched", func() bool { return len(b.bySubject("INBOX")) == 0 })
}
