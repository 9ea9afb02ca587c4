package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ready makes n users with keys and an empty INBOX: copies of one, for making keys takes a
// while and is no part of any work.
func (b *bench) ready(s subject, n int) (users []string, err error) {
	store, err := b.written(s, 0, 0)
	if err != nil {
		return nil, err
	}
	for range n {
		u, err := b.given(s, store)
		if err != nil {
			return users, err
		}
		users = append(users, u)
	}
	return users, nil
}

// begin makes a user with keys: a login, and a message that is saved and removed again. Each
// further folder keeps one message, and so has a key.
func (b *bench) begin(s subject, boxes ...string) (string, error) {
	u := s.fresh(1)[0]
	c, err := loginIMAP(s.imap, u, "INBOX")
	if err != nil {
		return u, err
	}
	one := [][]byte{mail(0, 4096)}
	for _, box := range boxes {
		if _, err = c.do("CREATE "+box, nil); err == nil {
			err = c.appendMail(box, one)
		}
		if err != nil {
			return u, errors.Join(err, c.logout())
		}
	}
	err = c.appendMail("INBOX", one)
	for _, command := range []string{"NOOP", `STORE 1 +FLAGS.SILENT (\Deleted)`, "EXPUNGE"} {
		if err == nil {
			_, err = c.do(command, nil)
		}
	}
	return u, errors.Join(err, c.logout())
}

// roomy is how many octets must be free for homes to stay until the end.
const roomy = 20 << 30

// forget ends the use of homes. They stay until all is measured, for ext4 without a journal
// looks, for every file that is made in the minutes after, for an inode that was not removed
// just now; only where room is short they are removed at once.
func (s subject) forget(users []string) {
	var st unix.Statfs_t
	if unix.Statfs(s.homes, &st) == nil && st.Bavail*uint64(st.Bsize) > roomy {
		return
	}
	for _, u := range users {
		os.RemoveAll(filepath.Join(s.homes, u))
	}
}

// layApart asks ext4 to lay the directories in dir far apart, so that files which one server
// makes and removes are not in the way of the other's. Elsewhere it does nothing.
func layApart(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	flags, err := unix.IoctlGetInt(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		const topDir = 0x20000 // FS_TOPDIR_FL of linux/fs.h
		_ = unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
}

// pool is the mail of a size, made once.
func (b *bench) pool(count, size int) [][]byte {
	if have := len(b.corpus[size]); have < count {
		b.corpus[size] = append(b.corpus[size], mails(have, count-have, size)...)
	}
	return b.corpus[size][:count]
}

// written is a home with count mails in INBOX that a server wrote; it is made once. Users are
// given copies.
func (b *bench) written(by subject, count, size int) (string, error) {
	key := fmt.Sprintf("%s-%c-%d-%d", by.label, by.kind, count, size)
	if dir := b.stores[key]; dir != "" {
		return dir, nil
	}
	user, err := b.begin(by)
	defer by.forget([]string{user})
	if err != nil {
		return "", err
	}
	c, err := loginIMAP(by.imap, user, "")
	if err != nil {
		return "", err
	}
	const batch = 500
	for n := 0; n < count && err == nil; n += batch {
		part := min(batch, count-n)
		if size <= 64<<10 {
			err = c.appendMail("INBOX", mails(n, part, size))
			continue
		}
		for i := range part {
			if err == nil {
				err = c.appendMail("INBOX", [][]byte{mail(n+i, size)})
			}
		}
	}
	if err = errors.Join(err, c.logout()); err != nil {
		return "", err
	}
	// What the server holds back must be in the files before they are copied.
	if err := by.restart(); err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, "stores", key)
	if err := copyTree(filepath.Join(by.homes, user), dir); err != nil {
		return "", err
	}
	b.stores[key] = dir
	return dir, nil
}

// given makes a user whose home is a copy of one that was written.
func (b *bench) given(s subject, store string) (string, error) {
	u := s.fresh(1)[0]
	return u, copyTree(store, filepath.Join(s.homes, u))
}

// copyTree copies with owners and times, on which the formats lean.
func copyTree(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("bench: copying a store: %w: %s", err, out)
	}
	return nil
}

// dropCaches removes what reading has left in a home.
func (s subject) dropCaches(user string) error {
	return filepath.WalkDir(filepath.Join(s.homes, user), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		for _, pattern := range s.caches {
			if ok, _ := filepath.Match(pattern, e.Name()); ok {
				return os.Remove(path)
			}
		}
		return nil
	})
}
