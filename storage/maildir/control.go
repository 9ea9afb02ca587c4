package maildir

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// maxList bounds a uidlist: some ten million messages.
const maxList = 1 << 30

// A fileID tells whether a file has changed.
type fileID struct {
	dev, ino    uint64
	size, mtime int64
}

func statID(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return idOf(&st), nil
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano()}
}

// A listState is what we know of the file dovecot-uidlist.
type listState struct {
	read    bool
	id      fileID
	end     int64 // behind the last complete line that was read
	total   int   // records in it
	rewrite string
	// damage is why it could not be read well; under the lock it is believed.
	damage error
	// invented says that the header is ours alone: there was no file yet when it was made up,
	// and nothing was told of it before it is written.
	invented bool
}

// openRegular opens a file for reading unless it is something else than a file. It neither
// follows a link nor waits.
func openRegular(path string) (*os.File, *unix.Stat_t, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, nil, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return f, &st, nil
}

func (b *box) listPath() string { return filepath.Join(b.f().control, uidlistName) }

// readIdentity reads the header of the uidlist alone. An error says that the list has to
// be read, and perhaps written.
func (b *box) readIdentity() error {
	f, _, err := openRegular(b.listPath())
	if err != nil {
		return err
	}
	defer f.Close()
	s := newLineScanner(f)
	defer s.release()
	if !s.next() {
		return &listError{1, "no header"}
	}
	h, err := parseHeader(s.line)
	if err != nil {
		return err
	}
	if h.version != 3 || h.guid.IsZero() {
		return &listError{1, "not version 3 with a GUID"}
	}
	if b.identity.UIDValidity == h.validity {
		h.next = max(h.next, b.identity.UIDNext)
	}
	b.mu.Lock()
	b.head = h
	b.view = &mailbox.View{GUID: h.guid, UIDValidity: h.validity, UIDNext: h.next}
	b.mu.Unlock()
	return nil
}

// readControl reads what has changed of the uidlist and the keywords. locked says that
// we hold the lock, so that what is not well-formed is damage and not a write under way.
func (b *box) readControl(locked bool) error {
	if err := b.readKeywords(); err != nil {
		return err
	}
	id, err := statID(b.listPath())
	switch {
	case errors.Is(err, os.ErrNotExist):
		if b.vanished() {
			return b.wrap("reading", mailbox.ErrNotFound)
		}
		b.list.id, b.list.end, b.list.total = fileID{}, 0, 0
		b.list.rewrite = "missing"
		b.list.invented = b.list.invented || b.head.version == 0 && b.identity == index.Identity{}
		return b.adopt(&uidParse{}, true)
	case err != nil:
		return b.wrap("reading", err)
	case b.list.read && id == b.list.id && !(locked && (b.list.damage != nil || b.list.end != id.size)):
		return nil
	}
	f, st, err := openRegular(b.listPath())
	if err != nil {
		if errors.Is(err, os.ErrNotExist) { // between the two
			return b.readControl(locked)
		}
		return b.wrap("reading", err)
	}
	defer f.Close()
	id = idOf(st)
	if id.size > maxList {
		return b.wrap("reading uidlist of", mailbox.ErrLimit)
	}
	if b.list.read && b.list.damage == nil && id.dev == b.list.id.dev && id.ino == b.list.id.ino && id.size >= b.list.end && b.list.end > 0 &&
		id.size > b.list.id.size {
		return b.readAppended(f, id, locked)
	}
	return b.readWhole(f, id, locked)
}

func (b *box) readWhole(f *os.File, id fileID, locked bool) error {
	p, err := parseUIDList(f)
	if err != nil {
		return b.wrap("reading uidlist of", err)
	}
	b.list = listState{read: true, id: id, end: p.end, total: len(p.records), invented: b.list.invented}
	if p.torn && locked && p.damage == nil {
		p.damage = &listError{len(p.records) + 2, "incomplete line"}
	}
	switch {
	case p.damage != nil:
		b.list.damage, b.list.rewrite = p.damage, "damaged"
		b.h.log.Warn("maildir: uidlist is damaged", "mailbox", b.f().key, "error", p.damage, "locked", locked)
		if !locked && b.adopting != 0 {
			// It may be a write under way. The lock decides.
			return nil
		}
	case p.version != 3:
		b.list.rewrite = "old version"
	case p.guid.IsZero():
		b.list.rewrite = "no GUID"
	}
	if err := b.adopt(p, p.damage != nil); err != nil {
		return err
	}
	b.list.invented = false
	return nil
}

func (b *box) readAppended(f *os.File, id fileID, locked bool) error {
	if _, err := f.Seek(b.list.end, io.SeekStart); err != nil {
		return b.wrap("reading uidlist of", err)
	}
	var last mailbox.UID
	if n := len(b.byUID); n > 0 {
		last = b.byUID[n-1].uid
	}
	p, err := parseAppended(f, last)
	if err != nil {
		return b.wrap("reading uidlist of", err)
	}
	if p.damage != nil || p.torn && locked {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return b.wrap("reading uidlist of", err)
		}
		return b.readWhole(f, id, locked)
	}
	b.list.id, b.list.total = id, b.list.total+len(p.records)
	b.list.end += p.end
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rec := range p.records {
		b.addRecord(rec)
	}
	b.head.next = max(b.head.next, p.next)
	return nil
}

