package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// names are mailbox names that must be refused or stay within the user's tree.
var names = []string{
	`..`, `../x`, `../../x`, `/x`, `/etc/x`, `~`, `~/x`, `~r/x`, `a//b`, `a/../../b`, `a/..`, `./x`, `.`, `a/./b`, `.x`, `a..b`, `..a`,
	`cur`, `new`, `tmp`, `x/cur`, `x/new`, `x/tmp`, `dbox-Mails`, `dovecot-uidlist`, `dovecot-uidlist.lock`, `dovecot-attributes`, `keys.db`,
	`mailcryptd.index.db`, `subscriptions`, `maildirfolder`, `INBOX/cur`, `*`, `%`, `a*b`,
	`&`, `&AAA`, `&AAA-`, `&AGE-`, `&2D0-`, `&-&`, `&AC8-`, `&AC4ALg-`, "a\tb", "a\x01b", "a\x7fb", `&AAo-`, `&AA0ACg-`,
	strings.Repeat("n", 256), strings.Repeat("n/", 3000) + "n", strings.Repeat("n.", 3000) + "n", strings.Repeat("&,,,,-", 60),
}

// afterLogin are probes of a user with an empty mailbox "Probe" selected that has one
// message.
var afterLogin = []probe{
	{"8 MB line", "a SEARCH " + strings.Repeat("A", 8<<20), `\* BYE`, ""},
	{"a million parentheses", "a SEARCH " + strings.Repeat("(", 1e6), `\* BYE|a BAD`, `a OK`},
	{"SEARCH in 20,000 parentheses", "a SEARCH " + strings.Repeat("(", 20_000) + "ALL" + strings.Repeat(")", 20_000), `a BAD.*zz OK`, ""},
	{"20,000 NOT", "a SEARCH " + strings.Repeat("NOT ", 20_000) + "ALL", `a BAD.*zz OK`, ""},
	{"20,000 OR", "a SEARCH " + strings.Repeat("OR ALL ", 20_000) + "ALL", `a BAD.*zz OK`, ""},
	{"20,000 flags in a SEARCH", "a SEARCH" + strings.Repeat(" UNSEEN UNDELETED", 10_000), `a NO \[LIMIT\].*zz OK`, ""},
	{"9,000 flags in a SEARCH", "a SEARCH" + strings.Repeat(" UNSEEN UNDELETED", 4500), `a OK.*zz OK`, ""},
	{"1,000 texts in a SEARCH", "a SEARCH" + strings.Repeat(" BODY x", 1000), `a (NO \[LIMIT\]|BAD).*zz OK`, ""},
	{"unknown charset", "a SEARCH CHARSET X-NONE TEXT x", `a NO \[BADCHARSET.*zz OK`, ""},
	{"text that is not in its charset", "a SEARCH CHARSET UTF-8 TEXT {2+}\r\n\xff\xfe", `a (OK|BAD|NO).*zz OK`, ""},
	{"set of 0", "a FETCH 0 FLAGS\r\nb UID FETCH 0 FLAGS\r\nc UID FETCH 0:* FLAGS", `a BAD.*b BAD.*c BAD.*zz OK`, ""},
	{"set without an end", "a UID FETCH 1: FLAGS\r\nb UID FETCH , FLAGS\r\nc UID FETCH 1,,2 FLAGS\r\nd UID FETCH 1,2, FLAGS", `a BAD.*b BAD.*c BAD.*d BAD.*zz OK`, ""},
	{"set above 2^32", "a UID FETCH 4294967296 FLAGS\r\nb UID FETCH 18446744073709551617 FLAGS", `a BAD.*b BAD.*zz OK`, ""},
	{"highest set", "a UID FETCH 4294967295 FLAGS\r\nb UID FETCH 4294967295:* FLAGS", `a OK.*FETCH.*b OK.*zz OK`, ""},
	{"set of 50,000", "a UID FETCH 1" + strings.Repeat(",1", 50_000) + " FLAGS", `FETCH.*a OK.*zz OK`, `FETCH.*FETCH.*a OK`},
	{"ranges without end", "a UID FETCH 1:*" + strings.Repeat(",1:4294967295", 20_000) + " FLAGS", `FETCH.*a OK.*zz OK`, `FETCH.*FETCH.*a OK`},
	{"SEARCH in a set of 50,000", "a UID SEARCH UID 1" + strings.Repeat(",3", 50_000), `SEARCH 1\r\n.*a OK.*zz OK`, ""},
	{"section of 2,000 levels", "a FETCH 1 BODY.PEEK[1" + strings.Repeat(".1", 2000) + "]", `a (OK|BAD).*zz OK`, ""},
	{"section of 100 levels", "a FETCH 1 BODY.PEEK[1" + strings.Repeat(".1", 100) + "]", `a OK.*zz OK`, ""},
	{"section 0", "a FETCH 1 BODY.PEEK[0]", `a BAD.*zz OK`, ""},
	{"section 4294967295", "a FETCH 1 BODY.PEEK[4294967295]", `a OK.*zz OK`, ""},
	{"section 4294967296", "a FETCH 1 BODY.PEEK[4294967296]", `a BAD.*zz OK`, ""},
	{"sections that are none", "a FETCH 1 BODY.PEEK[X]\r\nb FETCH 1 BODY.PEEK[MIME]\r\nc FETCH 1 BODY[\r\nd FETCH 1 BODY.PEEK[1.]\r\ne FETCH 1 BODY.PEEK[HEADER.FIELDS]", `a BAD.*b BAD.*c BAD.*d BAD.*e BAD.*zz OK`, ""},
	{"piece behind the end", "a FETCH 1 BODY.PEEK[]<4294967295.1>\r\nb FETCH 1 BODY.PEEK[]<9223372036854775807.9223372036854775807>", `(\{0\}|"").*a OK.*(\{0\}|"").*b OK.*zz OK`, ""},
	{"piece of nothing", "a FETCH 1 BODY.PEEK[]<0.0>\r\nb FETCH 1 BODY.PEEK[]<0>", `a (BAD|OK).*b BAD.*zz OK`, ""},
	{"piece of 2^64", "a FETCH 1 BODY.PEEK[]<18446744073709551616.1>", `a BAD.*zz OK`, ""},
	{"5,000 header names", "a FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject" + strings.Repeat(" x", 5000) + ")]", `Subject: .*a OK.*zz OK`, ""},
	{"line end in a header name", "a FETCH 1 BODY.PEEK[HEADER.FIELDS ({6+}\r\nX\r\nY\r\n)]", `a BAD.*zz OK`, ""},
	{"one body 5,000 times", "a FETCH 1 (BODY.PEEK[]" + strings.Repeat(" BODY.PEEK[]", 5000) + ")", `a OK.*zz OK`, `first.*first.*a OK`},
	{"5,000 pieces", "a FETCH 1 (" + strings.Join(pieces(5000), " ") + ")", `a BAD.*zz OK`, ""},
	{"keyword of 5,000 characters", "a STORE 1 +FLAGS (" + strings.Repeat("k", 5000) + ")", `a (NO \[LIMIT\]|BAD).*zz OK`, ""},
	{"keyword with specials", "a STORE 1 +FLAGS (a]b)\r\nb STORE 1 +FLAGS (a\"b)\r\nc STORE 1 +FLAGS (\\Nonsense)\r\nd STORE 1 +FLAGS (\\Recent)\r\ne STORE 1 +FLAGS ({3+}\r\na b)", `b BAD.*c (BAD|NO).*d (BAD|NO).*e BAD.*zz OK`, ""},
	{"2,000 keywords", "a STORE 1 +FLAGS (k" + strings.Join(numbered(2000), " k") + ")", `a NO \[LIMIT\].*zz OK`, ""},
	{"LIST of wildcards", `a LIST "" "` + strings.Repeat("*%", 60) + "x\"\r\nb LIST \"\" \"" + strings.Repeat("%*n", 300) + `"`, `a OK.*b OK.*zz OK`, ""},
	{"10,000 LIST patterns", `a LIST "" (x` + strings.Repeat(" *", 10_000) + ")", `a BAD.*zz OK`, ""},
	{"LIST outside", "a LIST \"../\" *\r\nb LIST \"/etc/\" *\r\nc LIST \"\" /etc/%\r\nd LIST ~ *\r\ne LIST \"\" ../%", `a OK.*b OK.*c OK.*d OK.*e OK.*zz OK`, `\* LIST`},
	{"IDLE and garbage", "a IDLE\r\nGARBAGE", `\+.*a BAD.*zz OK`, ""},
	{"IDLE and 8 MB", "a IDLE\r\n" + strings.Repeat("x", 8<<20), `\+.*\* BYE`, ""},
	{"IDLE and a literal", "a IDLE\r\nDONE {8+}\r\nb LOGOUT", `\+.*a BAD.*zz OK`, `b OK`},
	{"APPEND above the limit", "a APPEND Probe {4294967295}", `a NO \[TOOBIG\].*zz OK`, `\n\+`},
	{"APPEND of 2^63", "a APPEND Probe {9223372036854775808}", `a BAD.*zz OK`, `\n\+`},
	{"APPEND far above the limit, unasked", "a APPEND Probe {4294967295+}\r\nb LOGOUT", `a NO \[TOOBIG\].*\* BYE|\* BYE`, `b OK`},
	{"APPEND above the limit, unasked", fmt.Sprintf("a APPEND Probe {%d+}\r\nb LOGOUT\r\n%s", hostileLimit+11, strings.Repeat("x", hostileLimit+1)), `a NO \[TOOBIG\].*zz OK`, `b OK|BYE`},
	{"APPEND of nothing", "a APPEND Probe {0}\r\nb APPEND Probe {0+}\r\n", `a NO.*b NO.*zz OK`, `\n\+`},
	{"APPEND to nowhere", "a APPEND Nowhere {5}\r\nb APPEND Nowhere {5+}\r\nhello\r\nc APPEND ../Probe {5+}\r\nhello", `a NO \[TRYCREATE\].*b NO \[TRYCREATE\].*c NO.*zz OK`, `\n\+`},
	{"APPEND with more behind", "a APPEND Probe {5+}\r\nhello garbage", `a BAD.*zz OK`, `APPENDUID`},
	{"APPEND with a bad date", "a APPEND Probe \"99-Xxx-2020 00:00:00 +0000\" {5+}\r\nhello\r\nb APPEND Probe (\\Nonsense) {5+}\r\nhello", `a BAD.*b (BAD|NO).*zz OK`, ""},
	{"NUL in a message", "a APPEND Probe {5+}\r\nhe\x00lo", `a NO.*zz OK`, `APPENDUID`},
	{"COPY to nowhere", "a COPY 1 Nowhere\r\nb MOVE 1 Nowhere\r\nc COPY 1 ..\r\nd MOVE 1 ../x", `a NO \[TRYCREATE\].*b NO \[TRYCREATE\].*c NO.*d NO.*zz OK`, ""},
	{"STATUS of nonsense", "a STATUS Probe ()\r\nb STATUS Probe (X)\r\nc STATUS Probe MESSAGES\r\nd STATUS Nowhere (MESSAGES)\r\ne STATUS .. (MESSAGES)\r\nf STATUS Probe (MESSAGES" + strings.Repeat(" MESSAGES", 10_000) + ")", `a BAD.*b BAD.*c BAD.*d NO \[NONEXISTENT\].*e NO.*f OK.*zz OK`, ""},
	{"LOGIN again", "a LOGIN u pass\r\nb AUTHENTICATE PLAIN\r\nc STARTTLS", `a BAD.*b BAD.*c BAD.*zz OK`, ""},
	{"INBOX cannot go", "a DELETE INBOX\r\nb CREATE INBOX\r\nc RENAME Probe INBOX\r\nd DELETE inbox", `a NO.*b NO.*c NO.*d NO.*zz OK`, ""},
	{"ENABLE of everything", "a ENABLE" + strings.Repeat(" X", 20_000) + "\r\nb ENABLE", `ENABLED\r\n.*a OK.*b BAD.*zz OK`, ""},
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func pieces(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("BODY.PEEK[]<%d.1>", i))
	}
	return out
}

