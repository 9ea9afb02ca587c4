package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A loadUser is a user under load: the password that is valid, and the mail that must be
// there in the end.
type loadUser struct {
	name    string
	address string // IMAP
	count   *loadCount
	fixed   bool   // no folders are made
	secret  string // that seals the keys; "" is the password

	mu      sync.Mutex
	now     string // password
	next    string // while a change is under way; "" otherwise
	changes int    // begun and ended
	offered map[string][]byte
	there   map[string]map[string]int // how often each message was accepted, by folder
}

// A loadCount says what a test has seen, so that it does not pass for lack of work.
type loadCount struct {
	logins, during, refused, fetched, appended, copied, delivered, woken, folders, changes, storms atomic.Int64
}

func (c *loadCount) String() string {
	return fmt.Sprintf("%d logins, of them %d while the password changed, which refused %d; %d messages fetched, %d appended, %d copied, %d delivered, %d announced to IDLE; %d folders made; %d changes; %d wrong passwords",
		c.logins.Load(), c.during.Load(), c.refused.Load(), c.fetched.Load(), c.appended.Load(), c.copied.Load(), c.delivered.Load(), c.woken.Load(), c.folders.Load(), c.changes.Load(), c.storms.Load())
}

func newLoadUser(name, password, address string, count *loadCount) *loadUser {
	return &loadUser{name: name, address: address, now: password, count: count,
		offered: map[string][]byte{}, there: map[string]map[string]int{}}
}

func (u *loadUser) passwords() (now, next string, changes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now, u.next, u.changes
}

// change runs do, which changes the password to next. Both may be valid meanwhile.
func (u *loadUser) change(next string, do func(now string) error) error {
	u.mu.Lock()
	u.next = next
	u.changes++
	now := u.now
	u.mu.Unlock()
	err := do(now)
	u.mu.Lock()
	if err == nil {
		u.now = next
		u.count.changes.Add(1)
	}
	u.next = ""
	u.changes++
	u.mu.Unlock()
	if err != nil {
		return fmt.Errorf("changing the password of %s from %s to %s: %w", u.name, now, next, err)
	}
	return nil
}

var loadID = regexp.MustCompile(`(?m)^Subject: (load-\S+)\r$`)

// offer makes a message that may be accepted from now on.
func (u *loadUser) offer(id string) []byte {
	size := 300 + rand.IntN(6000)
	if rand.IntN(40) == 0 {
		size = 200_000
	}
	m := mail("load-"+id, size)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.offered["load-"+id] = m
	return m
}

// accepted notes that the server answers for a message.
func (u *loadUser) accepted(folder, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.there[folder] == nil {
		u.there[folder] = map[string]int{}
	}
	u.there[folder][id]++
}

func (u *loadUser) folders() map[string]map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := map[string]map[string]int{}
	for f, ids := range u.there {
		m[f] = maps.Clone(ids)
	}
	return m
}

// whole wants a body to be that of a message, and returns its id. A delivery puts header
// fields before it.
func (u *loadUser) whole(body []byte) (string, error) {
	m := loadID.FindSubmatch(body)
	if m == nil {
		return "", fmt.Errorf("a body of %d octets is none that was sent", len(body))
	}
	id := string(m[1])
	u.mu.Lock()
	want := u.offered[id]
	u.mu.Unlock()
	if want == nil || !bytes.HasSuffix(body, want) || len(body) > len(want)+1000 {
		return "", fmt.Errorf("%s: a body of %d octets, want one that ends in the %d that were sent", id, len(body), len(want))
	}
	return id, nil
}