// addRecord takes up one more record; its UID is above all others. b.mu is held.
func (b *box) addRecord(rec uidRecord) *entry {
	e := b.entries[rec.base]
	switch {
	case e == nil:
		e = newEntry(rec.base)
		b.entries[rec.base] = e
	case e.listed():
		// The same name twice: the later UID counts (Dovecot: maildir-uidlist.c).
		b.list.rewrite = "a name twice"
		b.byUID = slices.DeleteFunc(slices.Clone(b.byUID), func(o *entry) bool { return o == e })
	}
	b.assign(e, rec)
	b.byUID = append(b.byUID, e)
	return e
}

// adopt makes a list that was read whole ours. keep says that the list has lost records,
// so that what we remember is better: a UID is never given up for that.
func (b *box) adopt(p *uidParse, keep bool) error {
	h, err := b.heal(p.uidHeader)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head.version != 0 && h.validity != b.head.validity || b.idx != nil && h.guid != b.head.guid {
		if !b.list.invented { // otherwise another program was the first to write one
			b.h.log.Warn("maildir: mailbox has become another one", "mailbox", b.f().key,
				"uidvalidity", h.validity, "was", b.head.validity)
		}
		b.forget()
		keep = false
	}
	if b.head.version != 0 {
		h.next = max(h.next, b.head.next)
	}
	b.head = h
	b.adopting++
	next := make([]*entry, 0, len(p.records))
	for _, rec := range p.records {
		e := b.entries[rec.base]
		switch {
		case e == nil:
			e = newEntry(rec.base)
			b.entries[rec.base] = e
		case e.adopted == b.adopting: // the same name twice: the later UID counts
			b.list.rewrite = "a name twice"
			next = slices.DeleteFunc(next, func(o *entry) bool { return o == e })
		}
		b.assign(e, rec)
		e.adopted = b.adopting
		next = append(next, e)
	}
	listed := len(next)
	for _, e := range b.byUID {
		if e.adopted == b.adopting {
			continue
		}
		_, clash := slices.BinarySearchFunc(next[:listed], e.uid, compareUID)
		if keep && e.present && !clash {
			e.adopted = b.adopting
			next = append(next, e)
			continue
		}
		b.unlist(e)
		if !e.present {
			delete(b.entries, e.base)
		}
	}
	if len(next) > listed {
		slices.SortFunc(next, func(a, b *entry) int { return compareUID(a, b.uid) })
	}
	b.byUID = next
	return nil
}

func compareUID(e *entry, uid mailbox.UID) int { return cmp.Compare(e.uid, uid) }

func newEntry(base string) *entry {
	return &entry{base: base, physical: mailbox.Unknown, virtual: mailbox.Unknown}
}

// assign gives an entry its record. b.mu is held.
func (b *box) assign(e *entry, rec uidRecord) {
	if e.uid != rec.uid {
		b.unlist(e)
		e.uid, e.unseen = rec.uid, !e.present
		b.unseen = b.unseen || e.unseen
	}
	e.fields = rec.fields
	b.touch(e)
}

// unlist takes an entry's record away; its message, if it was announced, is gone. What
// remains is a file without UID, if there is one. The caller keeps byUID. b.mu is held.
func (b *box) unlist(e *entry) {
	if e.msg != nil {
		b.touch(&entry{base: e.base, uid: e.uid, msg: e.msg}) // publish removes it
	}
	e.uid, e.fields, e.msg = 0, "", nil
	e.saved, e.physical, e.virtual = 0, mailbox.Unknown, mailbox.Unknown
	b.touch(e)
}

// forget drops everything: the mailbox behind the name is another one. b.mu is held.
func (b *box) forget() {
	if b.idx != nil {
		b.idx.Close()
	}
	b.idx, b.loaded = nil, false
	b.head = uidHeader{}
	b.entries, b.byUID = map[string]*entry{}, nil
	clear(b.recents)
	clear(b.inNew)
	b.found = nil
	b.dirs = [2]dirState{}
}

// heal completes a header that is missing or damaged from what we remember: the GUID is
// what the keys of the mailbox hang on.
func (b *box) heal(h uidHeader) (uidHeader, error) {
	if h.validity == 0 {
		switch {
		case b.head.version != 0:
			h.validity = b.head.validity
		case b.identity.UIDValidity != 0:
			h.validity = b.identity.UIDValidity
		default:
			v, err := b.h.control.NextUIDValidity()
			if err != nil {
				return h, err
			}
			h.validity = v
		}
		if h.extra == nil {
			h.extra = b.head.extra
		}
	}
	if h.guid.IsZero() {
		switch {
		case !b.head.guid.IsZero():
			h.guid = b.head.guid
		case !b.identity.GUID.IsZero():
			h.guid = b.identity.GUID
			b.h.log.Warn("maildir: GUID taken from the index", "mailbox", b.f().key, "guid", h.guid)
		default:
			h.guid = mailbox.NewGUID()
		}
		if b.list.rewrite == "" {
			b.list.rewrite = "no GUID"
		}
	} else if g := b.identity.GUID; !g.IsZero() && g != h.guid && b.head.version == 0 {
		b.h.log.Warn("maildir: GUID has changed", "mailbox", b.f().key, "guid", h.guid, "was", g)
	}
	if h.validity == b.identity.UIDValidity {
		h.next = max(h.next, b.identity.UIDNext)
	}
	h.next = max(h.next, 1)
	h.version = 3
	return h, nil
}
