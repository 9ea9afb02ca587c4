package acceptance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sealed is a user whose mail is encrypted and compressed.
func sealed(t testing.TB) setup {
	return setup{
		dir: scratch(t), users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1\n",
		rest:  "[zlib]\nsave = \"zstd\"\n",
	}
}

// multiAppend sends one APPEND of several messages. flags are for every other one, so that
// new and cur both get some.
func (i *imapConn) multiAppend(mailbox string, messages [][]byte) (answer, error) {
	i.c.SetDeadline(time.Now().Add(120 * time.Second))
	i.tag++
	fmt.Fprintf(i.c, "a%d APPEND %s", i.tag, quote(mailbox))
	for n, m := range messages {
		fmt.Fprintf(i.c, " %s{%d+}\r\n", []string{"", `(\Seen) `}[n%2], len(m))
		if _, err := i.c.Write(m); err != nil {
			return answer{}, err
		}
	}
	if _, err := i.c.Write([]byte("\r\n")); err != nil {
		return answer{}, err
	}
	return i.finish()
}

// TestKillMultiAppend kills the daemon in the middle of APPENDs of several messages. What was
// acknowledged is there, all of it; of the rest there may be some, but no message in half.
func TestKillMultiAppend(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	if s := os.Getenv("KILL_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	const group = 12
	d := sealed(t).start(t)
	sent, acked := map[string][]byte{}, map[string]bool{}
	for round := range rounds {
		c := login(t, d.imap, "u", "pw")
		stop := time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, d.kill)
		for n := 0; ; n++ {
			var ids []string
			var messages [][]byte
			for k := range group {
				id := fmt.Sprintf("r%d-n%d-k%d", round, n, k)
				ids, messages = append(ids, id), append(messages, mail(id, 100+rand.IntN(20_000)))
				sent[id] = messages[k]
			}
			a, err := c.multiAppend("INBOX", messages)
			if err != nil {
				break
			}
			for _, id := range ids {
				acked[id] = a.ok()
			}
		}
		stop.Stop()
		d.kill()
		if strings.Contains(d.log.String(), "panic") {
			t.Fatalf("round %d: a panic:\n%s", round, tail(d.log.String(), 4000))
		}
		d.start(t)
	}
	c := login(t, d.imap, "u", "pw")
	c.do("EXAMINE INBOX")
	found := map[string]int{}
	for _, f := range c.fetchAll("INBOX") {
		_, id, _ := bytes.Cut(f.body, []byte("Subject: "))
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		if found[string(id)]++; !bytes.Equal(f.body, sent[string(id)]) {
			t.Errorf("UID %d, message %q, is not what was sent", f.uid, id)
		}
	}
	good := 0
	for id := range sent {
		if acked[id] {
			good++
		}
		if n := found[id]; n > 1 || acked[id] && n != 1 {
			t.Errorf("message %s (acknowledged: %v) is there %d times", id, acked[id], n)
		}
	}
	t.Logf("%d rounds, %d messages sent, %d acknowledged, %d found", rounds, len(sent), good, len(found))
	if good == 0 {
		t.Error("no APPEND was acknowledged in any round")
	}
}

// TestMultiAppendMemory sends a thousand messages, 100 MiB together, in one command.
func TestMultiAppendMemory(t *testing.T) {
	count, size := 1000, 100<<10
	if testing.Short() {
		count = 200
	}
	d := sealed(t).start(t)
	c := login(t, d.imap, "u", "pw")
	if a := c.appendMail("INBOX", "", mail("warm", 2*size)); !a.ok() {
		t.Fatal(a.tagged)
	}
	pid := d.cmd.Process.Pid
	before := rss(t, pid, "VmHWM")
	messages := make([][]byte, count)
	for i := range messages {
		messages[i] = mail(fmt.Sprintf("m%d", i), size)
	}
	most := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		for {
			fds, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
			n = max(n, len(fds))
			select {
			case <-stop:
				most <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	begun := time.Now()
	a, err := c.multiAppend("INBOX", messages)
	took := time.Since(begun)
	close(stop)
	open := <-most
	if err != nil || !strings.HasSuffix(strings.Split(a.tagged, "]")[0], fmt.Sprintf(" 2:%d", count+1)) {
		t.Fatalf("APPEND: %.200s, %v", a.tagged, err)
	}
	after := rss(t, pid, "VmHWM")
	t.Logf("%d messages of %d KiB in %v; peak memory grew from %d to %d MiB, %d files were open",
		count, size>>10, took.Round(time.Millisecond), before>>20, after>>20, open)
	if after-before >= 32<<20 {
		t.Errorf("peak memory grew by %d MiB, want less than 32", (after-before)>>20)
	}
	if open > 64 {
		t.Errorf("%d files were open at once", open)
	}
	d.noLeftovers(t)
}

// TestCatenateSealed puts a message together from encrypted ones of two mailboxes, and
// replaces it; nothing of it is stored in clear.
func TestCatenateSealed(t *testing.T) {
	d := sealed(t).start(t)
	c := login(t, d.imap, "u", "pw")
	if a := c.do("CREATE Drafts"); !a.ok() || !strings.Contains(a.tagged, "[MAILBOXID (F") {
		t.Fatal(a.tagged)
	}
	part := bytes.Repeat([]byte("canary of the attachment\r\n"), 50_000) // it is read as a stream
	source := append([]byte("Subject: source\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		"--b\r\n\r\ncover\r\n--b\r\nContent-Type: text/x-data\r\n\r\n"), part...)
	source = append(source, "--b--\r\n"...)
	if a := c.appendMail("INBOX", "", source); !a.ok() {
		t.Fatal(a.tagged)
	}
	c.do("SELECT Drafts")
	head := "Subject: new\r\n\r\n"
	a := c.do("APPEND Drafts (\\Draft) CATENATE (TEXT {%d+}\r\n%s URL \"/INBOX/;UID=1/;SECTION=2\" URL /INBOX/;UID=1/;SECTION=1)", len(head), head)
	if !a.ok() {
		t.Fatal(a.tagged)
	}
	want := head + strings.TrimSuffix(string(part), "\r\n") + "cover"
	if got := c.fetchAll("Drafts")[1]; string(got.body) != want {
		t.Errorf("the catenated message has %d bytes, want %d", len(got.body), len(want))
	}
	c.do("SELECT Drafts") // fetchAll has examined it
	a = c.do("UID REPLACE 1 Drafts (\\Draft) CATENATE (URL ;UID=1/;SECTION=HEADER TEXT {8+}\r\nreplaced)")
	if !a.ok() {
		t.Fatal(a.tagged)
	}
	got := c.fetchAll("Drafts")
	if len(got) != 1 || string(got[2].body) != head+"replaced" {
		t.Errorf("after REPLACE: %d messages, %q", len(got), got[2].body)
	}
	a = c.do("UID FETCH 2 (PREVIEW SAVEDATE EMAILID)")
	if len(a.untagged) != 1 || !strings.Contains(a.untagged[0].line, `PREVIEW "replaced"`) {
		t.Errorf("FETCH: %+v", a)
	}
	c.close()
	d.kill()
	filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("canary of the attachment")) {
				t.Errorf("%s holds plaintext", path)
			}
		}
		return nil
	})
}
