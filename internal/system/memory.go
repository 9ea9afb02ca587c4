package system

import "golang.org/x/sys/unix"

// HideMemory keeps keys out of core files and from other processes of the same user. A
// program calls it first, and again after it has changed its user: the kernel sets anew then
// who may look. Neither call can fail where the other is not refused too.
//
// Memory is not locked against swapping: Go's heap has no part of its own for secrets, and
// locking all of it takes a limit (RLIMIT_MEMLOCK) under which allocations fail. The unit file
// keeps the daemon out of the swap instead.
func HideMemory() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
