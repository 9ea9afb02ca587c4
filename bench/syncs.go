package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// syncing: how many calls of the kernel make each acknowledged message durable.
func (b *bench) syncing() (list []work) {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Fprintln(b.log, "skipped: counting syncs needs strace")
		return nil
	}
	count := b.n(200)
	for _, w := range []work{
		b.saveWork("lmtp", "4k", 1, count, 4<<10, b.pair()),
		b.saveWork("lmtp", "4k", 8, count, 4<<10, b.pair()),
		b.saveWork("append", "4k", 1, count, 4<<10, b.pair()),
		b.multiAppend(),
	} {
		list = append(list, work{name: "syncs/" + w.name, facts: func() (facts []fact, err error) {
			for _, s := range w.subjects {
				n, what, err := b.syncs(w, s)
				if err != nil {
					return facts, fmt.Errorf("%s: %w", s.label, err)
				}
				facts = append(facts, fact{"syncs a message, " + w.name, s.label, fmt.Sprintf("%.2f (%s)", float64(n)/float64(w.count), what)})
			}
			return facts, nil
		}})
	}
	return list
}

var straceLine = regexp.MustCompile(`(?m)^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$`)

// syncs runs one round under strace.
func (b *bench) syncs(w work, s subject) (n int, what string, err error) {
	run, done, err := w.prepare(s, false)
	if done != nil {
		defer done()
	}
	if err != nil {
		return 0, "", err
	}
	out := filepath.Join(b.dir, "strace")
	args := []string{"-f", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync", "-o", out}
	for _, pid := range s.pids() {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(b.ctx, "strace", args...)
	if err := cmd.Start(); err != nil {
		return 0, "", fmt.Errorf("bench: strace: %w", err)
	}
	time.Sleep(2 * time.Second) // it attaches to all threads
	err = run()
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if err != nil {
		return 0, "", err
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return 0, "", err
	}
	for _, m := range straceLine.FindAllStringSubmatch(string(text), -1) {
		if m[2] == "total" {
			continue
		}
		calls, _ := strconv.Atoi(m[1])
		n += calls
		if what != "" {
			what += ", "
		}
		what += fmt.Sprintf("%d %s", calls, m[2])
	}
	return n, what, nil
}