// TestHostileUser is what somebody with an account can send.
func TestHostileUser(t *testing.T) {
	t.Parallel()
	d := hostileDaemon(t)
	for _, user := range []string{"u", "f"} {
		c := login(t, d.imap, user, "pass")
		c.do("CREATE Probe")
		c.appendMail("Probe", "", mail("first", 2000))
		c.close()
	}
	d.witness(t)
	t.Run("mailbox names", func(t *testing.T) { hostileNames(t, d) })
	t.Run("probes", func(t *testing.T) {
		runProbes(t, afterLogin, func(t *testing.T) (net.Conn, *bufio.Reader) {
			c := login(t, d.imap, "u", "pass")
			c.do("SELECT Probe")
			return c.c, c.r
		})
		c := login(t, d.imap, "u", "pass")
		defer c.close()
		if a := c.do("SELECT Probe"); !strings.Contains(fmt.Sprint(a.untagged), "* 1 EXISTS") {
			t.Errorf("something was stored or lost: %v", a.untagged)
		}
	})
	t.Run("5,000 commands at once", func(t *testing.T) { pipeline(t, d) })
	t.Run("keywords", func(t *testing.T) { keywordLimit(t, d) })
	t.Run("message cut off", func(t *testing.T) { cutAppends(t, d) })
	t.Run("NUL in a binary literal", func(t *testing.T) { binaryAppend(t, d) })
	t.Run("folder taken away", func(t *testing.T) { folderTakenAway(t, d) })
	t.Run("slow clients", func(t *testing.T) { slowClients(t, d) })
	t.Run("races", func(t *testing.T) { flagRaces(t, d) })
	d.unharmed(t)
}

