package mdbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// killRoot tells the test binary that it is the process to be killed, and where its store is.
const killRoot = "MDBOX_TEST_KILL_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(killRoot); root != "" {
		if err := saveUntilKilled(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// saveUntilKilled saves, copies and expunges, and says what it has finished.
func saveUntilKilled(root string) error {
	ctx := context.Background()
	h, err := Open(ctx, killLocation(root), Options{RotateSize: 64 << 10})
	if err != nil {
		return err
	}
	if err := h.Create(ctx, "Other"); err != nil && !errors.Is(err, mailbox.ErrExists) {
		return err
	}
	in, err := h.OpenMailbox(ctx, "INBOX")
	if err != nil {
		return err
	}
	other, err := h.OpenMailbox(ctx, "Other")
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- moveUntilKilled(ctx, h) }()
	for g := range 3 {
		go func() {
			for n := 0; ; n++ {
				if err := useAndSay(in, other, fmt.Sprintf("%d.%d.%d", os.Getpid(), g, n), n); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func killLocation(root string) Location { return Location{Root: root, Alt: root + ".alt"} }

// moveUntilKilled moves messages between files and directories, and says when it has.
func moveUntilKilled(ctx context.Context, h *Hierarchy) error {
	for n := mailbox.UID(1); ; n++ {
		if _, err := h.Purge(ctx); err != nil {
			return err
		}
		if n%2 == 0 {
			if _, err := h.AltMove(ctx, n%4 == 0, func(_ string, m mailbox.Message) bool { return m.UID%3 == n%3 }); err != nil {
				return err
			}
		}
		fmt.Printf("moved %d.0.%d\n", os.Getpid(), n)
	}
}

// useAndSay saves one message, and does more with some. A line is one write.
func useAndSay(in, other *Mailbox, id string, n int) error {
	ctx := context.Background()
	say := func(word string) { fmt.Printf("%s %s\n", word, id) }
	say("begin")
	uid, err := trySave(in, "Subject: "+id+"\n\n"+strings.Repeat("x", rand.IntN(9000)), mailbox.SaveInfo{})
	if err != nil {
		return err
	}
	say("saved")
	if n%3 == 0 {
		msg, err := in.Stat(ctx, uid)
		if err != nil {
			return err
		}
		if _, err = other.Link(ctx, in, uid, mailbox.SaveInfo{Received: msg.Received, GUID: msg.GUID}); err != nil {
			return err
		}
		say("copied")
	}
	if n%4 == 1 {
		say("expunging")
		if err := in.Expunge(ctx, []mailbox.UID{uid}); err != nil {
			return err
		}
		say("expunged")
	}
	return nil
}

// A process that is killed at any moment loses nothing that it has acknowledged.
func TestKill(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("MDBOX_KILLS"))
	if err != nil {
		rounds = 4
	}
	if testing.Short() {
		rounds = 2
	}
	l := killLocation(newLocation(t).Root)
	if err := os.MkdirAll(l.Alt, 0o700); err != nil {
		t.Fatal(err)
	}
	said := map[string]map[string]bool{} // word => ids
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killRoot+"="+l.Root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		saved := make(chan struct{}, 1000)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := bufio.NewScanner(out); s.Scan(); {
				word, id, ok := strings.Cut(s.Text(), " ")
				if !ok || len(strings.Split(id, ".")) != 3 {
					continue
				}
				if said[word] == nil {
					said[word] = map[string]bool{}
				}
				said[word][id] = true
				if word == "saved" {
					select {
					case saved <- struct{}{}:
					default:
					}
				}
			}
		}()
		for range 20 {
			select {
			case <-saved:
			case <-time.After(time.Minute):
				t.Error("nothing is saved")
			}
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-done
		checkKilled(t, l, said, false)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if len(said["moved"]) == 0 {
		t.Error("nothing was moved")
	}
	// A rebuild finds every message where it was, and what was left behind by the kills besides.
	r, err := Resync(t.Context(), l, Options{}, ResyncOptions{})
	if err != nil || len(r.Missing) > 0 || r.LostCopies > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	checkKilled(t, l, said, true)
	h := openStore(t, l, Options{})
	defer h.Close()
	if done, err := h.Purge(t.Context()); err != nil || len(done.Left) > 0 && len(r.Damaged) == 0 {
		t.Errorf("%+v, %v", done, err)
	}
	checkStore(t, h)
}

// checkKilled compares a store with what was said. After a rebuild what was expunged may be
// back, for an interrupted move leaves copies.
func checkKilled(t *testing.T, l Location, said map[string]map[string]bool, rebuilt bool) {
	t.Helper()
	h := openStore(t, l, Options{})
	defer h.Close()
	checkStore(t, h)
	found := map[string]map[string]int{}
	for _, name := range []string{"INBOX", "Other"} {
		m := openBox(t, h, name)
		found[name] = map[string]int{}
		for _, msg := range m.View().All() {
			text, err := readText(m, msg.UID)
			if err != nil {
				t.Error(err)
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(text, "Subject: "), "\n")
			found[name][id]++
			if !said["begin"][id] || found[name][id] > 1 {
				t.Errorf("%s: message %q is there %d times", name, id, found[name][id])
			}
		}
	}
	for id := range said["saved"] {
		n := found["INBOX"][id]
		if !said["expunging"][id] && n != 1 || said["expunged"][id] && n != 0 && !rebuilt {
			t.Errorf("message %s, expunged %v, is there %d times", id, said["expunged"][id], n)
		}
	}
	for id := range said["copied"] {
		if found["Other"][id] != 1 {
			t.Errorf("copy %s is lost", id)
		}
	}
}
