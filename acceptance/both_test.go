package acceptance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDovecotAndUs lets Dovecot and mailcryptd deliver, flag, move and expunge in one
// Maildir at once, with one file of keys. Afterwards both must see the same messages, each
// acknowledged one once, unless it was expunged, and all readable.
func TestDovecotAndUs(t *testing.T) {
	duration := 30 * time.Second
	if s := os.Getenv("BOTH_TIME"); s != "" {
		duration, _ = time.ParseDuration(s)
	}
	if testing.Short() {
		duration = 5 * time.Second
	}
	dir := scratch(t)
	d := setup{
		dir:   dir,
		users: "u:{PLAIN}pass::::::mail_crypt_save_version=2 mail_crypt_private_password=sesame\n",
		top:   "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: "curve = \"prime256v1\"\nseal_rounds = 100\n", rest: "[zlib]\nsave = \"gz\"\n",
	}.start(t)
	dove := dovecotSetup{
		homes: dir, users: "u:{PLAIN}pass::::::userdb_mail_crypt_private_password=sesame\n",
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\nzlib_save = gz\n",
	}.start(t)
	c := login(t, d.imap, "u", "pass")
	for _, box := range []string{"A", "B"} {
		c.do("CREATE %s", box)
	}

	j := &journal{sent: map[string][]byte{}, acked: map[string]bool{}, gone: map[string]bool{}}
	var wg sync.WaitGroup
	end := time.Now().Add(duration)
	for i, lmtp := range []string{d.lmtp, dove.lmtp} {
		wg.Go(func() { j.deliver(t, lmtp, fmt.Sprint("lmtp", i), end) })
	}
	for i, imap := range []string{d.imap, d.imap, dove.imap, dove.imap} {
		wg.Go(func() { j.work(t, imap, fmt.Sprint("imap", i), end) })
	}
	wg.Wait()

	ours := j.collect(t, login(t, d.imap, "u", "pass"))
	theirs := j.collect(t, login(t, dove.imap, "u", "pass"))
	for id, where := range ours {
		other := theirs[id]
		slices.Sort(where)
		slices.Sort(other)
		if !slices.Equal(where, other) {
			t.Errorf("message %s: we have it at %v, Dovecot at %v", id, where, other)
		}
	}
	lost, doubled := 0, 0
	for id := range j.acked {
		switch n := len(ours[id]); {
		case n == 0 && !j.gone[id]:
			lost++
			t.Errorf("message %s was acknowledged and is lost", id)
		case n > 1:
			doubled++
		}
	}
	t.Logf("%d sent, %d acknowledged, %d expunged, %d there for us, %d for Dovecot, %d doubled",
		len(j.sent), len(j.acked), len(j.gone), len(ours), len(theirs), doubled)
	if doubled > 0 {
		t.Errorf("%d messages are there more than once", doubled)
	}
	if len(j.acked) < 20 {
		t.Error("too little happened for a verdict")
	}
	for _, l := range dove.troubles() {
		if strings.Contains(l, "Decrypt") || strings.Contains(l, "Private key") || strings.Contains(l, "Corrupted") || strings.Contains(l, "size") || strings.Contains(l, "Panic") {
			t.Errorf("Dovecot: %s", l)
		}
	}
}

// A journal is what clients have done and been told.
type journal struct {
	mu    sync.Mutex
	n     int
	sent  map[string][]byte
	acked map[string]bool
	gone  map[string]bool // an expunge of it was begun
}

func (j *journal) next(who string) (string, []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.n++
	id := fmt.Sprintf("%s-%d", who, j.n)
	j.sent[id] = mail(id, 300+rand.IntN(20_000))
	return id, j.sent[id]
}

func (j *journal) ack(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked[id] = true
}

func (j *journal) deliver(t *testing.T, lmtp, who string, end time.Time) {
	for time.Now().Before(end) {
		id, m := j.next(who)
		replies, err := deliverLMTP(lmtp, "s@example.org", []string{"u"}, m)
		if err != nil || !strings.HasPrefix(replies[0], "250") {
			t.Errorf("%s: %v %v", who, replies, err)
			return
		}
		j.ack(id)
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
	}
}

