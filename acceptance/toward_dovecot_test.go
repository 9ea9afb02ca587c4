package acceptance

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mail makes a message of about size bytes, with text, base64 and dots at line starts.
func mail(subject string, size int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "From: a@example.org\r\nTo: b@example.org\r\nSubject: %s\r\nMIME-Version: 1.0\r\n\r\n.dot\r\n..two\r\n", subject)
	r := rand.New(rand.NewPCG(1, uint64(size)))
	line := make([]byte, 54)
	for b.Len() < size {
		for i := range line {
			line[i] = byte(r.Uint32())
		}
		b.WriteString(base64.StdEncoding.EncodeToString(line))
		b.WriteString("\r\nplain text, plain text, plain text again\r\n")
	}
	return []byte(b.String())
}

// opensslKey makes an EC private key in PEM with the real program, under a password where
// one is given.
func opensslKey(t testing.TB, password string) string {
	t.Helper()
	args := []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"}
	if password != "" {
		args = append(args, "-aes-256-cbc", "-pass", "pass:"+password)
	}
	out, err := exec.Command("openssl", args...).Output()
	if err != nil {
		t.Skip("openssl is not installed: ", err)
	}
	return string(out)
}

// TestDovecotReadsOurs delivers and appends with each compression, curve and sealing, and
// lets real Dovecot read the same Maildir and dictionary.
func TestDovecotReadsOurs(t *testing.T) {
	type sealing struct{ name, ours, dovecot string }
	seals := []sealing{
		{"open", "", ""},
		{"password", " mail_crypt_private_password=sesame", " userdb_mail_crypt_private_password=sesame"},
		{"login password", " mail_crypt_private_password=%{sha256:password}", " userdb_mail_crypt_private_password=%{sha256:password}"},
		{"key", "", ""},
		{"key under a password", "", ""},
	}
	n := 0
	for _, compression := range []string{"", "gz", "bz2", "lz4", "zstd"} {
		for _, curve := range []string{"prime256v1", "secp384r1", "secp521r1"} {
			s := seals[n%len(seals)]
			n++
			t.Run(fmt.Sprintf("%s/%s/%s", cond(compression, "plain"), curve, s.name), func(t *testing.T) {
				t.Parallel()
				password := ""
				if s.name == "key under a password" {
					password = "open-sesame"
				}
				if strings.HasPrefix(s.name, "key") {
					s.ours = " mail_crypt_private_key=" + base64.StdEncoding.EncodeToString([]byte(opensslKey(t, password)))
				}
				if password != "" {
					s.ours += " mail_crypt_private_key_password=" + password
				}
				if s.dovecot == "" {
					s.dovecot = strings.ReplaceAll(s.ours, " mail_crypt", " userdb_mail_crypt")
				}
				testDovecotReads(t, compression, curve, s.ours, s.dovecot)
			})
		}
	}
}

