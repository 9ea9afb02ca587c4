package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
)

// damagedName is where a uidlist that was damaged is kept, beside the new one.
const damagedName = "mailcryptd.uidlist.damaged"

// remember records the identity where a lost uidlist can find it again.
func (b *box) remember() {
	id := index.Identity{GUID: b.head.guid, UIDValidity: b.head.validity, UIDNext: b.head.next}
	if id != b.identity {
		b.identity = id
		b.db.SetIdentity(b.f().key, id)
	}
}

// writeWhole replaces the uidlist. The lock is held. Records of files that are gone are
// left out, except those that were never looked for.
func (b *box) writeWhole(l *durable.Dotlock) error {
	if b.list.damage != nil {
		b.keepDamaged()
	}
	if err := l.Check(); err != nil {
		return b.wrap("writing uidlist of", err)
	}
	kept := b.byUID[:0:0]
	for _, e := range b.byUID {
		if e.present || e.unseen {
			kept = append(kept, e)
		}
	}
	err := b.h.faults.Replace(b.listPath(), b.mode, func(w io.Writer) error {
		line := b.head.appendHeader(nil)
		for _, e := range kept {
			if len(line) > 32<<10 {
				if _, err := w.Write(line); err != nil {
					return err
				}
				line = line[:0]
			}
			rec := uidRecord{e.uid, e.base, e.fields}
			line = rec.appendTo(line)
		}
		_, err := w.Write(line)
		return err
	})
	if err != nil {
		b.list.read = false
		return b.wrap("writing uidlist of", err)
	}
	durable.InheritGroup(b.listPath(), &b.like)
	b.mu.Lock()
	for _, e := range b.byUID {
		if !e.present && !e.unseen {
			delete(b.entries, e.base)
			b.touch(e)
		}
	}
	b.byUID = kept
	b.mu.Unlock()
	id, err := statID(b.listPath())
	if err != nil {
		return b.wrap("writing uidlist of", err)
	}
	b.list = listState{read: true, id: id, end: id.size, total: len(kept)}
	b.remember()
	return nil
}

// keepDamaged puts a copy of a damaged uidlist aside, for people to look at.
func (b *box) keepDamaged() {
	src, _, err := openRegular(b.listPath())
	if err != nil {
		return
	}
	defer src.Close()
	err = b.h.faults.Replace(filepath.Join(b.f().control, damagedName), b.mode, func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
	if err != nil {
		b.h.log.Warn("maildir: keeping damaged uidlist", "mailbox", b.f().key, "error", err)
	}
}

// appendList writes records behind the uidlist, all or none. The lock is held and the
// list was read under it; where it cannot be appended to, it is replaced.
func (b *box) appendList(l *durable.Dotlock, added []*entry) (err error) {
	if b.list.rewrite != "" || !b.list.read {
		return b.writeWhole(l)
	}
	if err := l.Check(); err != nil {
		return b.wrap("writing uidlist of", err)
	}
	f, err := b.h.faults.OpenFile(b.listPath(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return b.wrap("writing uidlist of", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.OS().Fd()), &st); err != nil {
		return b.wrap("writing uidlist of", err)
	}
	if idOf(&st) != b.list.id || st.Size != b.list.end {
		return b.wrap("writing uidlist of", fmt.Errorf("it changed under the lock: %w", durable.ErrLost))
	}
	var lines []byte
	for _, e := range added {
		rec := uidRecord{e.uid, e.base, e.fields}
		lines = rec.appendTo(lines)
	}
	_, err = f.Write(lines)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		// A torn line would make Dovecot throw the file away.
		if terr := f.Truncate(b.list.end); terr != nil {
			err = errors.Join(err, terr)
		}
		b.list.read = false
		return b.wrap("writing uidlist of", err)
	}
	if err := unix.Fstat(int(f.OS().Fd()), &st); err != nil {
		return b.wrap("writing uidlist of", err)
	}
	b.list.id, b.list.end, b.list.total = idOf(&st), st.Size, b.list.total+len(added)
	b.remember()
	return nil
}
