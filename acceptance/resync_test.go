package acceptance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/imapd/resynctest"
)

// TestResync plays clients that go away and come back (RFC 7162) over a Maildir which other
// programs change too: scripts that rename, remove and deliver files, and Dovecot where it is
// installed. The daemon is restarted now and then, and killed in the middle of changes. What
// the clients were told must add up to the truth each time.
func TestResync(t *testing.T) {
	rounds, random := resynctest.Play(t, 250, 30)
	w := newResyncWorld(t, random)
	for n := range rounds {
		if err := w.round(); err != nil {
			t.Fatalf("round %d, after %v: %v", n, w.done, err)
		}
	}
	total := 0
	for _, c := range w.clients {
		total += c.Resyncs
		c.Cut()
	}
	t.Logf("%d rounds, %d resynchronisations, %d restarts, %d kills, %d messages, with Dovecot: %v",
		rounds, total, w.restarts, w.kills, w.clients[0].Len(), w.dove != "")
	if total < rounds {
		t.Error("too little happened for a verdict")
	}
}

// A resyncWorld is a Maildir with a daemon, clients under test and others who change it.
type resyncWorld struct {
	*testing.T
	rand            *rand.Rand
	daemon          *daemon
	dove            string // where Dovecot listens
	maildir         string
	clients         []*resynctest.Client
	validity        uint32
	serial          int
	restarts, kills int

	mu   sync.Mutex
	done []string // this round's changes, to tell of a failure
}

func newResyncWorld(t *testing.T, random *rand.Rand) *resyncWorld {
	dir := scratch(t)
	w := &resyncWorld{T: t, rand: random, maildir: filepath.Join(dir, "u", "Maildir")}
	w.daemon = setup{dir: dir, users: "u:{PLAIN}pw::::::\n", crypt: "curve = \"prime256v1\"\n"}.start(t)
	if _, err := exec.LookPath("dovecot"); err == nil && isRoot() {
		w.dove = dovecotSetup{homes: dir, users: "u:{PLAIN}pw::::::\n", plugins: "zlib"}.start(t).imap
	}
	for _, qresync := range []bool{true, true, false} {
		w.clients = append(w.clients, &resynctest.Client{Dial: func() (net.Conn, error) { return net.Dial("tcp", w.daemon.imap) },
			User: "u", Password: "pw", Mailbox: "INBOX", Qresync: qresync, Rand: rand.New(rand.NewPCG(random.Uint64(), 0))})
	}
	c := login(t, w.daemon.imap, "u", "pw")
	for range 8 {
		c.appendMail("INBOX", "", mail("resync", 200))
	}
	c.close()
	return w
}

// round lets others change the mailbox while clients are at work, may end the daemon at any
// moment of that, and then looks at what the clients remember.
func (w *resyncWorld) round() error {
	w.done = nil
	for range max(0, 15-w.clients[0].Len()) / 3 {
		w.deliver(w.rand)
	}
	kind := w.rand.IntN(16)
	var wg sync.WaitGroup
	for i := range 1 + w.rand.IntN(3) {
		r := rand.New(rand.NewPCG(w.rand.Uint64(), uint64(i)))
		wg.Go(func() { w.change(r) })
	}
	worked := make([]error, len(w.clients))
	for i, c := range w.clients {
		if w.rand.IntN(3) > 0 {
			wg.Go(func() { worked[i] = work(c) })
		}
	}
	switch kind {
	case 0, 1:
		w.kills++
		time.Sleep(time.Duration(w.rand.IntN(40)) * time.Millisecond)
		w.daemon.kill()
		wg.Wait()
		if w.rand.IntN(2) == 0 { // and while it is away
			w.change(w.rand)
		}
		w.daemon.start(w.T)
	case 2:
		w.restarts++
		wg.Wait()
		w.daemon.stop(w.T)
		w.change(w.rand)
		w.daemon.start(w.T)
	}
	wg.Wait()
	if err := errors.Join(worked...); err != nil {
		return err
	}
	for _, c := range w.clients {
		if w.rand.IntN(4) == 0 {
			continue // it stays away, or says nothing
		}
		if err := w.look(c); err != nil {
			return err
		}
		if w.rand.IntN(2) == 0 {
			c.Cut()
		}
	}
	return nil
}

// work is what a client does by itself. A connection that ends is nothing to it.
func work(c *resynctest.Client) error {
	err := c.Resync()
	for range c.Rand.IntN(4) {
		if err == nil && c.Connected() {
			err = c.Step()
		}
	}
	if errors.Is(err, resynctest.ErrLost) {
		return nil
	}
	return err
}

