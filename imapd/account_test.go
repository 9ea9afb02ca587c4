package imapd

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/account"
	"mailcrypt/userdb"
)

// An accountWorld is a server over accounts in Maildirs, with encrypted mail, and its users
// are those that log in.
type accountWorld struct {
	*fixture
	dir      string
	registry *account.Registry
}

func (w *accountWorld) Login(ctx context.Context, user string, password []byte, _ net.Addr) (*account.Login, error) {
	return w.registry.Login(ctx, &userdb.User{Name: user, UID: -1, GID: -1, Fields: map[string]string{"imap_metadata": "yes"}}, password)
}

func newAccountWorld(t testing.TB, change ...func(*Options)) *accountWorld {
	dir := t.TempDir()
	w := &accountWorld{dir: dir, fixture: &fixture{t: t, metrics: &fakeMetrics{}}}
	w.registry = account.NewRegistry(account.Options{Idle: time.Millisecond, Defaults: account.Defaults{
		MailHome: dir + "/%u", MailLocation: "maildir:~/Maildir", AttributeDict: "bolt:~/attributes", Separator: "/",
		Crypt: map[string]string{"curve": "prime256v1", "private_password": "%{password}", "seal_rounds": "1", "save_version": "2"},
	}})
	o := Options{Authenticator: w, Metrics: w.metrics, Logger: slog.New(panicLog{t: t}), MaxDelay: -1}
	o.Timeouts.AuthDelay, o.Timeouts.Write = time.Millisecond, time.Second
	for _, c := range change {
		c(&o)
	}
	w.srv = NewServer(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	go w.srv.Serve(l, false)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := w.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- w.registry.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Error("something is still open")
		}
		if w.metrics.panics > 0 {
			t.Errorf("%d panics", w.metrics.panics)
		}
	})
	return w
}

// held counts what a process holds for its clients.
type held struct{ goroutines, files, watches, temporary int }

func (h held) within(o held) bool {
	return h.goroutines <= o.goroutines && h.files <= o.files && h.watches <= o.watches && h.temporary <= o.temporary
}

func (w *accountWorld) held() (h held) {
	h.goroutines = runtime.NumGoroutine()
	entries, _ := os.ReadDir("/proc/self/fd")
	h.files = len(entries)
	infos, _ := filepath.Glob("/proc/self/fdinfo/*")
	for _, name := range infos {
		b, _ := os.ReadFile(name)
		h.watches += strings.Count(string(b), "inotify wd:")
	}
	filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && filepath.Base(filepath.Dir(path)) == "tmp" && !strings.HasSuffix(path, ".lock") {
			h.temporary++
		}
		return nil
	})
	return h
}

// Whatever a client is doing when it vanishes, nothing of it stays: no goroutine, open file,
// watch, unfinished message or transaction.
func TestVanishingClients(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	w := newAccountWorld(t)
	a := &attack{t: t, f: w.fixture}
	a.dial()
	a.say("LOGIN alice secret")
	for _, name := range []string{"work", "other"} {
		a.say("CREATE " + name)
	}
	large := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("z", 76)+"\r\n", 8<<20/78)
	for range 3 {
		if p := a.command([]piece{{text: fmt.Sprintf("APPEND INBOX {%d+}", len(large)), literal: []byte(large)}, {}}); p.name != "OK" {
			t.Fatal(p.text)
		}
	}
	for range 20 {
		a.command([]piece{{text: fmt.Sprintf("APPEND work {%d+}", len(simple)), literal: []byte(simple)}, {}})
	}
	a.say("SELECT INBOX")
	a.say("IDLE") // the one watcher of all is made, and stays
	a.say("LOGOUT")
	a.nc.Close()
	time.Sleep(200 * time.Millisecond)
	before := w.held()
	before.goroutines++ // of the subtest

	const in, sel = "a LOGIN alice secret\r\n", "a LOGIN alice secret\r\nb SELECT INBOX\r\n"
	const mail = "From: a@b\r\n\r\nx\r\n"
	for _, tt := range []struct{ name, send string }{
		{"at once", ""}, {"within a tag", "a"}, {"before the password", "a LOGIN alice {6+}\r\nsec"}, {"while logging in", in},
		{"within AUTHENTICATE", "a AUTHENTICATE PLAIN\r\nAGFs"}, {"selecting", sel}, {"within a line", sel + "c FETCH 1"},
		{"reading nothing", sel + strings.Repeat("c FETCH 1:* BODY.PEEK[]\r\n", 5)}, {"idle", sel + "c IDLE\r\n"},
		{"watching", sel + "c NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName)) (SELECTED (MessageNew (BODY.PEEK[]) MessageExpunge))\r\n"},
		{"idle and watching", sel + "c NOTIFY SET (PERSONAL (MessageNew MessageExpunge))\r\nd IDLE\r\n"},
		{"watching twice", in + strings.Repeat("c NOTIFY SET (PERSONAL (MessageNew MessageExpunge))\r\n", 2)},
		{"appending", in + "c APPEND INBOX {1000+}\r\nSubject: half"}, {"appending what was not asked for", in + "c APPEND INBOX {1000}\r\n"},
		{"appending a second", in + fmt.Sprintf("c APPEND INBOX {%d+}\r\n%s {1000+}\r\nSub", len(mail), mail)},
		{"catenating", sel + `c APPEND INBOX CATENATE (URL "/INBOX/;UID=1" URL "/work/;UID=1" TEXT {1000+}` + "\r\nhalf"},
		{"replacing", sel + "c REPLACE 1 work {1000+}\r\nhalf"}, {"copying", sel + "c COPY 1:* other\r\n"},
		{"moving", in + "b SELECT work\r\nc MOVE 1:2 other\r\n"}, {"searching", sel + "c SEARCH TEXT nothing\r\n"},
		{"sorting", in + "b SELECT work\r\nc SORT (SUBJECT FROM) UTF-8 ALL\r\nd THREAD REFERENCES UTF-8 ALL\r\n"},
		{"compressing", sel + "c COMPRESS DEFLATE\r\n\x00\x05\x00\xfa\xffd NO"}, {"setting an annotation", sel + "c SETMETADATA INBOX (/private/comment {100+}\r\nhalf"},
		{"unauthenticated", sel + "c NOTIFY SET (PERSONAL (MessageNew MessageExpunge))\r\nd UNAUTHENTICATE\r\n"},
		{"selecting anew", strings.Repeat(sel[len(in):], 1) + in + strings.Repeat("b SELECT work\r\nb EXAMINE INBOX\r\n", 20)},
		{"deleting", in + "b CREATE gone\r\nc SELECT gone\r\nd DELETE gone\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for way := range 6 {
				nc, err := net.Dial("tcp", w.addr)
				if err != nil {
					t.Fatal(err)
				}
				tcp := nc.(*net.TCPConn)
				tcp.Write([]byte(tt.send))
				if way%2 == 1 {
					time.Sleep(20 * time.Millisecond)
				}
				switch way / 2 {
				case 0:
					tcp.SetLinger(0) // a reset
				case 1:
					tcp.CloseWrite() // half closed, and nobody reads
					time.Sleep(20 * time.Millisecond)
				}
				tcp.Close()
			}
			var now held
			for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if now = w.held(); now.within(before) {
					return
				}
			}
			stacks := make([]byte, 1<<16)
			t.Errorf("%+v, before %+v\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
		})
	}
}

