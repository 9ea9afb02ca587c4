//go:build linux && amd64

package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A change says how a system call names what it changes.
type change struct {
	name string
	fd   int // the argument that is a file descriptor, or -1
	dir  int // the argument that is the descriptor of a directory, or -1
	path int // the argument that is a path, or -1
	size int // the argument that is the length of a write, or -1
}

// changes are the system calls that are looked at.
var changes = map[uint64]change{
	unix.SYS_WRITE:           {"write", 0, -1, -1, 2},
	unix.SYS_PWRITE64:        {"pwrite", 0, -1, -1, 2},
	unix.SYS_WRITEV:          {"writev", 0, -1, -1, -1},
	unix.SYS_PWRITEV:         {"pwritev", 0, -1, -1, -1},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 2, -1, -1, 4},
	unix.SYS_SENDFILE:        {"sendfile", 0, -1, -1, 3},
	unix.SYS_SPLICE:          {"splice", 2, -1, -1, 4},
	unix.SYS_FTRUNCATE:       {"ftruncate", 0, -1, -1, -1},
	unix.SYS_FALLOCATE:       {"fallocate", 0, -1, -1, -1},
	unix.SYS_FSYNC:           {"fsync", 0, -1, -1, -1},
	unix.SYS_FDATASYNC:       {"fdatasync", 0, -1, -1, -1},
	unix.SYS_FCHMOD:          {"fchmod", 0, -1, -1, -1},
	unix.SYS_FCHOWN:          {"fchown", 0, -1, -1, -1},
	unix.SYS_OPENAT:          {"create", -1, 0, 1, -1},
	unix.SYS_TRUNCATE:        {"truncate", -1, -1, 0, -1},
	unix.SYS_RENAME:          {"rename", -1, -1, 1, -1},
	unix.SYS_RENAMEAT:        {"rename", -1, 2, 3, -1},
	unix.SYS_RENAMEAT2:       {"rename", -1, 2, 3, -1},
	unix.SYS_LINK:            {"link", -1, -1, 1, -1},
	unix.SYS_LINKAT:          {"link", -1, 2, 3, -1},
	unix.SYS_SYMLINK:         {"symlink", -1, -1, 1, -1},
	unix.SYS_SYMLINKAT:       {"symlink", -1, 1, 2, -1},
	unix.SYS_UNLINK:          {"unlink", -1, -1, 0, -1},
	unix.SYS_UNLINKAT:        {"unlink", -1, 0, 1, -1},
	unix.SYS_RMDIR:           {"rmdir", -1, -1, 0, -1},
	unix.SYS_MKDIR:           {"mkdir", -1, -1, 0, -1},
	unix.SYS_MKDIRAT:         {"mkdir", -1, 0, 1, -1},
	unix.SYS_FCHMODAT:        {"chmod", -1, 0, 1, -1},
	unix.SYS_FCHOWNAT:        {"chown", -1, 0, 1, -1},
	unix.SYS_UTIMENSAT:       {"utimes", -1, 0, 1, -1},
}

// installFilter stops this thread, and what it becomes and starts, at these calls. openat
// counts only where it may create or truncate, which keeps the price of reading nothing.
func installFilter() error {
	const offsetNr, offsetFlags = 0, 16 + 2*8 // of struct seccomp_data
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	const allow, stop = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_TRACE
	program := []unix.SockFilter{load(offsetNr)}
	for nr := range changes {
		if nr == unix.SYS_OPENAT {
			continue
		}
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1}, ret(stop))
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT, Jt: 1}, ret(allow),
		load(offsetFlags),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_CREAT | unix.O_TRUNC, Jf: 1}, ret(stop),
		ret(allow))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f))); e != 0 {
		return fmt.Errorf("setting the filter: %w", e)
	}
	return nil
}
