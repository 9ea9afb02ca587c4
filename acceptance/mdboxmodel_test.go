package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

	"mailcrypt/admin"
	"mailcrypt/imapd/resynctest"
	"mailcrypt/storage/storagetest"
)

// TestMdboxModel has eight clients, deliveries and the tool use one user's mdbox store at
// once: four clients do everything to messages and folders and know what must be there, three
// go away and come back (RFC 7162) and must be told of all changes, and one waits in IDLE.
// The daemon is restarted now and then, and killed. RESYNC_ROUNDS and RESYNC_SEED say how long.
func TestMdboxModel(t *testing.T) {
	rounds, random := resynctest.Play(t, 30, 12)
	w := newMdboxWorld(t, random)
	for n := range rounds {
		if err := w.round(n); err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
	}
	w.end()
	resyncs, steps, settled := 0, map[string]int{}, 0
	for _, c := range w.clients {
		resyncs += c.Resyncs
	}
	for _, worker := range w.workers {
		settled += worker.settled
		for kind, n := range worker.steps {
			steps[kind] += n
		}
	}
	t.Logf("%d rounds, %d restarts, %d kills, %d resynchronisations, %d times looked for what was under way, acknowledged: %v; %d delivered; the tool: %v",
		rounds, w.restarts, w.kills, resyncs, settled, steps, w.count, w.ran)
	if resyncs < rounds || len(steps) < 9 || w.count == 0 || len(w.ran) < 7 {
		t.Error("too little happened for a verdict")
	}
}

// A mdboxWorld is a user's store with all who use it.
type mdboxWorld struct {
	*testing.T
	rand     *rand.Rand
	daemon   *daemon
	password string
	workers  []*mailWorker
	clients  []*resynctest.Client
	looks    resyncWorld // compares what the clients remember with the truth
	canary   *storagetest.Canary

	restarts, kills int
	count           int             // deliveries that were acknowledged
	ran             map[string]int  // the tool's commands
	offered         map[string]bool // deliveries, and whether they were acknowledged
	mu              sync.Mutex      // guards the above, and
	killed          bool            // that the daemon was, in this round
}

func newMdboxWorld(t *testing.T, random *rand.Rand) *mdboxWorld {
	w := &mdboxWorld{T: t, rand: random, password: "pw0", canary: storagetest.NewCanary(), ran: map[string]int{}, offered: map[string]bool{}}
	w.looks.T = t
	d := setup{
		dir: scratch(t), users: "u:{PLAIN}pw0::::::mail_crypt_save_version=2\n",
		top:   "mail_location = \"mdbox:~/mdbox:ALT=~/alt\"\nmail_attribute_dict = \"file:~/attributes\"\nmdbox_rotate_size = \"16k\"\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 64\n",
		rest:  "[namespace]\nseparator = \"/\"\n",
	}.configure(t)
	d.moveAway(t)
	if err := os.MkdirAll(filepath.Join(d.dir, "u", "alt"), 0o700); err != nil {
		t.Fatal(err)
	}
	own(t, d.dir)
	w.daemon = d
	d.start(t)
	d.dialAdmin(t).Close()
	c := login(t, d.imap, "u", w.password)
	for _, folder := range []string{"INBOX", "Sync"} {
		c.do("CREATE %s", folder)
		if a := c.appendMail(folder, "", w.canary.Message()); !a.ok() {
			t.Fatal(a.tagged)
		}
	}
	c.do("SELECT INBOX")
	c.do("SEARCH BODY %s", w.canary.Words()[0])
	c.close()
	for id := range 4 {
		w.workers = append(w.workers, newMailWorker(t, id, d.imap, w.password, rand.New(rand.NewPCG(random.Uint64(), 0))))
	}
	for _, qresync := range []bool{true, true, false} {
		w.clients = append(w.clients, &resynctest.Client{Dial: func() (net.Conn, error) { return net.Dial("tcp", d.imap) },
			User: "u", Password: w.password, Mailbox: "Sync", Qresync: qresync, Rand: rand.New(rand.NewPCG(random.Uint64(), 0))})
	}
	return w
}

