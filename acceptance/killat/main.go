//go:build linux && amd64

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// failed is the exit status where killat itself failed.
const failed = 125

// filterFirst, as the first argument, makes this program put the filter on itself and then
// become the one that it is given.
const filterFirst = "--filter-and-exec"

func main() {
	if len(os.Args) > 3 && os.Args[1] == filterFirst {
		fmt.Fprintln(os.Stderr, "killat:", filterAndExec(os.Args[2], os.Args[3:]))
		os.Exit(failed)
	}
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		status = failed
	}
	os.Exit(status)
}

func run() (int, error) {
	t := &tracer{}
	var report, owner string
	flag.StringVar(&t.root, "root", "", "count changes below `DIR`")
	flag.StringVar(&t.arm, "arm", "", "begin to count when `FILE` exists")
	flag.BoolVar(&t.all, "all", false, "count writes to sockets and pipes too")
	flag.IntVar(&t.at, "at", 0, "kill at change `N`; -1: cut the power when the program has ended, or at SIGTERM")
	flag.StringVar(&t.how, "how", before, "`HOW`: before, after, torn, power or names")
	flag.StringVar(&report, "report", "", "write what was counted to `FILE`")
	flag.StringVar(&owner, "as", "", "run the program as `UID`, with the same group")
	flag.Parse()
	if flag.NArg() == 0 || t.root == "" {
		return 0, fmt.Errorf("usage: killat -root DIR [flags] PROGRAM [ARG ...]")
	}
	switch t.how {
	case before, after, torn, power, names:
	default:
		return 0, fmt.Errorf("unknown way to kill %q", t.how)
	}
	var err error
	if t.root, err = filepath.EvalSymlinks(t.root); err != nil {
		return 0, err
	}
	signal.Notify(t.term(), syscall.SIGTERM)
	status, err := t.run(flag.Args(), owner)
	if err == nil && (t.killed || t.at < 0) && t.disk != nil {
		err = t.disk.cut(t.how == names)
	}
	if err == nil && report != "" {
		err = os.WriteFile(report, []byte(strings.Join(t.steps, "")), 0o600)
	}
	return status, err
}

// start runs the program under this thread's eyes, stopped at its first instruction.
func start(args []string, owner string) (*os.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	attr := &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Env:   os.Environ(),
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	}
	return os.StartProcess(self, append([]string{self, filterFirst, owner}, args...), attr)
}

// filterAndExec becomes a program, as owner. The other threads end with the exec. The owner
// changes here and not with the start: the kernel notes who may look at a program that is not
// dumpable when the tracing begins.
func filterAndExec(owner string, args []string) error {
	runtime.LockOSThread()
	if owner != "" {
		id, err := strconv.Atoi(owner)
		if err != nil {
			return err
		}
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
			return err
		}
	}
	if err := installFilter(); err != nil {
		return err
	}
	return syscall.Exec(args[0], args, os.Environ())
}
