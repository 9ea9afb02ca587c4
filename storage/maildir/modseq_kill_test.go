package maildir

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

// childRoot is the environment variable that makes this test binary the process to be killed.
const childRoot = "MAILDIR_TEST_CHILD_ROOT"

// A tale is what a process has told a client.
type tale struct {
	Since   mailbox.ModSeq
	Picture map[mailbox.UID]string
}

// TestModSeqChild is the process that TestModSeqKill kills. It changes the mailbox at random
// and tells what it may tell.
func TestModSeqChild(t *testing.T) {
	root := os.Getenv(childRoot)
	if root == "" {
		t.Skip("this is for TestModSeqKill")
	}
	h, err := Open(Location{Root: root, Layout: PlusPlus}, Options{Host: "test", LockWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h.cache.Delay = 3 * time.Millisecond
	m, err := h.OpenMailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	for {
		if err := childStep(m); err != nil {
			t.Fatal(err)
		}
		if rand.IntN(3) > 0 {
			continue
		}
		v, err := m.Sync(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SyncModSeqs(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := out.Encode(tale{v.HighestModSeq, pictureOf(v)}); err != nil {
			t.Fatal(err)
		}
	}
}

func childStep(m *Mailbox) error {
	ctx := context.Background()
	v := m.View()
	if n := rand.IntN(10); v.Len() == 0 || n == 0 && v.Len() < 30 {
		_, err := trySave(m, "x", mailbox.SaveInfo{NeedUID: rand.IntN(2) == 0, Flags: flags(`\Seen`)})
		if err == nil {
			_, err = m.Sync(ctx)
		}
		return err
	} else if n == 1 && v.Len() > 5 {
		return m.Expunge(ctx, []mailbox.UID{v.At(rand.IntN(v.Len())).UID})
	}
	uid := v.At(rand.IntN(v.Len())).UID
	return setFlags(ctx, m, []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.FlagOp(rand.IntN(2)), Flags: flags(`\Flagged`)})
}

// TestModSeqKill kills a process at any moment; what it had told clients must serve them
// afterwards.
func TestModSeqKill(t *testing.T) {
	inMemory(t)
	l := newLocation(t)
	told, tales := mailbox.ModSeq(0), 0
	for round := range 25 {
		heard := runChild(t, l.Root, time.Duration(rand.IntN(40_000))*time.Microsecond)
		removeLocks(t, l.Root)
		tales += len(heard)
		if len(heard) > 0 {
			told = max(told, heard[len(heard)-1].Since)
		}
		if rand.IntN(3) == 0 { // and then another program
			foreignAfterKill(t, l.Root)
		}
		h := openTree(t, l, Options{Host: "test"})
		m := openBox(t, h, "INBOX")
		v, err := m.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v.HighestModSeq < told {
			t.Errorf("round %d: HighestModSeq %d, told was %d", round, v.HighestModSeq, told)
		}
		for _, c := range heard {
			gone, complete, err := m.Expunged(t.Context(), c.Since)
			if err != nil || !complete {
				t.Errorf("round %d: expunged since %d: complete %v, %v", round, c.Since, complete, err)
			}
			for _, uid := range gone {
				delete(c.Picture, uid)
			}
			for _, msg := range v.All() {
				if msg.ModSeq > c.Since {
					c.Picture[msg.UID] = pictureLine(msg)
				}
			}
			if want := pictureOf(v); !maps.Equal(c.Picture, want) {
				t.Fatalf("round %d: client since %d has\n%v, want\n%v", round, c.Since, c.Picture, want)
			}
		}
		m.Close()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if tales < 100 {
		t.Errorf("only %d times was anything told", tales)
	}
}

// runChild runs the process for a while after it has begun to tell, and returns what it told.
func runChild(t *testing.T, root string, d time.Duration) (heard []tale) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestModSeqChild$")
	cmd.Env = append(os.Environ(), childRoot+"="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the line that it was killed in was not told
		}
		var c tale
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			_ = cmd.Process.Kill()
			t.Errorf("the process says %q", line)
			break
		}
		if len(heard) == 0 {
			time.AfterFunc(d, func() { _ = cmd.Process.Signal(unix.SIGKILL) })
		}
		heard = append(heard, c)
	}
	_ = cmd.Wait() // it was killed
	return heard
}

// foreignAfterKill puts a flag back that was perhaps told, and removes a message.
func foreignAfterKill(t *testing.T, root string) {
	t.Helper()
	cur := filepath.Join(root, "cur")
	for i, name := range names(t, cur) {
		base, letters, _ := strings.Cut(name, ":2,")
		switch i % 4 {
		case 0:
			mustRename(t, filepath.Join(cur, name), filepath.Join(cur, fmt.Sprint(base, ":2,", toggle(letters, "F"))))
		case 1:
			if i == 1 {
				mustRemove(t, filepath.Join(cur, name))
			}
		}
	}
}
