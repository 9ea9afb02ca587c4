//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is what would be left of a tree after a power cut.
type disk struct {
	root  string
	nodes map[inode]*node
}

// An inode number alone is used again for new files.
type inode struct {
	ino  uint64
	born time.Time
}

// A node is a file or directory as it was when it was last synced.
type node struct {
	mode     os.FileMode
	uid, gid int
	mtime    time.Time
	data     []byte
	entries  map[string]inode // of a directory
}

// newDisk takes everything as durable that is there.
func newDisk(root string) *disk {
	d := &disk{root: root, nodes: map[inode]*node{}}
	filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			if synced, err := d.look(path); err == nil && synced != nil {
				synced()
			}
		}
		return nil // what goes while one looks is not there
	})
	return d
}

// stat is nil for what is neither file nor directory.
func stat(path string, flags int) (inode, *node, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return inode{}, nil, err
	}
	n := &node{mode: os.FileMode(st.Mode & 0o7777), uid: int(st.Uid), gid: int(st.Gid), mtime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.entries = map[string]inode{}
	case unix.S_IFREG:
	default:
		n = nil
	}
	return inode{st.Ino, time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))}, n, nil
}

// look reads what is about to be synced, and returns what to call when it has been.
func (d *disk) look(path string) (synced func(), err error) {
	id, n, err := stat(path, 0)
	if err != nil || n == nil {
		return nil, err
	}
	if n.entries == nil {
		if n.data, err = os.ReadFile(path); err != nil {
			return nil, err
		}
		return func() { d.nodes[id] = n }, nil
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	fresh := map[inode]*node{}
	for _, e := range list {
		eid, en, err := stat(filepath.Join(path, e.Name()), unix.AT_SYMLINK_NOFOLLOW)
		if err != nil || en == nil {
			continue
		}
		n.entries[e.Name()] = eid
		fresh[eid] = en
	}
	return func() {
		d.nodes[id] = n
		for eid, en := range fresh {
			if d.nodes[eid] == nil {
				d.nodes[eid] = en // named, and empty until it is synced itself
			}
		}
	}, nil
}

// cut takes the tree back to what was synced; with keepNames, the contents of files alone.
func (d *disk) cut(keepNames bool) error {
	if keepNames {
		return filepath.WalkDir(d.root, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			id, n, err := stat(path, unix.AT_SYMLINK_NOFOLLOW)
			if err != nil {
				return err
			}
			if old := d.nodes[id]; old != nil {
				n = old
			}
			return os.WriteFile(path, n.data, 0) // in place: it keeps its links, mode and owner
		})
	}
	id, _, err := stat(d.root, 0)
	if err != nil {
		return err
	}
	list, err := os.ReadDir(d.root)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(d.root, e.Name())); err != nil {
			return err
		}
	}
	return d.restore(d.root, id, map[inode]string{})
}

// restore fills a directory. A file of several names is one file again.
func (d *disk) restore(dir string, id inode, made map[inode]string) error {
	for name, eid := range d.nodes[id].entries {
		path, n := filepath.Join(dir, name), d.nodes[eid]
		if n == nil {
			return fmt.Errorf("nothing is known of %s", path)
		}
		if old, ok := made[eid]; ok {
			if err := os.Link(old, path); err != nil {
				return err
			}
			continue
		}
		made[eid] = path
		var err error
		if n.entries != nil {
			if err = os.Mkdir(path, 0o700); err == nil {
				err = d.restore(path, eid, made)
			}
		} else {
			err = os.WriteFile(path, n.data, 0o600)
		}
		err = errors.Join(err, os.Lchown(path, n.uid, n.gid), os.Chmod(path, n.mode), os.Chtimes(path, n.mtime, n.mtime))
		if err != nil {
			return err
		}
	}
	return nil
}