// hostileNames tries each name with every command that takes one. Only what LIST shows
// afterwards was made, and that is in the tree.
func hostileNames(t *testing.T, d *daemon) {
	for _, user := range []string{"u", "f"} {
		c := login(t, d.imap, user, "pass")
		defer c.close()
		made := 0
		for _, n := range names {
			lit := func(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }
			a := c.do("CREATE %s", lit(n))
			if a.ok() {
				made++
				if s := c.do("STATUS %s (MESSAGES)", lit(n)); !s.ok() {
					t.Errorf("%s: %q was made, but STATUS says %s", user, tail(n, 50), s.tagged)
				}
			} else if !strings.HasPrefix(a.tagged, "NO [CANNOT]") && !strings.HasPrefix(a.tagged, "NO [ALREADYEXISTS]") && !strings.HasPrefix(a.tagged, "NO [LIMIT]") {
				t.Errorf("%s: CREATE %q: %s", user, tail(n, 50), a.tagged)
			}
			for _, command := range []string{"SELECT %s", "SUBSCRIBE %s", "UNSUBSCRIBE %s", "RENAME Nowhere %s", "RENAME Probe/x %s", "LIST \"\" %s", "LSUB %s *"} {
				if _, err := c.try(command, lit(n)); err != nil {
					t.Fatalf("%s: "+command+": %v", user, tail(n, 50), err)
				}
			}
			if a.ok() {
				if a := c.do("DELETE %s", lit(n)); !a.ok() {
					t.Errorf("%s: %q was made and cannot be deleted: %s", user, tail(n, 50), a.tagged)
				}
			} else if a := c.do("DELETE %s", lit(n)); a.ok() {
				t.Errorf("%s: DELETE %q did something", user, tail(n, 50))
			}
		}
		list := c.do(`LIST "" *`)
		for _, l := range list.untagged {
			if !strings.HasSuffix(l.line, "INBOX") && !strings.HasSuffix(l.line, "Probe") {
				t.Errorf("%s: LIST shows %s", user, l.line)
			}
		}
		for _, dir := range []string{"cur", "new", "tmp"} {
			if _, err := os.Stat(filepath.Join(d.dir, user, "Maildir", dir)); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
		t.Logf("%s: %d of %d names are good", user, made, len(names))
	}
}

// pipeline sends thousands of commands without reading, and wants all answers in order.
func pipeline(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	defer c.close()
	c.do("EXAMINE INBOX")
	go func() {
		for i := range 5000 {
			fmt.Fprintf(c.c, "p%d %s\r\n", i, []string{"NOOP", "FETCH 1 (FLAGS BODY.PEEK[])", "UID SEARCH TEXT plain"}[i%3])
		}
	}()
	for i := range 5000 {
		for {
			u, err := c.readOne()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(u.line, fmt.Sprintf("p%d OK", i)) {
				break
			}
			if !strings.HasPrefix(u.line, "* ") {
				t.Fatalf("command %d is answered by %q", i, u.line)
			}
		}
	}
}

// keywordLimit gives a message more keywords than a Maildir has letters for.
func keywordLimit(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	defer c.close()
	c.do("CREATE Keywords")
	c.appendMail("Keywords", "", mail("first", 2000))
	c.do("SELECT Keywords")
	stored, refused := 0, 0
	for i := range 40 {
		switch a := c.do("STORE 1 +FLAGS.SILENT (keyword%d)", i); {
		case a.ok():
			stored++
		case strings.HasPrefix(a.tagged, "NO [LIMIT]"):
			refused++
		default:
			t.Errorf("keyword %d: %s", i, a.tagged)
		}
	}
	if stored < 26 {
		t.Errorf("only %d keywords were stored", stored)
	}
	if f := c.do("UID FETCH 1 FLAGS").fetches()[1].flags; len(f) < stored {
		t.Errorf("%d keywords were acknowledged, these are there: %v", stored, f)
	}
	c.close()
	c = login(t, d.imap, "u", "pass")
	c.do("EXAMINE Keywords")
	if f := c.do("UID FETCH 1 FLAGS").fetches()[1].flags; len(f) < stored {
		t.Errorf("in another session: %d keywords were acknowledged, these are there: %v", stored, f)
	}
	t.Logf("%d keywords stored, %d refused", stored, refused)
}

// cutAppends leaves in the middle of messages.
func cutAppends(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	c.do("CREATE Cut")
	c.close()
	var wg sync.WaitGroup
	for i := range 10 {
		c := login(t, d.imap, "u", "pass")
		wg.Go(func() {
			m := mail("cut", 400_000)
			sync := "+"
			if i%2 == 0 {
				sync = ""
			}
			fmt.Fprintf(c.c, "a APPEND Cut {%d%s}\r\n", len(m), sync)
			if sync == "" {
				c.r.ReadString('\n')
			}
			c.c.Write(m[:len(m)*i/10])
			if i%3 == 0 {
				c.c.(*net.TCPConn).SetLinger(0) // reset
			}
			c.c.Close()
		})
	}
	wg.Wait()
	d.noLeftovers(t)
	c = login(t, d.imap, "u", "pass")
	defer c.close()
	if a := c.do("SELECT Cut"); !strings.Contains(fmt.Sprint(a.untagged), "* 0 EXISTS") {
		t.Errorf("half a message was stored: %v", a.untagged)
	}
}

// binaryAppend stores NUL by a binary literal, and gets it back by BINARY.
func binaryAppend(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	defer c.close()
	c.do("CREATE Binary")
	body := "a\x00b\x00\x00c"
	m := "Subject: x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body
	if a := c.do("APPEND Binary ~{%d+}\r\n%s", len(m), m); !a.ok() {
		t.Fatal(a.tagged)
	}
	c.do("SELECT Binary")
	a := c.do("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1] BODY.PEEK[1])")
	if !a.ok() || len(a.untagged) != 1 || len(a.untagged[0].literals) != 2 {
		t.Fatalf("%v", a)
	}
	if got := a.untagged[0].literals[0]; string(got) != body {
		t.Errorf("BINARY gives %q", got)
	}
	if got := a.untagged[0].literals[1]; bytes.IndexByte(got, 0) >= 0 {
		t.Errorf("BODY gives a NUL in a plain literal: %q", got)
	}
}

// folderTakenAway deletes and renames the folder that another session has selected.
func folderTakenAway(t *testing.T, d *daemon) {
	other := login(t, d.imap, "u", "pass")
	defer other.close()
	for _, how := range []string{"DELETE %s", "RENAME %s Elsewhere", "replaced"} {
		for _, then := range []string{"NOOP", "FETCH 1 (FLAGS BODY[])", "STORE 1 +FLAGS (\\Deleted)", "SEARCH TEXT x", "EXPUNGE", "COPY 1 INBOX", "MOVE 1 Probe", "UID FETCH 1 RFC822.SIZE", "CLOSE", "IDLE\r\nDONE", "SELECT INBOX", "APPEND Gone {5+}\r\nhello"} {
			other.do("CREATE Gone")
			other.appendMail("Gone", "", mail("x", 1000))
			c := login(t, d.imap, "u", "pass")
			if a := c.do("SELECT Gone"); !a.ok() {
				t.Fatal(a.tagged)
			}
			if how == "replaced" {
				other.do("DELETE Gone")
				other.do("CREATE Gone")
			} else if a := other.do(how, "Gone"); !a.ok() {
				t.Fatal(a.tagged)
			}
			if a, err := c.try("%s", then); err == nil {
				if _, err := c.try("NOOP"); err == nil && !strings.HasPrefix(then, "SELECT") && then != "CLOSE" {
					a, err := c.try("FETCH 1 BODY.PEEK[]")
					if err == nil && a.ok() && how != "RENAME %s Elsewhere" {
						t.Errorf("%s, then %s: the session goes on: %v", how, then, a)
					}
				}
				_ = a
			}
			c.c.Close()
			other.do("DELETE Elsewhere")
			other.do("DELETE Gone")
		}
	}
}

// slowClients read nothing or write an octet at a time, and hold up nobody: the witness
// looks.
func slowClients(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	c.do("CREATE Slow")
	c.appendMail("Slow", "", mail("x", 3<<20))
	c.close()
	for range 20 {
		c := login(t, d.imap, "u", "pass")
		c.do("SELECT Slow")
		io.WriteString(c.c, strings.Repeat("a FETCH 1 BODY.PEEK[]\r\n", 50))
	}
	slow := login(t, d.imap, "u", "pass")
	m := mail("slow", 200)
	fmt.Fprintf(slow.c, "s APPEND Slow {%d+}\r\n", len(m))
	for i := range m {
		slow.c.Write(m[i : i+1])
	}
	io.WriteString(slow.c, "\r\n")
	for {
		line, err := slow.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "s ") {
			if !strings.HasPrefix(line, "s OK") {
				t.Error(line)
			}
			break
		}
	}
	// Expunging what others are reading is allowed.
	c = login(t, d.imap, "u", "pass")
	defer c.close()
	c.do("SELECT Slow")
	c.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
	if a := c.do("EXPUNGE"); !a.ok() {
		t.Error(a.tagged)
	}
}

