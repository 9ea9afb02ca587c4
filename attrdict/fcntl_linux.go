package attrdict

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// fcntlLock tries a write lock on the whole file. Dovecot's is a POSIX lock, which a
// process loses when it closes any descriptor of the file, as our readers do all the time;
// a lock of the open file description excludes it all the same and has no such trap.
func fcntlLock(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
}
