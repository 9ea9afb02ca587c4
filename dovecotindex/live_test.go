package dovecotindex

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
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

// compare checks that our reading of a mailbox is what Dovecot says of it.
func compare(t *testing.T, d *dovetest.Dovecot, driver, name string) *Mailbox {
	t.Helper()
	x, err := Read(t.Context(), liveIndex(d, driver, name))
	if err != nil || x.Damage != nil {
		t.Fatalf("%s: %v %v", name, err, x)
	}
	m := kind(t, x, driver)
	status := strings.Split(d.Doveadm("", "mailbox", "status", "uidvalidity uidnext messages highestmodseq guid", name)[1], "\t")
	want := []string{name, fmt.Sprint(m.UIDValidity), fmt.Sprint(m.NextUID), fmt.Sprint(len(m.Messages)), fmt.Sprint(m.HighestModSeq), m.GUID.String()}
	columns := []int{1, 2, 3, 4, 5}
	if driver == "maildir" {
		columns = []int{2, 3, 4} // GUID and UIDVALIDITY are in the uidlist
	}
	byName := map[string]int{}
	for i, h := range []string{"mailbox", "messages", "uidnext", "uidvalidity", "highestmodseq", "guid"} {
		byName[h] = i
	}
	order := []string{"mailbox", "uidvalidity", "uidnext", "messages", "highestmodseq", "guid"}
	for _, c := range columns {
		got := status[byName[order[c]]]
		if got != want[c] {
			t.Errorf("%s: %s is %s, we read %s", name, order[c], got, want[c])
		}
	}
	fields := "uid flags modseq"
	if driver == "mdbox" { // sdbox has GUIDs in the files alone
		fields += " guid date.saved.unixtime refcount"
	}
	var maps *Map
	if driver == "mdbox" {
		maps = liveMap(t, d)
	}
	rows := d.Fetch(fields, "mailbox", name)
	if len(rows) == 1 && rows[0] == "" {
		rows = nil
	}
	if len(rows) != len(m.Messages) {
		t.Fatalf("%s: Dovecot has %d messages, we read %d", name, len(rows), len(m.Messages))
	}
	for i, row := range rows {
		if got := liveRow(m.Messages[i], driver, maps); got != normalRow(row) {
			t.Errorf("%s: we read %q, Dovecot says %q", name, got, normalRow(row))
		}
	}
	return m
}

// normalRow sorts the flags of a row, without \Recent, which doveadm counts for itself.
func normalRow(row string) string {
	col := strings.Split(row, "\t")
	if len(col) < 3 {
		return row
	}
	f := mailbox.ParseFlags(strings.Fields(col[1]))
	f.System &^= mailbox.Recent
	col[1] = strings.Join(f.Names(), " ")
	return strings.Join(col, "\t")
}

func liveRow(g Message, driver string, maps *Map) string {
	g.Flags.System &^= mailbox.Recent
	row := fmt.Sprintf("%d\t%s\t%d", g.UID, strings.Join(g.Flags.Names(), " "), g.ModSeq)
	if driver == "mdbox" {
		r, _ := maps.Find(g.MapUID)
		row += fmt.Sprintf("\t%v\t%d\t%d", g.GUID, g.Saved.Unix(), r.Refs)
	}
	return row
}

