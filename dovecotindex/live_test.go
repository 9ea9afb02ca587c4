package dovecotindex

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
)

// small makes Dovecot write snapshots and rotate logs after a few changes.
const small = `mail_index_rewrite_min_log_bytes = 1k
mail_index_rewrite_max_log_bytes = 4k
mail_index_log_rotate_min_size = 2k
mail_index_log_rotate_max_size = 6k
mail_index_log_rotate_min_age = 1s
`

// liveIndex is where a mailbox of a live store has its index.
func liveIndex(d *dovetest.Dovecot, driver, name string) string {
	return indexPath(d.Home, driver, vectorMailbox{Name: name, IMAPName: name})
}

// A player changes a store at random, as clients do.
type player struct {
	d   *dovetest.Dovecot
	s   *dovetest.Session
	rnd *rand.Rand
	n   int
}

func newPlayer(t *testing.T, d *dovetest.Dovecot, s *dovetest.Session) *player {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &player{d: d, s: s, rnd: rand.New(rand.NewPCG(seed, 1))}
}

func (p *player) step(boxes []string) {
	from, to := boxes[p.rnd.IntN(len(boxes))], boxes[p.rnd.IntN(len(boxes))]
	kw := fmt.Sprintf("kw%d", p.rnd.IntN(20))
	flag := []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`, `\Deleted`, kw, kw, "$Forwarded"}[p.rnd.IntN(8)]
	uid := 1 + p.rnd.IntN(p.n+5)
	last := uid + p.rnd.IntN(8)
	p.s.OK("SELECT %s", from)
	switch p.rnd.IntN(12) {
	case 0, 1, 2, 3:
		for range 1 + p.rnd.IntN(5) {
			p.n++
			p.s.Append(from, flag, fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", p.n, p.n))
		}
	case 4, 5:
		p.s.OK("UID STORE %d:%d +FLAGS (%s)", uid, last, flag)
	case 6:
		p.s.OK("UID STORE %d:%d -FLAGS (%s)", uid, last, flag)
	case 7:
		p.s.OK("UID STORE %d:%d FLAGS (%s $New)", uid, last, flag)
	case 8:
		p.s.OK("UID COPY %d:%d %s", uid, last, to)
	case 9:
		p.s.OK("UID MOVE %d:%d %s", uid, last, to)
	case 10:
		p.s.OK("EXPUNGE")
	case 11:
		p.s.OK("UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE)")
	}
}

func TestLiveMdbox(t *testing.T)   { testLive(t, "mdbox") }
func TestLiveSdbox(t *testing.T)   { testLive(t, "sdbox") }
func TestLiveMaildir(t *testing.T) { testLive(t, "maildir") }

// testLive lets Dovecot change a store at random, with rotations of logs and rewritten
// snapshots. At every pause we read what it says.
func testLive(t *testing.T, driver string) {
	location := map[string]string{"mdbox": "mdbox:~/mdbox", "sdbox": "sdbox:~/sdbox", "maildir": "maildir:~/Maildir"}[driver]
	dovetest.Run(t, location, small, func(t *testing.T, d *dovetest.Dovecot) {
		rounds := 6
		if testing.Short() {
			rounds = 4
		}
		if s := os.Getenv("MAILCRYPT_ROUNDS"); s != "" {
			rounds, _ = strconv.Atoi(s)
		}
		s := d.IMAP()
		boxes := []string{"INBOX", "Work", "Work/Sub"}
		for _, b := range boxes[1:] {
			s.OK("CREATE %s", b)
		}
		p := newPlayer(t, d, s)
		rotated := false
		for r := 0; r < rounds || !rotated && r < 40; r++ {
			for range 15 {
				p.step(boxes)
			}
			switch {
			case r == rounds/2:
				s.OK("ENABLE QRESYNC") // modseqs of messages begin
			case r == rounds-2:
				s.OK("UNSELECT")
				s.OK("RENAME Work/Sub Work/New")
				boxes[2] = "Work/New"
			case driver == "mdbox" && r%3 == 2:
				s.OK("UNSELECT")
				d.Doveadm("", "purge")
			}
			compare(t, d, driver, boxes...)
			for _, b := range boxes {
				if _, err := os.Stat(liveIndex(d, driver, b) + ".log.2"); err == nil {
					rotated = true
				}
			}
		}
		if !rotated {
			t.Error("no log was rotated")
		}
		for _, b := range boxes {
			compareDump(t, d, liveIndex(d, driver, b))
		}
		compareList(t, d, driver)
		bad := slices.DeleteFunc(dovetest.Troubles(s.Close()), func(line string) bool {
			return strings.Contains(line, "dovecot-uidlist: Duplicate file entry") // of mail moved there and back
		})
		if len(bad) > 0 {
			t.Errorf("Dovecot complains: %q", bad)
		}
	})
}

// Dovecot opens copies of the recorded stores, and says what we read.
func TestVectorsLive(t *testing.T) {
	dovetest.Run(t, "maildir:~/unused", "", func(t *testing.T, d *dovetest.Dovecot) {
		n := 0
		maildirs := 0
		eachVector(t, func(t *testing.T, c vectorCase, dir string) {
			if c.Driver == "maildir" {
				if maildirs++; testing.Short() && maildirs > 3 {
					return
				}
			}
			for _, u := range c.Users {
				root := map[string]string{"mdbox": "mdbox", "sdbox": "sdbox", "maildir": "Maildir"}[c.Driver]
				if err := os.Rename(filepath.Join(dir, u.Home, root), filepath.Join(d.Home, root)); err != nil {
					t.Fatal(err)
				}
				live := d.At(t, "mail_location="+c.Driver+":~/"+root, "namespace/inbox/separator="+c.Separator)
				var names []string
				for _, b := range u.Mailboxes {
					if _, err := os.Stat(filepath.Dir(liveIndex(d, c.Driver, b.Name))); err == nil { // else stored otherwise than shown
						names = append(names, b.Name)
					}
				}
				compare(t, live, c.Driver, names...)
				n += len(names)
				os.RemoveAll(filepath.Join(d.Home, root))
			}
		})
		if n < 10 {
			t.Errorf("only %d mailboxes were compared", n)
		}
	})
}
