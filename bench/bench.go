package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A bench is both servers and what has been measured.
type bench struct {
	options
	ctx        context.Context
	out, log   io.Writer
	dir        string
	roots      *x509.CertPool
	dove, ours *server
	kinds      map[string]*int // users taken, by server and kind
	corpus     map[int][][]byte
	stores     map[string]string
	rows       []row
	facts      []fact
	machine    string
}

// missing says why nothing can be measured here.
func missing() string {
	switch _, err := exec.LookPath("dovecot"); {
	case os.Geteuid() != 0:
		return "running Dovecot needs root"
	case err != nil:
		return "Dovecot is not installed"
	}
	for _, plugin := range []string{"lib10_mail_crypt_plugin.so", "lib20_zlib_plugin.so"} {
		if _, err := os.Stat("/usr/lib/dovecot/modules/" + plugin); err != nil {
			return "Dovecot's mail_crypt and zlib plugins are not installed"
		}
	}
	return ""
}

func newBench(ctx context.Context, o options, out, log io.Writer) (_ *bench, err error) {
	b := &bench{options: o, ctx: ctx, out: out, log: log,
		kinds: map[string]*int{}, corpus: map[int][][]byte{}, stores: map[string]string{}}
	// Both servers inherit it: each has thousands of connections open.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("bench: raising the limit of open files: %w", err)
	}
	if b.dir, err = os.MkdirTemp(o.dir, "mailcrypt-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := os.Chmod(b.dir, 0o755); err != nil { // the mail user passes through
		return nil, err
	}
	layApart(b.dir)
	if b.roots, err = makeCertificate(b.dir); err != nil {
		return nil, err
	}
	if b.dove, err = newDovecot(o, b.dir); err != nil {
		return nil, err
	}
	if b.ours, err = newMailcryptd(o, b.dir); err != nil {
		return nil, err
	}
	if err := errors.Join(b.dove.start(), b.ours.start()); err != nil {
		return nil, err
	}
	b.machine, err = describe(b)
	return b, err
}

func (b *bench) close() {
	for _, s := range []*server{b.dove, b.ours} {
		if s != nil {
			if err := s.stop(); err != nil {
				fmt.Fprintln(b.log, err)
			}
		}
	}
	os.RemoveAll(b.dir)
}

func (b *bench) tls() *tls.Config { return &tls.Config{RootCAs: b.roots, ServerName: "localhost"} }

// n divides a number for a short run.
func (b *bench) n(count int) int { return max(count/b.divide, 1) }

// subject is a server with users of a kind.
func (b *bench) subject(s *server, kind rune) subject {
	if s == nil { // only names are wanted
		return subject{kind: kind, taken: new(int)}
	}
	key := s.name + string(kind)
	if b.kinds[key] == nil {
		b.kinds[key] = new(int)
	}
	return subject{label: s.name, server: s, kind: kind, taken: b.kinds[key]}
}

// A work is measured on subjects in turn.
type work struct {
	name     string
	unit     string // of what is counted: messages, logins
	count    int    // units in a round
	bytes    int64  // of mail in a round; 0: say units per second, not bytes
	subjects []subject
	// prepare makes a round ready on a subject; the first is verified. done undoes it.
	prepare func(s subject, verify bool) (run func() error, done func(), err error)
	// facts, where set, is done instead: what it finds is no matter of time.
	facts func() ([]fact, error)
}

// all does every work that is wanted, and returns how many failed.
func (b *bench) all() (failed int) {
	for _, w := range b.works() {
		if !b.work.MatchString(w.name) {
			continue
		}
		if b.ctx.Err() != nil { // what was measured before the interruption is told
			failed++
			break
		}
		began := time.Now()
		fmt.Fprintf(b.log, "%s %s …", began.Format("15:04:05"), w.name)
		if err := b.measure(w); err != nil {
			failed++
			fmt.Fprintf(b.log, " FAILED: %v\n", err)
			b.rows = append(b.rows, row{work: w, err: err})
		} else {
			fmt.Fprintf(b.log, " %.1f s\n", time.Since(began).Seconds())
		}
		if b.page != "" {
			if err := writePage(b.page, b.report()); err != nil {
				fmt.Fprintln(b.log, err)
			}
		}
	}
	fmt.Fprint(b.out, b.report())
	return failed
}

// measure does the rounds of a work.
func (b *bench) measure(w work) error {
	if w.facts != nil {
		f, err := w.facts()
		b.facts = append(b.facts, f...)
		return err
	}
	r := row{work: w, samples: make([][]sample, len(w.subjects)), load: loadAverage()}
	for i := -1; i < b.pairs; i++ {
		for j, s := range w.subjects {
			m, err := b.round(w, s, i < 0)
			if err != nil {
				return fmt.Errorf("%s: %w", s.label, err)
			}
			if i >= 0 {
				r.samples[j] = append(r.samples[j], m)
			}
		}
	}
	b.rows = append(b.rows, r)
	return nil
}

// A sample is one round.
type sample struct{ wall, cpu time.Duration }

func (b *bench) round(w work, s subject, verify bool) (m sample, err error) {
	if err := b.ctx.Err(); err != nil {
		return m, err
	}
	run, done, err := w.prepare(s, verify)
	if done != nil {
		defer done()
	}
	if err != nil {
		return m, err
	}
	runtime.GC()
	unix.Sync() // what preparing has written is not written on the work's time
	if b.dropCaches {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0o200); err != nil {
			return m, err
		}
	}
	end, err := b.profile(w, s, verify)
	if err != nil {
		return m, err
	}
	cpu, began := s.cpu(), time.Now()
	err = run()
	m.wall, m.cpu = time.Since(began), s.cpu()-cpu
	end()
	return m, err
}

// profile records what mailcryptd does, with the kernel's own profiler, so that the daemon
// needs no door for it. `perf report -i FILE` shows it.
func (b *bench) profile(w work, s subject, verify bool) (end func(), err error) {
	if b.perf == "" || verify || s.server != b.ours {
		return func() {}, nil
	}
	name := filepath.Join(b.perf, fileName(w.name)+".perf")
	cmd := exec.Command("perf", "record", "-q", "-F", "499", "-g", "-o", name, "-p", fmt.Sprint(s.cmd.Process.Pid))
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: perf: %w", err)
	}
	time.Sleep(300 * time.Millisecond) // it attaches
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
	}, nil
}
