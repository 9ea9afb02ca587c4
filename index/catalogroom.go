package index

import (
	"os"

	"golang.org/x/sys/unix"
)

// room sets blocks of a file aside. Where the file system cannot, nothing is lost but that.
type room struct {
	f    *os.File
	size int64 // of the file when that was last done
}

func (r *room) open(path string) {
	// Not to be confused with bbolt's own: its lock is of another opening.
	if f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		r.f = f
		r.reserve()
	}
}

// reserve sets aside what the file has got since, and what a transaction or two more may need.
func (r *room) reserve() {
	if r.f == nil {
		return
	}
	st, err := r.f.Stat()
	if err != nil || st.Size() == r.size {
		return
	}
	r.size = st.Size()
	_ = unix.Fallocate(int(r.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, r.size+64<<10+r.size/16)
}

func (r *room) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}
