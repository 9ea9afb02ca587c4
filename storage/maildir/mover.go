package maildir

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// many is from how many files on a mover opens the directories, and asks for save dates at once.
const many = 64

// A mover renames files of a mailbox. Where they are many, it has new and cur open, which
// spares the kernel the way there for each file. op is held while it is used.
type mover struct {
	b    *box
	dirs [2]*os.File // nil: names are paths
}

// newMover returns a mover for some number of files; the caller closes it.
func (b *box) newMover(files int) *mover {
	m := &mover{b: b}
	if files < many {
		return m
	}
	for i := range m.dirs {
		dir, err := os.Open(b.dirPath(i))
		if err != nil { // perhaps for want of descriptors; paths will tell
			m.close()
			return m
		}
		m.dirs[i] = dir
	}
	return m
}

func (m *mover) close() {
	for i, dir := range m.dirs {
		if dir != nil {
			dir.Close()
		}
		m.dirs[i] = nil
	}
}

// at says how the kernel is told of a file in new or cur.
func (m *mover) at(dir int, name string) (fd int, path string) {
	if m.dirs[dir] == nil {
		return unix.AT_FDCWD, filepath.Join(m.b.dirPath(dir), name)
	}
	return int(m.dirs[dir].Fd()), name
}

// toCur renames an entry's file to cur with a suffix. The error wraps os.ErrNotExist where the
// file is not where it was.
func (m *mover) toCur(e *entry, suffix string) error {
	b := m.b
	if !e.inNew && e.suffix == suffix {
		return nil
	}
	if e.saved == 0 {
		m.keepSaved([]*entry{e})
	}
	from, fromName := m.at(dirOf(e), e.base+e.suffix)
	to, toName := m.at(curDir, e.base+suffix)
	if err := b.h.faults.RenameNewAt(from, fromName, to, toName); err != nil {
		return err
	}
	b.renamed[dirOf(e)].Add(1)
	b.renamed[curDir].Add(1)
	b.mu.Lock()
	b.place(e, suffix, false)
	b.mu.Unlock()
	return nil
}

// keepSaved notes the save dates of entries: that of a file is its ctime, until a rename changes
// it. The files of many are looked at by as many goroutines as there are cores, which also
// has the kernel find for the renames, which can only follow one another, what they will ask for.
func (m *mover) keepSaved(entries []*entry) {
	saved := make([]int64, len(entries))
	look := func(from, to int) {
		for i, e := range entries[from:to] {
			if e.saved != 0 {
				continue
			}
			var st unix.Stat_t
			fd, name := m.at(dirOf(e), e.base+e.suffix)
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				saved[from+i] = st.Ctim.Nano()
			}
		}
	}
	if n, parts := len(entries), min(runtime.GOMAXPROCS(0), 8); n < many || parts == 1 {
		look(0, n)
	} else {
		var all sync.WaitGroup
		for part := range parts {
			all.Go(func() { look(n*part/parts, n*(part+1)/parts) })
		}
		all.Wait()
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	for i, e := range entries {
		if saved[i] != 0 {
			e.saved, e.unsaved = saved[i], true
		}
	}
}