// liveMap reads mdbox's map, and looks for the messages where it says they are.
func liveMap(t *testing.T, d *dovetest.Dovecot) *Map {
	t.Helper()
	storage := filepath.Join(d.Home, "mdbox", "storage")
	x, err := Read(t.Context(), filepath.Join(storage, "dovecot.map.index"))
	if err != nil || x.Damage != nil {
		t.Fatal(err)
	}
	m, err := x.Map()
	if err != nil {
		t.Fatal(err)
	}
	if x.LogTail != x.LogOffset {
		t.Errorf("map is synced up to %d of %d", x.LogTail, x.LogOffset)
	}
	for _, g := range m.Messages {
		b, err := os.ReadFile(filepath.Join(storage, "m."+strconv.Itoa(int(g.FileID))))
		if err != nil || int(g.Offset)+int(g.Size) > len(b) || !strings.HasPrefix(string(b[g.Offset:]), "\x01\x02N") ||
			!strings.HasSuffix(string(b[:g.Offset+g.Size]), "\n\n") || g.FileID > m.HighestFileID {
			t.Errorf("no message %+v: %v", g, err)
		}
	}
	return m
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
		for r := range rounds {
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
			for _, b := range boxes {
				compare(t, d, driver, b)
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

// compareList checks the list of mailboxes.
func compareList(t *testing.T, d *dovetest.Dovecot, driver string) {
	t.Helper()
	root := map[string]string{"mdbox": "mdbox", "sdbox": "sdbox", "maildir": "Maildir"}[driver]
	x, err := Read(t.Context(), filepath.Join(d.Home, root, "dovecot.list.index"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := x.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range l.Mailboxes {
		if m.Nonexistent || m.NoSelect {
			continue
		}
		got = append(got, m.FullName('/'))
		want := d.Doveadm("", "mailbox", "status", "guid uidvalidity", m.FullName('/'))[1]
		if g := fmt.Sprintf("%s\t%d\t%v", m.FullName('/'), m.UIDValidity, m.GUID); m.UIDValidity != 0 && g != want {
			t.Errorf("list says %q, Dovecot %q", g, want)
		}
	}
	want := d.Doveadm("", "mailbox", "list")[1:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("list has %q, Dovecot %q", got, want)
	}
}

// Dovecot opens copies of the recorded stores, and says what we read.
func TestVectorsLive(t *testing.T) {
	dovetest.Run(t, "maildir:~/unused", "", func(t *testing.T, d *dovetest.Dovecot) {
		n := 0
		eachVector(t, func(t *testing.T, c vectorCase, dir string) {
			for _, u := range c.Users {
				root := map[string]string{"mdbox": "mdbox", "sdbox": "sdbox", "maildir": "Maildir"}[c.Driver]
				if err := os.Rename(filepath.Join(dir, u.Home, root), filepath.Join(d.Home, root)); err != nil {
					t.Fatal(err)
				}
				live := d.At(t, "mail_location="+c.Driver+":~/"+root, "namespace/inbox/separator="+c.Separator)
				for _, b := range u.Mailboxes {
					if _, err := os.Stat(filepath.Dir(liveIndex(d, c.Driver, b.Name))); errors.Is(err, fs.ErrNotExist) {
						continue // a name that is not stored as it is shown
					}
					compare(t, live, c.Driver, b.Name)
					n++
				}
				os.RemoveAll(filepath.Join(d.Home, root))
			}
		})
		if n < 10 {
			t.Errorf("only %d mailboxes were compared", n)
		}
	})
}

var dumpLine = regexp.MustCompile(`^(?:-- )?(.+?)[ .]*= ?(.*?)(?: \(.*)?$`)

// compareDump checks headers and extensions against doveadm dump, of an index that nobody
// changes meanwhile.
func compareDump(t *testing.T, d *dovetest.Dovecot, path string) {
	t.Helper()
	x, err := Read(t.Context(), path)
	must(t, err)
	want := []string{fmt.Sprint("index id ", x.ID), fmt.Sprint("uid validity ", x.UIDValidity), fmt.Sprint("next uid ", x.NextUID),
		fmt.Sprint("messages count ", x.Len()), fmt.Sprint("first recent uid ", x.FirstRecentUID), fmt.Sprint("log file seq ", x.LogSeq),
		fmt.Sprint("log file head offset ", x.LogOffset)}
	for _, e := range x.Extensions() {
		if e.Name != extKeywords { // whose header Dovecot pads
			want = append(want, fmt.Sprintf("name %s hdr_size %d reset_id %d record_size %d record_align %d", e.Name, len(e.Header), e.ResetID, e.Size, e.Align))
		}
	}
	var got []string
	ext := ""
	for _, line := range d.Doveadm("", "dump", "-t", "index", filepath.Dir(path)) {
		m := dumpLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch key, value := m[1], m[2]; key {
		case "index id", "uid validity", "next uid", "messages count", "first recent uid", "log file seq", "log file head offset":
			got = append(got, key+" "+value)
		case "name":
			ext = "name " + value
		case "hdr_size", "reset_id", "record_size":
			ext += " " + key + " " + value
		case "record_align":
			if ext += " record_align " + value; !strings.HasPrefix(ext, "name "+extKeywords+" ") {
				got = append(got, ext)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Dovecot dumps\n%s\nwe read\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
