package mfile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestKill kills a process that appends, and looks for every message that it has
// acknowledged. MFILE_KILLS sets the number of rounds.
func TestKill(t *testing.T) {
	if root := os.Getenv("MFILE_KILL_ROOT"); root != "" {
		appendForEver(root)
		return
	}
	rounds, err := strconv.Atoi(os.Getenv("MFILE_KILLS"))
	if err != nil {
		rounds = 8
	}
	root := t.TempDir()
	acked := map[Place]string{}
	for round := range rounds {
		killOne(t, root, round, acked)
	}
	if len(acked) < rounds {
		t.Errorf("only %d messages were acknowledged", len(acked))
	}
	for p, text := range acked {
		if s, err := newDir(t, Options{Root: root}).Open(p); err != nil || s.GUID != text {
			t.Errorf("%v: %v", p, err)
		} else {
			s.Close()
		}
	}
	// No two messages share bytes.
	for p := range acked {
		for q := range acked {
			if p != q && p.File == q.File && int64(p.Offset) < q.End() && int64(q.Offset) < p.End() {
				t.Fatalf("%v and %v overlap", p, q)
			}
		}
	}
}

// killOne runs a process, takes what it acknowledges, and kills it somewhere.
func killOne(t *testing.T, root string, round int, acked map[Place]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "MFILE_KILL_ROOT="+root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ends := map[uint32]uint32{}
	for p := range acked {
		ends[p.File] = max(ends[p.File], p.Offset+p.Size)
	}
	for id, end := range ends {
		fmt.Fprintln(in, id, end)
	}
	fmt.Fprintln(in, 0, 0)
	lines := bufio.NewScanner(out)
	for n := 1 + rand.IntN(40); n > 0 && lines.Scan(); n-- {
		var p Place
		var guid string
		if _, err := fmt.Sscan(lines.Text(), &p.File, &p.Offset, &p.Size, &guid); err != nil {
			t.Fatalf("%q", lines.Text())
		}
		if old, ok := acked[p]; ok {
			t.Fatalf("round %d: %v is %s's", round, p, old)
		}
		acked[p] = guid
	}
	cmd.Process.Kill()
	for lines.Scan() { // what it has said before the end counts
		var p Place
		var guid string
		if n, _ := fmt.Sscan(lines.Text(), &p.File, &p.Offset, &p.Size, &guid); n == 4 {
			acked[p] = guid
		}
	}
	_ = cmd.Wait()
}

// appendForEver is the process that is killed. It acknowledges when Append has returned.
func appendForEver(root string) {
	d, err := Open(Options{Root: root, Host: "test", RotateSize: 30_000})
	if err != nil {
		panic(err)
	}
	var known []FileState
	var last uint32
	for {
		var f FileState
		if _, err := fmt.Fscan(os.Stdin, &f.ID, &f.End); err != nil || f.ID == 0 {
			break
		}
		known, last = append(known, f), max(last, f.ID)
	}
	d.Known(known)
	if _, err := d.RemoveTemporary(); err != nil {
		panic(err)
	}
	next := ids(last)
	for n := 0; ; n++ {
		var list []Message
		for i := range 1 + n%3 {
			s := d.Create()
			guid := fmt.Sprintf("p%dn%di%d", os.Getpid(), n, i)
			size := n * 911 % 9000
			if n%17 == 5 {
				size = spoolMemory + 100
			}
			if _, err := io.WriteString(s, strings.Repeat("z", size)); err != nil {
				panic(err)
			}
			list = append(list, Message{s, Metadata{Physical: -1, Virtual: -1, GUID: guid}})
		}
		a, err := d.Append(context.Background(), next, list)
		if err != nil {
			panic(err)
		}
		for i, p := range a.Places() {
			fmt.Println(p.File, p.Offset, p.Size, list[i].Metadata.GUID)
		}
		a.Commit()
	}
}
