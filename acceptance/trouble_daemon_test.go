package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/admin"
)

// A sickness is a way in which a daemon fails those who ask it.
type sickness struct {
	name  string
	serve func(c net.Conn) // nil: the socket is there, and nobody listens
	needs string           // who meets it
	want  int
	says  string
}

var hello = fmt.Sprintf("mailcryptd-admin %d\n", admin.Version)

// asked greets, reads a request and answers with text before the connection ends.
func asked(greeting, text string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		io.WriteString(c, greeting)
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, text)
	}
}

// silent writes text and then hangs.
func silent(text string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, text)
		io.Copy(io.Discard, c)
	}
}

var sicknesses = []sickness{
	{"nobody listens", nil, "d", 69, `no daemon answers on .*admin.sock; start it: systemctl start`},
	{"hangs before a word", silent(""), "ad", 69, `the daemon does not answer: .*; see its log, and restart it: systemctl restart`},
	{"hangs in a request", silent(hello), "ad", 69, `the daemon does not answer for 30s, and may have done what it was asked for, or not; see its log`},
	{"dies before a word", func(c net.Conn) { c.Close() }, "ad", 75, `hung up before a word .*; do it again in a moment, as root`},
	{"dies in a request", asked(hello, ""), "ad", 75, `the daemon went away, and may have done it or not; look, and do it again`},
	{"dies in an answer", asked(hello, `{"result":{"keys":[{"id":"`), "ad", 75, `the daemon went away, and may have done it or not; look, and do it again`},
	{"is older", silent("mailcryptd-admin 1\n"), "ad", 75, `older than this program's \d+; restart it: systemctl restart`},
	{"is newer", silent("mailcryptd-admin 99\n"), "ad", 75, `newer than this program's \d+; use the doveadm-crypt of its release`},
	{"is something else", silent("* OK IMAP4rev1 ready\r\n"), "ad", 75, `is no mailcryptd of today; restart it`},
	{"talks nonsense", asked(hello, "{{{\n"), "ad", 75, `the daemon's answer makes no sense to this program; restart it`},
	{"answers nothing", asked(hello, "{}\n"), "ad", 75, `the daemon's answer makes no sense to this program; restart it`},
	{"answers in another form", asked(hello, `{"result":[[7]]}`+"\n"), "ad", 75, `the daemon's answer makes no sense to this program; restart it`},
}

// TestSickDaemon lets every command that asks the daemon ask one that is not well.
func TestSickDaemon(t *testing.T) {
	t.Parallel()
	made := newTroubled(t, boltDict)
	for _, sick := range sicknesses {
		t.Run(sick.name, func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting
			s := made.copyTo(t, scratch(t))
			s.listen(t, sick.serve)
			tr := trouble{needs: sick.needs, status: sick.want, says: sick.says}
			var wg sync.WaitGroup // some wait
			for _, c := range troubleCommands {
				if tr.want(c) != 0 {
					wg.Go(func() { tr.meet(t, s, c) })
				}
			}
			wg.Wait()
			if sick.serve == nil { // then the tool does the work itself
				for _, c := range troubleCommands {
					if c.meets("dwU") {
						continue
					}
					if _, stderr, status := s.separate(t, c.stdin, c.args); status != 0 {
						t.Errorf("%s without a daemon: status %d: %s", c.args, status, stderr)
					}
				}
			}
		})
	}
}

// TestPatientWithABusyDaemon: a daemon that works for longer than one may be silent is waited
// for. It waits for Dovecot's lock on the dictionary.
func TestPatientWithABusyDaemon(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 40 seconds")
	}
	t.Parallel()
	s := newTroubled(t, fileDict)
	s.start(t)
	s.dialAdmin(t)
	lockFileDict(t, s)
	lock := s.dictFiles()[0] + ".lock"
	go func() {
		// Dovecot touches a lock that it holds for long; who waits takes it to be stale otherwise.
		for range 40 {
			time.Sleep(time.Second)
			os.Chtimes(lock, time.Time{}, time.Now())
		}
		os.Remove(lock)
	}()
	begin := time.Now()
	if _, stderr, status := s.separate(t, "", "cryptokey generate -u alice --force INBOX"); status != 0 || time.Since(begin) < 35*time.Second {
		t.Errorf("after %v: status %d: %s", time.Since(begin), status, stderr)
	}
}

// TestDiskFillsUp runs each command that writes with a little more room each time. Either it
// is done, or refused; after that there is room again, the old password opens every key, and
// the same command is done.
func TestDiskFillsUp(t *testing.T) {
	for _, dict := range []string{boltDict, fileDict} {
		made := newTroubled(t, dict)
		t.Run(dict[:4], func(t *testing.T) {
			refused, done := 0, 0
			for _, c := range troubleCommands {
				if !c.meets("wU") {
					continue
				}
				for free := 0; free <= 64<<10; free += 4 << 10 {
					s := made.copyTo(t, disk(t, "size=2m"))
					fill(t, s.dir, free)
					before := s.state(t)
					_, stderr, status := s.separate(t, c.stdin, c.args)
					if status == 0 {
						done++
						break
					}
					refused++
					if status != 75 {
						t.Errorf("%s with %d octets of room: status %d: %s", c.args, free, status, stderr)
					}
					judge(t, c.args, stderr, `(disk is full|no space left).*; make room and do it again`)
					if list := changes(before, s.state(t)); len(list) > 0 && !pendingOnly(c, list) {
						t.Errorf("%s with %d octets of room: %v", c.args, free, list)
					}
					s.opensAfter(t, c, free)
				}
			}
			t.Logf("%d were refused, %d done", refused, done)
			if refused < 5 || done < 10 {
				t.Error("the disk was not full where it should have been")
			}
		})
	}
}

// pendingOnly: a change of the login password that finds no room for the user database may
// leave its new seals beside the old ones, where they count for nothing.
func pendingOnly(c troubleCommand, list []string) bool {
	return strings.HasPrefix(c.args, "user password") && len(list) == 1 && strings.Contains(list[0], "homes/alice/")
}

// opensAfter makes room, wants the old password to open every key, and does the command.
func (s *troubled) opensAfter(t *testing.T, c troubleCommand, free int) {
	t.Helper()
	try(t, os.Remove(s.dir+"/filler"))
	if !strings.HasPrefix(c.args, "user delete") {
		if out, status := s.run(t, "old\n", "cryptokey check -u alice --open"); status != 0 {
			t.Errorf("%s with %d octets of room: then the keys are not well: %s", c.args, free, out)
		}
	}
	if out, status := s.run(t, c.stdin, c.args); status != 0 {
		t.Errorf("%s with %d octets of room, and then with more: status %d: %s", c.args, free, status, out)
	}
}