func cond(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func testDovecotReads(t *testing.T, compression, curve, ours, theirs string) {
	dir := scratch(t)
	d := setup{
		dir:   dir,
		users: "u:{PLAIN}pass::::::mail_crypt_save_version=2" + ours + "\n",
		top:   "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: fmt.Sprintf("curve = %q\nseal_rounds = 5000\n", curve),
		rest:  fmt.Sprintf("[zlib]\nsave = %q\n", compression),
	}.start(t)
	c := login(t, d.imap, "u", "pass")
	want := map[string][]string{} // mailbox: SHA-256 by UID
	for i, size := range []int{0, 3000, 100_000, 2_000_000} {
		m := mail(fmt.Sprint("m", i), size)
		if a := c.appendMail("INBOX", `(\Flagged $Label1)`, m); !a.ok() {
			t.Fatalf("APPEND: %s", a.tagged)
		}
		want["INBOX"] = append(want["INBOX"], sha(m))
	}
	replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, mail("by lmtp", 5000))
	if err != nil || !strings.HasPrefix(replies[0], "250") {
		t.Fatalf("LMTP: %v %v", replies, err)
	}
	c.do("CREATE %s", quote("Wörk")) // refused or encoded; see below
	if a := c.do("CREATE Work"); !a.ok() {
		t.Fatal(a.tagged)
	}
	c.do("SELECT INBOX")
	if a := c.do("COPY 2 Work"); !a.ok() {
		t.Fatalf("COPY: %s", a.tagged)
	}
	if a := c.do(`STORE 1 +FLAGS (\Seen \Answered)`); !a.ok() {
		t.Fatal(a.tagged)
	}
	wantWork := want["INBOX"][1]
	our := c.fetchAll("INBOX")
	d.stop(t)

	v := dovecotSetup{
		homes: dir, users: "u:{PLAIN}pass::::::" + strings.TrimSpace(theirs) + "\n",
		plugin: fmt.Sprintf("mail_crypt_save_version = 2\nmail_crypt_curve = %s\nzlib_save = %s\n", curve, compression),
	}
	if compression == "" {
		v.plugin = fmt.Sprintf("mail_crypt_save_version = 2\nmail_crypt_curve = %s\n", curve)
	}
	dove := v.start(t)
	dc := login(t, dove.imap, "u", "pass")
	theirsSeen := dc.fetchAll("INBOX")
	if len(theirsSeen) != 5 || len(our) != 5 {
		t.Fatalf("Dovecot sees %d messages, we see %d, want 5", len(theirsSeen), len(our))
	}
	for uid, f := range our {
		g := theirsSeen[uid]
		if sha(g.body) != sha(f.body) || g.size != f.size || g.date != f.date {
			t.Errorf("UID %d: Dovecot reads %d bytes, size %d, date %s; we read %d bytes, size %d, date %s", uid, len(g.body), g.size, g.date, len(f.body), f.size, f.date)
		}
		if !sameFlags(f.flags, g.flags) {
			t.Errorf("UID %d: flags %v for Dovecot, %v for us", uid, g.flags, f.flags)
		}
		if uid <= 4 && sha(g.body) != want["INBOX"][uid-1] {
			t.Errorf("UID %d: Dovecot does not read what was appended", uid)
		}
	}
	work := dc.fetchAll("Work")
	if len(work) != 1 || sha(work[1].body) != wantWork {
		t.Errorf("Dovecot does not read the copy in Work: %d messages", len(work))
	}
	checkKeysListed(t, dove, filepath.Join(dir, "u", "Maildir", "dovecot-attributes"))
	// Dovecot goes on where we stopped: its mail is ours to read.
	if a := dc.appendMail("INBOX", "", mail("from dovecot", 9000)); !a.ok() {
		t.Fatalf("Dovecot's APPEND: %s", a.tagged)
	}
	if bad := dove.troubles(); len(bad) > 0 {
		t.Errorf("Dovecot complains:\n%s", strings.Join(bad, "\n"))
	}
	d.start(t)
	c = login(t, d.imap, "u", "pass")
	if got := c.fetchAll("INBOX"); len(got) != 6 || sha(got[6].body) != sha(mail("from dovecot", 9000)) {
		t.Errorf("we do not read what Dovecot appended: %d messages", len(got))
	}
}

func sameFlags(a, b []string) bool {
	norm := func(f []string) []string {
		f = slices.DeleteFunc(slices.Clone(f), func(s string) bool { return s == `\Recent` })
		slices.Sort(f)
		return f
	}
	return slices.Equal(norm(a), norm(b))
}

// checkKeysListed compares `doveadm mailbox cryptokey list` with the dictionary.
func checkKeysListed(t *testing.T, dove *dovecot, dict string) {
	t.Helper()
	b, err := os.ReadFile(dict)
	if err != nil {
		t.Fatal(err)
	}
	user := dove.adm(t, "mailbox", "cryptokey", "list", "-u", "u", "-U")
	folders := dove.adm(t, "mailbox", "cryptokey", "list", "-u", "u", "*")
	for _, line := range strings.Split(string(b), "\n") {
		_, id, ok := strings.Cut(line, "privkeys/")
		if !ok {
			continue
		}
		if !strings.Contains(user, id) && !strings.Contains(folders, id) {
			t.Errorf("doveadm does not list key %s", id)
		}
	}
	if !strings.Contains(user, "yes") || !strings.Contains(folders, "INBOX") {
		t.Errorf("doveadm lists no active key:\n%s\n%s", user, folders)
	}
}