// look compares a client's memory with the truth, when nobody changes anything.
func (w *resyncWorld) look(c *resynctest.Client) error {
	if c.Connected() {
		// Of what a daemon was told that is gone nobody knows any more.
		if err := c.Settle(); err != nil && !errors.Is(err, resynctest.ErrLost) {
			return err
		}
	}
	if err := c.Resync(); err != nil {
		return err
	}
	validity, truth, err := c.Truth()
	if err != nil {
		return err
	}
	if w.validity == 0 {
		w.validity = validity
	}
	if validity != w.validity {
		return fmt.Errorf("UIDVALIDITY became %d", validity)
	}
	if err := c.Verify(validity, truth); err != nil {
		// The last change of another program may have come between the two looks.
		if e := c.Settle(); e != nil {
			return e
		}
		if validity, truth, e := c.Truth(); e != nil || c.Verify(validity, truth) != nil {
			return errors.Join(err, e)
		}
	}
	return nil
}

// did notes a change.
func (w *resyncWorld) did(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, what)
}

// change is something that another program does, or another session.
func (w *resyncWorld) change(r *rand.Rand) {
	switch n := r.IntN(10); {
	case n < 3:
		w.session(r, w.daemon.imap)
	case n < 6 && w.dove != "":
		w.session(r, w.dove)
	case n < 8:
		w.deliver(r)
	default:
		w.files(r)
	}
}

// session changes something by IMAP. The server may end meanwhile.
func (w *resyncWorld) session(r *rand.Rand, address string) {
	c, err := tryIMAP(w.T, address)
	if err != nil {
		return
	}
	defer c.c.Close()
	commands := []string{"LOGIN u pw", "SELECT INBOX"}
	set := fmt.Sprintf("%d,%d", 1+r.IntN(10), 1+r.IntN(10))
	for range 1 + r.IntN(3) {
		switch r.IntN(8) {
		case 0:
			commands = append(commands, "STORE "+set+` +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
		case 1:
			commands = append(commands, "COPY "+set+" INBOX")
		case 2:
			commands = append(commands, "STORE "+set+" +FLAGS ($a)", "STORE "+set+" -FLAGS ($a)")
		default:
			commands = append(commands, "STORE "+set+" "+[]string{"", "+", "-"}[r.IntN(3)]+"FLAGS.SILENT ("+
				resynctest.RandomFlags(r.IntN)+")")
		}
	}
	for _, cmd := range commands {
		w.did(address + " " + cmd)
		if _, err := c.try("%s", cmd); err != nil {
			return
		}
	}
}

// deliver puts a file into new, as a delivery agent does.
func (w *resyncWorld) deliver(r *rand.Rand) {
	w.mu.Lock()
	w.serial++
	name := fmt.Sprintf("%d.M%dP%dQ%d.host", time.Now().Unix(), r.IntN(1e6), os.Getpid(), w.serial)
	w.mu.Unlock()
	tmp := filepath.Join(w.maildir, "tmp", name)
	if err := os.WriteFile(tmp, mail(name, 200), 0o600); err != nil {
		return
	}
	if isRoot() {
		os.Chown(tmp, mailUID, mailUID)
	}
	w.did("deliver " + name)
	os.Rename(tmp, filepath.Join(w.maildir, "new", name))
}

// files renames a message to other flags, or removes it.
func (w *resyncWorld) files(r *rand.Rand) {
	files, _ := filepath.Glob(filepath.Join(w.maildir, "cur", "*"))
	more, _ := filepath.Glob(filepath.Join(w.maildir, "new", "*"))
	if files = append(files, more...); len(files) == 0 {
		return
	}
	for range 1 + r.IntN(3) {
		file := files[r.IntN(len(files))]
		if r.IntN(5) == 0 && len(files) > 5 {
			w.did("remove " + filepath.Base(file))
			os.Remove(file)
			continue
		}
		base, flags, _ := strings.Cut(filepath.Base(file), ":2,")
		letters := strings.Trim(flags, "DFRST") // keywords stay
		for _, f := range "DFRST" {
			if r.IntN(3) == 0 {
				letters += string(f)
			}
		}
		sorted := []byte(letters)
		slices.Sort(sorted)
		w.did("rename " + filepath.Base(file) + " to " + string(sorted))
		os.Rename(file, filepath.Join(w.maildir, "cur", base+":2,"+string(sorted)))
	}
}
