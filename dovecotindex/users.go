package dovecotindex

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A User is a process that uses an index.
type User struct {
	PID     int    // 0 where the system does not say
	Program string // its name, as "imap"; "" where it is not known
	Locked  bool   // it holds a lock: it is changing the index
}

// Users returns the processes that have one of some indexes open or locked, by their paths, but
// for this process. Dovecot keeps an index open while a client has the mailbox selected, and a map
// while it serves its user; it locks them only for moments. Who must not meet Dovecot stops it first,
// and asks here whether that has worked: an index that is open nowhere may be opened the
// next moment.
//
// Only processes are found that we may look at: our own user's, or, as root, all of this
// machine. Those on other machines show at most by their locks.
func Users(paths ...string) ([]User, error) {
	files := map[fileID]bool{}
	var users []User
	for _, p := range paths {
		for _, name := range []string{fileIndex, fileLog} {
			var st unix.Stat_t
			if err := unix.Lstat(p+name, &st); err == nil {
				files[fileID{uint64(st.Dev), st.Ino}] = true
			} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				return nil, fmt.Errorf("dovecotindex: looking at %s: %w", p+name, err)
			}
		}
		holder, locked, err := lockHolder(p + fileLog)
		if err != nil {
			return nil, err
		}
		if locked {
			users = append(users, User{PID: holder, Program: programName(holder), Locked: true})
		}
	}
	for _, pid := range openers(files) {
		if !slices.ContainsFunc(users, func(u User) bool { return u.PID == pid }) {
			users = append(users, User{PID: pid, Program: programName(pid)})
		}
	}
	slices.SortFunc(users, func(a, b User) int { return cmp.Compare(a.PID, b.PID) })
	return slices.Compact(users), nil
}

type fileID struct{ dev, ino uint64 }

// lockHolder says whether another program has locked a log, and which where that is known.
func lockHolder(log string) (pid int, locked bool, err error) {
	if _, err := os.Lstat(log + ".lock"); err == nil {
		return 0, true, nil
	}
	f, err := os.OpenFile(log, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("dovecotindex: looking for locks: %w", err)
	}
	defer f.Close()
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &whole); err != nil {
		return 0, false, fmt.Errorf("dovecotindex: looking for locks of %s: %w", log, err)
	}
	if whole.Type != unix.F_UNLCK {
		return max(int(whole.Pid), 0), true, nil
	}
	// flock does not say who has it.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("dovecotindex: looking for locks of %s: %w", log, err)
	}
	return 0, false, nil
}

// openers returns the processes that have a file open. What may not be looked at is passed.
func openers(files map[fileID]bool) (pids []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() {
			continue
		}
		fds, _ := os.ReadDir(filepath.Join(p, "fd"))
		for _, fd := range fds {
			var st unix.Stat_t
			if unix.Stat(filepath.Join(p, "fd", fd.Name()), &st) == nil && files[fileID{uint64(st.Dev), st.Ino}] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

func programName(pid int) string {
	if pid == 0 {
		return ""
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