// round lets all of them work at once, may end the daemon at any moment of that, and then
// looks whether everything is as they were told.
func (w *mdboxWorld) round(n int) error {
	w.killed = false
	if w.rand.IntN(4) == 0 {
		if err := w.changePassword(n); err != nil {
			return err
		}
	}
	var errs []error
	var wg sync.WaitGroup
	run := func(do func() error) {
		wg.Go(func() {
			if err := do(); err != nil {
				w.mu.Lock()
				errs = append(errs, err)
				w.mu.Unlock()
			}
		})
	}
	for _, worker := range w.workers {
		steps := 3 + w.rand.IntN(10)
		run(func() error { return worker.work(steps) })
	}
	for _, c := range w.clients {
		run(func() error { return work(c) })
	}
	run(w.idle)
	for i := range 2 {
		run(func() error { return w.deliver(fmt.Sprintf("l%d-%d", n, i)) })
	}
	for _, command := range w.commands(n) {
		run(func() error { return w.tool(command) })
	}
	kind := w.rand.IntN(6)
	if kind == 0 {
		w.kills++
		time.Sleep(time.Duration(w.rand.IntN(1200)) * time.Millisecond)
		w.mu.Lock()
		w.killed = true
		w.mu.Unlock()
		w.daemon.kill()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch kind {
	case 0:
		w.restart(false)
	case 1:
		w.restarts++
		w.daemon.stop(w.T)
		if err := w.dryRun(); err != nil {
			return err
		}
		w.restart(true)
	}
	return w.look()
}

func (w *mdboxWorld) restart(inOrder bool) {
	w.daemon.start(w.T)
	w.daemon.dialAdmin(w.T).Close()
	for _, worker := range w.workers {
		worker.restarted(inOrder)
	}
}

// look compares what everybody knows with what is there. Nobody changes anything.
func (w *mdboxWorld) look() error {
	for _, worker := range w.workers {
		if err := worker.all(); err != nil {
			return err
		}
	}
	for _, c := range w.clients {
		if err := w.looks.look(c); err != nil {
			return err
		}
		if w.rand.IntN(2) == 0 {
			c.Cut()
		}
	}
	if err := w.delivered(); err != nil {
		return err
	}
	out, status := w.daemon.tool(w.T, "", "--format", "json", "mdbox", "stat", "-u", "u")
	var st admin.StoreStatResult
	if err := json.Unmarshal([]byte(out), &st); status != 0 || err != nil {
		return fmt.Errorf("mdbox stat: %d, %w: %s", status, err, out)
	}
	messages, emails := mailsByID(w.T, w.daemon.imap, w.password)
	if st.Messages != messages || st.Stored != emails {
		return fmt.Errorf("the catalog counts %d messages and %d in the files, there are %d and %d", st.Messages, st.Stored, messages, emails)
	}
	for _, f := range st.Files {
		if f.State != "ok" && f.State != "tail" && f.State != "unknown" || w.kills == 0 && f.State != "ok" {
			return fmt.Errorf("%s is %s: %+v", f.File, f.State, st)
		}
	}
	return nil
}

// commands are what the tool does in a round.
func (w *mdboxWorld) commands(n int) [][]string {
	all := [][]string{
		{"purge", "-u", "u"}, {"altmove", "-u", "u", "*"}, {"altmove", "-u", "u", "-r", "*"}, {"mdbox", "stat", "-u", "u"},
		{"fetch", "-u", "u", "INBOX", "1", "--verify", "--password-file", "-"},
		{"cryptokey", "check", "-u", "u", "--password-file", "-"}, {"cryptokey", "rewrap", "-u", "u", "--password-file", "-"},
	}
	return [][]string{all[0], all[1+n%6], all[1+w.rand.IntN(6)]}
}

// tool runs a command beside the daemon, which must succeed unless that is killed.
func (w *mdboxWorld) tool(args []string) error {
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", w.daemon.config}, args...)...)
	cmd.SysProcAttr = credential()
	cmd.Stdin = strings.NewReader(w.password + "\n")
	out, err := cmd.CombinedOutput()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && !w.killed {
		return fmt.Errorf("doveadm-crypt %s: %w: %s", strings.Join(args, " "), err, tail(string(out), 2000))
	}
	w.ran[strings.Join(args[:min(5, len(args))], " ")]++
	return nil
}

// changePassword changes it, while clients are logged in.
func (w *mdboxWorld) changePassword(n int) error {
	next := fmt.Sprint("pw", n+1)
	out, status := w.daemon.tool(w.T, w.password+"\n"+next+"\n", "user", "password", "-u", "u", "-s", "PLAIN")
	if status != 0 {
		return fmt.Errorf("user password: %d: %s", status, out)
	}
	w.password = next
	w.ran["user password"]++
	for _, worker := range w.workers {
		worker.password = next
	}
	for _, c := range w.clients {
		c.Password = next
	}
	return nil
}

// dryRun has a rebuild compare the catalog with the files while the daemon does not run.
func (w *mdboxWorld) dryRun() error {
	out, status := w.daemon.tool(w.T, "", "--format", "json", "force-resync", "-u", "u", "--dry-run")
	var r admin.ResyncResult
	if err := json.Unmarshal([]byte(out), &r); status != 0 || err != nil {
		return fmt.Errorf("force-resync: %d, %w: %s", status, err, out)
	}
	// What a kill has left behind the known messages of a file would come back into the folder
	// of its first save, which may be gone.
	created := slices.DeleteFunc(r.Created, func(name string) bool {
		return slices.ContainsFunc(r.Placed, func(p admin.FolderCount) bool { return p.Folder == name })
	})
	if len(r.Missing) > 0 || r.LostCopies > 0 || len(r.Unreadable) > 0 || len(created) > 0 || r.NoCatalog ||
		w.kills == 0 && (!r.Whole || len(r.Placed) > 0) {
		return fmt.Errorf("the store is not whole: %s", out)
	}
	w.ran["force-resync --dry-run"]++
	return nil
}

// deliver sends messages to INBOX.
func (w *mdboxWorld) deliver(id string) error {
	for n := range 4 {
		name := fmt.Sprintf("%s-%d", id, n)
		w.mu.Lock()
		w.offered[name] = false
		w.mu.Unlock()
		replies, err := deliverLMTP(w.daemon.lmtp, "s@example.org", []string{"u"}, mail(name, 1000+len(name)))
		w.mu.Lock()
		acked := err == nil && strings.HasPrefix(replies[0], "250")
		w.offered[name] = acked
		killed := w.killed
		if acked {
			w.count++
		}
		w.mu.Unlock()
		if !acked && !killed {
			return fmt.Errorf("delivery of %s: %v %w", name, replies, err)
		}
		if !acked {
			return nil
		}
	}
	return nil
}

// delivered looks for what was delivered, and expunges some of it.
func (w *mdboxWorld) delivered() error {
	c := login(w.T, w.daemon.imap, "u", w.password)
	defer c.close()
	found, uids := map[string]int{}, map[string]int{}
	for uid, f := range c.fetchAll("INBOX") {
		_, id, _ := bytes.Cut(f.body, []byte("Subject: "))
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		name := string(id)
		if _, ok := w.offered[name]; !ok {
			if strings.HasPrefix(name, "l") {
				return fmt.Errorf("%s was expunged, and is there", name)
			}
			continue
		}
		if found[name]++; !bytes.HasSuffix(f.body, mail(name, 1000+len(name))) {
			return fmt.Errorf("%s has other bytes", name)
		}
		uids[name] = uid
	}
	for name, acked := range w.offered {
		if found[name] > 1 || acked && found[name] != 1 {
			return fmt.Errorf("%s (acknowledged: %v) is there %d times", name, acked, found[name])
		}
		if found[name] == 0 {
			delete(w.offered, name) // it was not saved
		}
	}
	c.do("SELECT INBOX")
	for _, name := range slices.Sorted(maps.Keys(uids)) {
		if w.rand.IntN(2) > 0 {
			continue
		}
		for _, cmd := range []string{`UID STORE %d +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE %d"} {
			if a := c.do(cmd, uids[name]); !a.ok() {
				return errors.New(a.tagged)
			}
		}
		delete(w.offered, name)
	}
	return nil
}

// idle waits in INBOX for a message to be announced.
func (w *mdboxWorld) idle() error {
	c, err := tryIMAP(w.T, w.daemon.imap)
	if err != nil {
		return w.unlessKilled(err)
	}
	defer c.c.Close()
	for _, cmd := range []string{"LOGIN u " + w.password, "SELECT INBOX"} {
		if _, err := c.must("%s", cmd); err != nil {
			return w.unlessKilled(err)
		}
	}
	fmt.Fprint(c.c, "i IDLE\r\n")
	for range 3 {
		if _, err := c.readOne(); err != nil {
			return w.unlessKilled(err)
		}
	}
	return nil
}

func (w *mdboxWorld) unlessKilled(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed {
		return nil
	}
	return err
}

// end has nobody left but the daemon, which must hold no message file open then, and looks
// for plaintext.
func (w *mdboxWorld) end() {
	w.Helper()
	for _, worker := range w.workers {
		worker.cut()
	}
	for _, c := range w.clients {
		c.Cut()
	}
	if out, status := w.daemon.tool(w.T, "", "purge", "-u", "u"); status != 0 {
		w.Errorf("purge: %d: %s", status, out)
	}
	var open []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		open = nil
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.daemon.cmd.Process.Pid))
		for _, fd := range fds {
			if name, _ := os.Readlink(fd); strings.Contains(name, "/storage/m.") || strings.Contains(name, ".temp.") || strings.HasSuffix(name, "(deleted)") {
				open = append(open, name)
			}
		}
		if len(open) == 0 {
			break
		}
	}
	if len(open) > 0 {
		w.Errorf("open files are left: %v", open)
	}
	w.daemon.bounded(w.T)
	w.daemon.stop(w.T)
	if n := w.canary.Check(w.T, w.daemon.dir); n < 4 {
		w.Errorf("only %d files were looked at", n)
	}
	if err := w.dryRun(); err != nil {
		w.Error(err)
	}
}
