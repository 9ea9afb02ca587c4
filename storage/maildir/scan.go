package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

const (
	// hot is the age below which a directory's mtime may stand for a later change too:
	// some ticks of the kernel's clock.
	hot = 20 * time.Millisecond
	// cold is the age from which it cannot, whatever the file system (Dovecot:
	// MAILDIR_SYNC_SECS and one more).
	cold = 2 * time.Second
)

// A dirState is what we know of new or cur.
type dirState struct {
	scanned bool
	id      fileID // as of just before the scan
	checked time.Time
}

// stale reports whether the directory has to be read again. A change within the same tick
// as the last scan cannot be seen by the mtime. So after a scan of a directory that had
// just changed the next sync scans again, and where our own rename was what had changed it,
// the first one after two seconds.
func (d *dirState) stale(id fileID, now time.Time) bool {
	if !d.scanned || id.ino != d.id.ino || id.dev != d.id.dev || id.mtime != d.id.mtime {
		return true
	}
	mtime := time.Unix(0, id.mtime)
	age := d.checked.Sub(mtime)
	switch {
	case age < -cold: // set by somebody: any change will set it back
		return false
	case id.mtime%int64(time.Second) == 0 && age < cold: // perhaps the file system counts seconds
		return true
	case age < hot:
		return true
	}
	return age < cold && now.Sub(mtime) >= cold
}

// A double is a second file of a base name.
type double struct {
	e      *entry
	suffix string
	inNew  bool
}

func (b *box) dirPath(i int) string { return filepath.Join(b.f().dir, dirNames[i]) }

// statDirs looks at new and cur.
func (b *box) statDirs() (ids [2]fileID, err error) {
	for i := range ids {
		var st unix.Stat_t
		if err := unix.Stat(b.dirPath(i), &st); err != nil {
			if !errors.Is(err, unix.ENOENT) {
				return ids, b.wrap("looking at", err)
			}
			if b.vanished() {
				return ids, b.wrap("looking at", mailbox.ErrNotFound)
			}
			if err := b.h.makeSubdirs(*b.f()); err != nil {
				return ids, err
			}
			if err := unix.Stat(b.dirPath(i), &st); err != nil {
				return ids, b.wrap("looking at", err)
			}
		}
		ids[i] = idOf(&st)
	}
	return ids, nil
}

// scan reads the directories that may have changed. A file is believed gone only when a
// second scan of both does not find it either: a scan can miss a file that is being
// renamed.
func (b *box) scan(force bool) error {
	ids, err := b.statDirs()
	if err != nil {
		return err
	}
	now := time.Now()
	var read [2]bool
	for i := range ids {
		read[i] = force || b.dirs[i].stale(ids[i], now)
	}
	if !read[newDir] && !read[curDir] {
		return nil
	}
	b.gen++
	b.doubles, b.odd = nil, nil
	for round := range 2 {
		for i := range read {
			if !read[i] {
				continue
			}
			if err := b.scanDir(i); err != nil {
				return err
			}
			b.dirs[i] = dirState{true, ids[i], now}
		}
		if round == 1 || !b.missing(read) {
			break
		}
		if ids, err = b.statDirs(); err != nil {
			return err
		}
		now = time.Now()
		read = [2]bool{true, true}
	}
	b.drop(read)
	if read[newDir] && read[curDir] {
		b.unseen = false
	}
	return nil
}

// missing reports whether a file that should be in what was read was not found.
func (b *box) missing(read [2]bool) bool {
	if !read[curDir] {
		for e := range b.inNew {
			if e.gen != b.gen {
				return true
			}
		}
		return false
	}
	for _, e := range b.entries {
		if e.gen != b.gen && (e.present && read[dirOf(e)] || e.unseen) {
			return true
		}
	}
	return false
}

func dirOf(e *entry) int {
	if e.inNew {
		return newDir
	}
	return curDir
}

// drop notes which files are gone, after the second scan of both directories.
func (b *box) drop(read [2]bool) {
	if !read[curDir] || !read[newDir] {
		return // nothing was missing
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.gen == b.gen {
			continue
		}
		e.unseen = false
		if e.present {
			b.lose(e)
		}
	}
}

// lose notes that an entry's file is gone. b.mu is held.
func (b *box) lose(e *entry) {
	e.present = false
	e.recent = false
	delete(b.recents, e)
	delete(b.inNew, e)
	if !e.listed() {
		delete(b.entries, e.base)
	}
	b.touch(e)
}

