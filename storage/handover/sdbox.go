package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/dovecotindex"
	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// sdbox finds the messages of an sdbox. A copy that Dovecot has made is a hard link.
func (p *plan) sdbox(ctx context.Context) error {
	links := map[[2]uint64]*stored{}
	for bi, b := range p.src.boxes {
		to := &boxPlan{sourceBox: b}
		p.boxes = append(p.boxes, to)
		var cache *dovecotindex.Cache
		if b.x != nil {
			var err error
			if cache, err = dovecotindex.ReadCache(p.src.boxPath(b.key), b.x); err != nil {
				p.note("%v", err)
			}
		}
		if b.lost {
			if err := b.listFiles(p.src.paths().boxDir(b.key)); err != nil {
				return err
			}
		}
		for i, msg := range b.m.Messages {
			if err := ctx.Err(); err != nil {
				return err
			}
			if cache != nil && !b.lost {
				msg.Saved = cache.Saved(i)
			}
			if err := p.sdboxMessage(to, msg, links); err != nil {
				return err
			}
		}
		p.o.Progress("reading messages", bi+1, len(p.src.boxes))
	}
	return nil
}

// listFiles takes the files of a mailbox whose index is lost for its messages: their names
// are their UIDs.
func (b *sourceBox) listFiles(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var uids []mailbox.UID
	for _, e := range list {
		if uid, ok := sdboxUID(e.Name()); ok {
			uids = append(uids, mailbox.UID(uid))
		}
	}
	for _, uid := range sorted(uids) {
		b.m.Messages = append(b.m.Messages, dovecotindex.Message{UID: uid})
	}
	return nil
}

// sdboxMessage reads what is said of a message beside it.
func (p *plan) sdboxMessage(to *boxPlan, msg dovecotindex.Message, links map[[2]uint64]*stored) error {
	f, info, err := p.openSdbox(to.key, msg.UID)
	r := MessageReport{Mailbox: to.key, UID: uint32(msg.UID), Place: fmt.Sprintf("u.%d", msg.UID)}
	if errors.Is(err, os.ErrNotExist) {
		r.Reason = "the file is not there"
		p.report.Lost = append(p.report.Lost, r)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if msg.Saved.IsZero() {
		msg.Saved = time.Unix(st.Ctim.Unix()).UTC().Truncate(time.Second) // as Dovecot does
	}
	id := [2]uint64{uint64(st.Dev), st.Ino}
	at := links[id]
	if at == nil {
		if at, err = p.readSdbox(f, info.Size()); err != nil {
			r.Reason = err.Error() + "; it is left behind"
			p.report.Damaged = append(p.report.Damaged, r)
			return nil
		}
		p.report.Files++
		p.enter(at)
		links[id] = at
	}
	at.from = f.Name()
	p.tellOf(at, r)
	if at.meta.GUID == "" {
		at.meta.GUID = mailbox.NewGUID().String()
	}
	if at.meta.Folder == "" {
		at.meta.Folder = to.key
	}
	at.refs++
	to.messages = append(to.messages, taken{msg, at})
	return nil
}

// openSdbox opens a message's file, which may be in the alternative storage.
func (p *plan) openSdbox(key string, uid mailbox.UID) (*os.File, os.FileInfo, error) {
	name := fmt.Sprintf("u.%d", uid)
	f, err := os.OpenFile(filepath.Join(p.src.paths().boxDir(key), name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) && p.src.Alt != "" {
		alt := paths{p.src.Location}
		alt.Root = p.src.Alt
		f, err = os.OpenFile(filepath.Join(alt.boxDir(key), name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readSdbox reads the one message of a file.
func (p *plan) readSdbox(f *os.File, size int64) (*stored, error) {
	s, err := mfile.NewScanner(f, size)
	if err != nil {
		return nil, err
	}
	rec, err := s.Next()
	if err != nil {
		return nil, err
	}
	m := &stored{meta: rec.Metadata, size: rec.Size, body: rec.Body, read: true}
	if p.o.Check != nil {
		m.bad = p.o.Check(io.NewSectionReader(f, rec.Body, rec.Size))
	}
	return m, nil
}

// packBytes and packCount bound what is appended at once.
const (
	packBytes = 16 << 20
	packCount = 500
)

// packFiles writes the messages of an sdbox into message files, with their bytes as they are.
func (im *importer) packFiles(ctx context.Context) error {
	dir, err := im.filesDir()
	if err != nil {
		return err
	}
	o := im.o.Mdbox
	files, err := mfile.Open(mfile.Options{Root: filepath.Dir(dir), RotateSize: o.RotateSize,
		RotateInterval: o.RotateInterval, Preallocate: o.Preallocate, Host: o.Host, Faults: im.faults})
	if err != nil {
		return err
	}
	last := uint32(0)
	next := func() uint32 { last++; return last }
	list := im.plan.stored
	for len(list) > 0 {
		n, size := 0, int64(0)
		for n < len(list) && n < packCount && size < packBytes {
			size += list[n].size
			n++
		}
		if err := im.pack(ctx, files, next, list[:n]); err != nil {
			return err
		}
		list = list[n:]
		im.o.Progress("writing messages", len(im.plan.stored)-len(list), len(im.plan.stored))
	}
	return nil
}

func (im *importer) pack(ctx context.Context, files *mfile.Dir, next func() uint32, list []*stored) error {
	var batch []mfile.Message
	defer func() {
		for _, m := range batch {
			_ = m.Spool.Abort() // of those that did not come to Append
		}
	}()
	for _, m := range list {
		f, err := os.Open(m.from)
		if err != nil {
			return err
		}
		spool := files.Create()
		batch = append(batch, mfile.Message{Spool: spool, Metadata: m.meta})
		_, err = io.Copy(spool, io.NewSectionReader(f, m.body, m.size))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	appended, err := files.Append(ctx, next, batch)
	if err != nil {
		return err
	}
	for i, at := range appended.Places() {
		list[i].place = at
	}
	for _, f := range appended.Files() {
		im.plan.files[f.ID] = index.CatalogFile{ID: f.ID, End: f.End, Created: f.Created}
	}
	appended.Commit()
	return nil
}
