package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/storage/storagetest"
)

// TestCanary delivers and appends messages with a unique word in every header and in the
// body, lets clients read and search them, and then finds none of the words in any file.
func TestCanary(t *testing.T) {
	for _, compression := range []string{"", "gz", "bz2", "lz4", "zstd"} {
		t.Run(cond(compression, "plain"), func(t *testing.T) {
			dir := scratch(t)
			tmp := filepath.Join(dir, "tmp")
			os.Mkdir(tmp, 0o700)
			own(t, tmp)
			t.Setenv("TMPDIR", tmp)
			d := setup{
				dir: dir, users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
				crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n",
				rest:  fmt.Sprintf("[zlib]\nsave = %q\n", compression),
			}.start(t)
			c := login(t, d.imap, "u", "pw")
			delivered, appended := storagetest.NewCanary(), storagetest.NewCanary()
			replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, delivered.Message())
			if err != nil || !strings.HasPrefix(replies[0], "250") {
				t.Fatal(replies, err)
			}
			if a := c.appendMail("INBOX", `(\Seen)`, appended.Message()); !a.ok() {
				t.Fatal(a.tagged)
			}
			c.do("CREATE Other")
			c.do("SELECT INBOX")
			for _, cmd := range []string{
				"FETCH 1:2 (ENVELOPE BODYSTRUCTURE BODY.PEEK[])",
				"SEARCH SUBJECT " + delivered.Words()[0], "SEARCH BODY " + appended.Words()[0],
				"COPY 1 Other", "MOVE 2 Other", "NOOP",
			} {
				if a := c.do("%s", cmd); !a.ok() {
					t.Errorf("%s: %s", strings.Fields(cmd)[0], a.tagged)
				}
			}
			if len(c.fetchAll("Other")) != 2 {
				t.Error("the copies are not there")
			}
			check := func() {
				t.Helper()
				for _, canary := range []*storagetest.Canary{delivered, appended} {
					if n := canary.Check(t, dir); n < 4 {
						t.Errorf("only %d files were looked at", n)
					}
					if word := canary.Find([]byte(d.log.String())); word != "" {
						t.Errorf("the log holds a word of a message: %s", word)
					}
				}
			}
			check()
			d.stop(t)
			check()
		})
	}
}