// login logs in with a password that is valid. While it changes either the one before or the
// one after may be refused, as wrong and in no other way; whichever is taken must open all keys.
func (u *loadUser) login(t testing.TB) (*imapConn, error) {
	for range 20 {
		now, next, changes := u.passwords()
		password := now
		if next != "" && rand.IntN(2) == 0 {
			password = next
		}
		c, err := tryIMAP(t, u.address)
		if err != nil {
			return nil, err
		}
		a, err := c.try("LOGIN %s %s", u.name, password)
		if err != nil {
			return nil, fmt.Errorf("LOGIN: %w", err)
		}
		_, _, after := u.passwords()
		changing := next != "" || after != changes
		if changing {
			u.count.during.Add(1)
		}
		switch {
		case a.ok():
			u.count.logins.Add(1)
			for _, line := range a.untagged {
				if strings.Contains(line.line, "ALERT") {
					return c, fmt.Errorf("LOGIN with %s, changing=%t: %s", password, changing, line.line)
				}
			}
			return c, nil
		case changing && strings.HasPrefix(a.tagged, "NO [AUTHENTICATIONFAILED]"):
			u.count.refused.Add(1)
			c.close()
		default:
			return nil, fmt.Errorf("LOGIN with %s, changing=%t: %s", password, changing, a.tagged)
		}
	}
	return nil, errors.New("the password changes at every login")
}

// must is try for what must be answered with OK.
func (i *imapConn) must(format string, args ...any) (answer, error) {
	a, err := i.try(format, args...)
	if err == nil && !a.ok() {
		err = errors.New(a.tagged)
	}
	if err != nil {
		return a, fmt.Errorf(format+": %w", append(args, err)...)
	}
	return a, nil
}

var existsLine = regexp.MustCompile(`^\* (\d+) EXISTS$`)

func (a answer) exists() int {
	n := 0
	for _, l := range a.untagged {
		if m := existsLine.FindStringSubmatch(l.line); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
	}
	return n
}

// readLast reads the last messages of the selected mailbox.
func (u *loadUser) readLast(c *imapConn, exists, n int) error {
	if exists == 0 {
		return nil
	}
	a, err := c.must("FETCH %d:%d (UID BODY.PEEK[])", max(1, exists-n+1), exists)
	if err != nil {
		return err
	}
	got := a.fetches()
	if len(got) < min(n, exists) {
		return fmt.Errorf("%d messages of %d fetched", len(got), min(n, exists))
	}
	for uid, f := range got {
		if _, err := u.whole(f.body); err != nil {
			return fmt.Errorf("UID %d: %w", uid, err)
		}
		u.count.fetched.Add(1)
	}
	return nil
}

