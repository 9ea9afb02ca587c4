package durable

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Spare keeps the file of a dotlock from one holding to the next: the lock is released by
// renaming it instead of removing it, and taken again by a link to that name, as Dovecot takes
// its locks. Others see a lock file come and go as always. To make a file and remove it costs
// several times as much, and where the file system has no journal it makes every creation
// dearer for seconds (ext4 looks for an inode that was not removed just now).
//
// A Spare serves one lock, and may be used concurrently. Close it after the last Unlock.
type Spare struct {
	path func() string

	mu      sync.Mutex
	file    *File // nil: there is none
	touched time.Time
	never   bool
}

// NewSpare returns a Spare whose file lies at path, which is asked each time, for a directory
// may be renamed. It must be on the file system of the lock and under a name of its own in a
// place that is cleaned after crashes. Where it cannot lie there, nothing is kept.
func NewSpare(path func() string) *Spare { return &Spare{path: path} }

// take links the spare file to the lock's name; it returns nil where there is none. The error
// wraps os.ErrExist where the lock is held.
func (s *Spare) take(l *Dotlock) (*File, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, nil
	}
	path := s.path()
	if now := time.Now(); now.Sub(s.touched) > time.Second {
		// By its time others tell whether a lock is old.
		ts := unix.NsecToTimespec(now.UnixNano())
		if unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW) == nil {
			s.touched = now
		}
	}
	err := l.o.Faults.Link(path, l.lock)
	switch {
	case err == nil:
		return s.file, nil
	case errors.Is(err, os.ErrExist):
		return nil, err
	}
	s.never = !errors.Is(err, os.ErrNotExist) // it may have been cleaned away
	s.drop(l.o.Faults)
	return nil, nil
}

// keep releases a lock that is known to be ours, and has its file from then on. It is false
// where the lock is to be removed.
func (s *Spare) keep(l *Dotlock) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil || s.never {
		return false
	}
	if err := l.o.Faults.Rename(l.lock, s.path()); err != nil {
		s.never = true
		return false
	}
	s.file, s.touched = l.file, time.Now()
	return true
}

// owns reports whether a lock was taken with the spare file.
func (s *Spare) owns(l *Dotlock) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil && s.file == l.file
}

// lose gives the file up, for a lock that was taken with it is not ours any more.
func (s *Spare) lose(l *Dotlock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(l.o.Faults)
}

// drop removes the file; s.mu is held.
func (s *Spare) drop(f *Faults) {
	if s.file == nil {
		return
	}
	_ = s.file.Close()
	_ = f.Remove(s.path()) // what stays is cleaned with what crashes leave
	s.file = nil
}

// Close removes the file. Nothing is kept from then on.
func (s *Spare) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.never = true
	if s.file != nil {
		s.drop(s.file.faults)
	}
}
