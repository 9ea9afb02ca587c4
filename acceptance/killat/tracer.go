//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ways to kill.
const (
	before = "before"
	after  = "after"
	torn   = "torn"
	power  = "power"
	names  = "names"
)

// A tracer follows one program.
type tracer struct {
	root, arm string
	all       bool
	at        int
	how       string

	main   atomic.Int64
	armed  bool
	steps  []string
	killed bool
	disk   *disk              // what a power cut leaves
	calls  map[int]*call      // by thread: calls that are under way
	seen   map[int]bool       // threads that have shown up
	status syscall.WaitStatus // of the program's end
}

// A call is a system call between its beginning and its end.
type call struct {
	die    bool   // the program is killed at its end
	synced func() // notes what has become durable, if it succeeds
}

// term returns a channel: a signal in it ends the program, as the cable does that is pulled.
func (t *tracer) term() chan os.Signal {
	c := make(chan os.Signal, 1)
	go func() {
		<-c
		if pid := int(t.main.Load()); pid > 0 {
			unix.Kill(pid, unix.SIGKILL) // it cannot fail in a way that matters
		}
	}()
	return c
}

// run runs the program to its end and returns its exit status.
func (t *tracer) run(args []string, owner string) (int, error) {
	runtime.LockOSThread() // ptrace is by thread
	p, err := start(args, owner)
	if err != nil {
		return 0, err
	}
	t.main.Store(int64(p.Pid))
	t.calls, t.seen = map[int]*call{}, map[int]bool{p.Pid: true}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(p.Pid, &ws, unix.WALL, nil); err != nil {
		return 0, err
	}
	err = unix.PtraceSetOptions(p.Pid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACESECCOMP|
		unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEFORK|unix.PTRACE_O_TRACEVFORK|unix.PTRACE_O_TRACEEXEC)
	if err != nil {
		return 0, err
	}
	if err := unix.PtraceCont(p.Pid, 0); err != nil {
		return 0, err
	}
	if err := t.loop(); err != nil {
		return 0, err
	}
	if t.status.Signaled() {
		return 128 + int(t.status.Signal()), nil
	}
	return t.status.ExitStatus(), nil
}

// loop serves stops until the last thread has ended.
func (t *tracer) loop() error {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		case ws.Exited(), ws.Signaled():
			if int64(tid) == t.main.Load() {
				t.status = syscall.WaitStatus(ws)
			}
			delete(t.calls, tid)
			delete(t.seen, tid)
			continue
		case !ws.Stopped():
			continue
		}
		if err := t.stopped(tid, ws); err != nil && !errors.Is(err, unix.ESRCH) { // it has been killed
			return err
		}
	}
}

// stopped serves one stop.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) error {
	sig := ws.StopSignal()
	first := !t.seen[tid]
	t.seen[tid] = true
	switch {
	case sig == unix.SIGTRAP|0x80: // the end of a call that was to be seen
		return t.left(tid)
	case sig == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		return t.entered(tid)
	case sig == unix.SIGTRAP && ws.TrapCause() > 0, sig == unix.SIGSTOP && first:
		sig = 0 // new threads and programs
	}
	return t.resume(tid, int(sig))
}

// resume lets a thread go on, up to the end of the call that it is in where that matters.
func (t *tracer) resume(tid, sig int) error {
	if t.calls[tid] != nil {
		return unix.PtraceSyscall(tid, sig)
	}
	return unix.PtraceCont(tid, sig)
}

// entered is the beginning of a system call.
func (t *tracer) entered(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	args := [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}
	c, known := changes[regs.Orig_rax]
	if !known || t.killed {
		return unix.PtraceCont(tid, 0)
	}
	path, err := t.place(tid, c, args)
	if err != nil {
		return err
	}
	if path == "" || !t.isArmed() {
		return unix.PtraceCont(tid, 0)
	}
	t.steps = append(t.steps, c.name+"\t"+path+"\n")
	here := len(t.steps) == t.at
	if here && (t.how == before || t.how == power || t.how == names) {
		return t.kill()
	}
	var now call
	if here {
		now.die = true
		if n := args[max(c.size, 0)]; t.how == torn && c.size >= 0 && n > 1 {
			if err := setSize(tid, &regs, c.size, n/2); err != nil {
				return err
			}
		}
	}
	if t.disk != nil && (c.name == "fsync" || c.name == "fdatasync") {
		if now.synced, err = t.disk.look(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[0]))); err != nil {
			return err
		}
	}
	if now.die || now.synced != nil {
		t.calls[tid] = &now
	}
	return t.resume(tid, 0)
}

// setSize shortens a write.
func setSize(tid int, regs *unix.PtraceRegs, arg int, n uint64) error {
	switch arg {
	case 2:
		regs.Rdx = n
	case 3:
		regs.R10 = n
	case 4:
		regs.R8 = n
	}
	return unix.PtraceSetRegs(tid, regs)
}

// left is the end of a system call.
func (t *tracer) left(tid int) error {
	now := t.calls[tid]
	delete(t.calls, tid)
	if now == nil {
		return unix.PtraceCont(tid, 0)
	}
	if now.synced != nil {
		var regs unix.PtraceRegs
		if err := unix.PtraceGetRegs(tid, &regs); err != nil {
			return err
		}
		if regs.Rax == 0 {
			now.synced()
		}
	}
	if now.die {
		return t.kill()
	}
	return unix.PtraceCont(tid, 0)
}

// kill ends the program, and what it has started.
func (t *tracer) kill() error {
	t.killed = true
	for tid := range t.seen {
		if err := unix.Kill(tid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// isArmed reports whether changes count by now. The first time the state of the disk is
// taken: what is there counts as durable.
func (t *tracer) isArmed() bool {
	if t.armed {
		return true
	}
	if t.arm != "" {
		if _, err := os.Lstat(t.arm); err != nil {
			return false
		}
	}
	t.armed = true
	if t.how == power || t.how == names {
		t.disk = newDisk(t.root)
	}
	return true
}

// place is the path that a call changes, if it counts, or "".
func (t *tracer) place(tid int, c change, args [6]uint64) (string, error) {
	if c.fd >= 0 {
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[c.fd])))
		if err != nil {
			return "", nil // no such descriptor
		}
		if !t.below(path) && !(t.all && (strings.HasPrefix(path, "socket:") || strings.HasPrefix(path, "pipe:"))) {
			return "", nil
		}
		return path, nil
	}
	path, err := peekString(tid, uintptr(args[c.path]))
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(path) {
		from := fmt.Sprintf("/proc/%d/cwd", tid)
		if c.dir >= 0 && int32(args[c.dir]) != unix.AT_FDCWD {
			from = fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[c.dir]))
		}
		dir, err := os.Readlink(from)
		if err != nil {
			return "", nil
		}
		path = filepath.Join(dir, path)
	}
	if !t.below(path) {
		return "", nil
	}
	return path, nil
}

func (t *tracer) below(path string) bool {
	return path == t.root || strings.HasPrefix(path, t.root+"/")
}

// peekString reads a string that ends with a NUL from a program's memory.
func peekString(tid int, at uintptr) (string, error) {
	var text []byte
	for len(text) < unix.PathMax {
		buf := make([]byte, 64)
		n, err := unix.PtracePeekData(tid, at+uintptr(len(text)), buf)
		if n == 0 && err != nil {
			return "", fmt.Errorf("reading the memory of the program (is it not dumpable, and are you not root?): %w", err)
		}
		if i := bytes.IndexByte(buf[:n], 0); i >= 0 {
			return string(append(text, buf[:i]...)), nil
		}
		text = append(text, buf[:n]...)
	}
	return string(text), nil
}
