package maildir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// Create begins a message in tmp.
func (m *Mailbox) Create(ctx context.Context, info mailbox.SaveInfo) (mailbox.Pending, error) {
	b := m.b
	if err := checkInfo(info); err != nil {
		return nil, b.wrap("saving to", err)
	}
	name := b.h.unique.next()
	file, err := b.createTmp(name)
	if err != nil {
		return nil, err
	}
	return &pending{ctx: ctx, b: b, file: file, name: name, info: info}, nil
}

// createTmp makes a file in tmp.
func (b *box) createTmp(name string) (*durable.File, error) {
	b.paths.RLock()
	defer b.paths.RUnlock()
	path := b.tmpPath(name)
	file, err := b.h.faults.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.mode)
	if errors.Is(err, os.ErrNotExist) {
		if b.vanished() {
			return nil, b.wrap("saving to", mailbox.ErrNotFound)
		}
		if err := b.h.makeSubdirs(*b.f()); err != nil {
			return nil, err
		}
		file, err = b.h.faults.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.mode)
	}
	return file, b.wrap("saving to", err)
}

// checkInfo refuses what the control files cannot hold.
func checkInfo(info mailbox.SaveInfo) error {
	for _, k := range info.Flags.Keywords {
		if err := mailbox.CheckKeyword(k); err != nil {
			return err
		}
	}
	if len(info.GUID) > 1024 || strings.ContainsFunc(info.GUID, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("maildir: %w: message GUID that a uidlist cannot hold", mailbox.ErrName)
	}
	return nil
}

// pending is a message being saved. It keeps the context of Create, for it is one operation
// that Commit completes.
type pending struct {
	ctx  context.Context
	b    *box
	file *durable.File
	name string // in tmp, of which the base name is made
	info mailbox.SaveInfo
	err  error // of an earlier Write
	// finished says that the file is whole, durable and closed.
	finished bool
	done     bool
}

func (p *pending) Write(data []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.file.Write(data)
	if err != nil {
		p.err = p.b.wrap("saving to", err)
		return n, p.err
	}
	return n, nil
}

// tmpPath is where a file in tmp is now: the mailbox may have been renamed since it was made.
func (b *box) tmpPath(name string) string { return filepath.Join(b.f().dir, "tmp", name) }

// Abort removes what was written.
func (p *pending) Abort() error {
	if p.done {
		return nil
	}
	p.done = true
	p.b.paths.RLock()
	defer p.b.paths.RUnlock()
	err := p.file.Close()
	if errors.Is(err, os.ErrClosed) { // Commit had come that far
		err = nil
	}
	if rerr := p.b.h.faults.Remove(p.b.tmpPath(p.name)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return p.b.wrap("aborting in", err)
}

// Commit makes the message durable: its date, its bytes, its name, and where a UID was asked
// for its record. After an error it is aborted.
func (p *pending) Commit(s mailbox.Sizes) (uid mailbox.UID, err error) {
	if p.done {
		return 0, p.b.wrap("saving to", os.ErrClosed)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Abort())
		}
		p.done = true
	}()
	if err := p.Finish(); err != nil {
		return 0, err
	}
	r := p.commit(s)
	if p.info.NeedUID || r.fields != "" || len(p.info.Flags.Keywords) > 0 {
		if err := p.b.commit(p.ctx, r); err != nil {
			return 0, err
		}
		return r.uid, nil
	}
	return 0, p.b.deliver(r)
}

// commit is the message as it is to be saved.
func (p *pending) commit(s mailbox.Sizes) *commit {
	r := &commit{from: p.name, base: withSizes(p.name, s), info: p.info}
	if p.info.GUID != "" && p.info.GUID != r.base {
		r.fields = "G" + p.info.GUID
	}
	return r
}

// Finish implements storage.Finisher: it makes the file whole, with its date, and closes it.
func (p *pending) Finish() error {
	switch {
	case p.finished:
		return nil
	case p.done:
		return p.b.wrap("saving to", os.ErrClosed)
	case p.err != nil:
		return p.err
	}
	if !p.info.Received.IsZero() {
		if err := setDate(int(p.file.OS().Fd()), p.info.Received.Unix()); err != nil {
			return p.b.wrap("setting the date in", err)
		}
	}
	if st := &p.b.like; int(st.Gid) != os.Getegid() {
		durable.InheritGroup(p.b.tmpPath(p.name), st)
	}
	if err := p.file.Sync(); err != nil {
		return p.b.wrap("saving to", err)
	}
	if err := p.file.Close(); err != nil {
		return p.b.wrap("saving to", err)
	}
	p.finished = true
	return nil
}

// setDate sets a file's date in seconds since 1970, for nanoseconds end in 2262. What the
// file system cannot hold, and may take for another century, becomes the nearest date that
// every one can.
func setDate(fd int, seconds int64) error {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mtim.Sec == seconds {
		return nil // a delivery, which was received just now
	}
	set := func(seconds int64) (is int64, err error) {
		t := unix.Timeval{Sec: seconds}
		if err = unix.Futimes(fd, []unix.Timeval{t, t}); err == nil {
			err = unix.Fstat(fd, &st)
		}
		return st.Mtim.Sec, err
	}
	is, err := set(seconds)
	if err == nil && is != seconds {
		_, err = set(max(math.MinInt32, min(seconds, math.MaxInt32)))
	}
	return err
}

// CommitAll implements storage.GroupCommitter: the files are renamed and their records
// appended in one holding of the lock.
func (m *Mailbox) CommitAll(ctx context.Context, messages []mailbox.Pending, sizes []mailbox.Sizes) (uids []mailbox.UID, err error) {
	group := &commitGroup{}
	work := make([]*commit, 0, len(messages))
	defer func() {
		for _, p := range messages {
			if err != nil {
				err = errors.Join(err, p.Abort())
			} else {
				p.(*pending).done = true
			}
		}
	}()
	for i, p := range messages {
		own, ok := p.(*pending)
		if !ok || own.b != m.b || own.done {
			return nil, m.b.wrap("saving to", fmt.Errorf("not a message of this mailbox: %w", errors.ErrUnsupported))
		}
		if err := own.Finish(); err != nil {
			return nil, err
		}
		r := own.commit(sizes[i])
		r.group = group
		work = append(work, r)
	}
	if len(work) == 0 {
		return nil, nil
	}
	if err := m.b.commit(ctx, work...); err != nil {
		return nil, err
	}
	for _, r := range work {
		uids = append(uids, r.uid)
	}
	return uids, nil
}
