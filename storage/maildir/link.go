package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// otherBase gives a link a name of its own; the GUID that was the name goes into the record.
func (b *box) otherBase(w *commit) error {
	physical, virtual := nameSizes(w.base)
	w.fields = setField(w.fields, 'G', w.info.GUID)
	if err := checkInfo(w.info); err != nil {
		return err
	}
	w.base = withSizes(b.h.unique.next(), mailbox.Sizes{Physical: physical, Virtual: virtual})
	return nil
}

// Link saves a message of another mailbox of this kind as a hard link. The error wraps
// errors.ErrUnsupported where that cannot be: another kind or file system, or another date.
func (m *Mailbox) Link(ctx context.Context, from storage.Backend, uid mailbox.UID, info mailbox.SaveInfo) (mailbox.UID, error) {
	src, ok := from.(*Mailbox)
	if !ok {
		return 0, m.b.wrap("linking to", errors.ErrUnsupported)
	}
	if err := checkInfo(mailbox.SaveInfo{Flags: info.Flags}); err != nil {
		return 0, m.b.wrap("linking to", err)
	}
	for range maxRounds {
		r, err := src.b.linkSource(ctx, uid, info)
		if err != nil {
			return 0, err
		}
		if err := m.b.commit(ctx, r); !errors.Is(err, os.ErrNotExist) {
			return r.uid, err
		}
		// The source was renamed meanwhile, or is gone, which is found out now.
		if _, serr := src.b.sync(ctx, true); serr != nil {
			return 0, serr
		}
	}
	return 0, src.b.wrap(fmt.Sprintf("linking UID %d of", uid), mailbox.ErrNotFound)
}

// linkSource prepares the link of a message under a target's date, flags and GUID.
func (b *box) linkSource(ctx context.Context, uid mailbox.UID, info mailbox.SaveInfo) (*commit, error) {
	r := &commit{link: true, info: info}
	var mtime time.Time
	err := b.withFile(ctx, uid, func(path string) error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return errors.ErrUnsupported
		}
		r.from, mtime = path, time.Unix(st.Mtim.Unix())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !info.Received.IsZero() && info.Received.Unix() != mtime.Unix() {
		return nil, b.wrap("linking from", fmt.Errorf("another date: %w", errors.ErrUnsupported))
	}
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	e := b.find(uid)
	if e == nil {
		return nil, b.wrap(fmt.Sprintf("linking UID %d of", uid), mailbox.ErrNotFound)
	}
	// A link changes the file's ctime, which is the save date of the source.
	if e.saved == 0 {
		b.newMover(1).keepSaved([]*entry{e})
		if e.msg != nil {
			e.unsaved = false
			b.idx.Put(b.head.validity, b.view.UIDNext, []index.Record{e.record(e.msg)}, nil)
		}
	}
	r.base = e.base
	if s := e.sizes(); e.physical >= 0 || e.virtual >= 0 {
		r.sizes = s
	}
	for _, key := range []byte("SW") {
		if v, ok := field(e.fields, key); ok {
			r.fields = setField(r.fields, key, v)
		}
	}
	switch {
	case info.GUID == "":
		r.base = withSizes(b.h.unique.next(), nameSizesOf(e.base))
	case info.GUID != e.base:
		if err := checkInfo(info); err != nil {
			return nil, b.wrap("linking from", err)
		}
		r.fields = setField(r.fields, 'G', info.GUID)
	}
	return r, nil
}

func nameSizesOf(base string) (s mailbox.Sizes) {
	s.Physical, s.Virtual = nameSizes(base)
	return s
}
