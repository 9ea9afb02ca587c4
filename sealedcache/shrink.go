package sealedcache

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"slices"

	"mailcrypt/mailbox"
)

// minDead is how many bytes of replaced entries are not worth a new file.
const minDead = 1 << 20

// Keep drops the entries of all messages but those that keep names under this UIDVALIDITY:
// the others were expunged. Key data stay, for a copy may need them, until the file is too large.
func (c *Cache) Keep(validity uint32, keep func(mailbox.UID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.load() {
		return
	}
	for n, e := range c.entries {
		if v, uid, ok := n.uid(); ok && (v != validity || !keep(uid)) {
			c.dead += int64(e.size) + recordHead
			delete(c.entries, n)
		}
	}
	c.flush()
	c.shrink()
}

// shrink writes the file anew where it is too large or half of it is dead. Nothing is
// outstanding. c.mu is held.
func (c *Cache) shrink() {
	large := c.size > c.o.MaxBytes
	if large && !c.load() {
		return
	}
	if c.broken || !large && (c.dead < minDead || c.dead < c.size/2) {
		return
	}
	list := make([]name, 0, len(c.entries))
	for n := range c.entries {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b name) int { return cmp.Compare(c.entries[a].at, c.entries[b].at) })
	if large { // the newest are kept
		room, first := c.o.MaxBytes/2, len(list)
		for first > 0 && room > 0 {
			first--
			room -= int64(c.entries[list[first]].size)
		}
		list = list[first:]
	}
	if err := c.rewrite(list); err != nil {
		_ = os.Remove(c.path + ".new")
		c.giveUp(err)
	}
}

// rewrite makes a file of the entries listed and of the slots that they need.
func (c *Cache) rewrite(list []name) error {
	f, err := os.OpenFile(c.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, flushSize)
	entries, slots := make(map[name]entry, len(list)), map[uint64]*slot{}
	size := int64(fileHead)
	write := func(b []byte) {
		size += int64(len(b))
		_, _ = w.Write(b) // Flush tells
	}
	_, _ = w.Write(head(c.guid))
	use := func(number uint64) {
		if s := c.slots[number]; slots[number] == nil {
			slots[number] = s
			write(s.append(nil))
		}
	}
	for _, s := range c.sealers { // which go on
		use(s.slot)
	}
	var record []byte
	for _, n := range list {
		e := c.entries[n]
		use(e.slot)
		record = slices.Grow(record[:0], recordHead+int(e.size))[:recordHead+int(e.size)]
		if _, err := c.file.ReadAt(record, e.at-recordHead); err != nil && err != io.EOF {
			f.Close()
			return err
		}
		entries[n] = entry{place{size + recordHead, e.size}, e.slot}
		write(record)
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		f.Close()
		return err
	}
	_ = c.file.Close()
	c.file, c.size, c.entries, c.slots, c.dead = f, size, entries, slots, 0
	c.gen++
	return nil
}