// work is a client that logs in, reads, saves, copies, and logs out, until stop is closed.
func (u *loadUser) work(t testing.TB, client int, stop <-chan struct{}) error {
	folders := 0
	for round := 0; ; round++ {
		c, err := u.login(t)
		if err != nil {
			return err
		}
		for stay := rand.IntN(4); stay >= 0; stay-- {
			id := fmt.Sprintf("%s-%d-%d-%d", u.name, client, round, stay)
			folder := fmt.Sprintf("F%d-%d", client, rand.IntN(folders+1))
			if !u.fixed && folders < 3 && rand.IntN(3) == 0 {
				folders++
				folder = fmt.Sprintf("F%d-%d", client, folders)
				if _, err := c.must("CREATE %s", folder); err != nil {
					return err
				}
				u.count.folders.Add(1)
			} else if strings.HasSuffix(folder, "-0") {
				folder = "INBOX"
			}
			if err := u.one(c, id, folder); err != nil {
				return fmt.Errorf("client %d of %s, round %d: %w", client, u.name, round, err)
			}
			select {
			case <-stop:
				stay = -1
			case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
			}
		}
		if a, err := c.try("LOGOUT"); err != nil || !a.ok() {
			return fmt.Errorf("LOGOUT: %s %w", a.tagged, err)
		}
		c.c.Close()
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// one is one thing that a client does.
func (u *loadUser) one(c *imapConn, id, folder string) error {
	a, err := c.must("SELECT %s", folder)
	if err != nil {
		return err
	}
	if err := u.readLast(c, a.exists(), 3); err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	if a, err = c.tryAppend(folder, "", u.offer(id)); err != nil || !a.ok() {
		return fmt.Errorf("APPEND %s: %s %w", folder, a.tagged, cause(err))
	}
	u.count.appended.Add(1)
	u.accepted(folder, "load-"+id)
	if _, err = c.must("NOOP"); err != nil {
		return err
	}
	// What was just appended, found by its subject, goes to INBOX too.
	a, err = c.must(`UID SEARCH SUBJECT "load-%s"`, id)
	if err != nil {
		return err
	}
	uid := 0
	for _, l := range a.untagged {
		if rest, ok := strings.CutPrefix(l.line, "* SEARCH "); ok {
			uid, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	if uid == 0 {
		return fmt.Errorf("the message that was appended to %s is not found", folder)
	}
	if a, err = c.must("UID COPY %d INBOX", uid); err != nil {
		return err
	}
	u.count.copied.Add(1)
	u.accepted("INBOX", "load-"+id)
	return nil
}

func cause(err error) error {
	if err == nil {
		return errors.New("refused")
	}
	return err
}

// idle is a client that stays in IDLE and reads what is announced.
func (u *loadUser) idle(t testing.TB, stop <-chan struct{}) error {
	c, err := u.login(t)
	if err != nil {
		return err
	}
	a, err := c.must("SELECT INBOX")
	if err != nil {
		return err
	}
	seen := a.exists()
	for {
		c.tag++
		fmt.Fprintf(c.c, "a%d IDLE\r\n", c.tag)
		ended := false
		for quiet := false; !quiet; {
			c.c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			// Only whole lines: a deadline must not cut one.
			if _, err := c.r.Peek(1); err != nil {
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					return fmt.Errorf("IDLE: %w", err)
				}
				select {
				case <-stop:
					quiet, ended = true, true
				default:
				}
				continue
			}
			c.c.SetReadDeadline(time.Now().Add(time.Minute))
			r, err := c.readOne()
			if err != nil {
				return fmt.Errorf("IDLE: %w", err)
			}
			if m := existsLine.FindStringSubmatch(r.line); m != nil {
				seen, _ = strconv.Atoi(m[1])
				u.count.woken.Add(1)
				quiet = true
			} else if !strings.HasPrefix(r.line, "+") && !strings.HasPrefix(r.line, "* ") {
				return fmt.Errorf("IDLE: %s", r.line)
			}
		}
		c.c.SetDeadline(time.Now().Add(2 * time.Minute))
		fmt.Fprint(c.c, "DONE\r\n")
		a, err := c.finish()
		if err != nil || !a.ok() {
			return fmt.Errorf("DONE: %s %w", a.tagged, cause(err))
		}
		if err := u.readLast(c, max(seen, a.exists()), 2); err != nil {
			return err
		}
		if ended {
			_, err := c.must("LOGOUT")
			c.c.Close()
			return err
		}
	}
}

// deliver sends mail to users by LMTP, two at a time, until stop is closed.
func deliver(lmtp string, client int, users []*loadUser, stop <-chan struct{}) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(20+rand.IntN(60)) * time.Millisecond):
		}
		a, b := users[rand.IntN(len(users))], users[rand.IntN(len(users))]
		id := fmt.Sprintf("lmtp-%d-%d", client, n)
		m := a.offer(id)
		to, names := []*loadUser{a}, []string{a.name}
		if a != b {
			b.mu.Lock()
			b.offered["load-"+id] = m
			b.mu.Unlock()
			to, names = append(to, b), append(names, b.name)
		}
		replies, err := deliverLMTP(lmtp, "a@example.org", names, m)
		if err != nil {
			return fmt.Errorf("LMTP: %w", err)
		}
		for i, r := range replies {
			if !strings.HasPrefix(r, "2") {
				return fmt.Errorf("LMTP to %s: %s", names[i], r)
			}
			to[i].accepted("INBOX", "load-"+id)
			to[i].count.delivered.Add(1)
		}
	}
}

// guess tries wrong passwords from another address until stop is closed.
func (u *loadUser) guess(stop <-chan struct{}) error {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: time.Minute}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		c, err := from.Dial("tcp", u.address)
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "a LOGIN %s wrong%d\r\n", u.name, n)
		c.SetDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 4096)
		for text := ""; !strings.Contains(text, "a NO"); {
			k, err := c.Read(b)
			if text += string(b[:k]); strings.Contains(text, "a OK") || err != nil {
				c.Close()
				return fmt.Errorf("a wrong password: %q, %w", text, cause(err))
			}
		}
		u.count.storms.Add(1)
		c.Close()
	}
}
