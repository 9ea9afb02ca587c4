package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pids are all processes of the server.
func (s *server) pids() []int {
	parents := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if f := stat(d); f != nil {
			pid, _ := strconv.Atoi(filepath.Base(d))
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	root := s.cmd.Process.Pid
	var list []int
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if p == root {
				list = append(list, pid)
				break
			}
		}
	}
	return list
}

// stat is /proc/PID/stat from the state on; nil where the process is gone.
func stat(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	i := strings.LastIndexByte(string(text), ')') // a name may have anything in it
	f := strings.Fields(string(text[i+1:]))
	if i < 0 || len(f) < 15 {
		return nil
	}
	return f
}

// cpu is the time that the server's processes have used, those of them that have ended, and
// its tool.
func (s *server) cpu() time.Duration {
	const hertz = 100 // USER_HZ of every Linux that Go runs on
	var ticks int64
	for _, pid := range s.pids() {
		f := stat(fmt.Sprintf("/proc/%d", pid))
		if f == nil {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, and both of ended children
			n, _ := strconv.ParseInt(f[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks)*time.Second/hertz + s.toolTime
}

// pss is the memory of the server in bytes: pages that processes share are counted once.
func (s *server) pss() (sum int64) {
	for _, pid := range s.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}