func (b *box) scanDir(i int) error {
	err := scanDir(b.dirPath(i), func(buf []byte) {
		b.mu.Lock()
		defer b.mu.Unlock()
		eachFile(buf, b.dirPath(i), func(name []byte) { b.note(name, i) })
	})
	if errors.Is(err, unix.ENOENT) {
		err = mailbox.ErrNotFound
	}
	return b.wrap("scanning", err)
}

// scanDir hands out the entries of a directory as the kernel gives them (struct
// linux_dirent64): os.ReadDir would cost several allocations for each message at each scan.
func scanDir(dir string, chunk func(buf []byte)) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		chunk(buf[:n])
	}
}

// eachFile calls fn for the entries of scanDir that are messages. The name is valid until
// it returns.
func eachFile(buf []byte, dir string, fn func(name []byte)) {
	const typeAt, nameAt = 18, 19
	for len(buf) > nameAt {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= nameAt || size > len(buf) {
			return
		}
		name, kind := buf[nameAt:size], buf[typeAt]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		buf = buf[size:]
		if kind == unix.DT_UNKNOWN {
			var st unix.Stat_t
			if unix.Lstat(filepath.Join(dir, string(name)), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
				kind = unix.DT_REG
			}
		}
		// Links, FIFOs, sockets, devices and directories are no messages and never opened.
		if kind == unix.DT_REG && !ignored(name) {
			fn(name)
		}
	}
}

// note takes up one file. b.mu is held.
func (b *box) note(name []byte, dir int) {
	n := bytes.IndexByte(name, ':')
	if n < 0 {
		n = len(name)
	}
	if n == 0 {
		b.odd = append(b.odd, filepath.Join(dirNames[dir], string(name)))
		return
	}
	e := b.entries[string(name[:n])]
	if e == nil {
		e = newEntry(string(name[:n]))
		b.entries[e.base] = e
		b.touch(e)
	}
	inNew := dir == newDir
	same := e.present && e.suffix == string(name[n:]) && e.inNew == inNew
	if e.gen == b.gen && e.present && !same {
		// Two files, or one that was renamed between: the lock will tell.
		b.doubles = append(b.doubles, double{e, e.suffix, e.inNew})
	}
	e.gen = b.gen
	e.unseen = false
	if same {
		return
	}
	if e.inNew && !inNew { // another program has told its client of the message
		e.recent = false
		delete(b.recents, e)
	}
	b.place(e, string(name[n:]), inNew)
}

// place notes where an entry's file is. b.mu is held.
func (b *box) place(e *entry, suffix string, inNew bool) {
	if known, ok := b.suffixes[suffix]; ok {
		suffix = known
	} else if len(b.suffixes) < 4096 {
		b.suffixes[suffix] = suffix
	}
	e.present, e.suffix, e.inNew = true, suffix, inNew
	if inNew {
		b.inNew[e] = struct{}{}
		b.recents[e] = struct{}{}
		e.recent = true
	} else {
		delete(b.inNew, e)
	}
	b.touch(e)
}

// flagsOf returns an entry's flags without Recent.
func (b *box) flagsOf(e *entry) mailbox.Flags {
	f, ok := b.flags[e.suffix]
	if ok {
		return f
	}
	_, letters, _ := splitFlags(e.suffix)
	var names []string
	for i := range len(letters) {
		if c := letters[i]; isKeyword(c) {
			names = append(names, b.keys.name(c))
		}
	}
	f = mailbox.ParseFlags(names)
	f.System = systemOf(letters)
	if len(b.flags) < 4096 {
		b.flags[e.suffix] = f
	}
	return f
}

// An ownChange brackets changes that we make ourselves, so that they alone do not cause
// a scan.
type ownChange struct {
	b      *box
	before [2]fileID
	known  [2]bool
}

func (b *box) beginOwn() *ownChange {
	c := &ownChange{b: b}
	ids, err := b.statDirs()
	if err != nil {
		return c
	}
	now := time.Now()
	for i := range ids {
		c.known[i] = !b.dirs[i].stale(ids[i], now)
	}
	c.before = ids
	return c
}

// end takes the directories' new times for ours where nothing else had changed before. A
// foreign change in between, or within the same tick, is found by the scan that follows
// two seconds later.
func (c *ownChange) end() {
	ids, err := c.b.statDirs()
	if err != nil {
		return
	}
	for i := range ids {
		if c.known[i] && ids[i] != c.before[i] {
			mtime := time.Unix(0, ids[i].mtime)
			c.b.dirs[i] = dirState{true, ids[i], mtime.Add(hot)}
		}
	}
}