// work appends, flags, moves and expunges in random folders.
func (j *journal) work(t *testing.T, imap, who string, end time.Time) {
	c, err := tryIMAP(t, imap)
	if err != nil {
		t.Errorf("%s: %v", who, err)
		return
	}
	defer c.c.Close()
	if a, err := c.try("LOGIN u pass"); err != nil || !a.ok() {
		t.Errorf("%s: LOGIN: %s %v", who, a.tagged, err)
		return
	}
	boxes := []string{"INBOX", "A", "B"}
	for time.Now().Before(end) {
		box := boxes[rand.IntN(3)]
		if a, err := c.try("SELECT %s", box); err != nil || !a.ok() {
			t.Errorf("%s: SELECT %s: %s %v", who, box, a.tagged, err)
			return
		}
		for range 4 {
			if err := j.step(c, who, box, boxes); err != nil {
				t.Errorf("%s in %s: %v", who, box, err)
				return
			}
		}
	}
}

func (j *journal) step(c *imapConn, who, box string, boxes []string) error {
	switch rand.IntN(6) {
	case 0, 1:
		id, m := j.next(who)
		a, err := c.tryAppend(box, "", m)
		if err != nil {
			return err
		}
		if !a.ok() {
			return fmt.Errorf("APPEND: %s", a.tagged)
		}
		j.ack(id)
	case 2, 3:
		uids, err := j.pick(c)
		if err != nil || len(uids) == 0 {
			return err
		}
		op := []string{`+FLAGS (\Flagged)`, `-FLAGS (\Seen)`, `+FLAGS (\Answered $Label1)`, `FLAGS (\Seen)`}[rand.IntN(4)]
		_, err = c.try("UID STORE %d %s", uids[rand.IntN(len(uids))].uid, op)
		return err
	case 4:
		uids, err := j.pick(c)
		if err != nil || len(uids) == 0 {
			return err
		}
		// Two clients may move one message at once: each makes a copy, so the mover is the one
		// that claimed it first.
		p := uids[rand.IntN(len(uids))]
		if !j.claim(p.id) {
			return nil
		}
		_, err = c.try("UID MOVE %d %s", p.uid, boxes[rand.IntN(3)])
		return err
	case 5:
		uids, err := j.pick(c)
		if err != nil || len(uids) < 5 {
			return err
		}
		p := uids[rand.IntN(len(uids))]
		if !j.claim(p.id) {
			return nil
		}
		j.mu.Lock()
		j.gone[p.id] = true
		j.mu.Unlock()
		if _, err := c.try(`UID STORE %d +FLAGS.SILENT (\Deleted)`, p.uid); err != nil {
			return err
		}
		_, err = c.try("UID EXPUNGE %d", p.uid)
		return err
	}
	return nil
}

// claim gives a message to one client; it is moved or expunged only once.
func (j *journal) claim(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := "claimed " + id
	if id == "" || j.gone[key] || !j.acked[id] {
		return false
	}
	j.gone[key] = true
	return true
}

type picked struct {
	uid int
	id  string
}

// pick lists the selected mailbox with the ids in the subjects. A message that another
// client has just taken away may fail the FETCH; the others are there.
func (j *journal) pick(c *imapConn) ([]picked, error) {
	a, err := c.try("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	if err != nil {
		return nil, err
	}
	var list []picked
	for _, u := range a.untagged {
		m := uidItem.FindStringSubmatch(u.line)
		if m == nil || len(u.literals) == 0 {
			continue
		}
		var p picked
		fmt.Sscan(m[1], &p.uid)
		p.id = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(u.literals[0])), "Subject:"))
		list = append(list, p)
	}
	return list, nil
}

// collect reads everything and says where each message is, by its id.
func (j *journal) collect(t *testing.T, c *imapConn) map[string][]string {
	t.Helper()
	where := map[string][]string{}
	for _, box := range []string{"INBOX", "A", "B"} {
		for uid, f := range c.fetchAll(box) {
			_, rest, _ := bytes.Cut(f.body, []byte("Subject: "))
			line, _, _ := bytes.Cut(rest, []byte("\r\n"))
			id := string(line)
			if m := j.sent[id]; m == nil || !bytes.HasSuffix(f.body, m) {
				t.Errorf("%s UID %d: %q is not what was sent (%d bytes)", box, uid, id, len(f.body))
			}
			where[id] = append(where[id], fmt.Sprintf("%s/%d", box, uid))
		}
	}
	return where
}
