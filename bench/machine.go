package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// describe says on what and how is measured.
func describe(b *bench) (string, error) {
	sync, err := syncTime(b.dir)
	if err != nil {
		return "", err
	}
	var w strings.Builder
	line := func(what, is string) { fmt.Fprintf(&w, "- %s: %s\n", what, is) }
	line("taken", time.Now().UTC().Format("2006-01-02 15:04 UTC")+", load of the machine before: "+loadAverage())
	line("processor", fmt.Sprintf("%s, %d cores", grep("/proc/cpuinfo", "model name"), runtime.NumCPU()))
	line("memory", grep("/proc/meminfo", "MemTotal"))
	line("kernel", output("uname", "-sr"))
	line("disk", output("findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", "-T", b.dir)+fmt.Sprintf("; 4 KiB written and synced in %.2f ms (median)", sync.median))
	line("Dovecot", output("dovecot", "--version"))
	line("mailcryptd", output("git", "describe", "--always", "--dirty")+" of "+output("git", "log", "-1", "--format=%cs")+", "+runtime.Version())
	line("both", fmt.Sprintf("%s, compression %s, %s, folder keys under a user key that a password seals with 2048 rounds of SHA-256; what is acknowledged is synced", b.driver, b.compress, b.curve))
	line("rounds", fmt.Sprintf("%d pairs, numbers divided by %d, page cache %s, load generator on the same machine", b.pairs, b.divide, map[bool]string{true: "emptied", false: "warm"}[b.dropCaches]))
	return w.String(), nil
}

// syncTime is what the disk takes to keep 4 KiB, in milliseconds.
func syncTime(dir string) (spread, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return spread{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var v []float64
	for range 50 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return spread{}, err
		}
		if err := f.Sync(); err != nil {
			return spread{}, err
		}
		v = append(v, float64(time.Since(began).Microseconds())/1000)
	}
	return spreadOf(v), nil
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// grep is what stands after the colon of a line.
func grep(path, key string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func fileName(work string) string { return strings.ReplaceAll(work, "/", "-") }

// Marks of the page, between which tables are written.
const (
	beginMark = "<!-- bench: tables begin -->"
	endMark   = "<!-- bench: tables end -->"
)

// writePage puts tables between the marks of a file.
func writePage(path, tables string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("bench: %s has not the marks %s and %s", path, beginMark, endMark)
	}
	return os.WriteFile(path, []byte(head+beginMark+"\n\n"+tables+"\n"+endMark+tail), 0o644)
}