// Sessions that move mail and mailboxes about between each other's are all answered. RACES is
// for how long.
func TestTangledSessions(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("RACES"))
	if err != nil {
		long = 2 * time.Second
	}
	w := newAccountWorld(t, func(o *Options) { o.Timeouts.Notice = 10 * time.Millisecond })
	commands := strings.Split(`SELECT %[1]s
SELECT %[1]s
EXAMINE %[1]s
COPY 1:* %[1]s
MOVE 1:* %[1]s
MOVE 1:3 %[1]s
UID MOVE 1:* %[1]s
STORE 1:* +FLAGS (\Deleted k1)
STORE 1:* -FLAGS (\Deleted)
EXPUNGE
CLOSE
CREATE %[1]s
DELETE %[1]s
RENAME %[1]s %[2]s
RENAME INBOX %[1]s
STATUS %[1]s (MESSAGES UNSEEN SIZE HIGHESTMODSEQ)
LIST "" * RETURN (STATUS (MESSAGES))
FETCH 1:* (FLAGS BODY.PEEK[])
SEARCH TEXT line
NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName)) (SELECTED (MessageNew MessageExpunge FlagChange))
NOTIFY NONE
IDLE
SETMETADATA %[1]s (/private/comment "x")
SUBSCRIBE %[1]s
APPEND %[1]s CATENATE (URL "/%[2]s/;UID=1" URL "/INBOX/;UID=1")
UNAUTHENTICATE`, "\n")
	boxes := []string{"INBOX", "a", "b", "c", "a/d"}
	end := time.Now().Add(long)
	counts := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for k := range uint64(4) {
		r := rand.New(rand.NewPCG(rand.Uint64(), k))
		all.Go(func() {
			a := &attack{t: t, f: w.fixture}
			a.dial()
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				if a.ended {
					a.nc.Close()
					a.dial()
				}
				if !a.known {
					a.say("LOGIN alice secret")
					continue
				}
				from, to := boxes[r.IntN(len(boxes))], boxes[r.IntN(len(boxes))]
				command := []piece{{text: "APPEND " + from + fmt.Sprintf(" {%d+}", len(simple)), literal: []byte(simple)}, {text: fmt.Sprintf(" {%d+}", len(multipart)), literal: []byte(multipart)}, {}}
				name := "APPEND"
				if i := r.IntN(len(commands) + 3); i < len(commands) {
					line := fmt.Sprintf(commands[i]+"%[3]s", from, to, "")
					command, name = []piece{{text: line}}, strings.Fields(line)[0]
				}
				if a.sent = a.sent[max(0, len(a.sent)-200):]; a.nc.SetDeadline(time.Now().Add(time.Minute)) != nil {
					a.fail("no deadline")
				}
				p := a.command(command)
				if p == nil {
					continue
				}
				if strings.Contains(p.text, "SERVERBUG") {
					a.fail("%s", p.text)
				}
				mu.Lock()
				counts[name+" "+p.name]++
				mu.Unlock()
			}
			a.nc.Close()
		})
	}
	all.Wait()
	t.Log(counts)
}