// flagRaces has sessions copy, move, flag and expunge in the same two folders at once. In
// the end each message that is there can be read, under one UID.
func flagRaces(t *testing.T, d *daemon) {
	c := login(t, d.imap, "u", "pass")
	defer c.close()
	c.do("CREATE Race1")
	c.do("CREATE Race2")
	for i := range 20 {
		c.appendMail("Race1", "", mail(fmt.Sprint(i), 500))
	}
	var wg sync.WaitGroup
	for i := range 4 {
		s := login(t, d.imap, "u", "pass")
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			box := fmt.Sprint("Race", i%2+1)
			other := fmt.Sprint("Race", 2-i%2)
			s.do("SELECT %s", box)
			for range 40 {
				command := []string{"COPY 1:3 " + other, "MOVE 1:2 " + other, "STORE 1:* +FLAGS (\\Flagged k1)", "STORE 1:* -FLAGS (\\Flagged)",
					"STORE 1 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", "FETCH 1:* (FLAGS UID RFC822.SIZE)", "UID SEARCH FLAGGED", "NOOP"}[r.IntN(9)]
				a, err := s.try("%s", command)
				if err != nil {
					t.Errorf("%s: %v", command, err)
					return
				}
				if strings.Contains(a.tagged, "SERVERBUG") {
					t.Errorf("%s: %s", command, a.tagged)
				}
			}
			s.close()
		})
	}
	wg.Wait()
	for _, box := range []string{"Race1", "Race2"} {
		all := c.fetchAll(box)
		for uid, f := range all {
			if !f.haveBody || !bytes.HasPrefix(f.body, []byte("From: a@example.org")) || len(f.body) != f.size {
				t.Errorf("%s: UID %d is not whole: %d of %d", box, uid, len(f.body), f.size)
			}
		}
		t.Logf("%s: %d messages", box, len(all))
	}
}
