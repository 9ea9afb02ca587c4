package acceptance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func ownerOf(fi os.FileInfo) int { return int(fi.Sys().(*syscall.Stat_t).Uid) }

// TestKill kills the daemon in the middle of deliveries, again and again. Every message that
// got its 250 must be there once, with the bytes that were sent; none may be there in half.
func TestKill(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 10
	}
	if s := os.Getenv("KILL_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	dir := scratch(t)
	d := setup{
		dir: dir, users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1\n",
		rest:  "[zlib]\nsave = \"zstd\"\n",
	}.configure(t)
	d.start(t)
	login(t, d.imap, "u", "pw")

	type sent struct {
		body  []byte
		acked bool
	}
	all := map[string]*sent{}
	var mu sync.Mutex
	for round := range rounds {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for worker := range 3 {
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					id := fmt.Sprintf("r%d-w%d-n%d", round, worker, n)
					body := mail(id, 200+rand.IntN(40_000))
					s := &sent{body: body}
					mu.Lock()
					all[id] = s
					mu.Unlock()
					replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, body)
					if err != nil {
						return
					}
					mu.Lock()
					s.acked = strings.HasPrefix(replies[0], "250")
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		d.kill()
		close(stop)
		wg.Wait()
		if strings.Contains(d.log.String(), "panic") {
			t.Fatalf("round %d: a panic:\n%s", round, tail(d.log.String(), 4000))
		}
		d.start(t)
	}

	found := map[string]int{}
	c := login(t, d.imap, "u", "pw")
	c.do("EXAMINE INBOX")
	for _, f := range c.fetchAll("INBOX") {
		header, _, _ := bytes.Cut(f.body, []byte("\r\n\r\n"))
		_, id, _ := bytes.Cut(header, []byte("Subject: "))
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		s := all[string(id)]
		if s == nil {
			t.Fatalf("UID %d is a message that nobody sent", f.uid)
		}
		if !bytes.HasSuffix(f.body, s.body) || !bytes.HasPrefix(f.body, []byte("Return-Path: <s@example.org>\r\n")) {
			t.Errorf("message %s is not what was sent", id)
		}
		found[string(id)]++
	}
	acked := 0
	for id, s := range all {
		if s.acked {
			acked++
		}
		if n := found[id]; n > 1 || s.acked && n != 1 {
			t.Errorf("message %s (acknowledged: %v) is there %d times", id, s.acked, n)
		}
	}
	t.Logf("%d rounds, %d messages sent, %d acknowledged, %d found", rounds, len(all), acked, len(found))
	if acked == 0 {
		t.Error("no message was acknowledged in any round")
	}
}

// rss is a process's resident memory in bytes.
func rss(t testing.TB, pid int, field string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	t.Fatalf("no %s in /proc", field)
	return 0
}

// TestLargeMessageMemory passes 50 MiB through LMTP, storage and FETCH, for each compression,
// and looks at the peak of the daemon's memory.
func TestLargeMessageMemory(t *testing.T) {
	for _, compression := range []string{"", "zstd", "gz", "lz4", "bz2"} {
		t.Run(cond(compression, "plain"), func(t *testing.T) {
			length := 50 << 20
			if compression == "bz2" {
				length = 15 << 20 // it is the slowest by far
			}
			dir := scratch(t)
			d := setup{
				dir: dir, users: "u:{PLAIN}pw::::::mail_crypt_save_version=2\n",
				crypt: "curve = \"prime256v1\"\n",
				rest:  fmt.Sprintf("[zlib]\nsave = %q\n", compression),
			}.start(t)
			c := login(t, d.imap, "u", "pw")
			small := mail("small", 2000)
			if replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, small); err != nil || !strings.HasPrefix(replies[0], "250") {
				t.Fatal(replies, err)
			}
			c.fetchAll("INBOX")
			before := rss(t, d.cmd.Process.Pid, "VmHWM")
			m := mail("large", length)
			replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, m)
			if err != nil || !strings.HasPrefix(replies[0], "250") {
				t.Fatal(replies, err)
			}
			got := c.fetchAll("INBOX")[2]
			if !bytes.HasSuffix(got.body, m) || got.size != len(got.body) {
				t.Fatalf("the large message came back as %d bytes, size %d; sent %d", len(got.body), got.size, len(m))
			}
			c.do("EXAMINE INBOX")
			a := c.do("UID FETCH 2 (BODYSTRUCTURE BODY.PEEK[]<%d.1000>)", length/5*4)
			if !a.ok() {
				t.Error(a.tagged)
			}
			after := rss(t, d.cmd.Process.Pid, "VmHWM")
			t.Logf("peak memory grew from %d to %d MiB", before>>20, after>>20)
			if after-before >= 32<<20 {
				t.Errorf("peak memory grew by %d MiB, want less than 32", (after-before)>>20)
			}
		})
	}
}
